/**
 * What the numbers of a latent are measured in. Against N(0, I) a latent is in standard deviations of the prior. A prior
 * that was trained with the model fixes no scale: there 1 means nothing, and the images say how far a dimension reaches.
 */

import type { DimensionInfo, ModelInfo } from "./manifest";

type Trained = Pick<ModelInfo, "prior">;

const WORDS: Record<string, string> = {
  mixture: "a mixture of Gaussians",
  vamp: "a mixture of posteriors (VampPrior)",
  flow: "a normalising flow",
};

/** Whether the prior is N(0, I); bundles that do not name it are of studies that knew no other. */
export function isStandard({ prior = "standard" }: Trained): boolean {
  return prior === "standard";
}

/** One unit of latents. */
export function latentUnit(info: Trained): string {
  return isStandard(info) ? "standard deviation of the prior" : "unit of the model's own";
}

/** Several of them. */
export function latentUnits(info: Trained): string {
  return isStandard(info) ? "standard deviations of the prior" : "units of the model's own";
}

/** The same as a sentence, with the reason. */
export function unitSentence(info: Trained): string {
  if (isStandard(info)) return "In standard deviations of the prior.";
  return `In units of the model's own: its prior, ${WORDS[info.prior ?? ""] ?? info.prior}, was trained with it and fixes no scale.`;
}

/** What the rate of one dimension is a divergence from. */
export function rateReference(info: Trained): string {
  return isStandard(info) ? "the prior" : "the Gaussian of all latents along it, because its prior has no rate by dimension";
}

export interface Span {
  /** The slider goes from -range to range. */
  range: number;
  /** Of an arrow key. */
  step: number;
  /** Of a page key. */
  large: number;
  /** Behind the decimal point. */
  digits: number;
}

const LEAST_RANGE = 3;

/** The span of a slider: three standard deviations of the prior, or as far as the images reach; without a unit only that. */
export function spanOf(info: Trained, { min, max, sd }: Pick<DimensionInfo, "min" | "max" | "sd">): Span {
  const reach = Math.max(Math.abs(min), Math.abs(max));
  if (isStandard(info)) return { range: Math.ceil(2 * Math.max(LEAST_RANGE, reach)) / 2, step: 0.05, large: 0.5, digits: 2 };
  const most = Math.max(reach, 2 * sd) || 1;
  const power = Math.floor(Math.log10(most / 20));
  const step = 10 ** power;
  return { range: Number((Math.ceil((1.1 * most) / (10 * step)) * 10 * step).toPrecision(12)), step, large: 10 * step, digits: Math.max(0, -power) };
}
