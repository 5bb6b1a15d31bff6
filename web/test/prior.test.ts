/** What latents are measured in, by the prior that their model was trained with. */

import { describe, expect, it } from "vitest";
import { isStandard, latentUnit, latentUnits, rateReference, spanOf, unitSentence } from "../src/prior";

const images = (min: number, max: number, sd = 1) => ({ min, max, sd });

describe("the unit of latents", () => {
  it("is that of N(0, I), also where a bundle does not name its prior", () => {
    for (const info of [{}, { prior: "standard" }]) {
      expect(isStandard(info)).toBe(true);
      expect(latentUnits(info)).toBe("standard deviations of the prior");
      expect(unitSentence(info)).toBe("In standard deviations of the prior.");
      expect(rateReference(info)).toBe("the prior");
    }
  });
  it("is none of a prior that was trained with the model", () => {
    for (const prior of ["mixture", "vamp", "flow", "one of tomorrow"]) {
      expect(`${latentUnit({ prior })} ${latentUnits({ prior })} ${rateReference({ prior })}`).not.toContain("deviation");
      expect(unitSentence({ prior })).toContain("fixes no scale");
    }
    expect(unitSentence({ prior: "flow" })).toContain("a normalising flow");
    expect(unitSentence({ prior: "one of tomorrow" })).toContain("one of tomorrow");
  });
});

describe("the span of a slider", () => {
  it("is three standard deviations of the prior, or as far as the images reach", () => {
    expect(spanOf({}, images(-0.1, 0.2))).toEqual({ range: 3, step: 0.05, large: 0.5, digits: 2 });
    expect(spanOf({ prior: "standard" }, images(-4.2, 1)).range).toBe(4.5);
  });
  it("follows the images alone where the prior has no unit", () => {
    expect(spanOf({ prior: "flow" }, images(-0.021, 0.018, 0.008))).toEqual({ range: 0.03, step: 0.001, large: 0.01, digits: 3 });
    const wide = spanOf({ prior: "mixture" }, images(-180, 240, 90));
    expect(wide).toEqual({ range: 300, step: 10, large: 100, digits: 0 });
    expect(spanOf({ prior: "vamp" }, images(0, 0, 0)).range).toBeGreaterThan(0);
  });
});
