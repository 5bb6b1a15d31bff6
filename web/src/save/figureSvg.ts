/** The map as a figure for print: 180 mm wide, with legend, scale, numbers and origin. Only text and numbers come in. */

import type { Colouring } from "../colour";
import { cividis, css } from "../colour";
import { formatNumber } from "../atlas";
import type { MapBox } from "../map/MapView";
import { ticksFromZero } from "../parts/charts/scale";

export interface MapFigure {
  /** x and y by turns. */
  xy: Float32Array;
  /** r, g, b, a by turns. */
  rgba: Uint8Array;
  visible: Uint8Array | null;
  selected: Uint8Array | null;
  /** The part of the plane to show; null shows all visible points. */
  box: MapBox | null;
  /** Width over height of the map; of use with a box alone. */
  aspect: number;
  titles: readonly [string, string];
  /** What one unit of both axes is, or "" on a map without unit. */
  unit: string;
  legend: Colouring["legend"];
  legendTitle: string;
  legendUnit: string;
  title: string;
  /** What the axes keep, and whatever else a reader must know. */
  caption: string;
  /** Atlas, model and version. */
  origin: string;
}

/** Units of the drawing: 720 across 180 mm, so 4 per millimetre; type of 11 units is 7.8 pt. */
const WIDTH = 720;
const MAP_LEFT = 34;
const MAP_WIDTH = 486;
const LEGEND_LEFT = 540;
const LEGEND_WIDTH = WIDTH - LEGEND_LEFT - 10;
const TOP = 40;
const LINE = 15;
/** Above this many points a file of vectors is slower to open than a picture in it. */
export const MOST_CIRCLES = 20_000;
const DOTS_PER_UNIT = 4;

interface Frame {
  left: number;
  top: number;
  width: number;
  height: number;
  /** Units of the drawing per unit of the axes. */
  scale: number;
  x: (value: number) => number;
  y: (value: number) => number;
}

export function escapedXml(text: string): string {
  return [...text]
    .map((character) => ESCAPES[character] ?? (isLegal(character) ? character : "\uFFFD"))
    .join("");
}

const ESCAPES: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };

/** Characters that XML 1.0 can hold. */
function isLegal(character: string): boolean {
  const code = character.codePointAt(0) ?? 0;
  return code === 9 || code === 10 || code === 13 || (code >= 32 && !(code >= 0xd800 && code <= 0xdfff) && code !== 0xfffe && code !== 0xffff);
}

export function mapSvg(figure: MapFigure): string {
  const frame = frameOf(figure);
  const rows = rowsInView(figure, frame);
  const legend = legendSvg(figure);
  const words = wordsBelow(figure, rows.length);
  const bottom = Math.max(frame.top + frame.height + 34, TOP + legend.height + 10);
  const height = Math.ceil(bottom + words.length * LINE + 12);
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="180mm" height="${(height / 4).toFixed(2)}mm" viewBox="0 0 ${WIDTH} ${height}" font-family="Helvetica, Arial, sans-serif" font-size="11" fill="#111">`,
    `<title>${escapedXml(figure.title)}</title>`,
    `<rect width="${WIDTH}" height="${height}" fill="#fff"/>`,
    text(MAP_LEFT, 22, cut(figure.title, 90), 'font-size="14" font-weight="bold"'),
    `<clipPath id="map"><rect x="${frame.left}" y="${frame.top}" width="${frame.width}" height="${frame.height}"/></clipPath>`,
    `<g clip-path="url(#map)">${rows.length > MOST_CIRCLES ? pointsPicture(figure, frame, rows) : circles(figure, frame, rows)}</g>`,
    axesSvg(figure, frame),
    legend.svg,
    ...words.map((line, i) => text(MAP_LEFT, bottom + LINE * (i + 1), line, 'font-size="10" fill="#333"')),
    "</svg>\n",
  ].join("\n");
}

function frameOf(figure: MapFigure): Frame {
  const box = figure.box ? viewOf(figure.box, figure.aspect) : boundsOf(figure);
  const aspect = Math.max(0.6, Math.min(2.2, (box.right - box.left) / (box.top - box.bottom) || 1));
  const [width, height] = [MAP_WIDTH, MAP_WIDTH / aspect];
  const scale = Math.min(width / (box.right - box.left || 1), height / (box.top - box.bottom || 1));
  const [middleX, middleY] = [(box.left + box.right) / 2, (box.bottom + box.top) / 2];
  return {
    left: MAP_LEFT,
    top: TOP,
    width,
    height,
    scale,
    x: (value) => MAP_LEFT + width / 2 + (value - middleX) * scale,
    y: (value) => TOP + height / 2 - (value - middleY) * scale,
  };
}

interface Bounds {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

function viewOf(box: MapBox, aspect: number): Bounds {
  const half = { x: (box.height * aspect) / 2, y: box.height / 2 };
  return { left: box.x - half.x, right: box.x + half.x, bottom: box.y - half.y, top: box.y + half.y };
}

function boundsOf({ xy, visible }: MapFigure): Bounds {
  const found: Bounds = { left: Infinity, right: -Infinity, bottom: Infinity, top: -Infinity };
  for (let i = 0; i < xy.length / 2; i++) {
    if (visible && !visible[i]) continue;
    found.left = Math.min(found.left, xy[2 * i]);
    found.right = Math.max(found.right, xy[2 * i]);
    found.bottom = Math.min(found.bottom, xy[2 * i + 1]);
    found.top = Math.max(found.top, xy[2 * i + 1]);
  }
  if (!(found.left <= found.right)) return { left: -1, right: 1, bottom: -1, top: 1 };
  const room = 0.04 * Math.max(found.right - found.left, found.top - found.bottom, 1e-6);
  return { left: found.left - room, right: found.right + room, bottom: found.bottom - room, top: found.top + room };
}

function rowsInView({ xy, visible }: MapFigure, frame: Frame): number[] {
  const rows: number[] = [];
  for (let i = 0; i < xy.length / 2; i++) {
    if (visible && !visible[i]) continue;
    const [x, y] = [frame.x(xy[2 * i]), frame.y(xy[2 * i + 1])];
    if (x >= frame.left && x <= frame.left + frame.width && y >= frame.top && y <= frame.top + frame.height) rows.push(i);
  }
  return rows;
}

function radiusFor(count: number): number {
  return Math.max(0.7, Math.min(3.2, 90 / Math.sqrt(count + 1)));
}

function circles(figure: MapFigure, frame: Frame, rows: number[]): string {
  const { xy, rgba, selected } = figure;
  const r = radiusFor(rows.length).toFixed(2);
  const circle = (i: number) => {
    const colour = `rgb(${rgba[4 * i]},${rgba[4 * i + 1]},${rgba[4 * i + 2]})`;
    const outline = selected?.[i] ? ' stroke="#000" stroke-width="0.9"' : "";
    return `<circle cx="${frame.x(xy[2 * i]).toFixed(2)}" cy="${frame.y(xy[2 * i + 1]).toFixed(2)}" r="${r}" fill="${colour}"${outline}/>`;
  };
  return inDrawingOrder(rows, selected).map(circle).join("");
}

/** Selected points last, so that their outlines lie on top. */
function inDrawingOrder(rows: number[], selected: Uint8Array | null): number[] {
  return selected ? [...rows.filter((row) => !selected[row]), ...rows.filter((row) => selected[row])] : rows;
}

function pointsPicture(figure: MapFigure, frame: Frame, rows: number[]): string {
  const canvas = document.createElement("canvas");
  canvas.width = Math.round(frame.width * DOTS_PER_UNIT);
  canvas.height = Math.round(frame.height * DOTS_PER_UNIT);
  const context = canvas.getContext("2d");
  if (context === null) return "";
  context.scale(DOTS_PER_UNIT, DOTS_PER_UNIT);
  const { xy, rgba, selected } = figure;
  const radius = radiusFor(rows.length);
  context.lineWidth = 0.7;
  context.strokeStyle = "#000";
  for (const i of inDrawingOrder(rows, selected)) {
    context.fillStyle = `rgb(${rgba[4 * i]},${rgba[4 * i + 1]},${rgba[4 * i + 2]})`;
    context.beginPath();
    context.arc(frame.x(xy[2 * i]) - frame.left, frame.y(xy[2 * i + 1]) - frame.top, radius, 0, 2 * Math.PI);
    context.fill();
    if (selected?.[i]) context.stroke();
  }
  return `<image x="${frame.left}" y="${frame.top}" width="${frame.width}" height="${frame.height}" href="${canvas.toDataURL("image/png")}"/>`;
}

function axesSvg(figure: MapFigure, frame: Frame): string {
  const { left, top, width, height } = frame;
  const [titleX, titleY] = figure.titles;
  const middle = top + height / 2;
  return [
    `<rect x="${left}" y="${top}" width="${width}" height="${height}" fill="none" stroke="#888" stroke-width="0.7"/>`,
    text(left + width / 2, top + height + 17, cut(titleX, 84), 'text-anchor="middle"'),
    text(0, 0, cut(titleY, 70), `text-anchor="middle" transform="translate(${left - 10} ${middle}) rotate(-90)"`),
    figure.unit === "" ? text(left + width, top + height + 31, "Distances on this map have no unit.", 'text-anchor="end" font-size="10" fill="#333"') : scaleBar(figure, frame),
  ].join("\n");
}

/** A bar of a round length, about a fifth of the map, below its right corner. */
function scaleBar(figure: MapFigure, frame: Frame): string {
  const length = ticksFromZero((0.22 * frame.width) / frame.scale).pop() ?? 1;
  const px = length * frame.scale;
  const right = frame.left + frame.width;
  const y = frame.top + frame.height + 27;
  const words = `${formatNumber(length)} ${length === 1 ? figure.unit : plural(figure.unit)}`;
  return [
    `<path d="M${right - px} ${y - 3}V${y + 3}M${right} ${y - 3}V${y + 3}M${right - px} ${y}H${right}" stroke="#111" stroke-width="1.2" fill="none"/>`,
    text(right - px - 6, y + 3.5, words, 'text-anchor="end" font-size="10"'),
  ].join("\n");
}

const plural = (unit: string): string => unit.replace(/^(standard deviation|unit)\b/, "$1s");

function legendSvg(figure: MapFigure): { svg: string; height: number } {
  const { legend } = figure;
  const title = cut(figure.legendTitle, 28);
  const head = title === "" ? "" : text(LEGEND_LEFT, TOP + 10, title, 'font-weight="bold"');
  if (legend.kind === "plain") return { svg: head, height: 20 };
  if (legend.kind === "range") return { svg: `${head}\n${colourBar(figure, legend.low, legend.high)}`, height: 190 };
  const rows = legend.entries.map(({ colour, text: words, n }, i) => {
    const y = TOP + 32 + i * 18;
    return [
      `<circle cx="${LEGEND_LEFT + 5}" cy="${y - 4}" r="5" fill="${cssRgb(css(colour))}"/>`,
      text(LEGEND_LEFT + 16, y, cut(words, 19)),
      text(LEGEND_LEFT + LEGEND_WIDTH, y, String(n), 'text-anchor="end" fill="#333"'),
    ].join("");
  });
  return { svg: [head, ...rows].join("\n"), height: 40 + rows.length * 18 };
}

/** Old drawing programs want commas. */
const cssRgb = (colour: string): string => colour.replaceAll(" ", ",");

function colourBar(figure: MapFigure, low: number, high: number): string {
  const [top, height, steps] = [TOP + 24, 140, 70];
  const bars = Array.from({ length: steps }, (_, i) => {
    const y = top + (height * i) / steps;
    return `<rect x="${LEGEND_LEFT}" y="${y.toFixed(2)}" width="14" height="${(height / steps + 0.4).toFixed(2)}" fill="${cssRgb(css(cividis(1 - (i + 0.5) / steps)))}"/>`;
  });
  const marks = [0, 0.5, 1].map((share) => {
    const y = top + height * (1 - share);
    const unit = figure.legendUnit ? ` ${figure.legendUnit}` : "";
    return `<path d="M${LEGEND_LEFT + 14} ${y}h4" stroke="#111"/>${text(LEGEND_LEFT + 22, y + 4, cut(`${formatNumber(low + share * (high - low))}${unit}`, 22))}`;
  });
  return [...bars, ...marks].join("");
}

/** Numbers of images, what the axes keep, and where the figure comes from, in lines that fit. */
function wordsBelow(figure: MapFigure, inView: number): string[] {
  const n = figure.xy.length / 2;
  const shown = figure.visible ? sum(figure.visible) : n;
  const parts = [`${n} images`];
  if (shown < n) parts.push(`${shown} pass the filters`);
  if (inView < shown) parts.push(`${inView} in view`);
  if (figure.selected) parts.push(`${sum(figure.selected)} selected (outlined)`);
  return [...brokenAtSpaces(`${parts.join(", ")}. ${figure.caption}`, 135), ...brokenAtSpaces(figure.origin, 135)];
}

function sum(mask: Uint8Array): number {
  return mask.reduce((total, value) => total + (value ? 1 : 0), 0);
}

/** Lines of at most `most` characters, broken at spaces. */
export function brokenAtSpaces(words: string, most: number): string[] {
  const found: string[] = [];
  for (const word of words.split(/\s+/).filter(Boolean)) {
    const last = found[found.length - 1];
    if (last !== undefined && last.length + 1 + word.length <= most) found[found.length - 1] = `${last} ${word}`;
    else found.push(cut(word, most));
  }
  return found;
}

function cut(words: string, most: number): string {
  const characters = [...words];
  return characters.length > most ? `${characters.slice(0, most - 1).join("")}…` : words;
}

function text(x: number, y: number, words: string, attributes = ""): string {
  return `<text x="${Number(x.toFixed(2))}" y="${Number(y.toFixed(2))}"${attributes ? ` ${attributes}` : ""}>${escapedXml(words)}</text>`;
}
