/** Sliders over the latent space: dimensions, principal components, or the difference between two classes. */

import { useApp, useModel, usePart } from "../app";
import { steer } from "../act";
import type { Model } from "../atlas";
import { meanLatent } from "../latent";
import { drawsTexture } from "../levels";
import type { SteerMode } from "../store";
import { ClassDifference } from "./steer/ClassDifference";
import { ComponentSliders } from "./steer/ComponentSliders";
import { DimensionSliders } from "./steer/DimensionSliders";
import { startLatent, startOf } from "./steer/slide";

const MODES: { mode: SteerMode; title: string; hint: string }[] = [
  { mode: "z", title: "Dimensions", hint: "One slider for each latent dimension" },
  { mode: "pc", title: "Components", hint: "Directions in which the images vary most" },
  { mode: "class", title: "Difference", hint: "From the mean of one class to the mean of another" },
];

export function Steer() {
  const app = useApp();
  const model = useModel();
  const mode = usePart((state) => state.steer);
  if (model === null) return null;
  return (
    <div class="card steer">
      <div class="row spread">
        <h2>Steer</h2>
        <ResetButtons model={model} />
      </div>
      <div class="row segmented" role="group" aria-label="What the sliders move">
        {MODES.map((item) => (
          <button key={item.mode} type="button" aria-pressed={mode === item.mode} title={item.hint} onClick={() => app.store.set({ steer: item.mode })}>
            {item.title}
          </button>
        ))}
      </div>
      {mode === "z" && <DimensionSliders model={model} />}
      {mode === "pc" && <ComponentSliders model={model} />}
      {mode === "class" && <ClassDifference model={model} />}
    </div>
  );
}

function ResetButtons({ model }: { model: Model }) {
  const app = useApp();
  const origin = usePart((state) => state.origin);
  const draw = usePart((state) => state.draw);
  const start = startOf(origin);
  const isThere = (origin.kind === "image" || origin.kind === "mean") && (draw === 1 || !drawsTexture(model.info));
  const reset = () => {
    app.store.set({ draw: 1 }, "reset");
    steer(app, startLatent(model, origin), start.kind === "image" ? start : { kind: "mean" }, "reset");
  };
  return (
    <span class="row">
      <button type="button" data-reset-steer disabled={isThere} onClick={reset} title="Back to where the sliders started (R)">
        {start.kind === "image" ? "Back to the image" : "Reset"}
      </button>
      <button type="button" disabled={origin.kind === "mean"} onClick={() => steer(app, meanLatent(model), { kind: "mean" })} title="The mean of all latents">
        Mean
      </button>
    </span>
  );
}
