/** Sliders along the principal components of the latents: the directions in which the images vary most. */

import { useApp, usePart } from "../../app";
import type { Model } from "../../atlas";
import { meanLatent, pcaScores } from "../../latent";
import { Slider } from "./Slider";
import { startLatent, useSlide } from "./slide";

const MOST = 10;
const RANGE = 3.5;
const STEPS = { step: 0.05, large: 0.5, digits: 2 };

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
  const span = { ...STEPS, range: Math.max(RANGE, Math.ceil(Math.abs(value))) };
  return (
    <div class="slider" data-component={k + 1}>
      <Slider
        id={`slider-pc${k}`}
        title={`PC${k + 1}`}
        facts={`${(100 * share[k]).toFixed(1)} % of variance`}
        unit={`standard deviations along component ${k + 1}`}
        {...{ value, start, span }}
        onValue={set}
      />
    </div>
  );
}
