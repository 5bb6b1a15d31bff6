/** Names of clusters, or of the regions of a continuum: those that a person gives are kept in the browser, for this atlas and model. */

import { useEffect, useState } from "preact/hooks";
import type { App } from "./app";
import type { LegendEntry } from "./colour";
import type { ModelInfo } from "./manifest";
import { capital, clusterWord } from "./verdict";

export interface Named {
  info: Pick<ModelInfo, "name" | "clusters">;
}

const MOST_LETTERS = 60;
const known = new Map<string, Record<string, string>>();
const listeners = new Set<() => void>();

const keyOf = (app: App, model: Named): string => `zatlas.clusters.${app.atlas.manifest.atlas_hash}.${model.info.name}`;

/** The name of a cluster: the person's own, else "Cluster" or "Region" and its number. */
export function clusterName(app: App, model: Named, cluster: number | string): string {
  return namesOf(app, model)[String(cluster)] ?? numbered(model, cluster);
}

function numbered(model: Named, cluster: number | string): string {
  return `${capital(clusterWord(model.info))} ${cluster}`;
}

/** An entry of the legend of a column: clusters by their names. */
export function legendText(app: App, model: Named, column: string, entry: LegendEntry): string {
  return column === "cluster" && entry.codes.length === 1 ? clusterName(app, model, entry.text) : entry.text;
}

export function isRenamed(app: App, model: Named, cluster: number | string): boolean {
  return String(cluster) in namesOf(app, model);
}

/** Give a cluster a name; an empty one gives its number back. */
export function renameCluster(app: App, model: Named, cluster: number | string, name: string): void {
  const names = Object.assign(empty(), namesOf(app, model));
  const text = name.trim().slice(0, MOST_LETTERS);
  if (text === "" || text === numbered(model, cluster)) delete names[String(cluster)];
  else names[String(cluster)] = text;
  known.set(keyOf(app, model), names);
  try {
    localStorage.setItem(keyOf(app, model), JSON.stringify(names));
  } catch {
    // Without storage (a sandboxed page) the name lasts as long as the page.
  }
  for (const listener of [...listeners]) listener();
}

/** Be told when a cluster is renamed; the answer ends that. */
export function onClusterNames(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Draw the component again when a cluster is renamed. */
export function useClusterNames(): number {
  const [count, setCount] = useState(0);
  useEffect(() => onClusterNames(() => setCount((last) => last + 1)), []);
  return count;
}

function namesOf(app: App, model: Named): Record<string, string> {
  const key = keyOf(app, model);
  let names = known.get(key);
  if (names === undefined) {
    names = stored(key);
    known.set(key, names);
  }
  return names;
}

/** Without the names that every object has. */
function empty(): Record<string, string> {
  return Object.create(null) as Record<string, string>;
}

function stored(key: string): Record<string, string> {
  const names = empty();
  try {
    const value: unknown = JSON.parse(localStorage.getItem(key) ?? "{}");
    if (typeof value !== "object" || value === null) return names;
    for (const [cluster, name] of Object.entries(value)) if (typeof name === "string") names[cluster] = name.slice(0, MOST_LETTERS);
  } catch {
    // Nothing usable is stored.
  }
  return names;
}
