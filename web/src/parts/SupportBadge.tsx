/** Whether training images lie near a place in latent space: in words and with a sign, never by colour alone. */

import type { Support } from "../latent";

const WORDS = { within: "within the data", near: "near the data", off: "off the data" } as const;
const SIGNS = { within: "●", near: "◐", off: "○" } as const;

export function supportWords({ level }: Support): string {
  return WORDS[level];
}

/** "2nd", "3rd", "5th"; "" for the nearest itself. */
export function ordinal(k: number): string {
  return k === 1 ? "" : `${k}${k === 2 ? "nd" : k === 3 ? "rd" : "th"}`;
}

export function supportSentence({ level, percentile, distance }: Support, k: number): string {
  const share = Math.round(100 * percentile);
  const where = `${["The", ordinal(k), "nearest"].filter(Boolean).join(" ")} training image is ${distance.toPrecision(2)} away`;
  const compared = share >= 100 ? "farther than for any training image" : `farther than for ${share} % of the training images`;
  const meaning = { within: "", near: " Trust details with care.", off: " The model was not trained here: do not read details." }[level];
  return `${where}, ${compared}.${meaning}`;
}

export function SupportBadge({ value, k, isShort = false }: { value: Support; k: number; isShort?: boolean }) {
  const sentence = supportSentence(value, k);
  return (
    <span class={`badge ${value.level}`} data-support={value.level} title={sentence}>
      <span aria-hidden="true">{SIGNS[value.level]}</span> {WORDS[value.level]}
      {!isShort && <span class="visually-hidden">. {sentence}</span>}
    </span>
  );
}
