/** The tab of models: all of the study in one table, and two of them side by side. */

import { useState } from "preact/hooks";
import { useApp, usePart } from "../app";
import { Compare } from "./models/Compare";
import { ModelTable } from "./models/ModelTable";
import { Overlap } from "./models/Overlap";
import { Reconstructions } from "./models/Reconstructions";
import { Section, TabPage } from "./common";

const TITLE = "Models";

export function Models() {
  const { atlas } = useApp();
  const current = usePart((state) => state.model);
  const { models, comparison } = atlas.manifest;
  const names = models.map((model) => model.name);
  const [pair, setPair] = useState<[string, string]>(() => [current, names.find((name) => name !== current) ?? current]);
  return (
    <TabPage title={TITLE}>
      <Section title={`${models.length === 1 ? "The model" : `The ${models.length} models`} of this study`}>
        <ModelTable models={models} />
      </Section>
      <Section title="The image in focus by every model">
        <Reconstructions models={models} />
      </Section>
      {models.length === 1 ? (
        <p class="message">
          This study has one model, so there is nothing to compare. A study with several, such as <code>--latent-dim 4 16 32</code>, shows them here side
          by side.
        </p>
      ) : (
        <>
          <Section title="Two models side by side" note="Row for row the same images: what is selected, in focus or under the pointer in one map is marked in the other.">
            <Compare pair={pair} setPair={setPair} />
          </Section>
          {comparison && models.length > 2 && (
            <Section title="Neighbours shared between all models" note="Mean share of the nearest images in the latent space of one model that are also nearest in the other.">
              <Overlap overlap={comparison.neighbour_overlap} />
            </Section>
          )}
        </>
      )}
    </TabPage>
  );
}
