/** The points themselves: places before and after a move, colours, and what each point is (shown, selected, outlined). */
import { ease } from "./camera";
import type { Bounds } from "./camera";
import { GridIndex } from "./gridIndex";

export const SHOWN = 1;
export const SELECTED = 2;
export const HALO = 4;

/** Which of the buffers a layer has to take up again. */
export interface Stale {
  places: boolean;
  colours: boolean;
  flags: boolean;
}

export class Cloud {
  n = 0;
  from = new Float32Array(0);
  to = new Float32Array(0);
  rgba = new Uint8Array(0);
  flags = new Uint8Array(0);
  index = new GridIndex(this.to);
  hasSelection = false;
  /** Typical distance between shown points [units of the points]. */
  spacing = 1;
  /** Counts changes of places or of what is shown. */
  version = 0;
  /** Share of the move that is done, eased. */
  progress = 1;
  readonly stale: Stale = { places: true, colours: true, flags: true };
  private visible: Uint8Array | null = null;
  private selected: Uint8Array | null = null;
  private halo: Uint8Array | null = null;

  /** Takes new places; true when the points move there from where they are. */
  setPoints(xy: Float32Array, animate: boolean): boolean {
    const n = xy.length >> 1;
    const isMove = animate && n === this.n && n > 0;
    this.from = isMove ? this.current() : Float32Array.from(xy.subarray(0, 2 * n));
    this.to = isMove ? Float32Array.from(xy.subarray(0, 2 * n)) : this.from;
    if (isMove) startWhereKnown(this.from, this.to);
    if (n !== this.n) this.resize(n);
    this.progress = isMove ? 0 : 1;
    this.index = new GridIndex(this.to);
    this.stale.places = true;
    this.updateFlags();
    return isMove;
  }

  private resize(n: number): void {
    this.n = n;
    this.visible = this.selected = this.halo = null;
    this.rgba = new Uint8Array(4 * n).fill(128);
    for (let row = 0; row < n; row++) this.rgba[4 * row + 3] = 255;
    this.stale.colours = true;
  }

  setColours(rgba: Uint8Array): void {
    this.check("colours", rgba.length / 4);
    this.rgba = rgba.slice();
    this.stale.colours = true;
  }

  setVisible(mask: Uint8Array | null): void {
    this.check("visible", mask?.length);
    this.visible = mask && mask.slice();
    this.updateFlags();
  }

  setSelected(mask: Uint8Array | null): void {
    this.check("selected", mask?.length);
    this.selected = mask && mask.slice();
    this.updateFlags(false);
  }

  setHalo(mask: Uint8Array | null): void {
    this.check("halo", mask?.length);
    this.halo = mask && mask.slice();
    this.updateFlags(false);
  }

  private check(what: string, length: number | undefined): void {
    if (length !== undefined && length !== this.n) {
      throw new RangeError(`The map has ${this.n} points, but '${what}' has ${length}.`);
    }
  }

  private updateFlags(isShownChanged = true): void {
    const { n, to, visible, selected, halo } = this;
    const flags = this.flags.length === n ? this.flags : new Uint8Array(n);
    for (let row = 0; row < n; row++) {
      const isFinite = to[2 * row] - to[2 * row] === 0 && to[2 * row + 1] - to[2 * row + 1] === 0;
      const isShown = isFinite && (!visible || visible[row] !== 0);
      flags[row] = isShown ? SHOWN + (selected && selected[row] ? SELECTED : 0) + (halo && halo[row] ? HALO : 0) : 0;
    }
    this.flags = flags;
    this.hasSelection = selected !== null;
    this.stale.flags = true;
    if (!isShownChanged) return;
    this.version++;
    this.spacing = this.index.spacing(this.isShown);
  }

  readonly isShown = (row: number): boolean => (this.flags[row] & SHOWN) !== 0;

  /** Sets how far the move is, from 0 to 1 in time. */
  setTime(t: number): void {
    this.progress = ease(t);
  }

  x(row: number): number {
    return mix(this.from[2 * row], this.to[2 * row], this.progress);
  }

  y(row: number): number {
    return mix(this.from[2 * row + 1], this.to[2 * row + 1], this.progress);
  }

  private current(): Float32Array<ArrayBuffer> {
    if (this.progress >= 1) return this.to.slice();
    return this.to.map((to, i) => mix(this.from[i], to, this.progress));
  }

  /** Bounds of the shown points, or null when there is none. */
  bounds(): Bounds | null {
    const bounds: Bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
    for (let row = 0; row < this.n; row++) {
      if (!(this.flags[row] & SHOWN)) continue;
      const x = this.to[2 * row];
      const y = this.to[2 * row + 1];
      if (x < bounds.left) bounds.left = x;
      if (x > bounds.right) bounds.right = x;
      if (y < bounds.bottom) bounds.bottom = y;
      if (y > bounds.top) bounds.top = y;
    }
    return bounds.right >= bounds.left ? bounds : null;
  }

  /** The nearest shown point in a direction from `row`; points on one place are passed through by left and right, in row order. */
  neighbour(row: number | null, direction: "left" | "right" | "up" | "down", middle: { x: number; y: number }): number | null {
    const isPlaced = row !== null && row < this.n && Number.isFinite(this.to[2 * row]) && Number.isFinite(this.to[2 * row + 1]);
    const x = isPlaced ? this.to[2 * row] : middle.x;
    const y = isPlaced ? this.to[2 * row + 1] : middle.y;
    if (isPlaced && (direction === "left" || direction === "right")) {
      const twin = this.twin(row, direction === "right");
      if (twin !== null) return twin;
    }
    const isAcross = direction === "left" || direction === "right";
    const sign = direction === "left" || direction === "down" ? -1 : 1;
    const along = (other: number): number => sign * (isAcross ? this.to[2 * other] - x : this.to[2 * other + 1] - y);
    const aside = (other: number): number => Math.abs(isAcross ? this.to[2 * other + 1] - y : this.to[2 * other] - x);
    const inCone = (other: number): boolean => along(other) > 0 && aside(other) <= along(other) && this.isShown(other);
    const ahead = (other: number): boolean => along(other) > 0 && this.isShown(other);
    return this.entry(this.index.nearest(x, y, Infinity, inCone) ?? this.index.nearest(x, y, Infinity, ahead), direction);
  }

  /** Where a step ends on a place with many points: the first of them, or the last for a step left. */
  private entry(row: number | null, direction: string): number | null {
    return row !== null && direction === "left" ? (this.twin(row, true, true) ?? row) : row;
  }

  /** A shown row on the very same place, upwards or downwards in row order: the next one, or the farthest. */
  private twin(row: number, isUp: boolean, isFarthest = false): number | null {
    const x = this.to[2 * row];
    const y = this.to[2 * row + 1];
    let best: number | null = null;
    this.index.visitBox({ left: x, right: x, bottom: y, top: y }, (other) => {
      if (!this.isShown(other) || (isUp ? other <= row : other >= row)) return;
      if (best === null || other < best === (isUp !== isFarthest)) best = other;
    });
    return best;
  }
}

/** Points without a place before appear where they go. */
function startWhereKnown(from: Float32Array, to: Float32Array): void {
  for (let i = 0; i < from.length; i++) if (!Number.isFinite(from[i])) from[i] = to[i];
}

function mix(from: number, to: number, t: number): number {
  return t >= 1 ? to : from + (to - from) * t;
}

/** Diameter of a point [CSS px] when typical points are `gap` px apart. */
export function pointDiameter(gap: number): number {
  return Math.min(12, Math.max(1.6, 1.8 * Math.sqrt(gap)));
}

/** Opacity of a point: small points in dense maps let density show through. */
export function pointOpacity(gap: number): number {
  const plain = Math.min(0.92, 0.4 + 0.14 * (pointDiameter(gap) - 1.6));
  return plain * Math.min(1, Math.max(0.55, gap));
}
