/** What every part of the page works with: the atlas, the state, the decoder, and what follows from them. */

import { createContext } from "preact";
import { useContext, useEffect, useMemo, useRef, useState } from "preact/hooks";
import type { Atlas, Column, Model } from "./atlas";
import { meets, textOf } from "./atlas";
import type { Frames } from "./decoder";
import { Decoder, NewestWins } from "./decoder";
import { drawsTexture } from "./levels";
import { support, type Support } from "./latent";
import type { ModelInfo } from "./manifest";
import type { Filter, KeptSelection, State } from "./store";
import { Store, useSelected } from "./store";

export interface Positions {
  /** x and y by turns, one pair per image. */
  xy: Float32Array;
  titles: [string, string];
  note: string;
  hasInverse: boolean;
}

/** Name of the column that the kept selections make. */
export const KEPT = "kept selections";

/** The kept selections as a column; an image in several belongs to the first. */
function keptColumn(n: number, regions: readonly KeptSelection[]): Column | null {
  if (regions.length === 0) return null;
  const values = new Uint16Array(n).fill(0xffff);
  for (let i = regions.length - 1; i >= 0; i--) for (const row of regions[i].rows) if (row < n) values[row] = i;
  const file = { path: "", dtype: "u16" as const, shape: [n], bytes: 0, sha256: "" };
  return { info: { name: KEPT, title: "Kept selections", kind: "category", file, categories: regions.map((region) => region.name) }, values };
}

export class App {
  readonly decoder: Decoder;
  readonly isTraining: Uint8Array;
  readonly isHeldOut: Uint8Array;
  private readonly models = new Map<string, Model>();
  private readonly positionsOf = new Map<string, Positions>();
  private readonly loads = new Set<() => void>();
  private visibleOf: { state: Pick<State, "filters" | "search" | "model">; mask: Uint8Array | null } | null = null;
  private haystack: string[] | null = null;

  constructor(
    readonly atlas: Atlas,
    readonly store: Store,
    /** The element in which the page lives, and the root that it belongs to. */
    readonly element: HTMLElement,
  ) {
    this.decoder = new Decoder(atlas.source, atlas.manifest);
    this.isTraining = atlas.split("train");
    if (!this.isTraining.includes(1)) this.isTraining.fill(1);
    this.isHeldOut = atlas.split("test");
  }

  /** The loaded model of that name, or null while it is loading. */
  loaded(name: string): Model | null {
    return this.models.get(name) ?? null;
  }

  async load(name: string): Promise<Model> {
    const model = await this.atlas.model(name);
    if (!this.models.has(name)) {
      this.models.set(name, model);
      for (const listener of this.loads) listener();
    }
    return model;
  }

  onLoad(listener: () => void): () => void {
    this.loads.add(listener);
    return () => this.loads.delete(listener);
  }

  /** Where the images lie on a map; "z" is the plane of two latent dimensions. */
  positions(model: Model, projection: string, axes: readonly [number, number]): Positions {
    const key = `${model.info.name} ${projection} ${axes.join(" ")}`;
    let found = this.positionsOf.get(key);
    if (found === undefined) {
      found = projection === "z" ? latentPlane(model, axes) : mapPlane(model, projection, axes);
      if (this.positionsOf.size > 12) this.positionsOf.clear();
      this.positionsOf.set(key, found);
    }
    return found;
  }

  /** The column that colours the map: of the images, of a model, or the kept selections. */
  colourColumn(name: string, model: Model | null, regions: readonly KeptSelection[]): Column | null {
    return name === KEPT ? keptColumn(this.atlas.n, regions) : this.atlas.column(name, model);
  }

  /** 1 where an image passes filters and search; null when nothing is hidden. */
  visible(state: Pick<State, "filters" | "search" | "model">): Uint8Array | null {
    const last = this.visibleOf;
    if (last && last.state.filters === state.filters && last.state.search === state.search && last.state.model === state.model) return last.mask;
    const mask = this.filtered(state);
    this.visibleOf = { state, mask };
    return mask;
  }

  private filtered(state: Pick<State, "filters" | "search" | "model">): Uint8Array | null {
    const words = state.search.trim().toLowerCase();
    if (state.filters.length === 0 && words === "") return null;
    const mask = new Uint8Array(this.atlas.n).fill(1);
    for (const filter of state.filters) this.apply(filter, state.model, mask);
    if (words !== "") {
      this.haystack ??= this.atlas.names.map((name, i) =>
        [name, ...this.atlas.columns.filter((c) => c.info.kind === "category").map((c) => textOf(c, i))].join("\n").toLowerCase(),
      );
      for (let i = 0; i < mask.length; i++) if (!this.haystack[i].includes(words)) mask[i] = 0;
    }
    return mask;
  }

  /** Set the mask to 0 where an image does not pass a filter. */
  apply(filter: Filter, modelName: string, mask: Uint8Array): void {
    const column = this.atlas.column(filter.column, this.loaded(modelName));
    if (column === null) return;
    const passes = meets(column, filter);
    for (let i = 0; i < mask.length; i++) if (!passes(i)) mask[i] = 0;
  }

  support(model: Model, z: ArrayLike<number>, except?: number): Support {
    return support(model, z, this.isTraining, except);
  }

  /** Say something to people who listen rather than look; the newest message wins. */
  announce(text: string): void {
    const region = this.element.querySelector<HTMLElement>("[data-announcer]");
    if (region) region.textContent = text;
  }
}

/** Columns a and b of a row-major table, by turns. */
function pairsOf(values: Float32Array, width: number, a: number, b: number): Float32Array {
  const xy = new Float32Array((2 * values.length) / width);
  for (let i = 0; 2 * i < xy.length; i++) {
    xy[2 * i] = values[i * width + a];
    xy[2 * i + 1] = values[i * width + b];
  }
  return xy;
}

function mapPlane(model: Model, name: string, axes: readonly [number, number]): Positions {
  const projection = model.projections.find((candidate) => candidate.info.name === name) ?? model.projections[0];
  const [a, b] = [Math.min(axes[0], projection.k - 1), Math.min(axes[1], projection.k - 1)];
  const { info } = projection;
  return { xy: pairsOf(projection.values, projection.k, a, b), titles: [info.axes[a], info.axes[b]], note: info.note, hasInverse: info.has_inverse };
}

function latentPlane(model: Model, axes: readonly [number, number]): Positions {
  const [a, b] = [Math.min(axes[0], model.d - 1), Math.min(axes[1], model.d - 1)];
  const rates = model.info.dimensions;
  const total = rates.reduce((sum, dimension) => sum + dimension.rate_nats, 0) || 1;
  const share = (100 * (rates[a].rate_nats + (a === b ? 0 : rates[b].rate_nats))) / total;
  const note = `Two of ${model.d} latent dimensions; they carry ${share.toFixed(0)} % of the rate. The others are not shown.`;
  return { xy: pairsOf(model.mean, model.d, a, b), titles: [`z${a}`, `z${b}`], note, hasInverse: true };
}

export const AppContext = createContext<App | null>(null);

export function useApp(): App {
  const app = useContext(AppContext);
  if (app === null) throw new Error("a part of the page stands outside of it");
  return app;
}

/** A part of the state. */
export function usePart<T>(select: (state: State) => T): T {
  return useSelected(useApp().store, select);
}

/** The model in view; null while it is loading. */
export function useModel(name?: string): Model | null {
  const app = useApp();
  const current = usePart((state) => state.model);
  const [, redraw] = useState(0);
  useEffect(() => app.onLoad(() => redraw((count) => count + 1)), [app]);
  return app.loaded(name ?? current);
}

/** What the manifest says of the model in view, also while it is loading. */
export function useModelInfo(): ModelInfo {
  const { models } = useApp().atlas.manifest;
  const current = usePart((state) => state.model);
  return models.find((model) => model.name === current) ?? models[0];
}

export interface Decoded {
  frames: Frames | null;
  /** Which latents the frames show; differs from those asked for while decoding. */
  shown: readonly ArrayLike<number>[] | null;
  error: string;
  isBusy: boolean;
}

/** Decoded pictures of latents, or the last ones until the new ones are there: no flicker, the newest latents win. */
export function useDecoded(model: Model | null, latents: readonly ArrayLike<number>[] | null): Decoded {
  const app = useApp();
  const chosen = usePart((state) => state.draw);
  const draw = model !== null && drawsTexture(model.info) ? chosen : 1;
  const [result, setResult] = useState<Decoded & { model: Model | null; draw: number }>({ frames: null, shown: null, error: "", isBusy: false, model: null, draw });
  const alive = useRef(true);
  useEffect(() => {
    alive.current = true;
    return () => {
      alive.current = false;
    };
  }, []);
  const queue = useMemo(
    () =>
      new NewestWins<{ model: Model; latents: readonly ArrayLike<number>[]; draw: number }>(async (item) => {
        const next = await decodeOrSay(app, item.model, item.latents, item.draw);
        if (alive.current) setResult({ ...next, model: item.model, draw: item.draw });
      }),
    [app],
  );
  useEffect(() => {
    if (model !== null && latents !== null && latents.length > 0) queue.ask({ model, latents, draw });
  }, [model, latents, draw, queue]);
  if (model === null || latents === null || result.model !== model) return { frames: null, shown: null, error: "", isBusy: latents !== null };
  return { ...result, isBusy: result.shown !== latents || result.draw !== draw };
}

async function decodeOrSay(app: App, model: Model, latents: readonly ArrayLike<number>[], draw: number): Promise<Decoded> {
  try {
    return { frames: await app.decoder.decode(model.info, latents, draw), shown: latents, error: "", isBusy: false };
  } catch (error) {
    return { frames: null, shown: latents, error: error instanceof Error ? error.message : String(error), isBusy: false };
  }
}
