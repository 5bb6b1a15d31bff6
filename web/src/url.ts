/** The state as a link: `#s=1.HASH.TEXT`, where HASH names the atlas and TEXT is base64url of deflated JSON. */

import type { State } from "./store";
import { INITIAL, TABS } from "./store";
import { MOST_DRAWS } from "./chance";
import { fromBase64 } from "./source";

const VERSION = "1";
/** Above this a link is too long for chat programs and browsers; it then leaves selections out. */
const LONGEST = 4096;

export interface LinkedState {
  atlasHash: string;
  state: Partial<State>;
}

export async function toHash(state: State, atlasHash: string): Promise<{ hash: string; isWhole: boolean }> {
  const whole = await pack(state, atlasHash);
  if (whole.length <= LONGEST) return { hash: whole, isWhole: true };
  const { selection: _selection, regions: _regions, ...rest } = state;
  return { hash: await pack(rest, atlasHash), isWhole: false };
}

async function pack(state: Partial<State>, atlasHash: string): Promise<string> {
  const changed = Object.entries(state).filter(
    ([key, value]) => JSON.stringify(value) !== JSON.stringify(INITIAL[key as keyof State]),
  );
  const text = JSON.stringify(Object.fromEntries(changed), compact);
  const bytes = await through(new TextEncoder().encode(text), new CompressionStream("deflate-raw"));
  return `#s=${VERSION}.${atlasHash.slice(0, 12)}.${toBase64Url(bytes)}`;
}

/** Rows as differences, which are short; numbers with nine digits, which name each float32. */
function compact(key: string, value: unknown): unknown {
  if (key === "rows" && Array.isArray(value)) {
    return (value as number[]).map((row, i) => (i ? row - (value as number[])[i - 1] : row));
  }
  return typeof value === "number" && !Number.isInteger(value) ? Number(value.toPrecision(9)) : value;
}

function expand(key: string, value: unknown): unknown {
  if (key !== "rows" || !Array.isArray(value)) return value;
  let row = 0;
  return (value as number[]).map((step) => (row += step));
}

/** The state that a hash holds; null when there is none or it makes no sense. */
export async function fromHash(hash: string): Promise<LinkedState | null> {
  const found = /^#s=1\.([0-9a-f]{1,64})\.([A-Za-z0-9_-]{1,20000})$/.exec(hash);
  if (found === null) return null;
  try {
    const bytes = fromBase64(found[2].replaceAll("-", "+").replaceAll("_", "/"));
    const plain = await through(bytes, new DecompressionStream("deflate-raw"));
    const state: unknown = JSON.parse(new TextDecoder().decode(plain), expand);
    return { atlasHash: found[1], state: checked(state) };
  } catch {
    return null;
  }
}

async function through(bytes: Uint8Array<ArrayBuffer>, stream: CompressionStream | DecompressionStream): Promise<Uint8Array<ArrayBuffer>> {
  const piped = new Blob([bytes]).stream().pipeThrough(stream as ReadableWritablePair<Uint8Array<ArrayBuffer>, BufferSource>);
  return new Uint8Array(await new Response(piped).arrayBuffer());
}

function toBase64Url(bytes: Uint8Array): string {
  let binary = "";
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}

/** Only what has the shape of a state: a link comes from anywhere. */
function checked(value: unknown): Partial<State> {
  if (typeof value !== "object" || value === null) return {};
  const given = value as Record<string, unknown>;
  const kept: Record<string, unknown> = {};
  for (const [key, pattern] of Object.entries(INITIAL)) {
    if (key in given && isLike(given[key], pattern, key)) kept[key] = given[key];
  }
  return kept as Partial<State>;
}

const NULLABLE: Record<string, (value: unknown) => boolean> = {
  colourRange: (value) => isNumbers(value) && value.length === 2,
  view: (value) => isRecord(value) && ["x", "y", "height"].every((key) => Number.isFinite(value[key])) && Number(value.height) > 0,
  focus: (value) => isRow(value),
  selection: (value) => isSelection(value),
  z: (value) => isNumbers(value),
  direction: (value) => isRecord(value) && ["column", "from", "to"].every((key) => typeof value[key] === "string"),
};

function isLike(value: unknown, pattern: unknown, key: string): boolean {
  if (key in NULLABLE) return value === null || NULLABLE[key](value);
  if (key === "tab") return TABS.includes(value as State["tab"]);
  if (key === "theme") return ["system", "light", "dark"].includes(value as string);
  if (key === "tool") return ["pan", "lasso", "box", "probe"].includes(value as string);
  if (key === "steer") return ["z", "pc", "class"].includes(value as string);
  if (key === "draw") return isRow(value) && value >= 1 && value <= MOST_DRAWS;
  if (key === "axes") return Array.isArray(value) && value.length === 2 && value.every(isRow);
  if (key === "locked") return Array.isArray(value) && value.every(isRow);
  if (key === "regions") return Array.isArray(value) && value.every((item) => isSelection(item) && typeof (item as unknown as { name: unknown }).name === "string");
  if (key === "filters") return Array.isArray(value) && value.every(isFilter);
  if (key === "origin") return isRecord(value) && isOrigin(value);
  if (key === "path") return isPath(value);
  if (key === "palette") return isRecord(value) && Object.values(value).every((own) => isRecord(own) && Object.values(own).every(isColour));
  return typeof value === typeof pattern;
}

const isRow = (value: unknown): value is number => Number.isInteger(value) && (value as number) >= 0;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const isNumbers = (value: unknown): value is number[] => Array.isArray(value) && value.every((number) => Number.isFinite(number) && Math.abs(number) < 1e6);
const isColour = (value: unknown): boolean => typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value);
const isTexts = (value: unknown): boolean => Array.isArray(value) && value.every((text) => typeof text === "string");

function isSelection(value: unknown): boolean {
  return isRecord(value) && Array.isArray(value.rows) && value.rows.every(isRow) && Array.isArray(value.recipe) && value.recipe.every((step) => isRecord(step) && typeof step.kind === "string");
}

function isFilter(value: unknown): boolean {
  if (!isRecord(value) || typeof value.column !== "string") return false;
  return value.kind === "range" ? Number.isFinite(value.low) && Number.isFinite(value.high) : value.kind === "values" && isTexts(value.values);
}

function isOrigin(value: Record<string, unknown>): boolean {
  if (value.kind === "image") return isRow(value.row);
  if (value.kind === "blend") return Array.isArray(value.rows) && value.rows.every(isRow) && typeof value.map === "string";
  if (value.kind === "sliders") return value.from === null || (isRecord(value.from) && value.from.kind !== "sliders" && isOrigin(value.from));
  return ["mean", "pca", "path", "dropped"].includes(value.kind as string);
}

function isPath(value: unknown): boolean {
  if (!isRecord(value)) return false;
  const isEnd = (end: unknown) => end === null || isRow(end);
  const frames = value.frames as number;
  return (
    isEnd(value.a) && isEnd(value.b) && ["straight", "spherical", "graph"].includes(value.kind as string) &&
    Number.isInteger(frames) && frames >= 1 && frames <= 60 && typeof value.walk === "string"
  );
}
