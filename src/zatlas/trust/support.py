"""How far a place in latent space is from the images that the model has learned from, and which images are near which.

A decoder makes a picture of any latent; whether there are data near it is another question. The reference is how far
training images are from one another: the distance of each to its 5th nearest other training image, along the
dimensions that the model uses. A latent farther from the training images than nearly all of them lies off the data.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from zatlas.atlas.neighbours import nearest_neighbours

__all__ = ["KNN", "Neighbours", "Support", "kept_share", "nearest_ratio", "neighbour_distance", "neighbours", "support"]

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


def nearest_ratio(samples: Float[np.ndarray, " n"], neighbours: Float[np.ndarray, " m"]) -> float:
    """How far samples lie from the data, relative to how far data lie from one another: a ratio of medians.

    Well below 1 the samples may be near copies. NaN without samples or neighbours, and where neighbours coincide.

    Args:
        samples: Distance of each sample to the nearest latent that the model has learned from.
        neighbours: Distance of some images to their nearest other one.
    """
    if len(samples) == 0 or len(neighbours) == 0:
        return float("nan")
    ours, real = float(np.median(samples)), float(np.median(neighbours))
    return ours / real if real > 0 else float("nan")


class Support(NamedTuple):
    """The distances that separate "within the data", "near the data" and "off the data".

    Attributes:
        k: The distance to the k-th nearest other latent of the reference is meant; 0 for a single latent.
        dims: Dimensions along which distances are taken, (m,).
        within: 95 % quantile of the reference.
        near: 99.5 % quantile of the reference.
        quantiles: 0 to 100 % in steps of 1 %, (101,).
        n: Latents of the reference.
        n_asked: Of how many of them the distances were taken.
        is_of_training: Whether they are those of training images; otherwise all images stand for them.
    """

    k: int
    dims: Int[np.ndarray, " m"]
    within: float
    near: float
    quantiles: Float[np.ndarray, " q"]
    n: int
    n_asked: int
    is_of_training: bool


def support(
    mean: Float[np.ndarray, "n d"], is_training: Bool[np.ndarray, " n"], is_active: Bool[np.ndarray, " d"]
) -> Support:
    """How far training images are from one another: quantiles of the distance of each to its 5th nearest other one.

    With more than 50 000 training images the reference is taken from 20 000 of them, evenly spaced; their neighbours
    are still looked for among all.

    Args:
        mean: Posterior means of all images.
        is_training: Which images the model has learned from; with fewer than two all images stand for them.
        is_active: Which dimensions the model uses; with none all count.
    """
    dims = np.flatnonzero(is_active) if np.any(is_active) else np.arange(mean.shape[1])
    rows = np.flatnonzero(is_training)
    is_of_training = len(rows) >= 2
    if not is_of_training:
        rows = np.arange(len(mean))
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
    within, near = (float(np.quantile(reference, share)) for share in (_WITHIN, _NEAR))
    quantiles = np.quantile(reference, np.linspace(0, 1, 101))
    return Support(k, dims, within, max(near, within), quantiles, len(rows), asked, is_of_training)
