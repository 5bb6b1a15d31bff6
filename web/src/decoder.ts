/** Latents to pictures: in the browser, or by Python (the local server, a notebook) when the network is too heavy for it. */

import { textureNoise } from "./chance";
import { drawsTexture } from "./levels";
import type { BundleFile, Manifest, ModelInfo, NetInfo } from "./manifest";
import type { Answer, Input, Request } from "./decoder.worker";
import NetWorker from "./decoder.worker?worker&inline";
import type { Source } from "./source";

/** Decoded images on the network's grey scale: n images of channels x side x side, row-major. */
export interface Frames {
  data: Float32Array;
  n: number;
  channels: number;
  side: number;
  /** Number of the draw that their texture comes from; 0 where the model draws none. */
  draw: number;
}

export class DecodeError extends Error {}

type WithoutId<T> = T extends unknown ? Omit<T, "id"> : never;

/** One worker for all networks, started when the first picture is asked for. */
class Engine {
  private worker: Promise<Worker> | null = null;
  private readonly waiting = new Map<number, { resolve: (answer: Answer & { ok: true }) => void; reject: (error: Error) => void }>();
  private readonly open = new Map<string, Promise<unknown>>();
  private count = 0;

  constructor(private readonly source: Source) {}

  async run(net: string, file: NetInfo, inputs: Input[]) {
    const worker = await (this.worker ??= this.start());
    let opening = this.open.get(net);
    if (opening === undefined) {
      opening = this.source
        .read(`data/${file.file.path}`)
        .then((bytes) => this.ask(worker, { kind: "open", net, bytes }, [bytes]));
      this.open.set(net, opening);
      opening.catch(() => this.open.delete(net));
    }
    await opening;
    return this.ask(worker, { kind: "run", net, inputs }, inputs.map(({ data }) => data.buffer));
  }

  stop(): void {
    void this.worker?.then((worker) => worker.terminate());
    this.worker = null;
  }

  private async start(): Promise<Worker> {
    const wasm = await this.source.read("assets/ort.wasm");
    const worker = new NetWorker();
    worker.onmessage = ({ data }: MessageEvent<Answer>) => {
      const asker = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.ok) asker?.resolve(data);
      else asker?.reject(new DecodeError(inWords(data.message)));
    };
    worker.onerror = (event) => {
      event.preventDefault();
      for (const { reject } of this.waiting.values()) reject(new DecodeError(inWords(event.message)));
      this.waiting.clear();
    };
    await this.ask(worker, { kind: "start", wasm }, [wasm]);
    return worker;
  }

  private ask(worker: Worker, request: WithoutId<Request>, transfer: Transferable[]): Promise<Answer & { ok: true }> {
    const id = ++this.count;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      worker.postMessage({ ...request, id }, transfer);
    });
  }
}

function inWords(message: string): string {
  if (/wasm|WebAssembly|Content Security Policy|unsafe-eval/i.test(message)) {
    return "the decoder cannot run here: this browser or its security policy does not allow WebAssembly";
  }
  return `the decoder failed: ${message || "no reason given"}`;
}

export class Decoder {
  private readonly engine: Engine;
  /** Milliseconds that the last pictures took, and how many there were. */
  lastMs = 0;
  private lastNoise: { key: string; values: Promise<Float32Array> } | null = null;

  constructor(
    private readonly source: Source,
    private readonly manifest: Manifest,
  ) {
    this.engine = new Engine(source);
  }

  /** How pictures of a model come about: in the browser, by Python, or not at all (with the reason). */
  runsIn(model: ModelInfo): { kind: "browser" | "server" } | { kind: "none"; why: string } {
    const canServe = this.manifest.server?.decode === true && this.source.decode !== undefined;
    if (model.decoder === null) {
      return canServe ? { kind: "server" } : { kind: "none", why: "this atlas holds no decoder for this model" };
    }
    if (model.decoder.live !== "server") return { kind: "browser" };
    if (canServe) return { kind: "server" };
    return { kind: "none", why: `${model.decoder.words} Open the study with zatlas explore to decode.` };
  }

  /** Whether pictures come fast enough to follow a slider. */
  isLive(model: ModelInfo): boolean {
    return model.decoder?.live === "live";
  }

  /** Pictures of latents; all of them have the texture of one draw, where the model draws texture. */
  async decode(model: ModelInfo, latents: readonly ArrayLike<number>[], draw = 1): Promise<Frames> {
    const where = this.runsIn(model);
    if (where.kind === "none") throw new DecodeError(where.why);
    const d = model.latent_dim;
    const input = new Float32Array(latents.length * d);
    latents.forEach((z, i) => input.set(Array.from(z).slice(0, d), i * d));
    const begin = performance.now();
    const data = where.kind === "browser" ? await this.inBrowser(model, input, latents.length, draw) : await this.byPython(model, latents, draw);
    this.lastMs = performance.now() - begin;
    const { channels, side_px: side } = this.manifest.images;
    return { data, n: latents.length, channels, side, draw: drawsTexture(model) ? draw : 0 };
  }

  /** Posterior mean and log-variance of an image on the network's grey scale, (c, h, w). */
  async encode(model: ModelInfo, image: Float32Array<ArrayBuffer>): Promise<{ mean: Float32Array; logVar: Float32Array }> {
    if (model.encoder === null) throw new DecodeError("this atlas holds no encoder for this model");
    const { channels, side_px: side } = this.manifest.images;
    const { outputs } = await this.engine.run(`${model.name}/encoder`, model.encoder, [{ data: image, shape: [1, channels, side, side] }]);
    return { mean: outputs.mean.data, logVar: outputs.log_var.data };
  }

  stop(): void {
    this.engine.stop();
  }

  private async inBrowser(model: ModelInfo, input: Float32Array<ArrayBuffer>, n: number, draw: number): Promise<Float32Array> {
    const net = model.decoder as NetInfo;
    const inputs: Input[] = [{ data: input, shape: [n, model.latent_dim] }];
    if (net.noise !== undefined) {
      const one = await this.noise(net.noise, draw);
      const each = new Float32Array(n * one.length);
      for (let i = 0; i < n; i++) each.set(one, i * one.length);
      inputs.push({ data: each, shape: [n, one.length] });
    }
    const { outputs } = await this.engine.run(`${model.name}/decoder`, net, inputs);
    return outputs.image.data;
  }

  /** The noise of a draw; that of draw 1 is in the bundle. */
  private noise(kept: BundleFile, draw: number): Promise<Float32Array> {
    const key = `${kept.path} ${draw}`;
    if (this.lastNoise?.key !== key) {
      const values = draw === 1 ? this.source.read(`data/${kept.path}`).then((bytes) => new Float32Array(bytes)) : Promise.resolve(textureNoise(draw, kept.shape[0]));
      this.lastNoise = { key, values };
      values.catch(() => (this.lastNoise = null));
    }
    return this.lastNoise.values;
  }

  private async byPython(model: ModelInfo, latents: readonly ArrayLike<number>[], draw: number): Promise<Float32Array> {
    if (this.source.decode === undefined) throw new DecodeError("there is no Python here that could decode");
    return this.source.decode(model.name, latents.map((z) => Array.from(z)), draw);
  }
}

/** Runs one task at a time and, of those asked for meanwhile, only the newest: what comes last is shown last. */
export class NewestWins<T> {
  private next: T | null = null;
  private isBusy = false;

  constructor(private readonly work: (item: T) => Promise<void>) {}

  ask(item: T): void {
    this.next = item;
    if (!this.isBusy) void this.run();
  }

  private async run(): Promise<void> {
    this.isBusy = true;
    while (this.next !== null) {
      const item = this.next;
      this.next = null;
      await this.work(item);
    }
    this.isBusy = false;
  }
}
