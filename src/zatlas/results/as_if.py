"""Real tiles as a model would draw them had they come from another brain, hospital, ...: z stays, what the decoder is
told changes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from zatlas.atlas.atlas import Atlas
from zatlas.model.told import told_in
from zatlas.results.pictures import View
from zatlas.tiles.loader import Tiles

__all__ = ["AsIf", "as_if"]


@dataclass(frozen=True)
class AsIf:
    """Tiles, what they are given back as, and what they would be with each value of a covariate.

    Attributes:
        column: Name of the covariate.
        values: What the decoder was told, one for each column of `drawn`.
        images: Name of each tile's image.
        own: Value of each image; "" where the model does not know it, such as that of a brain held out.
        originals: As shown, on 0..1, like the others.
        reconstructions: Told the own value, or the mean of all where that is not known.
        drawn: Told each of `values`.
    """

    column: str
    values: tuple[str, ...]
    images: tuple[str, ...]
    own: tuple[str, ...]
    originals: Float[np.ndarray, "n c h w"]
    reconstructions: Float[np.ndarray, "n c h w"]
    drawn: Float[np.ndarray, "n v c h w"]


def as_if(view: View, atlas: Atlas, tiles: Tiles, rows: Int[np.ndarray, " n"], values: Sequence[str]) -> AsIf:
    """Draw some tiles of an atlas as if they had other values of the covariate.

    Args:
        view: A model that was trained with a covariate.
        atlas: Its latents.
        tiles: Those of the atlas.
        rows: Which tiles.
        values: What to tell; one of them need not be that of an image here.

    Raises:
        UsageError: the model knows no covariate, or was never told one of the values.
    """
    network, z = view.network, atlas.mean[rows]
    told_each = [view.told(value).decode(z) for value in values]
    where = tiles.table().iloc[rows]
    told, column = told_in(network, tiles, where["image_row"].to_numpy()), network.covariate_column
    names = tiles.images.table[column].astype(str).to_numpy()[where["image_row"].to_numpy()]
    known = network.covariate_values
    return AsIf(
        column, tuple(values), tuple(where["image"].astype(str)),
        tuple(name if name in known else "" for name in names.tolist()),
        view.take(tiles, rows), view.decode(z, told), np.stack(told_each, axis=1),
    )  # fmt: skip
