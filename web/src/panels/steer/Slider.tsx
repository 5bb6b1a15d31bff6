/** A slider with its name, its value, a button back, and a tick where it started. */

import type { ComponentChildren } from "preact";
import { Icon } from "../../parts/Icon";
import type { Span } from "../../prior";

interface Props {
  id: string;
  title: string;
  facts: string;
  value: number;
  start: number;
  span: Span;
  /** The value as it is read aloud, after the number. */
  unit: string;
  onValue: (value: number) => void;
  /** More buttons beside the value. */
  buttons?: ComponentChildren;
  /** What lies behind the track. */
  behind?: ComponentChildren;
}

export function Slider({ id, title, facts, value, start, span, unit, onValue, buttons, behind }: Props) {
  const { range, step, digits } = span;
  const place = (100 * (Math.max(-range, Math.min(range, start)) + range)) / (2 * range);
  return (
    <>
      <div class="slider-head">
        <label for={id}>
          <b>{title}</b> <span class="soft small">{facts}</span>
        </label>
        <span class="row tight">
          <output for={id}>{value.toFixed(digits).replace("-", "−")}</output>
          {buttons}
          <button type="button" class="quiet tiny" onClick={() => onValue(start)} disabled={Math.abs(value - start) < step / 500} aria-label={`Reset ${title}`} title="Back to where the sliders started">
            <Icon name="reset" />
          </button>
        </span>
      </div>
      <div class={`track ${behind === undefined ? "plain" : ""}`}>
        {behind}
        <span class="ghost" style={{ left: `${place}%` }} aria-hidden="true" />
        <input
          id={id}
          data-slider
          type="range"
          min={-range}
          max={range}
          step={step}
          value={value}
          aria-valuetext={`${value.toFixed(digits)} ${unit}`}
          onInput={(event) => onValue(Number(event.currentTarget.value))}
          onKeyDown={(event) => moveFar(event, value, span, onValue)}
        />
      </div>
    </>
  );
}

/** Page keys, and arrows with Shift, take large steps. */
function moveFar(event: KeyboardEvent, value: number, { range, large }: Span, onValue: (value: number) => void): void {
  const step = { PageUp: large, PageDown: -large }[event.key] ?? (event.shiftKey ? { ArrowUp: large, ArrowDown: -large }[event.key] : undefined);
  if (step === undefined) return;
  event.preventDefault();
  onValue(Math.max(-range, Math.min(range, value + step)));
}
