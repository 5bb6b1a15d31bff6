/** Arithmetic in latent space: components, neighbours, support, and the paths from one latent to another. */

import type { Model } from "./atlas";
import { latentOf } from "./atlas";

/** Scores of a latent on the principal components: components (z - mean). */
export function pcaScores(model: Model, z: ArrayLike<number>): number[] {
  const { mean, components } = model.info.pca;
  return components.map((component) => component.reduce((sum, weight, j) => sum + weight * (z[j] - mean[j]), 0));
}

/** The latent with the given scores on the principal components, the scores that are not given being 0. */
export function pcaInverse(model: Model, scores: ReadonlyMap<number, number>): number[] {
  const { mean, components } = model.info.pca;
  return mean.map((value, j) => [...scores].reduce((sum, [k, score]) => sum + score * components[k][j], value));
}

export function meanLatent(model: Model): number[] {
  return [...model.info.pca.mean];
}

export interface Neighbour {
  row: number;
  distance: number;
}

/** The k images nearest to a latent (Euclidean distance, all or some dimensions), nearest first. */
export function nearest(
  model: Model,
  z: ArrayLike<number>,
  k: number,
  options: { dims?: readonly number[]; only?: Uint8Array; except?: number } = {},
): Neighbour[] {
  const { mean, d } = model;
  const dims = options.dims ?? Array.from({ length: d }, (_, j) => j);
  const n = mean.length / d;
  const best: Neighbour[] = [];
  let worst = Infinity;
  for (let row = 0; row < n; row++) {
    if ((options.only && options.only[row] === 0) || row === options.except) continue;
    let sum = 0;
    for (const j of dims) {
      const step = mean[row * d + j] - z[j];
      sum += step * step;
      if (sum >= worst) break;
    }
    if (sum < worst) {
      insert(best, { row, distance: sum }, k);
      if (best.length === k) worst = best[k - 1].distance;
    }
  }
  return best.map(({ row, distance }) => ({ row, distance: Math.sqrt(distance) }));
}

function insert(best: Neighbour[], found: Neighbour, k: number): void {
  let at = best.length;
  while (at > 0 && best[at - 1].distance > found.distance) at--;
  best.splice(at, 0, found);
  if (best.length > k) best.pop();
}

export type SupportLevel = "within" | "near" | "off";

export interface Support {
  level: SupportLevel;
  /** Distance to the k-th nearest training image, in the active dimensions. */
  distance: number;
  /** Share of training images that lie closer to their own k-th neighbour, 0 to 1. */
  percentile: number;
}

/** How well a place in latent space is covered by training images. */
export function support(model: Model, z: ArrayLike<number>, isTraining: Uint8Array, except?: number): Support {
  const { k, dims, within, near, quantiles } = model.info.support;
  const found = nearest(model, z, k, { dims, only: isTraining, ...(except === undefined ? {} : { except }) });
  const distance = found.length ? found[found.length - 1].distance : Infinity;
  const above = quantiles.findIndex((quantile) => quantile > distance);
  const percentile = above < 0 ? 1 : above / Math.max(1, quantiles.length - 1);
  return { level: distance <= within ? "within" : distance <= near ? "near" : "off", distance, percentile };
}

export type PathKind = "straight" | "spherical" | "graph";

/** Latents from a to b: both ends and `frames` points between them. */
export function interpolate(a: ArrayLike<number>, b: ArrayLike<number>, frames: number, kind: "straight" | "spherical"): number[][] {
  const ts = Array.from({ length: frames + 2 }, (_, i) => i / (frames + 1));
  const from = Array.from(a);
  const to = Array.from(b);
  const at = kind === "spherical" ? sphere(from, to) : (t: number) => from.map((value, j) => value + t * (to[j] - value));
  return ts.map((t) => (t === 0 ? from : t === 1 ? to : at(t)));
}

/** Directions turn by equal angles, lengths go evenly (Shoemake 1985; White 2016, arXiv:1609.04468). */
function sphere(a: number[], b: number[]): (t: number) => number[] {
  const lengthA = Math.hypot(...a);
  const lengthB = Math.hypot(...b);
  const straight = (t: number) => a.map((value, j) => value + t * (b[j] - value));
  if (lengthA < 1e-9 || lengthB < 1e-9 || a.length < 2) return straight;
  const u = a.map((value) => value / lengthA);
  const v = b.map((value) => value / lengthB);
  const cosine = Math.max(-1, Math.min(1, u.reduce((sum, value, j) => sum + value * v[j], 0)));
  const side = v.map((value, j) => value - cosine * u[j]);
  const sine = Math.hypot(...side);
  if (sine < 1e-6) return straight;
  const angle = Math.atan2(sine, cosine);
  return (t) => {
    const length = lengthA + t * (lengthB - lengthA);
    return u.map((value, j) => length * (Math.cos(t * angle) * value + (Math.sin(t * angle) * side[j]) / sine));
  };
}

/** Rows along the shortest path from image a to image b over nearest neighbours; null when there is none. */
export function graphPath(model: Model, a: number, b: number): number[] | null {
  const edges = neighbourGraph(model);
  const n = model.mean.length / model.d;
  const distance = new Float64Array(n).fill(Infinity);
  const before = new Int32Array(n).fill(-1);
  const heap = new Heap();
  distance[a] = 0;
  heap.push(0, a);
  for (let top = heap.pop(); top !== null; top = heap.pop()) {
    if (top.item === b) break;
    if (top.key > distance[top.item]) continue;
    for (const { row, distance: step } of edges[top.item]) {
      const length = top.key + step;
      if (length < distance[row]) {
        distance[row] = length;
        before[row] = top.item;
        heap.push(length, row);
      }
    }
  }
  if (!Number.isFinite(distance[b])) return null;
  const rows = [b];
  while (rows[0] !== a) rows.unshift(before[rows[0]]);
  return rows;
}

const graphs = new WeakMap<Model, Neighbour[][]>();

/** The symmetric neighbour graph; long steps cost more than their length, so that paths keep to where images are. */
function neighbourGraph(model: Model): Neighbour[][] {
  let edges = graphs.get(model);
  if (edges) return edges;
  const n = model.mean.length / model.d;
  const k = model.info.knn.k;
  edges = Array.from({ length: n }, () => []);
  for (let row = 0; row < n; row++) {
    for (let i = 0; i < k; i++) {
      const other = model.knnRows[row * k + i];
      const cost = model.knnDistances[row * k + i] ** 2;
      edges[row].push({ row: other, distance: cost });
      edges[other].push({ row, distance: cost });
    }
  }
  graphs.set(model, edges);
  return edges;
}

/** `count` points at even distances along a polyline of latents, both ends included. */
export function resample(points: number[][], count: number): number[][] {
  const along = [0];
  for (let i = 1; i < points.length; i++) along.push(along[i - 1] + distanceBetween(points[i], points[i - 1]));
  const total = along[along.length - 1];
  return Array.from({ length: count }, (_, i) => {
    const target = (total * i) / (count - 1);
    let piece = along.findIndex((length) => length >= target);
    if (piece < 0) piece = points.length - 1; // rounding put the end behind the last point
    piece = Math.max(piece, Math.min(1, points.length - 1));
    const length = along[piece] - along[piece - 1];
    const t = length > 0 ? (target - along[piece - 1]) / length : 0;
    return points[piece].map((value, j) => points[piece - 1][j] + t * (value - points[piece - 1][j]));
  });
}

export function distanceBetween(a: ArrayLike<number>, b: ArrayLike<number>): number {
  let sum = 0;
  for (let j = 0; j < a.length; j++) sum += (a[j] - b[j]) ** 2;
  return Math.sqrt(sum);
}

/** Mean latent of the images where the mask is 1; null when there are none. */
export function meanOf(model: Model, mask: Uint8Array): number[] | null {
  const sum = new Array<number>(model.d).fill(0);
  let count = 0;
  for (let row = 0; row < mask.length; row++) {
    if (mask[row] === 0) continue;
    count++;
    for (let j = 0; j < model.d; j++) sum[j] += model.mean[row * model.d + j];
  }
  return count ? sum.map((value) => value / count) : null;
}

export interface Blend {
  z: number[];
  rows: number[];
  weights: number[];
}

/** A latent for a place on a map that has no inverse: the mean of the k images nearest on the map, by 1 / distance². */
export function blendNear(model: Model, xy: Float32Array, x: number, y: number, k = 5): Blend {
  const best: Neighbour[] = [];
  for (let row = 0; row < xy.length / 2; row++) {
    const distance = (xy[2 * row] - x) ** 2 + (xy[2 * row + 1] - y) ** 2;
    if (best.length < k || distance < best[best.length - 1].distance) insert(best, { row, distance }, k);
  }
  const floor = (best[0]?.distance ?? 0) * 1e-3 + 1e-9;
  const raw = best.map(({ distance }) => 1 / (distance + floor));
  const total = raw.reduce((sum, weight) => sum + weight, 0);
  const weights = raw.map((weight) => weight / total);
  const z = new Array<number>(model.d).fill(0);
  best.forEach(({ row }, i) => {
    const latent = latentOf(model, row);
    for (let j = 0; j < model.d; j++) z[j] += weights[i] * latent[j];
  });
  return { z, rows: best.map(({ row }) => row), weights };
}

/** A binary heap of rows by cost. */
class Heap {
  private readonly keys: number[] = [];
  private readonly items: number[] = [];

  push(key: number, item: number): void {
    let at = this.keys.length;
    this.keys.push(key);
    this.items.push(item);
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (this.keys[parent] <= this.keys[at]) break;
      this.swap(at, parent);
      at = parent;
    }
  }

  pop(): { key: number; item: number } | null {
    if (this.keys.length === 0) return null;
    const top = { key: this.keys[0], item: this.items[0] };
    const key = this.keys.pop() as number;
    const item = this.items.pop() as number;
    if (this.keys.length > 0) {
      this.keys[0] = key;
      this.items[0] = item;
      this.sink();
    }
    return top;
  }

  private sink(): void {
    for (let at = 0; ; ) {
      const left = 2 * at + 1;
      const right = left + 1;
      let least = at;
      if (left < this.keys.length && this.keys[left] < this.keys[least]) least = left;
      if (right < this.keys.length && this.keys[right] < this.keys[least]) least = right;
      if (least === at) return;
      this.swap(at, least);
      at = least;
    }
  }

  private swap(a: number, b: number): void {
    [this.keys[a], this.keys[b]] = [this.keys[b], this.keys[a]];
    [this.items[a], this.items[b]] = [this.items[b], this.items[a]];
  }
}
