/** A real image: the original, its reconstruction, what differs, how sure the model is, and what is known of it. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { useApp, useDecoded } from "../../app";
import { inspect } from "../../act";
import type { Column, Model } from "../../atlas";
import { formatNumber, isKnown, latentOf, textOf } from "../../atlas";
import { css, difference } from "../../colour";
import { decodedTitle, drawsTexture, NOT_COMPARED } from "../../levels";
import { GeneratedImage } from "../../parts/GeneratedImage";
import { Icon } from "../../parts/Icon";
import { RealImage } from "../../parts/RealImage";
import { greysOf, greysOfFrame, paintDifference } from "../../parts/pixels";
import type { Frames } from "../../decoder";
import type { Cell } from "../../pictures";
import { Context } from "./Context";
import { Spread } from "./Spread";

/** The end of the difference scale, as a share of the range from black to white. */
const MOST_DIFFERENCE = 0.3;

export function Inspected({ model, row }: { model: Model; row: number }) {
  const app = useApp();
  const latents = useMemo(() => [latentOf(model, row)], [model, row]);
  const decoded = useDecoded(model, latents);
  const split = app.atlas.column("split", null);
  const isDrawn = drawsTexture(model.info);
  const isHeldOut = app.isHeldOut[row] === 1;
  return (
    <div class="card inspected" data-row={row}>
      <div class="row spread">
        <h2 class="name">{app.atlas.names[row]}</h2>
        <button type="button" class="quiet" onClick={() => inspect(app, null)} aria-label="Close the image" title="Close">
          <Icon name="close" />
        </button>
      </div>
      {isHeldOut && <p class="small held-out">Held out: the model has not seen {split ? "this split" : "it"} in training.</p>}
      <div class={isDrawn ? "triple pair" : "triple"}>
        <div>
          <h3>Original</h3>
          <RealImage row={row} size="large" isButton={false} />
        </div>
        <div>
          <h3>{decodedTitle(model.info)}</h3>
          <GeneratedImage frames={decoded.frames} label={`${decodedTitle(model.info)}, ${app.atlas.names[row]}`} isStale={decoded.isBusy} />
        </div>
        {!isDrawn && <Difference row={row} frames={decoded.frames} />}
      </div>
      {isDrawn && <p class="small soft">{NOT_COMPARED}</p>}
      {!isDrawn && app.atlas.originals === null && app.atlas.thumbnails !== null && (
        <p class="small soft">This atlas holds thumbnails of {app.atlas.thumbnails.size} px, no originals: compared at that size.</p>
      )}
      <Scores model={model} row={row} />
      <Context row={row} />
      <Spread model={model} row={row} />
      <Facts model={model} row={row} />
    </div>
  );
}

/** Reconstruction minus original on the same scale of greys. */
export function Difference({ row, frames, hasTitle = true }: { row: number; frames: Frames | null; hasTitle?: boolean }) {
  const { atlas } = useApp();
  const canvas = useRef<HTMLCanvasElement>(null);
  const pictures = atlas.originals ?? atlas.thumbnails;
  const [isThere, setThere] = useState(false);
  useEffect(() => {
    if (pictures === null || frames === null) return;
    let isWanted = true;
    const show = (cell: Cell) => {
      if (!isWanted || canvas.current === null) return;
      const side = Math.min(pictures.size, frames.side);
      const original = greysOf(cell, pictures.size, side);
      const again = shrunk(greysOfFrame(frames, 0, atlas.manifest.images.display), frames.side, side);
      paintDifference(canvas.current, again, original, side, MOST_DIFFERENCE);
      setThere(true);
    };
    pictures.get(row).then(show, () => setThere(false));
    return () => {
      isWanted = false;
    };
  }, [row, frames, pictures, atlas]);
  if (pictures === null) return null;
  const percent = Math.round(100 * MOST_DIFFERENCE);
  return (
    <div>
      {hasTitle && <h3>Difference</h3>}
      <figure class="picture large" data-generated-difference>
        <canvas ref={canvas} role="img" width={1} height={1} class={isThere ? "" : "empty"} aria-label="Reconstruction minus original: blue where the model is darker, orange where it is brighter" />
        <figcaption class="difference-scale">
          <span>−{percent} %</span>
          <span class="ramp" style={{ background: `linear-gradient(to right, ${[-1, -0.5, 0, 0.5, 1].map((t) => css(difference(t))).join(", ")})` }} />
          <span>+{percent} %</span>
        </figcaption>
      </figure>
    </div>
  );
}

/** Greys averaged down to a smaller side; as they are when the sides are equal. */
export function shrunk(greys: Float32Array, side: number, smaller: number): Float32Array {
  if (side === smaller) return greys;
  const out = new Float32Array(smaller * smaller);
  for (let y = 0; y < smaller; y++) {
    for (let x = 0; x < smaller; x++) out[y * smaller + x] = boxMean(greys, side, (x * side) / smaller, (y * side) / smaller, side / smaller);
  }
  return out;
}

function boxMean(greys: Float32Array, side: number, left: number, top: number, width: number): number {
  let sum = 0;
  let area = 0;
  for (let y = Math.floor(top); y < Math.min(side, Math.ceil(top + width)); y++) {
    const high = Math.min(y + 1, top + width) - Math.max(y, top);
    for (let x = Math.floor(left); x < Math.min(side, Math.ceil(left + width)); x++) {
      const part = high * (Math.min(x + 1, left + width) - Math.max(x, left));
      sum += part * greys[y * side + x];
      area += part;
    }
  }
  return area > 0 ? sum / area : 0;
}

const SCORES = ["distortion_nats", "rate_nats", "local_rate_nats", "psnr_db", "neighbour_distance"];

/** Error, rate and the like, each with its place among all images. */
function Scores({ model, row }: { model: Model; row: number }) {
  const columns = SCORES.map((name) => model.columns.find((column) => column.info.name === name)).filter((column): column is Column => column !== undefined);
  return (
    <table class="scores small">
      <thead>
        <tr>
          <th scope="col">How well the model knows it</th>
          <th scope="col" class="number">
            value
          </th>
          <th scope="col" class="number">
            higher than
          </th>
        </tr>
      </thead>
      <tbody>
        {columns.map((column) => (
          <tr key={column.info.name} title={column.info.description}>
            <th scope="row">{column.info.title}</th>
            <td class="number">{textOf(column, row)}</td>
            <td class="number">{isKnown(column, row) ? `${percentile(column, row)} %` : "–"}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

/** Share of images with a lower value, in whole percent. */
export function percentile(column: Column, row: number): number {
  const value = column.values[row];
  let below = 0;
  let known = 0;
  for (const other of column.values) {
    if (Number.isNaN(other)) continue;
    known++;
    if (other < value) below++;
  }
  return known ? Math.round((100 * below) / known) : 0;
}

function Facts({ model, row }: { model: Model; row: number }) {
  const { atlas } = useApp();
  const rest = model.columns.filter((column) => !SCORES.includes(column.info.name));
  return (
    <details open>
      <summary>What is known of it</summary>
      <dl class="facts small">
        <div>
          <dt>Row</dt>
          <dd>{row}</dd>
        </div>
        {[...atlas.columns, ...rest].map((column) => (
          <div key={column.info.name}>
            <dt>{column.info.title}</dt>
            <dd>{column.info.kind === "number" && isKnown(column, row) ? formatNumber(column.values[row], 5) : textOf(column, row)}</dd>
          </div>
        ))}
      </dl>
    </details>
  );
}
