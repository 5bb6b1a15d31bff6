/** Bars inside tables: a length from 0, or a length to either side of 0. The number always stands beside it as text. */

/** `value` of `most`, with a mark where it was expected. */
export function Bar({ value, most, expected = null }: { value: number; most: number; expected?: number | null }) {
  const share = (part: number) => 100 * Math.max(0, Math.min(1, part / (most || 1)));
  return (
    <svg class="bar" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <rect class="track" width="100" height="12" />
      <rect class="fill" width={share(value)} y="1.5" height="9" />
      {expected !== null && <path class="expected" d={`M${share(expected).toFixed(2)} 0V12`} />}
    </svg>
  );
}

/** A value between -1 and 1 with its interval; a strength without a sign goes to the right in a colour of its own. */
export function SignedBar({ value, low, high, hasSign = true }: { value: number; low: number | null; high: number | null; hasSign?: boolean }) {
  const at = (part: number) => 50 + 50 * Math.max(-1, Math.min(1, part));
  const [left, right] = [Math.min(50, at(value)), Math.max(50, at(value))];
  return (
    <svg class="bar signed" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">
      <rect class="track" width="100" height="12" />
      <rect class={!hasSign ? "eta" : value < 0 ? "negative" : "positive"} x={left} width={right - left} y="1.5" height="9" />
      <path class="zero" d="M50 0V12" />
      {low !== null && high !== null && <path class="interval" d={`M${at(low).toFixed(2)} 6H${at(high).toFixed(2)}`} />}
    </svg>
  );
}
