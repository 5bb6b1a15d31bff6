/** A slider from the mean latent of one class to that of another: what the model thinks makes them differ. */

import { useMemo, useRef } from "preact/hooks";
import { useApp, useModel, usePart } from "../../app";
import type { Column, Model } from "../../atlas";
import { distanceBetween, meanLatent, meanOf } from "../../latent";
import { useSlide } from "./slide";

const MOST_CLASSES = 60;

/** Columns with at least two classes. */
export function classColumns(columns: readonly Column[]): Column[] {
  return columns.filter(({ info }) => {
    const count = info.categories?.length ?? 0;
    return info.kind === "category" && count >= 2 && count <= MOST_CLASSES;
  });
}

export function ClassDifference({ model }: { model: Model }) {
  const app = useApp();
  const direction = usePart((state) => state.direction);
  const columns = classColumns([...model.columns, ...app.atlas.columns]);
  const column = columns.find((item) => item.info.name === direction?.column) ?? null;
  if (columns.length === 0) return <p class="message">These images have no labels with two or more classes.</p>;
  const choose = (name: string) => {
    const chosen = columns.find((item) => item.info.name === name);
    const categories = chosen?.info.categories ?? [];
    app.store.set({ direction: chosen ? { column: name, from: categories[0], to: categories[1] } : null });
  };
  return (
    <div class="difference">
      <label>
        Classes of{" "}
        <select value={column?.info.name ?? ""} onChange={(event) => choose(event.currentTarget.value)}>
          <option value="">choose …</option>
          {columns.map(({ info }) => (
            <option key={info.name} value={info.name}>
              {info.title}
            </option>
          ))}
        </select>
      </label>
      {column && direction && <DifferenceSlider column={column} />}
    </div>
  );
}

function DifferenceSlider({ column }: { column: Column }) {
  const app = useApp();
  const model = useModel() as Model;
  const move = useSlide();
  const direction = usePart((state) => state.direction);
  const z = usePart((state) => state.z);
  const base = useRef<{ z: number[]; t: number } | null>(null);
  const categories = column.info.categories ?? [];
  const found = useMemo(() => meansOf(model, column, direction?.from ?? "", direction?.to ?? ""), [model, column, direction]);
  if (direction === null) return null;
  const along = base.current && z && distanceBetween(z, base.current.z) < 1e-5 ? base.current.t : 0;
  const set = (t: number) => {
    if (found === null) return;
    const from = app.store.get().z ?? meanLatent(model);
    const next = from.map((value, j) => value + (t - along) * (found.to[j] - found.from[j]));
    base.current = { z: next, t };
    move(next, "class slider");
  };
  const pick = (end: "from" | "to") => (
    <select value={direction[end]} aria-label={end === "from" ? "From class" : "To class"} onChange={(event) => app.store.set({ direction: { ...direction, [end]: event.currentTarget.value } })}>
      {categories.map((name) => (
        <option key={name} value={name}>
          {name}
        </option>
      ))}
    </select>
  );
  return (
    <>
      <div class="row">
        {pick("from")} <span aria-hidden="true">→</span> {pick("to")}
      </div>
      {found === null ? (
        <p class="message">One of these classes has no training images: its mean is not known.</p>
      ) : (
        <div class="slider">
          <div class="slider-head">
            <label for="slider-class">Steps of the difference</label>
            <output for="slider-class">{along.toFixed(2).replace("-", "−")}</output>
          </div>
          <input id="slider-class" data-slider type="range" min={-2} max={2} step={0.05} value={along} onInput={(event) => set(Number(event.currentTarget.value))} />
          <p class="small soft">
            Means of {found.nFrom} and {found.nTo} training images, {found.length.toFixed(2)} apart. A difference of means mixes
            all that differs between the classes, also how and where they were taken.
          </p>
        </div>
      )}
    </>
  );

  function meansOf(of: Model, by: Column, fromName: string, toName: string) {
    const count = (name: string) => {
      const code = by.info.categories?.indexOf(name) ?? -1;
      const mask = new Uint8Array(app.atlas.n);
      let n = 0;
      for (let i = 0; i < mask.length; i++) n += mask[i] = by.values[i] === code && app.isTraining[i] ? 1 : 0;
      return { mask, n };
    };
    const from = count(fromName);
    const to = count(toName);
    const [a, b] = [meanOf(of, from.mask), meanOf(of, to.mask)];
    return a && b ? { from: a, to: b, nFrom: from.n, nTo: to.n, length: distanceBetween(a, b) } : null;
  }
}
