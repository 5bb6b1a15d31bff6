/** What the hand means: presses, moves and wheels as events on an element that stands in for the one of the page. */
import { beforeEach, describe, expect, it } from "vitest";
import type { Gestures } from "../src/map/pointer";
import { Pointer } from "../src/map/pointer";

class Surface extends EventTarget {
  style = { touchAction: "", userSelect: "", cursor: "" };
  clientLeft = 1;
  clientTop = 1;
  setPointerCapture(): void {}
  getBoundingClientRect(): { left: number; top: number } {
    return { left: 100, top: 50 };
  }
}

type Call = [string, ...unknown[]];
let calls: Call[];
let surface: Surface;
let pointer: Pointer;

beforeEach(() => {
  calls = [];
  surface = new Surface();
  const note =
    (name: string) =>
    (...args: unknown[]): void =>
      void calls.push([name, ...args]);
  const names = ["drag", "zoom", "zoomClick", "click", "hover", "probe", "outline", "region"];
  const gestures = Object.fromEntries(names.map((name) => [name, note(name)])) as unknown as Gestures;
  pointer = new Pointer(surface as unknown as HTMLElement, gestures);
});

/** Sends an event at (x, y) of the element. */
function send(type: string, x: number, y: number, more: Record<string, unknown> = {}): Event {
  const plain = { pointerId: 1, pointerType: "mouse", button: 0, buttons: 1, shiftKey: false, altKey: false, ctrlKey: false };
  const event = Object.assign(new Event(type, { cancelable: true }), { clientX: x + 101, clientY: y + 51, ...plain, ...more });
  surface.dispatchEvent(event);
  return event;
}

function drag(corners: [number, number][], more: Record<string, unknown> = {}): void {
  send("pointerdown", ...corners[0], more);
  for (const corner of corners.slice(1)) send("pointermove", ...corner, more);
  send("pointerup", ...corners[corners.length - 1], more);
}

const named = (name: string): Call[] => calls.filter((call) => call[0] === name);

describe("pointer", () => {
  it("clicks when it moves 4 px or less, with the keys that are held", () => {
    drag([[10, 20], [13, 22]], { shiftKey: true });
    expect(named("click")).toEqual([["click", { x: 13, y: 22 }, { shift: true, alt: false }, false]]);
    expect(named("drag")).toEqual([]);
  });

  it("drags beyond that, in every tool with the middle button", () => {
    drag([[10, 20], [16, 20], [30, 25]]);
    pointer.setTool("lasso");
    drag([[10, 20], [16, 20]], { button: 1, buttons: 4 });
    expect(named("drag")).toEqual([["drag", 6, 0], ["drag", 14, 5], ["drag", 6, 0]]);
    expect(named("click")).toEqual([]);
  });

  it("takes nothing from other buttons", () => {
    drag([[10, 20], [90, 20]], { button: 2, buttons: 2 });
    expect(calls.filter(([name]) => name !== "hover")).toEqual([]);
  });

  it("draws an outline with the lasso, and meets the selection as keys or page say", () => {
    pointer.setTool("lasso");
    const corners: [number, number][] = [[0, 0], [50, 0], [50, 50], [50.5, 50], [0, 50]];
    drag(corners);
    pointer.selectMode = "add";
    drag(corners, { altKey: true });
    drag(corners, { shiftKey: true });
    drag(corners);
    expect(named("region")[0]).toEqual(["region", [0, 0, 50, 0, 50, 50, 0, 50], "replace"]);
    expect(named("region").map((call) => call[2])).toEqual(["replace", "subtract", "add", "add"]);
    expect(named("outline").at(-1)).toEqual(["outline", []]);
  });

  it("draws a box from corner to corner", () => {
    pointer.setTool("box");
    drag([[10, 10], [30, 12], [40, 60]]);
    expect(named("region")).toEqual([["region", [10, 10, 40, 10, 40, 60, 10, 60], "replace"]]);
  });

  it("gives an outline up when the system takes the pointer, or the tool changes", () => {
    pointer.setTool("lasso");
    for (const end of [() => send("pointercancel", 50, 50), () => pointer.setTool("pan")]) {
      send("pointerdown", 0, 0);
      send("pointermove", 50, 0);
      send("pointermove", 50, 50);
      end();
      send("pointerup", 0, 50);
      expect(named("region")).toEqual([]);
      expect(named("outline").at(-1)).toEqual(["outline", []]);
    }
  });

  it("probes from the press on, and says when it is done", () => {
    pointer.setTool("probe");
    drag([[5, 5], [6, 5]]);
    expect(named("probe")).toEqual([["probe", { x: 5, y: 5 }, false], ["probe", { x: 6, y: 5 }, false], ["probe", { x: 6, y: 5 }, true]]);
    expect(named("click")).toEqual([]);
  });

  it("zooms with two fingers about the place between them, and ends without a click", () => {
    pointer.setTool("lasso");
    const finger = (pointerId: number): Record<string, unknown> => ({ pointerId, pointerType: "touch" });
    send("pointerdown", 100, 100, finger(1));
    send("pointerdown", 200, 100, finger(2));
    send("pointermove", 300, 100, finger(2));
    expect(named("drag")).toEqual([["drag", 50, 0]]);
    expect(named("zoom")).toEqual([["zoom", 200, 100, 2]]);
    send("pointerup", 300, 100, finger(2));
    send("pointermove", 130, 100, finger(1));
    send("pointerup", 130, 100, finger(1));
    expect(named("click").concat(named("region"), named("outline"))).toEqual([]);
    drag([[100, 100], [101, 100]], finger(3));
    expect(named("click")[0][3]).toBe(true);
  });

  it("zooms with the wheel at the pointer and keeps the page from scrolling", () => {
    expect(send("wheel", 30, 40, { deltaY: -100, deltaMode: 0 }).defaultPrevented).toBe(true);
    send("wheel", 30, 40, { deltaY: 3, deltaMode: 1 });
    send("wheel", 30, 40, { deltaY: -1e6, deltaMode: 0 });
    const factors = named("zoom").map((call) => call[3] as number);
    expect(factors[0]).toBeCloseTo(Math.exp(0.2), 12);
    expect(factors[1]).toBeCloseTo(Math.exp(-0.096), 12);
    expect(factors[2]).toBeCloseTo(Math.E, 12);
    expect(named("zoom")[0].slice(1, 3)).toEqual([30, 40]);
  });

  it("zooms in on a double click and out with shift, but not while probing", () => {
    send("dblclick", 7, 8);
    send("dblclick", 7, 8, { shiftKey: true });
    pointer.setTool("probe");
    send("dblclick", 7, 8);
    expect(named("zoomClick")).toEqual([["zoomClick", 7, 8, false], ["zoomClick", 7, 8, true]]);
  });

  it("hovers with the mouse only, and not while a button is held", () => {
    send("pointermove", 3, 4, { buttons: 0 });
    send("pointermove", 3, 4, { pointerType: "touch" });
    send("pointerleave", 0, 0);
    expect(named("hover")).toEqual([["hover", { x: 3, y: 4 }], ["hover", null]]);
  });

  it("lets go of the element", () => {
    pointer.destroy();
    drag([[0, 0], [90, 0]]);
    expect(calls).toEqual([]);
    expect(surface.style.cursor).toBe("");
  });
});
