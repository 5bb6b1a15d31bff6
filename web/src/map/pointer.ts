/** Mouse, pen and touch on the map, turned into what is meant: drag, zoom, click, outline, probe, hover. */
import type { MapTool, SelectMode } from "./MapView";

const CLICK_PX = 4;
const CORNER_PX = 2;

interface At {
  x: number;
  y: number;
}

export interface Keys {
  shift: boolean;
  alt: boolean;
}

export interface Gestures {
  drag(dx: number, dy: number): void;
  zoom(x: number, y: number, factor: number): void;
  zoomClick(x: number, y: number, isOut: boolean): void;
  click(at: At, keys: Keys, isTouch: boolean): void;
  hover(at: At | null): void;
  probe(at: At, isDone: boolean): void;
  /** The outline so far [CSS px]; empty when it is given up. */
  outline(corners: number[]): void;
  region(corners: number[], mode: SelectMode): void;
}

type Doing = "nothing" | "pressed" | "panning" | "drawing" | "probing" | "pinching";

export class Pointer {
  tool: MapTool = "pan";
  selectMode: SelectMode = "replace";
  private doing: Doing = "nothing";
  private readonly down = new Map<number, At>();
  private start: At = { x: 0, y: 0 };
  private corners: number[] = [];
  private readonly stop = new AbortController();

  constructor(
    private readonly element: HTMLElement,
    private readonly to: Gestures,
  ) {
    const on = <K extends keyof HTMLElementEventMap>(type: K, listener: (event: HTMLElementEventMap[K]) => void, passive = true): void =>
      element.addEventListener(type, listener, { signal: this.stop.signal, passive });
    on("pointerdown", (event) => this.press(event));
    on("pointermove", (event) => this.move(event));
    on("pointerup", (event) => this.release(event));
    on("pointercancel", (event) => this.giveUp(event));
    on("lostpointercapture", (event) => this.down.has(event.pointerId) && this.giveUp(event));
    on("pointerleave", () => this.doing === "nothing" && to.hover(null));
    on("dblclick", (event) => this.tool !== "probe" && to.zoomClick(...pair(this.at(event)), event.shiftKey || event.altKey));
    on("wheel", (event) => this.wheel(event), false);
    // A press with the middle button would start the scrolling of the browser.
    on("mousedown", (event) => event.button === 1 && event.preventDefault(), false);
    element.style.touchAction = "none";
    element.style.userSelect = "none";
    this.showTool();
  }

  setTool(tool: MapTool): void {
    this.tool = tool;
    if (this.doing === "drawing") this.endDrawing();
    if (this.doing !== "pinching") this.doing = "nothing";
    this.showTool();
  }

  /** The shape of the mouse pointer: what a press would do. */
  showTool(isOverPoint = false): void {
    const shape = this.doing === "panning" ? "grabbing" : isOverPoint && this.tool !== "probe" ? "pointer" : this.tool === "pan" ? "grab" : "crosshair";
    if (this.element.style.cursor !== shape) this.element.style.cursor = shape;
  }

  private at(event: { clientX: number; clientY: number }): At {
    const frame = this.element.getBoundingClientRect();
    return { x: event.clientX - frame.left - this.element.clientLeft, y: event.clientY - frame.top - this.element.clientTop };
  }

  private press(event: PointerEvent): void {
    if (event.button > 1) return;
    const at = this.at(event);
    this.element.setPointerCapture(event.pointerId);
    this.down.set(event.pointerId, at);
    this.to.hover(null);
    if (this.down.size > 1) {
      if (this.doing === "drawing") this.endDrawing();
      this.doing = "pinching";
      return;
    }
    this.start = at;
    this.doing = "pressed";
    if (this.tool !== "probe" || event.button === 1) return;
    this.doing = "probing";
    this.to.probe(at, false);
  }

  private move(event: PointerEvent): void {
    const at = this.at(event);
    const before = this.down.get(event.pointerId);
    if (!before) {
      if (this.doing === "nothing" && event.pointerType !== "touch") this.to.hover(at);
      return;
    }
    if (this.doing === "pinching") {
      this.pinch(event.pointerId, before, at);
      return;
    }
    this.down.set(event.pointerId, at);
    if (this.doing === "pressed" && Math.hypot(at.x - this.start.x, at.y - this.start.y) > CLICK_PX) this.startDrag(event);
    if (this.doing === "panning") this.to.drag(at.x - before.x, at.y - before.y);
    if (this.doing === "probing") this.to.probe(at, false);
    if (this.doing === "drawing") this.draw(at);
  }

  private startDrag(event: PointerEvent): void {
    const isPan = this.tool === "pan" || (event.buttons & 4) !== 0;
    this.doing = isPan ? "panning" : "drawing";
    this.corners = [this.start.x, this.start.y];
    this.showTool();
  }

  private draw(at: At): void {
    const { corners, start } = this;
    if (this.tool === "box") {
      this.corners = [start.x, start.y, at.x, start.y, at.x, at.y, start.x, at.y];
    } else {
      const last = corners.length - 2;
      if (Math.hypot(at.x - corners[last], at.y - corners[last + 1]) < CORNER_PX) return;
      corners.push(at.x, at.y);
    }
    this.to.outline(this.corners);
  }

  /** Two fingers: the place between them is held, the distance between them zooms. More fingers do nothing. */
  private pinch(id: number, before: At, at: At): void {
    const other = [...this.down].find(([key]) => key !== id)?.[1];
    this.down.set(id, at);
    if (!other || this.down.size !== 2) return;
    const [apartBefore, apart] = [before, at].map((finger) => Math.max(10, Math.hypot(finger.x - other.x, finger.y - other.y)));
    this.to.drag((at.x - before.x) / 2, (at.y - before.y) / 2);
    this.to.zoom((at.x + other.x) / 2, (at.y + other.y) / 2, apart / apartBefore);
  }

  private release(event: PointerEvent): void {
    if (!this.down.delete(event.pointerId)) return;
    if (this.doing === "pinching") {
      if (this.down.size === 0) this.doing = "nothing";
      return;
    }
    const at = this.at(event);
    const doing = this.doing;
    this.doing = "nothing";
    this.showTool();
    if (doing === "pressed" && event.button === 0) this.to.click(at, { shift: event.shiftKey, alt: event.altKey }, event.pointerType === "touch");
    if (doing === "probing") this.to.probe(at, true);
    if (doing !== "drawing") return;
    const corners = this.corners;
    this.endDrawing();
    if (corners.length >= 6) this.to.region(corners, event.shiftKey ? "add" : event.altKey ? "subtract" : this.selectMode);
  }

  private giveUp(event: PointerEvent): void {
    if (!this.down.delete(event.pointerId)) return;
    if (this.doing === "drawing") this.endDrawing();
    if (this.doing === "probing") this.to.probe(this.at(event), true);
    if (this.down.size === 0) this.doing = "nothing";
    this.showTool();
  }

  private endDrawing(): void {
    this.corners = [];
    this.doing = "nothing";
    this.to.outline([]);
  }

  /** Wheels count in pixels, lines or pages; a pinch on a trackpad comes as small steps with ctrl. */
  private wheel(event: WheelEvent): void {
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === 1 ? 16 : event.deltaMode === 2 ? 400 : 1);
    const step = Math.max(-1, Math.min(1, -pixels * (event.ctrlKey ? 0.01 : 0.002)));
    this.to.zoom(...pair(this.at(event)), Math.exp(step));
  }

  destroy(): void {
    this.stop.abort();
    this.element.style.cursor = "";
  }
}

function pair(at: At): [number, number] {
  return [at.x, at.y];
}
