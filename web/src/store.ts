/** Everything that the page remembers, in one immutable value, with undo and redo. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { MapBox, MapTool } from "./map/MapView";

export const TABS = ["explore", "paths", "clusters", "dimensions", "models", "run"] as const;
export type Tab = (typeof TABS)[number];
export type Theme = "system" | "light" | "dark";
export type SteerMode = "z" | "pc" | "class";

/** One step that made a selection; together they are its recipe, which the exported Python repeats. */
export type Step =
  | { kind: "region"; mode: "replace" | "add" | "subtract"; model: string; projection: string; axes: [number, number]; outline: number[] }
  | { kind: "values"; mode: "replace" | "add" | "subtract"; column: string; values: string[] }
  | { kind: "range"; mode: "replace" | "add" | "subtract"; column: string; low: number; high: number }
  | { kind: "neighbours"; mode: "replace" | "add" | "subtract"; model: string; row: number; k: number }
  | { kind: "rows"; mode: "replace" | "add" | "subtract"; rows: number[] }
  | { kind: "filters"; mode: "replace" };

export interface Selection {
  /** Ascending rows. */
  rows: number[];
  recipe: Step[];
}

/** A selection with a name, kept beside the present one. */
export interface KeptSelection extends Selection {
  name: string;
}

export type Filter =
  | { column: string; kind: "range"; low: number; high: number }
  | { column: string; kind: "values"; values: string[] };

/** Where the latent being steered came from, so that the page can say what the picture is. */
export type Origin =
  | { kind: "mean" }
  | { kind: "image"; row: number }
  | { kind: "sliders"; from: Origin | null }
  | { kind: "pca" }
  | { kind: "blend"; rows: number[]; map: string }
  | { kind: "path"; t: number }
  | { kind: "dropped"; name: string };

export interface Direction {
  column: string;
  from: string;
  to: string;
}

export interface PathState {
  a: number | null;
  b: number | null;
  kind: "straight" | "spherical" | "graph";
  frames: number;
  /** Name of the path of the study that set the ends, or "". */
  walk: string;
}

export interface State {
  tab: Tab;
  theme: Theme;
  model: string;
  projection: string;
  axes: [number, number];
  colour: string;
  colourRange: [number, number] | null;
  /** Colours that the person chose (#rrggbb), by column and category. */
  palette: Record<string, Record<string, string>>;
  pictures: boolean;
  clusterLabels: boolean;
  halo: boolean;
  tool: MapTool;
  view: MapBox | null;
  focus: number | null;
  selection: Selection | null;
  regions: KeptSelection[];
  filters: Filter[];
  search: string;
  z: number[] | null;
  origin: Origin;
  locked: number[];
  steer: SteerMode;
  direction: Direction | null;
  path: PathState;
  /** Number of the draw that textures come from; 1 is that of the report. */
  draw: number;
}

export const INITIAL: State = {
  tab: "explore",
  theme: "system",
  model: "",
  projection: "pca",
  axes: [0, 1],
  colour: "",
  colourRange: null,
  palette: {},
  pictures: true,
  clusterLabels: true,
  halo: true,
  tool: "pan",
  view: null,
  focus: null,
  selection: null,
  regions: [],
  filters: [],
  search: "",
  z: null,
  origin: { kind: "mean" },
  locked: [],
  steer: "z",
  direction: null,
  path: { a: null, b: null, kind: "straight", frames: 7, walk: "" },
  draw: 1,
};

/** Changes of these alone are not steps to undo: they are where one looks, not what one did. */
const NOT_UNDONE: ReadonlySet<keyof State> = new Set(["view", "theme", "tab", "tool"]);
const SAME_GESTURE_MS = 800;
const MOST_STEPS = 200;

export class Store {
  private past: State[] = [];
  private future: State[] = [];
  private gesture = { tag: "", at: 0 };
  private readonly listeners = new Set<() => void>();

  constructor(private state: State) {}

  get = (): State => this.state;

  /** Change some of the state; changes with one `gesture` name in quick order are one step to undo. */
  set = (change: Partial<State>, gesture = ""): void => {
    const keys = (Object.keys(change) as (keyof State)[]).filter((key) => !Object.is(this.state[key], change[key]));
    if (keys.length === 0) return;
    if (keys.some((key) => !NOT_UNDONE.has(key))) this.remember(gesture);
    this.state = { ...this.state, ...change };
    this.tell();
  };

  get canUndo(): boolean {
    return this.past.length > 0;
  }

  get canRedo(): boolean {
    return this.future.length > 0;
  }

  undo = (): void => this.step(this.past, this.future);
  redo = (): void => this.step(this.future, this.past);

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  private remember(gesture: string): void {
    const now = performance.now();
    const goesOn = gesture !== "" && gesture === this.gesture.tag && now - this.gesture.at < SAME_GESTURE_MS;
    this.gesture = { tag: gesture, at: now };
    if (goesOn) return;
    this.past = [...this.past.slice(-MOST_STEPS + 1), this.state];
    this.future = [];
  }

  private step(from: State[], to: State[]): void {
    const state = from.pop();
    if (state === undefined) return;
    to.push(this.state);
    const { view, theme, tab, tool } = this.state;
    this.state = { ...state, view, theme, tab, tool };
    this.gesture = { tag: "", at: 0 };
    this.tell();
  }

  private tell(): void {
    for (const listener of [...this.listeners]) listener();
  }
}

/** A part of the state; the component is drawn again only when that part changes. */
export function useSelected<T>(store: Store, select: (state: State) => T): T {
  const [, redraw] = useState(0);
  const value = select(store.get());
  const latest = useRef({ select, value });
  latest.current = { select, value };
  useEffect(() => {
    const look = () => {
      const { select: now, value: last } = latest.current;
      if (!Object.is(now(store.get()), last)) redraw((count) => count + 1);
    };
    look();
    return store.subscribe(look);
  }, [store]);
  return value;
}
