"""Gaussian likelihoods."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.model.likelihoods.base import NOISE_FLOOR_VAR, Likelihood, Residuals, Words

__all__ = ["Gaussian", "squared_error", "updated_log_noise_var"]

_SLOWEST_NOISE_UPDATE = 0.05  # share of a new batch in the running noise variance


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
