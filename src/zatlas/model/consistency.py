"""Latents that say what an image shows rather than where: z of a shifted image must agree with z (`--consistency`)."""

import math

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["LARGEST_SHIFT", "moved_share", "shifted"]

LARGEST_SHIFT = 1 / 4
"""Of the side of an image, along each axis."""

_TINY = 1e-6


def shifted(x: Float[Tensor, "b c h w"], normal: Float[Tensor, " 2"]) -> Float[Tensor, "b c h w"]:
    """Images moved by up to `LARGEST_SHIFT` along y and x, their borders reflected.

    Args:
        x: Images.
        normal: Two standard normal numbers, which become shifts that are alike likely, in whole pixels.
    """
    side = x.shape[-1]
    most = int(side * LARGEST_SHIFT)
    down, right = (round(most * math.erf(float(value) / math.sqrt(2))) for value in normal)
    padded = F.pad(x, (most, most, most, most), mode="reflect")
    return padded[:, :, most + down : most + down + side, most + right : most + right + side]


def moved_share(z: Float[Tensor, "b d"], other: Float[Tensor, "b d"], counts: Bool[Tensor, " b"]) -> Float[Tensor, ""]:
    """How far latents move, relative to how far apart they lie: the mean over dimensions of the share that
    `zatlas.trust.invariance.shift_share` gives of each.

    Args:
        z: Posterior means.
        other: Those of the shifted images.
        counts: Which images count.
    """
    weight = counts.to(z.dtype)[:, None]
    middle = (0.5 * (z + other) * weight).sum(dim=0) / weight.sum().clamp(min=1)
    moved = ((z - other).square() * weight).sum(dim=0)
    spread = (((z - middle).square() + (other - middle).square()) * weight).sum(dim=0)
    share: Tensor = (moved / (spread + _TINY)).mean()
    return share
