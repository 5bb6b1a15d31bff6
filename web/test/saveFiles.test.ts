import { expect, test } from "vitest";
import { csv, csvCell } from "../src/save/files";
import { gif } from "../src/save/gif";
import { selectionCsv, selectionJson } from "../src/save/selection";
import { fileName, fitted, wrapped } from "../src/save/stamp";
import type { Step } from "../src/store";
import { fakeApp, HOSTILE, model } from "./savePlane";

test("formulas are made inert, numbers stay numbers", () => {
  expect(csvCell("=1+1")).toBe("'=1+1");
  expect(csvCell("@SUM(A1)")).toBe("'@SUM(A1)");
  expect(csvCell("-x")).toBe("'-x");
  expect(csvCell(-3)).toBe("-3");
  expect(csv([["a,b", 'say "x"', "two\nlines"]])).toBe('"a,b","say ""x""","two\nlines"\n');
});

test("a selection as a table has every column, and nothing where a value is missing", () => {
  const lines = selectionCsv(fakeApp(), model, [0, 3, 11]).split("\n");
  expect(lines[0]).toBe("row,name,group,label_cluster [px],neighbour_distance,pca_kept");
  expect(lines[1]).toBe("0,img 0,a,,1,0.5");
  expect(lines[2]).toBe(`3,"'=HYPERLINK(""http://x"")",a,0.3,1,0.5`);
  expect(lines[3]).toBe("11,img 11,,1.1,1,0.5");
});

test("a selection as JSON says how it was made and of which atlas", () => {
  const recipe: Step[] = [{ kind: "rows", mode: "replace", rows: [5, 7] }];
  const content = JSON.parse(selectionJson(fakeApp(), { rows: [5, 7], recipe }));
  expect(content).toMatchObject({ atlas_hash: "0123456789abcdef", rows: [5, 7], recipe, names: [HOSTILE, "img 7"], recipe_alone_gives_these_rows: true });
});

test("file names hold letters, digits and no path", () => {
  expect(fileName("../../etc/passwd", "t-SNE 1", "")).toBe("etc-passwd_t-SNE-1");

  expect(fileName("")).toBe("zatlas");
});

const pen = { measureText: (text: string) => ({ width: text.length }) as TextMetrics };

test("text is cut or broken to a width", () => {
  expect(fitted(pen, "abcdefgh", 5)).toBe("abcd…");
  expect(fitted(pen, "abc", 5)).toBe("abc");
  expect(wrapped(pen, "one two three", 7)).toEqual(["one two", "three"]);
});

test("a GIF holds all frames and keeps greys exactly", () => {
  const frame = (value: number) => ({ rgba: Uint8Array.from({ length: 16 }, (_, i) => (i % 4 === 3 ? 255 : value)), delayMs: 100 });
  const bytes = gif([frame(0), frame(37), frame(255)], 2, 2);
  expect(new TextDecoder().decode(bytes.slice(0, 6))).toBe("GIF89a");
  const frames = bytes.reduce((count, byte, i) => count + (byte === 0x21 && bytes[i + 1] === 0xf9 && bytes[i + 2] === 4 ? 1 : 0), 0);
  expect(frames).toBe(3);
  expect([...bytes.slice(13 + 3 * 37, 13 + 3 * 38)]).toEqual([37, 37, 37]);
});

test("a GIF in colour has its own palette per frame", () => {
  const rgba = Uint8Array.from([255, 0, 0, 255, 0, 255, 0, 255, 0, 0, 255, 255, 9, 9, 9, 255]);
  expect(gif([{ rgba, delayMs: 20 }], 2, 2).length).toBeGreaterThan(30);
});
