/** What the page and a notebook exchange: questions with a number and their answers, and the notebook's theme. */

import type { Place, Source } from "./source";
import { SourceError } from "./source";

/** What anywidget gives to a page. */
export interface NotebookModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, listener: (...given: never[]) => void): void;
  off(event: string, listener: (...given: never[]) => void): void;
  send(content: unknown): void;
}

interface Answer {
  id: number;
  ok: boolean;
  why?: string;
  box?: Place["box"];
}

interface Found {
  answer: Answer;
  bytes: ArrayBuffer;
}

interface Asker {
  resolve: (found: Found) => void;
  reject: (error: Error) => void;
}

let count = 0;

/** Asks Python by messages and waits for the answers with their bytes. */
export class NotebookSource implements Source {
  readonly kind = "notebook";
  private readonly waiting = new Map<number, Asker>();

  constructor(private readonly model: NotebookModel) {
    model.on("msg:custom", this.hear);
  }

  async read(path: string): Promise<ArrayBuffer> {
    return (await this.ask({ kind: "read", path }, `${path} is not in this atlas`)).bytes;
  }

  async decode(model: string, latents: number[][], draw = 1): Promise<Float32Array> {
    return new Float32Array((await this.ask({ kind: "decode", model, z: latents, draw }, "Python could not decode")).bytes);
  }

  async image(row: number): Promise<Blob> {
    return png((await this.ask({ kind: "image", row }, "the image could not be read")).bytes);
  }

  async place(row: number): Promise<Place> {
    const { answer, bytes } = await this.ask({ kind: "context", row }, "the section could not be read");
    return { picture: png(bytes), box: answer.box ?? [0, 0, 0, 0] };
  }

  stop(): void {
    this.model.off("msg:custom", this.hear);
    for (const { reject } of this.waiting.values()) reject(new SourceError("the page was closed"));
    this.waiting.clear();
  }

  /** Numbers are never used twice: other views of the same widget hear every answer. */
  private ask(question: Record<string, unknown>, failure: string): Promise<Found> {
    const id = ++count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject: (error) => reject(new SourceError(error.message || failure)) });
      this.model.send({ ...question, id });
    });
  }

  private readonly hear = (answer: Answer, buffers: DataView[]): void => {
    const asker = this.waiting.get(answer.id);
    this.waiting.delete(answer.id);
    if (answer.ok && buffers.length > 0) asker?.resolve({ answer, bytes: bytesOf(buffers[0]) });
    else asker?.reject(new Error(answer.why));
  };
}

function png(bytes: ArrayBuffer): Blob {
  return new Blob([bytes], { type: "image/png" });
}

function bytesOf(view: DataView): ArrayBuffer {
  const bytes = new Uint8Array(view.byteLength);
  bytes.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  return bytes.buffer;
}

/** Whether the notebook around the page is dark; null where it does not say. */
export function isNotebookDark(): boolean | null {
  const { body, documentElement: root } = document;
  const jupyter = body.dataset.jpThemeLight;
  if (jupyter !== undefined) return jupyter === "false";
  const code = body.dataset.vscodeThemeKind;
  if (code !== undefined) return !code.includes("light");
  const named = root.getAttribute("theme") ?? root.dataset.theme ?? body.dataset.theme;
  if (named === "dark" || named === "light") return named === "dark";
  return root.classList.contains("dark") || body.classList.contains("dark") || null;
}

/** Calls back when the notebook may have changed its theme. */
export function onNotebookTheme(listener: () => void): () => void {
  const observer = new MutationObserver(listener);
  const attributeFilter = ["class", "theme", "data-theme", "data-jp-theme-light", "data-vscode-theme-kind"];
  for (const element of [document.documentElement, document.body]) observer.observe(element, { attributes: true, attributeFilter });
  return () => observer.disconnect();
}
