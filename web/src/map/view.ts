/** The map itself: holds points, view and marks, decides when to draw, and answers what is where. */
import type { MapBox, MapEvents, MapMarks, MapTool, MapView, PictureSource, SelectMode } from "./MapView";
import type { Size } from "./camera";
import { dragBy, isUsable, scaleOf, toScreen, toWorld } from "./camera";
import { Cloud, pointDiameter, pointOpacity } from "./cloud";
import type { Frame, PointLayer, Theme } from "./layer";
import { newCanvas, plainColour, sizeCanvas } from "./layer";
import { Motion } from "./motion";
import type { Picture, Scene } from "./overlay";
import { drawContent, drawTools } from "./overlay";
import { Pace } from "./pace";
import { PicturePlaces } from "./pictures";
import { Pointer } from "./pointer";
import { CanvasPoints } from "./pointsCanvas";
import { WebGLPoints } from "./pointsWebGL";

const MOVE_MS = 600;
const GLIDE_MS = 260;
const HIT_PX = 8;
const TOUCH_HIT_PX = 18;
const NO_MARKS: MapMarks = { focus: null, cursor: null, ellipse: null, path: null, labels: [] };

export interface MapOptions {
  /** Which layer draws the points; "auto" takes WebGL where there is one. */
  kind?: "auto" | "webgl" | "canvas";
  /** No smooth moves; without it the person's setting decides. */
  reducedMotion?: boolean;
}

export class PointMap implements MapView {
  private readonly cloud = new Cloud();
  private readonly motion = new Motion(this.cloud);
  private layer: PointLayer;
  private readonly top = newCanvas();
  private readonly pointer: Pointer;
  private readonly places = new PicturePlaces(this.cloud);
  private readonly pace = new Pace();
  private readonly observer: ResizeObserver;
  private readonly still = window.matchMedia("(prefers-reduced-motion: reduce)");
  private resolution: MediaQueryList | null = null;
  private theme: Theme = { background: "#ffffff", ink: "#1b1b1b", accent: "#0b5fa5", faint: "#c9c9c9" };
  private marks: MapMarks = NO_MARKS;
  private source: PictureSource | null = null;
  private stopListening: (() => void) | null = null;
  private pictures: Picture[] = [];
  private moveSince: number | null = null;
  private outline: number[] = [];
  private hovered: number | null = null;
  private pointerAt: { x: number; y: number } | null = null;
  private isHoverDue = false;
  private arePointsDue = true;
  private isTopDue = true;
  private request = 0;
  private isDestroyed = false;

  constructor(
    private readonly element: HTMLElement,
    private readonly events: MapEvents,
    private readonly options: MapOptions = {},
  ) {
    const listeners = { restored: () => this.redraw(), gone: () => this.drawWithoutWebGL() };
    this.layer = (options.kind === "canvas" ? null : WebGLPoints.create(this.cloud, listeners)) ?? new CanvasPoints(this.cloud);
    if (getComputedStyle(element).position === "static") element.style.position = "relative";
    element.style.overflow = "hidden";
    element.append(this.layer.canvas, this.top);
    this.pointer = new Pointer(element, {
      drag: (dx, dy) => this.go(dragBy(this.getView(), this.size, dx, dy), false),
      zoom: (x, y, factor) => this.go(this.motion.zoomed(this.getView(), x, y, factor), false),
      zoomClick: (x, y, isOut) => this.go(this.motion.zoomed(this.getView(), x, y, isOut ? 0.5 : 2), true),
      click: (at, keys, isTouch) => this.click(at, keys, isTouch),
      hover: (at) => this.pointAt(at),
      probe: (at, isDone) => this.probe(at, isDone),
      outline: (corners) => this.show(() => (this.outline = corners)),
      region: (corners, mode) => this.region(corners, mode),
    });
    this.observer = new ResizeObserver(() => this.resized());
    this.observer.observe(element);
    this.watchResolution();
    this.resized();
  }

  private get box(): MapBox {
    return this.motion.box;
  }

  private get size(): Size {
    return this.motion.size;
  }

  get kind(): string {
    return this.layer.kind;
  }

  setPoints(xy: Float32Array, animate: boolean): void {
    const moves = this.cloud.setPoints(xy, animate && !this.isStill());
    this.moveSince = moves ? performance.now() : null;
    this.setHovered(null);
    this.motion.followPoints(moves ? MOVE_MS : 0);
    this.redraw();
  }

  setColours(rgba: Uint8Array): void {
    this.cloud.setColours(rgba);
    this.redraw();
  }

  setVisible(mask: Uint8Array | null): void {
    this.cloud.setVisible(mask);
    if (this.hovered !== null && !this.cloud.isShown(this.hovered)) this.setHovered(null);
    this.redraw();
  }

  setSelected(mask: Uint8Array | null): void {
    this.cloud.setSelected(mask);
    this.redraw();
  }

  setHalo(mask: Uint8Array | null): void {
    this.cloud.setHalo(mask);
    this.redraw();
  }

  setPictures(source: PictureSource | null): void {
    this.stopListening?.();
    this.source = source;
    this.stopListening = source?.onLoad(() => this.source === source && this.show()) ?? null;
    this.show();
  }

  setMarks(marks: MapMarks): void {
    this.show(() => (this.marks = marks));
  }

  setTool(tool: MapTool): void {
    this.pointer.setTool(tool);
    this.show(() => (this.outline = []));
  }

  setSelectMode(mode: SelectMode): void {
    this.pointer.selectMode = mode;
  }

  setTheme(theme: Theme): void {
    const { background, ink, accent, faint } = theme;
    this.theme = { background: plainColour(background), ink: plainColour(ink), accent: plainColour(accent), faint: plainColour(faint) };
    this.element.style.backgroundColor = this.theme.background;
    this.redraw();
  }

  getView(): MapBox {
    return { ...this.motion.target() };
  }

  setView(box: MapBox, animate: boolean): void {
    const now = this.getView();
    // A page that hands back the view it was told of moves nothing.
    if (!isUsable(box) || (box.x === now.x && box.y === now.y && box.height === now.height)) return;
    this.go({ x: box.x, y: box.y, height: box.height }, animate, false);
  }

  fit(animate: boolean): void {
    this.go(this.motion.everything(), animate);
    this.motion.isFitted = true;
  }

  zoom(factor: number): void {
    this.go(this.motion.zoomed(this.getView(), this.size.width / 2, this.size.height / 2, factor), true);
  }

  pan(dx: number, dy: number): void {
    this.go(dragBy(this.getView(), this.size, dx, dy), true);
  }

  neighbour(row: number | null, direction: "left" | "right" | "up" | "down"): number | null {
    const middle = this.getView();
    return this.cloud.neighbour(row, direction, middle) ?? (row === null ? this.cloud.index.nearest(middle.x, middle.y, Infinity, this.cloud.isShown) : null);
  }

  within(outline: Float32Array): Uint32Array {
    return this.cloud.index.within(outline, this.cloud.isShown);
  }

  place(row: number): { x: number; y: number } | null {
    if (!(row >= 0 && row < this.cloud.n) || !this.cloud.isShown(row)) return null;
    const at = toScreen(this.box, this.size, this.cloud.x(row), this.cloud.y(row));
    return at.x >= 0 && at.y >= 0 && at.x <= this.size.width && at.y <= this.size.height ? at : null;
  }

  drawnPictures(): Picture[] {
    return this.pictures.map((picture) => ({ ...picture }));
  }

  frameTimes(): number[] {
    return this.pace.times();
  }

  toCanvas(scale: number): HTMLCanvasElement {
    const most = this.layer.largestSide / Math.max(1, this.size.width, this.size.height);
    const frame = { ...this.frame(1), ratio: Math.min(scale, most) };
    const out = document.createElement("canvas");
    sizeCanvas(out, this.size, frame.ratio);
    const context = out.getContext("2d");
    if (!context) return out;
    context.fillStyle = this.theme.background;
    context.fillRect(0, 0, out.width, out.height);
    this.layer.draw(frame);
    context.drawImage(this.layer.canvas, 0, 0);
    context.scale(frame.ratio, frame.ratio);
    drawContent(context, this.scene(frame));
    this.layer.draw(this.frame(1));
    return out;
  }

  destroy(): void {
    this.isDestroyed = true;
    this.stopListening?.();
    cancelAnimationFrame(this.request);
    this.observer.disconnect();
    this.resolution?.removeEventListener("change", this.watchResolution);
    this.pointer.destroy();
    this.layer.destroy();
    this.top.remove();
  }

  private isStill(): boolean {
    return this.options.reducedMotion ?? this.still.matches;
  }

  // What the hand does

  private click(at: { x: number; y: number }, keys: { shift: boolean; alt: boolean }, isTouch: boolean): void {
    const row = this.hit(at, isTouch ? TOUCH_HIT_PX : HIT_PX);
    const place = toWorld(this.box, this.size, at.x, at.y);
    this.events.click(row, place.x, place.y, keys);
  }

  private probe(at: { x: number; y: number }, isDone: boolean): void {
    const place = toWorld(this.box, this.size, at.x, at.y);
    this.events.probe(place.x, place.y, isDone);
  }

  private region(corners: number[], mode: SelectMode): void {
    const outline = new Float32Array(corners.length);
    for (let i = 0; i < corners.length; i += 2) {
      const place = toWorld(this.box, this.size, corners[i], corners[i + 1]);
      outline[i] = place.x;
      outline[i + 1] = place.y;
    }
    this.events.select(this.within(outline), mode, outline);
  }

  private pointAt(at: { x: number; y: number } | null): void {
    this.pointerAt = at;
    this.isHoverDue = at !== null;
    if (at) this.ask();
    else this.setHovered(null);
  }

  private setHovered(row: number | null): void {
    const at = this.pointerAt ?? { x: 0, y: 0 };
    if (row === null && this.hovered === null) return;
    if (row !== this.hovered) this.show(() => (this.hovered = row));
    this.pointer.showTool(row !== null);
    this.events.hover(row, at);
  }

  /** The row at a place of the element: the picture on top there, or else the nearest point within reach. */
  private hit(at: { x: number; y: number }, reach: number): number | null {
    if (this.cloud.progress < 1) return null;
    for (let k = this.pictures.length - 1; k >= 0; k--) {
      const { row, x, y, side } = this.pictures[k];
      if (Math.abs(at.x - x) <= side / 2 && Math.abs(at.y - y) <= side / 2 && this.cloud.isShown(row)) return row;
    }
    const place = toWorld(this.box, this.size, at.x, at.y);
    return this.cloud.index.nearest(place.x, place.y, reach / scaleOf(this.box, this.size), this.cloud.isShown);
  }

  // When to draw

  private go(to: MapBox, isSmooth: boolean, isReported = true): void {
    // A view set while the points fly to their new places comes along with them.
    const ms = this.moveSince === null ? GLIDE_MS : MOVE_MS;
    this.motion.go(to, isSmooth && !this.isStill() ? ms : 0, isReported);
    this.isHoverDue = this.pointerAt !== null;
    this.redraw();
  }

  private resized(): void {
    this.motion.size = { width: this.element.clientWidth, height: this.element.clientHeight };
    this.motion.followPoints(0);
    // Drawn at once: a canvas stretched for one frame would flicker.
    this.arePointsDue = this.isTopDue = true;
    cancelAnimationFrame(this.request);
    this.tick(performance.now());
  }

  private readonly watchResolution = (): void => {
    this.resolution?.removeEventListener("change", this.watchResolution);
    this.resolution = window.matchMedia(`(resolution: ${window.devicePixelRatio}dppx)`);
    this.resolution.addEventListener("change", this.watchResolution);
    this.redraw();
  };

  private drawWithoutWebGL(): void {
    const layer = new CanvasPoints(this.cloud);
    this.layer.canvas.replaceWith(layer.canvas);
    this.layer.destroy();
    this.layer = layer;
    this.redraw();
  }

  private redraw(): void {
    this.arePointsDue = true;
    this.show();
  }

  private show(change?: () => void): void {
    change?.();
    this.isTopDue = true;
    this.ask();
  }

  private ask(): void {
    if (!this.request && !this.isDestroyed) this.request = requestAnimationFrame(this.tick);
  }

  private readonly tick = (now: number): void => {
    this.request = 0;
    if (this.size.width === 0 || this.size.height === 0) return;
    this.pace.frame(now);
    const isMoving = this.advance(now) || this.motion.isReportDue;
    if (isMoving || this.pace.isCatchUpDue(now)) this.arePointsDue = true;
    if (this.arePointsDue) this.drawPoints(now, isMoving);
    if (this.isTopDue) this.drawTop();
    this.report();
    if (isMoving || this.pace.isWatching(now)) this.ask();
  };

  /** Moves points and view on; true while either is moving. */
  private advance(now: number): boolean {
    const isGliding = this.motion.advance(now);
    if (this.moveSince === null) return isGliding;
    const t = (now - this.moveSince) / MOVE_MS;
    this.cloud.setTime(t);
    if (t >= 1) this.moveSince = null;
    return true;
  }

  private drawPoints(now: number, isMoving: boolean): void {
    this.arePointsDue = false;
    this.isTopDue = true;
    const stride = this.layer.kind === "webgl" ? this.pace.start(now, isMoving, this.cloud.n) : 1;
    const before = performance.now();
    this.layer.draw(this.frame(stride));
    this.pace.drawn(performance.now() - before);
  }

  private drawTop(): void {
    this.isTopDue = false;
    const frame = this.frame(1);
    sizeCanvas(this.top, this.size, frame.ratio);
    const context = this.top.getContext("2d");
    if (!context) return;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, this.top.width, this.top.height);
    context.setTransform(frame.ratio, 0, 0, frame.ratio, 0, 0);
    const scene = this.scene(frame);
    this.pictures = drawContent(context, scene);
    drawTools(context, scene, this.pictures);
  }

  private report(): void {
    if (this.isHoverDue && this.pointerAt) {
      this.isHoverDue = false;
      this.setHovered(this.hit(this.pointerAt, HIT_PX));
    }
    if (!this.motion.isReportDue) return;
    this.motion.isReportDue = false;
    this.events.view({ ...this.box });
  }

  private frame(stride: number): Frame {
    // Where rows are left out, those that are drawn make up for them.
    const gap = this.cloud.spacing * scaleOf(this.box, this.size) * Math.sqrt(stride);
    const ratio = window.devicePixelRatio || 1;
    const { box, size, theme } = this;
    return { box, size, ratio, gap, diameter: pointDiameter(gap), opacity: pointOpacity(gap), theme, stride };
  }

  private scene(frame: Frame): Scene {
    const { cloud, marks, source, outline, hovered: hover } = this;
    return { frame, cloud, marks, source, outline, hover, pictures: source && cloud.progress >= 1 ? this.picturesInView() : [] };
  }

  private picturesInView(): Picture[] {
    const { rows, side } = this.places.inView(this.box, this.size);
    return rows.map((row) => ({ row, side, ...toScreen(this.box, this.size, this.cloud.x(row), this.cloud.y(row)) }));
  }
}
