/** A small atlas in memory: 12 images on a grid of 4 x 3 in two latent dimensions, with hostile names and labels. */

import type { App } from "../src/app";
import type { Column, Model } from "../src/atlas";
import { INITIAL, type State } from "../src/store";

export const HOSTILE = '</text><script>alert("x")</script>';

const file = { path: "", dtype: "f32" as const, shape: [], bytes: 0, sha256: "" };

export const NAMES = Array.from({ length: 12 }, (_, i) => (i === 3 ? '=HYPERLINK("http://x")' : i === 5 ? HOSTILE : `img ${i}`));

const mean = Float32Array.from({ length: 24 }, (_, i) => (i % 2 === 0 ? (i / 2) % 4 : Math.floor(i / 8)));

const columns: Column[] = [
  { info: { name: "group", title: "Group", kind: "category", file, categories: ["a", HOSTILE, '"q" \\ \n'] }, values: Uint8Array.from({ length: 12 }, (_, i) => (i === 11 ? 255 : i % 3)) },
  { info: { name: "label_cluster", title: "cluster size", kind: "number", file, unit: "px" }, values: Float32Array.from({ length: 12 }, (_, i) => (i === 0 ? NaN : i / 10)) },
];
const modelColumns: Column[] = [
  { info: { name: "neighbour_distance", title: "Distance to neighbours", kind: "number", file }, values: new Float32Array(12).fill(1) },
  { info: { name: "pca_kept", title: "Kept", kind: "number", file }, values: new Float32Array(12).fill(0.5) },
];

export const model = {
  d: 2,
  mean,
  columns: modelColumns,
  projections: [],
  info: { name: "z2", latent_dim: 2, walks: [], knn: { k: 2 }, support: { k: 2, dims: [0, 1], within: 1, near: 2, quantiles: [0, 1, 2], words: "" } },
  knnRows: new Uint32Array(),
  knnDistances: new Float32Array(),
} as unknown as Model;

export function fakeApp(state: Partial<State> = {}): App {
  const whole = { ...INITIAL, model: "z2", ...state };
  const find = (name: string) => [...modelColumns, ...columns].find((column) => column.info.name === name) ?? null;
  return {
    atlas: {
      n: 12,
      names: NAMES,
      columns,
      column: find,
      manifest: { title: `Toy\nimport os`, atlas_hash: "0123456789abcdef", zatlas: "0.1.0", images: {} },
    },
    store: { get: () => whole },
    loaded: (name: string) => (name === "z2" ? model : null),
    positions: () => ({ xy: mean, titles: ["z0", "z1"], note: "", hasInverse: true }),
    announce: () => undefined,
  } as unknown as App;
}
