/** Two models: their maps with one selection, their neighbours, their clusters. */

import { useEffect, useMemo, useState } from "preact/hooks";
import { inspect, maskOf } from "../../act";
import { useApp, useModel, usePart } from "../../app";
import type { Model } from "../../atlas";
import { colourBy, css, type Colouring } from "../../colour";
import { clusterName, legendText, useClusterNames } from "../../clusterNames";
import { clusterTitle, clusterWords } from "../../verdict";
import { fixed, imageCount, percent } from "../common";
import { ariWords, clusterMatch } from "./figures";
import { Neighbours } from "./Neighbours";
import { Scatter } from "./Scatter";

interface Props {
  pair: [string, string];
  setPair: (pair: [string, string]) => void;
}

export function Compare({ pair, setPair }: Props) {
  const app = useApp();
  const a = useModel(pair[0]);
  const b = useModel(pair[1]);
  useEffect(() => {
    for (const name of pair) void app.load(name);
  }, [app, pair[0], pair[1]]);
  const names = app.atlas.manifest.models.map((model) => model.name);
  const choose = (side: 0 | 1, name: string) => {
    const other = pair[1 - side] === name ? pair[side] : pair[1 - side];
    setPair(side === 0 ? [name, other] : [other, name]);
  };
  return (
    <>
      <div class="row">
        {([0, 1] as const).map((side) => (
          <label key={side} class="row">
            {side === 0 ? "Left" : "Right"}
            <select value={pair[side]} onChange={(event) => choose(side, event.currentTarget.value)}>
              {names.map((name) => (
                <option key={name} value={name}>
                  {name}
                </option>
              ))}
            </select>
          </label>
        ))}
      </div>
      {a === null || b === null ? <p class="soft">Reading the models …</p> : <Pair a={a} b={b} />}
    </>
  );
}

function Pair({ a, b }: { a: Model; b: Model }) {
  useClusterNames();
  return (
    <>
      <Maps a={a} b={b} />
      <div class="two">
        <Neighbours a={a} b={b} />
        <Matches a={a} b={b} />
      </div>
    </>
  );
}

function Maps({ a, b }: { a: Model; b: Model }) {
  const app = useApp();
  const { atlas } = app;
  const focus = usePart((state) => state.focus);
  const selection = usePart((state) => state.selection);
  const filters = usePart((state) => state.filters);
  const search = usePart((state) => state.search);
  const current = usePart((state) => state.model);
  const [hovered, setHovered] = useState<number | null>(null);
  const [chosenMap, setMap] = useState(() => app.store.get().projection);
  const [colour, setColour] = useState(() => startColour(a, app.store.get().colour, current));
  const maps = a.projections.map((p) => p.info).filter((info) => b.projections.some((p) => p.info.name === info.name));
  const map = maps.some((info) => info.name === chosenMap) ? chosenMap : (maps[0]?.name ?? a.projections[0].info.name);
  const choices = useMemo(() => colourChoices(atlas.columns, a, b), [atlas, a, b]);
  const choice = choices.find((candidate) => candidate.key === colour) ?? choices[0];
  const colouring = useMemo(() => colourBy(atlas.n, choice?.column ?? null), [atlas, choice]);
  const selected = useMemo(() => (selection ? maskOf(atlas.n, selection.rows) : null), [atlas, selection]);
  const visible = useMemo(() => app.visible({ filters, search, model: current }), [app, filters, search, current]);
  return (
    <>
      <div class="row">
        <label class="row">
          Map
          <select value={map} onChange={(event) => setMap(event.currentTarget.value)}>
            {maps.map((info) => (
              <option key={info.name} value={info.name}>
                {info.title}
              </option>
            ))}
          </select>
        </label>
        <label class="row">
          Colour
          <select value={choice?.key ?? ""} onChange={(event) => setColour(event.currentTarget.value)}>
            {choices.map(({ key, title }) => (
              <option key={key} value={key}>
                {title}
              </option>
            ))}
          </select>
        </label>
        <span class="soft">{selection ? `${imageCount(selection.rows.length)} selected` : "nothing is selected"}</span>
      </div>
      <div class="two">
        {[a, b].map((model) => (
          <Scatter
            key={model.info.name}
            title={`${model.info.name}, ${model.d} dimensions`}
            positions={app.positions(model, map, [0, 1])}
            colouring={colouring}
            selected={selected}
            visible={visible}
            focus={focus}
            hovered={hovered}
            onHover={setHovered}
            onPick={(row) => inspect(app, row)}
          />
        ))}
      </div>
      <p class="small compare-reading">
        {hovered !== null ? `Under the pointer: ${atlas.names[hovered]}` : focus !== null ? `In focus: ${atlas.names[focus]}` : "Point at an image, or click one to bring it into focus."}
      </p>
      <Legend colouring={colouring} model={choice?.clusterOf ?? null} />
    </>
  );
}

function Legend({ colouring: { legend }, model }: { colouring: Colouring; model: Model | null }) {
  const app = useApp();
  if (legend.kind === "plain") return null;
  if (legend.kind === "range") {
    return (
      <p class="small legend-line">
        {fixed(legend.low)} <span class="cividis" aria-hidden="true" /> {fixed(legend.high)}
      </p>
    );
  }
  return (
    <ul class="small legend-line">
      {legend.entries.map((entry) => (
        <li key={entry.text}>
          <span class="colour-dot" style={{ background: css(entry.colour) }} aria-hidden="true" />
          {model ? legendText(app, model, "cluster", entry) : entry.text} <span class="soft">{entry.n}</span>
        </li>
      ))}
    </ul>
  );
}

interface ColourChoice {
  key: string;
  title: string;
  column: Model["columns"][number];
  /** The model whose clusters these are. */
  clusterOf: Model | null;
}

function colourChoices(shared: Model["columns"], a: Model, b: Model): ColourChoice[] {
  const own = (model: Model) =>
    model.columns.map((column) => ({
      key: `${model.info.name}/${column.info.name}`,
      title: `${column.info.title} (${model.info.name})`,
      column,
      clusterOf: column.info.name === "cluster" ? model : null,
    }));
  const of = shared.filter((column) => column.info.name !== "image").map((column) => ({ key: column.info.name, title: column.info.title, column, clusterOf: null }));
  return [...own(a).slice(0, 1), ...own(b).slice(0, 1), ...of, ...own(a).slice(1), ...own(b).slice(1)];
}

/** The colour of the map, where it is a column of all models; else the clusters of the left model. */
function startColour(a: Model, colour: string, current: string): string {
  if (colour === "" || colour === "cluster") return `${a.info.name}/cluster`;
  return a.columns.some((column) => column.info.name === colour) ? `${current}/${colour}` : colour;
}

function Matches({ a, b }: { a: Model; b: Model }) {
  const app = useApp();
  const match = clusterMatch(app.atlas.manifest.comparison, a.info.name, b.info.name);
  const words = clusterWords([a.info, b.info]);
  return (
    <section class="card" aria-label={`${clusterTitle([a.info, b.info])} of both models`}>
      <h4>{clusterTitle([a.info, b.info])} of both</h4>
      {match === null ? (
        <p class="soft">The study did not match the {words} of these two models.</p>
      ) : (
        <>
          <p>
            Adjusted Rand index {fixed(match.ari)}: {ariWords(match.ari)} (1 is the same, 0 is chance). {percent(match.share)} of the images lie in
            matched {words}.
          </p>
          <ul class="matches">
            {match.pairs.map(([from, to]) => (
              <li key={`${from} ${to}`}>
                {clusterName(app, a, from)} <span class="soft">of {a.info.name}</span> ↔ {clusterName(app, b, to)} <span class="soft">of {b.info.name}</span>
              </li>
            ))}
          </ul>
          <Unmatched model={a} matched={match.pairs.map(([from]) => from)} />
          <Unmatched model={b} matched={match.pairs.map(([, to]) => to)} />
        </>
      )}
    </section>
  );
}

function Unmatched({ model, matched }: { model: Model; matched: readonly string[] }) {
  const app = useApp();
  const left = model.info.clusters.items.filter((item) => !matched.includes(String(item.cluster)));
  if (left.length === 0) return null;
  return (
    <p class="soft">
      Without a partner in {model.info.name}: {left.map((item) => clusterName(app, model, item.cluster)).join(", ")}.
    </p>
  );
}
