/**
 * Uniform grid over the points: nearest point, points in a box, points in an outline.
 *
 * The cells span the middle 98 % of the points; what lies beyond is put into the cells at the rim. The cell of a coordinate
 * is a monotone function of it, so searches by cells are exact for those too. Rows that are not finite are in no cell.
 */
import type { Bounds } from "./camera";

const POINTS_PER_CELL = 3;
const MOST_CELLS_A_SIDE = 1024;
const SAMPLE = 2048;

export type Accepts = (row: number) => boolean;

export class GridIndex {
  readonly n: number;
  readonly columns: number;
  readonly lines: number;
  private readonly xAxis: Axis;
  private readonly yAxis: Axis;
  /** rows[starts[cell]] to rows[starts[cell + 1] - 1] lie in the cell, ascending. */
  private readonly starts: Uint32Array;
  private readonly rows: Uint32Array;

  constructor(private readonly xy: Float32Array) {
    this.n = xy.length >> 1;
    const [xRange, yRange] = middleRanges(xy, this.n);
    const perSide = Math.sqrt(Math.max(1, this.n / POINTS_PER_CELL));
    const aspect = Math.sqrt(shape(xRange, yRange));
    this.xAxis = new Axis(xRange, perSide * aspect);
    this.yAxis = new Axis(yRange, perSide / aspect);
    this.columns = this.xAxis.count;
    this.lines = this.yAxis.count;
    this.starts = new Uint32Array(this.columns * this.lines + 1);
    this.rows = this.fill();
  }

  private fill(): Uint32Array {
    const { xy, n, starts } = this;
    const cells = new Int32Array(n);
    let finite = 0;
    for (let row = 0; row < n; row++) {
      const x = xy[2 * row];
      const y = xy[2 * row + 1];
      if (!Number.isFinite(x) || !Number.isFinite(y)) {
        cells[row] = -1;
        continue;
      }
      const cell = this.yAxis.cell(y) * this.columns + this.xAxis.cell(x);
      cells[row] = cell;
      starts[cell + 1]++;
      finite++;
    }
    for (let cell = 1; cell < starts.length; cell++) starts[cell] += starts[cell - 1];
    const next = starts.slice(0, -1);
    const rows = new Uint32Array(finite);
    for (let row = 0; row < n; row++) if (cells[row] >= 0) rows[next[cells[row]]++] = row;
    return rows;
  }

  /** Number of finite points in the cells that `bounds` touches: never less than the points in it. */
  countAtMost(bounds: Bounds): number {
    let count = 0;
    const [first, last] = [this.xAxis.cell(bounds.left), this.xAxis.cell(bounds.right)];
    for (let line = this.yAxis.cell(bounds.bottom); line <= this.yAxis.cell(bounds.top); line++) {
      count += this.starts[line * this.columns + last + 1] - this.starts[line * this.columns + first];
    }
    return count;
  }

  /** Calls `visit` with each row in the box, its rim included. */
  visitBox(bounds: Bounds, visit: (row: number) => void): void {
    const { xy, rows, starts } = this;
    const [first, last] = [this.xAxis.cell(bounds.left), this.xAxis.cell(bounds.right)];
    for (let line = this.yAxis.cell(bounds.bottom); line <= this.yAxis.cell(bounds.top); line++) {
      const end = starts[line * this.columns + last + 1];
      for (let k = starts[line * this.columns + first]; k < end; k++) {
        const row = rows[k];
        const x = xy[2 * row];
        const y = xy[2 * row + 1];
        if (x >= bounds.left && x <= bounds.right && y >= bounds.bottom && y <= bounds.top) visit(row);
      }
    }
  }

  /** The accepted row nearest to (x, y) and at most `reach` away, or null; of equally near ones the lowest. */
  nearest(x: number, y: number, reach = Infinity, accepts: Accepts = () => true): number | null {
    if (!Number.isFinite(x) || !Number.isFinite(y)) return null;
    const column = this.xAxis.cell(x);
    const line = this.yAxis.cell(y);
    let best = -1;
    let bestSquare = reach * reach;
    const look = (row: number): void => {
      const square = (this.xy[2 * row] - x) ** 2 + (this.xy[2 * row + 1] - y) ** 2;
      const isBetter = square < bestSquare || (square === bestSquare && (best < 0 || row < best));
      if (isBetter && accepts(row)) {
        best = row;
        bestSquare = square;
      }
    };
    for (let ring = 0; ; ring++) {
      const away = Math.min(this.xAxis.away(x, column, ring), this.yAxis.away(y, line, ring));
      if (away === Infinity || away * away > bestSquare) break;
      this.visitRing(column, line, ring, look);
    }
    return best < 0 ? null : best;
  }

  private visitRing(column: number, line: number, ring: number, visit: (row: number) => void): void {
    const low = Math.max(0, line - ring);
    const high = Math.min(this.lines - 1, line + ring);
    for (let at = low; at <= high; at++) {
      const isRim = Math.abs(at - line) === ring;
      const step = isRim || ring === 0 ? 1 : 2 * ring;
      for (let c = column - ring; c <= column + ring; c += step) {
        if (c < 0 || c >= this.columns) continue;
        const cell = at * this.columns + c;
        for (let k = this.starts[cell]; k < this.starts[cell + 1]; k++) visit(this.rows[k]);
      }
    }
  }

  /**
   * Accepted rows within a closed outline (x and y by turns), ascending; even-odd rule, by crossings of a ray to the right.
   * Each point is compared only with the edges that pass its line of cells, which leaves the result unchanged.
   */
  within(outline: Float32Array, accepts: Accepts = () => true): Uint32Array {
    const corners = outline.length >> 1;
    if (corners < 3) return new Uint32Array(0);
    const edges: number[][] = Array.from({ length: this.lines }, () => []);
    const box: Bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
    for (let i = 0, j = corners - 1; i < corners; j = i++) {
      const [x, y, yBefore] = [outline[2 * i], outline[2 * i + 1], outline[2 * j + 1]];
      box.left = Math.min(box.left, x);
      box.right = Math.max(box.right, x);
      box.bottom = Math.min(box.bottom, y);
      box.top = Math.max(box.top, y);
      if (y === yBefore) continue;
      const last = this.yAxis.cell(Math.max(y, yBefore));
      for (let line = this.yAxis.cell(Math.min(y, yBefore)); line <= last; line++) edges[line].push(i, j);
    }
    const found: number[] = [];
    this.visitBox(box, (row) => {
      const y = this.xy[2 * row + 1];
      if (crossesOddly(outline, edges[this.yAxis.cell(y)], this.xy[2 * row], y) && accepts(row)) found.push(row);
    });
    return Uint32Array.from(found).sort();
  }

  /** Typical distance between points where they are: twice the median distance to the nearest other place. */
  spacing(accepts: Accepts = () => true): number {
    const distances: number[] = [];
    const accepted = this.rows.filter(accepts);
    const step = Math.max(1, Math.floor(accepted.length / 200));
    for (let k = 0; k < accepted.length; k += step) {
      const row = accepted[k];
      const [x, y] = [this.xy[2 * row], this.xy[2 * row + 1]];
      const other = this.nearest(x, y, Infinity, (o) => (this.xy[2 * o] !== x || this.xy[2 * o + 1] !== y) && accepts(o));
      if (other === null) break;
      distances.push(Math.hypot(this.xy[2 * other] - x, this.xy[2 * other + 1] - y));
    }
    if (distances.length === 0) return 1;
    distances.sort((a, b) => a - b);
    return 2 * distances[distances.length >> 1];
  }
}

function crossesOddly(outline: Float32Array, edges: number[], x: number, y: number): boolean {
  let isInside = false;
  for (let k = 0; k < edges.length; k += 2) {
    const i = 2 * edges[k];
    const j = 2 * edges[k + 1];
    const yi = outline[i + 1];
    const yj = outline[j + 1];
    if (yi > y !== yj > y && x < ((outline[j] - outline[i]) * (y - yi)) / (yj - yi) + outline[i]) isInside = !isInside;
  }
  return isInside;
}

type Range = readonly [number, number];

/** Cells along one axis. */
class Axis {
  readonly count: number;
  private readonly low: number;
  private readonly width: number;

  constructor([low, high]: Range, count: number) {
    const isFlat = !(high > low);
    this.count = isFlat ? 1 : Math.min(MOST_CELLS_A_SIDE, Math.max(1, Math.round(count)));
    this.low = low;
    this.width = isFlat ? 1 : (high - low) / this.count;
  }

  cell(value: number): number {
    const cell = Math.floor((value - this.low) / this.width);
    return cell > 0 ? Math.min(cell, this.count - 1) : 0;
  }

  /** Least distance from `value`, in cell `at`, to what lies `ring` or more cells away; a hair less, for rounding. */
  away(value: number, at: number, ring: number): number {
    if (ring === 0) return 0;
    const after = at + ring < this.count ? this.low + (at + ring) * this.width - value : Infinity;
    const before = at - ring >= 0 ? value - (this.low + (at - ring + 1) * this.width) : Infinity;
    return Math.max(0, Math.min(after, before) - 1e-9 * (Math.abs(value) + Math.abs(this.low) + this.width));
  }
}

/** Range of the middle 98 % on both axes, from a sample of the rows. */
function middleRanges(xy: Float32Array, n: number): [Range, Range] {
  const step = Math.max(1, Math.floor(n / SAMPLE));
  const xs: number[] = [];
  const ys: number[] = [];
  for (let row = 0; row < n; row += step) {
    if (!Number.isFinite(xy[2 * row]) || !Number.isFinite(xy[2 * row + 1])) continue;
    xs.push(xy[2 * row]);
    ys.push(xy[2 * row + 1]);
  }
  return [middle(xs), middle(ys)];
}

function middle(values: number[]): Range {
  if (values.length === 0) return [0, 0];
  values.sort((a, b) => a - b);
  const cut = Math.floor(values.length / 100);
  const [low, high] = [values[cut], values[values.length - 1 - cut]];
  const spare = 0.02 * (high - low);
  return [low - spare, high + spare];
}

/** Width over height, within bounds that keep the number of cells sensible. */
function shape(x: Range, y: Range): number {
  const ratio = (x[1] - x[0]) / (y[1] - y[0]);
  return Number.isFinite(ratio) && ratio > 0 ? Math.min(100, Math.max(0.01, ratio)) : 1;
}
