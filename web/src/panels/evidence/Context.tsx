/** Full resolution, and where a tile lies in its section: only Python (the local server, a notebook) has these. */

import { useEffect, useState } from "preact/hooks";
import { useApp } from "../../app";
import type { Place, Source } from "../../source";

export function Context({ row }: { row: number }) {
  const { atlas } = useApp();
  const [isOpen, setOpen] = useState(false);
  if (atlas.manifest.server?.images !== true || atlas.source.image === undefined) return null;
  const isTiled = atlas.manifest.images.is_tiled;
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{isTiled ? "Place in its section" : "Full resolution"}</summary>
      {isOpen && (isTiled ? <Section row={row} /> : <Full row={row} />)}
    </details>
  );
}

function Full({ row }: { row: number }) {
  const { found, problem } = usePlace(row, readImage);
  if (problem) return <p class="message problem">{problem}</p>;
  if (found === null) return <p class="soft small">Reading the image …</p>;
  return <img class="full" src={found.url} alt="The image at its full resolution" />;
}

function Section({ row }: { row: number }) {
  const { found, problem } = usePlace(row, readPlace);
  const [size, setSize] = useState<[number, number] | null>(null);
  if (problem) return <p class="message problem">{problem}</p>;
  if (found === null) return <p class="soft small">Reading the section …</p>;
  const [y, x, h, w] = found.box;
  const share = (part: number, of: number) => `${(100 * part) / of}%`;
  return (
    <div>
      <div class="section-place">
        <img class="full" src={found.url} alt="The whole section" onLoad={(event) => setSize([event.currentTarget.naturalWidth, event.currentTarget.naturalHeight])} />
        {size && <span class="tile-box" style={{ left: share(x, size[0]), top: share(y, size[1]), width: share(w, size[0]), height: share(h, size[1]) }} />}
      </div>
      <p class="small soft">The frame marks the tile. Below it: full resolution.</p>
      <Full row={row} />
    </div>
  );
}

type Read = (source: Source, row: number) => Promise<Place> | undefined;

const readPlace: Read = (source, row) => source.place?.(row);
const readImage: Read = (source, row) => source.image?.(row).then((picture) => ({ picture, box: [0, 0, 0, 0] }));

interface Reading {
  found: { url: string; box: Place["box"] } | null;
  problem: string;
}

/** A picture that Python reads, under an address that lasts as long as it is shown. */
function usePlace(row: number, read: Read): Reading {
  const { source } = useApp().atlas;
  const [reading, setReading] = useState<Reading>({ found: null, problem: "" });
  useEffect(() => {
    let url = "";
    let isWanted = true;
    setReading({ found: null, problem: "" });
    void read(source, row)?.then(
      ({ picture, box }) => {
        if (!isWanted) return;
        url = URL.createObjectURL(picture);
        setReading({ found: { url, box }, problem: "" });
      },
      (error: Error) => isWanted && setReading({ found: null, problem: error.message }),
    );
    return () => {
      isWanted = false;
      if (url) URL.revokeObjectURL(url);
    };
  }, [source, row, read]);
  return reading;
}
