"""What the report says first: cards with the numbers of the best model, and the models side by side."""

import math
from typing import Any

import numpy as np
import pandas as pd

from zatlas.model.prior_words import STANDARD
from zatlas.report.figures.style import count, number, plain, signed
from zatlas.report.findings.words import (
    by_likelihood,
    exact_words,
    gain,
    groups_of_test,
    has_empty,
    listing,
    metric,
    unit_of,
)
from zatlas.report.tables import table_block
from zatlas.results.kinds import ModelResults, StudyResults
from zatlas.results.levels import levels
from zatlas.trust.gains import Gain, gain_text

__all__ = ["keys", "model_table"]

_WITH_CONTENT = "with content [dB]"
_AUC = "of the training split; 0.5: alike, 1: fully apart"


def keys(results: StudyResults) -> list[dict[str, str]]:
    """The cards at the top: a name, a value, and what to make of it."""
    data = results.data
    split = data.split_counts
    keys = [
        {"name": "Images", "value": f"{data.n_images:,}".replace(",", "\u202f"), "more": _split_words(split)},
    ]
    best = _best_model(results)
    if best is None:
        return keys
    psnr, gained = metric(best, "test", "psnr_db"), gain(best)
    if math.isfinite(psnr):
        keys.append({"name": "PSNR on test images", "value": f"{psnr:.1f} dB", "more": _about_best(best)})
    if math.isfinite(gained.db):
        keys.append(
            {
                "name": "Against PCA of the same size",
                "value": f"{signed(gained.db)} dB",
                "more": _three_gains(results, best) + _local_latents(best),
            }
        )
    active = int(np.sum(best.is_active))
    keys.append(
        {
            "name": "Active dimensions",
            "value": f"{active} of {best.latent_dim}",
            "more": f"rate{_of_z(best)} {number(_training_rate(best))} nats per training {results.data.unit}",
        }
    )
    if best.cluster_info.get("k"):
        keys.append(
            {"name": f"{best.cell.capitalize()}s", "value": str(best.cluster_info["k"]), "more": _verdict(best)}
        )
    auc = float(best.samples.mismatch.get("auc", float("nan")))
    if math.isfinite(auc):
        keys.append({"name": "Latents against the prior", "value": f"AUC {auc:.2f}", "more": _AUC})
    return keys


def _local_latents(model: ModelResults) -> str:
    return f"; the VAE also has {model.n_local} local latents, PCA has none" if model.n_local else ""


def _three_gains(results: StudyResults, model: ModelResults) -> str:
    """The verdict on one model in three measures, as short as can be."""
    if not math.isfinite(gain(model, "pooled_").db):
        return "on test images; above 0 the VAE is better"
    groups = groups_of_test(results, model)
    words = f"{gain_text(gain(model), model.latent_dim)} on {groups or 'one test group, without an interval'}"
    if has_empty(model):
        words += f"; without empty {unit_of(results)}s {_gain_cell(gain(model, 'content_'))}"
    return f"{words}; pooled error {_gain_cell(gain(model, 'pooled_'))}"


def _gain_cell(found: Gain) -> str:
    """`+0.81 [+0.75, +0.88]`."""
    if not math.isfinite(found.db):
        return "–"
    ends = f" [{signed(found.low)}, {signed(found.high)}]" if math.isfinite(found.low) else ""
    return f"{signed(found.db)}{ends}"


def _of_z(model: ModelResults) -> str:
    """What `_training_rate` counts, where that is not all of it."""
    return " of z" if model.n_local and model.prior == STANDARD else ""


def _training_rate(model: ModelResults) -> float:
    """Mean rate of the training latents; the sum over dimensions where the prior has a rate by dimension."""
    is_standard = model.prior == STANDARD
    return float(np.sum(model.rate_per_dim)) if is_standard else metric(model, "train", "rate_nats")


def _split_words(split: dict[str, int]) -> str:
    names = {"train": "training", "validation": "validation", "test": "test"}
    return ", ".join(f"{split[part]} {word}" for part, word in names.items() if split.get(part))


def _verdict(model: ModelResults) -> str:
    """What the cells of k-means are, which the name of the card calls by their number."""
    words = {"clusters": "stable, with gaps between them", "continuum": "of a continuum, without gaps between them"}
    return words.get(str(model.cluster_info.get("verdict", "")), "by k-means")


def _about_best(model: ModelResults) -> str:
    name = f"the best model, {plain(model.name)}"
    if model.kept_epoch == 0:
        return f"{name}, as training began: no epoch was better on validation than PCA"
    return name


def _best_model(results: StudyResults) -> ModelResults | None:
    """The model with the highest PSNR on the test part; the first when that is unknown."""
    scores = [metric(model, "test", "psnr_db") for model in results.models]
    if not scores:
        return None
    return results.models[int(np.argmax([value if math.isfinite(value) else -np.inf for value in scores]))]


def model_table(results: StudyResults) -> dict[str, Any]:
    """The models side by side on the test split."""
    rows = []
    for model in results.models:
        test = {name: metric(model, "test", name) for name in model.metrics.columns}
        rows.append(
            {
                "model": plain(model.name),
                "active dimensions": f"{int(np.sum(model.is_active))} of {model.latent_dim}",
                "distortion [nats]": test.get("distortion_nats", float("nan")),
                "rate [nats]": test.get("rate_nats", float("nan")),
                "PSNR [dB]": test.get("psnr_db", float("nan")),
                "PCA [dB]": test.get("pca_psnr_db", float("nan")),
                "SSIM": test.get("ssim", float("nan")),
                "PCA SSIM": test.get("pca_ssim", float("nan")),
                **_gain_columns(model),
            }
        )
    table = pd.DataFrame(rows)
    if not any(has_empty(model) for model in results.models):  # it would repeat the mean
        table = table.drop(columns=_WITH_CONTENT, errors="ignore")
    judged = [("distortion [nats]", np.nanargmin), ("PSNR [dB]", np.nanargmax), ("SSIM", np.nanargmax)]
    best = [
        (list(table.columns).index(name), int(choose(table[name])))
        for name, choose in judged[len(by_likelihood(results.models)) > 1 :]  # distortions of one likelihood alone
        if len(table) > 1 and table[name].notna().any()
    ]
    caption = (
        f"Means over the test split, per {unit_of(results)}; PCA has as many components as the model has latent "
        f"dimensions.{_level_caption(results)}"
    )
    return table_block(table, "Models on the test split", caption + _gain_caption(results), best=best)


def _level_caption(results: StudyResults) -> str:
    """How the rate divides into levels, for each model with local latents."""
    said = []
    for model in results.models:
        of_z, *local = levels(model) or (None,)
        if of_z is not None:
            each = [f"{number(one.rate_nats)} on {one.name} cells" for one in local]
            said.append(f"z of {plain(model.name)} {number(of_z.rate_nats)} and its local latents {listing(each)}")
    if not said:
        return ""
    return f" The rate is that of all latents; about a validation {results.data.unit} {listing(said)} nats."


def _gain_columns(model: ModelResults) -> dict[str, str]:
    if not math.isfinite(gain(model, "pooled_").db):
        return {}
    return {
        "gain [dB]": _gain_cell(gain(model)),
        _WITH_CONTENT: _gain_cell(gain(model, "content_")),
        "pooled [dB]": _gain_cell(gain(model, "pooled_")),
    }


def _gain_caption(results: StudyResults) -> str:
    """What the three gains are, and over what their intervals are."""
    known = [model for model in results.models if math.isfinite(gain(model, "pooled_").db)]
    if not known:
        return ""
    groups = groups_of_test(results, known[0])
    interval = f"In brackets 95 % intervals over {groups}." if groups else "Of one test group there is no interval."
    n_empty, unit = int(metric(known[0], "test", "n_empty")), unit_of(results)
    content = f" of the {unit}s with content alone ({count(n_empty, 'nearly empty one')} left out);"
    return (
        f" Gain over PCA: of the mean PSNR;{content if n_empty else ''} of the error pooled over all pixels. "
        f"{interval} {exact_words(results, known)}"
    ).rstrip()
