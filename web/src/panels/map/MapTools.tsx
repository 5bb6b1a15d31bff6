/** The bar above the map: which map, which colours, which tool. */

import { KEPT, useApp, usePart } from "../../app";
import type { Model } from "../../atlas";
import type { MapTool, MapView, SelectMode } from "../../map/MapView";
import { Icon } from "../../parts/Icon";
import type { IconName } from "../../parts/Icon";
import { Menu } from "../../parts/Menu";
import { clusterWords } from "../../verdict";
import { FigureButtons } from "./FigureButtons";

const TOOLS: { tool: MapTool; sign: IconName; title: string }[] = [
  { tool: "pan", sign: "pan", title: "Pan (V)" },
  { tool: "lasso", sign: "lasso", title: "Lasso (L)" },
  { tool: "box", sign: "box", title: "Box (B)" },
  { tool: "probe", sign: "probe", title: "Probe: drag to decode (G)" },
];
const MODES: { mode: SelectMode; title: string }[] = [
  { mode: "replace", title: "New" },
  { mode: "add", title: "Add" },
  { mode: "subtract", title: "Take away" },
];

interface Props {
  model: Model;
  view: { current: MapView | null };
  mode: SelectMode;
  onMode: (mode: SelectMode) => void;
  isTable: boolean;
  onTable: (isTable: boolean) => void;
  isCompact: boolean;
}

export function MapTools({ model, view, mode, onMode, isTable, onTable, isCompact }: Props) {
  const { store } = useApp();
  const tool = usePart((state) => state.tool);
  return (
    <div class="map-tools">
      <div class="row">
        <ProjectionChoice model={model} />
        <ColourChoice model={model} />
      </div>
      <div class="row" role="toolbar" aria-label="Tools of the map">
        {TOOLS.map((item) => (
          <button key={item.tool} type="button" class="tool" aria-pressed={tool === item.tool} title={item.title} aria-label={item.title} onClick={() => store.set({ tool: item.tool })}>
            <Icon name={item.sign} />
          </button>
        ))}
        <button type="button" class="tool" aria-label="Zoom in" title="Zoom in (+)" onClick={() => view.current?.zoom(1.5)}>
          <Icon name="plus" />
        </button>
        <button type="button" class="tool" aria-label="Zoom out" title="Zoom out (−)" onClick={() => view.current?.zoom(1 / 1.5)}>
          <Icon name="minus" />
        </button>
        <button type="button" class="tool" aria-label="Fit" title="Fit everything (0)" onClick={() => view.current?.fit(true)}>
          <Icon name="fit" />
        </button>
        {!isCompact && <ShowMenu model={model} isTable={isTable} onTable={onTable} />}
        {!isCompact && <FigureButtons model={model} view={view} />}
        <select
          class={`select-mode ${tool === "lasso" || tool === "box" ? "" : "unused"}`}
          value={mode}
          aria-label="How an outline meets the selection"
          title="How an outline meets the selection (A: add, X: take away)"
          onChange={(event) => onMode(event.currentTarget.value as SelectMode)}
        >
          {MODES.map((item) => (
            <option key={item.mode} value={item.mode}>
              {item.title}
            </option>
          ))}
        </select>
      </div>
    </div>
  );
}

function ProjectionChoice({ model }: { model: Model }) {
  const { store } = useApp();
  const projection = usePart((state) => state.projection);
  const axes = usePart((state) => state.axes);
  const found = model.projections.find((item) => item.info.name === projection);
  const titles = projection === "z" ? Array.from({ length: model.d }, (_, j) => `z${j}`) : (found?.info.axes ?? []).map((title) => title.split(" (")[0]);
  const setAxis = (which: 0 | 1, value: number) => store.set({ axes: which === 0 ? [value, axes[1]] : [axes[0], value] });
  return (
    <>
      <label>
        <span class="small soft">Map</span>{" "}
        <select value={projection} onChange={(event) => store.set({ projection: event.currentTarget.value, axes: [0, 1] })}>
          {model.projections.map(({ info }) => (
            <option key={info.name} value={info.name}>
              {info.title}
            </option>
          ))}
          {model.d > 1 && <option value="z">Two dimensions</option>}
        </select>
      </label>
      {titles.length > 2 &&
        ([0, 1] as const).map((which) => (
          <select key={which} value={axes[which]} aria-label={which === 0 ? "Horizontal axis" : "Vertical axis"} onChange={(event) => setAxis(which, Number(event.currentTarget.value))}>
            {titles.map((title, axis) => (
              <option key={title} value={axis}>
                {title}
              </option>
            ))}
          </select>
        ))}
    </>
  );
}

function ColourChoice({ model }: { model: Model }) {
  const { atlas, store } = useApp();
  const colour = usePart((state) => state.colour);
  const hasKept = usePart((state) => state.regions.length > 0);
  const options = (columns: typeof atlas.columns) =>
    columns.map(({ info }) => (
      <option key={info.name} value={info.name}>
        {info.title}
      </option>
    ));
  return (
    <label>
      <span class="small soft">Colour</span>{" "}
      <select value={colour} onChange={(event) => store.set({ colour: event.currentTarget.value, colourRange: null })} data-colour>
        <option value="">none</option>
        {hasKept && <option value={KEPT}>Kept selections</option>}
        <optgroup label="The model says">{options(model.columns)}</optgroup>
        <optgroup label="Known of the images">{options(atlas.columns.filter(({ info }) => info.kind === "number" || (info.categories?.length ?? 0) < atlas.n))}</optgroup>
      </select>
    </label>
  );
}

function ShowMenu({ model, isTable, onTable }: { model: Model; isTable: boolean; onTable: (isTable: boolean) => void }) {
  const app = useApp();
  const pictures = usePart((state) => state.pictures);
  const labels = usePart((state) => state.clusterLabels);
  const halo = usePart((state) => state.halo);
  const box = (title: string, isOn: boolean, set: (isOn: boolean) => void, isThere = true) =>
    isThere && (
      <label class="check">
        <input type="checkbox" checked={isOn} onChange={(event) => set(event.currentTarget.checked)} /> {title}
      </label>
    );
  return (
    <Menu title="Show">
      {() => (
        <fieldset class="menu-body card">
          <legend class="visually-hidden">What the map shows</legend>
          {box("Pictures where there is room", pictures, (isOn) => app.store.set({ pictures: isOn }), app.atlas.thumbnails !== null)}
          {box(`Names of ${clusterWords([model.info])}`, labels, (isOn) => app.store.set({ clusterLabels: isOn }))}
          {box("Ring around held-out images", halo, (isOn) => app.store.set({ halo: isOn }), app.isHeldOut.includes(1))}
          {box("A table instead of the map", isTable, onTable)}
        </fieldset>
      )}
    </Menu>
  );
}
