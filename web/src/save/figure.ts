/** The map as it stands, as a figure: SVG for print and change, PNG for slides. */

import type { App } from "../app";
import type { Model } from "../atlas";
import { colourBy } from "../colour";
import { maskOf } from "../act";
import type { MapView } from "../map/MapView";
import { mapSvg, type MapFigure } from "./figureSvg";
import { save, saveCanvas } from "./files";
import { fileName, origin } from "./stamp";

export { mapSvg, type MapFigure } from "./figureSvg";

const WIDTH_MM = 180;
const MM_PER_INCH = 25.4;

/** The figure as a picture; drawn from the SVG, so both are the same. */
export async function mapFigure(figure: MapFigure, dotsPerInch = 300): Promise<HTMLCanvasElement> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(mapSvg(figure))}`;
  await image.decode();
  const canvas = document.createElement("canvas");
  canvas.width = Math.round((WIDTH_MM / MM_PER_INCH) * dotsPerInch);
  canvas.height = Math.round((canvas.width * image.naturalHeight) / image.naturalWidth);
  const context = canvas.getContext("2d");
  if (context === null) throw new Error("this browser gives no canvas to draw on");
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas;
}

/** The present map; without a view all visible points are in it. */
export function presentFigure(app: App, model: Model, view: MapView | null = null): MapFigure {
  const state = app.store.get();
  const { xy, titles, note } = app.positions(model, state.projection, state.axes);
  const column = app.atlas.column(state.colour, model);
  const { rgba, legend } = colourBy(app.atlas.n, column, state.colourRange);
  const hasUnit = state.projection === "pca" || state.projection === "z";
  return {
    xy,
    rgba,
    visible: app.visible(state),
    selected: state.selection ? maskOf(app.atlas.n, state.selection.rows) : null,
    box: view?.getView() ?? null,
    aspect: aspectOf(app, view),
    titles,
    unit: hasUnit ? "standard deviation of the prior" : "",
    legend,
    legendTitle: column?.info.title ?? "",
    legendUnit: column?.info.unit ?? "",
    title: [app.atlas.manifest.title, mapTitle(model, state.projection)].filter(Boolean).join(": "),
    caption: note,
    origin: origin(app, model.info.name),
  };
}

function mapTitle(model: Model, projection: string): string {
  if (projection === "z") return "latent dimensions";
  return model.projections.find(({ info }) => info.name === projection)?.info.title ?? projection;
}

/** Width over height of the element that holds the map. */
function aspectOf(app: App, view: MapView | null): number {
  const holders = [...app.element.querySelectorAll<HTMLElement & { zatlasMap?: MapView }>("[data-map]")];
  const holder = holders.find((element) => element.zatlasMap === view);
  return holder && holder.clientHeight > 0 ? holder.clientWidth / holder.clientHeight : 1;
}

export function saveMapSvg(app: App, model: Model, view: MapView | null = null): void {
  save(`${mapName(app, model)}.svg`, mapSvg(presentFigure(app, model, view)), "image/svg+xml");
  app.announce("figure saved");
}

export async function saveMapPng(app: App, model: Model, view: MapView | null = null): Promise<void> {
  await saveCanvas(`${mapName(app, model)}.png`, await mapFigure(presentFigure(app, model, view)));
  app.announce("figure saved");
}

function mapName(app: App, model: Model): string {
  const { projection, axes } = app.store.get();
  return fileName("map", model.info.name, projection === "z" ? `z${axes[0]}-z${axes[1]}` : projection);
}
