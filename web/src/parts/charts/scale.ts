/** Axes of small charts: round ticks, and numbers to places. */

/** Round values (1, 2, 2.5 or 5 times a power of ten) inside low..high, about as many as asked for, two at least. */
export function niceTicks(low: number, high: number, about = 5): number[] {
  const span = high - low;
  if (!(span > 0) || !Number.isFinite(span)) return Number.isFinite(low) ? [low] : [];
  const raw = span / Math.max(1, about);
  const power = 10 ** Math.floor(Math.log10(raw));
  let step = power * ([1, 2, 5, 10].find((factor) => factor * power >= raw * 0.999) ?? 10);
  const ends = (): [number, number] => [Math.ceil(low / step - 1e-9), Math.floor(high / step + 1e-9)];
  if (ends()[1] <= ends()[0]) step /= 2;
  const [first, last] = ends();
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** Round values from 0 up to `most`, about four of them. */
export function ticksFromZero(most: number): number[] {
  if (!(most > 0) || !Number.isFinite(most)) return [0];
  const rough = most / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((value) => value >= rough) ?? 10 * power;
  return Array.from({ length: Math.floor(most / step + 1e-9) + 1 }, (_, i) => Number((i * step).toPrecision(6)));
}

/** A place for a value: straight from one pair of ends to another. */
export function linear(from: readonly [number, number], to: readonly [number, number]): (value: number) => number {
  const span = from[1] - from[0] || 1;
  return (value) => to[0] + ((value - from[0]) / span) * (to[1] - to[0]);
}

/** Text of a tick with a true minus sign; thousands are set apart. */
export function tickText(value: number): string {
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(0).replace(/-/g, "−");
  const digits = Math.abs(value) >= 10_000 ? value.toLocaleString("en-GB").replaceAll(",", "\u202f") : String(value);
  return digits.replace("-", "−");
}

/** Least and greatest known value over some lines; null when there is none. */
export function extent(lines: readonly (readonly (number | null | undefined)[])[]): [number, number] | null {
  let low = Infinity;
  let high = -Infinity;
  for (const line of lines) {
    for (const value of line) {
      if (value === null || value === undefined || !Number.isFinite(value)) continue;
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return low <= high ? [low, high] : null;
}
