"""Likelihoods of whole numbers: the greys of 8 or 16 bits, and counts."""

import math

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zatlas.errors import UsageError
from zatlas.model.likelihoods.base import Greys, Likelihood, Words, soft_bound

__all__ = ["DiscretisedLogistic", "Poisson"]

_LEAST_STEPS = 1 / 8  # smallest scale of the logistic, in steps of the grey scale: all in one step
_MOST_STEPS = 2.0**16
_FIRST_SHARE = 1 / 32  # scale of the logistic at first, as a share of the grey range
_STEEPNESS = 4.0  # of log-scales over the decoder's numbers, so that the optimizer's small steps reach far
_NODES = np.arange(-11.75, 12, 0.5)  # where the variance of the logistic is summed, in units of its scale
_BEND = 10.0  # sharpness of the bend at 0 of the rate of counts
_LEAST_COUNT = 1e-4
_FEW = 20  # counts up to which lgamma is exact enough in float32


class _OfWholeNumbers(Likelihood):
    """A likelihood that knows where the whole numbers lie on the network's grey scale."""

    offset: Float[Tensor, ""]
    factor: Float[Tensor, ""]
    lowest: Float[Tensor, ""]
    highest: Float[Tensor, ""]

    def __init__(self) -> None:
        super().__init__()
        for name, value in {"offset": 0.0, "factor": 255.0, "lowest": 0.0, "highest": 255.0}.items():
            self.register_buffer(name, torch.tensor(value))

    def check_pixels(self, *, are_whole: bool, lowest: float) -> None:
        """Refuse pixels that are no whole numbers."""
        if not are_whole:
            raise UsageError(
                f"--likelihood {self.name} is one of whole numbers, but the pixels of these images are stored as "
                "fractions",
                hint="use --likelihood gaussian, or save the images as whole numbers (uint8, uint16)",
            )

    def set_greys(self, greys: Greys) -> None:
        """Keep the grey scale.

        Raises:
            UsageError: it is no likelihood of such pixels.
        """
        self.check_pixels(are_whole=greys.are_whole, lowest=greys.lowest)
        for name in ("offset", "factor", "lowest", "highest"):
            self.get_buffer(name).fill_(getattr(greys, name))

    def _ends(self) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, ""]]:
        """Lowest and highest grey, and the distance of neighbours, on the network's grey scale."""
        return (self.lowest - self.offset) / self.factor, (self.highest - self.offset) / self.factor, 1 / self.factor


class DiscretisedLogistic(_OfWholeNumbers):
    """The share of a logistic distribution that falls on each whole number; the two ends take its tails.

    Location m and scale s of each pixel come from the decoder. The scale is softly bounded between 1/8 of a step of the
    grey scale, where all falls on one number, and 65536 steps. Nats are those of a code of the pixels as they are
    stored: divided by log 2 and the number of values, bits per value.

    Source: Salimans, Karpathy, Chen & Kingma 2017, section 2.1, https://arxiv.org/abs/1701.05517
    """

    name = "discretised_logistic"
    n_params = 2
    words = Words(
        name="a discretised logistic distribution of whole grey values",
        loss="negative log-likelihood of a discretised logistic distribution of whole grey values",
        meaning=(
            "The discretised logistic distribution is a likelihood of grey values as whole numbers: distortion divided "
            "by 0.693 and by the number of pixel values is bits per value, and with the rate added (beta 1) an upper "
            "bound of what a lossless code of the images needs."
        ),
        caution=(
            "Bits per value by the discretised logistic distribution are those of the images as the model sees them, "
            "after resizing."
        ),
        has_bits=True,
    )

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """-log(F(x + step/2) - F(x - step/2)), by F(b) - F(a) = F(b) (1 - F(a)) (1 - exp(a - b)) of the logistic F."""
        location, log_scale = self._parts(params)
        low, high, step = self._ends()
        inverse = torch.exp(-log_scale)
        upper, lower = (x - location + step / 2) * inverse, (x - location - step / 2) * inverse
        is_low, is_high = x <= low + step / 2, x >= high - step / 2
        log_share = F.logsigmoid(upper) * ~is_high + F.logsigmoid(-lower) * ~is_low
        log_share = log_share + torch.log(-torch.expm1(-step * inverse)) * ~(is_low | is_high)
        return -(log_share * mask).sum(dim=(1, 2, 3))

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """Of the logistic with its tails put at the ends; rounding to whole numbers moves it by less than a tenth of a
        step."""
        location, log_scale = self._parts(params)
        low, high, _ = self._ends()
        scale = torch.exp(log_scale)
        return low + scale * (F.softplus((location - low) / scale) - F.softplus((location - high) / scale))

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Whole numbers, on the network's grey scale."""
        location, log_scale = self._parts(params)
        share = torch.rand(location.shape, generator=generator, dtype=params.dtype).to(params.device)
        low, high, step = self._ends()
        drawn = location + torch.exp(log_scale) * torch.logit(share, eps=1e-7)
        return (low + step * torch.round((drawn - low) / step)).clamp(low, high)

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """Variance of the logistic with its tails put at the ends (by the trapezoidal rule), and that of rounding."""
        location, log_scale = self._parts(params)
        low, high, step = self._ends()
        scale, mean = torch.exp(log_scale), self.mean(params)
        variance = torch.zeros_like(location)
        weights = 1 / np.cosh(_NODES / 2) ** 2
        for node, weight in zip(_NODES, weights / weights.sum(), strict=True):
            drawn = (location + scale * float(node)).clamp(low, high)
            variance = variance + float(weight) * (drawn - mean).square()
        return variance + step**2 / 12

    def _parts(self, params: Float[Tensor, "b p h w"]) -> tuple[Float[Tensor, "b c h w"], Float[Tensor, "b c h w"]]:
        """Location, and log of the scale."""
        location, raw = params.chunk(2, dim=1)
        first = torch.log((self.highest - self.lowest) * _FIRST_SHARE)
        in_steps = soft_bound(first + _STEEPNESS * raw, math.log(_LEAST_STEPS), math.log(_MOST_STEPS))
        return location, in_steps - torch.log(self.factor)


class Poisson(_OfWholeNumbers):
    """Counts n (of photons, molecules, cells) around a rate r that the decoder gives: exp(-r) r^n / n!.

    Pixels are taken back to counts, so it goes with both scalings. `minmax` cuts counts above all training pixels off.

    Source: Salmon et al. 2014, section 2.1, https://doi.org/10.1007/s10851-013-0435-6
    """

    name = "poisson"
    words = Words(
        name="a Poisson distribution of counts",
        loss="negative log-likelihood of a Poisson distribution of the pixels as counts",
        meaning=(
            "The Poisson distribution is a likelihood of counts: its noise follows from the mean alone. It fits where "
            "a pixel is a number of photons, molecules or cells, and not where a camera or a resizing has put another "
            "scale on them."
        ),
    )

    def check_pixels(self, *, are_whole: bool, lowest: float) -> None:
        """Refuse pixels that are no whole numbers, or may be below 0."""
        if lowest < 0:
            raise UsageError(
                f"--likelihood {self.name} is one of counts, but pixels of these images may be {lowest:g}",
                hint="use --likelihood gaussian, or save counts as uint8 or uint16",
            )
        super().check_pixels(are_whole=are_whole, lowest=lowest)

    def nll(
        self, params: Float[Tensor, "b p h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """r - n log r + log n!; for n > 20 by Stirling's series, whose large terms are taken from each other first."""
        rate, n = self._rate(params), (x * self.factor + self.offset).clamp(min=0)
        is_few = n <= _FEW
        few = torch.where(is_few, n, 1.0)
        exact = rate - few * torch.log(rate) + torch.lgamma(few + 1)
        many = torch.where(is_few, 100.0, n)
        excess = (rate - many) / many
        series = many * (excess - torch.log1p(excess)) + 0.5 * torch.log(2 * math.pi * many) + 1 / (12 * many)
        return (torch.where(is_few, exact, series) * mask).sum(dim=(1, 2, 3))

    def mean(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The rate, on the network's grey scale."""
        return (self._rate(params) - self.offset) / self.factor

    def sample(self, params: Float[Tensor, "b p h w"], generator: torch.Generator) -> Float[Tensor, "b c h w"]:
        """Counts, on the network's grey scale."""
        drawn = torch.poisson(self._rate(params).cpu(), generator=generator).to(params.device)
        return (drawn - self.offset) / self.factor

    def implied_variance(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """The rate, which is the variance of counts, on the network's grey scale."""
        return self._rate(params) / self.factor**2

    def noise_around(self, mean_image: Float[np.ndarray, "*shape"]) -> float | None:
        """1 / mean(1 / variance) around a mean image, whose pixels are at least a tenth of a count."""
        factor, offset = float(self.factor), float(self.offset)
        counts = np.maximum(mean_image.astype(np.float64) * factor + offset, 0.1)
        return float(1 / np.mean(factor**2 / counts))

    def _rate(self, params: Float[Tensor, "b p h w"]) -> Float[Tensor, "b c h w"]:
        """Almost offset + factor * params, bent towards 0 where that is below it [counts]."""
        linear = params * self.factor + self.offset
        bend = _BEND / self.factor
        return F.softplus(linear * bend) / bend + _LEAST_COUNT
