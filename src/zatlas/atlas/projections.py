"""Maps of the latent space: PCA, t-SNE, nearest neighbours, and how far a map can be trusted.

Everything is a function of arrays and a seed, and gives the same result for the same input: signs of principal
components are fixed, t-SNE starts from them, and scikit-learn runs on one thread, because the order in which threads
add up their parts is not reproducible. UMAP is left to scanpy, which opens the atlas.
"""

import contextlib
import functools
import logging
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import sklearn
import threadpoolctl
from jaxtyping import Float, Int
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors

from zatlas.errors import DataError, UsageError

__all__ = [
    "Pca",
    "Tsne",
    "derived_seed",
    "fit_pca",
    "nearest_neighbours",
    "one_thread",
    "trust",
    "tsne",
]

log = logging.getLogger(__name__)

_TSNE_START_SD = 1e-4
_LEAST_IMAGES = 5
_CHUNK_ELEMENTS = 4_000_000


def derived_seed(seed: int, *names: str | int) -> int:
    """A seed of its own for each named stream of random draws, from the one seed of a study; below 2**32.

    Example:
        >>> derived_seed(0, "tsne") == derived_seed(0, "tsne"), derived_seed(0, "tsne") == derived_seed(0, "kmeans")
        (True, False)
    """
    keys = [zlib.crc32(name.encode()) if isinstance(name, str) else name for name in names]
    return int(np.random.SeedSequence([seed, *keys]).generate_state(1)[0])


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run numerical libraries on one thread, in bounded memory: the same numbers however many cores there are."""
    with _thread_controller().limit(limits=1), sklearn.config_context(working_memory=128):
        yield


@functools.lru_cache(maxsize=1)
def _thread_controller() -> threadpoolctl.ThreadpoolController:
    """Found once: looking through the loaded libraries takes 8 ms, as long as k-means itself."""
    return threadpoolctl.ThreadpoolController()


@dataclass(frozen=True)
class Pca:
    """Principal components of n points in d dimensions.

    Attributes:
        center: Mean of the points, (d,).
        components: Unit vectors by falling variance, (k, d); the loading largest in size is positive.
        variance: Variance along each component with divisor n - 1, (k,).
        explained_ratio: Share of the total variance of each component, (k,); zeros when all points coincide.
    """

    center: Float[np.ndarray, " d"]
    components: Float[np.ndarray, "k d"]
    variance: Float[np.ndarray, " k"]
    explained_ratio: Float[np.ndarray, " k"]

    def transform(self, points: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Scores of points on the components."""
        return np.asarray((np.asarray(points, np.float64) - self.center) @ self.components.T)

    def inverse(self, scores: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n d"]:
        """Points that have these scores; exact when no component was left out."""
        return np.asarray(np.asarray(scores, np.float64) @ self.components + self.center)


def fit_pca(points: Float[np.ndarray, "n d"], n_components: int = 0) -> Pca:
    """Principal component analysis by a full singular value decomposition in float64.

    Args:
        points: One row per image or tile.
        n_components: How many to keep; 0 keeps min(n, d).

    Raises:
        DataError: there is no point, or a value is not finite.

    Source: Jolliffe 2002, Principal Component Analysis, section 3.5.
    """
    points = _checked(points)
    n, d = points.shape
    center = points.mean(axis=0)
    with one_thread():
        _, singular, vectors = np.linalg.svd(points - center, full_matrices=False)
    largest = np.abs(vectors).argmax(axis=1)
    signs = np.where(vectors[np.arange(len(vectors)), largest] < 0, -1.0, 1.0)
    variance = singular**2 / max(n - 1, 1)
    total = variance.sum()
    ratio = variance / total if total > 0 else np.zeros_like(variance)
    kept = slice(0, min(n_components or min(n, d), len(variance)))
    return Pca(center, (vectors * signs[:, None])[kept], variance[kept], ratio[kept])


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or 0 in points.shape:
        raise DataError(f"no latents to map: found an array of shape {points.shape}, expected (images, dimensions)")
    if not np.isfinite(points).all():
        bad = int((~np.isfinite(points).all(axis=1)).sum())
        raise DataError(f"the latents of {bad} of {len(points)} images are not finite numbers", hint="train again")
    return points


@dataclass(frozen=True)
class Tsne:
    """A two-dimensional t-SNE map.

    Attributes:
        points: Positions of the images on the map, (n, 2) float32.
        perplexity: Effective number of neighbours in force.
        trustworthiness: Share of map neighbours that are neighbours in latent space, ranks weighted, 0 to 1.
        continuity: The reverse, 0 to 1.
        n_neighbours: k of the two numbers above.
        kl_divergence: What t-SNE minimised, at its end [nats].
        initialisation: How the map was started, in words.
    """

    points: Float[np.ndarray, "n 2"]
    perplexity: float
    trustworthiness: float
    continuity: float
    n_neighbours: int
    kl_divergence: float
    initialisation: str = "first two principal components, scaled to a deviation of 0.0001, axes mirrored back to them"


def tsne(points: Float[np.ndarray, "n d"], *, seed: int = 0, perplexity: float = 0.0) -> Tsne:
    """t-SNE started from the first two principal components, so that the large-scale order of the map has a meaning.

    Args:
        points: Latents, one row per image or tile.
        seed: Of the little noise that parts coinciding starting points.
        perplexity: 0 takes 30, or a third of the points when they are fewer than 91.

    Raises:
        DataError: there are fewer than 5 points.
        UsageError: the perplexity is not below the number of points.

    Source: van der Maaten & Hinton 2008; initialisation and learning rate: Kobak & Berens 2019,
        https://doi.org/10.1038/s41467-019-13056-x
    """
    points = _checked(points)
    n = len(points)
    if n < _LEAST_IMAGES:
        raise DataError(f"t-SNE needs at least {_LEAST_IMAGES} images, found {n}", hint="use PCA")
    chosen = perplexity or (30.0 if n >= 91 else n / 3)
    if not 1 <= chosen < n:
        raise UsageError(
            f"--perplexity is {perplexity:g}, expected 1 to {n - 1} for {n} images", hint="leave --perplexity out"
        )
    if not perplexity:
        log.info("t-SNE perplexity: %.3g (%d images)", chosen, n)
    start = _start(points, seed)
    model = TSNE(
        perplexity=chosen, init=start, learning_rate="auto", n_jobs=1,
        random_state=derived_seed(seed, "tsne"),
    )  # fmt: skip
    with one_thread():
        mapped = np.asarray(model.fit_transform(points.astype(np.float32)), np.float32)
    # The first, exaggerated steps can overshoot and mirror the map, which changes nothing but its likeness to others.
    mapped *= np.where((mapped * start).sum(axis=0) < 0, np.float32(-1), np.float32(1))
    k = min(15, (n - 1) // 2)
    trustworthiness, continuity = trust(points, mapped, k=k, seed=seed)
    return Tsne(mapped, float(chosen), trustworthiness, continuity, k, float(model.kl_divergence_))


def _start(points: np.ndarray, seed: int) -> np.ndarray:
    """Starting positions: principal components of small scale, and noise a hundred times smaller."""
    pca = fit_pca(points, 2)
    start = np.zeros((len(points), 2))
    start[:, : len(pca.components)] = pca.transform(points)
    scale = start[:, 0].std()
    start = start / scale if scale > 0 else start
    noise = np.random.default_rng(derived_seed(seed, "tsne start")).standard_normal(start.shape)
    # Without noise one-dimensional latents would stay on a line, and equal ones on a point, for ever.
    return np.asarray((start + 0.01 * noise) * _TSNE_START_SD, np.float32)


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
        rows = np.sort(np.random.default_rng(derived_seed(seed, "trust")).choice(n, most, replace=False))
    high, low = np.asarray(high, np.float64), np.asarray(low, np.float64)
    penalties = np.zeros(2)
    for chunk in np.array_split(rows, -(-len(rows) * n // _CHUNK_ELEMENTS)):
        ranks_high, ranks_low = _ranks(high, chunk), _ranks(low, chunk)
        is_near_high, is_near_low = ranks_high <= k, ranks_low <= k
        penalties += (
            (ranks_high - k)[is_near_low & ~is_near_high].sum(),
            (ranks_low - k)[is_near_high & ~is_near_low].sum(),
        )
    trustworthiness, continuity = 1 - penalties * 2 / (len(rows) * k * (2 * n - 3 * k - 1))
    return float(trustworthiness), float(continuity)


def _ranks(points: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Rank of every point by distance from each of `rows`: 1 for the nearest other point, n for the point itself."""
    squares = (points**2).sum(axis=1)
    distances = squares[rows, None] - 2 * points[rows] @ points.T + squares
    distances[np.arange(len(rows)), rows] = np.inf
    order = np.argsort(distances, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(1, len(points) + 1)[None], axis=1)
    return ranks


def nearest_neighbours(
    points: Float[np.ndarray, "n d"], k: int, queries: Float[np.ndarray, "q d"] | None = None
) -> tuple[Int[np.ndarray, "q k"], Float[np.ndarray, "q k"]]:
    """Exact nearest neighbours by Euclidean distance.

    Args:
        points: Where neighbours are looked for.
        k: How many; at most as many as there are.
        queries: Whose neighbours; by default the points themselves, each without itself.

    Returns:
        Rows of `points` and distances, nearest first, each (q, k); fewer columns when there are fewer points.
    """
    points = _checked(points)
    available = len(points) - (1 if queries is None else 0)
    k = min(k, available)
    own = points if queries is None else np.asarray(queries, np.float64)
    if k < 1:
        return np.zeros((len(own), 0), np.int64), np.zeros((len(own), 0))
    with one_thread():
        model = NearestNeighbors(n_neighbors=k).fit(points)
        rows = np.asarray(model.kneighbors(None if queries is None else own, return_distance=False), np.int64)
    # Distances are taken again from the differences: the library's product form loses digits for close neighbours.
    distances = np.stack([np.linalg.norm(points[rows[:, j]] - own, axis=1) for j in range(k)], axis=1)
    order = np.argsort(distances, axis=1, kind="stable")
    return np.take_along_axis(rows, order, axis=1), np.take_along_axis(distances, order, axis=1)
