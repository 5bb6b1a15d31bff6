"""Likelihoods of greys from 0 to 1."""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zatlas.model.likelihoods.base import Likelihood, Words

__all__ = ["Bernoulli"]

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
