/** What leaves the page of a selection: a table, its recipe, or code that repeats it. */

import type { App } from "../app";
import type { Model } from "../atlas";
import { save } from "../save/files";
import { pythonSnippet } from "../save/python";
import { selectionCsv, selectionJson } from "../save/selection";
import { copyText } from "../save/share";
import type { Selection } from "../store";

export function saveCsv(app: App, model: Model, selection: Selection): void {
  save("selection.csv", selectionCsv(app, model, selection.rows), "text/csv");
}

export function saveJson(app: App, selection: Selection): void {
  save("selection.json", selectionJson(app, selection), "application/json");
}

export async function copyPython(app: App, selection: Selection): Promise<void> {
  const isCopied = await copyText(pythonSnippet(app, selection), app.element, "The code");
  if (isCopied) app.announce("code copied");
}
