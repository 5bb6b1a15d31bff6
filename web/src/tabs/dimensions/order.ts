/** Order and arithmetic of the tab of dimensions. */

import type { CorrelationInfo, DimensionInfo } from "../../manifest";

export const STEPS = 7;
const REACH = 2;

/** Dimensions by rate, the one that says most first. */
export function byRate(dimensions: readonly DimensionInfo[]): DimensionInfo[] {
  return [...dimensions].sort((a, b) => b.rate_nats - a.rate_nats || a.dim - b.dim);
}

/** Where a traversal takes the other dimensions from: the mean of the data, or the image in focus. */
export type TraversalBase = "mean" | "image";

export interface TraversalStep {
  /** Standard deviations from the mean of the data. */
  t: number;
  z: number[];
}

/** Latents that differ from `base` in one dimension alone, which goes from -2 to 2 standard deviations of the data. */
export function traversal(base: ArrayLike<number>, { dim, mean, sd }: Pick<DimensionInfo, "dim" | "mean" | "sd">): TraversalStep[] {
  return Array.from({ length: STEPS }, (_, i) => {
    const t = -REACH + (2 * REACH * i) / (STEPS - 1);
    const z = Array.from(base);
    z[dim] = mean + t * sd;
    return { t, z };
  });
}

/** Correlations by strength, whatever their sign. */
export function byStrength(correlations: readonly CorrelationInfo[]): CorrelationInfo[] {
  return [...correlations].sort((a, b) => Math.abs(b.r) - Math.abs(a.r));
}

/** The columns that any dimension goes with most, the strongest first. */
export function strongestColumns(dimensions: readonly DimensionInfo[]): string[] {
  const best = new Map<string, number>();
  for (const { correlations } of dimensions) {
    for (const { column, r } of correlations) best.set(column, Math.max(best.get(column) ?? 0, Math.abs(r)));
  }
  return [...best].sort((a, b) => b[1] - a[1]).map(([column]) => column);
}

export function signed(value: number, digits = 2): string {
  const text = Math.abs(value).toFixed(digits);
  return Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`;
}

/** A correlation in words, with its interval where there is one. */
export function correlationText({ r, kind, low, high }: CorrelationInfo): string {
  if (kind === "eta") return `η = ${r.toFixed(2)}, no sign`;
  const interval = low === null || high === null ? "" : ` (95 %: ${signed(low)} to ${signed(high)})`;
  return `r = ${signed(r)}${interval}`;
}
