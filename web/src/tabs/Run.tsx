/** The tab of the run: how the model was trained, on what, by which command, and what this atlas holds. */

import { useApp, useModel } from "../app";
import type { Model } from "../atlas";
import { countText, Loading, Section, TabPage } from "./common";
import { Curves } from "./run/Curves";
import { Files } from "./run/Files";
import { Choices, Nets, Provenance, Settings } from "./run/Provenance";

const TITLE = "Run";

export function Run() {
  const model = useModel();
  return model === null ? <Loading title={TITLE} /> : <Loaded model={model} />;
}

function Loaded({ model }: { model: Model }) {
  const { atlas } = useApp();
  const { run, privacy } = atlas.manifest;
  return (
    <TabPage title={TITLE}>
      {run.is_synthetic && (
        <p class="message">
          <strong>Phantom data.</strong> These images were computed to try the program out. They show no animal and no person.
        </p>
      )}
      <Section title={`Training of ${model.info.name}`}>
        <Curves model={model} />
        <Choices model={model} />
      </Section>
      <Section title="Where this comes from">
        <Provenance />
      </Section>
      <Section title={`Networks of ${model.info.name}`}>
        <Nets model={model} />
      </Section>
      <Section title="What this atlas holds">
        <p class="message prose">{privacy.words}</p>
        {privacy.contains.length > 0 && (
          <ul class="plain-list">
            {privacy.contains.map((item) => (
              <li key={item}>{item}</li>
            ))}
          </ul>
        )}
        <Files files={atlas.manifest.files} />
      </Section>
      <Settings />
      <p class="soft prose">
        Research software, not a medical device: nothing here is fit for diagnosis. {countText(atlas.n)} images; every picture that the model makes says so.
      </p>
    </TabPage>
  );
}
