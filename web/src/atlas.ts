/** The atlas as the page holds it: columns of numbers, one row per image, read from the bundle when needed. */

import type { BundleFile, ColumnInfo, Manifest, ModelInfo, ProjectionInfo } from "./manifest";
import { SCHEMA_VERSION } from "./manifest";
import type { PictureStore } from "./pictures";
import { Pictures, PicturesOnDemand } from "./pictures";
import type { Source } from "./source";
import { SourceError } from "./source";
import { capital, clusterWord } from "./verdict";

export type ColumnValues = Float32Array | Uint8Array | Uint16Array | Uint32Array;

export interface Column {
  info: ColumnInfo;
  values: ColumnValues;
}

export interface Projection {
  info: ProjectionInfo;
  /** Row-major, `k` numbers per image. */
  values: Float32Array;
  k: number;
}

/** One model of the study with everything that belongs to its latent space. */
export interface Model {
  info: ModelInfo;
  d: number;
  mean: Float32Array;
  logVar: Float32Array;
  columns: Column[];
  projections: Projection[];
  knnRows: Uint32Array;
  knnDistances: Float32Array;
}

export class Atlas {
  readonly n: number;
  private readonly models = new Map<string, Promise<Model>>();

  private constructor(
    readonly source: Source,
    readonly manifest: Manifest,
    readonly names: string[],
    readonly columns: Column[],
    readonly thumbnails: Pictures | null,
    /** Images as the model sees them: from the bundle, or made by Python's side when asked for. */
    readonly originals: PictureStore | null,
  ) {
    this.n = manifest.images.n;
  }

  static async open(source: Source): Promise<Atlas> {
    const manifest = JSON.parse(new TextDecoder().decode(await source.read("data/manifest.json"))) as Manifest;
    if (manifest.schema_version !== SCHEMA_VERSION) {
      throw new SourceError(
        `this atlas was written in format ${manifest.schema_version}, this page reads format ${SCHEMA_VERSION}; ` +
          "make it again with zatlas export",
      );
    }
    const [names, columns] = await Promise.all([
      readJson<string[]>(source, manifest.names),
      Promise.all(manifest.columns.filter((info) => isTelling(manifest, info)).map((info) => readColumn(source, titled(info)))),
    ]);
    const pictures = (sheets: Manifest["thumbnails"]) => (sheets ? new Pictures(source, sheets, manifest.images.n) : null);
    const originals = pictures(manifest.originals) ?? onDemand(source, manifest);
    return new Atlas(source, manifest, names, columns, pictures(manifest.thumbnails), originals);
  }

  /** What the model sees. */
  get unit(): "tile" | "image" {
    return this.manifest.images.is_tiled ? "tile" : "image";
  }

  /** A model with its columns; read once, then kept. */
  model(name: string): Promise<Model> {
    let found = this.models.get(name);
    if (found === undefined) {
      const info = this.manifest.models.find((candidate) => candidate.name === name);
      if (info === undefined) return Promise.reject(new SourceError(`this atlas has no model ${name}`));
      found = readModel(this.source, info);
      found.catch(() => this.models.delete(name));
      this.models.set(name, found);
    }
    return found;
  }

  /** A column of the images or of a model, by name. */
  column(name: string, model: Model | null): Column | null {
    return (
      model?.columns.find((column) => column.info.name === name) ??
      this.columns.find((column) => column.info.name === name) ??
      null
    );
  }

  /** 1 where an image is in the named split. */
  split(name: string): Uint8Array {
    const mask = new Uint8Array(this.n);
    const column = this.column("split", null);
    const code = column?.info.categories?.indexOf(name) ?? -1;
    if (column && code >= 0) for (let i = 0; i < this.n; i++) mask[i] = column.values[i] === code ? 1 : 0;
    return mask;
  }
}

/** Of whole images the corner and the size are always the same. */
function isTelling(manifest: Manifest, { name }: ColumnInfo): boolean {
  return manifest.images.is_tiled || !["y_px", "x_px", "size_px"].includes(name);
}

function onDemand(source: Source, manifest: Manifest): PictureStore | null {
  if (manifest.server?.images !== true || source.image === undefined) return null;
  return new PicturesOnDemand((row) => source.image?.(row) as Promise<Blob>, manifest.images.side_px);
}

async function readModel(source: Source, info: ModelInfo): Promise<Model> {
  const [mean, logVar, columns, projections, knnRows, knnDistances] = await Promise.all([
    readNumbers(source, info.mean),
    readNumbers(source, info.log_var),
    Promise.all(info.columns.map((column) => readColumn(source, titled(column, info)))),
    Promise.all(
      info.projections.map(async (projection) => ({
        info: projection,
        values: await readNumbers(source, projection.file),
        k: projection.file.shape[1],
      })),
    ),
    read(source, info.knn.rows).then((buffer) => new Uint32Array(buffer)),
    readNumbers(source, info.knn.distances),
  ]);
  return { info, d: info.latent_dim, mean, logVar, columns, projections, knnRows, knnDistances };
}

/** A column with the title that the page calls it by: the split, and the clusters of a model. */
export function titled(column: ColumnInfo, model: Pick<ModelInfo, "clusters"> | null = null): ColumnInfo {
  if (column.name === "split") return { ...column, title: "Split" };
  return column.name === "cluster" && model ? { ...column, title: capital(clusterWord(model)) } : column;
}

function read(source: Source, file: BundleFile): Promise<ArrayBuffer> {
  return source.read(`data/${file.path}`);
}

async function readNumbers(source: Source, file: BundleFile): Promise<Float32Array> {
  const numbers = new Float32Array(await read(source, file));
  const expected = file.shape.reduce((product, side) => product * side, 1);
  if (numbers.length !== expected) throw new SourceError(`${file.path} is damaged: ${numbers.length} numbers, expected ${expected}`);
  return numbers;
}

async function readJson<T>(source: Source, file: BundleFile): Promise<T> {
  return JSON.parse(new TextDecoder().decode(await read(source, file))) as T;
}

async function readColumn(source: Source, info: ColumnInfo): Promise<Column> {
  const buffer = await read(source, info.file);
  const kinds = { f32: Float32Array, u8: Uint8Array, u16: Uint16Array, u32: Uint32Array } as const;
  const kind = kinds[info.file.dtype as keyof typeof kinds];
  if (kind === undefined) throw new SourceError(`column ${info.name} has the unknown type ${info.file.dtype}`);
  return { info, values: new kind(buffer) };
}

/** What a value must be: within a range, or one of some categories. */
export type Criterion = { kind: "range"; low: number; high: number } | { kind: "values"; values: readonly string[] };

/** Whether the value of a row meets a criterion; a missing value never does. */
export function meets(column: Column, criterion: Criterion): (row: number) => boolean {
  const { values, info } = column;
  if (criterion.kind === "range") return (row) => values[row] >= criterion.low && values[row] <= criterion.high;
  const codes = new Set(criterion.values.map((value) => info.categories?.indexOf(value) ?? -1));
  return (row) => codes.has(values[row]);
}

/** Whether row `i` of a column has a value. */
export function isKnown(column: Column, i: number): boolean {
  const value = column.values[i];
  return column.info.kind === "number" ? !Number.isNaN(value) : column.info.categories?.[value] !== undefined;
}

/** A value as text; "–" where it is missing. */
export function textOf(column: Column, i: number): string {
  const value = column.values[i];
  if (column.info.kind === "category") return column.info.categories?.[value] ?? "–";
  return Number.isNaN(value) ? "–" : `${formatNumber(value)}${column.info.unit ? ` ${column.info.unit}` : ""}`;
}

export function formatNumber(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return "–";
  if (Number.isInteger(value) && Math.abs(value) < 1e7) return String(value).replace("-", "−");
  const text = Math.abs(value) >= 1e5 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(2) : String(Number(value.toPrecision(digits)));
  return text.replace("-", "−");
}

/** The latent of image `row`: its posterior mean. */
export function latentOf(model: Model, row: number): Float32Array {
  return model.mean.slice(row * model.d, (row + 1) * model.d);
}
