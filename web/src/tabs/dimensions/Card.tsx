/** One dimension: decoded traversal, where the data lie, what it goes with. */

import { useMemo, useState } from "preact/hooks";
import { useApp, useDecoded, usePart } from "../../app";
import type { Model } from "../../atlas";
import { latentOf } from "../../atlas";
import { meanLatent } from "../../latent";
import type { DimensionInfo } from "../../manifest";
import { SignedBar } from "../../parts/charts/Bar";
import { GeneratedImage } from "../../parts/GeneratedImage";
import { SupportBadge } from "../../parts/SupportBadge";
import { countText, explore, fixed, imageCount, useColumnTitle, useSeen } from "../common";
import { DataHistogram } from "./DataHistogram";
import { byStrength, correlationText, signed, traversal, type TraversalBase } from "./order";

interface Props {
  model: Model;
  dimension: DimensionInfo;
  others: DimensionInfo[];
  base: TraversalBase;
}

const FEW = 4;

export function DimensionCard({ model, dimension, others, base }: Props) {
  const app = useApp();
  const [element, isSeen] = useSeen<HTMLElement>();
  const name = `z${dimension.dim}`;
  return (
    <article class="card dimension-card" ref={element} aria-label={`Dimension ${name}`} data-dim={dimension.dim}>
      <header>
        <h4>{name}</h4>
        <span class="soft">
          {fixed(dimension.rate_nats)} nats; data: mean {fixed(dimension.mean)}, standard deviation {fixed(dimension.sd)}
        </span>
        <div class="row actions">
          <button
            type="button"
            onClick={() => {
              explore(app, { steer: "z" }, `#slider-z${dimension.dim}`);
              app.announce(`steer dimension ${name}`);
            }}
          >
            Steer this dimension
          </button>
          <MapAgainst dimension={dimension} others={others} />
        </div>
      </header>
      <Strip model={model} dimension={dimension} base={base} isSeen={isSeen} />
      <div class="dimension-facts">
        <DataHistogram dimension={dimension} n={app.atlas.n} />
        <Correlations model={model} dimension={dimension} />
      </div>
    </article>
  );
}

function Strip({ model, dimension, base, isSeen }: { model: Model; dimension: DimensionInfo; base: TraversalBase; isSeen: boolean }) {
  const app = useApp();
  const focus = usePart((state) => state.focus);
  const row = base === "image" ? focus : null;
  const steps = useMemo(
    () => (isSeen ? traversal(row === null ? meanLatent(model) : latentOf(model, row), dimension) : null),
    [model, dimension, row, isSeen],
  );
  const latents = useMemo(() => steps?.map(({ z }) => z) ?? null, [steps]);
  const supports = useMemo(() => steps?.map(({ z }) => app.support(model, z)) ?? null, [app, model, steps]);
  const runsIn = app.decoder.runsIn(model.info);
  const { frames, error, isBusy } = useDecoded(model, runsIn.kind === "none" ? null : latents);
  if (runsIn.kind === "none") return <p class="message">There are no decoded pictures here: {runsIn.why}</p>;
  if (error) return <p class="message problem">{error}</p>;
  const shown = steps ?? traversal(meanLatent(model), dimension);
  return (
    <div class="strip" role="group" aria-label={`Traversal of z${dimension.dim}`} tabIndex={0}>
      {shown.map(({ t, z }, i) => (
        <GeneratedImage key={i} frames={frames} index={i} isStale={isBusy} label={`z${dimension.dim} at ${signed(t, 1)} standard deviations`}>
          <strong>{t === 0 ? "mean" : `${signed(t, 1)} sd`}</strong> <span class="nowrap">z = {fixed(z[dimension.dim])}</span>{" "}
          {supports && <SupportBadge value={supports[i]} k={model.info.support.k} />}
        </GeneratedImage>
      ))}
    </div>
  );
}

function MapAgainst({ dimension, others }: { dimension: DimensionInfo; others: DimensionInfo[] }) {
  const app = useApp();
  const choices = others.filter((other) => other.dim !== dimension.dim);
  const [chosen, setChosen] = useState(choices[0]?.dim ?? -1);
  if (choices.length === 0) return null;
  return (
    <span class="row">
      <label class="row">
        Map z{dimension.dim} against
        <select value={chosen} aria-label={`Map z${dimension.dim} against`} onChange={(event) => setChosen(Number(event.currentTarget.value))}>
          {choices.map((other) => (
            <option key={other.dim} value={other.dim}>
              z{other.dim}
            </option>
          ))}
        </select>
      </label>
      <button
        type="button"
        aria-label={`Show the map of z${dimension.dim} against z${chosen}`}
        onClick={() => explore(app, { projection: "z", axes: [dimension.dim, chosen], view: null })}
      >
        Show
      </button>
    </span>
  );
}

function Correlations({ model, dimension }: { model: Model; dimension: DimensionInfo }) {
  const [isOpen, setOpen] = useState(false);
  const title = useColumnTitle(model);
  const ordered = byStrength(dimension.correlations);
  if (ordered.length === 0) return <p class="soft small">No labels came with the images, so there is nothing to correlate with.</p>;
  return (
    <div>
      <table class="small correlations">
        <caption>Goes with</caption>
        <thead class="visually-hidden">
          <tr>
            <th scope="col">column</th>
            <th scope="col">bar from −1 to 1 with its interval</th>
            <th scope="col">correlation</th>
            <th scope="col">images</th>
          </tr>
        </thead>
        <tbody>
          {ordered.slice(0, isOpen ? ordered.length : FEW).map((found) => (
            <tr key={found.column}>
              <th scope="row" class="value" title={title(found.column)}>
                {title(found.column)}
              </th>
              <td class="bar-cell">
                <SignedBar value={found.r} low={found.low} high={found.high} hasSign={found.kind !== "eta"} />
              </td>
              <td>{correlationText(found)}</td>
              <td class="soft" title={imageCount(found.n)}>
                {countText(found.n)} images
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {ordered.length > FEW && (
        <button type="button" class="quiet small" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
          {isOpen ? "Show fewer" : `Show ${ordered.length - FEW} more`}
        </button>
      )}
    </div>
  );
}
