/** Steer, map, evidence: the three columns in which one plays with the atlas. */

import { Evidence } from "../panels/Evidence";
import { Filters } from "../panels/Filters";
import { MapPanel } from "../panels/MapPanel";
import { SelectionBar } from "../panels/SelectionBar";
import { Splitter, useColumnWidth } from "../panels/Splitter";
import { Steer } from "../panels/Steer";

export function Explore() {
  const [left, setLeft] = useColumnWidth("steer", 320);
  const [right, setRight] = useColumnWidth("evidence", 350);
  return (
    <div class="explore" style={{ "--left": `${left}px`, "--right": `${right}px` }}>
      <section class="column steer-column" aria-label="Steer">
        <Steer />
        <Filters />
      </section>
      <Splitter label="Width of the steering column" width={left} onWidth={setLeft} side="left" />
      <section class="column map-column" aria-label="Map">
        <MapPanel />
        <SelectionBar />
      </section>
      <Splitter label="Width of the evidence column" width={right} onWidth={setRight} side="right" />
      <section class="column evidence-column" aria-label="Evidence">
        <Evidence />
      </section>
    </div>
  );
}
