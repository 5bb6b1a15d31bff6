"""Nearest neighbours, and whether a map keeps them.

Exact, in bounded memory, the same for the same input; feasible at 100 000 points (docs/explanation/speed.md has the
measurements behind each limit here).
"""

import logging

import numpy as np
from jaxtyping import Float, Int
from sklearn.neighbors import KDTree, NearestNeighbors

from zatlas.compute import one_thread
from zatlas.errors import DataError, UsageError
from zatlas.randomness import generator

__all__ = ["checked_points", "nearest_neighbours", "trust"]

log = logging.getLogger(__name__)

_CHUNK_ELEMENTS = 4_000_000
_TREE_FROM = 5_000  # points; below, comparing all pairs takes less than a tenth of a second
_TREE_PROBE = 200
_TREE_COST = 25.0  # at 100 000 points one distance in a tree takes as long as 14 (d = 16) to 27 (32) of all pairs


def checked_points(points: np.ndarray) -> np.ndarray:
    """Points (n, d) as float64.

    Raises:
        DataError: there is no point, or a value is not finite.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or 0 in points.shape:
        raise DataError(f"no latents to map: found an array of shape {points.shape}, expected (images, dimensions)")
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points).all(axis=1)).sum())
        raise DataError(f"the latents of {bad} of {len(points)} images are not finite numbers", hint="train again")
    return points


def nearest_neighbours(
    points: Float[np.ndarray, "n d"], k: int, queries: Float[np.ndarray, "q d"] | None = None
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """Exact nearest neighbours by Euclidean distance, in memory bounded but for the answer.

    Many points are looked up in a k-d tree when a first 200 look-ups show that it spares enough distances: latents
    often fill few of their dimensions. Otherwise all pairs are compared, a part at a time.

    Args:
        points: Where neighbours are looked for.
        k: How many; at most as many as there are.
        queries: Whose neighbours; by default the points themselves, each without itself.

    Returns:
        Rows of `points` and distances, nearest first, each (q, k); fewer columns when there are fewer points.
    """
    points = checked_points(points)
    available = len(points) - (1 if queries is None else 0)
    k = min(k, available)
    own = points if queries is None else np.asarray(queries, np.float64)
    if k < 1:
        return np.zeros((len(own), 0), np.int64), np.zeros((len(own), 0))
    algorithm = "kd_tree" if _is_tree_faster(points, own, k) else "brute"
    with one_thread():
        model = NearestNeighbors(n_neighbors=k, algorithm=algorithm).fit(points)
        rows = np.asarray(model.kneighbors(None if queries is None else own, return_distance=False), np.int64)
    # Distances are taken again from the differences: the library's product form loses digits for close neighbours.
    distances = np.stack([np.linalg.norm(points[rows[:, j]] - own, axis=1) for j in range(k)], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)


def _is_tree_faster(points: np.ndarray, queries: np.ndarray, k: int) -> bool:
    """Whether a k-d tree computes few enough distances; counted, not timed, so that the answer repeats itself."""
    n = len(points)
    if n < _TREE_FROM or len(queries) < _TREE_FROM:
        return False
    some = queries[np.linspace(0, len(queries) - 1, _TREE_PROBE).astype(np.int64)]
    tree = KDTree(points)
    tree.reset_n_calls()
    tree.query(some, k + 1, return_distance=False)
    share = tree.get_n_calls() / (len(some) * n)
    is_faster = bool(share * _TREE_COST < 1)
    log.info(
        "nearest neighbours of %d images: %s (%.1f %% of all distances are needed in a tree)",
        len(queries), "a k-d tree" if is_faster else "all pairs", 100 * share,
    )  # fmt: skip
    return is_faster


def trust(
    high: Float[np.ndarray, "n d"], low: Float[np.ndarray, "n m"], *, k: int = 15, most: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Trustworthiness and continuity of a map: do its neighbourhoods exist, and are the real ones kept? 0 to 1.

    trustworthiness = 1 - 2 / (n k (2n - 3k - 1)) sum_i sum_{j in map neighbours only} (rank of j in latent space - k)

    Continuity exchanges the two spaces.

    Args:
        high: Latents.
        low: Their positions on the map.
        k: Neighbours that make a neighbourhood, below n / 2.
        most: With more points than this, the sums run over a seeded sample of this many (ranks stay exact).
        seed: Of that sample.

    Raises:
        UsageError: k is not between 1 and n / 2.

    Source: Venna & Kaski 2006, https://doi.org/10.1016/j.neunet.2006.05.014
    """
    n = len(high)
    if not 1 <= k < n / 2:
        raise UsageError(f"a neighbourhood of {k} needs more than {2 * k} images, found {n}")
    rows = np.arange(n)
    if n > most:
        rows = np.sort(generator(seed, "trust").choice(n, most, replace=False))
    high, low = np.asarray(high, np.float64), np.asarray(low, np.float64)
    penalties = np.zeros(2)
    for chunk in np.array_split(rows, -(-len(rows) * n // _CHUNK_ELEMENTS)):
        far_high, far_low = _squared_distances(high, chunk), _squared_distances(low, chunk)
        is_near_high, is_near_low = _is_near(far_high, k), _is_near(far_low, k)
        penalties += (
            _excess(far_high, is_near_low & ~is_near_high, k),
            _excess(far_low, is_near_high & ~is_near_low, k),
        )
    trustworthiness, continuity = 1 - penalties * 2 / (len(rows) * k * (2 * n - 3 * k - 1))
    return float(trustworthiness), float(continuity)


def _squared_distances(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """From each of `rows` to every point, up to rounding; infinite to itself."""
    squares = (points**2).sum(axis=1)
    distances = squares[rows, None] - 2 * points[rows] @ points.T + squares
    distances[np.arange(len(rows)), rows] = np.inf
    return np.asarray(distances)


def _is_near(distances: np.ndarray, k: int) -> np.ndarray:
    """Whether each point is among the k nearest of its row; of equally distant ones the first are."""
    kth = np.partition(distances, k - 1, axis=1)[:, k - 1, None]
    is_near = distances <= kth
    for row in np.flatnonzero(is_near.sum(axis=1) > k):
        tied = np.flatnonzero(distances[row] == kth[row])
        is_near[row, tied[k - int((distances[row] < kth[row]).sum()) :]] = False
    return np.asarray(is_near)


def _excess(distances: np.ndarray, chosen: np.ndarray, k: int) -> float:
    """Sum of (rank - k) over the chosen points; a rank is 1 for the nearest, ties in the order of the points.

    Ranks are counted for these few points: sorting all is 3 times slower at 100 000 points.
    """
    total = 0
    for row in np.flatnonzero(chosen.any(axis=1)):
        columns, own = np.flatnonzero(chosen[row]), distances[row]
        at = own[columns]
        order = np.sort(own)
        ranks = np.searchsorted(order, at) + 1
        is_tied = np.searchsorted(order, at, side="right") > ranks
        for i in np.flatnonzero(is_tied):
            ranks[i] += int((own[: columns[i]] == at[i]).sum())
        total += int((ranks - k).sum())
    return float(total)
