"""Axes on which images have a place: principal components, map axes, latent dimensions, numeric columns."""

import re
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float

from zatlas.errors import UsageError

__all__ = ["OWN_COLUMNS", "axis_values"]

OWN_COLUMNS = (
    "image", "image_row", "group", "split", "y_px", "x_px", "size_px", "distortion_nats", "rate_nats", "psnr_db",
    "cluster",
)  # fmt: skip
"""Columns of the table that zatlas writes; all others are the user's labels."""


def axis_values(
    axis: str, latents: Float[np.ndarray, "n d"], table: pd.DataFrame, scores: Callable[[str], np.ndarray]
) -> tuple[str, str, Float[np.ndarray, " n"]]:
    """The name of an axis as it is shown, its kind ("pca", "tsne", "latent", "label"), and each image's value on it.

    Args:
        axis: "PC1", "PC2", ..., "TSNE1" or "TSNE2", "z0", "z1", ..., or the name of a numeric column of the table.
        latents: Of all images.
        table: One row for each of them.
        scores: Gives the points of a map, (n, k), by its name.

    Raises:
        UsageError: there is no such axis.
    """
    if axis in table:
        return axis, "label", _numeric(table[axis], axis)
    found = re.fullmatch(r"(pc|t-?sne|z)[ _-]?(\d+)", axis.strip(), re.IGNORECASE)
    if not found:
        raise UsageError(f"there is no axis {axis!r}", hint=f"choose one of: {_known_axes(latents, table)}")
    family, number = found[1].lower().replace("-", ""), int(found[2])
    if family == "z":
        return f"z{number}", "latent", _column(latents, number, axis, first=0)
    if family == "pc":
        return f"PC{number}", "pca", _column(scores("pca"), number - 1, axis, first=1)
    return f"t-SNE {number}", "tsne", _column(scores("tsne"), number - 1, axis, first=1)


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


def _known_axes(latents: np.ndarray, table: pd.DataFrame) -> str:
    numeric = [
        str(name) for name in table.columns if name not in OWN_COLUMNS and pd.api.types.is_numeric_dtype(table[name])
    ]
    d = latents.shape[1]
    return ", ".join(["PC1", "PC2", "TSNE1", "TSNE2", f"z0 to z{d - 1}", *numeric])
