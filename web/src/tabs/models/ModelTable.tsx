/** All models of the study with what they are judged by. */

import type { ComponentChildren } from "preact";
import { switchModel } from "../../act";
import { useApp, usePart } from "../../app";
import { formatNumber } from "../../atlas";
import type { ModelInfo } from "../../manifest";
import { levelName, levelsOf } from "../../levels";
import { clusterTitle } from "../../verdict";
import { countText, fixed, WideTable } from "../common";
import { activeDims, gainText, hasEmpty, hasExact, judgedOn, metric } from "./figures";

interface Figure {
  title: string;
  hint: string;
  value: (model: ModelInfo) => number | null;
  text?: (model: ModelInfo) => ComponentChildren;
  digits?: number;
  /** Which end is better; none where neither is. */
  better?: "high" | "low";
}

/** Distortion and ELBO are in nats of a likelihood: none is the better one where the models have different ones. */
const ofOneLikelihood = (models: readonly ModelInfo[]): boolean => new Set(models.map((model) => model.likelihood)).size === 1;

/** The three gains over PCA; studies of 0.1.0 do not have them. */
const gainFigures = (models: readonly ModelInfo[], unit: string): Figure[] => {
  const measures = [
    ["", "Gain over PCA [dB]", "mean PSNR less that of PCA with as many dimensions; in brackets its 95 % interval over groups"],
    ["content_", "Gain, with content [dB]", `the same without nearly empty ${unit}s`],
    ["pooled_", "Gain, pooled [dB]", "the same by the squared error pooled over all pixels"],
  ] as const;
  const known = measures.filter(([measure]) => models.some((model) => gainText(model, measure)));
  if (known.length < measures.length) return [];
  const shown = known.filter(([measure]) => measure !== "content_" || models.some(hasEmpty)); // else it repeats the mean
  return shown.map(([measure, title, hint]) => ({ title, hint, value: (m) => metric(m, `${measure}gain_db`), text: (m) => gainText(m, measure) || "–", better: "high" }));
};

/** How the rate divides into that of z and those of local latents, where a model has any. */
const levelFigures = (models: readonly ModelInfo[], unit: string): Figure[] => {
  if (!models.some((model) => levelsOf(model).length > 0)) return [];
  const of = (model: ModelInfo, side: number) => levelsOf(model).find((level) => level.side === side)?.rate_nats ?? null;
  const sides = [...new Set(models.flatMap((model) => levelsOf(model).map((level) => level.side)))].sort((a, b) => a - b);
  return sides.map((side) => ({
    title: side === 0 ? "Rate of z [nats]" : `Local, ${levelName(side)} [nats]`,
    hint: side === 0 ? `what z alone says about a validation ${unit}` : `what the local latents on a map of ${levelName(side)} cells say about a validation ${unit}`,
    value: (model) => of(model, side),
    digits: 1,
  }));
};

const figuresOf = (models: readonly ModelInfo[], unit: string): Figure[] => [
  { title: "Latent size", hint: "dimensions of the latent space", value: (m) => m.latent_dim, digits: 0 },
  { title: "In use", hint: "active dimensions", value: activeDims, digits: 0 },
  { title: "Parameters", hint: "weights of encoder and decoder", value: (m) => m.n_parameters, text: (m) => countText(m.n_parameters) },
  { title: "Distortion [nats]", hint: "error of the reconstructions; lower is better", value: (m) => metric(m, "distortion_nats"), digits: 1, ...(ofOneLikelihood(models) && { better: "low" as const }) },
  { title: "Rate [nats]", hint: "how much the latent says about an image", value: (m) => metric(m, "rate_nats"), digits: 1 },
  ...levelFigures(models, unit),
  { title: "ELBO [nats]", hint: "evidence lower bound; higher is better", value: (m) => metric(m, "elbo_nats"), digits: 1, ...(ofOneLikelihood(models) && { better: "high" as const }) },
  { title: "PSNR [dB]", hint: "how close the reconstructions are; higher is better", value: (m) => metric(m, "psnr_db"), digits: 2, better: "high" },
  { title: "PCA PSNR [dB]", hint: "the same for a PCA with as many dimensions", value: (m) => metric(m, "pca_psnr_db"), digits: 2 },
  ...gainFigures(models, unit),
  { title: "SSIM", hint: "structural similarity; 1 is identical", value: (m) => metric(m, "ssim"), digits: 3, better: "high" },
  { title: "Effective β", hint: "weight of the rate, per noise of the pixels", value: (m) => m.effective_beta, digits: 1 },
  { title: clusterTitle(models), hint: "by k-means; the tab of each model says what they are worth", value: (m) => m.clusters.k, digits: 0 },
  { title: "Mismatch [nats]", hint: "divergence of all latents together from the prior; lower means that samples look more like the data", value: (m) => m.mismatch.kl_nats, digits: 2, better: "low" },
];

export function ModelTable({ models }: { models: readonly ModelInfo[] }) {
  const app = useApp();
  const current = usePart((state) => state.model);
  const unit = app.atlas.unit;
  const figures = figuresOf(models, unit);
  const splits = [...new Set(models.map(judgedOn))].filter(Boolean).join(", ");
  return (
    <>
      <WideTable label="Models of this study">
        <table class="models small">
          <thead>
            <tr>
              <th scope="col">Model</th>
              {figures.map(({ title, hint }) => (
                <th key={title} scope="col" class="number" title={hint}>
                  {title}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {models.map((model) => (
              <tr key={model.name} aria-current={model.name === current ? "true" : undefined}>
                <th scope="row">
                  <span class="row">
                    {model.name}
                    {model.name === current ? (
                      <strong class="in-view">in view</strong>
                    ) : (
                      <button type="button" class="small" aria-label={`Open ${model.name}`} onClick={() => void switchModel(app, model.name)}>
                        Open
                      </button>
                    )}
                  </span>
                </th>
                {figures.map((figure) => (
                  <Cell key={figure.title} figure={figure} model={model} models={models} />
                ))}
              </tr>
            ))}
          </tbody>
        </table>
      </WideTable>
      <p class="soft small prose">
        {splits ? `Judged on the ${splits} split. ` : "How well the models do was not kept. "}{models.length > 1 && "Bold: the best of the study. "}Nats are per {unit}.
        {models.some((model) => levelsOf(model).length > 0) && " The rates of z and of each map of local latents are those of the validation split, which add up to its rate."} A PCA of the same size is the
        yardstick: a model that does not beat it has learned little more than straight lines.
        {models.some(hasExact) && " Some images come back exactly, as evenly grey ones can: each counts as 100 dB, where PSNR ends, and lifts the mean."}
      </p>
    </>
  );
}

function Cell({ figure, model, models }: { figure: Figure; model: ModelInfo; models: readonly ModelInfo[] }) {
  const value = figure.value(model);
  const text = figure.text?.(model) ?? (value === null ? "–" : figure.digits === undefined ? formatNumber(value) : fixed(value, figure.digits));
  return <td class="number">{isBest(figure, value, models) ? <strong>{text}</strong> : text}</td>;
}

function isBest(figure: Figure, value: number | null, models: readonly ModelInfo[]): boolean {
  if (figure.better === undefined || value === null || models.length < 2) return false;
  const values = models.map(figure.value).filter((other) => other !== null);
  return value === (figure.better === "high" ? Math.max(...values) : Math.min(...values));
}
