/** A picture of a real image: the original where the atlas holds it, else its thumbnail. */

import { useEffect, useRef, useState } from "preact/hooks";
import type { ComponentChildren } from "preact";
import { useApp } from "../app";
import { inspect } from "../act";
import { paintCell } from "./pixels";

interface Props {
  row: number;
  children?: ComponentChildren;
  size?: "small" | "large";
  /** Clicking it brings the image into focus. */
  isButton?: boolean;
  onPick?: (row: number) => void;
}

export function RealImage({ row, children, size = "small", isButton = true, onPick }: Props) {
  const app = useApp();
  const canvas = useRef<HTMLCanvasElement>(null);
  const [state, setState] = useState<"loading" | "shown" | "none" | "failed">("loading");
  const pictures = size === "large" ? (app.atlas.originals ?? app.atlas.thumbnails) : (app.atlas.thumbnails ?? app.atlas.originals);
  useEffect(() => {
    if (pictures === null) {
      setState("none");
      return;
    }
    let isWanted = true;
    pictures.get(row).then(
      (cell) => {
        if (!isWanted || !canvas.current) return;
        paintCell(canvas.current, cell, pictures.size);
        setState("shown");
      },
      () => isWanted && setState("failed"),
    );
    return () => {
      isWanted = false;
    };
  }, [row, pictures]);
  const name = app.atlas.names[row];
  const words = state === "none" ? "no pictures in this atlas" : state === "failed" ? "picture could not be read" : "";
  const picture = (
    <>
      <canvas ref={canvas} role="img" aria-label={`image ${name}`} width={1} height={1} class={state === "shown" ? "" : "empty"} data-row={row} />
      {words && <span class="no-picture">{words}</span>}
    </>
  );
  return (
    <figure class={`picture real ${size}`}>
      {isButton ? (
        <button type="button" class="picture-button" title={name} onClick={() => (onPick ? onPick(row) : inspect(app, row))}>
          {picture}
        </button>
      ) : (
        picture
      )}
      {children !== undefined && <figcaption>{children}</figcaption>}
    </figure>
  );
}
