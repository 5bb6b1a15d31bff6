/** Full resolution, and where a tile lies in its section: only the local server has these. */

import { useEffect, useState } from "preact/hooks";
import { useApp } from "../../app";

export function Context({ row }: { row: number }) {
  const { atlas } = useApp();
  const [isOpen, setOpen] = useState(false);
  if (atlas.manifest.server?.images !== true) return null;
  const isTiled = atlas.manifest.images.is_tiled;
  return (
    <details onToggle={(event) => setOpen(event.currentTarget.open)}>
      <summary>{isTiled ? "Place in its section" : "Full resolution"}</summary>
      {isOpen && (isTiled ? <Section row={row} /> : <Full row={row} />)}
    </details>
  );
}

function Full({ row }: { row: number }) {
  return <img class="full" src={new URL(`api/image/${row}`, document.baseURI).href} alt="The image at its full resolution" />;
}

interface Place {
  url: string;
  box: [number, number, number, number];
}

function Section({ row }: { row: number }) {
  const [place, setPlace] = useState<Place | null>(null);
  const [problem, setProblem] = useState("");
  const [size, setSize] = useState<[number, number] | null>(null);
  useEffect(() => {
    let url = "";
    let isWanted = true;
    void readSection(row).then(
      (found) => {
        url = found.url;
        if (isWanted) setPlace(found);
      },
      (error: Error) => isWanted && setProblem(error.message),
    );
    return () => {
      isWanted = false;
      if (url) URL.revokeObjectURL(url);
    };
  }, [row]);
  if (problem) return <p class="message problem">{problem}</p>;
  if (place === null) return <p class="soft small">Reading the section …</p>;
  const [y, x, h, w] = place.box;
  const share = (part: number, of: number) => `${(100 * part) / of}%`;
  return (
    <div class="section-place">
      <img class="full" src={place.url} alt="The whole section" onLoad={(event) => setSize([event.currentTarget.naturalWidth, event.currentTarget.naturalHeight])} />
      {size && <span class="tile-box" style={{ left: share(x, size[0]), top: share(y, size[1]), width: share(w, size[0]), height: share(h, size[1]) }} />}
      <p class="small soft">The frame marks the tile. Below it: full resolution.</p>
      <Full row={row} />
    </div>
  );
}

async function readSection(row: number): Promise<Place> {
  const answer = await fetch(new URL(`api/context/${row}`, document.baseURI));
  if (!answer.ok) throw new Error("The section could not be read: are the images still where they were?");
  const box = (answer.headers.get("X-Zatlas-Box") ?? "0,0,0,0").split(",").map(Number) as [number, number, number, number];
  return { url: URL.createObjectURL(await answer.blob()), box };
}
