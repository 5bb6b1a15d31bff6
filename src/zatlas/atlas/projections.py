"""Maps of the latent space: PCA, t-SNE, UMAP, PaCMAP. Each is one function of latents and a seed, listed in `METHODS`.

A function `f(latents, seed) -> Projection` is all that a map needs; how far it can be trusted is measured for all of
them alike by `measured`, and whoever shows maps takes those that are there.

Everything is a function of arrays and a seed, and gives the same result for the same input: signs of principal
components are fixed, t-SNE starts from them, and scikit-learn runs on one thread, because the order in which threads
add up their parts is not reproducible (openTSNE adds them in a fixed order). Everything is exact but the repulsion
between points of t-SNE, and stays feasible at 100 000 points; docs/explanation/speed.md has the measurements behind
each limit here. UMAP and PaCMAP run on one thread from a seed, which repeats their maps on one machine.
"""

import importlib
import importlib.metadata
import logging
import warnings
import zlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from sklearn.decomposition import PCA

from zatlas.atlas.neighbours import checked_points, nearest_neighbours, trust
from zatlas.atlas.projection import LEAST_IMAGES, Projection
from zatlas.compute import cores, one_thread
from zatlas.errors import DataError, UsageError
from zatlas.randomness import derived_seed, generator

__all__ = [
    "METHODS",
    "Pca",
    "fit_pca",
    "measured",
    "pacmap",
    "pca",
    "principal_map",
    "tsne",
    "umap",
]

log = logging.getLogger(__name__)

_TSNE_START_SD = 1e-4
_STARTED = "first two principal components"
_MIRRORED = "axes mirrored back to them"
_STEPS = (250, 500)  # with exaggerated attraction, then without: the numbers of openTSNE
_FFT_ABOVE = 20_000  # points; below, Barnes-Hut is faster and ends at a lower KL divergence
_THREADS_FROM = 5_000  # points; below, threads wait for each other longer than they work
_MOST_THREADS = 4


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
    """Principal component analysis in float64, by the eigenvectors of the covariance.

    Variances are exact to 1e-15 of the *largest* one, far below the rounding of latents in float32 (1e-14 of it);
    smaller ones are noise.

    Args:
        points: One row per image or tile.
        n_components: How many to keep; 0 keeps min(n, d).

    Raises:
        DataError: there is no point, or a value is not finite.

    Source: Jolliffe 2002, Principal Component Analysis, section 3.5; as in scikit-learn
    """
    points = checked_points(points)
    n, d = points.shape
    center = points.mean(axis=0)
    if n == 1:
        return Pca(center, np.eye(1, d), np.zeros(1), np.zeros(1))
    # Centred here, because scikit-learn takes the mean's square from that of the points, which costs digits.
    with one_thread(), np.errstate(invalid="ignore"):  # equal points have no shares of a variance
        fitted = PCA(min(n_components or d, n, d), svd_solver="covariance_eigh").fit(points - center)
    vectors = fitted.components_
    signs = np.where(vectors[np.arange(len(vectors)), np.abs(vectors).argmax(axis=1)] < 0, -1.0, 1.0)
    return Pca(
        center, vectors * signs[:, None], fitted.explained_variance_, np.nan_to_num(fitted.explained_variance_ratio_)
    )


def principal_map(points: Float[np.ndarray, "n d"], found: Pca) -> Projection:
    """The scores of points on principal components as a map."""
    facts = {
        "explained_ratio": [float(ratio) for ratio in found.explained_ratio],
        "variance": [float(variance) for variance in found.variance],
    }
    return Projection("pca", "PCA", found.transform(points).astype(np.float32), facts, has_inverse=True)


def pca(points: Float[np.ndarray, "n d"], seed: int = 0) -> Projection:
    """All principal components as a map; the seed changes nothing. See `fit_pca`."""
    return principal_map(points, fit_pca(points))


def tsne(points: Float[np.ndarray, "n d"], seed: int = 0, *, perplexity: float = 0.0) -> Projection:
    """t-SNE started from the first two principal components, so that the large-scale order of the map has a meaning.

    Repulsion is computed by a Barnes-Hut tree, above 20 000 points by interpolation on a grid; neighbours are exact.
    The map has the same bits on any number of threads.

    Args:
        points: Latents, one row per image or tile.
        seed: Of the little noise that parts coinciding starting points.
        perplexity: 0 takes 30, or a third of the points when they are fewer than 91.

    Returns:
        Two axes, float32. Facts: perplexity (in force), kl_divergence (what was minimised, at its end [nats]), method,
        initialisation.

    Raises:
        DataError: there are fewer than 5 points.
        UsageError: the perplexity is not below the number of points.

    Source: van der Maaten & Hinton 2008; tree: van der Maaten 2014; grid: Linderman et al. 2019,
        https://doi.org/10.1038/s41592-018-0308-4; initialisation and learning rate: Kobak & Berens 2019,
        https://doi.org/10.1038/s41467-019-13056-x
    """
    points = _enough(points, "t-SNE")
    n = len(points)
    chosen = perplexity or (30.0 if n >= 91 else n / 3)
    if not 1 <= chosen < n:
        raise UsageError(
            f"--perplexity is {perplexity:g}, expected 1 to {n - 1} for {n} images", hint="leave --perplexity out"
        )
    if not perplexity:
        log.info("t-SNE perplexity: %.3g (%d images)", chosen, n)
    start = _start(points, seed)
    mapped, perplexity, kl_divergence, method = _optimised(points, start, min(chosen, n - 1), seed)
    facts = {
        "perplexity": perplexity,
        "kl_divergence": kl_divergence,
        "initialisation": f"{_STARTED}, scaled to a deviation of {_TSNE_START_SD}, {_MIRRORED}",
        "method": method,
    }
    return Projection("tsne", "t-SNE", _mirrored(mapped, start), facts)


def umap(
    points: Float[np.ndarray, "n d"], seed: int = 0, *, neighbours: int = 15, least_distance: float = 0.1
) -> Projection:
    """UMAP, started from the first two principal components; needs umap-learn, `pip install "zatlas[umap]"`.

    Args:
        points: Latents, one row per image or tile.
        seed: Of its draws.
        neighbours: That make a neighbourhood; fewer images than that take all others.
        least_distance: Between images on the map; small packs islands tightly.

    Raises:
        DataError: there are fewer than 5 points.
        UsageError: umap-learn is not installed, or the neighbours are fewer than 2.

    Source: McInnes, Healy & Melville 2018, https://arxiv.org/abs/1802.03426; initialisation: Kobak & Linderman 2021,
        https://doi.org/10.1038/s41587-020-00809-z
    """
    points = _enough(points, "UMAP")
    if neighbours < 2:
        raise UsageError(f"UMAP cannot work with {neighbours} neighbours", hint="use neighbours=15")
    library, start = _library("umap", "UMAP", extra="umap"), _start(points, seed)
    k = min(neighbours, len(points) - 1)
    model = library.UMAP(
        n_neighbors=k, min_dist=least_distance, init=start, random_state=_seed_of("umap", seed), n_jobs=1
    )
    facts = {
        "settings": {"neighbours": k, "least distance": least_distance},
        "initialisation": f"{_STARTED}, {_MIRRORED}",
        "method": f"umap-learn {library.__version__}",
    }
    return Projection("umap", "UMAP", _mirrored(model.fit_transform(points.astype(np.float32)), start), facts)


def pacmap(points: Float[np.ndarray, "n d"], seed: int = 0, *, neighbours: int = 10) -> Projection:
    """PaCMAP, started from the first two principal components; needs pacmap, `pip install "zatlas[pacmap]"`.

    Args:
        points: Latents, one row per image or tile.
        seed: Of its draws.
        neighbours: That attract each other; PaCMAP takes fewer of few images.

    Raises:
        DataError: there are fewer than 5 points.
        UsageError: pacmap is not installed, or the neighbours are fewer than 2.

    Source: Wang et al. 2021, https://jmlr.org/papers/v22/20-1061.html
    """
    points = _enough(points, "PaCMAP")
    if neighbours < 2:
        raise UsageError(f"PaCMAP cannot work with {neighbours} neighbours", hint="use neighbours=10")
    library, start = _library("pacmap", "PaCMAP", extra="pacmap"), _start(points, seed)
    # It starts from two components of its own, which one dimension does not have.
    latents = np.column_stack([points, np.zeros((len(points), max(2 - points.shape[1], 0)))]).astype(np.float32)
    logging.getLogger("pacmap").setLevel(logging.ERROR)  # it warns of each seed and of each small collection
    model = library.PaCMAP(n_neighbors=neighbours, random_state=_seed_of("pacmap", seed))
    mapped = np.asarray(model.fit_transform(latents, init="pca"), np.float32)
    facts = {
        "settings": {"neighbours": int(model.n_neighbors)},
        "initialisation": f"{_STARTED}, {_MIRRORED}",
        "method": f"pacmap {importlib.metadata.version('pacmap')}",
    }
    return Projection("pacmap", "PaCMAP", _mirrored(mapped, start), facts)


METHODS: dict[str, Callable[..., Projection]] = {"pca": pca, "tsne": tsne, "umap": umap, "pacmap": pacmap}
"""Maps that zatlas makes, by name: `f(latents, seed) -> Projection`, further settings by keyword."""


def measured(projection: Projection, points: Float[np.ndarray, "n d"], seed: int = 0) -> Projection:
    """The map with how far it can be trusted: trustworthiness and continuity over 15 neighbours, fewer of few images.

    Args:
        projection: A map of the points.
        points: Latents.
        seed: Of the sample that is asked when there are many, see `neighbours.trust`.
    """
    k = min(15, (len(points) - 1) // 2)
    if k < 1:
        return projection
    trustworthiness, continuity = trust(points, projection.points, k=k, seed=seed)
    known = {"trustworthiness": trustworthiness, "continuity": continuity, "n_neighbours": k}
    return replace(projection, facts={**projection.facts, **known})


def _enough(points: Float[np.ndarray, "n d"], title: str) -> np.ndarray:
    points = checked_points(points)
    if len(points) < LEAST_IMAGES:
        raise DataError(f"{title} needs at least {LEAST_IMAGES} images, found {len(points)}", hint="use PCA")
    return points


def _library(module: str, title: str, *, extra: str) -> Any:
    """A package that zatlas does not bring along, imported when it is needed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what they miss for things that are not used here
            return importlib.import_module(module)
    except ImportError as err:
        hint = f'pip install "zatlas[{extra}]"'
        raise UsageError(f"{title} needs a package that is not installed", hint=hint) from err


def _seed_of(name: str, seed: int) -> int:
    """A seed of its own for each map, without a stream for each."""
    return derived_seed(seed, "projection", zlib.crc32(name.encode()))


def _mirrored(mapped: np.ndarray, start: np.ndarray) -> np.ndarray:
    """The map with its axes as they were at the start; mirroring changes nothing but its likeness to others.

    The first steps, which are large, can overshoot and mirror a map.
    """
    return np.asarray(mapped * np.where((mapped * start).sum(axis=0) < 0, np.float32(-1), np.float32(1)), np.float32)


def _optimised(
    points: np.ndarray, start: np.ndarray, perplexity: float, seed: int
) -> tuple[np.ndarray, float, float, str]:
    """Positions, perplexity in force, KL divergence and method in words, by openTSNE (Policar et al. 2024)."""
    import openTSNE  # 1 s of import, needed here alone
    from openTSNE.affinity import PerplexityBasedNN
    from openTSNE.nearest_neighbors import PrecomputedNeighbors

    n = len(points)
    is_fft = n > _FFT_ABOVE
    rows, distances = nearest_neighbours(points, int(3 * perplexity))
    threads = _threads(n)
    affinities = PerplexityBasedNN(
        perplexity=perplexity, knn_index=PrecomputedNeighbors(rows, distances), n_jobs=threads
    )
    model = openTSNE.TSNE(
        early_exaggeration_iter=_STEPS[0], n_iter=_STEPS[1], negative_gradient_method="fft" if is_fft else "bh",
        n_jobs=threads, random_state=derived_seed(seed, "tsne"),
    )  # fmt: skip
    with one_thread():
        mapped = model.fit(affinities=affinities, initialization=start)
    forces = "interpolation on a grid (FFT)" if is_fft else "a Barnes-Hut tree (angle 0.5)"
    method = f"openTSNE {openTSNE.__version__}: repulsion by {forces}, {rows.shape[1]} exact nearest neighbours"
    if is_fft:
        log.info("t-SNE: repulsion by interpolation on a grid, because there are more than %d images", _FFT_ABOVE)
    # Threads add up this one number in any order; the positions have the same bits on any number of threads.
    kl_divergence = round(float(mapped.kl_divergence), 6)
    return np.asarray(mapped, np.float32), float(affinities.effective_perplexity_), kl_divergence, method


def _threads(n: int) -> int:
    """Threads for a map of n points: they change nothing but its time."""
    return min(cores()[0], _MOST_THREADS) if n >= _THREADS_FROM else 1


def _start(points: np.ndarray, seed: int) -> np.ndarray:
    """Starting positions: principal components of small scale, and noise a hundred times smaller."""
    pca = fit_pca(points, 2)
    start = np.zeros((len(points), 2))
    start[:, : len(pca.components)] = pca.transform(points)
    scale = start[:, 0].std()
    start = start / scale if scale > 0 else start
    noise = generator(seed, "tsne start").standard_normal(start.shape)
    # Without noise one-dimensional latents would stay on a line, and equal ones on a point, for ever.
    return np.asarray((start + 0.01 * noise) * _TSNE_START_SD, np.float32)
