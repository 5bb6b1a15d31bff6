/** Pictures along a path: the originals at both ends, what the model makes in between, and the nearest real images. */

import type { Model } from "../atlas";
import { formatNumber } from "../atlas";
import { useApp } from "../app";
import type { Frames } from "../decoder";
import { nameOfStop, type Stop } from "../path";
import { GeneratedImage } from "./GeneratedImage";
import { RealImage } from "./RealImage";
import { SupportBadge } from "./SupportBadge";

interface Props {
  model: Model;
  stops: Stop[];
  frames: Frames | null;
  isStale: boolean;
  /** Index of the stop that is shown large, or null. */
  current: number | null;
  onPick: (index: number) => void;
  label: string;
}

export function FilmStrip({ model, stops, frames, isStale, current, onPick, label }: Props) {
  const last = stops.length - 1;
  return (
    <ol class="film" aria-label={label} tabIndex={0}>
      <OriginalCell letter="A" row={stops[0].row ?? 0} />
      {stops.map((stop) => (
        <StopCell key={stop.index} {...{ model, stop, last, frames, isStale, onPick }} isCurrent={stop.index === current} />
      ))}
      <OriginalCell letter="B" row={stops[last].row ?? 0} />
    </ol>
  );
}

function OriginalCell({ letter, row }: { letter: "A" | "B"; row: number }) {
  const app = useApp();
  return (
    <li class="film-cell original">
      <span class="film-title">
        <Title text={`${letter}, real image`} />
      </span>
      <RealImage row={row} size="large">
        <span class="film-name">{app.atlas.names[row]}</span>
      </RealImage>
    </li>
  );
}

/** "A, reconstruction" in two lines; the second would be too long beside the first. */
function Title({ text }: { text: string }) {
  const [first, kind] = text.split(", ");
  if (kind === undefined) return <>{text}</>;
  return (
    <>
      <b>
        {first}
        <span class="visually-hidden">, </span>
      </b>
      <span class="film-kind">{kind}</span>
    </>
  );
}

interface CellProps {
  model: Model;
  stop: Stop;
  last: number;
  frames: Frames | null;
  isStale: boolean;
  isCurrent: boolean;
  onPick: (index: number) => void;
}

function StopCell({ model, stop, last, frames, isStale, isCurrent, onPick }: CellProps) {
  const title = nameOfStop(model.info, stop, last);
  const shown = frames !== null && stop.index < frames.n ? frames : null;
  return (
    <li class={`film-cell ${isCurrent ? "current" : ""}`} data-stop={stop.index}>
      <button type="button" class="film-title" aria-current={isCurrent} onClick={() => onPick(stop.index)} title="Show this one large">
        <Title text={title} />
      </button>
      <GeneratedImage frames={shown} index={stop.index} label={`Picture at ${title}`} isStale={isStale} size="small" />
      <SupportBadge value={stop.support} k={model.info.support.k} />
      {stop.nearest && <NearestReal row={stop.nearest.row} distance={stop.nearest.distance} />}
    </li>
  );
}

export function NearestReal({ row, distance }: { row: number; distance: number }) {
  const app = useApp();
  return (
    <div class="film-nearest">
      <RealImage row={row}>
        <span class="film-name" title={app.atlas.names[row]}>
          {app.atlas.names[row]}
        </span>
        <span>nearest real image, {formatNumber(distance, 2)} away</span>
      </RealImage>
    </div>
  );
}
