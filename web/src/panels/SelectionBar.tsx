/** What is selected: how many, of which kinds, and what one can do with it. */

import { useMemo, useState } from "preact/hooks";
import { useApp, useModel, usePart } from "../app";
import { clearSelection, keepSelection, maskOf, steer } from "../act";
import type { Model } from "../atlas";
import { css, OKABE_ITO } from "../colour";
import { meanOf } from "../latent";
import { Icon } from "../parts/Icon";
import { RealImage } from "../parts/RealImage";
import type { KeptSelection, Selection } from "../store";
import { OpenSelection } from "./OpenSelection";
import { copyPython, saveCsv, saveJson } from "./selectionActions";

const MOST_PICTURES = 40;

export function SelectionBar() {
  const app = useApp();
  const model = useModel();
  const selection = usePart((state) => state.selection);
  const regions = usePart((state) => state.regions);
  if (model === null) return null;
  return (
    <div class="card selection">
      {selection === null ? (
        <div class="row spread">
          <p class="soft small">
            Nothing is selected. Draw with the lasso or the box, click an entry of the legend, or press N for the neighbours of an image.
          </p>
          <OpenSelection />
        </div>
      ) : (
        <Selected model={model} selection={selection} />
      )}
      {regions.length > 0 && (
        <ul class="row regions" aria-label="Kept selections">
          {regions.map((region, i) => (
            <KeptEntry key={region.name} region={region} colour={css(OKABE_ITO[i % OKABE_ITO.length])} />
          ))}
        </ul>
      )}
      <span class="visually-hidden">{app.atlas.n} images in all</span>
    </div>
  );
}

function Selected({ model, selection }: { model: Model; selection: Selection }) {
  const app = useApp();
  const [name, setName] = useState("");
  const { rows } = selection;
  const showMean = () => {
    const z = meanOf(model, maskOf(app.atlas.n, rows));
    if (z) {
      app.store.set({ focus: null });
      steer(app, z, { kind: "sliders", from: null });
    }
  };
  return (
    <>
      <div class="row spread">
        <h2 data-selected={rows.length}>
          {rows.length.toLocaleString("en")} of {app.atlas.n.toLocaleString("en")} selected
        </h2>
        <div class="row">
          <button type="button" onClick={showMean} title="Decode the mean of their latents">
            Their mean
          </button>
          <button type="button" onClick={() => saveCsv(app, model, selection)}>
            CSV
          </button>
          <button type="button" onClick={() => saveJson(app, selection)}>
            JSON
          </button>
          <button type="button" onClick={() => void copyPython(app, selection)} title="Code that repeats this selection">
            Copy as Python
          </button>
          <button type="button" onClick={() => clearSelection(app)} title="Esc">
            Clear
          </button>
        </div>
      </div>
      <Counts rows={rows} model={model} />
      <ul class="thumbs gallery" aria-label="Selected images">
        {rows.slice(0, MOST_PICTURES).map((row) => (
          <li key={row}>
            <RealImage row={row} />
          </li>
        ))}
        {rows.length > MOST_PICTURES && <li class="soft small more">and {rows.length - MOST_PICTURES} more</li>}
      </ul>
      <form
        class="row"
        onSubmit={(event) => {
          event.preventDefault();
          if (name.trim()) keepSelection(app, name.trim());
          setName("");
        }}
      >
        <input type="text" value={name} placeholder="Name this selection" aria-label="Name of this selection" onInput={(event) => setName(event.currentTarget.value)} />
        <button type="submit" disabled={!name.trim()}>
          Keep
        </button>
      </form>
    </>
  );
}

/** Counts of the selected images by the column of the colours, and by the split. */
function Counts({ rows, model }: { rows: number[]; model: Model }) {
  const { atlas } = useApp();
  const colour = usePart((state) => state.colour);
  const columns = [...new Set([colour, "cluster", "group", "split"])].map((name) => atlas.column(name, model));
  const lines = useMemo(
    () =>
      columns.flatMap((column) => {
        if (column === null || column.info.kind !== "category") return [];
        const counts = new Map<number, number>();
        for (const row of rows) counts.set(column.values[row], (counts.get(column.values[row]) ?? 0) + 1);
        const sorted = [...counts].sort((a, b) => b[1] - a[1]);
        if (sorted.length > 30 || (column.info.categories?.length ?? 0) < 2) return [];
        return [{ title: column.info.title, words: sorted.slice(0, 8).map(([code, n]) => `${column.info.categories?.[code] ?? "not known"} ${n}`).join(", "), isCut: sorted.length > 8 }];
      }),
    [rows, colour, model],
  );
  return (
    <dl class="counts small">
      {lines.map((line) => (
        <div key={line.title}>
          <dt>{line.title}</dt>
          <dd>
            {line.words}
            {line.isCut ? ", …" : ""}
          </dd>
        </div>
      ))}
    </dl>
  );
}

function KeptEntry({ region, colour }: { region: KeptSelection; colour: string }) {
  const { store } = useApp();
  const forget = () => store.set({ regions: store.get().regions.filter((other) => other.name !== region.name) });
  return (
    <li class="region">
      <button type="button" onClick={() => store.set({ selection: { rows: region.rows, recipe: region.recipe } })} title="Select again">
        <span class="swatch" style={{ background: colour }} aria-hidden="true" /> {region.name} <span class="soft">{region.rows.length}</span>
      </button>
      <button type="button" class="quiet tiny" onClick={forget} aria-label={`Forget ${region.name}`}>
        <Icon name="close" />
      </button>
    </li>
  );
}
