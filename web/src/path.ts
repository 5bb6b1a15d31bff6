/** A path through latent space between two real images, and what is known about each stop on it. */

import type { App } from "./app";
import type { Model } from "./atlas";
import { latentOf } from "./atlas";
import { decodedWord } from "./levels";
import type { ModelInfo, StudyPath } from "./manifest";
import type { Neighbour, Support } from "./latent";
import { distanceBetween, graphPath, interpolate, nearest, resample } from "./latent";
import type { PathState } from "./store";

/** Stands in `PathState.walk` for all paths of the study at once. */
export const ALL_PATHS = "*";
export const MOST_FRAMES = 60;
/** So many numbers may be compared for a curve finer than the frames. */
const MOST_WORK = 2e6;
const CURVE_POINTS = 61;

export interface PathEnds {
  a: number;
  b: number;
}

export interface Path extends PathEnds {
  kind: PathState["kind"];
  /** The latent of A, those between, the latent of B; empty when there is no path. */
  latents: number[][];
  /** Real images that the path passes, ends included; null unless it goes along the data graph. */
  rowsAlong: number[] | null;
  words: string;
  problem: string;
}

/** One latent on the path. */
export interface Stop {
  index: number;
  t: number;
  z: number[];
  /** The real image whose latent this is; null between the ends. */
  row: number | null;
  support: Support;
  /** The real image nearest to a stop between the ends. */
  nearest: Neighbour | null;
}

export interface Curve {
  ts: number[];
  distances: number[];
}

/** The path with ends: those chosen, or those of the first path of the study as long as none is chosen. */
export function shownPath(model: Model, path: PathState, n: number): PathState {
  const end = (row: number | null) => (row !== null && row < n ? row : null);
  const [first] = model.info.walks;
  if (path.a === null && path.b === null && path.walk === "" && first) {
    return { ...path, a: first.start_row, b: first.end_row, walk: first.name };
  }
  return { ...path, a: end(path.a), b: end(path.b) };
}

/** The path of the study that was chosen, if it still has its ends. */
export function studyPathOf(model: Model, path: PathState): StudyPath | null {
  return model.info.walks.find((own) => own.name === path.walk && own.start_row === path.a && own.end_row === path.b) ?? null;
}

/** The paths along axes of the model, which are shown together; those along labels of the images stand apart. */
export function axisPaths(paths: readonly StudyPath[]): StudyPath[] {
  return paths.filter((path) => path.axis_kind !== "label");
}

export function makePath(model: Model, { a, b }: PathEnds, kind: PathState["kind"], frames: number): Path {
  const none = { a, b, kind, latents: [], rowsAlong: null, words: "" };
  if (a === b) return { ...none, problem: "A and B are the same image. Choose another one for A or B." };
  if (kind !== "graph") {
    const latents = interpolate(latentOf(model, a), latentOf(model, b), frames, kind);
    return { a, b, kind, latents, rowsAlong: null, words: KIND_WORDS[kind], problem: "" };
  }
  const rows = graphPath(model, a, b);
  if (rows === null) {
    return { ...none, problem: "No chain of nearest neighbours leads from A to B: the data lie in separate parts. A straight path leaves the data between them." };
  }
  const latents = resample(rows.map((row) => [...latentOf(model, row)]), frames + 2);
  return { a, b, kind, latents, rowsAlong: rows, words: wordsAlong(rows.length - 2), problem: "" };
}

const KIND_WORDS = {
  straight: "On the straight line through latent space, in even steps.",
  spherical: "On an arc around the origin of latent space: the direction turns by even angles, the length goes evenly.",
} as const;

function wordsAlong(between: number): string {
  if (between <= 0) return "A and B are nearest neighbours of each other: the path along the data is the straight line.";
  const images = between === 1 ? "1 real image" : `${between} real images`;
  return `From neighbour to neighbour: the path passes ${images} between A and B and keeps to where the data lie.`;
}

export function stopsOf(app: App, model: Model, path: Path): Stop[] {
  const last = path.latents.length - 1;
  return path.latents.map((z, index) => {
    const row = index === 0 ? path.a : index === last ? path.b : null;
    return {
      index,
      t: index / last,
      z,
      row,
      support: app.support(model, z, row ?? undefined),
      nearest: row === null ? (nearest(model, z, 1)[0] ?? null) : null,
    };
  });
}

/** Distance to the data along the path; finer than the stops where the atlas is small enough to compute it at once. */
export function curveOf(app: App, model: Model, path: Path, stops: Stop[]): Curve {
  const isFine = app.atlas.n * model.d < MOST_WORK && stops.length < CURVE_POINTS;
  if (!isFine) return { ts: stops.map((stop) => stop.t), distances: stops.map((stop) => stop.support.distance) };
  const { latents } = makePath(model, path, path.kind, CURVE_POINTS - 2);
  const last = latents.length - 1;
  const endOf = (i: number) => (i === 0 ? path.a : i === last ? path.b : undefined);
  return { ts: latents.map((_, i) => i / last), distances: latents.map((z, i) => app.support(model, z, endOf(i)).distance) };
}

export function lengthOf(path: Path): number {
  return path.latents.slice(1).reduce((sum, z, i) => sum + distanceBetween(z, path.latents[i]), 0);
}

/** How many of the stops between the ends lie where training images are. */
export function supportCount(stops: readonly Stop[]): string {
  const between = stops.filter((stop) => stop.row === null);
  const count = (level: Support["level"]) => between.filter((stop) => stop.support.level === level).length;
  const parts = [
    [count("within"), "within the data"],
    [count("near"), "near them"],
    [count("off"), "off the data"],
  ] as const;
  const said = parts.filter(([n]) => n > 0).map(([n, words]) => (n === between.length ? `all ${words}` : `${n} ${words}`));
  return `${between.length} ${between.length === 1 ? "picture" : "pictures"} in between: ${said.join(", ")}.`;
}

export function nameOfStop(model: ModelInfo, stop: Stop, last: number): string {
  if (stop.index === 0) return `A, ${decodedWord(model)}`;
  if (stop.index === last) return `B, ${decodedWord(model)}`;
  return `t = ${stop.t.toFixed(stop.t * 100 === Math.round(stop.t * 100) ? 2 : 3)}`;
}
