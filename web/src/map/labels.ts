/** Text on the map: each label in the ink colour with a rim of the background, earlier ones first, none over another. */
import type { MapLabel } from "./MapView";
import { toScreen } from "./camera";
import type { Frame } from "./layer";

const FONT = "600 13px system-ui, sans-serif";
const LINE_PX = 18;
const WIDEST_PX = 190;
/** Where a label moves, in lines, when its own place is taken. */
const NUDGES = [0, -1, 1, -2, 2];

interface Rectangle {
  x: number;
  y: number;
  halfWidth: number;
}

export function drawLabels(context: CanvasRenderingContext2D, frame: Frame, labels: MapLabel[]): void {
  context.font = FONT;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  const taken: Rectangle[] = [];
  for (const label of labels) {
    const at = toScreen(frame.box, frame.size, label.x, label.y);
    if (at.x < 0 || at.y < 0 || at.x > frame.size.width || at.y > frame.size.height) continue;
    const text = shorten(label.text, (part) => context.measureText(part).width);
    const place = freePlace(at, context.measureText(text).width / 2 + 4, frame.size.width, taken);
    if (!place) continue;
    taken.push(place);
    context.strokeStyle = frame.theme.background;
    context.lineWidth = 4;
    context.strokeText(text, place.x, place.y);
    context.fillStyle = frame.theme.ink;
    context.fillText(text, place.x, place.y);
  }
}

/** The label's own place, kept within the width of the map, or the nearest free line above or below it. */
export function freePlace(at: { x: number; y: number }, halfWidth: number, width: number, taken: Rectangle[]): Rectangle | null {
  const x = Math.max(halfWidth, Math.min(width - halfWidth, at.x));
  for (const nudge of NUDGES) {
    const y = at.y + nudge * LINE_PX;
    const isFree = taken.every((one) => Math.abs(one.y - y) >= LINE_PX || Math.abs(one.x - x) >= one.halfWidth + halfWidth);
    if (isFree) return { x, y, halfWidth };
  }
  return null;
}

/** The text, or its beginning and an ellipsis when it is wider than a label may be. */
export function shorten(text: string, widthOf: (text: string) => number): string {
  const plain = text.length > 200 ? text.slice(0, 200) : text;
  if (widthOf(plain) <= WIDEST_PX) return plain;
  const letters = [...plain];
  let [low, high] = [0, letters.length];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (widthOf(`${letters.slice(0, middle).join("")}…`) <= WIDEST_PX) low = middle;
    else high = middle - 1;
  }
  return `${letters.slice(0, low).join("").trimEnd()}…`;
}
