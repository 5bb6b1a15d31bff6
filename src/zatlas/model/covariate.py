"""What is known of an image beside its pixels, such as its brain: told to the decoder, and kept out of z.

Brains differ in stain, hospitals in exposure. Latents of images hold that too, unless the decoder knows it already and
training asks z to be alike for all values:

    image ~ p(x | z, covariate),   loss + weight * values of the image * energy distance of z between the covariate's

Notable:
    - The decoder is told by a scale and a shift for each channel of its feature maps and of its output, a row of them
      for each value of the training images (FiLM; Perez et al. 2018, https://arxiv.org/abs/1709.07871). All begin at 0,
      where nothing is told. An image of no known value, such as one of a brain held out, is told the mean of all rows.
    - The encoder is told nothing, so that it works for images of any brain.
    - The energy distance is zero only where z has the same distribution for each value (Szekely & Rizzo 2013,
      https://doi.org/10.1016/j.jspi.2013.03.018; a maximum mean discrepancy, Gretton et al. 2012,
      https://jmlr.org/papers/v13/gretton12a.html). It is that of posterior means with spread 1 along each dimension,
      estimated without bias among the images of a shard.
    - What is told is a row of weights over the values: 1 at the value, or the same for all where it is not known.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["MOST_VALUES", "Covariate", "energy_distance", "standardised", "told_of"]

_LEAST_VARIANCE = 1e-4

MOST_VALUES = 64
"""A covariate of more values is refused: each needs some images from which its scales and shifts are learned."""


class Covariate(nn.Module):
    """Scales and shifts of feature maps for each value of a covariate.

    Args:
        n_values: Number of values v.
        widths: Channels of the maps, and last of the output.
    """

    def __init__(self, n_values: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.tables = nn.ParameterList(torch.zeros(n_values, 2 * width) for width in widths)

    def forward(
        self, place: int, features: Float[Tensor, "b c y x"], told: Float[Tensor, "n v"] | None
    ) -> Float[Tensor, "b c y x"]:
        """A map, scaled and shifted.

        Args:
            place: Of the map in `widths`.
            features: The map.
            told: Weights of the values, a row for each image or one for all; None weighs all alike.
        """
        table = self.tables[place]
        rows = table.mean(dim=0, keepdim=True) if told is None else told @ table
        scale, shift = rows.to(features.dtype)[..., None, None].chunk(2, dim=1)
        changed: Tensor = features * (1 + scale) + shift
        return changed


def told_of(names: Sequence[str], values: Sequence[str]) -> Float[Tensor, "n v"]:
    """What a decoder is told of images.

    Args:
        names: The value of each image; one that is not among `values` is told as the mean of all.
        values: Those of the training images.

    Example:
        >>> told_of(["B05", "B20"], ["B01", "B05"])
        tensor([[0.0000, 1.0000],
                [0.5000, 0.5000]])
    """
    told = torch.full((len(names), len(values)), 1 / max(len(values), 1))
    places = {value: place for place, value in enumerate(values)}
    for row, name in enumerate(names):
        if name in places:
            told[row] = 0
            told[row, places[name]] = 1
    return told


def standardised(z: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Latents with the spread 1 along each dimension: else a distance would fall where latents shrink, and nothing else
    changes. Dimensions that hardly vary stay small."""
    return (z - z.mean(dim=0)) / (z.var(dim=0, correction=0) + _LEAST_VARIANCE).sqrt()


def energy_distance(z: Float[Tensor, "b d"], told: Float[Tensor, "b v"]) -> Float[Tensor, ""]:
    """How far the distributions of latents are from each other, over all pairs of values, each pair weighted by how
    often it is met; estimated without bias, so that it may fall a little below 0.

    Images of no known value are left out, and those of a value that is met once.

    Args:
        z: Latents.
        told: Weights of the values.
    """
    same = (told @ told.T == 1).to(z.dtype)  # of two images of one known value alone
    n_same = same.sum(dim=1)
    used = (n_same >= 2).to(z.dtype)
    n = used.sum().clamp(min=1)
    apart = torch.cdist(z, z, compute_mode="donot_use_mm_for_euclid_dist")
    within = used * (same * apart).sum(dim=1) / (n_same - 1).clamp(min=1)
    between = ((1 - same) * apart * used * used[:, None]).sum() / n**2
    all_pairs = between + (within * n_same).sum() / n**2
    return 2 * (all_pairs - within.sum() / n)
