/** What lies over the points, in 2-D: pictures, then the marks of the page, then what the hand is drawing. */
import type { MapMarks, PictureSource } from "./MapView";
import { scaleOf, toScreen } from "./camera";
import type { Cloud } from "./cloud";
import { HALO, SELECTED } from "./cloud";
import { drawLabels } from "./labels";
import type { Frame } from "./layer";

/** A row drawn as a picture: the middle of it and its side [CSS px]. */
export interface Picture {
  row: number;
  x: number;
  y: number;
  side: number;
}

export interface Scene {
  frame: Frame;
  cloud: Cloud;
  marks: MapMarks;
  pictures: Picture[];
  source: PictureSource | null;
  hover: number | null;
  /** Corners of the outline being drawn [CSS px], x and y by turns. */
  outline: number[];
}

type Context = CanvasRenderingContext2D;

/** Draws pictures, path and labels; returns the pictures drawn, those whose sheet has come. */
export function drawContent(context: Context, scene: Scene): Picture[] {
  const drawn = scene.pictures.filter((picture) => drawPicture(context, scene, picture));
  drawPath(context, scene);
  drawLabels(context, scene.frame, scene.marks.labels);
  return drawn;
}

/** Draws focus, probe, posterior and the outline under the hand. */
export function drawTools(context: Context, scene: Scene, drawn: Picture[]): void {
  drawEllipse(context, scene);
  if (scene.hover !== null) ring(context, scene, scene.hover, drawn, false);
  if (scene.marks.focus !== null) ring(context, scene, scene.marks.focus, drawn, true);
  drawCursor(context, scene);
  drawOutline(context, scene);
}

function drawPicture(context: Context, { frame, cloud, source }: Scene, picture: Picture): boolean {
  const place = source?.locate(picture.row);
  if (!source || !place) return false;
  const { row, side } = picture;
  const left = Math.round((picture.x - side / 2) * frame.ratio) / frame.ratio;
  const top = Math.round((picture.y - side / 2) * frame.ratio) / frame.ratio;
  const isFaint = cloud.hasSelection && !(cloud.flags[row] & SELECTED);
  const edge = side > 48 ? 2.5 : 2;
  context.globalAlpha = 1;
  const isOutlined = (cloud.flags[row] & HALO) !== 0 && !isFaint;
  context.fillStyle = isOutlined ? frame.theme.ink : frame.theme.background;
  context.fillRect(left - 1.5, top - 1.5, side + 3, side + 3);
  context.globalAlpha = isFaint ? 0.3 : 1;
  const [r, g, b] = cloud.rgba.subarray(4 * row, 4 * row + 3);
  context.strokeStyle = `rgb(${r}, ${g}, ${b})`;
  context.lineWidth = edge;
  context.lineJoin = "miter";
  context.strokeRect(left + edge / 2, top + edge / 2, side - edge, side - edge);
  const inner = side - 2 * edge;
  context.drawImage(place.sheet, place.x, place.y, source.size, source.size, left + edge, top + edge, inner, inner);
  context.globalAlpha = 1;
  return true;
}

/** A stroke that stands out from pictures and points: wide in the background colour, then narrow in its own. */
function stroke(context: Context, background: string, colour: string, width: number): void {
  context.lineJoin = context.lineCap = "round";
  context.strokeStyle = background;
  context.lineWidth = width + 3;
  context.stroke();
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.stroke();
}

function ring(context: Context, { frame, cloud }: Scene, row: number, drawn: Picture[], isFocus: boolean): void {
  if (row >= cloud.n || !cloud.isShown(row)) return;
  const { x, y } = toScreen(frame.box, frame.size, cloud.x(row), cloud.y(row));
  const picture = drawn.find((one) => one.row === row);
  context.beginPath();
  if (picture) {
    const half = picture.side / 2 + (isFocus ? 3 : 1.5);
    context.roundRect(x - half, y - half, 2 * half, 2 * half, 3);
  } else {
    context.arc(x, y, frame.diameter / 2 + (isFocus ? 5 : 3), 0, 2 * Math.PI);
  }
  stroke(context, frame.theme.background, isFocus ? frame.theme.accent : frame.theme.ink, isFocus ? 2.5 : 1.5);
}

function drawCursor(context: Context, { frame, marks }: Scene): void {
  if (!marks.cursor) return;
  const { x, y } = toScreen(frame.box, frame.size, marks.cursor.x, marks.cursor.y);
  context.beginPath();
  context.arc(x, y, 9, 0, 2 * Math.PI);
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    context.moveTo(x + 5 * dx, y + 5 * dy);
    context.lineTo(x + 17 * dx, y + 17 * dy);
  }
  stroke(context, frame.theme.background, frame.theme.accent, 2);
  context.beginPath();
  context.arc(x, y, 1.5, 0, 2 * Math.PI);
  context.fillStyle = frame.theme.accent;
  context.fill();
}

function drawEllipse(context: Context, { frame, marks }: Scene): void {
  if (!marks.ellipse) return;
  const axes = ellipseAxes(marks.ellipse);
  const scale = scaleOf(frame.box, frame.size);
  const { x, y } = toScreen(frame.box, frame.size, marks.ellipse.x, marks.ellipse.y);
  context.beginPath();
  context.ellipse(x, y, Math.max(2, axes.long * scale), Math.max(2, axes.short * scale), -axes.angle, 0, 2 * Math.PI);
  context.globalAlpha = 0.14;
  context.fillStyle = frame.theme.accent;
  context.fill();
  context.globalAlpha = 1;
  stroke(context, frame.theme.background, frame.theme.accent, 1.5);
}

/** Half axes of the one-standard-deviation ellipse of a covariance and the angle of the long one from x [rad]. */
export function ellipseAxes(c: { xx: number; xy: number; yy: number }): { long: number; short: number; angle: number } {
  const middle = (c.xx + c.yy) / 2;
  const spread = Math.hypot((c.xx - c.yy) / 2, c.xy);
  return {
    long: Math.sqrt(Math.max(0, middle + spread)),
    short: Math.sqrt(Math.max(0, middle - spread)),
    angle: 0.5 * Math.atan2(2 * c.xy, c.xx - c.yy),
  };
}

function drawPath(context: Context, { frame, marks }: Scene): void {
  const path = marks.path;
  if (!path || path.xy.length < 2) return;
  const at = Array.from({ length: path.xy.length >> 1 }, (_, i) => toScreen(frame.box, frame.size, path.xy[2 * i], path.xy[2 * i + 1]));
  context.beginPath();
  at.forEach((p, i) => (i ? context.lineTo(p.x, p.y) : context.moveTo(p.x, p.y)));
  stroke(context, frame.theme.background, frame.theme.accent, 2.5);
  drawArrows(context, frame, at, path.dots);
  const last = path.dots.length - 1;
  path.dots.forEach((dot, k) => {
    if (!at[dot]) return;
    context.beginPath();
    context.arc(at[dot].x, at[dot].y, k === 0 || k === last ? 6 : 4, 0, 2 * Math.PI);
    context.fillStyle = k === last ? frame.theme.accent : frame.theme.background;
    stroke(context, frame.theme.background, frame.theme.accent, 2);
    context.fill();
  });
}

/** An arrow head half-way between each dot and the next, where they are far enough apart to tell. */
function drawArrows(context: Context, frame: Frame, at: { x: number; y: number }[], dots: number[]): void {
  const stops = dots.length > 1 ? dots : [0, at.length - 1];
  for (let k = 1; k < stops.length; k++) {
    const [first, last] = [stops[k - 1], Math.min(stops[k], at.length - 1)];
    const lengths: number[] = [];
    for (let i = first + 1; i <= last; i++) lengths.push(Math.hypot(at[i].x - at[i - 1].x, at[i].y - at[i - 1].y));
    let rest = lengths.reduce((sum, one) => sum + one, 0) / 2;
    if (rest < 16) continue;
    const i = lengths.findIndex((one) => (rest -= one) <= 0);
    if (i < 0) continue;
    const [from, to] = [at[first + i], at[first + i + 1]];
    const t = 1 + rest / lengths[i];
    const angle = Math.atan2(to.y - from.y, to.x - from.x);
    arrowHead(context, frame, from.x + (to.x - from.x) * t, from.y + (to.y - from.y) * t, angle);
  }
}

function arrowHead(context: Context, frame: Frame, x: number, y: number, angle: number): void {
  const corner = (turn: number, away: number): [number, number] => [x + away * Math.cos(angle + turn), y + away * Math.sin(angle + turn)];
  context.beginPath();
  context.moveTo(...corner(0, 7));
  context.lineTo(...corner(2.4, 7));
  context.lineTo(...corner(Math.PI, 2));
  context.lineTo(...corner(-2.4, 7));
  context.closePath();
  context.strokeStyle = frame.theme.background;
  context.lineWidth = 3;
  context.stroke();
  context.fillStyle = frame.theme.accent;
  context.fill();
}

function drawOutline(context: Context, { frame, outline }: Scene): void {
  if (outline.length < 4) return;
  context.beginPath();
  for (let i = 0; i < outline.length; i += 2) context.lineTo(outline[i], outline[i + 1]);
  context.closePath();
  context.globalAlpha = 0.12;
  context.fillStyle = frame.theme.accent;
  context.fill("evenodd");
  context.globalAlpha = 1;
  stroke(context, frame.theme.background, frame.theme.accent, 1.5);
}
