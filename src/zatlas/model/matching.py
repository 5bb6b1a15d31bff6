"""Statistics of textures, and a score that makes drawn images have those of real ones: `--texture matched`.

The ELBO asks that images come back. That what is *drawn* looks like tissue follows only when priors of local latents
hold all of their posteriors, and priors of a few convolutions do not: draws come out soft, or in wrong arrangements. So
training also compares statistics of draws with those of the image whose z they share:

    score(z, x) = E |s(x) - s(y)| - 1/2 E |s(y) - s(y')|,   y and y' drawn from z by two noises

Notable:
    - This energy score is strictly proper: in the mean it is least where s(y) given z is distributed as s(x) given z.
      So draws are not pulled towards a mean, and need not differ less than images do.
      Source: Gneiting & Raftery 2007, section 4.3, https://doi.org/10.1198/016214506000001437; for networks that draw,
      Bouchacourt et al. 2016, https://arxiv.org/abs/1606.02556
    - It moves the decoder and the priors of local latents; z is taken as it is.
    - It comes last, when images come back well: from the beginning it would drown the ELBO in noise, and z with it.
    - There is no adversary, and nothing that could diverge.
    - What no statistic sees is not asked for: draws can still be told from images by others.
"""

import math
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.model.objective import is_whole
from zatlas.model.texture import details, octaves
from zatlas.randomness import torch_seed

__all__ = ["WHOLE_FROM", "Statistics", "energy_score", "statistics_of"]

_BEGINS_AT = 0.6  # share of the training
WHOLE_FROM = 0.7
"""Share of the training after which the score has its whole weight."""
_SHARE = 4  # one image in so many is drawn, twice
_WEIGHT = 2000.0  # of the score against the nats of the image (quality.md)
_SMALLEST_SCALE = 1e-2
_QUANTILES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
_AVERAGED = (1, 4, 16)  # px over which greys are averaged before their quantiles are taken
_AROUND = 8  # px over which the contrast of a place is taken
_OCTAVES = 3
_BANDS = 10
_DIRECTIONS = 4
_GRID = 16  # px of the coarsest grid that is looked for
_FILTERS = ((12, 5), (24, 3), (32, 3))  # outputs and side [px] of each layer
_CONTRAST = 10.0  # of greys in 0 to 1 before the first filters
_TINY = 1e-2


def energy_score(
    x: Float[Tensor, "b s"], one: Float[Tensor, "b s"], other: Float[Tensor, "b s"]
) -> Float[Tensor, " b"]:
    """Energy score of two draws for each observation, in units of a root mean square over the s numbers.

    Example:
        >>> round(float(energy_score(torch.zeros(1, 4), torch.ones(1, 4), torch.ones(1, 4))), 3)
        1.0
    """
    score: Tensor = 0.5 * (_distance(x, one) + _distance(x, other) - _distance(one, other))
    return score


def _distance(one: Tensor, other: Tensor) -> Tensor:
    return ((one - other).square().mean(dim=1) + 1e-12).sqrt()


class Statistics(nn.Module):
    """The score of draws in the loss.

    Args:
        size: Of the images [px].

    Attributes:
        strength: Share of its weight that the score has, from 0 to 1.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        with torch.device("cpu"):
            lengths = [found.shape[1] for found in statistics_of(torch.zeros(1, 1, size, size))]
        self.lengths, self.strength = lengths, 1.0
        self.register_buffer("scale", torch.ones(sum(lengths)))

    def train_at(self, share_done: float) -> None:
        """Nothing at first, then more and more of the score, and in the end all."""
        self.strength = min(max((share_done - _BEGINS_AT) / (WHOLE_FROM - _BEGINS_AT), 0.0), 1.0)

    @torch.no_grad()
    def measure(self, x: Float[Tensor, "b c h w"]) -> None:
        """Take the spread of each statistic over images that the network will learn from as its unit."""
        spread = torch.cat(statistics_of(x), dim=1).std(dim=0, correction=0)
        self.get_buffer("scale").copy_(spread.clamp(min=_SMALLEST_SCALE))

    def forward(
        self,
        x: Float[Tensor, "b c h w"],
        mask: Float[Tensor, "b 1 h w"],
        draw: Callable[[slice, int], Float[Tensor, "b c h w"]],
    ) -> Float[Tensor, " b"]:
        """Weighted scores; those of images that are not drawn, or have padding, are 0.

        Args:
            x: Images on the network's grey scale.
            mask: 1 at real pixels, 0 at padding.
            draw: Gives the draws of these images by the first or second noise (0 or 1).
        """
        n_drawn = -(-len(x) // _SHARE)
        drawn = slice(0, n_drawn)
        seen = mask[drawn]
        real, one, other = (statistics_of(made * seen) for made in (x[drawn], draw(drawn, 0), draw(drawn, 1)))
        scales = torch.split(self.get_buffer("scale"), self.lengths)
        score = torch.stack(
            [
                energy_score(*(each / scale for each in part))
                for *part, scale in zip(real, one, other, scales, strict=True)
            ]
        ).sum(dim=0)
        nats: Tensor = F.pad(_SHARE * _WEIGHT * self.strength * score * is_whole(seen), (0, len(x) - n_drawn))
        return nats


def statistics_of(x: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b s"]]:
    """Six kinds of statistics of the mean over channels: details of octaves, power by frequency and direction, power
    of grids, quantiles of greys and of local contrasts, and mean and power behind fixed random filters."""
    grey = x.mean(dim=1, keepdim=True)
    return [details(grey), *_spectrum(grey), _quantiles(grey), _contrasts(grey), _filtered(grey)]


def _spectrum(x: Float[Tensor, "b 1 h w"]) -> tuple[Float[Tensor, "b s"], Float[Tensor, "b g"]]:
    """Logarithm of the power in bands of frequency and sectors of direction, and around each frequency at which a
    decoder could leave a grid; windowed against the edges."""
    window, cells, grids = (made.to(x.device) for made in _cells(x.shape[-1]))
    flat = x[:, 0] - x[:, 0].mean(dim=(1, 2), keepdim=True)
    found = torch.fft.rfft2(flat * window)
    power = (found.real.square() + found.imag.square()).flatten(1) / x.shape[-1]
    return torch.log(power @ cells + _TINY**2), torch.log(power @ grids + _TINY**2)


@cache
def _cells(size: int) -> tuple[Float[Tensor, "h w"], Float[Tensor, "f s"], Float[Tensor, "f g"]]:
    """The window (Hann), and the shares by which frequencies are averaged: in bands and sectors, and around grids."""
    line = torch.hann_window(size, periodic=False)
    across, along = torch.meshgrid(torch.fft.fftfreq(size), torch.fft.rfftfreq(size), indexing="ij")
    radius, angle = torch.hypot(across, along).flatten(), torch.atan2(across, along).flatten()
    edges = torch.logspace(math.log10(1.5 / size), math.log10(0.5), _BANDS + 1)
    band = torch.bucketize(radius, edges) - 1
    sector = torch.floor((angle / math.pi + 0.5 + 0.5 / _DIRECTIONS) * _DIRECTIONS).long() % _DIRECTIONS
    inside = (band >= 0) & (band < _BANDS)
    cells = F.one_hot((band * _DIRECTIONS + sector) * inside, _BANDS * _DIRECTIONS).float() * inside[:, None]
    cells = torch.cat([cells, (radius * size < 1.5).float()[:, None]], dim=1)
    filled, grids = cells[:, cells.sum(dim=0) > 0], _grids(size)
    return line[:, None] * line, filled / filled.sum(dim=0), grids / grids.sum(dim=0)


def _grids(size: int) -> Float[Tensor, "f s"]:
    """Frequencies within one step of each pair of multiples of 1/16 cycles per pixel.

    Layers that enlarge features repeat what they do every 2, 4, 8, 16 px. Such a grid lies at few frequencies, where
    bands and sectors hardly see it.
    """
    lines = torch.arange(_GRID // 2 + 1) * size / _GRID
    across = torch.cat([torch.arange(size // 2), torch.arange(-((size + 1) // 2), 0)])[:, None]
    along = torch.arange(size // 2 + 1)[None]
    found = [
        ((across.abs() - one).abs() <= 1) & ((along - other).abs() <= 1)
        for one in lines
        for other in lines
        if one + other > 0
    ]
    return torch.stack([each.flatten().float() for each in found], dim=1)


def _quantiles(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b s"]:
    found = []
    for side in _AVERAGED:
        if side > x.shape[-1] // 4:
            break
        found.append(_ordered(F.avg_pool2d(x, side) if side > 1 else x))
    return torch.cat(found, dim=1)


def _ordered(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b q"]:
    ordered = x.flatten(1).sort(dim=1).values
    return ordered[:, [round(q * (ordered.shape[1] - 1)) for q in _QUANTILES]]


def _contrasts(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b s"]:
    """Quantiles of log energies of octaves around each place: contrast may not gather in a few of them."""
    found, around = [], _AROUND
    for band in octaves(x, _OCTAVES):
        found.append(_ordered(torch.log(F.avg_pool2d(band.square(), min(around, band.shape[-1])) + _TINY**2)))
        around = max(around // 2, 2)
    return torch.cat(found, dim=1)


def _filtered(x: Float[Tensor, "b 1 h w"]) -> Float[Tensor, "b s"]:
    found, made = [], _CONTRAST * (x - 0.5)
    for weight in _filters():
        made = F.relu(F.conv2d(made, weight.to(x.device), stride=2))
        found += [torch.log(made.mean(dim=(2, 3)) + _TINY), torch.log(made.square().mean(dim=(2, 3)) + _TINY)]
        if made.shape[-1] < 8:
            break
    return torch.cat(found, dim=1)


@cache
def _filters() -> list[Float[Tensor, "o i k k"]]:
    """Random filters, the same in all networks; those of the first layer give 0 for an even image."""
    generator = torch.Generator().manual_seed(torch_seed(0, "filters of textures", 0))
    made, inputs = [], 1
    for outputs, side in _FILTERS:
        weight = torch.randn(outputs, inputs, side, side, generator=generator)
        made.append(weight * math.sqrt(2 / (inputs * side**2)))
        inputs = outputs
    first = made[0] - made[0].mean(dim=(1, 2, 3), keepdim=True)
    made[0] = first / first.flatten(1).norm(dim=1)[:, None, None, None]
    return made
