/** Numbers that are compared between models. */

import type { ComparisonInfo, ModelInfo } from "../../manifest";

/** The split that a model is judged on: the test split where there is one. */
export function judgedOn(model: ModelInfo): string {
  return ["test", "validation", "train"].find((split) => split in model.metrics) ?? Object.keys(model.metrics)[0] ?? "";
}

export function metric(model: ModelInfo, name: string): number | null {
  return model.metrics[judgedOn(model)]?.[name] ?? null;
}

/** What a model gains over PCA in one measure, with its interval over groups; empty where it was not measured. */
export function gainText(model: ModelInfo, measure: "" | "content_" | "pooled_"): string {
  const [gain, low, high] = ["gain_db", "gain_low_db", "gain_high_db"].map((name) => metric(model, measure + name));
  if (gain == null) return "";
  return signed(gain) + (low != null && high != null ? ` [${signed(low)}, ${signed(high)}]` : "");
}

/** Whether some of the images that a model is judged on are nearly empty, so that a gain without them says something of its own. */
export function hasEmpty(model: ModelInfo): boolean {
  return (metric(model, "n_empty") ?? 0) > 0;
}

/** Whether some images come back exactly from the model or from PCA: each counts as 100 dB, where PSNR ends. */
export function hasExact(model: ModelInfo): boolean {
  return (metric(model, "n_exact") ?? 0) + (metric(model, "pca_n_exact") ?? 0) > 0;
}

const signed = (value: number): string => (value < 0 ? "\u2212" : "+") + Math.abs(value).toFixed(2);

export function activeDims(model: ModelInfo): number {
  return model.dimensions.filter((dimension) => dimension.is_active).length;
}

/** Rows that both lists of nearest images hold, and those that one of them holds alone. */
export function sharedRows(a: readonly number[], b: readonly number[]): { both: number[]; onlyA: number[]; onlyB: number[] } {
  const [inA, inB] = [new Set(a), new Set(b)];
  return { both: a.filter((row) => inB.has(row)), onlyA: a.filter((row) => !inB.has(row)), onlyB: b.filter((row) => !inA.has(row)) };
}

/** Mean share of neighbours that two models have in common; null when the study did not compare them. */
export function meanOverlap(comparison: ComparisonInfo | null, a: string, b: string): number | null {
  const names = comparison?.neighbour_overlap.names ?? [];
  return comparison?.neighbour_overlap.values[names.indexOf(a)]?.[names.indexOf(b)] ?? null;
}

export interface SharedNeighbours {
  /** Nearest images of each that were compared. */
  k: number;
  /** Share that two unrelated models would have in common. */
  chance: number;
}

/** Of how many neighbours the study compared in two models, among n images; null where it does not say. */
export function comparedNeighbours(comparison: ComparisonInfo | null, a: string, b: string, n: number): SharedNeighbours | null {
  const row = comparison?.map_similarity.find((one) => (one.a === a && one.b === b) || (one.a === b && one.b === a));
  const chance = row?.chance_overlap;
  return typeof chance === "number" ? { k: Math.round(chance * (n - 1)), chance } : null;
}

export interface Match {
  ari: number;
  share: number;
  /** Cluster of the first model to cluster of the second. */
  pairs: [string, string][];
}

/** How the clusters of two models correspond, in whichever order the study compared them. */
export function clusterMatch(comparison: ComparisonInfo | null, a: string, b: string): Match | null {
  for (const match of comparison?.cluster_matches ?? []) {
    const pairs = Object.entries(match.mapping).map(([from, to]): [string, string] => [from, String(to)]);
    if (match.a === a && match.b === b) return { ari: match.ari, share: match.share, pairs };
    if (match.a === b && match.b === a) return { ari: match.ari, share: match.share, pairs: pairs.map(([from, to]) => [to, from]) };
  }
  return null;
}

/** Words for the adjusted Rand index: 1 for the same division, 0 for what chance gives. */
export function ariWords(ari: number): string {
  if (ari >= 0.9) return "almost the same division";
  if (ari >= 0.65) return "much the same division";
  if (ari >= 0.3) return "partly the same division";
  return ari >= 0.1 ? "mostly different divisions" : "hardly more alike than by chance";
}
