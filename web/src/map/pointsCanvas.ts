/**
 * The points in 2-D, for machines without WebGL. At most 20 000 are drawn: beyond that a fixed sample, thinned by powers
 * of two, so that panning keeps it and zooming in brings back the rest. Hits and outlines still see every point.
 */
import { boundsOf, toScreen } from "./camera";
import { HALO, SELECTED, pointDiameter, pointOpacity } from "./cloud";
import type { Cloud } from "./cloud";
import type { Frame, PointLayer } from "./layer";
import { FAINT_SHARE, SELECTED_GROWTH, newCanvas, parseColour, sizeCanvas } from "./layer";
import { priority } from "./pictures";

const MOST_DRAWN = 20_000;

export class CanvasPoints implements PointLayer {
  readonly kind = "canvas";
  readonly largestSide = 8192;
  readonly canvas = newCanvas();

  constructor(private readonly cloud: Cloud) {}

  draw(whole: Frame): void {
    sizeCanvas(this.canvas, whole.size, whole.ratio);
    const context = this.canvas.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.canvas.width, this.canvas.height);
    context.setTransform(whole.ratio, 0, 0, whole.ratio, 0, 0);
    const { rows, share } = this.rowsToDraw(whole);
    const gap = whole.gap / Math.sqrt(share);
    const frame = { ...whole, gap, diameter: pointDiameter(gap), opacity: pointOpacity(gap) };
    const { flags, hasSelection } = this.cloud;
    if (!hasSelection) return this.drawRows(context, frame, rows, "all");
    this.drawRows(context, frame, rows.filter((row) => !(flags[row] & SELECTED)), "unselected");
    this.drawRows(context, frame, rows.filter((row) => flags[row] & SELECTED), "selected");
  }

  /** Rows in view, ascending, thinned by a fixed priority to at most the number that is drawn, and the share kept. */
  private rowsToDraw(frame: Frame): { rows: number[]; share: number } {
    const { cloud } = this;
    let rows: number[] = [];
    const collect = (row: number): void => {
      if (cloud.isShown(row)) rows.push(row);
    };
    if (cloud.progress < 1) for (let row = 0; row < cloud.n; row++) collect(row);
    else cloud.index.visitBox(boundsOf(frame.box, frame.size, 16), collect);
    let share = 1;
    while (rows.length > MOST_DRAWN) {
      share /= 2;
      rows = rows.filter((row) => priority(row) < share * 2 ** 32);
    }
    return { rows: rows.sort((a, b) => a - b), share };
  }

  private drawRows(context: CanvasRenderingContext2D, frame: Frame, rows: number[], part: "all" | "unselected" | "selected"): void {
    const { cloud } = this;
    const radius = (frame.diameter / 2) * (part === "selected" ? SELECTED_GROWTH : 1);
    const share = part === "unselected" ? FAINT_SHARE : 1;
    const faint = part === "unselected" ? parseColour(frame.theme.faint) : null;
    for (const [key, group] of this.byColour(rows)) {
      context.fillStyle = shade(key, faint);
      context.globalAlpha = (part === "selected" ? Math.max(frame.opacity, 0.85) : frame.opacity) * share * ((key & 255) / 255);
      for (const row of group) {
        const { x, y } = toScreen(frame.box, frame.size, cloud.x(row), cloud.y(row));
        dot(context, x, y, radius);
      }
    }
    context.globalAlpha = part === "unselected" ? 0.16 : 0.85;
    context.strokeStyle = frame.theme.ink;
    context.lineWidth = 1.2;
    for (const row of rows) {
      if (!(cloud.flags[row] & HALO)) continue;
      const { x, y } = toScreen(frame.box, frame.size, cloud.x(row), cloud.y(row));
      context.beginPath();
      context.arc(x, y, radius + 1.4, 0, 2 * Math.PI);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  private byColour(rows: number[]): Map<number, number[]> {
    const groups = new Map<number, number[]>();
    const { rgba } = this.cloud;
    for (const row of rows) {
      const key = ((rgba[4 * row] << 24) | (rgba[4 * row + 1] << 16) | (rgba[4 * row + 2] << 8) | rgba[4 * row + 3]) >>> 0;
      const group = groups.get(key);
      if (group) group.push(row);
      else groups.set(key, [row]);
    }
    return groups;
  }

  destroy(): void {
    this.canvas.remove();
  }
}

function dot(context: CanvasRenderingContext2D, x: number, y: number, radius: number): void {
  if (radius < 1.5) {
    context.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
    return;
  }
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fill();
}

function shade(key: number, faint: [number, number, number] | null): string {
  const parts = [key >>> 24, (key >>> 16) & 255, (key >>> 8) & 255];
  const mixed = faint ? parts.map((part, i) => Math.round(0.4 * part + 0.6 * 255 * faint[i])) : parts;
  return `rgb(${mixed[0]}, ${mixed[1]}, ${mixed[2]})`;
}
