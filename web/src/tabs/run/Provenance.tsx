/** Command, data, split, versions, the choices of the training, and the two networks. */

import { useApp } from "../../app";
import type { Model } from "../../atlas";
import type { NetInfo } from "../../manifest";
import { bytesText, countText, Facts, type Fact, fixed, isRecord, settingText, WideTable } from "../common";
import { commandText } from "./history";

export function Provenance() {
  const { atlas } = useApp();
  const { run, images, atlas_hash, zatlas, title } = atlas.manifest;
  const splits = Object.entries(run.split.counts).map(([split, n]) => `${split} ${countText(n)}`);
  return (
    <>
      <p class="soft small">Command</p>
      <pre class="command" tabIndex={0} aria-label="Command that made this study">
        {commandText(run.command) || "not known: the study was made from Python"}
      </pre>
      <Facts
        facts={[
          ["Study", title],
          ["Data", `${run.data}${run.is_synthetic ? " (phantom data)" : ""}`],
          ["Images", `${countText(images.n)} ${images.is_tiled ? "tiles" : "images"} of ${images.side_px} × ${images.side_px} pixels, ${images.channels} ${images.channels === 1 ? "channel" : "channels"}`],
          ["Grey values", `scaled by ${images.scaling.kind}: (value − ${settingText(images.scaling.offset)}) / ${settingText(images.scaling.factor)}`],
          ["Seed", String(run.seed)],
          ["zatlas", zatlas],
          ["Splits", splits.join(", ") || "not split"],
          ["Why split so", run.split.reason || "–", "wide"],
          ["Data fingerprint", <code class="hash">{run.fingerprint}</code>, "wide"],
          ["Atlas hash", <code class="hash">{atlas_hash}</code>, "wide"],
        ]}
      />
      {run.split.warnings.map((warning) => (
        <p key={warning} class="message problem prose">
          <strong>Mind:</strong> {warning}
        </p>
      ))}
      <details>
        <summary>Versions of the programs</summary>
        <Facts facts={Object.entries(run.environment)} />
      </details>
    </>
  );
}

/** What the training decided by itself, and why. */
export function Choices({ model }: { model: Model }) {
  const { atlas } = useApp();
  const training = atlas.manifest.run.training[model.info.name];
  if (training === undefined) return <p class="soft">How this model was trained was not kept.</p>;
  const choices = isRecord(training.choices) ? Object.entries(training.choices) : [];
  return (
    <>
      <Facts facts={trainingFacts(training)} />
      {choices.length > 0 && (
        <WideTable label="Choices made in training">
          <table class="small choices">
            <caption>Choices made in training</caption>
            <thead>
              <tr>
                <th scope="col">What</th>
                <th scope="col">Choice</th>
                <th scope="col">Reason</th>
              </tr>
            </thead>
            <tbody>
              {choices.map(([name, choice]) => (
                <tr key={name}>
                  <th scope="row">{name.replaceAll("_", " ")}</th>
                  <td>{settingText(isRecord(choice) ? choice.value : choice)}</td>
                  <td>{isRecord(choice) ? settingText(choice.reason).replace(PAGE, "") : "–"}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </WideTable>
      )}
    </>
  );
}

/** A page of the documentation that has the measurement behind a reason. */
const PAGE = / \([a-z_]+\.md\)/;
const NONE_BETTER = "0: the network as training began, at principal components; no epoch was better on the validation split";

function trainingFacts(training: Record<string, unknown>): Fact[] {
  const facts: Fact[] = [];
  if (typeof training.epochs === "number") facts.push(["Epochs", countText(training.epochs)]);
  if (typeof training.best_epoch === "number") facts.push(["Epoch kept", training.best_epoch === 0 ? NONE_BETTER : `${training.best_epoch}, the best on the validation split`]);
  if (typeof training.steps === "number") facts.push(["Steps", countText(training.steps)]);
  if (typeof training.seconds === "number") facts.push(["Time", timeText(training.seconds)]);
  if (typeof training.rollbacks === "number" && training.rollbacks > 0) facts.push(["Rollbacks", `${training.rollbacks}: the training went back to an earlier state`]);
  return facts;
}

export function timeText(seconds: number): string {
  if (seconds < 90) return `${seconds.toFixed(0)} s`;
  return seconds < 5400 ? `${(seconds / 60).toFixed(0)} min` : `${(seconds / 3600).toFixed(1)} h`;
}

export function Nets({ model }: { model: Model }) {
  const { decoder, encoder } = model.info;
  const app = useApp();
  const runsIn = app.decoder.runsIn(model.info);
  const python = app.atlas.source.kind === "notebook" ? "runs in the Python of the notebook" : "runs on the local server";
  const places = { browser: "runs in this browser", server: python, none: "" };
  return (
    <div class="two">
      <Net title="Decoder" what="latent to picture" net={decoder} where={places[runsIn.kind]} />
      <Net title="Encoder" what="picture to latent" net={encoder} where={encoder ? "runs in this browser when an image is dropped on the page" : ""} />
    </div>
  );
}

function Net({ title, what, net, where }: { title: string; what: string; net: NetInfo | null; where: string }) {
  return (
    <section class="card" aria-label={title}>
      <h4>
        {title} <span class="soft">{what}</span>
      </h4>
      {net === null ? (
        <p class="soft">This atlas does not hold it.{where && ` Here it ${where}.`}</p>
      ) : (
        <>
          <p>{net.words}</p>
          <Facts
            facts={[
              ["Here", where || "cannot run here"],
              ["Work", `${workText(net.multiply_adds)} multiply-adds per image`],
              ["Checked", `greatest difference from PyTorch ${net.max_abs_difference.toExponential(1).replace("-", "−")} over ${net.n_checked} latents or images`],
              ["File", `${net.file.path}, ${bytesText(net.file.bytes)}`],
              ["sha256", <code class="hash">{net.sha256}</code>, "wide"],
            ]}
          />
        </>
      )}
    </section>
  );
}

function workText(operations: number): string {
  if (operations >= 1e9) return `${fixed(operations / 1e9, 1)} thousand million`;
  return operations >= 1e6 ? `${fixed(operations / 1e6, 0)} million` : countText(operations);
}

/** All settings of the study, folded away. */
export function Settings() {
  const { atlas } = useApp();
  const settings = Object.entries(atlas.manifest.run.config).flatMap(([section, value]): [string, unknown][] =>
    isRecord(value) ? Object.entries(value).map(([name, inner]) => [`${section}.${name}`, inner]) : [[section, value]],
  );
  if (settings.length === 0) return null;
  return (
    <details>
      <summary>All {settings.length} settings</summary>
      <Facts facts={settings.map(([name, value]) => [name, settingText(value)])} />
    </details>
  );
}
