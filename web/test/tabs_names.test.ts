/** What clusters are called: by the verdict of the study, and by a person. */

import { expect, it } from "vitest";
import type { App } from "../src/app";
import { titled } from "../src/atlas";
import { clusterName, isRenamed, legendText, onClusterNames, renameCluster } from "../src/clusterNames";
import type { LegendEntry } from "../src/colour";
import type { ColumnInfo, ModelInfo } from "../src/manifest";
import { clusterTitle, clusterWord, clusterWords } from "../src/verdict";

const app = (hash: string) => ({ atlas: { manifest: { atlas_hash: hash } } }) as unknown as App;
const CLUSTERS = "3 clusters, stable and parted by valleys: mean Jaccard 0.98 over halves of the images. 5 regions were asked for.";
const CONTINUUM = "A continuum, not clusters: 5 regions divide it.";
const named = (name: string, text = CLUSTERS) => ({ info: { name, clusters: { text } as ModelInfo["clusters"] } });
const model = named("z16");

it("keeps a name for one atlas and one model, tells who listens, and gives the number back", () => {
  let calls = 0;
  const stop = onClusterNames(() => calls++);
  expect(clusterName(app("a"), model, 2)).toBe("Cluster 2");
  renameCluster(app("a"), model, 2, "  <img src=x onerror=alert(1)> ");
  expect(clusterName(app("a"), model, 2)).toBe("<img src=x onerror=alert(1)>");
  expect(clusterName(app("b"), model, 2)).toBe("Cluster 2");
  expect(clusterName(app("a"), named("z4"), 2)).toBe("Cluster 2");
  renameCluster(app("a"), model, 2, "");
  expect(clusterName(app("a"), model, 2)).toBe("Cluster 2");
  stop();
  renameCluster(app("a"), model, 1, "x".repeat(200));
  expect(clusterName(app("a"), model, 1)).toHaveLength(60);
  expect(calls).toBe(2);
});

it("is not fooled by names of objects", () => {
  expect(clusterName(app("a"), model, "constructor")).toBe("Cluster constructor");
});

it("calls them regions where the study found a continuum", () => {
  const continuum = named("z8", CONTINUUM);
  expect([CLUSTERS, "", CONTINUUM, "There is only one region: 3 images, 1 different latents."].map((text) => clusterWord(named("z", text).info))).toEqual([
    "cluster", "cluster", "region", "region",
  ]);
  expect(clusterName(app("a"), continuum, 2)).toBe("Region 2");
  renameCluster(app("a"), continuum, 2, "Region 2");
  expect(isRenamed(app("a"), continuum, 2)).toBe(false);
  renameCluster(app("a"), continuum, 2, "old ones");
  expect(clusterName(app("a"), continuum, 2)).toBe("old ones");
});

it("takes the verdict where the bundle has one, whatever the sentence says", () => {
  const judged = (verdict: string, text: string) => clusterWord({ clusters: { verdict, text } as ModelInfo["clusters"] });
  expect([judged("clusters", CONTINUUM), judged("continuum", CLUSTERS), judged("", CLUSTERS)]).toEqual(["cluster", "region", "region"]);
});

it("calls those of several models by one word, or by both", () => {
  const [clusters, continuum] = [named("z4").info, named("z8", CONTINUUM).info];
  expect(clusterWords([clusters, clusters])).toBe("clusters");
  expect(clusterWords([continuum, continuum])).toBe("regions");
  expect(clusterWords([continuum, clusters])).toBe("clusters and regions");
  expect([[clusters], [continuum], [clusters, continuum]].map(clusterTitle)).toEqual(["Clusters", "Regions", "Clusters and regions"]);
});

it("gives the legend the names, and the column the word", () => {
  const continuum = named("z9", CONTINUUM);
  const entry: LegendEntry = { colour: [0, 0, 0], text: "1", n: 4, codes: [1] };
  expect(legendText(app("a"), continuum, "cluster", entry)).toBe("Region 1");
  expect(legendText(app("a"), continuum, "group", entry)).toBe("1");
  expect(legendText(app("a"), continuum, "cluster", { ...entry, text: "other (3 values)", codes: [4, 5, 6] })).toBe("other (3 values)");
  const column = { name: "cluster", title: "Cluster", kind: "category" } as ColumnInfo;
  expect(titled(column, continuum.info)).toEqual({ ...column, title: "Region" });
  expect(titled(column, model.info)).toEqual(column);
  expect(titled({ ...column, name: "group", title: "Group" }, continuum.info).title).toBe("Group");
  expect(titled({ ...column, name: "split", title: "Part" }).title).toBe("Split");
});
