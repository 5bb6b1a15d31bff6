/** An image of one's own: dropped here, encoded in the browser, placed on the map. It is sent nowhere. */

import { useState } from "preact/hooks";
import { useApp } from "../../app";
import type { App } from "../../app";
import { steer } from "../../act";
import type { Model } from "../../atlas";

export function Dropped({ model }: { model: Model }) {
  const app = useApp();
  const [words, setWords] = useState("");
  const [isOver, setOver] = useState(false);
  const place = (file: File | undefined) => {
    if (file) void placeFile(app, model, file).then(setWords, (error: Error) => setWords(error.message));
  };
  const { side_px: side, is_tiled: isTiled } = app.atlas.manifest.images;
  return (
    <div
      class={`drop ${isOver ? "over" : ""}`}
      onDragOver={(event) => {
        event.preventDefault();
        setOver(true);
      }}
      onDragLeave={() => setOver(false)}
      onDrop={(event) => {
        event.preventDefault();
        setOver(false);
        place(event.dataTransfer?.files[0]);
      }}
    >
      <p class="small">
        Drop a PNG, JPEG or WebP here, or choose one. It is encoded in this browser and sent nowhere.{" "}
        {isTiled ? `A square of ${side} px from its middle is taken at its own resolution.` : `It is resized to ${side} px.`} Greys must be
        on the scale of the collection: an 8-bit image stretched otherwise lands elsewhere.
      </p>
      <label class="file">
        <span class="visually-hidden">Image to place</span>
        <input type="file" accept="image/png,image/jpeg,image/webp" onChange={(event) => place(event.currentTarget.files?.[0])} />
      </label>
      {words && <p class="message" role="status">{words}</p>}
    </div>
  );
}

async function placeFile(app: App, model: Model, file: File): Promise<string> {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new Error(`${file.name} is not an image that this browser can read`);
  });
  const { side_px: side, is_tiled: isTiled, scaling } = app.atlas.manifest.images;
  const greys = toGreys(bitmap, side, isTiled);
  const input = greys.map((grey) => {
    const scaled = (grey - scaling.offset) / scaling.factor;
    return scaling.kind === "minmax" ? Math.max(0, Math.min(1, scaled)) : scaled;
  });
  const { mean } = await app.decoder.encode(model.info, input);
  steer(app, Array.from(mean), { kind: "dropped", name: file.name });
  const { level } = app.support(model, mean);
  const judged = { within: "It lies within the data.", near: "It lies near the data.", off: "It lies off the data: the model has seen nothing like it." }[level];
  return `${file.name} is placed; the picture above is what the model makes of it. ${judged}`;
}

/** Greys 0 to 255 of the image: its middle square for tiles, the whole resized (not cropped) for images. */
function toGreys(bitmap: ImageBitmap, side: number, isTiled: boolean): Float32Array<ArrayBuffer> {
  const canvas = document.createElement("canvas");
  canvas.width = side;
  canvas.height = side;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (context === null) throw new Error("this browser gives no canvas to read pixels from");
  context.imageSmoothingQuality = "high";
  if (isTiled && bitmap.width >= side && bitmap.height >= side) {
    context.drawImage(bitmap, (bitmap.width - side) >> 1, (bitmap.height - side) >> 1, side, side, 0, 0, side, side);
  } else {
    context.drawImage(bitmap, 0, 0, side, side);
  }
  const { data } = context.getImageData(0, 0, side, side);
  const greys = new Float32Array(side * side);
  for (let i = 0; i < greys.length; i++) greys[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
  return greys;
}
