"""What the report says about priors: which one a model was trained with, and which fit its latents after training."""

from typing import Any

import numpy as np
import pandas as pd

from zatlas.model.prior_words import STANDARD, prior_words
from zatlas.report.figures.style import plain
from zatlas.report.findings.words import listing, metric
from zatlas.report.tables import table_block
from zatlas.results.kinds import ModelResults, StudyResults

__all__ = ["divergence_words", "prior_blocks"]

_NOT_TOLD = 0.6  # AUC up to which latents are called hard to tell from draws


def divergence_words(results: StudyResults) -> str:
    """From what the rate is a divergence, for all models."""
    kinds: dict[str, list[str]] = {}
    for model in results.models:
        kinds.setdefault(model.prior, []).append(plain(model.name))
    if set(kinds) <= {STANDARD}:
        return "N(0, I), summed over latent dimensions"
    names = [
        f"{prior_words(kind)}{f' ({listing(models)})' if len(kinds) > 1 else ''}" for kind, models in kinds.items()
    ]
    return f"{' or '.join(names)}; where it has no closed form, it is estimated with draws of the posterior"


def prior_blocks(results: StudyResults) -> list[dict[str, Any]]:
    """For each model a table of its own prior and those fitted after training, and what may be said of them."""
    blocks: list[dict[str, Any]] = []
    for model in results.models:
        if len(model.samples.priors):
            blocks += [_table(model), {"kind": "text", "text": _words(model, results.data.unit)}]
    return blocks


def _table(model: ModelResults) -> dict[str, Any]:
    found = model.samples.priors
    rates, aucs = found["rate_nats"].to_numpy(float), found["auc"].to_numpy(float)
    words = [f"{name}: {what}" for name, what in zip(found["name"], found["words"], strict=True)]
    shown = pd.DataFrame(
        {
            "prior": words,
            "fitted": [f"{when} the model" for when in found["when"]],
            "rate [nats]": rates,
            "bound (ELBO) [nats]": metric(model, "test", "elbo_nats") - (rates - rates[0]),
            "AUC": aucs,
        }
    )
    best = [(2, int(np.argmin(rates))), (4, int(np.argmin(np.abs(np.nan_to_num(aucs, nan=1.0) - 0.5))))]
    caption = (
        f"On {int(found['n'].iloc[0])} test latents, which no prior has seen. Encoder and decoder are the same for "
        "all, so the bound differs by the rate alone. AUC: how well the better of two classifiers (logistic regression "
        "on squares, boosted trees) tells the latents from draws of the prior; 0.5 not at all, 1 always. It is "
        "higher than that of the training latents above where test images differ from training images."
    )
    block = table_block(shown, f"Priors of {plain(model.name)}", caption, best=best, digits=4)
    for row, text in zip(block["rows"], words, strict=True):
        row[0] = plain(text, 200).replace("(-", "(−")
    return block


def _words(model: ModelResults, unit: str) -> str:
    found = model.samples.priors
    rates, aucs = found["rate_nats"].to_numpy(float), found["auc"].to_numpy(float)
    # Chosen by validation latents, so that the numbers of test latents are not those of the best of several.
    best = 1 + int(np.argmin(found["validation_rate_nats"].to_numpy(float)[1:]))
    gain = float(rates[0] - rates[best])
    text = (
        f"{plain(model.name)} was trained with {prior_words(model.prior)}. Of the priors fitted after training "
        f"validation latents prefer {list(found['name'])[best]}. On test {unit}s its bound is "
    )
    if gain > 0:
        text += (
            f"{gain:.1f} nats per {unit} above that of the model's own: so much of the rate is paid for a prior that "
            "the latents do not have."
        )
    else:
        text += "no higher than that of the model's own."
    if not np.isfinite(aucs[best]):
        return text
    told = "hardly told" if aucs[best] <= _NOT_TOLD else "told"
    return f"{text} Test latents are {told} from its draws (AUC {aucs[best]:.2f}; from those of its own {aucs[0]:.2f})."
