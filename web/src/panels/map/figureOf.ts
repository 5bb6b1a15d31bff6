/** The present map with all that a figure of it must say. */

import { maskOf } from "../../act";
import type { App } from "../../app";
import type { Model } from "../../atlas";
import { legendText } from "../../clusterNames";
import { colourBy } from "../../colour";
import type { MapView } from "../../map/MapView";
import { latentUnit } from "../../prior";
import type { MapFigure } from "../../save/figure";

export function figureOf(app: App, model: Model, view: MapView): MapFigure {
  const state = app.store.get();
  const { atlas } = app;
  const { manifest, n } = atlas;
  const positions = app.positions(model, state.projection, state.axes);
  const column = app.colourColumn(state.colour, model, state.regions);
  const { rgba, legend } = colourBy(n, column, { range: state.colourRange, own: state.palette[state.colour] ?? {} });
  const element = app.element.querySelector<HTMLElement>("[data-map]");
  const hasUnit = state.projection === "z" || positions.hasInverse;
  return {
    xy: positions.xy,
    rgba,
    visible: app.visible(state),
    selected: state.selection ? maskOf(n, state.selection.rows) : null,
    box: view.getView(),
    aspect: element && element.clientHeight > 0 ? element.clientWidth / element.clientHeight : 1.4,
    titles: positions.titles,
    unit: hasUnit ? latentUnit(model.info) : "",
    legend: legend.kind === "categories" ? { ...legend, entries: legend.entries.map((entry) => ({ ...entry, text: legendText(app, model, state.colour, entry) })) } : legend,
    legendTitle: column?.info.title ?? "",
    legendUnit: column?.info.unit ?? "",
    title: manifest.title || manifest.run.data,
    caption: `${manifest.images.is_tiled ? "Tiles" : "Images"} by the posterior means of model ${model.info.name} (${model.d} latent dimensions). ${positions.note}`,
    origin: `atlas ${manifest.atlas_hash.slice(0, 12)}, model ${model.info.name}, zatlas ${manifest.zatlas}`,
  };
}
