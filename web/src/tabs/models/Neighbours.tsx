/** The nearest images of the image in focus in two models: which they share. */

import { useApp, usePart } from "../../app";
import type { Model } from "../../atlas";
import { RealImage } from "../../parts/RealImage";
import { percent } from "../common";
import { comparedNeighbours, meanOverlap, sharedRows } from "./figures";

export function Neighbours({ a, b }: { a: Model; b: Model }) {
  const { atlas } = useApp();
  const focus = usePart((state) => state.focus);
  const mean = meanOverlap(atlas.manifest.comparison, a.info.name, b.info.name);
  const compared = comparedNeighbours(atlas.manifest.comparison, a.info.name, b.info.name, atlas.n);
  const k = Math.min(a.info.knn.k, b.info.knn.k);
  return (
    <section class="card" aria-label="Neighbours of both models">
      <h4>Neighbours of both</h4>
      <p>
        {mean === null
          ? "The study did not compare the neighbours of these two models."
          : compared === null
            ? `In the mean over all images, ${percent(mean)} of the nearest images are the same in both.`
            : `In the mean over all images, ${percent(mean)} of the ${compared.k} nearest images are the same in both; by chance it would be ${percent(compared.chance, 1)}.`}
      </p>
      {focus === null ? <p class="soft">Bring an image into focus to see which of its neighbours are the same.</p> : <OfFocus a={a} b={b} row={focus} k={k} />}
    </section>
  );
}

function OfFocus({ a, b, row, k }: { a: Model; b: Model; row: number; k: number }) {
  const { both, onlyA, onlyB } = sharedRows(rowsNear(a, row, k), rowsNear(b, row, k));
  const groups: [string, number[]][] = [
    ["in both", both],
    [`only in ${a.info.name}`, onlyA],
    [`only in ${b.info.name}`, onlyB],
  ];
  return (
    <>
      <p>
        For the image in focus: {both.length} of its {k} nearest.
      </p>
      {groups.map(([words, rows]) => (
        <div key={words} class="tile-group">
          <h5>
            {words} <span class="soft">({rows.length})</span>
          </h5>
          <div class="tile-row">
            {rows.length === 0 && <p class="soft small">none</p>}
            {rows.map((neighbour) => (
              <RealImage key={neighbour} row={neighbour} />
            ))}
          </div>
        </div>
      ))}
    </>
  );
}

function rowsNear(model: Model, row: number, k: number): number[] {
  const stored = model.info.knn.k;
  return [...model.knnRows.slice(row * stored, row * stored + k)];
}
