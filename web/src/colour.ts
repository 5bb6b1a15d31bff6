/** Colours: Okabe-Ito for categories, cividis for numbers, blue-white-orange for differences. Never a rainbow. */

import type { Column } from "./atlas";

export type Rgb = readonly [number, number, number];

/** Okabe & Ito 2008, jfly.uni-koeln.de/color; told apart with any kind of colour vision. Black stands for "other". */
export const OKABE_ITO: readonly Rgb[] = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [0, 114, 178],
  [213, 94, 0],
  [204, 121, 167],
];
export const OTHER: Rgb = [130, 130, 130];
export const MISSING: Rgb = [170, 170, 170];
export const PLAIN: Rgb = [70, 120, 170];
export const MOST_CATEGORIES = OKABE_ITO.length;

/** Cividis at 9 even steps (Nuñez, Anderton & Renslow 2018). */
const CIVIDIS: readonly Rgb[] = [
  [0, 34, 78],
  [18, 53, 112],
  [59, 73, 108],
  [87, 93, 109],
  [112, 113, 115],
  [138, 134, 120],
  [165, 156, 116],
  [195, 179, 105],
  [225, 204, 85],
  [254, 232, 56],
];
const DIFFERENCE: readonly Rgb[] = [
  [5, 70, 140],
  [86, 160, 213],
  [245, 245, 245],
  [240, 164, 80],
  [176, 80, 0],
];

function along(stops: readonly Rgb[], t: number): Rgb {
  const place = Math.max(0, Math.min(1, t)) * (stops.length - 1);
  const low = Math.min(stops.length - 2, Math.floor(place));
  const part = place - low;
  const mix = (c: 0 | 1 | 2) => Math.round(stops[low][c] + part * (stops[low + 1][c] - stops[low][c]));
  return [mix(0), mix(1), mix(2)];
}

export const cividis = (t: number): Rgb => along(CIVIDIS, t);
/** From -1 (blue: darker than the original) over 0 (white) to 1 (orange: brighter). */
export const difference = (t: number): Rgb => along(DIFFERENCE, (t + 1) / 2);
export const css = ([r, g, b]: Rgb): string => `rgb(${r} ${g} ${b})`;

export interface LegendEntry {
  colour: Rgb;
  text: string;
  n: number;
  /** Codes of the categories that it stands for. */
  codes: number[];
}

export interface Colouring {
  rgba: Uint8Array;
  legend: { kind: "categories"; entries: LegendEntry[] } | { kind: "range"; low: number; high: number } | { kind: "plain" };
}

export interface Wishes {
  /** Ends of the scale of a number. */
  range?: readonly [number, number] | null;
  /** Colours of categories, #rrggbb by name. */
  own?: Readonly<Record<string, string>>;
}

/** A colour for each image by a column; the most frequent seven categories have their own, the rest are "other". */
export function colourBy(n: number, column: Column | null, { range = null, own = {} }: Wishes = {}): Colouring {
  if (column === null) return { rgba: filled(n, () => PLAIN), legend: { kind: "plain" } };
  return column.info.kind === "category" ? byCategory(n, column, own) : byNumber(n, column, range);
}

/** #rrggbb as numbers; null when it is something else. */
export function fromHex(text: string): Rgb | null {
  const found = /^#([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})$/i.exec(text);
  return found ? [parseInt(found[1], 16), parseInt(found[2], 16), parseInt(found[3], 16)] : null;
}

export const toHex = (rgb: Rgb): string => `#${rgb.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

function filled(n: number, colour: (i: number) => Rgb): Uint8Array {
  const rgba = new Uint8Array(n * 4);
  for (let i = 0; i < n; i++) {
    const [r, g, b] = colour(i);
    rgba[4 * i] = r;
    rgba[4 * i + 1] = g;
    rgba[4 * i + 2] = b;
    rgba[4 * i + 3] = 255;
  }
  return rgba;
}

function byCategory(n: number, column: Column, own: Readonly<Record<string, string>>): Colouring {
  const categories = column.info.categories ?? [];
  const counts = new Uint32Array(categories.length);
  for (let i = 0; i < n; i++) if (column.values[i] < counts.length) counts[column.values[i]]++;
  const order = [...counts.keys()].filter((code) => counts[code] > 0);
  if (order.length > MOST_CATEGORIES) order.sort((a, b) => counts[b] - counts[a] || a - b);
  const named = order.slice(0, MOST_CATEGORIES);
  const rest = order.slice(MOST_CATEGORIES);
  const colours = new Map<number, Rgb>(named.map((code, i) => [code, fromHex(own[categories[code]] ?? "") ?? OKABE_ITO[i]]));
  const entries: LegendEntry[] = named.map((code) => ({ colour: colours.get(code) as Rgb, text: categories[code], n: counts[code], codes: [code] }));
  if (rest.length) {
    const total = rest.reduce((sum, code) => sum + counts[code], 0);
    entries.push({ colour: OTHER, text: `other (${rest.length} values)`, n: total, codes: rest });
  }
  const missing = n - counts.reduce((sum, count) => sum + count, 0);
  if (missing > 0) entries.push({ colour: MISSING, text: "not known", n: missing, codes: [] });
  const isNamed = (code: number) => code < categories.length;
  const rgba = filled(n, (i) => colours.get(column.values[i]) ?? (isNamed(column.values[i]) ? OTHER : MISSING));
  return { rgba, legend: { kind: "categories", entries } };
}

function byNumber(n: number, column: Column, range: readonly [number, number] | null): Colouring {
  const [low, high] = range ?? usualRange(column.values as Float32Array);
  const span = high - low || 1;
  const steps = Array.from({ length: 256 }, (_, i) => cividis(i / 255));
  const rgba = filled(n, (i) => {
    const value = column.values[i];
    return Number.isNaN(value) ? MISSING : steps[Math.max(0, Math.min(255, Math.round((255 * (value - low)) / span)))];
  });
  return { rgba, legend: { kind: "range", low, high } };
}

/** From the 1st to the 99th hundredth of the values, so that single extremes do not flatten the scale. */
export function usualRange(values: Float32Array): [number, number] {
  const known = Float32Array.from(values.filter((value) => Number.isFinite(value))).sort();
  if (known.length === 0) return [0, 1];
  const at = (share: number) => known[Math.round(share * (known.length - 1))];
  return at(0.01) < at(0.99) ? [at(0.01), at(0.99)] : [known[0], known[known.length - 1]];
}
