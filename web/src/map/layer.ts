/** What the view asks of the layer that draws the points, in WebGL or in 2-D. */
import type { MapBox } from "./MapView";
import type { Size } from "./camera";

export interface Theme {
  background: string;
  ink: string;
  accent: string;
  faint: string;
}

export interface Frame {
  box: MapBox;
  /** Size of the element [CSS px]. */
  size: Size;
  /** Canvas pixels per CSS px. */
  ratio: number;
  /** Typical distance between the points that are drawn [CSS px]. */
  gap: number;
  /** Diameter of a point [CSS px]. */
  diameter: number;
  opacity: number;
  theme: Theme;
  /** Every how many rows one is drawn: 1, or more while the map moves and the machine is slow. */
  stride: number;
}

export interface PointLayer {
  readonly kind: "webgl" | "canvas";
  readonly canvas: HTMLCanvasElement;
  /** Most canvas pixels along a side. */
  readonly largestSide: number;
  draw(frame: Frame): void;
  destroy(): void;
}

/** Opacity that unselected points keep beside a selection. */
export const FAINT_SHARE = 0.3;
/** Selected points are this much larger. */
export const SELECTED_GROWTH = 1.25;

/** Any colour of a style sheet as "rgb(r, g, b)", by way of a pixel. */
export function plainColour(text: string): string {
  const canvas = newCanvas();
  canvas.width = canvas.height = 1;
  const context = canvas.getContext("2d");
  if (!context) return text;
  context.fillStyle = text;
  context.fillRect(0, 0, 1, 1);
  const [r, g, b] = context.getImageData(0, 0, 1, 1).data;
  return `rgb(${r}, ${g}, ${b})`;
}

/** Red, green and blue from 0 to 1 of "#rgb", "#rrggbb" or "rgb(r, g, b)"; grey when it is none of them. */
export function parseColour(text: string): [number, number, number] {
  const hex = /^#([0-9a-f]{3}|[0-9a-f]{6})$/i.exec(text.trim());
  if (hex) {
    const digits = hex[1].length === 3 ? [...hex[1]].map((d) => d + d) : (hex[1].match(/../g) ?? []);
    return [parseInt(digits[0], 16) / 255, parseInt(digits[1], 16) / 255, parseInt(digits[2], 16) / 255];
  }
  const numbers = text.startsWith("rgb") ? text.match(/[\d.]+/g) : null;
  if (!numbers || numbers.length < 3) return [0.5, 0.5, 0.5];
  return [Number(numbers[0]) / 255, Number(numbers[1]) / 255, Number(numbers[2]) / 255];
}

export function newCanvas(): HTMLCanvasElement {
  const canvas = document.createElement("canvas");
  canvas.setAttribute("aria-hidden", "true");
  Object.assign(canvas.style, { position: "absolute", inset: "0", width: "100%", height: "100%", pointerEvents: "none", display: "block" });
  return canvas;
}

/** Gives a canvas its size in canvas pixels, leaving it untouched when it has that size. */
export function sizeCanvas(canvas: HTMLCanvasElement, size: Size, ratio: number): void {
  const width = Math.max(1, Math.round(size.width * ratio));
  const height = Math.max(1, Math.round(size.height * ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}
