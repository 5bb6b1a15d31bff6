import { describe, expect, it } from "vitest";
import type { Model } from "../src/atlas";
import { blendNear, distanceBetween, graphPath, interpolate, meanOf, nearest, pcaInverse, pcaScores, resample, support } from "../src/latent";

/** A model of points on a line in two dimensions, with a neighbour graph along it. */
function line(n: number): Model {
  const mean = new Float32Array(2 * n);
  for (let i = 0; i < n; i++) mean.set([i, 2 * i], 2 * i);
  const knnRows = new Uint32Array(2 * n);
  const knnDistances = new Float32Array(2 * n).fill(Math.sqrt(5));
  for (let i = 0; i < n; i++) knnRows.set([Math.max(0, i - 1), Math.min(n - 1, i + 1)], 2 * i);
  const info = {
    pca: { mean: [1, 2], components: [[0.6, 0.8], [-0.8, 0.6]], sd: [1, 1], explained_ratio: [0.9, 0.1] },
    knn: { k: 2 },
    support: { k: 1, dims: [0], within: 0.5, near: 1.5, quantiles: [0, 0.25, 0.5, 1, 2], words: "" },
  };
  return { info, d: 2, mean, logVar: new Float32Array(2 * n), columns: [], projections: [], knnRows, knnDistances } as unknown as Model;
}

describe("components", () => {
  it("gives back what it was given", () => {
    const model = line(4);
    const z = [0.3, -1.2];
    const [a, b] = pcaScores(model, z);
    const again = pcaInverse(model, new Map([[0, a], [1, b]]));
    again.forEach((value, j) => expect(value).toBeCloseTo(z[j], 6));
  });

  it("holds the components that are not given at the mean", () => {
    expect(pcaInverse(line(4), new Map())).toEqual([1, 2]);
  });
});

describe("nearest", () => {
  it("equals sorting all distances", () => {
    const model = line(50);
    const z = [17.3, 30.1];
    const all = Array.from({ length: 50 }, (_, row) => ({ row, distance: distanceBetween(z, [row, 2 * row]) }));
    all.sort((a, b) => a.distance - b.distance || a.row - b.row);
    expect(nearest(model, z, 7).map(({ row }) => row)).toEqual(all.slice(0, 7).map(({ row }) => row));
  });

  it("leaves out what it is told to", () => {
    const only = new Uint8Array(50).fill(1);
    only[3] = 0;
    expect(nearest(line(50), [3, 6], 2, { only, except: 2 }).map(({ row }) => row)).not.toContain(3);
    expect(nearest(line(50), [3, 6], 2, { only, except: 2 }).map(({ row }) => row)).not.toContain(2);
  });

  it("gives fewer when there are fewer", () => {
    expect(nearest(line(3), [0, 0], 10)).toHaveLength(3);
  });
});

describe("support", () => {
  const all = new Uint8Array(20).fill(1);
  it.each([
    [3.2, "within"],
    [20, "near"],
    [30, "off"],
  ])("judges %s as %s", (x, level) => {
    expect(support(line(20), [x, 99], all).level).toBe(level);
  });

  it("is off the data when there are no training images", () => {
    expect(support(line(20), [1, 1], new Uint8Array(20)).level).toBe("off");
  });
});

describe("paths", () => {
  it("has both ends and even steps", () => {
    const path = interpolate([0, 0], [8, 4], 7, "straight");
    expect(path).toHaveLength(9);
    expect(path[0]).toEqual([0, 0]);
    expect(path[8]).toEqual([8, 4]);
    expect(path[2]).toEqual([2, 1]);
  });

  it("keeps the length on a sphere", () => {
    for (const z of interpolate([3, 0, 0], [0, 3, 0], 5, "spherical")) expect(Math.hypot(...z)).toBeCloseTo(3, 9);
  });

  it("goes along the neighbours", () => {
    expect(graphPath(line(9), 1, 5)).toEqual([1, 2, 3, 4, 5]);
  });

  it("says when there is no path", () => {
    const model = line(4);
    model.knnRows.set([1, 1, 0, 0, 3, 3, 2, 2]);
    expect(graphPath(model, 0, 3)).toBeNull();
  });

  it("resamples by length", () => {
    expect(resample([[0, 0], [1, 0], [4, 0]], 5).map(([x]) => x)).toEqual([0, 1, 2, 3, 4]);
  });

  it("stays where all points are the same", () => {
    expect(resample([[2, 2], [2, 2]], 3)).toEqual([[2, 2], [2, 2], [2, 2]]);
  });
});

describe("blends", () => {
  it("is the image itself on its place", () => {
    const model = line(10);
    const xy = Float32Array.from({ length: 20 }, (_, i) => i);
    const blend = blendNear(model, xy, 8, 9);
    expect(blend.rows[0]).toBe(4);
    expect(blend.z[0]).toBeCloseTo(4, 2);
    expect(blend.weights.reduce((sum, weight) => sum + weight, 0)).toBeCloseTo(1, 9);
  });

  it("averages the images of a mask", () => {
    expect(meanOf(line(5), Uint8Array.of(1, 0, 1, 0, 0))).toEqual([1, 2]);
    expect(meanOf(line(5), new Uint8Array(5))).toBeNull();
  });
});
