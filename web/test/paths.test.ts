import { expect, test } from "vitest";
import { resample } from "../src/latent";
import { INITIAL } from "../src/store";
import { rowsByName } from "../src/tabs/paths/Ends";
import { ticksFromZero } from "../src/parts/charts/scale";
import { lengthOf, makePath, nameOfStop, shownPath, supportCount, studyPathOf, type Stop } from "../src/path";
import { model } from "./savePlane";

test("a straight path has even steps and both ends", () => {
  const path = makePath(model, { a: 0, b: 3 }, "straight", 2);
  expect(path.latents).toEqual([[0, 0], [1, 0], [2, 0], [3, 0]]);
  expect(lengthOf(path)).toBeCloseTo(3);
  expect(path.problem).toBe("");
});

test("one image is no path", () => {
  const path = makePath(model, { a: 4, b: 4 }, "graph", 7);
  expect(path.latents).toEqual([]);
  expect(path.problem).toContain("same image");
});

test("the data graph says what it passes, and when it does not connect", () => {
  const chain = { ...model, knnRows: Uint32Array.from({ length: 24 }, (_, i) => (Math.floor(i / 2) + 1) % 12), knnDistances: new Float32Array(24).fill(1) };
  const path = makePath(chain, { a: 0, b: 3 }, "graph", 4);
  expect(path.rowsAlong).toEqual([0, 1, 2, 3]);
  expect(path.words).toContain("passes 2 real images");
  expect(path.latents).toHaveLength(6);
  expect(path.latents[5]).toEqual([3, 0]);
  const apart = { ...chain, info: { ...chain.info }, knnRows: Uint32Array.from({ length: 24 }, (_, i) => Math.floor(i / 4) * 2 + ((Math.floor(i / 2) + 1) % 2)) };
  expect(makePath(apart, { a: 0, b: 11 }, "graph", 4).problem).toContain("No chain of nearest neighbours");
});

test("resampled ends are the ends, whatever is rounded", () => {
  for (let count = 3; count < 70; count++) {
    const points = [[0.1, 0.3], [0.7, 0.2], [1.3, 0.9], [Math.PI, 1 / 3]];
    const found = resample(points, count);
    expect(found[0]).toEqual(points[0]);
    expect(found[count - 1][0]).toBeCloseTo(Math.PI, 12);
    expect(found[count - 1][1]).toBeCloseTo(1 / 3, 12);
  }
});

test("as long as nothing is chosen the first path of the study is shown", () => {
  const own = { name: "PC1", axis_kind: "pca", start_row: 2, end_row: 9, note: "" };
  const walked = { ...model, info: { ...model.info, walks: [own] } };
  const path = shownPath(walked, INITIAL.path, 12);
  expect(path).toMatchObject({ a: 2, b: 9, walk: "PC1" });
  expect(studyPathOf(walked, path)).toBe(own);
  expect(studyPathOf(walked, { ...path, b: 3 })).toBeNull();
  expect(shownPath(walked, { ...INITIAL.path, a: 99, b: 1 }, 12)).toMatchObject({ a: null, b: 1 });
  expect(shownPath(model, INITIAL.path, 12)).toMatchObject({ a: null, b: null });
});

test("counts of support in words", () => {
  const stop = (level: "within" | "near" | "off", row: number | null = null) => ({ row, support: { level } }) as Stop;
  expect(supportCount([stop("within", 1), stop("within"), stop("off"), stop("within", 2)])).toBe("2 pictures in between: 1 within the data, 1 off the data.");
  expect(supportCount([stop("within"), stop("within")])).toBe("2 pictures in between: all within the data.");
});

test("names of stops", () => {
  const stop = (index: number, t: number) => ({ index, t }) as Stop;
  const { info } = model;
  expect(nameOfStop(info, stop(0, 0), 8)).toBe("A, reconstruction");
  expect(nameOfStop(info, stop(8, 1), 8)).toBe("B, reconstruction");
  expect(nameOfStop(info, stop(2, 0.25), 8)).toBe("t = 0.25");
  expect(nameOfStop(info, stop(1, 0.125), 8)).toBe("t = 0.125");
  const drawn = { ...info, local: { n_values: 8, levels: [] } };
  expect(nameOfStop(drawn, stop(8, 1), 8)).toBe("B, image of its z");
});

test("names are found by their beginning first, at most 50", () => {
  expect(rowsByName(["xab", "abc", "ABD", "q"], "ab")).toEqual([1, 2, 0]);
  expect(rowsByName(Array.from({ length: 500 }, (_, i) => `img ${i}`), "")).toHaveLength(50);
  expect(rowsByName(["a"], "z")).toEqual([]);
});

test("ticks are round", () => {
  expect(ticksFromZero(7.8)).toEqual([0, 2, 4, 6]);
  expect(ticksFromZero(1)).toEqual([0, 0.25, 0.5, 0.75, 1]);
  expect(ticksFromZero(0)).toEqual([0]);
});
