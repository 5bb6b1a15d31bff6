/** Training curves of the model in view. */

import { useState } from "preact/hooks";
import { useApp } from "../../app";
import type { Model } from "../../atlas";
import { LineChart } from "../../parts/charts/LineChart";
import { epochsOf, levelLines, withoutFirstTenth, linesOf, QUANTITIES } from "./history";

const FEW = 10;
const TITLES = {
  elbo: ["Evidence lower bound", "ELBO", ", higher is better"],
  distortion: ["Distortion", "distortion", ", lower is better"],
  rate: ["Rate", "rate", ""],
} as const;

export function Curves({ model }: { model: Model }) {
  const { atlas } = useApp();
  const [isLater, setLater] = useState(true);
  const { history } = model.info;
  const epochs = epochsOf(history);
  if (epochs.length < 2) return <p class="soft">No training curves were kept for this model.</p>;
  const best = atlas.manifest.run.training[model.info.name]?.best_epoch;
  const cut = <T,>(values: readonly T[]): T[] => (isLater ? withoutFirstTenth(values) : [...values]);
  const mark = typeof best === "number" ? { x: best, text: best === 0 ? "kept: the start, before epoch 1" : `kept: epoch ${best}` } : null;
  const levels = levelLines(history).map((line) => ({ ...line, values: cut(line.values) }));
  return (
    <>
      <div class="charts">
        {QUANTITIES.map((quantity) => {
          const lines = linesOf(history, quantity).map((line) => ({ ...line, values: cut(line.values) }));
          if (lines.length === 0) return null;
          const [title, name, better] = TITLES[quantity];
          return <LineChart key={quantity} title={title} x={cut(epochs)} xTitle="epoch" yTitle={`${name} [nats per ${atlas.unit}]${better}`} lines={lines} mark={mark} />;
        })}
        {levels.length > 0 && (
          <LineChart title="Rate of each level, validation" x={cut(epochs)} xTitle="epoch" yTitle={`rate [nats per ${atlas.unit}]`} lines={levels} mark={mark} />
        )}
      </div>
      {epochs.length >= FEW && (
        <label class="row check">
          <input type="checkbox" checked={isLater} onChange={(event) => setLater(event.currentTarget.checked)} />
          Leave out the first tenth of the epochs, whose change hides the rest
        </label>
      )}
      <p class="soft small prose">
        The validation split chose the epoch that was kept. The test split was watched but decided nothing. In training, images are varied, tiles may overhang
        their image and the weight of the rate may still rise, so its curve need not lie below the others.
      </p>
    </>
  );
}
