/**
 * Which rows are drawn as pictures.
 *
 * Every row has a fixed priority. In order of it, a row gets a picture when the picture would touch none placed before.
 * The choice is made in the units of the points for a region larger than the view, at steps of the zoom: panning changes
 * nothing, and a picture keeps its place while the view zooms within a step.
 */
import type { MapBox } from "./MapView";
import type { Bounds, Size } from "./camera";
import { boundsOf, scaleOf } from "./camera";
import type { Cloud } from "./cloud";

export const SMALLEST_PX = 24;
export const LARGEST_PX = 96;
/** Pictures appear once typical points are this far apart [CSS px]. */
const FIRST_GAP_PX = 18;
/** Free space around a picture, as a share of its side. */
const ROOM = 1.08;
/** Steps of the zoom, per doubling, at which places are chosen anew. */
const STEPS = 4;
const MOST_CANDIDATES = 60_000;

/** Side of a picture [CSS px], growing more slowly than the zoom so that ever more rows find room, for typical points `gap` px apart, or 0 when there is no room for pictures. */
export function pictureSide(gap: number): number {
  if (gap < FIRST_GAP_PX) return 0;
  return Math.min(LARGEST_PX, SMALLEST_PX * (gap / FIRST_GAP_PX) ** 0.55);
}

/** Fixed priority of a row, low first: an integer hash, so that neighbours in order are no neighbours in priority. */
export function priority(row: number): number {
  let h = (row + 0x9e3779b9) | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Rows of `candidates` whose squares of side `distance` around their places do not overlap, chosen by priority. */
export function choosePictures(candidates: number[], xy: Float32Array, distance: number): number[] {
  const order = candidates.map((row) => ({ row, rank: priority(row) })).sort((a, b) => a.rank - b.rank || a.row - b.row);
  const taken = new Map<string, number>();
  const chosen: number[] = [];
  for (const { row } of order) {
    const column = Math.floor(xy[2 * row] / distance);
    const line = Math.floor(xy[2 * row + 1] / distance);
    if (isCrowded(taken, xy, row, column, line, distance)) continue;
    taken.set(`${column},${line}`, row);
    chosen.push(row);
  }
  return chosen;
}

function isCrowded(taken: Map<string, number>, xy: Float32Array, row: number, column: number, line: number, distance: number): boolean {
  for (let c = column - 1; c <= column + 1; c++) {
    for (let l = line - 1; l <= line + 1; l++) {
      const other = taken.get(`${c},${l}`);
      if (other === undefined) continue;
      if (Math.abs(xy[2 * other] - xy[2 * row]) < distance && Math.abs(xy[2 * other + 1] - xy[2 * row + 1]) < distance) return true;
    }
  }
  return false;
}

export class PicturePlaces {
  private rows: number[] = [];
  private region: Bounds | null = null;
  private step = NaN;
  private version = -1;

  constructor(private readonly cloud: Cloud) {}

  /** The rows that are pictures in this view and the side of each [CSS px]. */
  inView(box: MapBox, size: Size): { rows: number[]; side: number } {
    const scale = scaleOf(box, size);
    const side = pictureSide(this.cloud.spacing * scale);
    if (side === 0) return { rows: [], side };
    const step = Math.floor(STEPS * Math.log2(side / scale));
    const distance = ROOM * 2 ** ((step + 1) / STEPS);
    const needed = boundsOf(box, size, LARGEST_PX);
    if (step !== this.step || this.version !== this.cloud.version || !this.region || !contains(this.region, needed)) {
      this.region = boundsOf(box, size, Math.max(size.width, size.height) / 2 + 4 * LARGEST_PX);
      this.step = step;
      this.version = this.cloud.version;
      this.rows = this.cloud.index.countAtMost(this.region) > MOST_CANDIDATES ? [] : this.place(this.region, distance);
    }
    return { rows: this.rows.filter((row) => isIn(this.cloud, row, needed)), side };
  }

  private place(region: Bounds, distance: number): number[] {
    const candidates: number[] = [];
    this.cloud.index.visitBox(region, (row) => {
      if (this.cloud.isShown(row)) candidates.push(row);
    });
    return choosePictures(candidates, this.cloud.to, distance);
  }
}

function contains(outer: Bounds, inner: Bounds): boolean {
  return outer.left <= inner.left && outer.right >= inner.right && outer.bottom <= inner.bottom && outer.top >= inner.top;
}

function isIn(cloud: Cloud, row: number, bounds: Bounds): boolean {
  const [x, y] = [cloud.to[2 * row], cloud.to[2 * row + 1]];
  return x >= bounds.left && x <= bounds.right && y >= bounds.bottom && y <= bounds.top;
}
