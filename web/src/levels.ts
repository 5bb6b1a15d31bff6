/** Words for models that have local latents beside z, and so draw the texture of what they decode. */

import type { ModelInfo } from "./manifest";

/** Beside every picture whose texture was drawn. */
export const DRAWN = "Texture is drawn, not observed";

export function drawsTexture(model: ModelInfo): boolean {
  return (model.local ?? null) !== null;
}

/** What a picture decoded from the z of an image is called: without its local latents it is no reconstruction. */
export function decodedWord(model: ModelInfo): string {
  return drawsTexture(model) ? "image of its z" : "reconstruction";
}

/** Why a drawn picture is not compared with the original, and what the scores beside it are of. */
export const NOT_COMPARED =
  "Its details are drawn, so they lie elsewhere than those of the original, and no difference is shown. Error and PSNR are those of the " +
  "reconstruction, which also takes the local latents of the image; the report shows some.";

/** The same at the beginning of a line. */
export function decodedTitle(model: ModelInfo): string {
  const word = decodedWord(model);
  return word[0].toUpperCase() + word.slice(1);
}

/** z, or a map of local latents by its cells. */
export function levelName(side: number): string {
  return side === 0 ? "z" : `${side}\u00a0×\u00a0${side}`;
}

export interface Level {
  side: number;
  rate_nats: number;
}

/** z and the maps of local latents, where their rates were kept. */
export function levelsOf(model: ModelInfo): Level[] {
  return model.local?.levels ?? [];
}
