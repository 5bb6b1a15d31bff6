/** Animated GIF of drawn frames: greys keep their exact value, colours are reduced to 256 per frame. */

import { applyPalette, GIFEncoder, quantize } from "gifenc";

export interface GifFrame {
  /** r, g, b, a by turns. */
  rgba: Uint8ClampedArray | Uint8Array;
  delayMs: number;
}

const GREYS = Array.from({ length: 256 }, (_, value) => [value, value, value]);

export function gif(frames: readonly GifFrame[], width: number, height: number): Uint8Array<ArrayBuffer> {
  const encoder = GIFEncoder();
  for (const { rgba, delayMs } of frames) {
    const delay = Math.round(delayMs);
    if (isGrey(rgba)) {
      encoder.writeFrame(rgba.filter((_, i) => i % 4 === 0) as Uint8Array, width, height, { palette: GREYS, delay });
    } else {
      const palette = quantize(rgba, 256);
      encoder.writeFrame(applyPalette(rgba, palette), width, height, { palette, delay });
    }
  }
  encoder.finish();
  return encoder.bytes();
}

function isGrey(rgba: Uint8ClampedArray | Uint8Array): boolean {
  for (let i = 0; i < rgba.length; i += 4) if (rgba[i] !== rgba[i + 1] || rgba[i] !== rgba[i + 2]) return false;
  return true;
}
