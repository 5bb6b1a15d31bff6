"""What every likelihood is and says about itself, and what they share."""

import abc
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["NOISE_FLOOR_VAR", "Greys", "Likelihood", "Residuals", "Words", "share_of_batch", "soft_bound"]

NOISE_FLOOR_VAR = (1 / 255) ** 2 / 12  # variance of rounding to 8 bits, on the grey scale 0..1
_SLOWEST_NOISE_UPDATE = 0.05  # share of a new batch in the running noise

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
        has_bits: Whether distortions are those of whole numbers, so that bits per value mean something.
    """

    name: str
    loss: str
    meaning: str
    caution: str = ""
    has_bits: bool = False


@dataclass(frozen=True)
class Greys:
    """What the images are on the network's grey scale, on which a pixel is (pixel - offset) / factor.

    Attributes:
        channels: Of every image.
        offset: Pixel that is 0 on the network's grey scale [pixel units].
        factor: Pixels from 0 to 1 on the network's grey scale [pixel units].
        lowest: Lowest pixel that can occur [pixel units].
        highest: Highest pixel that can occur [pixel units].
        are_whole: Pixels are whole numbers.
    """

    channels: int
    offset: float
    factor: float
    lowest: float
    highest: float
    are_whole: bool


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

    def check_pixels(self, *, are_whole: bool, lowest: float) -> None:
        """Asked before the images are read, so that what `set_greys` would refuse is said at once where it is known.

        Args:
            are_whole: Pixels are whole numbers.
            lowest: Lowest pixel that can occur, 0 where it is not known yet [pixel units].

        Raises:
            UsageError: it is no likelihood of such images. By default it is one of all.
        """

    def set_greys(self, greys: Greys) -> None:
        """Told once, before training, what the images are; whatever must be known later belongs into buffers.

        Raises:
            UsageError: it is no likelihood of such images. By default it is one of all.
        """

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

    def params_of(self, mean_image: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        """Parameters whose `mean` is an image, as nearly as they can be; others at 0. Needed for a linear path.

        By default the means of all channels come first.
        """
        channels = mean_image.shape[1]
        return F.pad(mean_image, (0, 0, 0, 0, 0, (self.n_params - 1) * channels))

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


def share_of_batch(step: int) -> float:
    """Weight of the batch of step `step` (from 0) in a running estimate: 1 / (step + 1), later a constant."""
    return max(1 / (step + 1), _SLOWEST_NOISE_UPDATE)


def soft_bound(value: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """Smooth bound: almost the identity between `low` and `high`, level outside, with a gradient everywhere.

    Source: Chua et al. 2018, appendix A.1, https://arxiv.org/abs/1805.12114

    Example:
        >>> soft_bound(torch.tensor([-100.0, 0.0, 100.0]), -12.0, 8.0).round(decimals=2)
        tensor([-12.,  -0.,   8.])
    """
    return low + F.softplus(high - F.softplus(high - value) - low)
