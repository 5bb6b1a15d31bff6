/** Keys on the map; the events come from keys.ts. */

import { inspect, select, steerToPlace } from "../../act";
import type { App } from "../../app";
import type { MapTool, MapView, SelectMode } from "../../map/MapView";

const TOOLS: Record<string, MapTool> = { v: "pan", l: "lasso", b: "box", g: "probe" };
const DIRECTIONS = { ArrowLeft: "left", ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" } as const;
const PAN_PX = 60;

export function mapKey(app: App, map: MapView | null, event: CustomEvent<{ key: string; isShift: boolean }>, onMode: (mode: SelectMode) => void): void {
  const { key, isShift } = event.detail;
  if (map !== null && act(app, map, key, isShift, onMode)) event.preventDefault();
}

function act(app: App, map: MapView, key: string, isShift: boolean, onMode: (mode: SelectMode) => void): boolean {
  if (key in DIRECTIONS) move(app, map, DIRECTIONS[key as keyof typeof DIRECTIONS], isShift);
  else if (key in TOOLS) app.store.set({ tool: TOOLS[key] });
  else if (key === "+" || key === "=") map.zoom(1.5);
  else if (key === "-" || key === "_") map.zoom(1 / 1.5);
  else if (key === "0") map.fit(true);
  else if (key === "a" || key === "x") onMode(key === "a" ? "add" : "subtract");
  else if (key === "n") selectNeighbours(app);
  else if (key === "Enter") inspectMiddle(app, map);
  else return false;
  return true;
}

function move(app: App, map: MapView, direction: "left" | "right" | "up" | "down", isShift: boolean): void {
  if (isShift) {
    const [dx, dy] = { left: [PAN_PX, 0], right: [-PAN_PX, 0], up: [0, PAN_PX], down: [0, -PAN_PX] }[direction];
    map.pan(dx, dy);
    return;
  }
  const row = map.neighbour(app.store.get().focus, direction);
  if (row !== null) inspect(app, row, "arrows");
}

function selectNeighbours(app: App): void {
  const { focus, model } = app.store.get();
  if (focus !== null) select(app, { kind: "neighbours", mode: "replace", model, row: focus, k: 10 });
}

function inspectMiddle(app: App, map: MapView): void {
  const { focus } = app.store.get();
  if (focus !== null) return inspect(app, focus);
  const row = map.neighbour(null, "right");
  if (row !== null) inspect(app, row);
  else {
    const { x, y } = map.getView();
    steerToPlace(app, x, y);
  }
}
