"""Random shifts, zooms and smooth bends of whole images while a network learns from them.

Patients never stand twice in the same place, and no two bodies have the same outline. Left stays left, and grey values
stay as they are. What each part gains was tried (defaults.md).
"""

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zatlas.randomness import torch_seed
from zatlas.training.sending import sent

__all__ = ["Moves", "jittered", "keyed_jitter"]

_POINTS = 4  # along each axis, from border to border, that are displaced
_BEND = 1 / 6  # root mean square of their displacements, relative to the largest shift


class Moves(NamedTuple):
    """How each image of a batch is moved, in torch's coordinates, in which a side is 2 long.

    Attributes:
        scales: Of the axes x and y.
        shifts: Along x and y.
        bends: Displacements along x and y of points that lie evenly over the image, rows and columns.
    """

    scales: Float[Tensor, "b 2"]
    shifts: Float[Tensor, "b 2"]
    bends: Float[Tensor, "b 2 k k"]

    def of(self, images: slice) -> "Moves":
        """The moves of some of the images."""
        return Moves(*(part[images] for part in self))

    def to(self, device: torch.device) -> "Moves":
        """The same on another device."""
        return Moves(*(sent(part, device) for part in self))


def keyed_jitter(n: int, *, amount: float, seed: int, stream: str, index: int) -> Moves:
    """Small shifts, zooms and bends, as a pure function of (seed, stream, index).

    Args:
        n: Number of images.
        amount: Largest shift as a share of the side, and largest change of each side's scale; height and width are
            drawn apart. Bends are normal, with a sixth of it as their standard deviation.
        seed: The one seed.
        stream: Name of the purpose, in `zatlas.randomness.STREAMS`.
        index: Number of the step.
    """
    generator = torch.Generator().manual_seed(torch_seed(seed, stream, index))
    scales, shifts = (amount * (2 * torch.rand((2, 2, n), generator=generator) - 1)).transpose(1, 2)
    bends = torch.randn((n, 2, _POINTS, _POINTS), generator=generator)
    return Moves(torch.exp(scales), 2 * shifts, 2 * _BEND * amount * bends)


def jittered(x: Float[Tensor, "b c h w"], moves: Moves) -> Float[Tensor, "b c h w"]:
    """Images that take their value at (x, y) from (scale * x + shift + bend, ...), the middle being 0.

    Bends between the displaced points are bicubic. Images are interpolated bilinearly; pixels beyond the border repeat
    it. The grid is made here because torch.affine_grid multiplies matrices for it, which takes twice as long as the
    interpolation itself (speed.md).

    Source of smooth random displacements: Simard et al. 2003, https://doi.org/10.1109/ICDAR.2003.1227801
    """
    h, w = x.shape[-2:]
    down, across = (_between(n, x.dtype, x.device) for n in (h, w))
    places = down @ (moves.bends @ across.T)  # b, axis, h, w
    for axis, n in enumerate((w, h)):
        middles = (2 * torch.arange(n, dtype=x.dtype, device=x.device) + 1) / n - 1
        line = moves.scales[:, axis, None] * middles + moves.shifts[:, axis, None]
        places[:, axis] += line[:, None, :] if axis == 0 else line[:, :, None]
    return F.grid_sample(x, places.permute(0, 2, 3, 1), padding_mode="border", align_corners=False)


@functools.cache
def _between(n: int, dtype: torch.dtype, device: torch.device) -> Float[Tensor, "n k"]:
    """Weights by which the displaced points give the displacement of each of `n` pixels in a row."""
    points = torch.eye(_POINTS)[None, :, :, None]
    found: Tensor = F.interpolate(points, size=(n, 1), mode="bicubic", align_corners=True)[0, :, :, 0].T
    return found.contiguous().to(device, dtype)
