/** One slider for each latent dimension, the most informative first. */

import { useApp, usePart } from "../../app";
import type { Model } from "../../atlas";
import { formatNumber } from "../../atlas";
import type { DimensionInfo } from "../../manifest";
import { Histogram } from "../../parts/Histogram";
import { Icon } from "../../parts/Icon";
import { latentUnits, spanOf, unitSentence } from "../../prior";
import { Slider } from "./Slider";
import { startLatent, useSlide } from "./slide";

export function activeAndFolded(model: Model): { active: DimensionInfo[]; folded: DimensionInfo[] } {
  const ordered = [...model.info.dimensions].sort((a, b) => b.rate_nats - a.rate_nats);
  return { active: ordered.filter((item) => item.is_active), folded: ordered.filter((item) => !item.is_active) };
}

export function DimensionSliders({ model }: { model: Model }) {
  const { active, folded } = activeAndFolded(model);
  return (
    <>
      <p class="small soft">
        {unitSentence(model.info)} Bars: where the images are. Tick: where the sliders started.
      </p>
      <div class="sliders">
        {active.map((dimension) => (
          <DimensionSlider key={dimension.dim} model={model} dimension={dimension} />
        ))}
      </div>
      {active.length === 0 && <p class="message problem">No dimension carries information: the model has collapsed to its mean.</p>}
      {folded.length > 0 && (
        <details class="folded">
          <summary>
            {folded.length} unused {folded.length === 1 ? "dimension" : "dimensions"}
          </summary>
          {folded.map((dimension) => (
            <DimensionSlider key={dimension.dim} model={model} dimension={dimension} />
          ))}
        </details>
      )}
    </>
  );
}

function DimensionSlider({ model, dimension }: { model: Model; dimension: DimensionInfo }) {
  const app = useApp();
  const move = useSlide();
  const { dim } = dimension;
  const value = usePart((state) => state.z?.[dim] ?? 0);
  const origin = usePart((state) => state.origin);
  const isLocked = usePart((state) => state.locked.includes(dim));
  const span = spanOf(model.info, dimension);
  const start = startLatent(model, origin)[dim];
  const set = (next: number) => {
    const z = [...(app.store.get().z ?? startLatent(model, origin))];
    z[dim] = next;
    move(z, `z${dim} slider`, dim);
  };
  const lock = () => {
    const { locked } = app.store.get();
    app.store.set({ locked: isLocked ? locked.filter((item) => item !== dim) : [...locked, dim] });
  };
  return (
    <div class="slider" data-dim={dim}>
      <Slider
        id={`slider-z${dim}`}
        title={`z${dim}`}
        facts={`${formatNumber(dimension.rate_nats, 2)} nats`}
        unit={latentUnits(model.info)}
        {...{ value, start, span }}
        onValue={set}
        behind={<PlacedHistogram dimension={dimension} range={span.range} />}
        buttons={
          <button type="button" class="quiet tiny" aria-pressed={isLocked} onClick={lock} aria-label={`Lock z${dim}`} title={isLocked ? "Locked: only its own slider moves it" : "Lock: only its own slider moves it"}>
            <Icon name={isLocked ? "locked" : "unlocked"} />
          </button>
        }
      />
      {dimension.reason && <p class="small soft">{dimension.reason}</p>}
    </div>
  );
}

/** The histogram of the data, at its place along the slider. */
function PlacedHistogram({ dimension, range }: { dimension: DimensionInfo; range: number }) {
  const { low, high, counts } = dimension.histogram;
  const place = (value: number) => (100 * (value + range)) / (2 * range);
  return (
    <span class="behind" style={{ left: `${place(low)}%`, width: `${Math.max(0.5, place(high) - place(low))}%` }}>
      <Histogram counts={counts} />
    </span>
  );
}
