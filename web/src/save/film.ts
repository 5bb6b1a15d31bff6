/** The path as files: film strip, animation, numbers. What the model made says so in the picture itself. */

import type { App } from "../app";
import type { Model } from "../atlas";
import type { Frames } from "../decoder";
import { DRAWN } from "../levels";
import { GENERATED } from "../parts/GeneratedImage";
import { paintCell, paintFrame } from "../parts/pixels";
import { supportWords } from "../parts/SupportBadge";
import { nameOfStop, supportCount, type Stop } from "../path";
import { csv, shortest } from "./files";
import { gif, type GifFrame } from "./gif";
import { fitted, FONT, GENERATED_LINES, originLine, wrapped } from "./stamp";

export interface Film {
  app: App;
  model: Model;
  stops: Stop[];
  frames: Frames;
  /** What the ends are extreme on, or "". */
  title: string;
  /** What a reader must know about the path. */
  note: string;
  kind: string;
}

const CELL = 128;
const GAP = 10;
const MARGIN = 20;
const MOST_COLUMNS = 11;
const SIGNS = { within: "●", near: "◐", off: "○" } as const;
const NEAREST = 60;

/** All pictures in reading order with their words, on white. */
export async function filmStrip(film: Film, scale = 2): Promise<HTMLCanvasElement> {
  const { stops } = film;
  const last = stops.length - 1;
  const cells: Drawing[] = [
    await realCell(film, stops[0].row ?? 0, "A, real image"),
    ...(await Promise.all(stops.map((stop) => stopCell(film, stop, last)))),
    await realCell(film, stops[last].row ?? 0, "B, real image"),
  ];
  const columns = Math.min(MOST_COLUMNS, cells.length);
  const width = Math.max(460, 2 * MARGIN + columns * (CELL + GAP) - GAP);
  const pen = measure();
  const words = [...wrapped(pen, wordsOf(film), width - 2 * MARGIN), fitted(pen, originLine(film.app, film.model.info.name), width - 2 * MARGIN)];
  const rowHeight = Math.max(...cells.map((cell) => cell.height)) + 12;
  const head = 44;
  const height = head + Math.ceil(cells.length / columns) * rowHeight + words.length * 16 + MARGIN;
  const { canvas, context } = sheet(width, height, scale);
  context.fillStyle = "#111";
  context.font = `600 16px ${FONT}`;
  context.fillText(fitted(context, filmHeading(film), width - 2 * MARGIN), MARGIN, 28);
  cells.forEach((cell, i) => {
    context.save();
    context.translate(MARGIN + (i % columns) * (CELL + GAP), head + Math.floor(i / columns) * rowHeight);
    cell.draw(context);
    context.restore();
  });
  context.fillStyle = "#444";
  context.font = `11px ${FONT}`;
  words.forEach((line, i) => context.fillText(line, MARGIN, height - MARGIN - 16 * (words.length - 1 - i) + 4));
  return canvas;
}

interface Drawing {
  height: number;
  draw: (context: CanvasRenderingContext2D) => void;
}

async function realCell({ app }: Film, row: number, title: string): Promise<Drawing> {
  const picture = await realPicture(app, row, true);
  return {
    height: 18 + CELL + 20,
    draw: (context) => {
      label(context, title, 12, true);
      place(context, picture, 0, 18, CELL);
      label(context, app.atlas.names[row], 18 + CELL + 14);
    },
  };
}

async function stopCell({ app, model, frames }: Film, stop: Stop, last: number): Promise<Drawing> {
  const canvas = document.createElement("canvas");
  paintFrame(canvas, frames, stop.index, app.atlas.manifest.images.display);
  const near = stop.nearest ? await realPicture(app, stop.nearest.row, false) : null;
  const top = 18 + CELL + 28;
  return {
    height: top + 22 + (stop.nearest ? NEAREST + 4 : 0),
    draw: (context) => {
      label(context, nameOfStop(model.info, stop, last), 12, true);
      place(context, canvas, 0, 18, CELL);
      stampGenerated(context, 0, 18 + CELL, CELL);
      label(context, `${SIGNS[stop.support.level]} ${supportWords(stop.support)}`, top + 12);
      if (stop.nearest === null) return;
      place(context, near, 0, top + 22, NEAREST);
      const { row, distance } = stop.nearest;
      const lines = ["nearest:", app.atlas.names[row], `${distance.toPrecision(2)} away`];
      lines.forEach((line, i) => label(context, line, top + 34 + 15 * i, false, NEAREST + 6));
    },
  };
}

/** The band below a generated picture, joined to it. */
function stampGenerated(context: CanvasRenderingContext2D, x: number, y: number, width: number): void {
  context.fillStyle = "#2a2a2a";
  context.fillRect(x, y, width, 26);
  context.fillStyle = "#ffffff";
  for (let size = 10.5; size > 6; size -= 0.5) {
    context.font = `600 ${size}px ${FONT}`;
    if (Math.max(...GENERATED_LINES.map((line) => context.measureText(line).width)) <= width - 6) break;
  }
  context.textAlign = "center";
  GENERATED_LINES.forEach((line, i) => context.fillText(line, x + width / 2, y + 11 + 11 * i));
  context.textAlign = "left";
}

function label(context: CanvasRenderingContext2D, text: string, y: number, isBold = false, x = 0): void {
  context.fillStyle = "#222";
  context.font = `${isBold ? "600 " : ""}11px ${FONT}`;
  context.fillText(fitted(context, text, CELL - x), x, y);
}

function place(context: CanvasRenderingContext2D, picture: HTMLCanvasElement | null, x: number, y: number, side: number): void {
  if (picture === null) {
    context.strokeStyle = "#999";
    context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
    context.fillStyle = "#555";
    context.font = `10px ${FONT}`;
    context.fillText("no picture", x + 6, y + side / 2);
    return;
  }
  context.imageSmoothingEnabled = picture.width > side;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, x, y, side, side);
}

async function realPicture(app: App, row: number, isLarge: boolean): Promise<HTMLCanvasElement | null> {
  const { originals, thumbnails } = app.atlas;
  const pictures = isLarge ? (originals ?? thumbnails) : (thumbnails ?? originals);
  if (pictures === null) return null;
  const canvas = document.createElement("canvas");
  try {
    paintCell(canvas, await pictures.get(row), pictures.size);
    return canvas;
  } catch {
    return null; // The strip then says that there is no picture.
  }
}

/** There and back again, with words and the place on the path in every frame. */
export function filmGif(film: Film, delayMs: number): Uint8Array<ArrayBuffer> {
  const { side } = film.frames;
  const factor = Math.max(1, Math.round(320 / side));
  const width = side * factor;
  const words = gifWords(film);
  const height = width + 8 + 15 * (2 + words.length) + 22;
  const drawn = film.stops.map((stop) => gifFrame(film, stop, words, width, height));
  const there = drawn.map((rgba, i): GifFrame => ({ rgba, delayMs: i === 0 || i === drawn.length - 1 ? 3 * delayMs : delayMs }));
  return gif([...there, ...there.slice(1, -1).reverse()], width, height);
}

function gifWords({ app, model, frames }: Film): string[] {
  const { manifest } = app.atlas;
  return [...drawnWords(frames), `model ${model.info.name} · atlas ${manifest.atlas_hash.slice(0, 12)} · zatlas ${manifest.zatlas}`];
}

/** That texture is drawn, and which draw it is. */
function drawnWords(frames: Frames): string[] {
  return frames.draw > 0 ? [`${DRAWN} (draw ${frames.draw})`] : [];
}

function gifFrame({ app, model, frames, stops }: Film, stop: Stop, words: string[], width: number, height: number): Uint8ClampedArray {
  const { canvas, context } = sheet(width, height, 1);
  const picture = document.createElement("canvas");
  paintFrame(picture, frames, stop.index, app.atlas.manifest.images.display);
  place(context, picture, 0, 0, width);
  context.fillStyle = "#2a2a2a";
  context.fillRect(0, width, width, 22);
  context.fillStyle = "#fff";
  context.font = `600 12px ${FONT}`;
  context.textAlign = "center";
  context.fillText(fitted(context, GENERATED, width - 8), width / 2, width + 15);
  context.textAlign = "left";
  context.fillStyle = "#222";
  const first = `${nameOfStop(model.info, stop, stops.length - 1)} · ${supportWords(stop.support)}`;
  const ends = `${app.atlas.names[stops[0].row ?? 0]} → ${app.atlas.names[stops[stops.length - 1].row ?? 0]}`;
  context.font = `600 12px ${FONT}`;
  context.fillText(fitted(context, first, width - 16), 8, width + 40);
  context.font = `11px ${FONT}`;
  [ends, ...words].forEach((line, i) => context.fillText(fitted(context, line, width - 16), 8, width + 56 + 15 * i));
  return greyed(context.getImageData(0, 0, canvas.width, canvas.height).data, frames.channels < 3);
}

/** Text drawn with coloured edges for screens becomes plain grey, so that a grey film needs no reduced colours. */
function greyed(rgba: Uint8ClampedArray, isGrey: boolean): Uint8ClampedArray {
  if (!isGrey) return rgba;
  for (let i = 0; i < rgba.length; i += 4) {
    if (rgba[i] === rgba[i + 1] && rgba[i] === rgba[i + 2]) continue;
    const grey = (rgba[i] + rgba[i + 1] + rgba[i + 2]) / 3;
    rgba.fill(grey, i, i + 3);
  }
  return rgba;
}

/** Latents and distances of every stop. */
export function filmCsv({ app, model, stops }: Omit<Film, "frames">): string {
  const { k } = model.info.support;
  const head = [
    "stop", "t", "real_image_row", "real_image", "support", `distance_to_training_image_${k}`, "percentile_of_training_images",
    "nearest_row", "nearest_image", "nearest_distance", ...Array.from({ length: model.d }, (_, j) => `z${j}`),
  ];
  const name = (row: number | undefined | null) => (row === undefined || row === null ? "" : app.atlas.names[row]);
  const rows = stops.map(({ index, t, z, row, support, nearest }) => [
    index, shortest(t), row ?? "", name(row), support.level, shortest(support.distance), shortest(100 * support.percentile),
    nearest?.row ?? "", name(nearest?.row), nearest ? shortest(nearest.distance) : "", ...z.map(shortest),
  ]);
  return csv([head, ...rows]);
}

export function filmHeading({ app, stops, title }: Film): string {
  const ends = `${app.atlas.names[stops[0].row ?? 0]} → ${app.atlas.names[stops[stops.length - 1].row ?? 0]}`;
  return title === "" ? ends : `${title}, lowest to highest: ${ends}`;
}

function wordsOf({ frames, stops, note, kind }: Film): string {
  const path = { straight: "Straight path through latent space.", spherical: "Spherical path through latent space.", graph: "Path along nearest neighbours." }[kind] ?? "";
  return [`${GENERATED}: every picture with a dark band.`, ...drawnWords(frames).map((words) => `${words}.`), path, supportCount(stops), "Small: the nearest real image and its distance in latent space.", note && `${note}.`].filter(Boolean).join(" ");
}

function sheet(width: number, height: number, scale: number): { canvas: HTMLCanvasElement; context: CanvasRenderingContext2D } {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const context = canvas.getContext("2d", { willReadFrequently: scale === 1 });
  if (context === null) throw new Error("this browser gives no canvas to draw on");
  context.scale(scale, scale);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, width, height);
  return { canvas, context };
}

function measure(): CanvasRenderingContext2D {
  const { context } = sheet(1, 1, 1);
  context.font = `11px ${FONT}`;
  return context;
}
