"""Priors of a finished model side by side: its own, and those that are fitted to its training latents.

Judged on test latents, which took no part in fitting or choosing. Encoder and decoder are the same for all, so that the
distortion is too, and bounds differ by the rate alone.
"""

import logging

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.density import prior_mismatch
from zatlas.atlas.fitted_priors import (
    FITTED,
    FittedPrior,
    Latents,
    fit_prior,
    judge_prior,
    of_model,
    rate_against,
    split_latents,
)
from zatlas.model.priors import Prior, StandardNormal
from zatlas.randomness import generator
from zatlas.results.kinds import OWN

__all__ = ["LATENTS", "OWN", "compare_priors", "drawn_latents", "latents_of", "own_mismatch"]

log = logging.getLogger(__name__)

LATENTS = "latents"
"""The usual source of samples: a mixture fitted to the posterior means of the training images (atlas/density.py)."""
_LEAST_JUDGED = 20
_LEAST_GROUPS = 5
_LARGEST_DIM = 128


def latents_of(atlas: Atlas, seed: int = 0) -> dict[str, Latents]:
    """The posteriors of an atlas by split, see `split_latents`."""
    split = atlas.table["split"].astype(str).to_numpy() if "split" in atlas.table else None
    if split is not None and (split == "train").sum() < _LEAST_JUDGED:
        split = None
    return split_latents(atlas.mean, atlas.log_var, split, seed=seed)


def drawn_latents(source: str, atlas: Atlas, n: int, seed: int = 0) -> tuple[Float[np.ndarray, "n d"], str]:
    """Latents from a prior fitted to those of the training images, and what it is in words.

    Raises:
        UsageError: there is no prior of this name to fit.
        DataError: there are too few images.
    """
    parts = latents_of(atlas, seed)
    prior = fit_prior(source, parts["train"], parts["validation"], seed=seed)
    return prior.sample(n, generator(seed, "prior samples")).astype(np.float32), prior.words


def own_mismatch(
    own: Prior, means: Float[np.ndarray, "n d"], log_vars: Float[np.ndarray, "n d"], seed: int = 0
) -> dict[str, float]:
    """How far training latents are from their model's prior: `prior_mismatch` for N(0, I), else rate and AUC alone.

    A divergence from another prior has no closed form, and one from N(0, I) says nothing about a model that was trained
    towards another.
    """
    if own.name == StandardNormal.name:
        return prior_mismatch(means, log_vars, seed)
    judged = judge_prior(of_model(own, means.shape[1]), Latents(means, log_vars), seed=seed)
    return {"kl_nats": float("nan"), **judged}


def compare_priors(own: Prior, atlas: Atlas, seed: int = 0) -> tuple[pd.DataFrame, list[FittedPrior]]:
    """Rate and AUC of the model's own prior and of each that can be fitted to it, on test latents.

    Args:
        own: The prior of the model.
        atlas: Its latents, with the split of each image.
        seed: Of all draws.

    Returns:
        A table with the columns name, words, when ("with" the model, "after" it), validation_rate_nats, which may
        choose among them, and of test latents rate_nats, auc, n; and the priors in its order. Both empty without 20
        test images, or with more than 128 dimensions, where fits take long.
    """
    parts, d = latents_of(atlas, seed), atlas.latent_dim
    judged = parts.get("test")
    if judged is None or len(judged) < _LEAST_JUDGED or len(parts["train"]) < _LEAST_JUDGED or d > _LARGEST_DIM:
        log.info("priors are not compared: they need 20 training and 20 test images and at most 128 dimensions")
        return pd.DataFrame(), []
    groups = _whole(atlas.table[atlas.table["split"].astype(str).to_numpy() == "test"])
    priors = [of_model(own, d), *(fit_prior(name, parts["train"], parts["validation"], seed=seed) for name in FITTED)]
    rows = []
    for place, one in enumerate(priors):
        facts = {"name": one.name, "words": one.words, "when": "after" if place else "with"}
        chosen_by = {"validation_rate_nats": rate_against(one, parts["validation"], seed=seed)}
        rows.append({**facts, **chosen_by, **judge_prior(one, judged, groups, seed=seed)})
    return pd.DataFrame(rows), priors


def _whole(table: pd.DataFrame) -> Int[np.ndarray, " n"]:
    """What folds keep whole, as numbers: groups, or the images that tiles come from where there are fewer than 5."""
    names = table["group"].astype(str).to_numpy()
    if len(np.unique(names)) < _LEAST_GROUPS:
        names = table["image"].astype(str).to_numpy()
    return np.unique(names, return_inverse=True)[1]
