"""The network of zatlas with local latents beside z (texture.py): `--texture local`.

The encoder's feature maps of the sides of the local latents go to their posteriors; the decoder passes its own features
through them on the way up. z is encoded, stored and drawn as without them.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.errors import UsageError
from zatlas.model.likelihoods import Likelihood
from zatlas.model.matching import WHOLE_FROM, Statistics
from zatlas.model.network import Decoder, Encoder, Network, NetworkConfig, Passed
from zatlas.model.priors import Posterior, Prior
from zatlas.model.texture import Guide, LocalLatents, maps_of

__all__ = ["TexturedNetwork", "local_latents"]


class TexturedNetwork(Network):
    """An encoder and a decoder with local latents between their feature maps.

    Args:
        encoder: Of zatlas.
        decoder: Of zatlas.
        likelihood: Of the images.
        prior: Of z.
        config: Layers and shape.
        local: Of `local_latents`.
        guide: What z alone must tell in training.
        statistics: What draws must have of images in training; None for nothing.
    """

    def __init__(
        self, encoder: Encoder, decoder: Decoder, likelihood: Likelihood, prior: Prior, config: NetworkConfig,
        local: LocalLatents, guide: Guide, statistics: Statistics | None = None,
    ) -> None:  # fmt: skip
        super().__init__(encoder, decoder, likelihood, prior, config)
        self.local, self.guide, self.statistics = local, guide, statistics

    @property
    def n_noise(self) -> int:
        n_local = self.local.n_values * (1 if self.statistics is None else 3)
        return self.config.latent_dim + n_local + self._n_of_shift

    @property
    def n_local(self) -> int:
        return self.local.n_values

    @property
    def local_sides(self) -> tuple[int, ...]:
        return tuple(one.side for one in self.local.maps)

    @property
    def kept_noise(self) -> Float[Tensor, " n"]:
        return self.local.get_buffer("kept_noise")

    def passed(self, x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b n"]) -> Passed:
        d = self.config.latent_dim
        posterior, features = self._features(x)
        z = posterior.draw(noise[:, :d])
        params, rates = self._inferred(z, features, self.local.noise_of(noise[:, d : d + self.n_local]))
        return Passed(params, posterior, z, rates)

    def guided(
        self, passed: Passed, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"], noise: Float[Tensor, "b n"]
    ) -> Float[Tensor, " b"] | None:
        found: Tensor = self.guide(passed.z, x, mask)
        still = super().guided(passed, x, mask, noise)
        if still is not None:
            found = found + still
        if self.statistics is None or self.statistics.strength == 0:
            return found
        first = self.config.latent_dim + self.n_local
        own = noise[:, first : first + 2 * self.n_local].chunk(2, dim=1)

        def draw(rows: slice, which: int) -> Tensor:
            return self.likelihood.mean(self.decode_with(passed.z[rows].detach(), own[which][rows]))

        matched: Tensor = self.statistics(x, mask, draw)
        return found + matched

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b p h w"]:
        """Parameters of the likelihood, with local latents drawn from their priors by the kept noise."""
        return self.decode_with(z, self.kept_noise.expand(len(z), -1))

    def decode_with(self, z: Float[Tensor, "b d"], noise: Float[Tensor, "b n"]) -> Float[Tensor, "b p h w"]:
        cut = self.local.noise_of(noise)
        params = self._decoder().through(
            z, self.local_sides, lambda place, own: self.local.drawn(place, own, cut[place])
        )
        return self._with_path(params, z)

    @property
    def late_from(self) -> float:
        return 0.0 if self.statistics is None else WHOLE_FROM

    def train_at(self, share_done: float) -> None:
        if self.statistics is not None:
            self.statistics.train_at(share_done)

    def inferred(
        self, z: Float[Tensor, "b d"], x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b p h w"], Float[Tensor, "b l"]]:
        return self._inferred(z, self._features(x)[1], None)

    def reconstruction(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        posterior, features = self._features(x)
        return self._inferred(posterior.mean, features, None)[0]

    def inner_matrices(self) -> list[str]:
        return [name for name in super().inner_matrices() if not name.startswith("guide.")]

    def compute_copy(self, dtype: torch.dtype) -> Network:
        raise UsageError("a network with local latents computes in float32 alone", hint="leave the precision out")

    def _features(self, x: Tensor) -> tuple[Posterior, dict[int, Tensor]]:
        assert isinstance(self.encoder, Encoder)
        return self.encoder.with_features(x, self.local_sides)

    def _inferred(
        self, z: Tensor, features: dict[int, Tensor], noise: list[list[Tensor]] | None
    ) -> tuple[Tensor, Float[Tensor, "b l"]]:
        rates: list[Tensor] = []

        def through(place: int, own: Tensor) -> Tensor:
            image = features[self.local.maps[place].side]
            found, rate = self.local.inferred(place, own, image, None if noise is None else noise[place])
            rates.append(rate)
            return found

        params = self._decoder().through(z, self.local_sides, through)
        return self._with_path(params, z), torch.stack(rates, dim=1)

    def _decoder(self) -> Decoder:
        assert isinstance(self.decoder, Decoder)
        return self.decoder


def local_latents(decoder: Decoder, config: NetworkConfig) -> LocalLatents:
    """Local latents that fit between the feature maps of an encoder and this decoder."""
    of_image = {config.padded_size >> (stage + 1): width for stage, width in enumerate(config.widths)}
    own = decoder.widths_by_side()
    maps = [one for one in maps_of(config.coarse_size) if one.side in own]
    return LocalLatents(maps, [own[one.side] for one in maps], [of_image[one.side] for one in maps])
