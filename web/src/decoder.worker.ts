/** Runs the networks of the atlas with ONNX Runtime's WebAssembly, away from the page's own thread. */

import * as ort from "onnxruntime-web/wasm";

export type Request =
  | { id: number; kind: "start"; wasm: ArrayBuffer }
  | { id: number; kind: "open"; net: string; bytes: ArrayBuffer }
  | { id: number; kind: "run"; net: string; inputs: Input[] };

/** One for each input of the network, in its order. */
export interface Input {
  data: Float32Array<ArrayBuffer>;
  shape: number[];
}

export type Answer =
  | { id: number; ok: true; outputs: Record<string, { data: Float32Array<ArrayBuffer>; dims: readonly number[] }>; ms: number }
  | { id: number; ok: false; message: string };

const sessions = new Map<string, ort.InferenceSession>();

self.onmessage = async ({ data }: MessageEvent<Request>) => {
  try {
    const begin = performance.now();
    const outputs = await handle(data);
    const answer: Answer = { id: data.id, ok: true, outputs, ms: performance.now() - begin };
    self.postMessage(answer, { transfer: Object.values(outputs).map((output) => output.data.buffer) });
  } catch (error) {
    const answer: Answer = { id: data.id, ok: false, message: error instanceof Error ? error.message : String(error) };
    self.postMessage(answer);
  }
};

async function handle(request: Request): Promise<Record<string, { data: Float32Array<ArrayBuffer>; dims: readonly number[] }>> {
  if (request.kind === "start") {
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmBinary = request.wasm;
    ort.env.logLevel = "error";
    return {};
  }
  if (request.kind === "open") {
    sessions.set(request.net, await ort.InferenceSession.create(new Uint8Array(request.bytes), { executionProviders: ["wasm"] }));
    return {};
  }
  const session = sessions.get(request.net);
  if (session === undefined) throw new Error(`the network ${request.net} is not open`);
  const inputs = request.inputs.map(({ data, shape }, i) => [session.inputNames[i], new ort.Tensor("float32", data, shape)] as const);
  const results = await session.run(Object.fromEntries(inputs));
  const outputs: Record<string, { data: Float32Array<ArrayBuffer>; dims: readonly number[] }> = {};
  for (const [name, tensor] of Object.entries(results)) {
    outputs[name] = { data: Float32Array.from(tensor.data as Float32Array), dims: tensor.dims };
    tensor.dispose();
  }
  return outputs;
}
