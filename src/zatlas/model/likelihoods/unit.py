"""Likelihoods of greys from 0 to 1."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zatlas.model.likelihoods.base import Likelihood, Words

__all__ = ["Bernoulli", "ContinuousBernoulli"]

_LEAST_BERNOULLI_VAR = 1 / 255
_LEAST_UNIT_GREY = 0.01


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

    def params_of(self, mean_image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        """log(x / (1 - x)), of greys from 0.01 to 0.99."""
        return torch.logit(mean_image.clamp(_LEAST_UNIT_GREY, 1 - _LEAST_UNIT_GREY))

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Black and white pixels, white with probability sigmoid(params)."""
        return torch.bernoulli(torch.sigmoid(params).cpu(), generator=generator).to(params.device)

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


_SMALL = 0.3  # half logits below which series are exact to float32, and closed forms lose digits
_LOGITS = np.sinh(np.linspace(-9, 9, 4001))  # from -4000 to 4000, dense around 0


class ContinuousBernoulli(Likelihood):
    """exp(l x) l / (exp(l) - 1) on 0..1, with a logit l for each pixel: the cross-entropy with its missing constant.

    With it, cross-entropy is a likelihood of grey values. Their mean is not sigmoid(l): it is nearer to 1/2, and greys
    near 0 and 1 need large logits.

    Source: Loaiza-Ganem & Cunningham 2019, equations 2 to 8, https://arxiv.org/abs/1907.06845

    Example:
        >>> ContinuousBernoulli().mean(torch.zeros(1, 1, 1, 1))
        tensor([[[[0.5000]]]])
    """

    name = "continuous_bernoulli"
    needs_unit_greys = True
    words = Words(
        name="a continuous Bernoulli likelihood",
        loss="negative log-likelihood of a continuous Bernoulli distribution",
        meaning=(
            "The continuous Bernoulli likelihood is binary cross-entropy with the constant that makes it a likelihood "
            "of grey values from 0 to 1. It is a density, so that distortions may be below 0. Its noise is wide: "
            "mid-grey is believed to a third of the grey range, black and white more closely."
        ),
    )

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """log((exp(l) - 1) / l) - l x = log(sinh(l/2) / (l/2)) - l (x - 1/2)."""
        half = 0.5 * params
        is_small = half.abs() < _SMALL
        square = torch.where(is_small, half, 0.0).square()
        series = square * (1 / 6 - square * (1 / 180 - square / 2835))
        large = torch.where(is_small, 1.0, half.abs())
        closed = large + torch.log1p(-torch.exp(-2 * large)) - torch.log(2 * large)
        return ((torch.where(is_small, series, closed) - params * (x - 0.5)) * mask).sum(dim=(1, 2, 3))

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """1 / (1 - exp(-l)) - 1 / l."""
        half = 0.5 * params
        is_small = half.abs() < _SMALL
        square = half.square()
        series = half * (1 / 3 - square * (1 / 45 - square * (2 / 945 - square / 4725)))
        large = torch.where(is_small, 1.0, half)
        return 0.5 + 0.5 * torch.where(is_small, series, 1 / torch.tanh(large) - 1 / large)

    def params_of(self, mean_image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        """The logits whose mean is an image of greys from 0.01 to 0.99, by four steps of Newton's method."""
        x = mean_image.clamp(_LEAST_UNIT_GREY, 1 - _LEAST_UNIT_GREY)
        logits = (2 * x - 1) / (x * (1 - x))  # right at both ends
        for _ in range(4):
            logits = logits - (self.mean(logits) - x) / self.implied_variance(logits)
        return logits

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Greys from 0 to 1, by the inverse of the distribution function."""
        share = torch.rand(params.shape, generator=generator, dtype=params.dtype).to(params.device)
        steep = params.abs().clamp(min=1e-3)  # flatter ones differ from a uniform draw by less than 1e-3
        grey = (1 + torch.log1p((1 - share) * torch.expm1(-steep)) / steep).clamp(0, 1)
        return torch.where(params >= 0, grey, 1 - grey)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """1 / l^2 - 1 / (4 sinh(l/2)^2): its variance, and the inverse curvature of the loss around its mean."""
        half = 0.5 * params
        is_small = half.abs() < _SMALL
        square = half.square()
        series = 1 / 3 - square * (1 / 15 - square * (2 / 189 - square / 675))
        large = torch.where(is_small, 1.0, half)
        return 0.25 * torch.where(is_small, series, 1 / large.square() - 1 / torch.sinh(large).square())

    def noise_around(self, mean_image: Float[np.ndarray, "*shape"]) -> float | None:
        """1 / mean(1 / variance) of the distributions that have these means; like that of `Bernoulli`."""
        x = np.clip(mean_image.astype(np.float64), _LEAST_BERNOULLI_VAR, 1 - _LEAST_BERNOULLI_VAR)
        logits = torch.from_numpy(_LOGITS)[None, None, None]
        means, variances = (one.numpy().ravel() for one in (self.mean(logits), self.implied_variance(logits)))
        return float(1 / np.mean(1 / np.interp(x, means, variances)))
