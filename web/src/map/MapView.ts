/** A map of many images: what the page asks of it, whoever draws it. No framework, no words, no state of the page. */

/** The part of the plane in view, in the units of the points: x and y of its middle, y upwards. */
export interface MapBox {
  x: number;
  y: number;
  /** Height of the view; the width follows from the shape of the element. */
  height: number;
}

export type MapTool = "pan" | "lasso" | "box" | "probe";

/** How a drawn region meets the selection that is there. */
export type SelectMode = "replace" | "add" | "subtract";

/** Pictures that can stand in the place of points. */
export interface PictureSource {
  /** Side of a picture on the sheet [px]. */
  size: number;
  /** Where picture `row` lies, or null while its sheet is loading; asking starts the loading. */
  locate(row: number): { sheet: CanvasImageSource; x: number; y: number } | null;
  /** Called whenever a sheet has come; the answer ends that. */
  onLoad(listener: () => void): () => void;
}

export interface MapPath {
  /** Points of the line, x and y by turns. */
  xy: Float32Array;
  /** Indices of points with a mark of their own, such as the frames of a path. */
  dots: number[];
}

export interface MapLabel {
  x: number;
  y: number;
  text: string;
}

/** What lies over the points. */
export interface MapMarks {
  /** Row that the keyboard or the evidence panel is at, or null. */
  focus: number | null;
  /** Where the latent being steered lies, or null. */
  cursor: { x: number; y: number } | null;
  /** One standard deviation of a posterior, by its middle and covariance matrix [units of the points, squared]. */
  ellipse: { x: number; y: number; xx: number; xy: number; yy: number } | null;
  path: MapPath | null;
  labels: MapLabel[];
}

export interface MapEvents {
  /** The row under the pointer (or null), and where the pointer is in the element [CSS px]. */
  hover(row: number | null, at: { x: number; y: number }): void;
  /** A click: on a point, or on the empty map (row null) at x, y in the units of the points. */
  click(row: number | null, x: number, y: number, keys: { shift: boolean; alt: boolean }): void;
  /** The probe tool is dragged across x, y; `done` on release. */
  probe(x: number, y: number, done: boolean): void;
  /** A region was drawn around these rows (visible ones only), ascending. */
  select(rows: Uint32Array, mode: SelectMode, outline: Float32Array): void;
  /** The view was moved by hand, `zoom`, `pan` or `fit`, not by `setView` or new points; at most once per frame. */
  view(box: MapBox): void;
}

export interface MapView {
  /** "webgl" or "canvas". */
  readonly kind: string;
  /** New positions, x and y by turns (n points); moves there smoothly when `animate` and the number is unchanged. */
  setPoints(xy: Float32Array, animate: boolean): void;
  /** Colour of each point: r, g, b, a from 0 to 255 (n * 4). */
  setColours(rgba: Uint8Array): void;
  /** 1 where a point is shown, 0 where a filter hides it; null shows all. Hidden points are never hit or selected. */
  setVisible(mask: Uint8Array | null): void;
  /** 1 where a point is selected; others are then drawn faint. null: nothing is selected, all are drawn plainly. */
  setSelected(mask: Uint8Array | null): void;
  /** 1 where a point gets an outline (held-out images); null: none. */
  setHalo(mask: Uint8Array | null): void;
  /** Pictures instead of points where there is room for them; null for points alone. */
  setPictures(source: PictureSource | null): void;
  setMarks(marks: MapMarks): void;
  setTool(tool: MapTool): void;
  /** How the next region meets the selection unless shift (add) or alt (subtract) is held. */
  setSelectMode(mode: SelectMode): void;
  /** Colours of outline, text and background by theme; called again when it changes. */
  setTheme(theme: { background: string; ink: string; accent: string; faint: string }): void;
  /** The view, or while it glides the one it glides to. */
  getView(): MapBox;
  setView(box: MapBox, animate: boolean): void;
  /** Everything visible in view, with a margin. */
  fit(animate: boolean): void;
  /** Zooms about the middle; above 1 comes closer. */
  zoom(factor: number): void;
  /** Moves the content to the right and down [CSS px], as dragging it does. */
  pan(dx: number, dy: number): void;
  /** The nearest visible point in a direction from `row` (or from the middle of the view), or null. */
  neighbour(row: number | null, direction: "left" | "right" | "up" | "down"): number | null;
  /** Rows of the visible points within a closed outline (x and y by turns), ascending: exact point in polygon. */
  within(outline: Float32Array): Uint32Array;
  /** Where a row is on the element [CSS px], or null when out of view. */
  place(row: number): { x: number; y: number } | null;
  /** Rows drawn as pictures in the last frame with the place and side of each [CSS px]; for tests. */
  drawnPictures(): { row: number; x: number; y: number; side: number }[];
  /** Milliseconds of the last frames, newest last: while moving from frame to frame, else the time to draw; for the benchmark. */
  frameTimes(): number[];
  /** The present view as a canvas at `scale` times the size of the element, without the overlay of tools. */
  toCanvas(scale: number): HTMLCanvasElement;
  destroy(): void;
}
