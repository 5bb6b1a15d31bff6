"""The network of zatlas whose decoder is told a covariate (covariate.py): `--covariate COLUMN`."""

import copy
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import repeat
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from zatlas.compute import in_shards, shards_of
from zatlas.errors import UsageError
from zatlas.images.labels import OWN_COLUMNS
from zatlas.model.covariate import MOST_VALUES, Covariate, energy_distance, standardised, told_of
from zatlas.model.likelihoods import Likelihood
from zatlas.model.network import Decoder, Encoder, Network, NetworkConfig
from zatlas.model.priors import Prior
from zatlas.tiles.loader import Tiles

__all__ = ["ToldNetwork", "covariate_values", "in_told_shards", "told_in", "told_shards", "told_value"]


class ToldNetwork(Network):
    """An encoder, which is told nothing, and a decoder, which is told the value of each image.

    Args:
        encoder: Of zatlas.
        decoder: Of zatlas.
        likelihood: Of the images.
        prior: Of z.
        config: Layers and shape, and the values.
    """

    config: NetworkConfig

    def __init__(
        self, encoder: Encoder, decoder: Decoder, likelihood: Likelihood, prior: Prior, config: NetworkConfig
    ) -> None:
        super().__init__(encoder, decoder, likelihood, prior, config)
        widths = decoder.widths_by_side()
        self.sides = tuple(widths)
        out = likelihood.n_params * config.channels
        self.covariate = Covariate(len(config.covariate_values), (*widths.values(), out))
        self._told: Tensor | None = None

    @property
    def covariate_values(self) -> tuple[str, ...]:
        return self.config.covariate_values

    @property
    def covariate_column(self) -> str:
        return self.config.covariate

    def told_of(self, names: Sequence[str]) -> Float[Tensor, "n v"] | None:
        return told_of(names, self.config.covariate_values)

    def told(self, told: Float[Tensor, "n v"] | None) -> "ToldNetwork":
        other = copy.copy(self)  # with the same parts: threads may tell each their own
        other._told = told
        return other

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b p h w"]:
        """Parameters of the likelihood for the value that is told; without one for the mean of all."""
        assert isinstance(self.decoder, Decoder)
        params = self.decoder.through(z, self.sides, lambda place, own: self.covariate(place, own, self._told))
        found: Tensor = self.covariate(len(self.sides), params, self._told)
        return found

    def parted(self, z: Float[Tensor, "b d"], told: Float[Tensor, "b v"]) -> Float[Tensor, ""] | None:
        config = self.config
        n_values = config.channels * config.size**2
        return config.covariate_weight * n_values * energy_distance(standardised(z), told)


def told_in(network: Network, tiles: Tiles, rows: Int[np.ndarray, " n"]) -> Float[Tensor, "n v"] | None:
    """What a network's decoder is told of images of `tiles`; None where it is told nothing, or nothing is known.

    Args:
        network: The network.
        tiles: From which the images come.
        rows: Row of each image in `tiles.images`.
    """
    column, table = network.covariate_column, tiles.images.table
    if not column or column not in table:
        return None
    return network.told_of(_names(table[column].iloc[rows]))


def told_shards(told: Float[Tensor, "n v"] | None) -> Iterable[Tensor | None]:
    """What is told beside `shards_of` the images; without end where nothing is."""
    return repeat(None) if told is None else shards_of(told)


def in_told_shards(
    network: Network,
    compute: Callable[[Network, Tensor], Tensor],
    rows: Float[Tensor, "n ..."],
    told: Float[Tensor, "n v"] | None,
) -> Float[Tensor, "n ..."]:
    """`in_shards` of compute(network, part), whose decoder is told its own rows of `told`."""
    if told is None:
        return torch.cat(in_shards(partial(compute, network), rows))
    return torch.cat(in_shards(lambda part, own: compute(network.told(own), part), rows, told.to(rows.device)))


def told_value(network: Network, value: str | None) -> Network:
    """The network, whose decoder is told one value for all images; None tells the mean of all.

    Raises:
        UsageError: it was never told this value in training.
    """
    if value is None:
        return network
    values = network.covariate_values
    if not values:
        what = "this model was trained without a covariate"
        raise UsageError(what, hint='train one with --covariate group, or VAE(covariate="group")')
    if value not in values:
        raise UsageError(f"the decoder was never told {value}", hint=f"use one of {', '.join(values)}")
    return network.told(network.told_of([value]))


def covariate_values(table: pd.DataFrame, column: str) -> tuple[str, ...]:
    """Values of a covariate among images, sorted; missing ones are none.

    Args:
        table: Of the training images.
        column: Name of the covariate.

    Raises:
        UsageError: there is no such column, it has fewer than 2 values or more than 64, or most are met once.
    """
    if column not in table:
        known = ", ".join(["group", *(str(name) for name in table.columns if name not in OWN_COLUMNS)])
        raise UsageError(f"--covariate is {column}, which is no column of these images", hint=f"use one of {known}")
    names = [name for name in _names(table[column]) if name]
    values = sorted(set(names))
    what, hint = f"--covariate is {column}", "use a column of few categories, such as group"
    if not 2 <= len(values) <= MOST_VALUES:
        many = "1 value" if len(values) == 1 else f"{len(values)} values"
        raise UsageError(f"{what}, of which the training images have {many}, expected 2 to {MOST_VALUES}", hint=hint)
    if 2 * len(values) > len(names):
        raise UsageError(f"{what}, which has {len(values)} values among {len(names)} training images", hint=hint)
    return tuple(values)


def _names(column: "pd.Series[Any]") -> list[str]:
    return ["" if pd.isna(value) else str(value) for value in column]
