import { expect, test } from "vitest";
import { escapedXml, brokenAtSpaces, mapSvg, type MapFigure } from "../src/save/figureSvg";
import { HOSTILE } from "./savePlane";

function figure(change: Partial<MapFigure> = {}): MapFigure {
  const n = 50;
  return {
    xy: Float32Array.from({ length: 2 * n }, (_, i) => Math.sin(i * 7.1) * (i % 2 ? 2 : 3)),
    rgba: new Uint8Array(4 * n).fill(120),
    visible: null,
    selected: null,
    box: null,
    aspect: 1,
    titles: [HOSTILE, "PC2 (10 %)"],
    unit: "standard deviation of the prior",
    legend: { kind: "categories", entries: [{ colour: [230, 159, 0], text: HOSTILE, n: 50, codes: [0] }] },
    legendTitle: HOSTILE,
    legendUnit: "",
    title: HOSTILE,
    caption: "The first two axes keep 24 % of the variance.",
    origin: "atlas 0123456789ab",
    ...change,
  };
}

const count = (svg: string, what: RegExp) => [...svg.matchAll(what)].length;

test("text from the data stays text", () => {
  const svg = mapSvg(figure());
  expect(svg).not.toContain("<script");
  expect(escapedXml("a\u0000b\uD800<&>'\"")).toBe("a\uFFFDb\uFFFD&lt;&amp;&gt;&#39;&quot;");
});

test("every point is a circle, 180 mm wide, with counts and origin", () => {
  const svg = mapSvg(figure());
  expect(count(svg.split("<g clip-path")[1].split("</g>")[0], /<circle /g)).toBe(50);
  expect(svg).toContain('width="180mm"');
  expect(svg).toContain("50 images. The first two axes keep");
  expect(svg).toContain("atlas 0123456789ab");
  expect(svg).toMatch(/\d standard deviations? of the prior/);
});

test("hidden points are left out, selected ones outlined", () => {
  const visible = new Uint8Array(50).fill(1, 10);
  const selected = new Uint8Array(50).fill(1, 40);
  const svg = mapSvg(figure({ visible, selected }));
  expect(count(svg, /stroke-width="0.9"/g)).toBe(10);
  expect(svg).toContain("50 images, 40 pass the filters, 10 selected (outlined).");
});

test("a map without unit says so", () => {
  const svg = mapSvg(figure({ unit: "" }));
  expect(svg).toContain("Distances on this map have no unit.");
  expect(svg).not.toContain("standard deviation");
});

test("a view shows what is in it", () => {
  const svg = mapSvg(figure({ box: { x: 0, y: 0, height: 1 }, aspect: 1 }));
  const shown = count(svg.split("<g clip-path")[1].split("</g>")[0], /<circle /g);
  expect(shown).toBeLessThan(50);
  expect(svg).toContain(`${shown} in view`);
});

test("numbers get a colour bar with ticks and unit", () => {
  const svg = mapSvg(figure({ legend: { kind: "range", low: 0, high: 10 }, legendUnit: "nats" }));
  for (const mark of ["0 nats", "5 nats", "10 nats"]) expect(svg).toContain(`>${mark}<`);
});

test("an empty map is still a figure", () => {
  expect(mapSvg(figure({ visible: new Uint8Array(50) }))).toContain("0 pass the filters");
});

test("long words are broken into lines", () => {
  expect(brokenAtSpaces("one two three", 8)).toEqual(["one two", "three"]);
  expect(brokenAtSpaces("x".repeat(30), 10)[0]).toHaveLength(10);
});
