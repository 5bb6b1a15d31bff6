/** Camera of the map: from the units of the points (y up) to the element (CSS px, y down) and back. One scale on both axes. */
import type { MapBox } from "./MapView";

export interface Size {
  width: number;
  height: number;
}

export interface Bounds {
  left: number;
  right: number;
  bottom: number;
  top: number;
}

/** Pixels per unit. */
export function scaleOf(box: MapBox, size: Size): number {
  return size.height / box.height;
}

export function toScreen(box: MapBox, size: Size, x: number, y: number): { x: number; y: number } {
  const scale = scaleOf(box, size);
  return { x: size.width / 2 + (x - box.x) * scale, y: size.height / 2 - (y - box.y) * scale };
}

export function toWorld(box: MapBox, size: Size, px: number, py: number): { x: number; y: number } {
  const scale = scaleOf(box, size);
  return { x: box.x + (px - size.width / 2) / scale, y: box.y - (py - size.height / 2) / scale };
}

/** The part of the plane in view, widened by `margin` pixels on each side. */
export function boundsOf(box: MapBox, size: Size, margin = 0): Bounds {
  const scale = scaleOf(box, size);
  const halfWidth = (size.width / 2 + margin) / scale;
  const halfHeight = (size.height / 2 + margin) / scale;
  return { left: box.x - halfWidth, right: box.x + halfWidth, bottom: box.y - halfHeight, top: box.y + halfHeight };
}

/** Zooms in by `factor` with the place under (px, py) held where it is. */
export function zoomAt(box: MapBox, size: Size, px: number, py: number, factor: number): MapBox {
  const held = toWorld(box, size, px, py);
  return { x: held.x + (box.x - held.x) / factor, y: held.y + (box.y - held.y) / factor, height: box.height / factor };
}

/** The view after its content was dragged by (dx, dy) pixels. */
export function dragBy(box: MapBox, size: Size, dx: number, dy: number): MapBox {
  const scale = scaleOf(box, size);
  return { x: box.x - dx / scale, y: box.y + dy / scale, height: box.height };
}

/** The view that holds all of `bounds` with `margin` pixels to spare. */
export function fitBox(bounds: Bounds, size: Size, margin: number): MapBox {
  const innerWidth = Math.max(size.width - 2 * margin, size.width / 2);
  const innerHeight = Math.max(size.height - 2 * margin, size.height / 2);
  const unitsPerPixel = Math.max((bounds.right - bounds.left) / innerWidth, (bounds.top - bounds.bottom) / innerHeight);
  const height = unitsPerPixel * size.height;
  return {
    x: (bounds.left + bounds.right) / 2,
    y: (bounds.bottom + bounds.top) / 2,
    height: height > 0 && Number.isFinite(height) ? height : 2,
  };
}

/** A view between two: zooming is even to the eye, and a zoom about a place keeps that place where it is. */
export function viewBetween(from: MapBox, to: MapBox, t: number): MapBox {
  if (t <= 0) return from;
  if (t >= 1) return to;
  const height = from.height * Math.pow(to.height / from.height, t);
  const change = from.height - to.height;
  const share = Math.abs(change) > 1e-6 * from.height ? (from.height - height) / change : t;
  return { x: from.x + (to.x - from.x) * share, y: from.y + (to.y - from.y) * share, height };
}

/** Slow at both ends. */
export function ease(t: number): number {
  const clamped = Math.min(1, Math.max(0, t));
  return clamped * clamped * (3 - 2 * clamped);
}

export function isUsable(box: MapBox): boolean {
  return Number.isFinite(box.x) && Number.isFinite(box.y) && Number.isFinite(box.height) && box.height > 0;
}
