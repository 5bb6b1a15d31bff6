/** Putting the page into an element: opens the atlas, restores the state of the link, and keeps the link up to date. */

import { render } from "preact";
import { App, AppContext } from "./app";
import { Atlas } from "./atlas";
import { Shell } from "./Shell";
import type { Source } from "./source";
import type { State } from "./store";
import { INITIAL, Store } from "./store";
import { styleSheet } from "./style";
import { fromHash, toHash } from "./url";

export interface MountOptions {
  /** Whether the address bar holds the state. */
  usesHash: boolean;
  model?: string;
  onApp?: (app: App) => void;
}

export async function mount(element: HTMLElement, source: Source, options: MountOptions): Promise<App | null> {
  const root = element.getRootNode();
  const holder = root instanceof ShadowRoot ? root : document;
  holder.adoptedStyleSheets = [...holder.adoptedStyleSheets, styleSheet()];
  element.classList.add("zatlas");
  try {
    const atlas = await Atlas.open(source);
    const linked = options.usesHash ? await fromHash(location.hash) : null;
    const app = new App(atlas, new Store(firstState(atlas, linked?.state ?? {}, options.model)), element);
    const isOther = linked !== null && !atlas.manifest.atlas_hash.startsWith(linked.atlasHash);
    await app.load(app.store.get().model);
    if (options.usesHash) keepLink(app);
    options.onApp?.(app);
    element.replaceChildren();
    document.title = options.usesHash ? `${atlas.manifest.title || "zatlas"} · explorer` : document.title;
    render(
      <AppContext.Provider value={app}>
        <Shell warning={isOther ? OTHER_ATLAS : ""} />
      </AppContext.Provider>,
      element,
    );
    (element as HTMLElement & { zatlas?: App }).zatlas = app;
    return app;
  } catch (error) {
    showFailure(element, error, source.kind);
    return null;
  }
}

const OTHER_ATLAS =
  "This link was made for another atlas. What it points at may not be here, or may be something else.";

/** The state of the link as far as this atlas has it, else the beginning. */
function firstState(atlas: Atlas, linked: Partial<State>, wanted = ""): State {
  const state = { ...INITIAL, ...linked };
  const names = atlas.manifest.models.map((model) => model.name);
  const name = names.includes(state.model) ? state.model : names.includes(wanted) ? wanted : names[names.length - 1];
  const model = atlas.manifest.models[names.indexOf(name)];
  const inRange = (row: number | null) => (row !== null && row < atlas.n ? row : null);
  const kept = (rows: number[]) => rows.filter((row) => row < atlas.n);
  state.model = name;
  state.focus = inRange(state.focus);
  state.path = { ...state.path, a: inRange(state.path.a), b: inRange(state.path.b) };
  if (state.selection) state.selection = { ...state.selection, rows: kept(state.selection.rows) };
  state.regions = state.regions.map((region) => ({ ...region, rows: kept(region.rows) }));
  if (state.z?.length !== model.latent_dim) Object.assign(state, { z: [...model.pca.mean], origin: { kind: "mean" } });
  if (state.origin.kind === "image" && inRange(state.origin.row) === null) state.origin = { kind: "mean" };
  if (state.projection !== "z" && !model.projections.some((projection) => projection.name === state.projection)) {
    state.projection = model.projections[0].name;
  }
  if (!("colour" in linked) && model.columns.some((column) => column.name === "cluster")) state.colour = "cluster";
  return state;
}

/** The address follows the state, a little behind it, without filling the browser's history. */
function keepLink(app: App): void {
  let timer = 0;
  const write = async () => {
    timer = 0;
    const { hash } = await toHash(app.store.get(), app.atlas.manifest.atlas_hash);
    history.replaceState(null, "", hash);
  };
  app.store.subscribe(() => {
    timer ||= window.setTimeout(() => void write(), 300);
  });
  window.addEventListener("hashchange", () => location.reload());
}

function showFailure(element: HTMLElement, error: unknown, kind: Source["kind"]): void {
  const reason = error instanceof Error ? error.message : String(error);
  const title = document.createElement("h1");
  title.textContent = "The atlas could not be opened";
  const words = document.createElement("p");
  words.textContent = reason;
  const hint = document.createElement("p");
  hint.textContent = hintFor(kind);
  const box = document.createElement("div");
  box.className = "failure card";
  box.setAttribute("role", "alert");
  box.append(title, words, hint);
  element.replaceChildren(box);
}

function hintFor(kind: Source["kind"]): string {
  if (kind === "notebook") return "Run the cell again.";
  return location.protocol === "file:"
    ? "A folder made by zatlas export needs a web server: python3 -m http.server. Only a file made with --single-file opens by a double click."
    : "If this page came from zatlas explore, start it again and use the new address that it prints.";
}
