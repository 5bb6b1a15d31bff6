/** What the colours mean; a click on an entry selects its images, a number column has a range to stretch. */

import { useMemo, useState } from "preact/hooks";
import { KEPT, useApp, usePart } from "../../app";
import { select } from "../../act";
import type { Column, Model } from "../../atlas";
import { formatNumber } from "../../atlas";
import type { LegendEntry } from "../../colour";
import { cividis, colourBy, css, toHex, usualRange } from "../../colour";
import { legendText } from "../../clusterNames";

export function Legend({ model }: { model: Model }) {
  const app = useApp();
  const name = usePart((state) => state.colour);
  const range = usePart((state) => state.colourRange);
  const own = usePart((state) => state.palette[state.colour]);
  const regions = usePart((state) => state.regions);
  const [isChoosing, setChoosing] = useState(false);
  const column = useMemo(() => app.colourColumn(name, model, regions), [app, name, model, regions]);
  const colouring = useMemo(() => colourBy(app.atlas.n, column, { range, own: own ?? {} }), [app, column, range, own]);
  const hasHalo = usePart((state) => state.halo) && app.isHeldOut.includes(1);
  const { legend } = colouring;
  if (column === null || legend.kind === "plain") return hasHalo ? <p class="legend small">◯ ring: held out of training</p> : null;
  return (
    <div class="legend small">
      <b>{column.info.title}</b>
      {legend.kind === "categories" ? (
        <ul>
          {legend.entries.map((entry) => (
            <li key={entry.text}>
              {isChoosing && entry.codes.length === 1 && <ColourInput column={name} entry={entry} />}
              <button
                type="button"
                class="quiet"
                disabled={entry.codes.length === 0 || name === KEPT}
                title="Select these images (Shift: add)"
                onClick={(event) =>
                  select(app, { kind: "values", mode: event.shiftKey ? "add" : "replace", column: name, values: entry.codes.map((code) => column.info.categories?.[code] ?? "") })
                }
              >
                <span class="swatch" style={{ background: css(entry.colour) }} aria-hidden="true" />
                {legendText(app, model, name, entry)} <span class="soft">{entry.n}</span>
              </button>
            </li>
          ))}
          {hasHalo && <li class="soft">◯ ring: held out of training</li>}
          <li>
            <button type="button" class="quiet" aria-pressed={isChoosing} onClick={() => setChoosing(!isChoosing)}>
              Own colours
            </button>
          </li>
        </ul>
      ) : (
        <Range column={column} low={legend.low} high={legend.high} />
      )}
    </div>
  );
}

function ColourInput({ column, entry }: { column: string; entry: LegendEntry }) {
  const { store } = useApp();
  const set = (colour: string) => {
    const { palette } = store.get();
    store.set({ palette: { ...palette, [column]: { ...palette[column], [entry.text]: colour } } }, "palette");
  };
  return <input type="color" value={toHex(entry.colour)} aria-label={`Colour of ${entry.text}`} onInput={(event) => set(event.currentTarget.value)} />;
}

function Range({ column, low, high }: { column: Column; low: number; high: number }) {
  const { store } = useApp();
  const usual = useMemo(() => usualRange(column.values as Float32Array), [column]);
  const ramp = Array.from({ length: 9 }, (_, i) => css(cividis(i / 8))).join(", ");
  const set = (end: 0 | 1, text: string) => {
    const value = Number(text);
    if (text !== "" && Number.isFinite(value)) store.set({ colourRange: end === 0 ? [value, high] : [low, value] }, "colour range");
  };
  return (
    <span class="row">
      <input type="number" value={formatPlain(low)} step="any" aria-label={`Lowest ${column.info.title} of the scale`} onChange={(event) => set(0, event.currentTarget.value)} />
      <span class="ramp" style={{ background: `linear-gradient(to right, ${ramp})` }} aria-hidden="true" />
      <input type="number" value={formatPlain(high)} step="any" aria-label={`Highest ${column.info.title} of the scale`} onChange={(event) => set(1, event.currentTarget.value)} />
      {column.info.unit && <span>{column.info.unit}</span>}
      <button type="button" onClick={() => store.set({ colourRange: null })} title={`${formatNumber(usual[0])} to ${formatNumber(usual[1])}: 98 % of the images`}>
        Usual range
      </button>
    </span>
  );
}

const formatPlain = (value: number): string => String(Number(value.toPrecision(4)));
