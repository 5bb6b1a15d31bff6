/** What lies over the points: the focus, the latent being steered, its posterior, the path, the names of clusters. */

import { useEffect } from "preact/hooks";
import { useApp, usePart } from "../../app";
import type { App } from "../../app";
import { placeOf } from "../../act";
import type { Model } from "../../atlas";
import { pcaScores } from "../../latent";
import type { MapLabel, MapMarks, MapPath, MapView } from "../../map/MapView";
import type { State } from "../../store";
import { clusterName, onClusterNames } from "../../tabs/clusters/names";

/** A way to draw: its latents, which of them are frames, and the images at its ends. */
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
  const places = new Map<number, { xs: number[]; ys: number[] }>();
  for (let i = 0; i < column.values.length; i++) {
    const code = column.values[i];
    let place = places.get(code);
    if (!place) places.set(code, (place = { xs: [], ys: [] }));
    place.xs.push(xy[2 * i]);
    place.ys.push(xy[2 * i + 1]);
  }
  const named = [...places].filter(([code]) => column.info.categories?.[code] !== undefined);
  return named.map(([code, { xs, ys }]) => ({ x: median(xs), y: median(ys), text: clusterName(app, model, Number(column.info.categories?.[code])) }));
}

function median(values: number[]): number {
  const sorted = Float32Array.from(values).sort();
  return sorted[sorted.length >> 1];
}
