/** One cluster: its name, its images, what is frequent in it, and what one can do with it. */

import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { select } from "../../act";
import { useApp, useDecoded } from "../../app";
import type { Model } from "../../atlas";
import { meanOf } from "../../latent";
import type { ClusterInfo } from "../../manifest";
import { GeneratedImage } from "../../parts/GeneratedImage";
import { RealImage } from "../../parts/RealImage";
import { SupportBadge } from "../../parts/SupportBadge";
import { explore, imageCount, percent } from "../common";
import { Counts } from "./Counts";
import { clusterName, isRenamed, renameCluster } from "../../clusterNames";
import { clusterWord, type ClusterWord } from "../../verdict";

interface Props {
  model: Model;
  item: ClusterInfo;
  colour: string;
}

const galleries = (word: ClusterWord) =>
  [
    ["central", "Central", "nearest to the centre"],
    ["random", "Random", "drawn by chance"],
    ["borderline", "Edge", `nearest to another ${word}`],
  ] as const;

export function ClusterCard({ model, item, colour }: Props) {
  const app = useApp();
  const name = clusterName(app, model, item.cluster);
  return (
    <article class="card cluster-card" aria-label={name} data-cluster={item.cluster}>
      <header>
        <span class="colour-dot" style={{ background: colour }} aria-hidden="true" />
        <Name model={model} cluster={item.cluster} />
        <span class="soft">
          {imageCount(item.size)}, {percent(item.share)}
        </span>
      </header>
      {galleries(clusterWord(model.info)).map(([key, title, words]) => (
        <div key={key} class="tile-group" role="group" aria-label={`${title} images of ${name}`}>
          <h4>
            {title} <span class="soft">{words}</span>
          </h4>
          <div class="tile-row">
            {item[key].length === 0 && <p class="soft small">none</p>}
            {item[key].map((row) => (
              <RealImage key={row} row={row} />
            ))}
          </div>
        </div>
      ))}
      {item.counts.length === 0 ? (
        <p class="soft small">No groups or labels came with the images, so nothing can be counted.</p>
      ) : (
        item.counts.map((counts) => <Counts key={counts.column} model={model} counts={counts} />)
      )}
      <Actions model={model} cluster={item.cluster} name={name} />
    </article>
  );
}

function Name({ model, cluster }: { model: Model; cluster: number }) {
  const app = useApp();
  const [isEdited, setEdited] = useState(false);
  const field = useRef<HTMLInputElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const wasEdited = useRef(false);
  useEffect(() => {
    if (isEdited) field.current?.select();
    else if (wasEdited.current) button.current?.focus();
    wasEdited.current = isEdited;
  }, [isEdited]);
  const name = clusterName(app, model, cluster);
  if (!isEdited) {
    return (
      <>
        <h3>{name}</h3>
        {isRenamed(app, model, cluster) && <span class="soft small">{clusterWord(model.info)} {cluster}</span>}
        <button ref={button} type="button" class="quiet small" aria-label={`Rename ${name}`} onClick={() => setEdited(true)}>
          Rename
        </button>
      </>
    );
  }
  const keep = () => {
    renameCluster(app, model, cluster, field.current?.value ?? "");
    setEdited(false);
  };
  return (
    <form
      class="row"
      onSubmit={(event) => {
        event.preventDefault();
        keep();
      }}
      onKeyDown={(event) => {
        if (event.key !== "Escape") return;
        event.stopPropagation();
        setEdited(false);
      }}
    >
      <input ref={field} type="text" maxLength={60} defaultValue={name} aria-label={`Name of ${clusterWord(model.info)} ${cluster}`} />
      <button type="submit">Keep</button>
    </form>
  );
}

function Actions({ model, cluster, name }: { model: Model; cluster: number; name: string }) {
  const app = useApp();
  const [hasMean, setMean] = useState(false);
  const value = categoryOf(app.atlas.column("cluster", model)?.info.categories, cluster);
  const choose = (mode: "replace" | "add") => {
    select(app, { kind: "values", mode, column: "cluster", values: [value] });
    if (mode === "replace") explore(app);
  };
  return (
    <footer>
      <div class="row">
        <button type="button" class="primary" onClick={() => choose("replace")}>
          Select on map
        </button>
        <button type="button" onClick={() => choose("add")}>
          Add to selection
        </button>
        <button type="button" aria-pressed={hasMean} onClick={() => setMean(!hasMean)}>
          Show its mean
        </button>
      </div>
      <Difference model={model} cluster={cluster} name={name} />
      {hasMean && <Mean model={model} value={value} name={name} />}
    </footer>
  );
}

/** Steer along the line from the mean of this cluster to that of another. */
function Difference({ model, cluster, name }: { model: Model; cluster: number; name: string }) {
  const app = useApp();
  const others = model.info.clusters.items.filter((item) => item.cluster !== cluster);
  const [chosen, setChosen] = useState(others[0]?.cluster ?? -1);
  if (others.length === 0) return null;
  const categories = app.atlas.column("cluster", model)?.info.categories;
  const go = () =>
    explore(app, {
      steer: "class",
      direction: { column: "cluster", from: categoryOf(categories, cluster), to: categoryOf(categories, chosen) },
    });
  return (
    <div class="row">
      <label class="row">
        Difference to
        <select value={chosen} aria-label={`Difference of ${name} to`} onChange={(event) => setChosen(Number(event.currentTarget.value))}>
          {others.map((item) => (
            <option key={item.cluster} value={item.cluster}>
              {clusterName(app, model, item.cluster)}
            </option>
          ))}
        </select>
      </label>
      <button type="button" onClick={go}>
        Steer along it
      </button>
    </div>
  );
}

/** The decoded mean of the members' latents. */
function Mean({ model, value, name }: { model: Model; value: string; name: string }) {
  const app = useApp();
  const z = useMemo(() => {
    const mask = new Uint8Array(app.atlas.n).fill(1);
    app.apply({ kind: "values", column: "cluster", values: [value] }, model.info.name, mask);
    return meanOf(model, mask);
  }, [app, model, value]);
  const latents = useMemo(() => (z === null ? null : [z]), [z]);
  const { frames, error, isBusy } = useDecoded(model, latents);
  if (z === null) return <p class="soft small">This {clusterWord(model.info)} has no images.</p>;
  if (error) return <p class="message problem">{error}</p>;
  return (
    <div class="cluster-mean">
      <GeneratedImage frames={frames} label={`Decoded mean of ${name}`} isStale={isBusy} />
      <div>
        <SupportBadge value={app.support(model, z)} k={model.info.support.k} />
        <p class="soft small">Decoded from the mean of the members’ latents, not the mean of their pictures. No image of the data need look like this.</p>
        <button
          type="button"
          onClick={() => explore(app, { z: [...z], origin: { kind: "sliders", from: null }, focus: null, steer: "z" })}
        >
          Steer from here
        </button>
      </div>
    </div>
  );
}

/** How the column of clusters writes a cluster. */
function categoryOf(categories: readonly string[] | undefined, cluster: number): string {
  return categories?.find((category) => category === String(cluster)) ?? categories?.[cluster] ?? String(cluster);
}
