"""Likelihoods: what the numbers that the decoder returns say about the grey of each pixel, one class each.

A likelihood knows how many numbers per channel the decoder must return, how many nats an image costs under them, which
image they mean, how noisy they say it is, and what a report says about all that. A new one is one class here, in
`LIKELIHOODS`; one that stays outside zatlas is an object given to `VAE(likelihood=...)`.

Everything is on the network's grey scale. Pixels of padding carry mask 0 and count nothing.
"""

import copy
from collections.abc import Iterable

import numpy as np

from zatlas.errors import UsageError
from zatlas.model.likelihoods.base import NOISE_FLOOR_VAR, Greys, Likelihood, Residuals, Words, soft_bound
from zatlas.model.likelihoods.gaussian import (
    Gaussian,
    GaussianPerChannel,
    GaussianPerPixel,
    squared_error,
    updated_log_noise_var,
)
from zatlas.model.likelihoods.heavy import StudentT
from zatlas.model.likelihoods.unit import Bernoulli, ContinuousBernoulli
from zatlas.model.likelihoods.whole import DiscretisedLogistic, Poisson

__all__ = [
    "LIKELIHOODS",
    "NOISE_FLOOR_VAR",
    "Bernoulli",
    "ContinuousBernoulli",
    "DiscretisedLogistic",
    "Gaussian",
    "GaussianPerChannel",
    "GaussianPerPixel",
    "Greys",
    "Likelihood",
    "Poisson",
    "Residuals",
    "StudentT",
    "Words",
    "check_greys",
    "likelihood",
    "soft_bound",
    "squared_error",
    "updated_log_noise_var",
    "words_of",
]

LIKELIHOODS: dict[str, type[Likelihood]] = {
    kind.name: kind
    for kind in (
        Bernoulli, ContinuousBernoulli, Gaussian, GaussianPerChannel, GaussianPerPixel, StudentT, DiscretisedLogistic,
        Poisson,
    )
}  # fmt: skip
"""Those of zatlas, by name."""


def likelihood(chosen: object) -> Likelihood:
    """A fresh likelihood, by its name or as a copy of an object.

    Raises:
        UsageError: zatlas has none of this name, or the object is no `Likelihood`.
    """
    if isinstance(chosen, Likelihood):
        return copy.deepcopy(chosen)
    known = " or ".join(LIKELIHOODS)
    if not isinstance(chosen, str):
        raise UsageError(f"likelihood is {chosen!r}, expected a name or an object of a class made from Likelihood",
                         hint=f"take {known}, or class My(zatlas.model.likelihoods.Likelihood)")  # fmt: skip
    if chosen not in LIKELIHOODS:
        raise UsageError(f"--likelihood is {chosen}, expected {known}", hint=f"set --likelihood to {known}")
    return LIKELIHOODS[chosen]()


def words_of(name: str) -> Words:
    """What a report says about the likelihood of this name; of one that is not of zatlas it knows the name alone."""
    found = LIKELIHOODS[name].words if name in LIKELIHOODS else None
    return found or Words(
        name=f"that of the likelihood {name}",
        loss=f"negative log-likelihood under {name}",
        meaning=(
            f"The likelihood {name} is not one of zatlas; distortion and ELBO can be compared between models that "
            "share it."
        ),
    )


def check_greys(chosen: str | Likelihood, scaling: str, dtypes: Iterable[str] = ()) -> None:
    """Refuse a likelihood of greys from 0 to 1 on another scale of grey, and one of whole numbers for fractions.

    Args:
        chosen: Name, or the likelihood itself.
        scaling: "minmax" or "standardise".
        dtypes: Number types of the pixels, where they are known.

    Raises:
        UsageError: they do not go together, or zatlas has no likelihood of this name.
    """
    made = likelihood(chosen)
    if made.needs_unit_greys and scaling != "minmax":
        raise UsageError(
            f"--likelihood {made.name} needs grey values from 0 to 1, but --scaling is {scaling}",
            hint=f"use --scaling minmax, or --likelihood {Gaussian.name}",
        )
    kinds = [np.dtype(name) for name in dtypes]
    if kinds:
        are_whole = all(kind.kind in "ui" for kind in kinds)
        is_open = are_whole and scaling != "minmax"  # else the lowest is that of the training pixels
        lowest = min(np.iinfo(kind).min for kind in kinds) if is_open else 0
        made.check_pixels(are_whole=are_whole, lowest=float(lowest))
