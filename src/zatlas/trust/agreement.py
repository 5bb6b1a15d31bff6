"""Whether two models organise the same images alike: neighbours in common, maps alike, distances in the same order.

Axes of two latent spaces mean nothing to each other; neighbours, distances and divisions can be compared.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial import procrustes
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from zatlas.atlas.neighbours import nearest_neighbours
from zatlas.errors import UsageError
from zatlas.tiles.samplers import evenly

__all__ = ["MOST_ASKED", "chance_overlap", "distance_correlation", "map_agreement", "neighbour_overlap"]

MOST_ASKED = 5000  # images whose neighbours are compared: the standard error of their share is below 0.005


def neighbour_overlap(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"], k: int = 15, *, most: int = MOST_ASKED
) -> float:
    """Mean share of the k nearest neighbours of each image that two latent spaces have in common, 0 to 1.

    By chance it is `chance_overlap`. With more than `most` images, evenly spaced ones are asked for their neighbours
    among all.

    Args:
        a: Latents of the images in one model.
        b: Latents of the same images in another.
        k: Neighbours; n - 1 when there are fewer.
        most: Images asked.

    Raises:
        UsageError: the two hold different numbers of images.
    """
    if len(a) != len(b):
        raise UsageError(f"the two models have {len(a)} and {len(b)} latents, expected the same images")
    asked = evenly(len(a), most)
    rows_a, rows_b = _nearest_others(a, asked, k), _nearest_others(b, asked, k)
    if rows_a.shape[1] == 0:
        return 1.0
    is_common = (rows_a[:, :, None] == rows_b[:, None, :]).any(axis=2)
    return float(is_common.mean())


def _nearest_others(points: np.ndarray, asked: np.ndarray, k: int) -> np.ndarray:
    """Nearest neighbours of some of the points, each without itself, (m, k)."""
    if len(asked) == len(points):
        return nearest_neighbours(points, k)[0]
    rows = nearest_neighbours(points, k + 1, queries=points[asked])[0]
    is_itself = rows == asked[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True  # hidden behind many equal points
    return np.asarray(rows[~is_itself].reshape(len(asked), -1))


def chance_overlap(n: int, k: int) -> float:
    """Share of the k nearest of n - 1 other images that two unrelated spaces have in common on average: k / (n - 1).

    Example:
        >>> chance_overlap(31, 15), chance_overlap(4, 15)
        (0.5, 1.0)
    """
    return min(1.0, k / max(n - 1, 1))


def map_agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Share of the variance of one map (n, 2) that the other explains after shifting, turning, mirroring and scaling.

    1 the same map, 0 nothing in common; NaN when all points of a map coincide, or one has more axes.

    Source: Gower 1975, generalised Procrustes analysis; as in scipy.spatial.procrustes
    """
    if a.shape != b.shape or np.ptp(a, axis=0).max() == 0 or np.ptp(b, axis=0).max() == 0:
        return float("nan")
    _, _, disparity = procrustes(a.astype(np.float64), b.astype(np.float64))
    return float(np.clip(1 - disparity, 0, 1))


def distance_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation between the distances of all pairs of images in two latent spaces, -1 to 1.

    NaN when all distances in one of them are equal.
    """
    x, y = (pdist(points.astype(np.float64)) for points in (a, b))
    if not len(x) or np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(spearmanr(x, y).statistic)
