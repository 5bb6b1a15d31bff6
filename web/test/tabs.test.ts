/** The arithmetic and the words of the tabs of clusters, dimensions, models and run. */

import { describe, expect, it } from "vitest";
import { byDifference, compared, differenceSentence, silhouetteWords, stabilityWords } from "../src/tabs/clusters/words";
import { byRate, byStrength, correlationText, signed, strongestColumns, traversal } from "../src/tabs/dimensions/order";
import { ariWords, clusterMatch, comparedNeighbours, gainText, hasEmpty, hasExact, meanOverlap, sharedRows } from "../src/tabs/models/figures";
import { nearestIn, nearestTo, placesInBox } from "../src/tabs/models/points";
import { commandText, epochsOf, withoutFirstTenth, linesOf } from "../src/tabs/run/history";
import { extent, linear, niceTicks, tickText } from "../src/parts/charts/scale";
import type { ComparisonInfo, CorrelationInfo, DimensionInfo, ModelInfo } from "../src/manifest";

const correlation = (column: string, r: number): CorrelationInfo => ({ column, r, kind: "spearman", low: r - 0.1, high: r + 0.1, n: 100 });
const dimension = (dim: number, rate: number, correlations: CorrelationInfo[] = []): DimensionInfo => ({
  dim,
  rate_nats: rate,
  is_active: rate > 0.1,
  mean: 0.5,
  sd: 2,
  min: -4,
  max: 4,
  histogram: { low: -4, high: 4, counts: [1, 2] },
  reason: "",
  correlations,
});

describe("axes", () => {
  it("puts ticks at round values inside the range", () => {
    expect(niceTicks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
    expect(niceTicks(-0.32, 0.31, 4)).toEqual([-0.2, 0, 0.2]);
    expect(niceTicks(9400, 10488, 4)).toEqual([9500, 10000]);
    expect(niceTicks(2050, 2950, 4)).toEqual([2250, 2500, 2750]);
    expect(niceTicks(3, 3)).toEqual([3]);
    expect(niceTicks(Number.NaN, 1)).toEqual([]);
  });
  it("writes numbers with a true minus sign and thousands apart", () => {
    expect(tickText(-12500)).toBe("−12\u202f500");
    expect(tickText(0)).toBe("0");
  });
  it("maps ends to ends and knows the extent of lines with gaps", () => {
    expect(linear([0, 10], [100, 0])(2.5)).toBe(75);
    expect(extent([[null, 3], [-1, null]])).toEqual([-1, 3]);
    expect(extent([[null]])).toBeNull();
  });
});

describe("clusters", () => {
  it("calls a count more or fewer only when it is far from the expected one", () => {
    expect(compared(429, 313)).toBe("more");
    expect(compared(9, 60)).toBe("fewer");
    expect(compared(5, 3)).toBe("as expected");
    expect(compared(1030, 1000)).toBe("as expected");
  });
  it("says it in a sentence", () => {
    const values = [
      { value: "a", n: 100, expected: 50 },
      { value: "b", n: 10, expected: 60 },
      { value: "c", n: 20, expected: 20 },
    ];
    expect(differenceSentence(values)).toBe("More a (100, expected 50). Fewer b (10, expected 60).");
    expect(differenceSentence(values.slice(2))).toBe("About as many of each as expected.");
    expect(byDifference(values).map(({ value }) => value)).toEqual(["a", "b", "c"]);
  });
  it("does not praise a weak division", () => {
    expect(silhouetteWords(0.1, "region")).toBe("no substantial structure: neighbouring regions run into each other");
    expect(silhouetteWords(0.1, "cluster")).toContain("no substantial structure: neighbouring clusters");
    expect(silhouetteWords(null, "cluster")).toBe("not known");
    expect(stabilityWords(0.5)).toContain("not found again");
  });
});

describe("dimensions", () => {
  it("orders by rate and by strength", () => {
    const dimensions = [dimension(0, 1), dimension(1, 3, [correlation("age", -0.9), correlation("sex", 0.1)]), dimension(2, 2, [correlation("sex", 0.4)])];
    expect(byRate(dimensions).map(({ dim }) => dim)).toEqual([1, 2, 0]);
    expect(strongestColumns(dimensions)).toEqual(["age", "sex"]);
    expect(byStrength([correlation("a", 0.2), correlation("b", -0.5)])[0].column).toBe("b");
  });
  it("changes one dimension alone, two standard deviations to either side", () => {
    const steps = traversal(Float32Array.from([9, 8, 7]), dimension(1, 1));
    expect(steps.map(({ t }) => t)[3]).toBeCloseTo(0);
    expect(steps[0].z).toEqual([9, -3.5, 7]);
    expect(steps[6].z).toEqual([9, 4.5, 7]);
    expect(steps).toHaveLength(7);
  });
  it("gives an interval only where there is one", () => {
    expect(correlationText(correlation("a", -0.42))).toBe("r = −0.42 (95 %: −0.52 to −0.32)");
    expect(correlationText({ ...correlation("a", 0.3), kind: "eta", low: null, high: null })).toBe("η = 0.30, no sign");
    expect(signed(-0.001)).toBe("0.00");
  });
});

describe("models", () => {
  const comparison: ComparisonInfo = {
    table: [],
    cluster_matches: [{ a: "z4", b: "z16", ari: 0.5, share: 0.6, mapping: { "0": 4, "1": 2 } }],
    neighbour_overlap: { names: ["z4", "z16"], values: [[1, 0.25], [0.25, 1]] },
    map_similarity: [],
  };
  it("reads the comparison in whichever order", () => {
    expect(clusterMatch(comparison, "z16", "z4")?.pairs).toEqual([["4", "0"], ["2", "1"]]);
    expect(clusterMatch(comparison, "z4", "z16")?.pairs).toEqual([["0", "4"], ["1", "2"]]);
    expect(clusterMatch(null, "z4", "z16")).toBeNull();
    expect(meanOverlap(comparison, "z4", "z16")).toBe(0.25);
    expect(meanOverlap(comparison, "z4", "z99")).toBeNull();
  });
  it("knows of how many neighbours the study compared, which the page has fewer of", () => {
    const similar = { ...comparison, map_similarity: [{ a: "z4", b: "z16", chance_overlap: 15 / 60, overlap_images: 61 }] };
    expect(comparedNeighbours(similar, "z16", "z4", 61)).toEqual({ k: 15, chance: 0.25 });
    expect(comparedNeighbours(similar, "z4", "z99", 61)).toBeNull();
    expect(comparedNeighbours(comparison, "z4", "z16", 61)).toBeNull();
    expect(comparedNeighbours(null, "z4", "z16", 61)).toBeNull();
  });
  it("knows whether some images are nearly empty, or come back exactly", () => {
    const judged = (numbers: Record<string, number>) => ({ metrics: { test: numbers } }) as unknown as ModelInfo;
    expect([judged({ n_empty: 3 }), judged({ n_empty: 0 }), judged({})].map(hasEmpty)).toEqual([true, false, false]);
    expect([judged({ n_exact: 1 }), judged({ n_exact: 0, pca_n_exact: 2 }), judged({ pca_n_exact: 0 }), judged({})].map(hasExact)).toEqual([true, true, false, false]);
  });
  it("splits neighbours into shared and own", () => {
    expect(sharedRows([1, 2, 3], [3, 4, 1])).toEqual({ both: [1, 3], onlyA: [2], onlyB: [4] });
  });
  it("finds the image under the pointer and the next one in a direction", () => {
    const xy = placesInBox(Float32Array.from([0, 0, 1, 0, 0, 1]), 100, 100);
    expect([...xy]).toEqual([14, 86, 86, 86, 14, 14]);
    expect(nearestTo(xy, null, 80, 80, 16)).toBe(1);
    expect(nearestTo(xy, null, 50, 50, 16)).toBeNull();
    expect(nearestTo(xy, Uint8Array.from([1, 0, 1]), 80, 80, 16)).toBeNull();
    expect(nearestIn(xy, null, 0, [1, 0])).toBe(1);
    expect(nearestIn(xy, null, 0, [0, -1])).toBe(2);
    expect(nearestIn(xy, null, 0, [-1, 0])).toBeNull();
  });
  it("has words for every Rand index", () => {
    expect(ariWords(0.47)).toBe("partly the same division");
    expect(ariWords(0)).toContain("by chance");
  });
});

describe("run", () => {
  it("takes the lines that the history holds", () => {
    const history = { epoch: [1, 2], train_rate_nats: [3, 2], validation_rate_nats: [null, null] };
    expect(epochsOf(history)).toEqual([1, 2]);
    expect(epochsOf({ train_rate_nats: [3, 2, 1] })).toEqual([1, 2, 3]);
    expect(linesOf(history, "rate").map(({ name }) => name)).toEqual(["train"]);
    expect(withoutFirstTenth(Array.from({ length: 100 }, (_, i) => i))[0]).toBe(10);
  });
  it("writes a command as one would type it", () => {
    expect(commandText(["zatlas", "study", "my data.npz", "it's"])).toBe("zatlas study 'my data.npz' 'it'\\''s'");
  });
});

describe("gain over PCA", () => {
  const model = (test: Record<string, number | null>): ModelInfo => ({ metrics: { test } }) as unknown as ModelInfo;
  it("stands with its interval, where there is one", () => {
    expect(gainText(model({ gain_db: 0.81, gain_low_db: 0.75, gain_high_db: 0.88 }), "")).toBe("+0.81 [+0.75, +0.88]");
    expect(gainText(model({ pooled_gain_db: -0.4, pooled_gain_low_db: null, pooled_gain_high_db: null }), "pooled_")).toBe("−0.40");
  });
  it("is empty in a study that did not measure it", () => {
    expect(gainText(model({ psnr_db: 20 }), "content_")).toBe("");
  });
});
