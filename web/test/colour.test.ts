import { describe, expect, it } from "vitest";
import type { Column } from "../src/atlas";
import { cividis, colourBy, difference, fromHex, toHex, MISSING, OKABE_ITO, OTHER, usualRange } from "../src/colour";
import { binned } from "../src/parts/Histogram";

const category = (categories: string[], values: number[]): Column =>
  ({ info: { name: "c", title: "C", kind: "category", categories }, values: Uint8Array.from(values) }) as unknown as Column;
const number = (values: number[]): Column => ({ info: { name: "x", title: "X", kind: "number" }, values: Float32Array.from(values) }) as unknown as Column;
const at = (rgba: Uint8Array, i: number) => [...rgba.slice(4 * i, 4 * i + 3)];

describe("colours of categories", () => {
  it("gives each of up to seven its own, in their order", () => {
    const { rgba, legend } = colourBy(3, category(["a", "b"], [1, 0, 255]));
    expect(at(rgba, 0)).toEqual([...OKABE_ITO[1]]);
    expect(at(rgba, 1)).toEqual([...OKABE_ITO[0]]);
    expect(at(rgba, 2)).toEqual([...MISSING]);
    expect(legend.kind === "categories" && legend.entries.map((entry) => entry.n)).toEqual([1, 1, 1]);
  });

  it("puts the rarest of many under other", () => {
    const names = Array.from({ length: 10 }, (_, i) => `k${i}`);
    const values = names.flatMap((_, i) => new Array<number>(i + 1).fill(i));
    const { rgba, legend } = colourBy(values.length, category(names, values));
    expect(at(rgba, 0)).toEqual([...OTHER]);
    expect(legend.kind === "categories" && legend.entries[0].text).toBe("k9");
    expect(legend.kind === "categories" && legend.entries.at(-1)?.n).toBe(1 + 2 + 3);
  });
});

describe("own colours", () => {
  it("take the place of the usual ones", () => {
    const { rgba } = colourBy(2, category(["a", "b"], [1, 0]), { own: { b: "#102030", a: "not a colour" } });
    expect(at(rgba, 0)).toEqual([16, 32, 48]);
    expect(at(rgba, 1)).toEqual([...OKABE_ITO[0]]);
    expect(fromHex(toHex([1, 2, 255]))).toEqual([1, 2, 255]);
  });
});

describe("colours of numbers", () => {
  it("clips to the range and marks what is missing", () => {
    const { rgba } = colourBy(4, number([-5, 0.5, 9, NaN]), { range: [0, 1] });
    expect(at(rgba, 0)).toEqual([...cividis(0)]);
    expect(at(rgba, 2)).toEqual([...cividis(1)]);
    expect(at(rgba, 3)).toEqual([...MISSING]);
  });

  it("has a range when all values are equal or missing", () => {
    expect(usualRange(Float32Array.of(NaN, NaN))).toEqual([0, 1]);
    expect(usualRange(Float32Array.of(2, 2))).toEqual([2, 2]);
  });

  it("is white where nothing differs", () => {
    expect(difference(0)).toEqual([245, 245, 245]);
  });

  it("grows in brightness, so that it can be read in grey", () => {
    const light = Array.from({ length: 20 }, (_, i) => cividis(i / 19)).map(([r, g, b]) => 0.2126 * r + 0.7152 * g + 0.0722 * b);
    light.slice(1).forEach((value, i) => expect(value).toBeGreaterThanOrEqual(light[i] - 0.5));
  });
});

/** Colours as people without one kind of cone see them (Viénot, Brettel & Mollon 1999), and the distance in CIELAB. */
const SEEN = {
  protan: [[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]],
  deutan: [[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]],
};

function lab(linear: number[]): number[] {
  const [r, g, b] = linear;
  const xyz = [(0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505, 0.2126 * r + 0.7152 * g + 0.0722 * b, (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089];
  const [x, y, z] = xyz.map((value) => (value > 0.008856 ? Math.cbrt(value) : 7.787 * value + 16 / 116));
  return [116 * y - 16, 500 * (x - y), 200 * (y - z)];
}

describe("colour vision", () => {
  it.each(Object.entries(SEEN))("tells the categories apart with %s vision", (_, matrix) => {
    const seen = OKABE_ITO.map((rgb) => {
      const linear = rgb.map((value) => (value / 255 <= 0.04045 ? value / 255 / 12.92 : ((value / 255 + 0.055) / 1.055) ** 2.4));
      return lab(matrix.map((row) => Math.max(0, Math.min(1, row[0] * linear[0] + row[1] * linear[1] + row[2] * linear[2]))));
    });
    for (let i = 0; i < seen.length; i++) {
      for (let j = 0; j < i; j++) expect(Math.hypot(...seen[i].map((value, c) => value - seen[j][c]))).toBeGreaterThan(9);
    }
  });
});

describe("bins", () => {
  it("counts each finite value once", () => {
    expect(binned([0, 0.1, 0.99, 1, NaN, 2], 0, 1, 2)).toEqual([2, 2]);
    expect(binned([0, 1], 0, 1, 2, Uint8Array.of(0, 1))).toEqual([0, 1]);
  });
});
