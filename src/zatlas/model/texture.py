"""Local latents beside z: numbers for what lies where in an image, on maps of a few pixels.

z says what kind of image this is; the local latents u hold where its details lie. Each map of them has a prior that is
given by what lies above it, z and the maps before, so details can also be drawn:

    z ~ p(z),  u_1 ~ p(u_1 | z),  u_2 ~ p(u_2 | z, u_1), ...,  image ~ p(x | z, u)

Notable:
    - The objective is the ELBO of both: the rate of z and one rate for each map. Posteriors of local latents are given
      relative to their priors (Vahdat & Kautz 2020, section 3.2, https://arxiv.org/abs/2007.03898).
    - Local latents could hold the whole image and leave z empty. So z alone must also tell the image's layout, averaged
      over cells, and the energies of its details (`Guide`), each under a variance of its own, which is learned. The
      guide is a part of the loss in training and of nothing else: no bound, no picture, no choice of an epoch.
    - `decode(z)` draws local latents with one noise that is kept with the weights. So an image of z is always the same,
      and along a path through z the details change because z does.
    - `reconstruction` takes the posterior means of z and u; it shows what both hold together.
"""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.model.layers import Convolution
from zatlas.model.objective import is_whole

__all__ = ["Guide", "LocalLatents", "Map", "details", "maps_of", "octaves"]

_BLOCKS = 2  # of local latents on each map, the second given the first: neighbours can agree
_CHANNELS = (4, 2)  # of each block, coarse map first
_HIDDEN = 32
_LOG_VAR_LIMIT = 4.0
_OCTAVES = 4
_TINY = 1e-5
_GUIDE_WEIGHT = 4.0  # of the guide's nats against those of the image (quality.md)
_GUIDE_HIDDEN = 64
_VAR_STEP = 10.0  # Adam moves a number by its rate; log-variances must go further


class Map(NamedTuple):
    """A map of local latents: its side [cells], the channels of each of its blocks, and how many blocks."""

    side: int
    channels: int
    n_blocks: int

    @property
    def n_values(self) -> int:
        """Local latents of an image on this map."""
        return self.n_blocks * self.channels * self.side**2


def maps_of(coarse_size: int) -> list[Map]:
    """The maps of local latents of a network whose innermost feature map has this side, coarse map first.

    Example:
        >>> [(one.side, one.n_values) for one in maps_of(4)]
        [(8, 512), (16, 1024)]
    """
    return [Map(coarse_size << (1 + place), channels, _BLOCKS) for place, channels in enumerate(_CHANNELS)]


class _Block(nn.Module):
    """Local latents on a map of features, their prior and posterior, and what they add to the features."""

    def __init__(self, width: int, width_of_image: int, channels: int) -> None:
        super().__init__()
        self.prior = nn.Sequential(
            Convolution(width, _HIDDEN), nn.ReLU(inplace=True),
            Convolution(_HIDDEN, _HIDDEN), nn.ReLU(inplace=True),
            Convolution(_HIDDEN, 2 * channels),
        )  # fmt: skip
        self.posterior = nn.Sequential(
            Convolution(width + width_of_image, _HIDDEN), nn.ReLU(inplace=True), Convolution(_HIDDEN, 2 * channels)
        )
        self.inject = Convolution(channels, width)
        self.mix = Convolution(width, width)

    def drawn(self, features: Tensor, noise: Float[Tensor, "b c y x"]) -> Tensor:
        """Features after local latents were drawn from their prior."""
        mean, log_var = self._prior(features)
        return self._after(features, mean + torch.exp(0.5 * log_var) * noise)

    def inferred(self, features: Tensor, image: Tensor, noise: Tensor | None) -> tuple[Tensor, Float[Tensor, " b"]]:
        """Features after local latents were drawn from their posterior, or are its mean; and their rate [nats]."""
        mean, log_var = self._prior(features)
        shift, change = self.posterior(torch.cat([features, image], dim=1)).float().chunk(2, dim=1)
        change = _bounded(change)
        u = mean + shift * torch.exp(0.5 * log_var)
        if noise is not None:
            u = u + torch.exp(0.5 * (log_var + change)) * noise
        rate = 0.5 * (shift.square() + change.exp() - change - 1).sum(dim=(1, 2, 3))
        return self._after(features, u), rate

    def _prior(self, features: Tensor) -> tuple[Tensor, Tensor]:
        mean, log_var = self.prior(features).float().chunk(2, dim=1)
        return mean, _bounded(log_var)

    def _after(self, features: Tensor, u: Tensor) -> Tensor:
        features = features + self.inject(u)
        mixed: Tensor = features + self.mix(F.relu(features))
        return mixed


def _last(layers: nn.Sequential) -> Convolution:
    last = layers[-1]
    assert isinstance(last, Convolution)
    return last


class LocalLatents(nn.Module):
    """The blocks on all maps.

    Args:
        maps: Sides, channels and numbers of blocks, coarse map first.
        widths: Channels of the decoder's features on each map.
        widths_of_image: Channels of the encoder's features on each map.
    """

    def __init__(self, maps: Sequence[Map], widths: Sequence[int], widths_of_image: Sequence[int]) -> None:
        super().__init__()
        self.maps = tuple(maps)
        self.n_values = sum(one.n_values for one in maps)
        self.blocks = nn.ModuleList(
            _Block(width, of_image, one.channels)
            for one, width, of_image in zip(maps, widths, widths_of_image, strict=True)
            for _ in range(one.n_blocks)
        )
        self.register_buffer("kept_noise", torch.zeros(self.n_values))

    def start(self, generator: torch.Generator) -> None:
        """Draw the noise that is kept, and make priors and posteriors begin near each other."""
        kept = self.get_buffer("kept_noise")
        kept.copy_(torch.randn(len(kept), generator=generator))
        with torch.no_grad():
            for block in self._all():
                _last(block.prior).weight.mul_(0.01)
                _last(block.posterior).weight.mul_(0.01)
                block.inject.weight.mul_(0.5)
                block.mix.weight.mul_(0.1)

    def _all(self) -> list[_Block]:
        return [block for block in self.blocks if isinstance(block, _Block)]

    def _on(self, place: int) -> list[_Block]:
        start = sum(one.n_blocks for one in self.maps[:place])
        return self._all()[start : start + self.maps[place].n_blocks]

    def noise_of(self, flat: Float[Tensor, "b n"]) -> list[list[Float[Tensor, "b c y x"]]]:
        """Noise of each block on each map, cut from one row per image."""
        found, start = [], 0
        for one in self.maps:
            n = one.channels * one.side**2
            cuts = [slice(start + place * n, start + (place + 1) * n) for place in range(one.n_blocks)]
            found.append([flat[:, cut].reshape(-1, one.channels, one.side, one.side) for cut in cuts])
            start = cuts[-1].stop
        return found

    def drawn(self, place: int, features: Tensor, noise: Sequence[Tensor]) -> Tensor:
        """Features of a map after its local latents were drawn from their priors."""
        for block, one in zip(self._on(place), noise, strict=True):
            features = block.drawn(features, one)
        return features

    def inferred(
        self, place: int, features: Tensor, image: Tensor, noise: Sequence[Tensor] | None
    ) -> tuple[Tensor, Float[Tensor, " b"]]:
        """Features of a map with the local latents of an image, and their rate [nats]."""
        rate = features.new_zeros(len(features), dtype=torch.float32)
        for at, block in enumerate(self._on(place)):
            features, own = block.inferred(features, image, None if noise is None else noise[at])
            rate = rate + own
        return features, rate


class Guide(nn.Module):
    """What z alone must tell: the image averaged over cells, and the energies of its details.

    Args:
        latent_dim: Number of latent dimensions d.
        channels: Of the images.
        side: Of the layout [cells].
    """

    def __init__(self, latent_dim: int, channels: int, side: int) -> None:
        super().__init__()
        self.side, self.shape = side, (_GUIDE_HIDDEN, max(side // 4, 1), max(side // 4, 1))
        self.spread = nn.Linear(latent_dim, math.prod(self.shape))
        self.body = Convolution(_GUIDE_HIDDEN, _GUIDE_HIDDEN)
        self.to_layout = Convolution(_GUIDE_HIDDEN, channels)
        n_details = _OCTAVES * 8
        self.to_details = nn.Sequential(
            nn.Linear(latent_dim, _GUIDE_HIDDEN), nn.ReLU(inplace=True), nn.Linear(_GUIDE_HIDDEN, n_details)
        )
        self.log_var = nn.Parameter(torch.zeros(1 + n_details))

    def start(self) -> None:
        """Variances begin at that of a typical grey layout and at 1."""
        with torch.no_grad():
            self.log_var.zero_()
            self.log_var[0] = -0.3

    def forward(
        self, z: Float[Tensor, "b d"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
    ) -> Float[Tensor, " b"]:
        """Weighted nats of an image's layout and details, without constants. Details of an image with padding count
        nothing."""
        h = F.relu(self.spread(z)).reshape(-1, *self.shape)
        h = F.relu(self.body(F.interpolate(h, scale_factor=2.0, mode="nearest")))
        layout = self.to_layout(F.interpolate(h, size=(self.side, self.side), mode="nearest"))
        seen = F.adaptive_avg_pool2d(mask, self.side)
        wanted = F.adaptive_avg_pool2d(x * mask, self.side) / seen.clamp(min=_TINY)
        log_var = _VAR_STEP * self.log_var
        of_layout = ((layout - wanted).square() * torch.exp(-log_var[0]) + log_var[0]) * (seen > 0)
        of_details = (self.to_details(z) - details(x)).square() * torch.exp(-log_var[1:]) + log_var[1:]
        nats: Tensor = _GUIDE_WEIGHT * 0.5 * (of_layout.sum(dim=(1, 2, 3)) + is_whole(mask) * of_details.sum(dim=1))
        return nats


def details(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b n"]:
    """Eight numbers for each of four octaves: log energy, log mean size, log energy of the quarters, skewness, log
    kurtosis; of the mean over channels."""
    found = []
    for band in octaves(x.mean(dim=1, keepdim=True), _OCTAVES):
        energy = band.square().mean(dim=(1, 2, 3))
        safe = energy + _TINY
        found += [
            torch.log(safe)[:, None],
            torch.log(band.abs().mean(dim=(1, 2, 3)) + 1e-3)[:, None],
            torch.log(F.adaptive_avg_pool2d(band.square(), 2).flatten(1) + _TINY),
            ((band**3).mean(dim=(1, 2, 3)) / safe**1.5).clamp(-5, 5)[:, None],
            torch.log((band**4).mean(dim=(1, 2, 3)) / safe**2 + 0.1)[:, None],
        ]
    return torch.cat(found, dim=1)


def octaves(x: Float[Tensor, "b c h w"], n: int) -> Iterator[Tensor]:
    """What averaging pairs of pixels takes away, n times, each time from half the size: finest details first."""
    rest = x
    for _ in range(n):
        coarse = F.avg_pool2d(rest, 2, ceil_mode=True)
        yield rest - F.interpolate(coarse, size=rest.shape[-2:], mode="nearest")
        rest = coarse


def _bounded(log_var: Tensor) -> Tensor:
    return _LOG_VAR_LIMIT * torch.tanh(log_var / _LOG_VAR_LIMIT)
