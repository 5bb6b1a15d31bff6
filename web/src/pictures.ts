/** Pictures of the images, cut from sheets that are loaded when first asked for. Addressed by row, never by place. */

import type { PictureSource } from "./map/MapView";
import type { SheetsInfo } from "./manifest";
import type { Source } from "./source";

export interface Cell {
  sheet: ImageBitmap;
  x: number;
  y: number;
}

/** Square pictures of the images, one at a time. */
export interface PictureStore {
  /** Side of each [px]. */
  readonly size: number;
  get(row: number): Promise<Cell>;
}

/** Images as the model sees them, made from those at full resolution that Python reads; the last few are kept. */
export class PicturesOnDemand implements PictureStore {
  private readonly kept = new Map<number, Promise<Cell>>();

  constructor(
    private readonly read: (row: number) => Promise<Blob>,
    readonly size: number,
  ) {}

  get(row: number): Promise<Cell> {
    let cell = this.kept.get(row);
    if (cell === undefined) {
      cell = this.make(row);
      cell.catch(() => this.kept.delete(row));
      this.kept.set(row, cell);
      if (this.kept.size > MOST_KEPT) this.kept.delete(this.kept.keys().next().value as number);
    }
    return cell;
  }

  private async make(row: number): Promise<Cell> {
    const options: ImageBitmapOptions = { colorSpaceConversion: "none", resizeWidth: this.size, resizeHeight: this.size, resizeQuality: "high" };
    return { sheet: await createImageBitmap(await this.read(row), options), x: 0, y: 0 };
  }
}

const MOST_KEPT = 24;

export class Pictures implements PictureSource, PictureStore {
  readonly size: number;
  private readonly loaded: (ImageBitmap | null)[];
  private readonly pending = new Map<number, Promise<ImageBitmap>>();
  private readonly listeners = new Set<() => void>();

  constructor(
    private readonly source: Source,
    readonly info: SheetsInfo,
    readonly n: number,
  ) {
    this.size = info.size_px;
    this.loaded = info.files.map(() => null);
  }

  locate(row: number): Cell | null {
    const number = Math.floor(row / this.info.per_sheet);
    const sheet = this.loaded[number];
    if (sheet === null) {
      void this.load(number);
      return null;
    }
    return sheet === undefined ? null : { sheet, ...this.place(row) };
  }

  /** The picture of a row once its sheet is there. */
  async get(row: number): Promise<Cell> {
    return { sheet: await this.load(Math.floor(row / this.info.per_sheet)), ...this.place(row) };
  }

  onLoad(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private place(row: number): { x: number; y: number } {
    const cell = row % this.info.per_sheet;
    return { x: (cell % this.info.columns) * this.size, y: Math.floor(cell / this.info.columns) * this.size };
  }

  private load(number: number): Promise<ImageBitmap> {
    let loading = this.pending.get(number);
    if (loading === undefined) {
      loading = this.fetch(number);
      loading.catch(() => undefined);
      this.pending.set(number, loading);
    }
    return loading;
  }

  private async fetch(number: number): Promise<ImageBitmap> {
    const bytes = await this.source.read(`data/${this.info.files[number].path}`);
    const sheet = await createImageBitmap(new Blob([bytes], { type: "image/webp" }), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
    this.loaded[number] = sheet;
    for (const listener of this.listeners) listener();
    return sheet;
  }
}
