/**
 * Pace of drawing. While the map moves on a slow machine, only every so many rows are drawn, as many as fit into 40 ms;
 * all are drawn again when it rests. The cost is the time between frames, which counts the graphics processor too.
 * Measured with a million points drawn by two processor cores alone (SwiftShader): 360 to 420 ms from frame to frame with
 * all rows, 25 ms with as many as fit (means over three seconds of dragging).
 */

const AIM_MS = 40;
const REST_MS = 160;
const LONGEST_STALL_MS = 2000;
const MOST_STRIDE = 31;
const KEPT = 240;

export class Pace {
  private costPerRow = 0;
  private stride = 1;
  private rowsDrawn = 0;
  private lastFrame = 0;
  private lastMove = -Infinity;
  private wasDrawn = false;
  private readonly kept: number[] = [];

  /** A frame begins: the time since the last is what that one took, when points were drawn in it while moving. */
  frame(now: number): void {
    const took = now - this.lastFrame;
    this.lastFrame = now;
    if (!this.wasDrawn) return;
    this.wasDrawn = false;
    if (took <= 0 || took > LONGEST_STALL_MS) return;
    this.keep(took);
    const cost = took / Math.max(1, this.rowsDrawn);
    this.costPerRow = this.costPerRow === 0 ? cost : 0.6 * this.costPerRow + 0.4 * cost;
  }

  /** Points are about to be drawn: every how many rows? */
  start(now: number, isMoving: boolean, n: number): number {
    if (isMoving) this.lastMove = now;
    this.stride = isMoving && n > 50_000 ? Math.min(MOST_STRIDE, Math.max(1, Math.ceil((this.costPerRow * n) / AIM_MS - 0.25))) : 1;
    this.rowsDrawn = n / this.stride;
    this.wasDrawn = isMoving;
    return this.stride;
  }

  /** Time the processor spent on a frame that is followed by none. */
  drawn(ms: number): void {
    if (!this.wasDrawn) this.keep(ms);
  }

  /** The map rests, and the last frame left rows out. */
  isCatchUpDue(now: number): boolean {
    return this.stride > 1 && now - this.lastMove >= REST_MS;
  }

  /** Frames go on for a moment after a move, to time it and to catch up. */
  isWatching(now: number): boolean {
    return this.wasDrawn || this.stride > 1 || now - this.lastMove < REST_MS;
  }

  private keep(ms: number): void {
    this.kept.push(ms);
    if (this.kept.length > KEPT) this.kept.shift();
  }

  times(): number[] {
    return this.kept.slice();
  }
}
