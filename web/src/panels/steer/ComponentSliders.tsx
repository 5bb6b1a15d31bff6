/** Sliders along the principal components of the latents: the directions in which the images vary most. */

import { useApp, usePart } from "../../app";
import type { Model } from "../../atlas";
import { meanLatent, pcaScores } from "../../latent";
import { Icon } from "../../parts/Icon";
import { startLatent, useSlide } from "../Steer";

const MOST = 10;
const RANGE = 3.5;

export function ComponentSliders({ model }: { model: Model }) {
  const { sd } = model.info.pca;
  const used = sd.map((value, k) => ({ value, k })).filter(({ value }) => value > 1e-6);
  return (
    <>
      <p class="small soft">In standard deviations of the images along each component. The other components stay.</p>
      <div class="sliders">
        {used.slice(0, MOST).map(({ k }) => (
          <ComponentSlider key={k} model={model} k={k} />
        ))}
      </div>
    </>
  );
}

function ComponentSlider({ model, k }: { model: Model; k: number }) {
  const app = useApp();
  const move = useSlide();
  const z = usePart((state) => state.z);
  const origin = usePart((state) => state.origin);
  const { sd, components, explained_ratio: share } = model.info.pca;
  const value = z ? pcaScores(model, z)[k] / sd[k] : 0;
  const start = pcaScores(model, startLatent(model, origin))[k] / sd[k];
  const set = (next: number) => {
    const from = app.store.get().z ?? meanLatent(model);
    const step = (next - pcaScores(model, from)[k] / sd[k]) * sd[k];
    move(from.map((old, j) => old + step * components[k][j]), `PC${k + 1} slider`);
  };
  const range = Math.max(RANGE, Math.ceil(Math.abs(value)));
  return (
    <div class="slider" data-component={k + 1}>
      <div class="slider-head">
        <label for={`slider-pc${k}`}>
          <b>PC{k + 1}</b> <span class="soft small">{(100 * share[k]).toFixed(1)} % of variance</span>
        </label>
        <span class="row tight">
          <output for={`slider-pc${k}`}>{value.toFixed(2).replace("-", "−")}</output>
          <button type="button" class="quiet tiny" onClick={() => set(start)} disabled={Math.abs(value - start) < 1e-4} aria-label={`Reset PC${k + 1}`} title="Back to where the sliders started">
            <Icon name="reset" />
          </button>
        </span>
      </div>
      <div class="track plain">
        <span class="ghost" style={{ left: `${(100 * (Math.max(-range, Math.min(range, start)) + range)) / (2 * range)}%` }} aria-hidden="true" />
        <input
          id={`slider-pc${k}`}
          data-slider
          type="range"
          min={-range}
          max={range}
          step={0.05}
          value={value}
          aria-valuetext={`${value.toFixed(2)} standard deviations along component ${k + 1}`}
          onInput={(event) => set(Number(event.currentTarget.value))}
        />
      </div>
    </div>
  );
}
