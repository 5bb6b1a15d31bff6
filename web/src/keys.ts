/** Keys for everything; off while typing, and never the only way (WCAG 2.1.4: they act only without modifiers). */

import { useEffect } from "preact/hooks";
import type { App } from "./app";
import { useApp } from "./app";
import { clearSelection, inspect } from "./act";
import type { Theme } from "./store";
import { TABS } from "./store";

export interface KeyInfo {
  keys: string;
  does: string;
}

export const KEYS: { title: string; keys: KeyInfo[] }[] = [
  {
    title: "Everywhere",
    keys: [
      { keys: "1 … 6", does: "tabs" },
      { keys: "/", does: "search" },
      { keys: "Ctrl+Z, Ctrl+Shift+Z", does: "undo, redo" },
      { keys: "C", does: "copy a link to this view" },
      { keys: "D", does: "light, dark, as the system" },
      { keys: "?", does: "this sheet" },
    ],
  },
  {
    title: "Map (click it or tab to it first for the arrows)",
    keys: [
      { keys: "← ↑ → ↓", does: "to the next image in that direction" },
      { keys: "Shift + arrows", does: "move the view" },
      { keys: "+ and −, 0", does: "zoom, fit everything" },
      { keys: "Enter", does: "inspect the image, or the one nearest to the middle" },
      { keys: "V, L, B, G", does: "tools: pan, lasso, box, probe" },
      { keys: "A, X", does: "add to, take from the selection with the next outline" },
      { keys: "N", does: "select the image in focus and its ten neighbours" },
      { keys: "Esc", does: "clear the selection" },
    ],
  },
  {
    title: "Steering and paths",
    keys: [
      { keys: "[ and ]", does: "previous, next slider" },
      { keys: "↑ and ↓ on a slider", does: "a small step; PageUp and PageDown a large one" },
      { keys: "R", does: "back to where the sliders started" },
      { keys: "P", does: "put the image in focus on the path: A, then B" },
      { keys: "Space on Play", does: "play the path" },
    ],
  },
];

export function useKeys({ openHelp, isHelpOpen }: { openHelp: () => void; isHelpOpen: boolean }): void {
  const app = useApp();
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (isHelpOpen || event.defaultPrevented || isTyping(event)) return;
      if (undoes(app, event)) return;
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "?") openHelp();
      else if (!actOn(app, event)) return;
      event.preventDefault();
    };
    // Inside another page, such as a notebook, only keys pressed in here count.
    const target: EventTarget = isInside(app) ? app.element : app.element.ownerDocument;
    const listener = (event: Event) => {
      onKey(event as KeyboardEvent);
      if (isInside(app)) requestAnimationFrame(() => keepFocus(app));
    };
    target.addEventListener("keydown", listener);
    return () => target.removeEventListener("keydown", listener);
  }, [app, isHelpOpen, openHelp]);
}

function isInside(app: App): boolean {
  return app.element.getRootNode() instanceof ShadowRoot;
}

/** What had the focus may be gone after a key: the page takes it, so that the next key does not go to the page around. */
function keepFocus(app: App): void {
  const { activeElement } = app.element.ownerDocument;
  if (app.element.isConnected && (activeElement === null || activeElement === app.element.ownerDocument.body)) {
    app.element.focus({ preventScroll: true });
  }
}

function isTyping(event: KeyboardEvent): boolean {
  const target = event.composedPath()[0];
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["range", "checkbox", "radio", "button"].includes(target.type);
  return target instanceof HTMLTextAreaElement || target instanceof HTMLSelectElement || target.isContentEditable;
}

function undoes(app: App, event: KeyboardEvent): boolean {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return false;
  event.preventDefault();
  if (event.shiftKey) app.store.redo();
  else app.store.undo();
  return true;
}

const THEMES: Theme[] = ["light", "dark", "system"];

/** The keys that change the state or the focus; false for any other key. */
function actOn(app: App, event: KeyboardEvent): boolean {
  const { store, element } = app;
  const state = store.get();
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (/^[1-6]$/.test(key)) store.set({ tab: TABS[Number(key) - 1] });
  else if (key === "/") element.querySelector<HTMLElement>("[data-search]")?.focus();
  else if (key === "c") element.querySelector<HTMLElement>("[data-copy-link]")?.click();
  else if (key === "d") store.set({ theme: THEMES[(THEMES.indexOf(state.theme) + 1) % THEMES.length] });
  else if (key === "Escape") clearSelection(app);
  else if (key === "[" || key === "]") moveBetweenSliders(app, key === "]" ? 1 : -1);
  else if (key === "r") element.querySelector<HTMLElement>("[data-reset-steer]")?.click();
  else if (key === "p") putOnPath(app);
  else return actOnMap(app, key, event.shiftKey);
  return true;
}

function actOnMap(app: App, key: string, isShift: boolean): boolean {
  const map = app.element.querySelector<HTMLElement>("[data-map]");
  if (map === null) return false;
  const isOnMap = map.getRootNode() instanceof ShadowRoot ? (map.getRootNode() as ShadowRoot).activeElement === map : document.activeElement === map;
  if (key.startsWith("Arrow") && !isOnMap) return false;
  if (key === "Enter" && !isOnMap) return false;
  return !map.dispatchEvent(new CustomEvent("zatlas-key", { detail: { key, isShift }, cancelable: true }));
}

function moveBetweenSliders(app: App, step: number): void {
  const sliders = [...app.element.querySelectorAll<HTMLInputElement>("[data-slider]")].filter((slider) => slider.offsetParent !== null);
  if (sliders.length === 0) return;
  const root = app.element.getRootNode() as Document | ShadowRoot;
  const at = sliders.findIndex((slider) => slider === root.activeElement);
  sliders[at < 0 ? 0 : (at + step + sliders.length) % sliders.length].focus();
}

function putOnPath(app: App): void {
  const { focus, path } = app.store.get();
  if (focus === null) return;
  const isSecond = path.a !== null && path.b === null && path.a !== focus;
  app.store.set({ path: { ...path, walk: "", ...(isSecond ? { b: focus } : { a: focus, b: null }) } });
  app.announce(isSecond ? "end B of the path" : "start A of the path");
  inspect(app, focus);
}
