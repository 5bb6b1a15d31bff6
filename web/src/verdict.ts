/**
 * What the cells that k-means makes of a latent space are called: clusters, or regions where the study found a continuum.
 * Keys, columns and files say cluster in both cases.
 */

import type { ModelInfo } from "./manifest";

/** In the sentences of a study that found no clusters; bundles of 0.1.0 say the verdict there alone. */
const CONTINUUM = /\bcontinuum\b|\bonly one region\b/i;

export type ClusterWord = "cluster" | "region";
type Judged = Pick<ModelInfo, "clusters">;

export function clusterWord({ clusters }: Judged): ClusterWord {
  if (clusters.verdict !== undefined) return clusters.verdict === "clusters" ? "cluster" : "region";
  return CONTINUUM.test(clusters.text) ? "region" : "cluster";
}

/** The word for the cells of some models together. */
export function clusterWords(models: readonly Judged[]): "clusters" | "regions" | "clusters and regions" {
  const words = new Set(models.map(clusterWord));
  if (words.size === 2) return "clusters and regions";
  return words.has("region") ? "regions" : "clusters";
}

/** The same as a title. */
export function clusterTitle(models: readonly Judged[]): string {
  return { clusters: "Clusters", regions: "Regions", "clusters and regions": "Clusters and regions" }[clusterWords(models)];
}

export function capital(words: string): string {
  return words.charAt(0).toUpperCase() + words.slice(1);
}
