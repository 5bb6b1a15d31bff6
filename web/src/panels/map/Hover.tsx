/** The card under the pointer: picture, name and what is known. */

import { useApp, usePart } from "../../app";
import type { Column, Model } from "../../atlas";
import { isKnown, textOf } from "../../atlas";
import { RealImage } from "../../parts/RealImage";

export interface Hovered {
  row: number;
  x: number;
  y: number;
  /** Whether the card must lie to the left of the pointer, or above it, to stay in the map. */
  isRight: boolean;
  isLow: boolean;
}

const MOST_FACTS = 6;

export function Hover({ hovered, model }: { hovered: Hovered; model: Model }) {
  const { atlas } = useApp();
  const colour = usePart((state) => state.colour);
  const { row, x, y, isRight, isLow } = hovered;
  const first = atlas.column(colour, model);
  const wanted: (Column | null)[] = [first, model.columns.find((c) => c.info.name === "cluster") ?? null, ...atlas.columns];
  const facts = [...new Set(wanted)].filter((column): column is Column => column !== null && column.info.name !== "image" && isKnown(column, row));
  return (
    <div class={`hover card ${isRight ? "left" : ""} ${isLow ? "up" : ""}`} style={{ left: `${x}px`, top: `${y}px` }} aria-hidden="true">
      <RealImage key={row} row={row} isButton={false} />
      <div>
        <b>{atlas.names[row]}</b>
        <dl class="small">
          {facts.slice(0, MOST_FACTS).map((column) => (
            <div key={column.info.name}>
              <dt>{column.info.title}</dt>
              <dd>{textOf(column, row)}</dd>
            </div>
          ))}
        </dl>
      </div>
    </div>
  );
}
