/** Names that a person gives to clusters. */

import { expect, it } from "vitest";
import type { App } from "../src/app";
import { clusterName, onClusterNames, renameCluster } from "../src/clusterNames";

const app = (hash: string) => ({ atlas: { manifest: { atlas_hash: hash } } }) as unknown as App;
const model = { info: { name: "z16" } };

it("keeps a name for one atlas and one model, tells who listens, and gives the number back", () => {
  let calls = 0;
  const stop = onClusterNames(() => calls++);
  expect(clusterName(app("a"), model, 2)).toBe("Cluster 2");
  renameCluster(app("a"), model, 2, "  <img src=x onerror=alert(1)> ");
  expect(clusterName(app("a"), model, 2)).toBe("<img src=x onerror=alert(1)>");
  expect(clusterName(app("b"), model, 2)).toBe("Cluster 2");
  expect(clusterName(app("a"), { info: { name: "z4" } }, 2)).toBe("Cluster 2");
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
