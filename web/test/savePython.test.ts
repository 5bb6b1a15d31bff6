import { expect, test } from "vitest";
import { pythonSnippet, pythonString, pythonPath } from "../src/save/python";
import { replay } from "../src/recipe";
import type { Selection, Step } from "../src/store";
import { fakeApp, HOSTILE } from "./savePlane";

const region: Step = { kind: "region", mode: "replace", model: "z2", projection: "z", axes: [0, 1], outline: [-0.5, -0.5, 1.5, -0.5, 1.5, 1.5, -0.5, 1.5] };

function made(recipe: Step[]): Selection {
  return { recipe, rows: replay(fakeApp(), recipe) ?? [] };
}

test("strings of any kind become literals that stay on their line", () => {
  expect(pythonString("plain")).toBe('"plain"');
  expect(pythonString('a"b\\c\nd')).toBe('"a\\"b\\\\c\\x0ad"');
  expect(pythonString("é€😀\u2028")).toBe('"\\xe9\\u20ac\\U0001f600\\u2028"');
  expect(pythonString("'''")).toBe(`"'''"`);
});

test("a region becomes a test of points in a polygon", () => {
  const selection = made([region]);
  expect(selection.rows).toEqual([0, 1, 4, 5]);
  const code = pythonSnippet(fakeApp(), selection);
  expect(code).toContain('atlas = study.atlas("z2")');
  expect(code).toContain("outline = np.array([(-0.5, -0.5), (1.5, -0.5), (1.5, 1.5), (-0.5, 1.5)])");
  expect(code).toContain("found = points_in_poly(atlas.mean[:, [0, 1]], outline)");
  expect(code).toContain("from skimage.measure import points_in_poly");
  expect(code).toContain("inside = found");
});

test("maps are taken by their name", () => {
  const code = pythonSnippet(fakeApp(), made([{ ...region, projection: "tsne" } as Step]));
  expect(code).toContain('points_in_poly(atlas.projections["tsne"][:, [0, 1]], outline)');
});

test("adding and taking away become union and difference", () => {
  const selection = made([
    region,
    { kind: "values", mode: "add", column: "group", values: [HOSTILE] },
    { kind: "range", mode: "subtract", column: "label_cluster", low: 0.45, high: 0.75 },
    { kind: "neighbours", mode: "add", model: "z2", row: 0, k: 2 },
  ]);
  const code = pythonSnippet(fakeApp(), selection);
  expect(code).toContain(`found = table["group"].astype(str).isin([${pythonString(HOSTILE)}]).to_numpy()\ninside |= found`);
  expect(code).toContain('values = table["cluster size"].to_numpy(np.float32, na_value=np.nan)');
  expect(code).toContain("found = (values >= 0.45) & (values <= 0.75)\ninside &= ~found");
  expect(code).toContain("neighbours, _ = atlas.neighbours(2)\nfound[neighbours[0]] = True\nfound[0] = True\ninside |= found");
});

test("a title with a line break cannot leave its comment", () => {
  const code = pythonSnippet(fakeApp(), made([region]));
  expect(code.split("\n").some((line) => line.startsWith("import os"))).toBe(false);
  expect(code.split("\n")[0]).toBe("# Toy import os, atlas 0123456789ab, zatlas 0.1.0");
});

test("what filters did to a selection is put right", () => {
  const { recipe } = made([{ kind: "range", mode: "replace", column: "label_cluster", low: 0, high: 2 }]);
  const code = pythonSnippet(fakeApp(), { recipe, rows: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10] });
  expect(code).toContain("inside[[11]] = False");
});

test("what cannot be repeated is given as rows", () => {
  const steps: Step[] = [
    { kind: "filters", mode: "replace" },
    { kind: "range", mode: "replace", column: "pca_kept", low: 0, high: 1 },
    { kind: "rows", mode: "replace", rows: [0, 1, 2, 3] },
  ];
  for (const step of steps) {
    const code = pythonSnippet(fakeApp(), { recipe: [step], rows: [4, 7] });
    expect(code).toContain("rows = np.array([4, 7], dtype=np.int64)");
    expect(code).not.toContain("inside");
  }
});

test("a path is asked of the atlas and decoded", () => {
  const code = pythonPath(fakeApp(), { a: 5, b: 2, kind: "spherical", frames: 9, walk: "" });
  expect(code).toContain('path = atlas.path((5, 2), points=9, kind="spherical")');
  expect(code).toContain("pictures = vae.decode(z)  #");
  expect(code).toContain(`# A: ${HOSTILE}`);
});

test("a path along the data graph carries its rows", () => {
  const code = pythonPath(fakeApp(), { a: 5, b: 2, kind: "graph", frames: 3, walk: "" }, [5, 1, 2]);
  expect(code).toContain("path = atlas.mean[[5, 1, 2]].astype(np.float64)");
  expect(code).toContain("np.linspace(0.0, along[-1], 5)");
});
