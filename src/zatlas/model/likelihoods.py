"""Likelihoods: what the numbers that the decoder returns say about the grey of each pixel, one class each.

A likelihood knows how many numbers per channel the decoder must return, how many nats an image costs under them, which
image they mean, how noisy they say it is, and what a report says about all that. A new one is one class here, in
`LIKELIHOODS`; one that stays outside zatlas is an object given to `VAE(likelihood=...)`.

Everything is on the network's grey scale. Pixels of padding carry mask 0 and count nothing.
"""

import abc
import copy
import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.errors import UsageError

__all__ = [
    "LIKELIHOODS",
    "NOISE_FLOOR_VAR",
    "Bernoulli",
    "Gaussian",
    "Likelihood",
    "Residuals",
    "Words",
    "check_greys",
    "likelihood",
    "squared_error",
    "updated_log_noise_var",
    "words_of",
]

NOISE_FLOOR_VAR = (1 / 255) ** 2 / 12  # variance of rounding to 8 bits, on the grey scale 0..1
_SLOWEST_NOISE_UPDATE = 0.05  # share of a new batch in the running noise variance
_LEAST_BERNOULLI_VAR = 1 / 255
_LEAST_UNIT_GREY = 0.01

Residuals = tuple[Float[Tensor, "..."], ...]
"""Sums over images, such as that of squared residuals; each likelihood has its own."""


@dataclass(frozen=True)
class Words:
    """What a report says about a likelihood.

    Attributes:
        name: What the distortion is: "the distortion is NAME, summed over the pixels".
        loss: The same for the section on methods: "Distortion is the LOSS, summed over pixels".
        meaning: Whether distortions are likelihoods of grey values, in a sentence or two.
        caution: What must not be done with them; "" when nothing need be said.
    """

    name: str
    loss: str
    meaning: str
    caution: str = ""


class Likelihood(nn.Module, abc.ABC):
    """p(x|z) of an image, given the numbers that the decoder returns. Base class of all.

    A module: numbers of its own are parameters (trained by gradients) or buffers (changed by `observe`), and are saved
    with the network.

    Attributes:
        name: As it stands in configurations and results.
        n_params: Numbers that the decoder returns for each channel of a pixel, (b, n_params * c, h, w) for an image.
        needs_unit_greys: It is one of greys from 0 to 1 alone, which `minmax` scaling gives.
        words: What a report says about it; by default words made of its name.
    """

    name: ClassVar[str]
    n_params: ClassVar[int] = 1
    needs_unit_greys: ClassVar[bool] = False
    words: ClassVar[Words | None] = None

    @abc.abstractmethod
    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """Negative log-likelihood of each image, summed over its unmasked pixels [nats].

        Args:
            params: What the decoder returned.
            x: Images.
            mask: 1 at real pixels, 0 at padding.
        """

    @abc.abstractmethod
    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The image that the parameters mean."""

    @classmethod
    def params_of(cls, mean_image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        """Parameters whose `mean` is an image, as nearly as they can be; others at 0. Needed for a linear path.

        By default the means of all channels come first.
        """
        channels = mean_image.shape[1]
        return F.pad(mean_image, (0, 0, 0, 0, 0, (cls.n_params - 1) * channels))

    @abc.abstractmethod
    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """An image drawn from it, with its noise."""

    @abc.abstractmethod
    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """Variance of the noise that it takes for granted at each pixel."""

    def residuals(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Residuals:
        """Sums over images that `observe` and `calibrate` need, added up over the shards of a batch, or over the
        batches of a split; none by default."""
        return ()

    @torch.no_grad()
    def observe(self, residuals: Residuals, *, step: int) -> None:
        """Adapt the buffers to the residuals of one more batch (of step `step`, from 0); nothing by default."""

    @torch.no_grad()
    def calibrate(self, residuals: Residuals) -> float | None:
        """Give the noise the values that fit a whole split best, in place.

        For likelihoods whose noise is a running estimate. What a training that forgets its noise every few batches
        calls the distortion of a split moves with the last batches; what is returned here does not.

        Args:
            residuals: Summed over all images of the split, in float64.

        Returns:
            The distortion of the split under that noise, summed over its images [nats]. None (default): the noise was
            left as it is, and the distortion is what `nll` says.
        """
        return None

    def noise_around(self, mean_image: Float[np.ndarray, "*shape"]) -> float | None:
        """Noise variance that the loss implies around a mean image; None where it follows the residuals (default)."""
        return None


class Bernoulli(Likelihood):
    """Binary cross-entropy with logits; on greys between 0 and 1 it is no likelihood of grey values.

    Example:
        >>> Bernoulli().mean(torch.zeros(1, 1, 1, 1))
        tensor([[[[0.5000]]]])
    """

    name = "bernoulli"
    needs_unit_greys = True
    words = Words(
        name="binary cross-entropy",
        loss="binary cross-entropy",
        meaning=(
            "Binary cross-entropy is not a likelihood of grey values: even a perfect reconstruction has a "
            "large distortion, so "
            "distortion and ELBO can be compared between these models but not with models of another objective."
        ),
        caution=(
            "Distortion and ELBO by binary cross-entropy are not likelihoods of grey values and must not be "
            "compared with those of other objectives."
        ),
    )

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_noise_var", torch.zeros(()))  # unused, but part of weights since 0.1.0

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """-x log(p) - (1 - x) log(1 - p), p = sigmoid(params)."""
        return (F.binary_cross_entropy_with_logits(params, x, reduction="none") * mask).sum(dim=(1, 2, 3))

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """sigmoid(params)."""
        return torch.sigmoid(params)

    @classmethod
    def params_of(cls, mean_image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        """log(x / (1 - x)), of greys from 0.01 to 0.99."""
        return torch.logit(mean_image.clamp(_LEAST_UNIT_GREY, 1 - _LEAST_UNIT_GREY))

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Black and white pixels, white with probability sigmoid(params)."""
        return torch.bernoulli(torch.sigmoid(params), generator=generator)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """x_hat (1 - x_hat), the inverse curvature of the cross-entropy at its optimum."""
        x_hat = torch.sigmoid(params)
        return (x_hat * (1 - x_hat)).clamp(min=_LEAST_BERNOULLI_VAR)

    def noise_around(self, mean_image: Float[np.ndarray, "*shape"]) -> float | None:
        """1 / mean(1 / (x (1 - x))): the curvature of the loss around a mean image on 0..1, averaged over pixels.

        Source: second derivative of the Bernoulli log-likelihood at its optimum
        """
        x = np.clip(mean_image.astype(np.float64), _LEAST_BERNOULLI_VAR, 1 - _LEAST_BERNOULLI_VAR)
        return float(1 / np.mean(1 / (x * (1 - x))))


class Gaussian(Likelihood):
    """0.5 * (log(2 pi var) + (x - mean)^2 / var), with one variance shared by all pixels and images: the optimal one.

    Attributes:
        log_noise_var: Log of the shared variance, a running estimate.

    Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4, https://arxiv.org/abs/2006.13202
    """

    name = "gaussian"
    words = Words(
        name="a gaussian with one shared, optimal variance",
        loss="negative log-likelihood of a gaussian with one shared, optimal variance",
        meaning=(
            "The gaussian likelihood with one shared, optimal variance is a likelihood of grey values, and "
            "the balance of rate "
            "and distortion follows from the data."
        ),
    )
    log_noise_var: Float[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_noise_var", torch.zeros(()))

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """Nats of each image under the shared variance."""
        log_var = self.log_noise_var
        per_pixel = 0.5 * ((x - params).square() * torch.exp(-log_var) + log_var + math.log(2 * math.pi))
        return (per_pixel * mask).sum(dim=(1, 2, 3))

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The parameters themselves."""
        return params

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """The mean with noise of the shared variance."""
        noise = torch.randn(params.shape, generator=generator, dtype=params.dtype)
        return params + torch.exp(0.5 * self.log_noise_var) * noise.to(params.device)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The shared variance."""
        return torch.exp(self.log_noise_var).expand_as(params)

    def residuals(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Residuals:
        """Sum of squared residuals, and how many values that are."""
        return squared_error(params, x, mask)

    @torch.no_grad()
    def observe(self, residuals: Residuals, *, step: int) -> None:
        """Move the running variance towards that of the batch."""
        squared, n_values = residuals
        self.log_noise_var.copy_(updated_log_noise_var(self.log_noise_var, squared, n_values, step=step))

    @torch.no_grad()
    def calibrate(self, residuals: Residuals) -> float:
        """The variance becomes the mean squared residual s2 of the split, at least that of rounding to 8 bits.

        Returns:
            N/2 (log(2 pi s2) + 1) for N values; more where s2 is below the floor [nats].

        Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4.1, https://arxiv.org/abs/2006.13202
        """
        squared, n_values = (float(total) for total in residuals)
        variance = max(squared / max(n_values, 1.0), NOISE_FLOOR_VAR)
        self.log_noise_var.fill_(math.log(variance))
        return 0.5 * (squared / variance + n_values * math.log(2 * math.pi * variance))


LIKELIHOODS: dict[str, type[Likelihood]] = {kind.name: kind for kind in (Bernoulli, Gaussian)}
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


def check_greys(chosen: str | Likelihood, scaling: str, *, where: str = "") -> None:
    """Refuse a likelihood of greys from 0 to 1 on another scale of grey.

    Args:
        chosen: Name, or the likelihood itself.
        scaling: "minmax" or "standardise".
        where: Name of the model, of a study that names its models.

    Raises:
        UsageError: they do not go together, or zatlas has no likelihood of this name.
    """
    made = likelihood(chosen)
    if made.needs_unit_greys and scaling != "minmax":
        others = " or ".join(name for name, kind in LIKELIHOODS.items() if not kind.needs_unit_greys)
        raise UsageError(
            f"--likelihood {made.name} needs grey values from 0 to 1, but --scaling is {scaling}",
            where=f"[[models]] {where}" if where else "",
            hint=f"use --scaling minmax, or --likelihood {others}",
        )


def squared_error(
    params: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum of squared residuals over unmasked pixels, and how many values that are."""
    return ((x - params).square() * mask).sum(), mask.sum() * x.shape[1]


def updated_log_noise_var(
    log_noise_var: Float[Tensor, ""], squared: Float[Tensor, ""], n_values: Float[Tensor, ""], *, step: int
) -> Float[Tensor, ""]:
    """Running estimate of the optimal shared variance, after one more batch.

    The optimum for a batch is its mean squared residual; the running mean weighs the batch of step s (from 0) by
    1 / (s + 1), later by a constant, and never falls below the rounding of 8 bits.

    Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4.1, https://arxiv.org/abs/2006.13202
    """
    share = max(1 / (step + 1), _SLOWEST_NOISE_UPDATE)
    variance = (1 - share) * torch.exp(log_noise_var) + share * squared / n_values.clamp(min=1)
    return torch.log(variance.clamp(min=NOISE_FLOOR_VAR))
