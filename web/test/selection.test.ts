import { describe, expect, it } from "vitest";
import type { App } from "../src/app";
import { openText } from "../src/panels/OpenSelection";
import { INITIAL, Store } from "../src/store";

function page(): Pick<App, "atlas" | "store"> {
  return { atlas: { n: 10, manifest: { atlas_hash: "abc" } }, store: new Store(INITIAL) } as unknown as Pick<App, "atlas" | "store">;
}
const saved = (more: object) => JSON.stringify({ format: "zatlas selection 1", atlas_hash: "abc", rows: [3, 1, 3], recipe: [], ...more });

describe("a saved selection", () => {
  it("is selected again, once and in order", () => {
    const app = page();
    expect(openText(app, saved({}))).toBe("2 images selected.");
    expect(app.store.get().selection).toEqual({ rows: [1, 3], recipe: [{ kind: "rows", mode: "replace", rows: [1, 3] }] });
  });

  it("of another atlas is opened with a warning, as far as there are such rows", () => {
    const app = page();
    expect(openText(app, saved({ atlas_hash: "other", rows: [2, 99] }))).toContain("another atlas");
    expect(app.store.get().selection?.rows).toEqual([2]);
  });

  it.each(["", "{}", "null", "[1]", '{"format": "zatlas selection 1", "rows": ["<b>"]}', '{"format": "zatlas selection 1", "rows": [-1]}'])(
    "is refused when it is something else: %s",
    (text) => {
      const app = page();
      expect(openText(app, text)).toContain("not a selection");
      expect(app.store.get().selection).toBeNull();
    },
  );
});
