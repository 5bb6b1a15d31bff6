/** Numbers to pixels: the one place where pictures are painted. */

import type { Cell } from "../pictures";
import type { Manifest } from "../manifest";
import type { Frames } from "../decoder";
import { cividis, difference } from "../colour";

export type Display = Manifest["images"]["display"];

/** Picture `i` of decoded frames in greys (or colours), 0 for `low` and 255 for `high`. */
export function paintFrame(canvas: HTMLCanvasElement, frames: Frames, i: number, display: Display): void {
  const { side, channels } = frames;
  const plane = side * side;
  const start = i * channels * plane;
  const factor = 255 / (display.high - display.low || 1);
  paint(canvas, side, (pixel, out, at) => {
    for (let c = 0; c < 3; c++) {
      const value = frames.data[start + (channels >= 3 ? c : 0) * plane + pixel];
      out[at + c] = (value - display.low) * factor;
    }
  });
}

/** Decoded minus original, both on the display scale of 0 to 1: blue where the model is darker, orange where brighter. */
export function paintDifference(canvas: HTMLCanvasElement, decoded: Float32Array, original: Float32Array, side: number, most: number): void {
  paint(canvas, side, (pixel, out, at) => {
    const [r, g, b] = difference((decoded[pixel] - original[pixel]) / most);
    out[at] = r;
    out[at + 1] = g;
    out[at + 2] = b;
  });
}

/** Non-negative numbers in cividis, from 0 to `most`. */
export function paintScale(canvas: HTMLCanvasElement, values: Float32Array, side: number, most: number): void {
  paint(canvas, side, (pixel, out, at) => {
    const [r, g, b] = cividis(most > 0 ? values[pixel] / most : 0);
    out[at] = r;
    out[at + 1] = g;
    out[at + 2] = b;
  });
}

function paint(canvas: HTMLCanvasElement, side: number, pixelAt: (pixel: number, out: Uint8ClampedArray, at: number) => void): void {
  if (canvas.width !== side || canvas.height !== side) {
    canvas.width = side;
    canvas.height = side;
  }
  const context = canvas.getContext("2d");
  if (context === null) return;
  const image = context.createImageData(side, side);
  for (let pixel = 0; pixel < side * side; pixel++) {
    pixelAt(pixel, image.data, 4 * pixel);
    image.data[4 * pixel + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}

export function paintCell(canvas: HTMLCanvasElement, cell: Cell, size: number): void {
  canvas.width = size;
  canvas.height = size;
  canvas.getContext("2d")?.drawImage(cell.sheet, cell.x, cell.y, size, size, 0, 0, size, size);
}

/** Greys of a picture on a sheet, 0 to 1, resampled to `side` when its size differs. */
export function greysOf(cell: Cell, size: number, side: number): Float32Array {
  const canvas = document.createElement("canvas");
  canvas.width = side;
  canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const greys = new Float32Array(side * side);
  if (context === null) return greys;
  context.imageSmoothingQuality = "high";
  context.drawImage(cell.sheet, cell.x, cell.y, size, size, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  for (let i = 0; i < greys.length; i++) greys[i] = data[4 * i] / 255;
  return greys;
}

/** The first channel of picture `i` on the display scale, clipped to 0..1. */
export function greysOfFrame(frames: Frames, i: number, display: Display): Float32Array {
  const plane = frames.side * frames.side;
  const start = i * frames.channels * plane;
  const span = display.high - display.low || 1;
  const greys = new Float32Array(plane);
  for (let pixel = 0; pixel < plane; pixel++) {
    greys[pixel] = Math.max(0, Math.min(1, (frames.data[start + pixel] - display.low) / span));
  }
  return greys;
}
