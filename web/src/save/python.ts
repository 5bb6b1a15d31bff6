/** Python that repeats what was done on the page, with zatlas alone. */

import type { App } from "../app";
import type { PathState, Selection, Step } from "../store";
import { drawsTexture } from "../levels";
import { corrections } from "../recipe";

type Context = Pick<App, "atlas" | "loaded" | "store" | "positions">;

/** Columns whose name in the atlas is the name on the page; a label stands there under its title. */
const OWN_COLUMNS = new Set([
  "image", "image_row", "group", "split", "y_px", "x_px", "size_px", "distortion_nats", "rate_nats", "local_rate_nats", "psnr_db",
  "cluster",
]);
const NAMES_PER_LINE = 12;
const LINE = 110;
/** Up to this share of wrong rows a recipe is worth repairing. */
const MOST_REPAIRS = 0.2;

/** A Python string literal of any text, in ASCII. */
export function pythonString(text: string): string {
  let out = "";
  for (const character of text) {
    const code = character.codePointAt(0) ?? 0;
    if (character === '"' || character === "\\") out += `\\${character}`;
    else if (code >= 32 && code < 127) out += character;
    else if (code < 256) out += `\\x${hex(code, 2)}`;
    else if (code < 65536) out += `\\u${hex(code, 4)}`;
    else out += `\\U${hex(code, 8)}`;
  }
  return `"${out}"`;
}

function hex(code: number, digits: number): string {
  return code.toString(16).padStart(digits, "0");
}

function pythonNumber(value: number): string {
  if (value === Infinity) return "np.inf";
  if (value === -Infinity) return "-np.inf";
  return Number.isNaN(value) ? "np.nan" : String(value);
}

/** Items in brackets, broken into lines of `perLine`. */
function pythonList(items: readonly string[], perLine = NAMES_PER_LINE): string {
  const whole = `[${items.join(", ")}]`;
  if (whole.length <= LINE - 20) return whole;
  const lines: string[] = [];
  for (let i = 0; i < items.length; i += perLine) lines.push(`    ${items.slice(i, i + perLine).join(", ")},`);
  return `[\n${lines.join("\n")}\n]`;
}

const intList = (rows: readonly number[]): string => pythonList(rows.map(String), 16);

/** Text for a comment: one line, nothing that ends it. */
function comment(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Zl}\p{Zp}]/gu, " ").slice(0, 120);
}

function head(app: Context): string[] {
  const { manifest } = app.atlas;
  return [
    `# ${comment(manifest.title || "Atlas")}, atlas ${manifest.atlas_hash.slice(0, 12)}, zatlas ${comment(manifest.zatlas)}`,
    "import numpy as np",
  ];
}

/** Repeats the recipe of a selection; `rows` are the rows of the atlas, ascending. */
export function pythonSnippet(app: Context, selection: Selection): string {
  const { recipe } = selection;
  const current = app.store.get().model;
  const steps = recipe.map((step) => stepCode(app, step, current));
  const repair = repairLines(app, selection);
  const isCode = repair !== null && steps.every((code) => code !== null);
  const body = isCode ? (steps as Code[]) : [{ models: [], imports: [], lines: explicit(selection) }];
  const models = [...new Set([current, ...body.flatMap((code) => code.models)])];
  const imports = [...new Set(body.flatMap((code) => code.imports))];
  return [
    ...head(app),
    ...imports,
    "",
    "import zatlas as za",
    "",
    'study = za.Study("STUDY")  # the folder of the study',
    ...models.map((name) => `${variable(name, current)} = study.atlas(${pythonString(name)})`),
    ...(isCode ? ["table = atlas.table", "inside = np.zeros(len(atlas), dtype=bool)"] : []),
    ...body.flatMap((code) => ["", ...code.lines]),
    "",
    ...(isCode ? [...repair, "rows = np.flatnonzero(inside)"] : []),
    `print(len(rows), "images; on the page: ${selection.rows.length}")`,
    "selected = atlas.select(rows)",
    "",
  ].join("\n");
}

/** Lines for the few rows that the recipe alone gets wrong; null when they are many. */
function repairLines(app: Context, selection: Selection): string[] | null {
  const found = corrections(app, selection);
  if (found === null) return null;
  const { tooMany, missing } = found;
  const count = tooMany.length + missing.length;
  if (count === 0) return [];
  if (count > MOST_REPAIRS * selection.rows.length) return null;
  return [
    "# Filters that were set, or rounding of an outline:",
    ...(tooMany.length ? [`inside[${intList(tooMany)}] = False`] : []),
    ...(missing.length ? [`inside[${intList(missing)}] = True`] : []),
  ];
}

function variable(model: string, current: string): string {
  return model === current ? "atlas" : `atlas_${model.replaceAll(/\W/g, "_")}`;
}

function explicit(selection: Selection): string[] {
  return [
    "# Filters of the page, or steps that cannot be repeated, took part: the rows themselves.",
    `rows = np.array(${intList(selection.rows)}, dtype=np.int64)`,
  ];
}

interface Code {
  models: string[];
  imports: string[];
  lines: string[];
}

/** One step as lines that bring `inside` up to date; null when zatlas has no words for it. */
function stepCode(app: Context, step: Step, current: string): Code | null {
  const end = step.mode === "replace" ? "inside = found" : step.mode === "add" ? "inside |= found" : "inside &= ~found";
  const code = (lines: string[], models: string[] = [], imports: string[] = []): Code => ({ models, imports, lines: [...lines, end] });
  switch (step.kind) {
    case "region":
      return code(regionLines(step, variable(step.model, current)), [step.model], ["from skimage.measure import points_in_poly"]);
    case "neighbours":
      return code(neighbourLines(step, variable(step.model, current)), [step.model]);
    case "rows":
      return code(["found = np.zeros(len(atlas), dtype=bool)", `found[${intList(step.rows)}] = True`]);
    case "values": {
      const column = tableColumn(app, step.column, current);
      const values = pythonList(step.values.map(pythonString), 4);
      return column === null ? null : code([`found = ${column}.astype(str).isin(${values}).to_numpy()`]);
    }
    case "range": {
      const values = numbersOf(app, step.column, current);
      if (values === null) return null;
      const bounds = `(values >= ${pythonNumber(step.low)}) & (values <= ${pythonNumber(step.high)})`;
      return code([`values = ${values}`, `found = ${bounds}`]);
    }
    case "filters":
      return null;
  }
}

function regionLines(step: Extract<Step, { kind: "region" }>, atlas: string): string[] {
  const corners: string[] = [];
  for (let i = 0; i < step.outline.length; i += 2) corners.push(`(${short(step.outline[i])}, ${short(step.outline[i + 1])})`);
  const source = step.projection === "z" ? `${atlas}.mean` : `${atlas}.projections[${pythonString(step.projection)}]`;
  return [
    `outline = np.array(${pythonList(corners, 5)})`,
    `found = points_in_poly(${source}[:, [${step.axes.join(", ")}]], outline)`,
  ];
}

const short = (value: number): string => String(Number(value.toPrecision(9)));

function neighbourLines(step: Extract<Step, { kind: "neighbours" }>, atlas: string): string[] {
  return [
    "found = np.zeros(len(atlas), dtype=bool)",
    `neighbours, _ = ${atlas}.neighbours(${step.k})`,
    `found[neighbours[${step.row}]] = True`,
    `found[${step.row}] = True`,
  ];
}

/** How the table of the atlas holds a column of the page; null for what it does not hold. */
function tableColumn(app: Context, name: string, model: string): string | null {
  const column = app.atlas.column(name, app.loaded(model));
  if (column === null || name === "neighbour_distance" || name.endsWith("_kept")) return null;
  return `table[${pythonString(OWN_COLUMNS.has(name) ? name : column.info.title)}]`;
}

function numbersOf(app: Context, name: string, model: string): string | null {
  if (name === "neighbour_distance") {
    return "atlas.neighbours(min(5, len(atlas) - 1))[1][:, -1].astype(np.float32)  # to the 5th nearest other image";
  }
  const column = tableColumn(app, name, model);
  return column === null ? null : `${column}.to_numpy(np.float32, na_value=np.nan)`;
}

/** Repeats a path between two images: latents, pictures, distances. */
export function pythonPath(app: Context, path: PathState, rowsAlong: readonly number[] | null = null): string {
  const { model, draw } = app.store.get();
  const info = app.loaded(model)?.info;
  const decoded = draw > 1 && info !== undefined && drawsTexture(info) ? `z, draw=${draw}` : "z";
  const [a, b] = [path.a ?? 0, path.b ?? 0];
  const { names } = app.atlas;
  return [
    ...head(app),
    "",
    "import zatlas as za",
    "",
    'study = za.Study("STUDY")  # the folder of the study',
    `atlas, vae = study.atlas(${pythonString(model)}), study.vae(${pythonString(model)})`,
    "",
    `# A: ${comment(names[a] ?? "")}`,
    `# B: ${comment(names[b] ?? "")}`,
    ...(path.kind === "graph" ? graphLines(rowsAlong ?? [a, b], path.frames) : pathLines(a, b, path)),
    `pictures = vae.decode(${decoded})  # generated by the model, not observations: (frames, channels, height, width), ends included`,
    "",
  ].join("\n");
}

function pathLines(a: number, b: number, path: PathState): string[] {
  return [`path = atlas.path((${a}, ${b}), points=${path.frames}, kind=${pythonString(path.kind)})`, "z = path.z"];
}

function graphLines(rows: readonly number[], frames: number): string[] {
  return [
    "# The shortest path over nearest neighbours, then even steps along it.",
    `path = atlas.mean[${intList(rows)}].astype(np.float64)`,
    "along = np.concatenate([[0.0], np.linalg.norm(np.diff(path, axis=0), axis=1).cumsum()])",
    `steps = np.linspace(0.0, along[-1], ${frames + 2})`,
    "z = np.stack([np.interp(steps, along, values) for values in path.T], axis=1)",
  ];
}
