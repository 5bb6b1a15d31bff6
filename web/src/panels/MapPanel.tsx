/** The map of all images: what is drawn, by which colours, with which tool. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useApp, useModel, usePart } from "../app";
import type { App } from "../app";
import { inspect, latentAt, maskOf, select, steer, steerToPlace } from "../act";
import type { Model } from "../atlas";
import { clusterName } from "../clusterNames";
import { colourBy } from "../colour";
import type { MapBox, MapEvents, MapView, SelectMode } from "../map/MapView";
import { createMapView } from "../map/index";
import { Hover } from "./map/Hover";
import type { Hovered } from "./map/Hover";
import { Legend } from "./map/Legend";
import { MapTools } from "./map/MapTools";
import type { DrawnPath } from "./map/marks";
import { useMarks } from "./map/marks";
import { mapKey } from "./map/mapKeys";
import { TableView } from "./map/TableView";
import { clusterWord, clusterWords } from "../verdict";

interface Props {
  path?: DrawnPath | null;
  isCompact?: boolean;
}

export function MapPanel({ path = null, isCompact = false }: Props) {
  const model = useModel();
  const [isTable, setTable] = useState(false);
  const [mode, setMode] = useState<SelectMode>("replace");
  const view = useRef<MapView | null>(null);
  if (model === null) return null;
  return (
    <div class={`card map-card ${isCompact ? "compact" : ""}`}>
      <MapTools model={model} view={view} mode={mode} onMode={setMode} isTable={isTable} onTable={setTable} isCompact={isCompact} />
      <div class="map-area">
        <MapCanvas model={model} path={path} view={view} mode={mode} onMode={setMode} isHidden={isTable} />
        {isTable && <TableView model={model} />}
      </div>
      <AxesNote model={model} />
      <Legend model={model} />
    </div>
  );
}

function AxesNote({ model }: { model: Model }) {
  const app = useApp();
  const projection = usePart((state) => state.projection);
  const axes = usePart((state) => state.axes);
  const { titles, note } = app.positions(model, projection, axes);
  return (
    <p class="axes-note small">
      <span>
        <b>→</b> {titles[0]} &nbsp; <b>↑</b> {titles[1]}
      </span>{" "}
      <span class="soft">{note}</span>
    </p>
  );
}

interface CanvasProps {
  model: Model;
  path: Props["path"];
  view: { current: MapView | null };
  mode: SelectMode;
  onMode: (mode: SelectMode) => void;
  isHidden: boolean;
}

function MapCanvas({ model, path, view, mode, onMode, isHidden }: CanvasProps) {
  const app = useApp();
  const element = useRef<HTMLDivElement>(null);
  const [hovered, setHovered] = useState<Hovered | null>(null);
  const [kind, setKind] = useState("");
  useEffect(() => {
    if (element.current === null) return;
    const map = createMapView(element.current, eventsOf(app, element.current, setHovered), {});
    view.current = map;
    setKind(map.kind);
    (element.current as HTMLElement & { zatlasMap?: MapView }).zatlasMap = map;
    return () => {
      map.destroy();
      view.current = null;
    };
  }, [app, view]);
  useFill(view, model, kind);
  useMarks(view, model, path ?? null, kind);
  useEffect(() => view.current?.setSelectMode(mode), [mode, kind]);
  const text = useSummary(model);
  useEffect(() => {
    const target = element.current;
    if (target === null) return;
    const onKey = (event: Event) => mapKey(app, view.current, event as CustomEvent<{ key: string; isShift: boolean }>, onMode);
    target.addEventListener("zatlas-key", onKey);
    return () => target.removeEventListener("zatlas-key", onKey);
  }, [app, view, onMode]);
  return (
    <>
      <div ref={element} class="map" data-map data-kind={kind} tabIndex={isHidden ? -1 : 0} role="application" aria-roledescription="map of images" aria-label={text} hidden={isHidden} />
      {kind === "canvas" && !isHidden && (
        <p class="map-notice small" role="note">
          WebGL is not available here: a simpler map is drawn{app.atlas.n > 20_000 ? ", with a part of the points (lasso and box still take all of them)" : ""}.
        </p>
      )}
      {hovered && !isHidden && <Hover hovered={hovered} model={model} />}
    </>
  );
}

/** What the map does when touched. */
function eventsOf(app: App, element: HTMLElement, setHovered: (hovered: Hovered | null) => void): MapEvents {
  const isBeyond = (at: { x: number; y: number }) => ({ isRight: at.x > element.clientWidth / 2, isLow: at.y > element.clientHeight / 2 });
  return {
    hover: (row, at) => setHovered(row === null ? null : { row, ...at, ...isBeyond(at) }),
    click: (row, x, y, keys) => {
      if (row === null) steerToPlace(app, x, y);
      else if (keys.shift || keys.alt) select(app, { kind: "rows", mode: keys.alt ? "subtract" : "add", rows: [row] });
      else inspect(app, row);
    },
    probe: (x, y) => probe(app, x, y),
    select: (rows, mode, outline) => {
      const { model, projection, axes } = app.store.get();
      const rounded = Array.from(outline, (value) => Number(value.toPrecision(9)));
      select(app, { kind: "region", mode, model, projection, axes, outline: rounded }, rows);
    },
    view: (box) => app.store.set({ view: rounded(box) }),
  };
}

function probe(app: App, x: number, y: number): void {
  const state = app.store.get();
  const model = app.loaded(state.model);
  if (model === null) return;
  const { z, origin } = latentAt(app, model, state, x, y);
  app.store.set({ focus: null });
  steer(app, z, origin, "probe");
}

const rounded = ({ x, y, height }: MapBox): MapBox => ({ x: Number(x.toPrecision(6)), y: Number(y.toPrecision(6)), height: Number(height.toPrecision(6)) });

/** Keeps what the map draws equal to the state. */
function useFill(view: { current: MapView | null }, model: Model, kind: string): void {
  const app = useApp();
  const projection = usePart((state) => state.projection);
  const axes = usePart((state) => state.axes);
  const colour = usePart((state) => state.colour);
  const range = usePart((state) => state.colourRange);
  const own = usePart((state) => state.palette[state.colour]);
  const regions = usePart((state) => state.regions);
  const filters = usePart((state) => state.filters);
  const search = usePart((state) => state.search);
  const selection = usePart((state) => state.selection);
  const tool = usePart((state) => state.tool);
  const pictures = usePart((state) => state.pictures);
  const halo = usePart((state) => state.halo);
  const n = app.atlas.n;
  const isFirst = useRef(true);
  // Before the points are there the map takes nothing else.
  const ready = () => (kind === "" ? null : view.current);
  const colouring = useMemo(() => colourBy(n, app.colourColumn(colour, model, regions), { range, own: own ?? {} }), [app, model, colour, range, own, regions, n]);
  useEffect(() => {
    const map = view.current;
    if (map === null || kind === "") return;
    map.setPoints(app.positions(model, projection, axes).xy, !isFirst.current);
    const asked = isFirst.current ? app.store.get().view : null;
    if (asked) map.setView(asked, false);
    else {
      map.fit(!isFirst.current);
      app.store.set({ view: null });
    }
    isFirst.current = false;
  }, [app, view, model, projection, axes, kind]);
  useEffect(() => ready()?.setColours(colouring.rgba), [view, colouring, kind]);
  useEffect(() => ready()?.setVisible(app.visible({ filters, search, model: model.info.name })), [app, view, filters, search, model, kind]);
  useEffect(() => ready()?.setSelected(selection ? maskOf(n, selection.rows) : null), [view, selection, n, kind]);
  useEffect(() => ready()?.setHalo(halo && app.isHeldOut.includes(1) ? app.isHeldOut : null), [app, view, halo, kind]);
  useEffect(() => ready()?.setTool(tool), [view, tool, kind]);
  useEffect(() => ready()?.setPictures(pictures ? app.atlas.thumbnails : null), [app, view, pictures, kind]);
  useEffect(() => {
    const style = getComputedStyle(app.element);
    const read = (name: string) => style.getPropertyValue(name).trim();
    const paint = () => view.current?.setTheme({ background: read("--surface"), ink: read("--ink"), accent: read("--accent"), faint: read("--line") });
    const timer = requestAnimationFrame(paint);
    const observer = new MutationObserver(paint); // the theme of the system, or of a notebook, may change too
    observer.observe(app.element, { attributes: true, attributeFilter: ["data-theme"] });
    return () => {
      cancelAnimationFrame(timer);
      observer.disconnect();
    };
  }, [app, view, kind]);
}

function countOf(n: number, { info }: Model): string {
  return `${n} ${n === 1 ? clusterWord(info) : clusterWords([info])}`;
}

/** The map in words, for people who do not see it. */
function useSummary(model: Model): string {
  const app = useApp();
  const focus = usePart((state) => state.focus);
  const selection = usePart((state) => state.selection);
  const projection = usePart((state) => state.projection);
  const cluster = model.columns.find((column) => column.info.name === "cluster");
  const title = projection === "z" ? "two latent dimensions" : (model.projections.find((item) => item.info.name === projection)?.info.title ?? projection);
  const parts = [`Map of ${app.atlas.n} images by ${title}`, countOf(model.info.clusters.items.length, model)];
  if (focus !== null) {
    const own = cluster?.info.categories?.[cluster.values[focus]];
    const where = own === undefined ? `${clusterWord(model.info)} unknown` : clusterName(app, model, own);
    parts.push(`at image ${app.atlas.names[focus]}${cluster ? `, ${where}` : ""}`);
  }
  if (selection) parts.push(`${selection.rows.length} selected`);
  return `${parts.join("; ")}. Arrow keys go from image to image.`;
}

