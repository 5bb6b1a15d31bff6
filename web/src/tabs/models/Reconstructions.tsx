/** The image in focus beside its reconstruction by each model. */

import { useEffect, useMemo } from "preact/hooks";
import { useApp, useDecoded, useModel, usePart } from "../../app";
import { latentOf, textOf } from "../../atlas";
import type { ModelInfo } from "../../manifest";
import { Difference } from "../../panels/evidence/Inspected";
import { decodedTitle, drawsTexture, NOT_COMPARED } from "../../levels";
import { AnotherDraw } from "../../parts/AnotherDraw";
import { GeneratedImage } from "../../parts/GeneratedImage";
import { RealImage } from "../../parts/RealImage";

export function Reconstructions({ models }: { models: readonly ModelInfo[] }) {
  const { atlas } = useApp();
  const focus = usePart((state) => state.focus);
  if (focus === null) return <p class="message">No image is in focus. Click one, here or on the map, to see its reconstruction by each model.</p>;
  const isAnyDrawn = models.some(drawsTexture);
  const isEachDrawn = models.every(drawsTexture);
  const hasPictures = atlas.originals !== null || atlas.thumbnails !== null;
  return (
    <>
      <p class="soft prose">
        {isEachDrawn ? "What each model draws from z alone" : "The reconstruction by each model"}{hasPictures && !isEachDrawn && ", and below it what differs from the original: blue where the model is darker, orange where it is brighter"}. {isAnyDrawn && NOT_COMPARED}
      </p>
      {isAnyDrawn && <AnotherDraw model={models.find(drawsTexture) ?? models[0]} />}
      <div class="strip reconstructions" role="group" aria-label="Original and reconstructions" tabIndex={0}>
        <RealImage row={focus} size="large" isButton={false}>
          <strong>Original</strong> {atlas.names[focus]}
        </RealImage>
        {models.map((model) => (
          <Reconstruction key={model.name} name={model.name} row={focus} />
        ))}
      </div>
    </>
  );
}

function Reconstruction({ name, row }: { name: string; row: number }) {
  const app = useApp();
  const model = useModel(name);
  useEffect(() => void app.load(name), [app, name]);
  const latents = useMemo(() => (model === null ? null : [latentOf(model, row)]), [model, row]);
  const { frames, error, isBusy } = useDecoded(model, latents);
  if (model === null) return <p class="soft">Reading {name} …</p>;
  if (error) {
    return (
      <p class="message problem">
        {name}: {error}
      </p>
    );
  }
  const isDrawn = drawsTexture(model.info);
  return (
    <div class="reconstruction">
      <GeneratedImage frames={frames} isStale={isBusy} label={`${decodedTitle(model.info)}, ${app.atlas.names[row]} by ${name}`}>
        <strong>{name}</strong>
        {isDrawn && <span class="line">{decodedTitle(model.info)}; of the reconstruction:</span>}
        {["psnr_db", "distortion_nats", "rate_nats"].map((column) => {
          const found = app.atlas.column(column, model);
          return found === null ? null : (
            <span key={column} class="line">
              {found.info.title} {textOf(found, row)}
            </span>
          );
        })}
      </GeneratedImage>
      {!isDrawn && <Difference row={row} frames={isBusy ? null : frames} hasTitle={false} />}
    </div>
  );
}
