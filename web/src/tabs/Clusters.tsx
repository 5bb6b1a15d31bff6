/** The tab of clusters, or of the regions of a continuum: how far they are real, what is typical of each, and how to reach them on the map. */

import { useMemo } from "preact/hooks";
import { useApp, useModel, useModelInfo, usePart } from "../app";
import type { Model } from "../atlas";
import { colourBy, css, OTHER } from "../colour";
import { ClusterCard } from "./clusters/Card";
import { useClusterNames } from "../clusterNames";
import { silhouetteWords, stabilityWords } from "./clusters/words";
import { clusterTitle, clusterWord } from "../verdict";
import { AnotherDraw } from "../parts/AnotherDraw";
import { countText, Facts, fixed, imageCount, Loading, TabPage } from "./common";

export function Clusters() {
  const model = useModel();
  const title = clusterTitle([useModelInfo()]);
  if (model === null) return <Loading title={title} />;
  return model.info.clusters.items.length ? <Loaded model={model} title={title} /> : <None title={title} />;
}

function None({ title }: { title: string }) {
  return (
    <TabPage title={title}>
      <p class="message">This model has no {title.toLowerCase()}. The map shows how its images lie.</p>
    </TabPage>
  );
}

function Loaded({ model, title }: { model: Model; title: string }) {
  const { clusters } = model.info;
  const word = clusterWord(model.info);
  const colours = useClusterColours(model);
  useClusterNames();
  const { atlas } = useApp();
  const selection = usePart((state) => state.selection);
  const aside = selection && <span class="soft">{`${countText(selection.rows.length)} of ${imageCount(atlas.n)} selected`}</span>;
  return (
    <TabPage title={title} aside={aside}>
      {clusters.text && <p class="message prose">{clusters.text}</p>}
      <Facts
        facts={[
          [title, String(clusters.k)],
          ["Silhouette", `${fixed(clusters.silhouette)} – ${silhouetteWords(clusters.silhouette, word)}`],
          ["Stability", `${fixed(clusters.stability)} – ${stabilityWords(clusters.stability)}`],
        ]}
      />
      <p class="soft small prose">
        {title} divide the latent space of {model.info.name} by k-means; they are not classes of the images. “More” and “fewer” mean: by a quarter at
        least, and by three times the square root of the number expected from the {word}’s size. Images of one group resemble each other, so this is
        a description and not a test.
      </p>
      <AnotherDraw model={model.info} hasWords />
      <div class="cluster-cards">
        {clusters.items.map((item) => (
          <ClusterCard key={item.cluster} model={model} item={item} colour={colours.get(item.cluster) ?? css(OTHER)} />
        ))}
      </div>
    </TabPage>
  );
}

/** The colours that the clusters have on the map. */
function useClusterColours(model: Model): Map<number, string> {
  const { atlas } = useApp();
  return useMemo(() => {
    const column = atlas.column("cluster", model);
    const colours = new Map<number, string>();
    if (column === null) return colours;
    const { legend } = colourBy(atlas.n, column);
    if (legend.kind !== "categories") return colours;
    for (const entry of legend.entries) for (const code of entry.codes) colours.set(Number(column.info.categories?.[code]), css(entry.colour));
    return colours;
  }, [atlas, model]);
}
