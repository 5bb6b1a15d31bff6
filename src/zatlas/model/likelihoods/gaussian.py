"""Gaussian likelihoods."""

import math
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.model.likelihoods.base import (
    NOISE_FLOOR_VAR,
    Greys,
    Likelihood,
    Residuals,
    Words,
    share_of_batch,
    soft_bound,
)

__all__ = ["Gaussian", "GaussianPerChannel", "GaussianPerPixel", "squared_error", "updated_log_noise_var"]


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
        return _gaussian_nats(x - params, self.log_noise_var, mask)

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The parameters themselves."""
        return params

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """The mean with noise of the shared variance."""
        return params + torch.exp(0.5 * self.log_noise_var) * _normal_like(params, generator)

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


class GaussianPerChannel(Gaussian):
    """The same with one optimal variance for each channel, which all its pixels and all images share.

    Attributes:
        log_noise_var: Log of the variances, a running estimate; a single one until the images are known.

    Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4, https://arxiv.org/abs/2006.13202
    """

    name = "gaussian_per_channel"
    words = Words(
        name="a gaussian with one optimal variance for each channel",
        loss="negative log-likelihood of a gaussian with one optimal variance for each channel",
        meaning=(
            "The gaussian likelihood with one optimal variance for each channel is a likelihood of grey values, and "
            "the balance of rate and distortion follows from the data, in each channel by itself."
        ),
    )
    log_noise_var: Float[Tensor, " k"]

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("log_noise_var", torch.zeros(1))

    def set_greys(self, greys: Greys) -> None:
        """One variance for each channel."""
        self.log_noise_var = self.log_noise_var.new_zeros(greys.channels)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        stored = state_dict.get(f"{prefix}log_noise_var")
        # Weights know the number of channels. Where it is right already, the buffer keeps its place in memory.
        if isinstance(stored, Tensor) and stored.dim() == 1 and stored.shape != self.log_noise_var.shape:
            self.log_noise_var = self.log_noise_var.new_zeros(len(stored))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """Nats of each image under the variances of its channels."""
        log_var = self.log_noise_var[:, None, None]
        return _gaussian_nats(x - params, log_var, mask)

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """The mean with noise of the channel's variance."""
        return params + torch.exp(0.5 * self.log_noise_var)[:, None, None] * _normal_like(params, generator)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The channel's variance."""
        return torch.exp(self.log_noise_var)[:, None, None].expand_as(params)

    def residuals(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Residuals:
        """Sum of squared residuals of each channel, and how many values a channel has."""
        return ((x - params).square() * mask).sum(dim=(0, 2, 3)), mask.sum()

    @torch.no_grad()
    def observe(self, residuals: Residuals, *, step: int) -> None:
        """Move the running variances towards those of the batch."""
        squared, n_values = residuals
        self.log_noise_var.copy_(updated_log_noise_var(self.log_noise_var, squared, n_values, step=step))

    @torch.no_grad()
    def calibrate(self, residuals: Residuals) -> float:
        """Each variance becomes the mean squared residual of its channel, at least that of rounding to 8 bits.

        Returns:
            The sum of what `Gaussian.calibrate` says of each channel [nats].
        """
        squared, n_values = residuals
        variances = (squared / n_values.clamp(min=1)).clamp(min=NOISE_FLOOR_VAR)
        self.log_noise_var.copy_(torch.log(variances))
        return float(0.5 * (squared / variances + n_values * torch.log(2 * math.pi * variances)).sum())


_LEAST_PIXEL_VAR = (1 / 255) ** 2  # one grey level of 8 bits, on the grey scale 0..1
_MOST_PIXEL_VAR = math.exp(4)
_FIRST_LOG_VAR = -4.0  # a standard deviation of 0.14
_STEEPNESS = 4.0  # of log-variances over the decoder's numbers, so that the optimizer's small steps reach far


class GaussianPerPixel(Likelihood):
    """0.5 * (log(2 pi var) + (x - mean)^2 / var), mean and variance of each pixel from the decoder.

    The variance is exp(-4 + 4 * the decoder's second number), softly bounded between that of one grey level of 8 bits
    and e^4. Without a lower bound, pixels that hardly vary, such as an empty background, would decide everything.

    Source: Nix & Weigend 1994, equation 2, https://doi.org/10.1109/ICNN.1994.374138; the bound: Chua et al. 2018,
        appendix A.1, https://arxiv.org/abs/1805.12114
    """

    name = "gaussian_per_pixel"
    n_params = 2
    words = Words(
        name="a gaussian with a variance for each pixel",
        loss="negative log-likelihood of a gaussian whose mean and variance at each pixel the decoder gives",
        meaning=(
            "The gaussian likelihood with a variance for each pixel is a likelihood of grey values. It says where a "
            "reconstruction can be trusted, and believes even quiet pixels to no more than one grey level of 8 bits; "
            "where the variance is large, errors cost little, and PSNR may be lower than with one shared variance."
        ),
    )

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """Nats of each image under the variances of its pixels."""
        mean, log_var = self._parts(params)
        return _gaussian_nats(x - mean, log_var, mask)

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The first half of the parameters."""
        return params.chunk(2, dim=1)[0]

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """The mean with noise of the pixel's variance."""
        mean, log_var = self._parts(params)
        return mean + torch.exp(0.5 * log_var) * _normal_like(mean, generator)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The pixel's variance."""
        return torch.exp(self._parts(params)[1])

    @staticmethod
    def _parts(params: Float[Tensor, "b p h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        mean, raw = params.chunk(2, dim=1)
        bounds = math.log(_LEAST_PIXEL_VAR), math.log(_MOST_PIXEL_VAR)
        return mean, soft_bound(_FIRST_LOG_VAR + _STEEPNESS * raw, *bounds)


def _gaussian_nats(
    residual: Float[Tensor, "b c h w"], log_var: Float[Tensor, "..."], mask: Float[Tensor, "b 1 h w"]
) -> Float[Tensor, " b"]:
    per_pixel = 0.5 * (residual.square() * torch.exp(-log_var) + log_var + math.log(2 * math.pi))
    return (per_pixel * mask).sum(dim=(1, 2, 3))


def _normal_like(values: Float[Tensor, "b c h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
    return torch.randn(values.shape, generator=generator, dtype=values.dtype).to(values.device)


def squared_error(
    params: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum of squared residuals over unmasked pixels, and how many values that are."""
    return ((x - params).square() * mask).sum(), mask.sum() * x.shape[1]


def updated_log_noise_var(
    log_noise_var: Float[Tensor, "*k"], squared: Float[Tensor, "*k"], n_values: Float[Tensor, ""], *, step: int
) -> Float[Tensor, "*k"]:
    """Running estimate of the optimal shared variance (or those of k channels), after one more batch.

    The optimum for a batch is its mean squared residual; the running mean weighs the batch of step s (from 0) by
    1 / (s + 1), later by a constant, and never falls below the rounding of 8 bits.

    Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4.1, https://arxiv.org/abs/2006.13202
    """
    share = share_of_batch(step)
    variance = (1 - share) * torch.exp(log_noise_var) + share * squared / n_values.clamp(min=1)
    return torch.log(variance.clamp(min=NOISE_FLOOR_VAR))
