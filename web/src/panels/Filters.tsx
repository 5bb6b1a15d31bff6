/** Search and cross-filters: what is hidden here is hidden on the map, and the other histograms follow. */

import { useMemo, useState } from "preact/hooks";
import { useApp, useModel, usePart } from "../app";
import { select } from "../act";
import type { Column, Model } from "../atlas";
import { formatNumber } from "../atlas";
import { binned, Histogram } from "../parts/Histogram";
import { Icon } from "../parts/Icon";
import type { Filter } from "../store";

const BINS = 40;
const MOST_VALUES = 12;

export function Filters() {
  const app = useApp();
  const model = useModel();
  const search = usePart((state) => state.search);
  const filters = usePart((state) => state.filters);
  const [names, setNames] = useState<string[]>([]);
  if (model === null) return null;
  const columns = [...model.columns, ...app.atlas.columns].filter(isFilterable);
  const open = [...new Set([...filters.map((filter) => filter.column), ...names])];
  const mask = app.visible({ filters, search, model: model.info.name });
  const left = mask === null ? app.atlas.n : mask.reduce((sum, value) => sum + value, 0);
  const isActive = mask !== null;
  return (
    <div class="card filters">
      <div class="row spread">
        <h2>Find and filter</h2>
        <button type="button" disabled={!isActive} onClick={() => app.store.set({ filters: [], search: "" })}>
          Show all
        </button>
      </div>
      <input type="search" data-search value={search} placeholder="Name, group or label" aria-label="Search images by name, group or label" onInput={(event) => app.store.set({ search: event.currentTarget.value }, "search")} />
      {isActive && (
        <p class="row spread small" data-left={left}>
          <span>
            {left.toLocaleString("en")} of {app.atlas.n.toLocaleString("en")} shown
          </span>
          <button type="button" disabled={left === 0} onClick={() => select(app, { kind: "filters", mode: "replace" })}>
            Select them
          </button>
        </p>
      )}
      {open.map((name) => {
        const column = app.atlas.column(name, model);
        return column && <ColumnFilter key={name} column={column} model={model} onClose={() => close(name)} />;
      })}
      <select aria-label="Add a filter" value="" onChange={(event) => event.currentTarget.value && setNames([...names, event.currentTarget.value])}>
        <option value="">Add a filter …</option>
        {columns
          .filter(({ info }) => !open.includes(info.name))
          .map(({ info }) => (
            <option key={info.name} value={info.name}>
              {info.title}
            </option>
          ))}
      </select>
    </div>
  );

  function close(name: string): void {
    setNames(names.filter((other) => other !== name));
    app.store.set({ filters: filters.filter((filter) => filter.column !== name) });
  }
}

function isFilterable({ info }: Column): boolean {
  return info.kind === "number" || (info.categories?.length ?? 0) <= 200;
}

interface Props {
  column: Column;
  model: Model;
  onClose: () => void;
}

function ColumnFilter({ column, model, onClose }: Props) {
  return (
    <fieldset class="filter" data-filter={column.info.name}>
      <legend class="visually-hidden">{column.info.title}</legend>
      <div class="row spread">
        <h3>{column.info.title}</h3>
        <button type="button" class="quiet tiny" onClick={onClose} aria-label={`Remove the filter ${column.info.title}`}>
          <Icon name="close" />
        </button>
      </div>
      {column.info.kind === "number" ? <RangeFilter column={column} model={model} /> : <ValueFilter column={column} model={model} />}
    </fieldset>
  );
}

/** The images that pass the other filters: what a histogram counts. */
function useOthers(column: Column, model: Model): Uint8Array | null {
  const app = useApp();
  const filters = usePart((state) => state.filters);
  const search = usePart((state) => state.search);
  return useMemo(() => {
    const others = filters.filter((filter) => filter.column !== column.info.name);
    if (others.length === 0 && search === "") return null;
    return new Uint8Array(app.visible({ filters: others, search, model: model.info.name }) ?? []);
  }, [app, filters, search, column, model]);
}

function setFilter(app: ReturnType<typeof useApp>, name: string, filter: Filter | null, gesture = ""): void {
  const others = app.store.get().filters.filter((other) => other.column !== name);
  app.store.set({ filters: filter ? [...others, filter] : others }, gesture);
}

function RangeFilter({ column, model }: { column: Column; model: Model }) {
  const app = useApp();
  const name = column.info.name;
  const filter = usePart((state) => state.filters.find((item) => item.column === name)) ?? null;
  const others = useOthers(column, model);
  const [low, high] = useMemo(() => extent(column.values), [column]);
  const all = useMemo(() => binned(column.values, low, high, BINS), [column, low, high]);
  const part = useMemo(() => (others ? binned(column.values, low, high, BINS, others) : null), [column, low, high, others]);
  const [from, to] = filter?.kind === "range" ? [filter.low, filter.high] : [low, high];
  const step = (high - low) / 200 || 1;
  const set = (a: number, b: number) => {
    const isAll = a <= low && b >= high;
    setFilter(app, name, isAll ? null : { column: name, kind: "range", low: Math.min(a, b), high: Math.max(a, b) }, `filter ${name}`);
  };
  return (
    <>
      <Histogram counts={all} part={part ?? all} height={30} />
      <label>
        <span class="small soft">from {formatNumber(from)}</span>
        <input type="range" min={low} max={high} step={step} value={from} onInput={(event) => set(Number(event.currentTarget.value), to)} aria-label={`Lowest ${column.info.title}`} aria-valuetext={formatNumber(from)} />
      </label>
      <label>
        <span class="small soft">
          to {formatNumber(to)} {column.info.unit ?? ""}
        </span>
        <input type="range" min={low} max={high} step={step} value={to} onInput={(event) => set(from, Number(event.currentTarget.value))} aria-label={`Highest ${column.info.title}`} aria-valuetext={formatNumber(to)} />
      </label>
    </>
  );
}

function ValueFilter({ column, model }: { column: Column; model: Model }) {
  const app = useApp();
  const name = column.info.name;
  const [isLong, setLong] = useState(false);
  const filter = usePart((state) => state.filters.find((item) => item.column === name)) ?? null;
  const others = useOthers(column, model);
  const counts = useMemo(() => {
    const found = new Uint32Array(column.info.categories?.length ?? 0);
    for (let i = 0; i < column.values.length; i++) if ((others === null || others[i]) && column.values[i] < found.length) found[column.values[i]]++;
    return found;
  }, [column, others]);
  const categories = column.info.categories ?? [];
  const chosen = filter?.kind === "values" ? filter.values : null;
  const most = Math.max(1, ...counts);
  const toggle = (value: string) => {
    const next = chosen === null ? [value] : chosen.includes(value) ? chosen.filter((other) => other !== value) : [...chosen, value];
    setFilter(app, name, next.length ? { column: name, kind: "values", values: next } : null);
  };
  const shown = isLong ? categories : categories.slice(0, MOST_VALUES);
  return (
    <ul class="values">
      {shown.map((value, code) => (
        <li key={value}>
          <label class="check">
            <input type="checkbox" checked={chosen?.includes(value) ?? false} onChange={() => toggle(value)} />
            <span class="value-bar" style={{ width: `${(100 * counts[code]) / most}%` }} aria-hidden="true" />
            <span class="value-text">{value}</span> <span class="soft">{counts[code]}</span>
          </label>
        </li>
      ))}
      {categories.length > MOST_VALUES && (
        <li>
          <button type="button" class="quiet" onClick={() => setLong(!isLong)}>
            {isLong ? "fewer" : `${categories.length - MOST_VALUES} more`}
          </button>
        </li>
      )}
    </ul>
  );
}

function extent(values: ArrayLike<number>): [number, number] {
  let [low, high] = [Infinity, -Infinity];
  for (let i = 0; i < values.length; i++) {
    if (values[i] < low) low = values[i];
    if (values[i] > high) high = values[i];
  }
  return low <= high ? [low, high] : [0, 1];
}
