/** The picture at the latent being steered, and the evidence for it. */

import { useMemo } from "preact/hooks";
import { useApp, useDecoded, usePart } from "../../app";
import type { Model } from "../../atlas";
import { nearest } from "../../latent";
import { decodedTitle } from "../../levels";
import { AnotherDraw } from "../../parts/AnotherDraw";
import { GeneratedImage } from "../../parts/GeneratedImage";
import { RealImage } from "../../parts/RealImage";
import { SupportBadge, supportSentence } from "../../parts/SupportBadge";
import type { App } from "../../app";
import type { Origin } from "../../store";
import { useReleased } from "./useReleased";

const NEIGHBOURS = 6;

export function Generated({ model }: { model: Model }) {
  const app = useApp();
  const z = usePart((state) => state.z);
  const origin = usePart((state) => state.origin);
  const isLive = app.decoder.isLive(model.info);
  const wanted = useReleased(z, !isLive);
  const latents = useMemo(() => (wanted && wanted.length === model.d ? [wanted] : null), [wanted, model]);
  const decoded = useDecoded(model, latents);
  const runsIn = app.decoder.runsIn(model.info);
  const except = origin.kind === "image" ? origin.row : undefined;
  const support = useMemo(() => (z?.length === model.d ? app.support(model, z, except) : null), [app, model, z, except]);
  if (z === null || support === null) return null;
  const title = origin.kind === "image" ? `${decodedTitle(model.info)}, larger` : "At the sliders";
  return (
    <div class="card evidence-generated" data-z={JSON.stringify(decoded.shown?.[0] ? Array.from(decoded.shown[0]) : null)}>
      <div class="row spread">
        <h2>{title}</h2>
        <SupportBadge value={support} k={model.info.support.k} />
      </div>
      {runsIn.kind === "none" ? (
        <p class="message problem">No picture: {runsIn.why}</p>
      ) : (
        <GeneratedImage frames={decoded.frames} isStale={decoded.isBusy} label={`Decoded image ${inWords(app, origin)}`}>
          <span>{inWords(app, origin)}</span>
        </GeneratedImage>
      )}
      {runsIn.kind !== "none" && <AnotherDraw model={model.info} hasWords />}
      {decoded.error && (
        <p class="message problem" role="alert">
          {decoded.error}
        </p>
      )}
      {runsIn.kind !== "none" && !isLive && <p class="small soft">{model.info.decoder?.words ?? "Decoded by the server when a slider is released."}</p>}
      <p class="small">{supportSentence(support, model.info.support.k)}</p>
      {origin.kind === "blend" && (
        <p class="small soft">A mean of latents lies between them: it says that images are near in latent space, not that there are any at this place of the map.</p>
      )}
      <Nearest model={model} z={z} except={except} />
    </div>
  );
}

/** Where the picture comes from, in words. */
export function inWords(app: App, origin: Origin): string {
  const name = (row: number) => app.atlas.names[row] ?? `image ${row}`;
  if (origin.kind === "mean") return "at the mean of all latents";
  if (origin.kind === "image") return `of ${name(origin.row)}, from its posterior mean`;
  if (origin.kind === "pca") return "from the two components of the map; all others at their mean";
  if (origin.kind === "path") return `on the path from A to B, at ${(100 * origin.t).toFixed(0)} %`;
  if (origin.kind === "dropped") return `of your image ${origin.name}`;
  if (origin.kind === "blend") {
    return `interpolated from ${origin.rows.length} real images: this map has no inverse, so their latents are averaged by nearness on it`;
  }
  return origin.from === null || origin.from.kind === "mean" ? "from the sliders" : `from the sliders, started ${inWords(app, origin.from)}`;
}

function Nearest({ model, z, except }: { model: Model; z: number[]; except: number | undefined }) {
  const found = useMemo(() => nearest(model, z, NEIGHBOURS, except === undefined ? {} : { except }), [model, z, except]);
  return (
    <div class="near-images">
      <h3>Nearest real images</h3>
      <p class="small soft">In all {model.d} latent dimensions, with the distance.</p>
      <ul class="thumbs">
        {found.map(({ row, distance }) => (
          <li key={row}>
            <RealImage row={row}>{distance.toFixed(2)}</RealImage>
          </li>
        ))}
      </ul>
    </div>
  );
}
