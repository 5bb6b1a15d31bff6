/** Making a selection again from its recipe alone, as the Python snippet does. */

import type { App } from "./app";
import type { Model } from "./atlas";
import { latentOf, meets } from "./atlas";
import { nearest } from "./latent";
import type { Selection, Step } from "./store";

type Context = Pick<App, "atlas" | "loaded" | "store" | "positions">;

/** Rows of a recipe, ascending; null when a step cannot be repeated. Filters that were set at the time are not in it. */
export function replay(app: Context, recipe: readonly Step[]): number[] | null {
  const inside = new Uint8Array(app.atlas.n);
  for (const step of recipe) {
    const rows = rowsOfStep(app, step);
    if (rows === null) return null;
    if (step.mode === "replace") inside.fill(0);
    for (const row of rows) if (row < inside.length) inside[row] = step.mode === "subtract" ? 0 : 1;
  }
  return rowsWhere(inside);
}

export function rowsWhere(mask: Uint8Array): number[] {
  const rows: number[] = [];
  for (let i = 0; i < mask.length; i++) if (mask[i]) rows.push(i);
  return rows;
}

/** What the recipe alone gets wrong: rows that it has too many, and rows that it leaves out. */
export function corrections(app: Context, { rows, recipe }: Selection): { tooMany: number[]; missing: number[] } | null {
  const again = replay(app, recipe);
  if (again === null) return null;
  const [right, got] = [new Set(rows), new Set(again)];
  return { tooMany: again.filter((row) => !right.has(row)), missing: rows.filter((row) => !got.has(row)) };
}

/** Whether the recipe alone, without the filters of the time, gives the rows of the selection. */
export function isRepeatable(app: Context, selection: Selection): boolean {
  const found = corrections(app, selection);
  return found !== null && found.tooMany.length + found.missing.length === 0;
}

/** Rows that a step alone stands for, whatever filters are set; null when it cannot be repeated. */
export function rowsOfStep(app: Context, step: Step): number[] | null {
  if (step.kind === "rows") return step.rows;
  if (step.kind === "neighbours") return withModel(app, step.model, (model) => neighbours(model, step.row, step.k));
  if (step.kind === "region") {
    return withModel(app, step.model, (model) => inPolygon(app.positions(model, step.projection, step.axes).xy, step.outline));
  }
  if (step.kind === "filters") return null;
  const column = app.atlas.column(step.column, app.loaded(app.store.get().model));
  if (column === null) return null;
  const passes = meets(column, step);
  return rowsWhere(Uint8Array.from(column.values, (_, row) => Number(passes(row))));
}

function withModel(app: Context, name: string, rows: (model: Model) => number[]): number[] | null {
  const model = app.loaded(name);
  return model === null ? null : rows(model);
}

function neighbours(model: Model, row: number, k: number): number[] {
  return [row, ...nearest(model, latentOf(model, row), k, { except: row }).map((found) => found.row)];
}

/** Rows within a closed outline by the even-odd rule. */
export function inPolygon(xy: ArrayLike<number>, outline: ArrayLike<number>): number[] {
  const corners = outline.length / 2;
  const rows: number[] = [];
  for (let row = 0; row < xy.length / 2; row++) {
    const [x, y] = [xy[2 * row], xy[2 * row + 1]];
    let isIn = false;
    for (let i = 0, j = corners - 1; i < corners; j = i++) {
      const [xi, yi, xj, yj] = [outline[2 * i], outline[2 * i + 1], outline[2 * j], outline[2 * j + 1]];
      if (yi > y !== yj > y && x < ((xj - xi) * (y - yi)) / (yj - yi) + xi) isIn = !isIn;
    }
    if (isIn) rows.push(row);
  }
  return rows;
}
