"""How far a place in latent space is from the images that the model has learned from, and which images are near which.

A decoder makes a picture of any latent; whether there are data near it is another question. The reference is how far
training images are from one another: the distance of each to its 5th nearest other training image, along the
dimensions that the model uses. A latent farther from the training images than nearly all of them lies off the data.
"""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from zatlas.atlas.neighbours import nearest_neighbours

__all__ = ["KNN", "Neighbours", "kept_share", "neighbour_distance", "neighbours", "support"]

KNN = 10
_SUPPORT_K = 5
_WITHIN, _NEAR = 0.95, 0.995
_MOST_ASKED = 50_000
_ASKED = 20_000


class Neighbours(NamedTuple):
    """Nearest other images of each image in the full latent space, nearest first.

    Attributes:
        rows: Atlas rows, (n, k); k is 10, or less for fewer than 11 images.
        distances: (n, k).
    """

    rows: Int[np.ndarray, "n k"]
    distances: Float[np.ndarray, "n k"]


def neighbours(mean: Float[np.ndarray, "n d"]) -> Neighbours:
    """The 10 nearest other images of each image."""
    return Neighbours(*nearest_neighbours(mean, KNN))


def neighbour_distance(found: Neighbours) -> Float[np.ndarray, " n"]:
    """Distance of each image to its 5th nearest other one (the farthest known with fewer); NaN for a single image."""
    n, k = found.distances.shape
    return np.asarray(found.distances[:, min(_SUPPORT_K, k) - 1] if k else np.full(n, np.nan))


def kept_share(found: Neighbours, points: Float[np.ndarray, "n m"]) -> Float[np.ndarray, " n"]:
    """Share of the nearest neighbours of each image in latent space that are among its nearest ones on a map, 0 to 1.

    NaN for a single image.
    """
    n, k = found.rows.shape
    if k == 0:
        return np.full(n, np.nan)
    on_map, _ = nearest_neighbours(points, k)
    return np.asarray((found.rows[:, :, None] == on_map[:, None, :]).any(axis=2).mean(axis=1))


def support(
    mean: Float[np.ndarray, "n d"], is_training: Bool[np.ndarray, " n"], is_active: Bool[np.ndarray, " d"]
) -> dict[str, Any]:
    """The distances that separate "within the data", "near the data" and "off the data".

    Args:
        mean: Posterior means of all images.
        is_training: Which images the model has learned from; with fewer than two all images stand for them.
        is_active: Which dimensions the model uses; with none all count.

    Returns:
        The manifest's entry: k, dims, within (95 % quantile of the reference), near (99.5 %), quantiles (0 to 100 %
        in steps of 1 %) and words. With more than 50 000 training images the reference is taken from 20 000 of them,
        evenly spaced; their neighbours are still looked for among all.
    """
    dims = np.flatnonzero(is_active) if np.any(is_active) else np.arange(mean.shape[1])
    rows = np.flatnonzero(is_training)
    who = "training images"
    if len(rows) < 2:
        rows, who = np.arange(len(mean)), "images"
    points = mean[np.ix_(rows, dims)]
    k = min(_SUPPORT_K, len(rows) - 1)
    asked = len(rows)
    if k < 1:
        reference = np.zeros(1)
    elif len(rows) > _MOST_ASKED:
        asked = _ASKED
        some = np.linspace(0, len(rows) - 1, asked).astype(np.int64)
        # The nearest one of a point among the points is the point itself.
        reference = nearest_neighbours(points, k + 1, queries=points[some])[1][:, k]
    else:
        reference = nearest_neighbours(points, k)[1][:, k - 1]
    return _entry(reference, dims, k, f"{len(rows)} {who}", "" if asked == len(rows) else f", asked of {asked}")


def _entry(reference: np.ndarray, dims: np.ndarray, k: int, who: str, asked: str) -> dict[str, Any]:
    within, near = (float(np.quantile(reference, share)) for share in (_WITHIN, _NEAR))
    words = (
        f"Measured against the {who}{asked}: the distance to the {_ordinal(k)} nearest one in {len(dims)} active "
        f"{'dimension' if len(dims) == 1 else 'dimensions'}. Up to {within:.3g}, as for 95 % of them, is within the "
        f"data; up to {near:.3g}, as for 99.5 %, near the data; beyond, off the data."
    )
    return {
        "k": max(k, 1), "dims": [int(dim) for dim in dims], "within": within, "near": max(near, within),
        "quantiles": [float(q) for q in np.quantile(reference, np.linspace(0, 1, 101))], "words": words,
    }  # fmt: skip


def _ordinal(k: int) -> str:
    return {1: "very", 2: "2nd", 3: "3rd"}.get(max(k, 1), f"{k}th")
