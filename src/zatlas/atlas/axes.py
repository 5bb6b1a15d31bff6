"""Axes on which images have a place: principal components, map axes, latent dimensions, numeric columns."""

import re
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from zatlas.atlas.projection import Projection, in_order
from zatlas.errors import UsageError

__all__ = ["OWN_COLUMNS", "axis_values"]

OWN_COLUMNS = (
    "image", "image_row", "group", "split", "y_px", "x_px", "size_px", "distortion_nats", "rate_nats",
    "local_rate_nats", "psnr_db", "cluster",
)  # fmt: skip
"""Columns of the table that zatlas writes; all others are the user's labels."""


def axis_values(
    axis: str,
    latents: Float[np.ndarray, "n d"],
    table: pd.DataFrame,
    maps: Mapping[str, str],
    projection: Callable[[str], Projection],
) -> tuple[str, str, Float[np.ndarray, " n"]]:
    """The name of an axis as it is shown, its kind (a map, "latent", "label"), and each image's value on it.

    Args:
        axis: "PC1", "TSNE2", "t-SNE 2", ... (a map and a number from 1), "z0", "z1", ..., or the name of a numeric
            column of the table.
        latents: Of all images.
        table: One row for each of them.
        maps: Name of the map by what may stand before the number of its axes, last what is usual.
        projection: Gives a map by its name.

    Raises:
        UsageError: there is no such axis.
    """
    if axis in table:
        return axis, "label", _numeric(table[axis], axis)
    found = _parted(axis, ("z", *maps))
    if found is None:
        raise UsageError(f"there is no axis {axis!r}", hint=f"choose one of: {_known_axes(latents, table, maps)}")
    family, number = found
    if family == "z":
        return f"z{number}", "latent", _column(latents, number, axis, first=0)
    one = projection(maps[family])
    return one.axis_name(number), one.name, _column(one.points, number - 1, axis, first=1)


def _parted(axis: str, families: Iterable[str]) -> tuple[str, int] | None:
    """What an axis belongs to, and its number: "t-SNE 2" is the second of "tsne"."""
    text = _bare(axis)
    for family in sorted(families, key=len, reverse=True):  # "maps1" of "maps" and "maps11" of "maps1"
        found = re.fullmatch(re.escape(_bare(family)) + r"(\d+)", text, re.ASCII)
        if found:
            return family, int(found[1])
    return None


def _bare(text: str) -> str:
    return re.sub(r"[\s_-]", "", text).lower()


def _column(values: np.ndarray, number: int, axis: str, *, first: int) -> np.ndarray:
    if not 0 <= number < values.shape[1]:
        last = values.shape[1] - 1 + first
        raise UsageError(f"there is no axis {axis!r}", hint=f"its number may be {first} to {last}")
    return np.asarray(values[:, number], np.float64)


def _numeric(column: "pd.Series[float]", axis: str) -> np.ndarray:
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if not pd.api.types.is_numeric_dtype(column):
        raise UsageError(
            f"the column {axis!r} holds text, which has no lowest and highest", hint="choose a numeric column"
        )
    return column.to_numpy(np.float64, na_value=np.nan)


def _known_axes(latents: np.ndarray, table: pd.DataFrame, maps: Mapping[str, str]) -> str:
    numeric = [
        str(name) for name in table.columns if name not in OWN_COLUMNS and pd.api.types.is_numeric_dtype(table[name])
    ]
    last = {name: family.upper() for family, name in maps.items()}
    known = [f"{last[name]}{number}" for name in in_order(last) for number in (1, 2)]
    return ", ".join([*known, f"z0 to z{latents.shape[1] - 1}", *numeric])
