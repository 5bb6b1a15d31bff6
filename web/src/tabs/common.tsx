/** What the tabs of text and tables share: their frame, facts, words for sizes, and looking only when in view. */

import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import type { App } from "../app";
import { useApp } from "../app";
import type { Model } from "../atlas";
import type { State } from "../store";

export function TabPage({ title, aside, children }: { title: string; aside?: ComponentChildren; children: ComponentChildren }) {
  return (
    <div class="tab-page">
      <div class="tab-body">
        <header class="tab-head">
          <h2>{title}</h2>
          {aside}
        </header>
        {children}
      </div>
    </div>
  );
}

export function Section({ title, children, note }: { title: string; note?: ComponentChildren; children: ComponentChildren }) {
  return (
    <section class="tab-section" aria-label={title}>
      <h3 class="section-title">{title}</h3>
      {note !== undefined && <p class="soft prose">{note}</p>}
      {children}
    </section>
  );
}

export function Loading({ title }: { title: string }) {
  return (
    <TabPage title={title}>
      <p class="soft" role="status">
        Reading the model …
      </p>
    </TabPage>
  );
}

/** `wide` takes a line of its own. */
export type Fact = readonly [term: string, value: ComponentChildren, width?: "wide"];

export function Facts({ facts }: { facts: readonly Fact[] }) {
  return (
    <dl class="fact-grid">
      {facts.map(([term, value, width]) => (
        <div key={term} class={width}>
          <dt>{term}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** A wide table that scrolls by itself and can be scrolled with the keyboard. */
export function WideTable({ label, children }: { label: string; children: ComponentChildren }) {
  return (
    <div class="wide-table" tabIndex={0} role="region" aria-label={label}>
      {children}
    </div>
  );
}

/** Whether the element has come into view at least once. */
export function useSeen<T extends Element>(): [RefObject<T | null>, boolean] {
  const element = useRef<T>(null);
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    if (element.current === null || isSeen) return;
    const observer = new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && setSeen(true), { rootMargin: "200px" });
    observer.observe(element.current);
    return () => observer.disconnect();
  }, [isSeen]);
  return [element, isSeen];
}

/** The title of a column for people; its name when the atlas does not hold it. */
export function useColumnTitle(model: Model | null): (name: string) => string {
  const { atlas } = useApp();
  return (name) => atlas.column(name, model)?.info.title || name;
}

/** Go to the map with a change of the state; the keyboard's focus goes along, to `target` or to the whole tab. */
export function explore(app: App, change: Partial<State> = {}, target = "main"): void {
  app.store.set({ ...change, tab: "explore" });
  const focus = () => (app.element.querySelector<HTMLElement>(target) ?? app.element.querySelector<HTMLElement>("main"))?.focus();
  requestAnimationFrame(() => requestAnimationFrame(focus));
}

export const percent = (share: number, digits = 0): string => `${(100 * share).toFixed(digits)} %`;

/** Whole numbers with thousands set apart. */
export function countText(value: number): string {
  return Math.round(value).toLocaleString("en-GB").replaceAll(",", "\u202f").replace("-", "−");
}

export function imageCount(n: number): string {
  return `${countText(n)} ${n === 1 ? "image" : "images"}`;
}

export function bytesText(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  if (bytes < 1e6) return `${(bytes / 1e3).toFixed(bytes < 1e4 ? 1 : 0)} kB`;
  return bytes < 1e9 ? `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB` : `${(bytes / 1e9).toFixed(1)} GB`;
}

/** A fixed number of digits with a true minus sign; "–" where it is missing. */
export function fixed(value: number | null | undefined, digits = 2): string {
  return value === null || value === undefined || !Number.isFinite(value) ? "–" : value.toFixed(digits).replace("-", "−");
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Any setting as short text. */
export function settingText(value: unknown): string {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value === "" ? "–" : value;
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(settingText).join(", ");
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
