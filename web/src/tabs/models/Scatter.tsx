/** A small still map of all images, for two models side by side. The map of the Explore tab does more. */

import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Positions } from "../../app";
import { useApp, usePart } from "../../app";
import type { Colouring } from "../../colour";
import { useWidth } from "../../parts/charts/useWidth";
import { drawMarks, drawPoints, nearestIn, nearestTo, placesInBox } from "./points";

interface Props {
  title: string;
  positions: Positions;
  colouring: Colouring;
  selected: Uint8Array | null;
  visible: Uint8Array | null;
  focus: number | null;
  hovered: number | null;
  onHover: (row: number | null) => void;
  onPick: (row: number) => void;
}

const ARROWS: Record<string, readonly [number, number]> = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const REACH_PX = 16;

export function Scatter({ title, positions, colouring, selected, visible, focus, hovered, onHover, onPick }: Props) {
  const { atlas, element } = useApp();
  const theme = usePart((state) => state.theme);
  const [holder, width] = useWidth<HTMLDivElement>(400);
  const points = useRef<HTMLCanvasElement>(null);
  const marks = useRef<HTMLCanvasElement>(null);
  const height = Math.round(Math.min(width, Math.max(260, width * 0.75)));
  const xy = useMemo(() => placesInBox(positions.xy, width, height), [positions, width, height]);
  useEffect(() => {
    if (points.current) drawPoints(points.current, { xy, width, height, rgba: colouring.rgba, selected, visible });
  }, [xy, width, height, colouring, selected, visible]);
  useEffect(() => {
    if (marks.current) drawMarks(marks.current, { xy, width, height, focus, hovered });
  }, [xy, width, height, focus, hovered, theme, element]);
  const step = (event: KeyboardEvent) => {
    const direction = ARROWS[event.key];
    const from = hovered ?? focus ?? nearestTo(xy, visible, width / 2, height / 2, Infinity);
    if (from === null || (direction === undefined && event.key !== "Enter")) return;
    event.preventDefault();
    event.stopPropagation();
    if (direction === undefined) onPick(from);
    else onHover(nearestIn(xy, visible, from, direction) ?? from);
  };
  const told = hovered ?? focus;
  return (
    <figure class="scatter">
      <figcaption>
        <strong>{title}</strong> <span class="soft small">{positions.note}</span>
      </figcaption>
      <div
        ref={holder}
        class="scatter-holder"
        style={{ height: `${height}px` }}
        tabIndex={0}
        role="application"
        aria-label={`Map of ${atlas.n} images, ${title}. Arrow keys go from image to image, Enter brings one into focus.${told === null ? "" : ` At ${atlas.names[told]}.`}`}
        onKeyDown={step}
        onBlur={() => onHover(null)}
        onPointerMove={(event) => onHover(nearestTo(xy, visible, event.offsetX, event.offsetY, REACH_PX))}
        onPointerLeave={() => onHover(null)}
        onClick={(event) => {
          const row = nearestTo(xy, visible, event.offsetX, event.offsetY, REACH_PX);
          if (row !== null) onPick(row);
        }}
      >
        <canvas ref={points} aria-hidden="true" data-scatter />
        <canvas ref={marks} aria-hidden="true" data-scatter />
      </div>
      <p class="small soft axis-names">
        across: {positions.titles[0]}; up: {positions.titles[1]}
      </p>
    </figure>
  );
}
