/** Where the page's files come from: a server or static host, the page itself (one file), or a notebook. */

/** A picture of a whole image, and where a tile lies in it: y, x, height, width [px of the picture]. */
export interface Place {
  picture: Blob;
  box: [number, number, number, number];
}

/** Files; and what Python can do besides, where the manifest says so (`server`). */
export interface Source {
  readonly kind: "http" | "inline" | "notebook";
  /** The bytes of a file, by its path relative to the page, such as `data/manifest.json`. */
  read(path: string): Promise<ArrayBuffer>;
  /** Images on the network's grey scale, one after the other, with the texture of a draw. */
  decode?(model: string, latents: number[][], draw: number): Promise<Float32Array>;
  /** An image, or a tile, at its full resolution. */
  image?(row: number): Promise<Blob>;
  place?(row: number): Promise<Place>;
}

export class SourceError extends Error {}

/** Files beside the page, on any web host and under any folder. */
export class HttpSource implements Source {
  readonly kind = "http";

  async read(path: string): Promise<ArrayBuffer> {
    const answer = await fetch(new URL(path, document.baseURI), { credentials: "same-origin" });
    if (!answer.ok) throw new SourceError(`${path} could not be read: the host answered ${answer.status}`);
    return answer.arrayBuffer();
  }

  async decode(model: string, latents: number[][], draw = 1): Promise<Float32Array> {
    const answer = await ask("api/decode", "the server could not decode", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ model, z: latents, draw }),
    });
    return new Float32Array(await answer.arrayBuffer());
  }

  async image(row: number): Promise<Blob> {
    return (await ask(`api/image/${row}`, IMAGE_GONE)).blob();
  }

  async place(row: number): Promise<Place> {
    const answer = await ask(`api/context/${row}`, IMAGE_GONE);
    const box = (answer.headers.get("X-Zatlas-Box") ?? "0,0,0,0").split(",").map(Number) as Place["box"];
    return { picture: await answer.blob(), box };
  }
}

const IMAGE_GONE = "the image could not be read, is it still where it was?";

async function ask(path: string, failure: string, request: RequestInit = {}): Promise<Response> {
  const answer = await fetch(new URL(path, document.baseURI), { credentials: "same-origin", ...request });
  if (!answer.ok) throw new SourceError(`${failure} (answer ${answer.status})`);
  return answer;
}

/** Files inside the page: base64 of gzip in `<script type="text/plain" data-path="...">`. */
export class InlineSource implements Source {
  readonly kind = "inline";

  static isThere(): boolean {
    return document.querySelector("script[data-path]") !== null;
  }

  async read(path: string): Promise<ArrayBuffer> {
    const holder = document.querySelector(`script[data-path="${CSS.escape(path)}"]`);
    if (holder === null) throw new SourceError(`${path} is not inside this file`);
    const packed = fromBase64(holder.textContent ?? "");
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).arrayBuffer();
  }
}

export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  const binary = atob(text.trim());
  const bytes = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  return bytes;
}
