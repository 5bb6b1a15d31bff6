/** A small histogram of one number, drawn behind a slider or in a filter. */

interface Props {
  counts: readonly number[];
  /** Counts of a part, drawn in front. */
  part?: readonly number[] | null;
  height?: number;
}

export function Histogram({ counts, part = null, height = 22 }: Props) {
  const most = Math.max(1, ...counts);
  const bar = (count: number) => (count === 0 ? 0 : Math.max(0.04, count / most)) * height;
  const path = (values: readonly number[]) =>
    values.map((count, i) => `M${i} ${height}V${(height - bar(count)).toFixed(2)}h1V${height}Z`).join("");
  return (
    <svg class="histogram" viewBox={`0 0 ${counts.length} ${height}`} preserveAspectRatio="none" aria-hidden="true">
      <path class="bars" d={path(counts)} />
      {part && <path class="part" d={path(part)} />}
    </svg>
  );
}

/** Counts of the finite values in even bins between low and high; the mask leaves values out. */
export function binned(values: ArrayLike<number>, low: number, high: number, bins: number, mask: Uint8Array | null = null): number[] {
  const counts = new Array<number>(bins).fill(0);
  const span = high - low || 1;
  for (let i = 0; i < values.length; i++) {
    if ((mask && mask[i] === 0) || !(values[i] >= low && values[i] <= high)) continue;
    counts[Math.min(bins - 1, Math.floor((bins * (values[i] - low)) / span))]++;
  }
  return counts;
}
