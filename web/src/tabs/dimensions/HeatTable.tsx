/** All dimensions by rate, each with its correlations as coloured cells that carry their number. */

import { useState } from "preact/hooks";
import type { Model } from "../../atlas";
import type { CorrelationInfo, DimensionInfo } from "../../manifest";
import { Bar } from "../../parts/charts/Bar";
import { fixed, useColumnTitle, WideTable } from "../common";
import { correlationText, signed, strongestColumns } from "./order";

const MOST_COLUMNS = 12;

export function HeatTable({ model, ordered }: { model: Model; ordered: DimensionInfo[] }) {
  const active = ordered.filter((dimension) => dimension.is_active);
  const folded = ordered.filter((dimension) => !dimension.is_active);
  const columns = strongestColumns(active);
  const [isWide, setWide] = useState(false);
  const shown = columns.slice(0, isWide ? columns.length : MOST_COLUMNS);
  const most = Math.max(1e-9, ...ordered.map((dimension) => dimension.rate_nats));
  return (
    <>
      {columns.length === 0 ? <p class="soft">No labels came with the images, so there is nothing to correlate with.</p> : <Legend />}
      <WideTable label="Rate and correlations of the dimensions in use">
        <Table model={model} dimensions={active} columns={shown} most={most} />
      </WideTable>
      {columns.length > MOST_COLUMNS && (
        <button type="button" class="quiet" aria-expanded={isWide} onClick={() => setWide(!isWide)}>
          {isWide ? "Show fewer columns" : `Show ${columns.length - MOST_COLUMNS} more columns`}
        </button>
      )}
      {folded.length > 0 && <Folded dimensions={folded} most={most} />}
    </>
  );
}

function Legend() {
  return (
    <p class="heat-legend small">
      <span>
        <span class="heat-scale negative" aria-hidden="true" /> falls with it (to −1)
      </span>
      <span>
        <span class="heat-scale positive" aria-hidden="true" /> rises with it (to +1)
      </span>
      <span>
        <span class="heat-scale eta" aria-hidden="true" /> η: differs between values (to 1)
      </span>
    </p>
  );
}

function Table({ model, dimensions, columns, most }: { model: Model; dimensions: DimensionInfo[]; columns: string[]; most: number }) {
  const title = useColumnTitle(model);
  return (
    <table class="heat small">
      <thead>
        <tr>
          <th scope="col">Dimension</th>
          <th scope="col" colSpan={2} class="rate-head">
            Rate [nats]
          </th>
          {columns.map((column) => (
            <th key={column} scope="col" class="column-head" title={title(column)}>
              {title(column)}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {dimensions.map((dimension) => (
          <tr key={dimension.dim}>
            <th scope="row">z{dimension.dim}</th>
            <td class="number">{fixed(dimension.rate_nats)}</td>
            <td class="bar-cell">
              <Bar value={dimension.rate_nats} most={most} />
            </td>
            {columns.map((column) => (
              <HeatCell key={column} found={dimension.correlations.find((candidate) => candidate.column === column)} />
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function HeatCell({ found }: { found: CorrelationInfo | undefined }) {
  if (found === undefined) {
    return (
      <td class="heat-cell" title="not known">
        –
      </td>
    );
  }
  const kind = found.kind === "eta" ? "eta" : found.r < 0 ? "negative" : "positive";
  const text = found.kind === "eta" ? `η ${found.r.toFixed(2)}` : signed(found.r);
  return (
    <td class={`heat-cell ${kind}`} style={{ "--strength": `${Math.round(100 * Math.min(1, Math.abs(found.r)))}%` }} title={`${correlationText(found)}, ${found.n} images`}>
      {text}
    </td>
  );
}

function Folded({ dimensions, most }: { dimensions: DimensionInfo[]; most: number }) {
  return (
    <details class="folded">
      <summary>
        {dimensions.length} {dimensions.length === 1 ? "dimension is" : "dimensions are"} folded away: the model does not use {dimensions.length === 1 ? "it" : "them"}
      </summary>
      <table class="small">
        <thead>
          <tr>
            <th scope="col">Dimension</th>
            <th scope="col" colSpan={2}>
              Rate [nats]
            </th>
            <th scope="col">Reason</th>
          </tr>
        </thead>
        <tbody>
          {dimensions.map(({ dim, rate_nats, reason }) => (
            <tr key={dim}>
              <th scope="row">z{dim}</th>
              <td class="number">{fixed(rate_nats, 3)}</td>
              <td class="bar-cell">
                <Bar value={rate_nats} most={most} />
              </td>
              <td>{reason}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </details>
  );
}
