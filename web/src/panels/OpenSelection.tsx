/** Opening a selection that was saved as JSON, here or by a colleague. */

import { useRef, useState } from "preact/hooks";
import type { App } from "../app";
import { useApp } from "../app";
import type { Step } from "../store";

interface Saved {
  format: string;
  atlas_hash: string;
  rows: number[];
  recipe: Step[];
}

export function OpenSelection() {
  const app = useApp();
  const input = useRef<HTMLInputElement>(null);
  const [words, setWords] = useState("");
  const open = async (file: File | undefined) => {
    if (file) setWords(openText(app, await file.text()));
    if (input.current) input.current.value = "";
  };
  return (
    <span class="row">
      <button type="button" onClick={() => input.current?.click()}>
        Open a saved selection
      </button>
      <input ref={input} type="file" accept="application/json,.json" hidden aria-label="Saved selection" onChange={(event) => void open(event.currentTarget.files?.[0])} />
      {words && (
        <span class="small" role="status">
          {words}
        </span>
      )}
    </span>
  );
}

/** Select what the file holds; what it says when it cannot, or when it is of another atlas. */
export function openText(app: Pick<App, "atlas" | "store">, text: string): string {
  const saved = parsed(text);
  if (saved === null) return "This is not a selection that the explorer has saved.";
  const rows = saved.rows.filter((row) => row < app.atlas.n);
  app.store.set({ selection: rows.length ? { rows, recipe: saved.recipe } : null });
  if (saved.atlas_hash === app.atlas.manifest.atlas_hash) return `${rows.length} images selected.`;
  return `${rows.length} images selected by their rows. The file was made for another atlas: they may be other images.`;
}

function parsed(text: string): Saved | null {
  try {
    const value = JSON.parse(text) as Partial<Saved> | null;
    const isRow = (row: unknown) => Number.isInteger(row) && (row as number) >= 0;
    if (value?.format !== "zatlas selection 1" || !Array.isArray(value.rows) || !value.rows.every(isRow)) return null;
    const rows = [...new Set(value.rows)].sort((a, b) => a - b);
    const recipe: Step[] = Array.isArray(value.recipe) && value.recipe.length ? value.recipe : [{ kind: "rows", mode: "replace", rows }];
    return { format: value.format, atlas_hash: String(value.atlas_hash), rows, recipe };
  } catch {
    return null;
  }
}
