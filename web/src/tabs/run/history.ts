/** Training curves out of the columns of a history. */

import { levelName } from "../../levels";
import type { Line } from "../../parts/charts/LineChart";

export const QUANTITIES = ["elbo", "distortion", "rate"] as const;
export type Quantity = (typeof QUANTITIES)[number];

const SPLITS = [
  ["train", 1],
  ["validation", 2],
  ["test", 3],
] as const;

type History = Record<string, (number | null)[]>;

/** The epochs of a history; counted from 1 when they were not kept. */
export function epochsOf(history: History): number[] {
  const kept = history.epoch;
  if (kept?.every((value) => value !== null)) return kept as number[];
  const longest = Math.max(0, ...Object.values(history).map((values) => values.length));
  return Array.from({ length: longest }, (_, i) => i + 1);
}

/** One line for each split in which a quantity is known. */
export function linesOf(history: History, quantity: Quantity): Line[] {
  return SPLITS.flatMap(([split, look]) => {
    const values = history[`${split}_${quantity}_nats`];
    return values?.some((value) => value !== null) ? [{ name: split, values, look }] : [];
  });
}

/** The validation rate of z and of each map of local latents; nothing for a model without these. */
export function levelLines(history: History): Line[] {
  const maps = Object.keys(history).flatMap((column) => {
    const side = /^validation_rate_(\d+)px_nats$/.exec(column);
    return side ? [{ side: Number(side[1]), values: history[column] }] : [];
  });
  if (maps.length === 0) return [];
  maps.sort((a, b) => a.side - b.side);
  const whole = history.validation_rate_nats ?? [];
  const ofZ = whole.map((rate, i) => (rate === null ? null : maps.reduce((rest, { values }) => rest - (values[i] ?? 0), rate)));
  const all = [{ side: 0, values: ofZ }, ...maps];
  return all.map(({ side, values }, i) => ({ name: side === 0 ? "z" : `local, ${levelName(side)} cells`, values, look: ((i % 3) + 1) as Line["look"] }));
}

/** Leave out the first tenth of the epochs, whose fall hides the rest. */
export function withoutFirstTenth<T>(values: readonly T[]): T[] {
  return values.slice(Math.floor(values.length / 10));
}

/** A command as one would type it. */
export function commandText(command: readonly string[]): string {
  return command.map((word) => (/^[\w@%+=:,./~-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(" ");
}
