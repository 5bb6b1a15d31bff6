import { describe, expect, it, vi } from "vitest";
import { INITIAL, Store } from "../src/store";
import type { State } from "../src/store";
import { fromHash, toHash } from "../src/url";

const HASH = "0123456789abcdef0123456789abcdef";

describe("undo", () => {
  it("goes back and forth", () => {
    const store = new Store(INITIAL);
    store.set({ colour: "a" });
    store.set({ colour: "b" });
    store.undo();
    expect(store.get().colour).toBe("a");
    store.redo();
    expect(store.get().colour).toBe("b");
    store.undo();
    store.undo();
    expect(store.get().colour).toBe("");
    expect(store.canUndo).toBe(false);
  });

  it("takes one gesture as one step", () => {
    const store = new Store(INITIAL);
    for (let i = 0; i < 50; i++) store.set({ z: [i] }, "slider");
    store.undo();
    expect(store.get().z).toBeNull();
  });

  it("leaves view, theme and tab as they are", () => {
    const store = new Store(INITIAL);
    store.set({ colour: "a" });
    store.set({ theme: "dark", tab: "run" });
    store.undo();
    expect(store.get()).toMatchObject({ colour: "", theme: "dark", tab: "run" });
  });

  it("forgets what was undone once something new is done", () => {
    const store = new Store(INITIAL);
    store.set({ colour: "a" });
    store.undo();
    store.set({ colour: "b" });
    expect(store.canRedo).toBe(false);
  });

  it("tells nobody of a change that changes nothing", () => {
    const store = new Store(INITIAL);
    const heard = vi.fn();
    store.subscribe(heard);
    store.set({ colour: "" });
    expect(heard).not.toHaveBeenCalled();
  });
});

const RICH: State = {
  ...INITIAL,
  tab: "paths",
  theme: "dark",
  model: "z16",
  projection: "tsne",
  axes: [2, 0],
  colour: "label <b>&",
  colourRange: [-1.5, 2],
  palette: { "label <b>&": { a: "#102030" } },
  view: { x: 0.25, y: -3, height: 4.5 },
  focus: 17,
  selection: { rows: [3, 4, 900, 901], recipe: [{ kind: "region", mode: "replace", model: "z16", projection: "pca", axes: [0, 1], outline: [0, 0, 1.5, 0, 1, 1] }] },
  regions: [{ name: "öne ✓", rows: [1], recipe: [{ kind: "rows", mode: "replace", rows: [1] }] }],
  filters: [{ column: "rate_nats", kind: "range", low: 1, high: 20.25 }, { column: "split", kind: "values", values: ["test"] }],
  search: "B05",
  z: [0.125, -2.5],
  origin: { kind: "sliders", from: { kind: "image", row: 17 } },
  locked: [1],
  steer: "class",
  direction: { column: "label", from: "a", to: "b" },
  path: { a: 1, b: 2, kind: "graph", frames: 9, walk: "" },
};

describe("links", () => {
  it("hold the complete state", async () => {
    const { hash, isWhole } = await toHash(RICH, HASH);
    expect(isWhole).toBe(true);
    const found = await fromHash(hash);
    expect(found?.atlasHash).toBe(HASH.slice(0, 12));
    expect({ ...INITIAL, ...found?.state }).toEqual(RICH);
  });

  it("leave a selection out that is too large, and say so", async () => {
    let row = 0;
    let random = 1;
    const rows = Array.from({ length: 20_000 }, () => (row += 1 + ((random = (random * 48271) % 2147483647) % 97)));
    const { hash, isWhole } = await toHash({ ...RICH, selection: { rows, recipe: [] } }, HASH);
    expect(isWhole).toBe(false);
    expect((await fromHash(hash))?.state.focus).toBe(17);
  });

  it.each(["", "#", "#s=", "#s=1.zz.A", "#s=1.abc.!!!", "#s=1.abc.AAAA", "#s=2.abc.AAAA", "#<img src=x onerror=alert(1)>"])(
    "are harmless when malformed: %s",
    async (hash) => {
      expect(await fromHash(hash)).toBeNull();
    },
  );

  it("are harmless when they are endless", async () => {
    expect(await fromHash(`#s=1.abc.${"A".repeat(100_000)}`)).toBeNull();
  });

  it("keep only what has the right shape", async () => {
    const odd = { tab: "evil", focus: -3, z: ["a"], axes: [0], filters: [{ column: 3 }], path: { frames: 1e9 }, theme: "dark", selection: { rows: "x" } };
    const { hash } = await toHash(odd as unknown as State, HASH);
    expect((await fromHash(hash))?.state).toEqual({ theme: "dark" });
  });

  it("survive any flipped character without an exception", async () => {
    const { hash } = await toHash(RICH, HASH);
    for (let i = 3; i < hash.length; i += 7) {
      const broken = `${hash.slice(0, i)}${hash[i] === "A" ? "B" : "A"}${hash.slice(i + 1)}`;
      await expect(fromHash(broken)).resolves.not.toThrow();
    }
  });
});
