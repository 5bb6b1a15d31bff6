/** The page inside a notebook (anywidget): files come by messages, the selection and the latent go back to Python. */

import type { App } from "./app";
import { mount } from "./mount";
import type { Source } from "./source";
import { SourceError } from "./source";

interface NotebookModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(event: string, listener: (...given: never[]) => void): void;
  off(event: string, listener: (...given: never[]) => void): void;
  send(content: unknown): void;
}

interface FileAnswer {
  kind: string;
  id: number;
  ok: boolean;
}

/** Asks Python for each file by a message and waits for the answer with its bytes. */
class NotebookSource implements Source {
  readonly kind = "notebook";
  private count = 0;
  private readonly waiting = new Map<number, { resolve: (bytes: ArrayBuffer) => void; reject: (error: Error) => void; path: string }>();

  constructor(private readonly model: NotebookModel) {
    model.on("msg:custom", this.answer);
  }

  read(path: string): Promise<ArrayBuffer> {
    return new Promise((resolve, reject) => {
      const id = ++this.count;
      this.waiting.set(id, { resolve, reject, path });
      this.model.send({ kind: "read", id, path });
    });
  }

  stop(): void {
    this.model.off("msg:custom", this.answer);
  }

  private readonly answer = (content: FileAnswer, buffers: DataView[]): void => {
    if (content.kind !== "file") return;
    const asker = this.waiting.get(content.id);
    this.waiting.delete(content.id);
    if (asker === undefined) return;
    if (!content.ok || buffers.length === 0) asker.reject(new SourceError(`${asker.path} is not in this atlas`));
    else asker.resolve(bytesOf(buffers[0]));
  };
}

function bytesOf(view: DataView): ArrayBuffer {
  const bytes = new Uint8Array(view.byteLength);
  bytes.set(new Uint8Array(view.buffer, view.byteOffset, view.byteLength));
  return bytes.buffer;
}

async function show({ model, el }: { model: NotebookModel; el: HTMLElement }): Promise<() => void> {
  const holder = document.createElement("div");
  const element = document.createElement("div");
  holder.attachShadow({ mode: "open" }).append(element);
  element.classList.add("embedded");
  element.style.height = `${Number(model.get("height")) || 720}px`;
  el.append(holder);
  const source = new NotebookSource(model);
  const app = await mount(element, source, { usesHash: false, model: String(model.get("model") ?? "") });
  const stop = app ? follow(app, model) : () => undefined;
  return () => {
    stop();
    source.stop();
    app?.decoder.stop();
    holder.remove();
  };
}

/** Keeps the traits of the Python object equal to the state of the page, and back for the selection and the model. */
function follow(app: App, model: NotebookModel): () => void {
  let isOwn = false;
  const tell = () => {
    const { selection, z, model: name, theme } = app.store.get();
    isOwn = true;
    model.set("selection", selection?.rows ?? []);
    model.set("recipe", JSON.stringify(selection?.recipe ?? []));
    model.set("z", z ?? []);
    model.set("model", name);
    model.set("theme", theme);
    model.save_changes();
    isOwn = false;
  };
  const hear = () => {
    if (isOwn) return;
    const rows = (model.get("selection") as number[]).filter((row) => row < app.atlas.n);
    const old = app.store.get().selection?.rows ?? [];
    if (rows.join() === old.join()) return;
    app.store.set({ selection: rows.length ? { rows, recipe: [{ kind: "rows", mode: "replace", rows }] } : null });
  };
  let timer = 0;
  const stop = app.store.subscribe(() => {
    clearTimeout(timer);
    timer = window.setTimeout(tell, 150);
  });
  model.on("change:selection", hear);
  tell();
  return () => {
    clearTimeout(timer);
    stop();
    model.off("change:selection", hear);
  };
}

export default { render: show };
