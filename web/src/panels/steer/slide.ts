/** What all sliders share: where they started, and moving the latent. */

import { slide } from "../../act";
import { useApp } from "../../app";
import type { Model } from "../../atlas";
import { latentOf } from "../../atlas";
import { meanLatent } from "../../latent";
import type { Origin } from "../../store";

/** The image or mean that the sliders started from. */
export function startOf(origin: Origin): Origin {
  return origin.kind === "sliders" ? (origin.from ?? { kind: "mean" }) : origin;
}

export function startLatent(model: Model, origin: Origin): number[] {
  const start = startOf(origin);
  return start.kind === "image" ? [...latentOf(model, start.row)] : meanLatent(model);
}

/** Move the latent by a slider; locked dimensions stay, unless it is their own slider. */
export function useSlide(): (z: number[], gesture: string, own?: number) => void {
  const app = useApp();
  return (z, gesture, own) => slide(app, z, gesture, own);
}
