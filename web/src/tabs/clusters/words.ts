/** Words for how far clusters are real, and for what is more or less frequent in them. */

import type { ClusterInfo } from "../../manifest";
import type { ClusterWord } from "../../verdict";

/** Bounds of Kaufman & Rousseeuw 1990, table 4. */
export function silhouetteWords(value: number | null, word: ClusterWord): string {
  if (value === null) return "not known";
  if (value > 0.7) return "strong structure";
  if (value > 0.5) return "reasonable structure";
  if (value > 0.25) return "weak structure";
  return `no substantial structure: neighbouring ${word}s run into each other`;
}

/** Bounds of Hennig 2007, doi:10.1016/j.csda.2006.11.025. */
export function stabilityWords(value: number | null): string {
  if (value === null) return "not known";
  if (value >= 0.85) return "found again almost unchanged in halves of the images";
  if (value >= 0.75) return "found again in halves of the images";
  if (value >= 0.6) return "a pattern, but which images belong is uncertain";
  return "not found again in halves of the images";
}

export type Compared = "more" | "fewer" | "as expected";

/** More or fewer than expected: by a quarter at least, and by three times the root of the expected count. */
export function compared(n: number, expected: number): Compared {
  const gap = n - expected;
  if (Math.abs(gap) < 3 * Math.sqrt(Math.max(expected, 1)) || Math.abs(gap) < 0.25 * expected) return "as expected";
  return gap > 0 ? "more" : "fewer";
}

export type CountedValue = ClusterInfo["counts"][number]["values"][number];

/** The values that differ most from what is expected, the largest difference first. */
export function byDifference(values: readonly CountedValue[]): CountedValue[] {
  const size = ({ n, expected }: CountedValue) => Math.abs(n - expected) / Math.sqrt(Math.max(expected, 1));
  return [...values].sort((a, b) => size(b) - size(a) || b.n - a.n);
}

const MOST_LETTERS = 40;

function shortened(text: string): string {
  return text.length > MOST_LETTERS ? `${text.slice(0, MOST_LETTERS - 1)}…` : text || "(empty)";
}

/** One sentence on a column: what there is more and less of than expected. */
export function differenceSentence(values: readonly CountedValue[], most = 3): string {
  const named = (kind: Compared) =>
    byDifference(values)
      .filter(({ n, expected }) => compared(n, expected) === kind)
      .slice(0, most)
      .map(({ value, n, expected }) => `${shortened(value)} (${n}, expected ${Math.round(expected)})`)
      .join(", ");
  const [more, fewer] = [named("more"), named("fewer")];
  if (more === "" && fewer === "") return "About as many of each as expected.";
  return [more && `More ${more}.`, fewer && `Fewer ${fewer}.`].filter(Boolean).join(" ");
}
