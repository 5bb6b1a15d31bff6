/** The images of the map as a table, for keyboards and screen readers; only the rows in view are in the page. */

import { useMemo, useState } from "preact/hooks";
import { useApp, usePart } from "../../app";
import { inspect } from "../../act";
import type { Column, Model } from "../../atlas";
import { textOf } from "../../atlas";

const ROW_PX = 30;
const WINDOW = 60;

export function TableView({ model }: { model: Model }) {
  const app = useApp();
  const filters = usePart((state) => state.filters);
  const search = usePart((state) => state.search);
  const selection = usePart((state) => state.selection);
  const focus = usePart((state) => state.focus);
  const colour = usePart((state) => state.colour);
  const [top, setTop] = useState(0);
  const rows = useMemo(() => {
    const mask = app.visible({ filters, search, model: model.info.name });
    const chosen = selection ? new Set(selection.rows) : null;
    return Array.from({ length: app.atlas.n }, (_, i) => i).filter((i) => (mask === null || mask[i]) && (chosen === null || chosen.has(i)));
  }, [app, filters, search, selection, model]);
  const columns = columnsOf(app.atlas.columns, model, app.atlas.column(colour, model));
  const first = Math.max(0, Math.min(rows.length - WINDOW, Math.floor(top / ROW_PX) - 10));
  const shown = rows.slice(first, first + WINDOW);
  return (
    <div class="table-view" tabIndex={0} role="region" aria-label="Images as a table" onScroll={(event) => setTop(event.currentTarget.scrollTop)}>
      <table aria-rowcount={rows.length + 1}>
        <thead>
          <tr aria-rowindex={1}>
            <th scope="col">Image</th>
            {columns.map((column) => (
              <th key={column.info.name} scope="col" class={column.info.kind === "number" ? "number" : ""}>
                {column.info.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          <tr class="spacer" aria-hidden="true" style={{ height: `${first * ROW_PX}px` }} />
          {shown.map((row, i) => (
            <tr key={row} aria-rowindex={first + i + 2} aria-current={row === focus ? "true" : undefined}>
              <th scope="row">
                <button type="button" class="quiet" onClick={() => inspect(app, row)}>
                  {app.atlas.names[row]}
                </button>
              </th>
              {columns.map((column) => (
                <td key={column.info.name} class={column.info.kind === "number" ? "number" : ""}>
                  {textOf(column, row)}
                </td>
              ))}
            </tr>
          ))}
          <tr class="spacer" aria-hidden="true" style={{ height: `${Math.max(0, rows.length - first - shown.length) * ROW_PX}px` }} />
        </tbody>
      </table>
      {rows.length === 0 && <p class="soft">No image passes the filters.</p>}
    </div>
  );
}

function columnsOf(shared: readonly Column[], model: Model, colour: Column | null): Column[] {
  const wanted = ["group", "split"].map((name) => shared.find((column) => column.info.name === name));
  const own = ["cluster", "psnr_db", "rate_nats"].map((name) => model.columns.find((column) => column.info.name === name));
  return [...new Set([colour, ...wanted, ...own])].filter((column): column is Column => column !== null && column !== undefined);
}
