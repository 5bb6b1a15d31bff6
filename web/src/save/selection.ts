/** The selected images as a table and as a file that says how they were selected. */

import type { App } from "../app";
import type { Column, Model } from "../atlas";
import type { Selection } from "../store";
import { csv, shortest } from "./files";
import { isRepeatable } from "../recipe";

type Context = Pick<App, "atlas" | "loaded" | "store" | "positions">;

/** Row, name, and every column of the images and of the model. */
export function selectionCsv(app: Context, model: Model | null, rows: readonly number[]): string {
  const { atlas } = app;
  const columns = [...atlas.columns, ...(model?.columns ?? [])];
  const head = ["row", "name", ...columns.map((column) => (column.info.unit ? `${column.info.name} [${column.info.unit}]` : column.info.name))];
  const lines = rows.map((row) => [row, atlas.names[row], ...columns.map((column) => plainValue(column, row))]);
  return csv([head, ...lines]);
}

/** A value as a computer reads it: "" where it is missing. */
function plainValue(column: Column, row: number): string | number {
  const value = column.values[row];
  if (column.info.kind === "category") return column.info.categories?.[value] ?? "";
  return Number.isNaN(value) ? "" : shortest(value);
}

export function selectionJson(app: Context, selection: Selection, name = ""): string {
  const { manifest, names, n } = app.atlas;
  const content = {
    format: "zatlas selection 1",
    name,
    atlas_hash: manifest.atlas_hash,
    zatlas: manifest.zatlas,
    model: app.store.get().model,
    images_in_atlas: n,
    recipe: selection.recipe,
    recipe_alone_gives_these_rows: isRepeatable(app, selection),
    rows: selection.rows,
    names: selection.rows.map((row) => names[row]),
  };
  return `${JSON.stringify(content, null, 1)}\n`;
}
