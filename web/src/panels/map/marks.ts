/** What lies over the points: the focus, the latent being steered, its posterior, the path, the names of clusters. */

import { useEffect } from "preact/hooks";
import { useApp, usePart } from "../../app";
import type { App } from "../../app";
import { placeOf } from "../../act";
import type { Column, Model } from "../../atlas";
import { pcaScores } from "../../latent";
import type { MapLabel, MapMarks, MapPath, MapView } from "../../map/MapView";
import type { State } from "../../store";
import { clusterName, onClusterNames } from "../../clusterNames";

/** A path to draw: its latents, which of them are frames, and the images at its ends. */
export interface DrawnPath {
  z: number[][];
  dots: number[];
  ends: [number, number];
}

export function useMarks(view: { current: MapView | null }, model: Model, path: DrawnPath | null, kind: string): void {
  const app = useApp();
  const state = usePart((whole) => whole);
  useEffect(() => {
    const draw = () => view.current?.setMarks(marksOf(app, model, app.store.get(), path));
    draw();
    return onClusterNames(draw);
  }, [app, view, model, path, kind, state.focus, state.z, state.origin, state.projection, state.axes, state.clusterLabels, state.colour]);
}

function marksOf(app: App, model: Model, state: State, path: DrawnPath | null): MapMarks {
  return {
    focus: state.focus,
    cursor: placeOf(app, model, state),
    ellipse: state.focus === null ? null : ellipseOf(app, model, state, state.focus),
    path: path ? pathOn(app, model, state, path) : null,
    labels: state.clusterLabels && state.colour === "cluster" ? clusterLabels(app, model, state) : [],
  };
}

/** Covariance of q(z|x) on the two axes of the map; null where the map has no directions. */
function ellipseOf(app: App, model: Model, state: State, row: number): MapMarks["ellipse"] {
  const { projection, axes } = state;
  const positions = app.positions(model, projection, axes);
  if (projection !== "z" && !positions.hasInverse) return null;
  const variance = (j: number) => Math.exp(model.logVar[row * model.d + j]);
  const at = { x: positions.xy[2 * row], y: positions.xy[2 * row + 1] };
  if (projection === "z") {
    const [a, b] = axes.map((axis) => Math.min(axis, model.d - 1));
    return { ...at, xx: variance(a), xy: a === b ? variance(a) : 0, yy: variance(b) };
  }
  const [u, v] = axes.map((axis) => model.info.pca.components[axis]);
  if (!u || !v) return null;
  const sum = (f: (j: number) => number) => u.reduce((total, _, j) => total + f(j) * variance(j), 0);
  return { ...at, xx: sum((j) => u[j] * u[j]), xy: sum((j) => u[j] * v[j]), yy: sum((j) => v[j] * v[j]) };
}

/** A path on the map; on a map without an inverse only its real ends have a place. */
function pathOn(app: App, model: Model, state: State, path: DrawnPath): MapPath | null {
  const { projection, axes } = state;
  const isFlat = projection === "z" || app.positions(model, projection, axes).hasInverse;
  if (!isFlat) return pathOnMap(app, model, state, path);
  const xy = new Float32Array(2 * path.z.length);
  path.z.forEach((z, i) => {
    const [x, y] = projection === "z" ? [z[Math.min(axes[0], model.d - 1)], z[Math.min(axes[1], model.d - 1)]] : axes.map((axis) => pcaScores(model, z)[axis]);
    xy[2 * i] = x;
    xy[2 * i + 1] = y;
  });
  return { xy, dots: path.dots };
}

function pathOnMap(app: App, model: Model, state: State, { ends: [a, b] }: DrawnPath): MapPath {
  const { xy } = app.positions(model, state.projection, state.axes);
  return { xy: Float32Array.of(xy[2 * a], xy[2 * a + 1], xy[2 * b], xy[2 * b + 1]), dots: [0, 1] };
}

/** The name of each cluster at the median place of its images. */
function clusterLabels(app: App, model: Model, state: State): MapLabel[] {
  const column = model.columns.find((item) => item.info.name === "cluster");
  if (!column) return [];
  const { xy } = app.positions(model, state.projection, state.axes);
  return middlesOf(column, xy).map(({ code, x, y }) => ({ x, y, text: clusterName(app, model, Number(column.info.categories?.[code])) }));
}

interface Middle {
  code: number;
  x: number;
  y: number;
}

const middles = new WeakMap<Float32Array, Middle[]>();

/** Median place of the images of each category; sorted once for a map, not at each move of a slider. */
function middlesOf(column: Column, xy: Float32Array): Middle[] {
  let found = middles.get(xy);
  if (found === undefined) {
    found = (column.info.categories ?? []).flatMap((_, code) => middleOf(column, xy, code));
    middles.set(xy, found);
  }
  return found;
}

function middleOf(column: Column, xy: Float32Array, code: number): Middle[] {
  const rows: number[] = [];
  for (let i = 0; i < column.values.length; i++) if (column.values[i] === code) rows.push(i);
  if (rows.length === 0) return [];
  const median = (axis: 0 | 1) => Float32Array.from(rows, (row) => xy[2 * row + axis]).sort()[rows.length >> 1];
  return [{ code, x: median(0), y: median(1) }];
}
