/** The tab of latent dimensions: how much each carries, what it goes with, and what it changes in a picture. */

import { useState } from "preact/hooks";
import { useApp, useModel, usePart } from "../app";
import type { Model } from "../atlas";
import { levelName, levelsOf } from "../levels";
import type { ModelInfo } from "../manifest";
import { AnotherDraw } from "../parts/AnotherDraw";
import { rateReference } from "../prior";
import { countText, type Fact, Facts, fixed, Loading, percent, Section, TabPage } from "./common";
import { DimensionCard } from "./dimensions/Card";
import { HeatTable } from "./dimensions/HeatTable";
import { byRate, type TraversalBase } from "./dimensions/order";

const TITLE = "Dimensions";
const FIRST = 32;

export function Dimensions() {
  const model = useModel();
  return model === null ? <Loading title={TITLE} /> : <Loaded key={model.info.name} model={model} />;
}

function Loaded({ model }: { model: Model }) {
  const [base, setBase] = useState<TraversalBase>("mean");
  const [shown, setShown] = useState(FIRST);
  const { atlas } = useApp();
  const levels = levelsOf(model.info);
  const ordered = byRate(model.info.dimensions);
  const active = ordered.filter((dimension) => dimension.is_active);
  const total = ordered.reduce((sum, dimension) => sum + dimension.rate_nats, 0);
  const first = active.slice(0, 3).reduce((sum, dimension) => sum + dimension.rate_nats, 0);
  return (
    <TabPage title={TITLE}>
      <Facts
        facts={[
          ["Latent dimensions", countText(model.d)],
          ["In use", `${active.length} of ${model.d}`],
          [levels.length > 0 ? "Rate of z" : "Rate", `${fixed(total, 1)} nats per ${atlas.unit}, ${percent(total > 0 ? first / total : 0)} of it in the first ${Math.min(3, active.length)}`],
          ...localFacts(model.info, atlas.unit),
        ]}
      />
      <Section
        title="Rate and what goes with it"
        note={`The rate is how much a dimension says about an image: the mean Kullback-Leibler divergence from ${rateReference(model.info)}. The cells are rank correlations (Spearman) of the dimension with what is known about the images; for categories the correlation ratio η, which has no sign.`}
      >
        <HeatTable model={model} ordered={ordered} />
      </Section>
      <Section title="What each dimension changes" note="Seven decoded pictures from two standard deviations below the mean of the data to two above it; nothing else in the latent changes.">
        <AnotherDraw model={model.info} hasWords />
        <BaseSwitch base={base} setBase={setBase} />
        {active.length === 0 && <p class="message">No dimension is in use: the model says nothing about its images. A lower beta keeps more.</p>}
        <div class="dimension-cards">
          {active.slice(0, shown).map((dimension) => (
            <DimensionCard key={dimension.dim} model={model} dimension={dimension} others={ordered} base={base} />
          ))}
        </div>
        {active.length > shown && (
          <button type="button" onClick={() => setShown(shown + FIRST)}>
            Show {Math.min(FIRST, active.length - shown)} more dimensions
          </button>
        )}
      </Section>
    </TabPage>
  );
}

/** What local latents say beside z: one number for each of their maps. */
function localFacts(info: ModelInfo, unit: string): Fact[] {
  const [z, ...maps] = levelsOf(info);
  if (z === undefined) return [];
  const each = maps.map(({ side, rate_nats }) => `${fixed(rate_nats, 1)} nats on ${levelName(side)} cells`);
  return [["Rate of local latents", `${each.join(", ")}, about a validation ${unit} (z: ${fixed(z.rate_nats, 1)} nats)`]];
}

function BaseSwitch({ base, setBase }: { base: TraversalBase; setBase: (base: TraversalBase) => void }) {
  const { atlas } = useApp();
  const focus = usePart((state) => state.focus);
  const name = focus === null ? "none is in focus; click one anywhere" : atlas.names[focus];
  return (
    <fieldset class="row base-switch">
      <legend class="visually-hidden">The other dimensions are taken from</legend>
      <span aria-hidden="true">The other dimensions are those of</span>
      <label class="row check">
        <input type="radio" name="traversal-base" checked={base === "mean"} onChange={() => setBase("mean")} />
        the mean of the data
      </label>
      <label class="row check">
        <input type="radio" name="traversal-base" disabled={focus === null} checked={base === "image"} onChange={() => setBase("image")} />
        <span>
          the image in focus <span class="soft">({name})</span>
        </span>
      </label>
    </fieldset>
  );
}
