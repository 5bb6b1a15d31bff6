/** How sure the model is of an image: the spread of pictures over its posterior. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useDecoded, useApp } from "../../app";
import type { Model } from "../../atlas";
import { latentOf } from "../../atlas";
import { css, cividis } from "../../colour";
import { GENERATED } from "../../parts/GeneratedImage";
import { greysOfFrame, paintScale } from "../../parts/pixels";
import { normalNumbers } from "../../chance";
import { DRAWN, drawsTexture } from "../../levels";
import { isStandard } from "../../prior";

const DRAWS = 16;
const MOST_SPREAD = 0.2;

export function Spread({ model, row }: { model: Model; row: number }) {
  const [isOpen, setOpen] = useState(false);
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>How sure the model is (posterior)</summary>
      {isOpen && <SpreadPicture model={model} row={row} />}
    </details>
  );
}

function SpreadPicture({ model, row }: { model: Model; row: number }) {
  const { atlas } = useApp();
  const canvas = useRef<HTMLCanvasElement>(null);
  const latents = useMemo(() => posteriorDraws(model, row, DRAWS), [model, row]);
  const { frames, error } = useDecoded(model, latents);
  const sd = useMemo(() => posteriorSd(model, row), [model, row]);
  useEffect(() => {
    if (frames === null || canvas.current === null) return;
    const pictures = Array.from({ length: frames.n }, (_, i) => greysOfFrame(frames, i, atlas.manifest.images.display));
    paintScale(canvas.current, pixelSd(pictures), frames.side, MOST_SPREAD);
  }, [frames, atlas]);
  const ramp = [0, 0.25, 0.5, 0.75, 1].map((t) => css(cividis(t))).join(", ");
  return (
    <div class="spread">
      <figure class="picture large generated" data-generated>
        <canvas ref={canvas} role="img" width={1} height={1} class={frames ? "" : "empty"} aria-label={`Standard deviation of each pixel over ${DRAWS} decoded draws of the posterior. ${GENERATED}.`} />
        <figcaption>
          <span class="generated-note">
            <span aria-hidden="true">◇ </span>
            {GENERATED}
          </span>
          <span class="difference-scale">
            <span>0</span>
            <span class="ramp" style={{ background: `linear-gradient(to right, ${ramp})` }} />
            <span>{Math.round(100 * MOST_SPREAD)} %</span>
          </span>
          Standard deviation of each pixel over {DRAWS} decoded draws, in share of black to white. It holds what the model is unsure
          of, not what it leaves out.{drawsTexture(model.info) && ` ${DRAWN}: all draws share one, so that its chance is not counted.`}
        </figcaption>
      </figure>
      {error && <p class="message problem">{error}</p>}
      <p class="small">
        Width of the posterior ({isStandard(model.info) ? "1 is the prior: nothing known" : "1 is the spread of all images along the dimension: nothing known"}): {sd.map(({ dim, value }) => `z${dim} ${value.toFixed(2)}`).join(", ")}
      </p>
    </div>
  );
}

/** Standard deviations of q(z|x) in the active dimensions, the narrowest first; as shares of what tells nothing. */
function posteriorSd(model: Model, row: number): { dim: number; value: number }[] {
  return model.info.dimensions
    .filter((dimension) => dimension.is_active)
    .map(({ dim, sd }) => ({ dim, value: Math.exp(0.5 * model.logVar[row * model.d + dim]) / (isStandard(model.info) ? 1 : sd || 1) }))
    .sort((a, b) => a.value - b.value)
    .slice(0, 12);
}

/** Draws of q(z|x), the same ones each time: mean + sd * noise. */
export function posteriorDraws(model: Model, row: number, count: number): number[][] {
  const mean = latentOf(model, row);
  const noise = normalNumbers(row + 1);
  return Array.from({ length: count }, () => Array.from(mean, (value, j) => value + Math.exp(0.5 * model.logVar[row * model.d + j]) * noise()));
}

export function pixelSd(pictures: Float32Array[]): Float32Array {
  const out = new Float32Array(pictures[0].length);
  for (let pixel = 0; pixel < out.length; pixel++) {
    let sum = 0;
    let squares = 0;
    for (const picture of pictures) {
      sum += picture[pixel];
      squares += picture[pixel] ** 2;
    }
    const mean = sum / pictures.length;
    out[pixel] = Math.sqrt(Math.max(0, squares / pictures.length - mean * mean));
  }
  return out;
}
