/** The page inside a notebook (anywidget): files come by messages; selection, latent, model and theme go both ways. */

import { render } from "preact";
import type { App } from "./app";
import { slide, switchModel } from "./act";
import { mount } from "./mount";
import type { NotebookModel } from "./notebook";
import { isNotebookDark, NotebookSource } from "./notebook";
import type { Selection, Step, Theme } from "./store";

const SHARED = ["recipe", "selection", "z", "model", "theme"] as const;
type Shared = (typeof SHARED)[number];

const TELL_AFTER_MS = 150;

/** Shows the page in an output cell; what it answers takes the page away again. */
function show({ model, el }: { model: NotebookModel; el: HTMLElement }): () => void {
  const holder = document.createElement("div");
  const element = document.createElement("div");
  holder.attachShadow({ mode: "open" }).append(element);
  holder.addEventListener("keydown", keepFromNotebook);
  element.classList.add("embedded");
  element.style.minHeight = "0"; // the height is that of the cell
  element.tabIndex = -1; // a click anywhere in the page takes the keys there
  element.dataset.theme = isNotebookDark() ? "dark" : "light";
  const words = document.createElement("p");
  words.textContent = "Opening the atlas. Python answers when no cell is running.";
  element.append(words);
  el.append(holder);
  const resize = () => {
    element.style.height = `${Number(model.get("height")) || 720}px`;
  };
  resize();
  model.on("change:height", resize);
  const release = keepShiftFromNotebook(holder);
  const source = new NotebookSource(model);
  const ends: (() => void)[] = [() => source.stop(), () => model.off("change:height", resize), release, () => holder.remove()];
  let isOver = false;
  void mount(element, source, { usesHash: false, model: String(model.get("model") ?? "") }).then((app) => {
    if (app === null) return;
    ends.unshift(...(isOver ? [] : [follow(app, model)]), () => render(null, element), () => app.decoder.stop());
    if (isOver) for (const end of ends) end();
  });
  return () => {
    isOver = true;
    for (const end of ends) end();
  };
}

/** Keys pressed in the page do nothing to the cells of the notebook; those with Ctrl do, but for undo and redo. */
function keepFromNotebook(event: KeyboardEvent): void {
  const isCommand = event.ctrlKey || event.metaKey || event.altKey;
  if (!isCommand || event.defaultPrevented || event.key.toLowerCase() === "z") event.stopPropagation();
}

/** Shift and the mouse add to the selection of images here; Jupyter would mark all cells from the active one to this. */
function keepShiftFromNotebook(holder: HTMLElement): () => void {
  const keep = (event: MouseEvent) => {
    if (event.shiftKey && event.composedPath().includes(holder)) event.stopPropagation();
  };
  document.addEventListener("mousedown", keep, true);
  return () => document.removeEventListener("mousedown", keep, true);
}

/** Keeps the traits of the Python object equal to the state of the page. Only what changed is told: a widget may be shown twice. */
function follow(app: App, model: NotebookModel): () => void {
  const told = new Map<Shared, string>();
  const tell = () => {
    const state = stateOf(app);
    const changed = SHARED.filter((name) => told.get(name) !== JSON.stringify(state[name]));
    for (const name of changed) told.set(name, JSON.stringify(state[name]));
    for (const name of changed) if (!isSame(name, model.get(name), state[name])) model.set(name, state[name]);
    if (changed.length > 0) model.save_changes();
  };
  const hear = (name: Shared) => () => {
    const value = model.get(name);
    if (isSame(name, value, stateOf(app)[name])) return;
    const recipe = model.get("recipe");
    take(app, name, value, told.get("recipe") === JSON.stringify(recipe) ? "" : String(recipe));
    // A model comes when it is loaded; what else was not taken is told as it is.
    if (isSame(name, value, stateOf(app)[name])) told.set(name, JSON.stringify(stateOf(app)[name]));
    else if (name !== "model") told.delete(name);
    later();
  };
  let timer = 0;
  const later = () => {
    clearTimeout(timer);
    timer = window.setTimeout(tell, TELL_AFTER_MS);
  };
  const stop = app.store.subscribe(later);
  const listeners = SHARED.filter((name) => name !== "recipe").map((name) => [`change:${name}`, hear(name)] as const);
  for (const [, listener] of listeners) listener();
  for (const [event, listener] of listeners) model.on(event, listener);
  tell();
  return () => {
    clearTimeout(timer);
    stop();
    for (const [event, listener] of listeners) model.off(event, listener);
  };
}

function stateOf(app: App): Record<Shared, unknown> {
  const { selection, z, model, theme } = app.store.get();
  const mean = app.atlas.manifest.models.find((known) => known.name === model)?.pca.mean ?? [];
  return { recipe: JSON.stringify(selection?.recipe ?? []), selection: selection?.rows ?? [], z: z ?? mean, model, theme };
}

/** Whether two values mean the same; the order of selected rows means nothing. */
function isSame(name: Shared, a: unknown, b: unknown): boolean {
  return name === "selection" ? ascending(a).join() === ascending(b).join() : JSON.stringify(a) === JSON.stringify(b);
}

function ascending(rows: unknown): number[] {
  return [...(rows as number[])].sort((a, b) => a - b);
}

/** Do as Python, or another view of the widget, says; what makes no sense here is left alone. */
function take(app: App, name: Shared, value: unknown, recipe: string): void {
  const { store, atlas } = app;
  if (name === "selection") store.set({ selection: selectionOf(ascending(value).filter((row) => row < atlas.n), recipe) });
  else if (name === "model" && atlas.manifest.models.some((known) => known.name === value)) void switchModel(app, String(value));
  else if (name === "theme" && value !== "") store.set({ theme: value as Theme });
  else if (name === "z" && (value as number[]).length === (stateOf(app).z as number[]).length) slide(app, value as number[], "notebook");
}

function selectionOf(rows: number[], recipe: string): Selection | null {
  if (rows.length === 0) return null;
  const steps = recipe === "" ? [] : (JSON.parse(recipe) as Step[]);
  return { rows, recipe: steps.length > 0 ? steps : [{ kind: "rows", mode: "replace", rows }] };
}

export default { render: show };
