/** Where the page's files come from: a server or static host, the page itself (one file), or a notebook. */

export interface Source {
  readonly kind: "http" | "inline" | "notebook";
  /** The bytes of a file, by its path relative to the page, such as `data/manifest.json`. */
  read(path: string): Promise<ArrayBuffer>;
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
