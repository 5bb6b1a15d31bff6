/** What a person can do: each action is one change of the state. */

import type { App } from "./app";
import type { Model } from "./atlas";
import { MOST_DRAWS } from "./chance";
import { latentOf } from "./atlas";
import { blendNear, meanLatent, pcaInverse, pcaScores } from "./latent";
import { rowsOfStep, rowsWhere } from "./recipe";
import type { Origin, Selection, State, Step } from "./store";

/** Inspect a real image: it comes into focus and the sliders go to its latent. */
export function inspect(app: App, row: number | null, gesture = ""): void {
  const { model: name } = app.store.get();
  const model = app.loaded(name);
  if (row === null || model === null) {
    app.store.set({ focus: row }, gesture);
    return;
  }
  app.store.set({ focus: row, z: [...latentOf(model, row)], origin: { kind: "image", row } }, gesture);
  app.announce(`image ${app.atlas.names[row]}`);
}

export function steer(app: App, z: number[], origin: Origin, gesture = ""): void {
  app.store.set({ z: withLocked(app, z), origin }, gesture);
}

/** The next draw of texture, for all pictures that are decoded. */
export function drawAgain(app: App): void {
  drawTexture(app, (app.store.get().draw % MOST_DRAWS) + 1);
}

export function drawTexture(app: App, draw: number): void {
  app.store.set({ draw });
  app.announce(`texture of draw ${draw}`);
}

/** Locked dimensions stay where they are, wherever else the latent goes. */
function withLocked(app: App, z: number[]): number[] {
  const { locked, z: old } = app.store.get();
  return old === null || locked.length === 0 ? [...z] : z.map((value, j) => (locked.includes(j) ? old[j] : value));
}

/** The sliders were moved: what the picture was before is remembered as the place it came from. */
export function slide(app: App, z: number[], gesture: string, own?: number): void {
  const { origin } = app.store.get();
  const free = withLocked(app, z);
  if (own !== undefined) free[own] = z[own];
  app.store.set({ z: free, origin: { kind: "sliders", from: origin.kind === "sliders" ? origin.from : origin } }, gesture);
}

/** Decode at a place of the map: exactly on a map with an inverse, else the mean of the nearest images on it. */
export function steerToPlace(app: App, x: number, y: number, gesture = ""): void {
  const state = app.store.get();
  const model = app.loaded(state.model);
  if (model === null) return;
  const { z, origin } = latentAt(app, model, state, x, y);
  app.store.set({ z: withLocked(app, z), origin, focus: null }, gesture);
}

export function latentAt(app: App, model: Model, state: State, x: number, y: number): { z: number[]; origin: Origin } {
  const [a, b] = state.axes;
  if (state.projection === "z") {
    const z = [...(state.z ?? meanLatent(model))];
    z[Math.min(a, model.d - 1)] = x;
    z[Math.min(b, model.d - 1)] = y;
    return { z, origin: { kind: "sliders", from: state.origin.kind === "sliders" ? state.origin.from : state.origin } };
  }
  const positions = app.positions(model, state.projection, state.axes);
  if (positions.hasInverse) return { z: pcaInverse(model, new Map([[a, x], [b, y]])), origin: { kind: "pca" } };
  const blend = blendNear(model, positions.xy, x, y);
  return { z: blend.z, origin: { kind: "blend", rows: blend.rows, map: state.projection } };
}

/** Where a latent lies on the map; null on a map that places only images. */
export function placeOf(app: App, model: Model, state: State): { x: number; y: number } | null {
  const { z, origin, axes, projection } = state;
  if (z === null || z.length !== model.d) return null;
  const positions = app.positions(model, projection, axes);
  if (origin.kind === "image") return { x: positions.xy[2 * origin.row], y: positions.xy[2 * origin.row + 1] };
  if (projection === "z") return { x: z[Math.min(axes[0], model.d - 1)], y: z[Math.min(axes[1], model.d - 1)] };
  if (positions.hasInverse) {
    const scores = pcaScores(model, z);
    return { x: scores[axes[0]], y: scores[axes[1]] };
  }
  return null;
}

/** Another model: the image in focus stays, its latent is that of the other model. */
export async function switchModel(app: App, name: string): Promise<void> {
  const model = await app.load(name);
  const state = app.store.get();
  const row = state.focus;
  const change: Partial<State> = { model: name, locked: [], view: null };
  change.z = row === null ? meanLatent(model) : [...latentOf(model, row)];
  change.origin = row === null ? { kind: "mean" } : { kind: "image", row };
  if (state.projection !== "z" && !model.projections.some((p) => p.info.name === state.projection)) {
    change.projection = model.projections[0].info.name;
  }
  const most = state.projection === "z" ? model.d : Math.max(...model.projections.map((p) => p.k));
  if (state.axes.some((axis) => axis >= most)) change.axes = [0, Math.min(1, most - 1)];
  if (app.colourColumn(state.colour, model, state.regions) === null) change.colour = "";
  app.store.set(change);
  app.announce(`model ${name}, ${model.d} latent dimensions`);
}

/** Rows that a step stands for, ascending; of values and ranges only those that the filters show. */
function rowsOf(app: App, step: Step, given?: ArrayLike<number>): number[] {
  if (given) return Array.from(given);
  if (step.kind === "rows") return step.rows;
  const visible = app.visible(app.store.get());
  if (step.kind === "filters") return rowsWhere(visible ?? new Uint8Array(app.atlas.n).fill(1));
  const rows = rowsOfStep(app, step) ?? [];
  if (step.kind === "neighbours") return rows.sort((a, b) => a - b);
  return visible === null ? rows : rows.filter((row) => visible[row]);
}

/** Replace the selection, add to it or take away from it. */
export function select(app: App, step: Step, given?: ArrayLike<number>): void {
  const rows = rowsOf(app, step, given);
  const selection = combined(app.store.get().selection, rows, step);
  app.store.set({ selection: selection.rows.length ? selection : null });
  app.announce(`${selection.rows.length} of ${app.atlas.n} images selected`);
}

export function combined(old: Selection | null, rows: number[], step: Step): Selection {
  if (step.mode === "replace" || old === null) return { rows: step.mode === "subtract" ? [] : rows, recipe: [{ ...step, mode: "replace" } as Step] };
  const set = new Set(old.rows);
  for (const row of rows) {
    if (step.mode === "add") set.add(row);
    else set.delete(row);
  }
  return { rows: [...set].sort((a, b) => a - b), recipe: [...old.recipe, step] };
}

export function clearSelection(app: App): void {
  app.store.set({ selection: null });
  app.announce("nothing is selected");
}

/** Keep the present selection under a name. */
export function keepSelection(app: App, name: string): void {
  const { selection, regions } = app.store.get();
  if (selection === null) return;
  app.store.set({ regions: [...regions.filter((region) => region.name !== name), { name, ...selection }] });
}

export function maskOf(n: number, rows: readonly number[]): Uint8Array {
  const mask = new Uint8Array(n);
  for (const row of rows) if (row < n) mask[row] = 1;
  return mask;
}
