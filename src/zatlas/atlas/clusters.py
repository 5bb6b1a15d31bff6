"""Regions of the latent space by k-means, and whether they are clusters or parts of one continuum.

k-means always returns as many regions as it is asked for. Three questions decide what they are called. Are they found
again in other halves of the images (Jaccard)? Is there a valley of low density between every two of them? Are they
tighter than regions of a single Gaussian cloud of the same covariance? Only three times yes makes "clusters".

Distances are taken in the latent space as it is: its unit is the spread of the prior, and dimensions that the model
does not use vary so little that they hardly count. Whitening would give them a say.
"""

import dataclasses
import logging
import math
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score, silhouette_score

from zatlas.atlas.projections import fit_pca
from zatlas.compute import one_thread
from zatlas.errors import DataError, UsageError
from zatlas.randomness import derived_seed, generator

__all__ = ["Assessment", "ClusterMatch", "Clusters", "Members", "assess", "kmeans", "match_clusters", "members"]

log = logging.getLogger(__name__)

_LARGEST_K = 12
_FALLBACK_K = 8
_SAMPLE = 2000
_BATCHES_ABOVE = 100_000
_BATCH = 10_000
_HALVES = 20
_NULL_DRAWS = 19  # the largest of 19 draws is the 95th percentile: (19 + 1) * 0.05 = 1
_STABLE = 0.75  # Hennig 2007: above 0.75 a cluster is stable, below 0.6 it should not be trusted
_DOUBTFUL = 0.6
_VALLEY = 0.6  # two equal normal groups 3 deviations apart; a uniform cloud has 1, a normal one more, an arc 0.7


@dataclass(frozen=True)
class Assessment:
    """Clusters or a continuum?

    Attributes:
        k: Number of regions that the numbers favour.
        verdict: "clusters" or "continuum".
        text: The verdict in words, with its numbers.
        trials: One row per k: stability (mean Jaccard of the regions over halves of the images), least_stability (of
            the least stable region), ari (mean adjusted Rand index), silhouette, valley (density between the two least
            separated regions relative to the lower of their centres).
        null_silhouettes: Silhouettes at this k of draws from one Gaussian of the same mean and covariance.
    """

    k: int
    verdict: str
    text: str
    trials: pd.DataFrame
    null_silhouettes: tuple[float, ...]


@dataclass(frozen=True)
class Clusters:
    """Regions of the latent space.

    Attributes:
        labels: Region of each image, 0 for the largest, (n,).
        centroids: (k, d).
        sizes: Images in each region, falling, (k,).
        silhouette: Mean silhouette, -1 to 1, on at most 2000 images; NaN for one region.
        stability: Mean Jaccard of the regions over halves of the images, 0 to 1; NaN for one region.
        verdict: "clusters" or "continuum".
        text: The verdict in words, with its numbers.
        trials: See `Assessment`.
        was_asked: Whether k was given rather than chosen.
    """

    labels: Int[np.ndarray, " n"]
    centroids: Float[np.ndarray, "k d"]
    sizes: Int[np.ndarray, " k"]
    silhouette: float
    stability: float
    verdict: str
    text: str
    trials: pd.DataFrame
    was_asked: bool

    @property
    def k(self) -> int:
        """Number of regions."""
        return len(self.centroids)

    def summary(self) -> dict[str, Any]:
        """Everything but labels and centroids, as JSON holds it; NaN becomes None."""
        trials = [{name: _plain(value) for name, value in row.items()} for row in self.trials.to_dict("records")]
        return {
            "k": self.k,
            "sizes": [int(size) for size in self.sizes],
            "silhouette": _plain(self.silhouette),
            "stability": _plain(self.stability),
            "verdict": self.verdict,
            "text": self.text,
            "trials": trials,
            "was_asked": self.was_asked,
        }


def _plain(value: Any) -> int | float | None:
    if isinstance(value, int | np.integer):
        return int(value)
    return float(value) if math.isfinite(value) else None


def kmeans(points: Float[np.ndarray, "n d"], k: int = 0, *, seed: int = 0) -> Clusters:
    """Divide the latent space into k regions (k-means++, the best of 10 starts), the largest first.

    More than 100 000 points are divided by mini-batches, which is logged: 5 to 15 times faster there, with a
    sum of squares that ends 0 to 4 % higher.

    Args:
        points: Latents, one row per image or tile.
        k: Number of regions; 0 chooses it by stability.
        seed: Of the starts and of the assessment.

    Raises:
        UsageError: k is larger than the number of different latents.

    Source: Arthur & Vassilvitskii 2007, k-means++; stability: Hennig 2007,
        https://doi.org/10.1016/j.csda.2006.11.025
    """
    points = _checked(points)
    n_different = len(np.unique(points, axis=0))
    if k < 0 or k > n_different:
        raise UsageError(
            f"--clusters is {k}, expected 0 (automatic) or 1 to {n_different}, the number of different latents",
            hint="use --clusters 0",
        )
    assessment = assess(points, seed=seed, also=k)
    chosen = k or assessment.k
    if len(points) > _BATCHES_ABOVE:
        log.info("k-means: by mini-batches, because there are %d latents (more than %d)", len(points), _BATCHES_ABOVE)
    labels, centroids = _ordered(points, _fit(points, chosen, derived_seed(seed, "kmeans"), starts=10))
    text = assessment.text
    if k and k != assessment.k:
        text += f" {k} regions were asked for."
    log.info("k-means: %d regions. %s", len(centroids), text)
    trial = assessment.trials.loc[assessment.trials["k"] == chosen]
    return Clusters(
        labels=labels,
        centroids=centroids,
        sizes=np.bincount(labels, minlength=len(centroids)),
        silhouette=_silhouette(points, labels, seed),
        stability=float(trial["stability"].iloc[0]) if len(trial) else math.nan,
        verdict=assessment.verdict,
        text=text,
        trials=assessment.trials,
        was_asked=k > 0,
    )


def _checked(points: np.ndarray) -> np.ndarray:
    points = np.ascontiguousarray(points, np.float64)
    if points.ndim != 2 or 0 in points.shape or not np.isfinite(points).all():
        raise DataError("the latents are missing or hold values that are not finite numbers", hint="train again")
    return points


def _fit(points: np.ndarray, k: int, seed: int, *, starts: int) -> KMeans | MiniBatchKMeans:
    """scikit-learn's k-means on one thread; fewer different points than k give fewer regions, without a warning."""
    if len(points) > _BATCHES_ABOVE:
        model = MiniBatchKMeans(k, init="k-means++", n_init=starts, random_state=seed, batch_size=_BATCH)
    else:
        model = KMeans(k, init="k-means++", n_init=starts, random_state=seed)
    with one_thread(), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(points)


def _ordered(points: np.ndarray, model: KMeans | MiniBatchKMeans) -> tuple[np.ndarray, np.ndarray]:
    """Labels and centroids with regions by falling size, ties along the first principal component."""
    present, labels = np.unique(model.labels_, return_inverse=True)
    centroids = np.stack([points[labels == c].mean(axis=0) for c in range(len(present))])
    position = fit_pca(points, 1).transform(centroids)[:, 0]
    order = np.lexsort((position, -np.bincount(labels)))
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    return rank[labels], centroids[order]


def _silhouette(points: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """Mean silhouette of a seeded sample of at most 2000 points (Rousseeuw 1987)."""
    rows = _sample_rows(len(points), seed)
    n_labels = len(np.unique(labels[rows]))
    if not 2 <= n_labels <= len(rows) - 1:
        return math.nan
    with one_thread():
        return float(silhouette_score(points[rows], labels[rows]))


def _sample_rows(n: int, seed: int) -> np.ndarray:
    if n <= _SAMPLE:
        return np.arange(n)
    return np.sort(generator(seed, "clusters sample").choice(n, _SAMPLE, replace=False))


def assess(points: Float[np.ndarray, "n d"], *, seed: int = 0, also: int = 0) -> Assessment:
    """Choose k between 2 and 12 and say whether the regions are clusters.

    The largest k whose regions are stable and parted by valleys is taken; without one the largest stable k; without
    that 8. At most 2000 points, drawn by the seed, are used.

    Args:
        points: Latents, one row per image or tile.
        seed: Of samples, halves, starts and null draws.
        also: A further k to put into the table.

    Source: Hennig 2007 (Jaccard over subsets); Liu et al. 2008, SigClust (one Gaussian as the null model),
        https://doi.org/10.1198/016214508000000454
    """
    points = _checked(points)
    points = points[_sample_rows(len(points), seed)]
    n_different = len(np.unique(points, axis=0))
    largest = min(_LARGEST_K, n_different, max(2, len(points) // 5))
    tried = sorted({*range(2, largest + 1), *([also] if 2 <= also < len(points) and also <= n_different else [])})
    if largest < 2 or len(points) < 4:
        text = f"There is only one region: {len(points)} images, {n_different} different latents."
        return Assessment(1, "continuum", text, pd.DataFrame([], columns=_TRIAL_COLUMNS), ())
    trials = pd.DataFrame([_trial(points, k, seed) for k in tried])
    own = trials[trials["k"] <= largest]
    stable = own[(own["stability"] >= _STABLE) & (own["least_stability"] >= _DOUBTFUL)]
    parted = stable[stable["valley"] < _VALLEY]
    if len(parted):
        k = int(parted["k"].max())
    elif len(stable):
        k = int(stable["k"].max())
    else:
        k = min(_FALLBACK_K, largest)
    null = _null_silhouettes(points, k, seed)
    trial = trials.loc[trials["k"] == k].iloc[0]
    is_clustered = len(parted) > 0 and float(trial["silhouette"]) > max(null)
    verdict = "clusters" if is_clustered else "continuum"
    return Assessment(k, verdict, _text(verdict, k, trial, null, len(stable) > 0), trials, null)


_TRIAL_COLUMNS = ["k", "stability", "least_stability", "ari", "silhouette", "valley"]


def _trial(points: np.ndarray, k: int, seed: int) -> dict[str, int | float]:
    """Stability, silhouette and valleys of k regions."""
    reference = _fit(points, k, derived_seed(seed, "reference", k), starts=10)
    labels = reference.labels_
    rng = generator(seed, "halves", k)
    jaccards, agreements = [], []
    for _ in range(_HALVES):
        half = rng.choice(len(points), max(k + 1, len(points) // 2), replace=False)
        model = _fit(points[half], k, int(rng.integers(2**32)), starts=3)
        with one_thread():
            again = model.predict(points)
        jaccards.append(_jaccard(labels, again, k))
        agreements.append(adjusted_rand_score(labels, again))
    stability = np.mean(jaccards, axis=0)
    return {
        "k": k,
        "stability": float(stability.mean()),
        "least_stability": float(stability.min()),
        "ari": float(np.mean(agreements)),
        "silhouette": _silhouette(points, labels, seed),
        "valley": _shallowest_valley(points, labels),
    }


def _jaccard(labels: np.ndarray, again: np.ndarray, k: int) -> np.ndarray:
    """For each region, the overlap with the region of the other division that resembles it most, (k,)."""
    table = np.bincount(labels * k + again, minlength=k * k).reshape(k, k)
    union = table.sum(axis=1, keepdims=True) + table.sum(axis=0) - table
    return np.asarray((table / np.maximum(union, 1)).max(axis=1))


def _shallowest_valley(points: np.ndarray, labels: np.ndarray) -> float:
    """Largest ratio, over pairs of regions, of the density half-way between them to that at the lower of their centres.

    The points of both regions are projected on the line through the two centroids; counts are taken in three windows a
    fifth of the line wide.
    """
    groups = [points[labels == c] for c in np.unique(labels)]
    centroids = [group.mean(axis=0) for group in groups]
    worst = 0.0
    for i in range(len(groups)):
        for j in range(i):
            line = centroids[j] - centroids[i]
            along = (
                np.concatenate([groups[i] - centroids[i], groups[j] - centroids[i]]) @ line / max(line @ line, 1e-300)
            )
            first, middle, last = (int((np.abs(along - at) < 0.1).sum()) for at in (0.0, 0.5, 1.0))
            worst = max(worst, (middle + 1) / (min(first, last) + 1))
    return worst


def _null_silhouettes(points: np.ndarray, k: int, seed: int) -> tuple[float, ...]:
    """Silhouettes of k regions in draws, of the same number, from one Gaussian of the same mean and covariance."""
    pca = fit_pca(points)
    rng = generator(seed, "null")
    values = []
    for _ in range(_NULL_DRAWS):
        draws = pca.inverse(rng.standard_normal((len(points), len(pca.variance))) * np.sqrt(pca.variance))
        labels = _fit(draws, k, int(rng.integers(2**32)), starts=3).labels_
        values.append(_silhouette(draws, labels, seed))
    return tuple(values)


def _text(verdict: str, k: int, trial: Any, null: tuple[float, ...], is_stable: bool) -> str:
    silhouette, valley = float(trial["silhouette"]), float(trial["valley"])
    numbers = (
        f"mean Jaccard {trial['stability']:.2f} over halves of the images; silhouette {silhouette:.3f}, against "
        f"{min(null):.3f} to {max(null):.3f} in {len(null)} draws of one Gaussian cloud of the same covariance; "
        f"density between the two closest regions {100 * valley:.0f} % of that at their centres"
    )
    if verdict == "clusters":
        return f"{k} clusters, stable and parted by valleys: {numbers}."
    if not is_stable:
        return f"A continuum: no number of regions from 2 up is stable, {k} regions divide it for display ({numbers})."
    return f"A continuum, not clusters: {k} regions divide it ({numbers})."


@dataclass(frozen=True)
class Members:
    """Rows of one region that show what is in it.

    Attributes:
        cluster: Number of the region.
        size: Images in it.
        central: Nearest to the centroid first.
        random: Drawn by the seed, without the choice of anyone.
        borderline: Smallest difference between the distances to the nearest and the second nearest centroid first.
    """

    cluster: int
    size: int
    central: Int[np.ndarray, " m"]
    random: Int[np.ndarray, " m"]
    borderline: Int[np.ndarray, " m"]


def members(
    points: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], *, count: int = 8, seed: int = 0
) -> list[Members]:
    """Central, random and borderline members of every region, by rising number.

    Args:
        points: Latents.
        labels: Region of each; negative means none.
        count: How many of each kind; fewer in smaller regions.
        seed: Of the random ones.
    """
    points, labels = _checked(points), np.asarray(labels)
    present = [int(c) for c in np.unique(labels) if c >= 0]
    centroids = np.stack([points[labels == c].mean(axis=0) for c in present]) if present else points[:0]
    found = []
    for position, cluster in enumerate(present):
        rows = np.flatnonzero(labels == cluster)
        distances = np.stack([np.linalg.norm(points[rows] - centroid, axis=1) for centroid in centroids], axis=1)
        own = distances[:, position]
        others = np.delete(distances, position, axis=1)
        margin = others.min(axis=1) - own if others.size else -own
        rng = generator(seed, "members", cluster)
        found.append(
            Members(
                cluster=cluster,
                size=len(rows),
                central=rows[np.argsort(own, kind="stable")[:count]],
                random=rng.permutation(rows)[:count],
                borderline=rows[np.argsort(margin, kind="stable")[:count]],
            )
        )
    return found


@dataclass(frozen=True)
class ClusterMatch:
    """How the regions of two models correspond.

    Attributes:
        mapping: Region of the first model -> the region of the second that shares most images with it, one to one;
            without an entry when the second has fewer regions or they share nothing.
        ari: Adjusted Rand index: 1 the same division, about 0 as much alike as by chance.
        share: Share of the images that lie in matched regions, 0 to 1.
    """

    mapping: dict[int, int]
    ari: float
    share: float

    def summary(self) -> dict[str, Any]:
        """The same as a dictionary."""
        return dataclasses.asdict(self)


def match_clusters(labels_a: Int[np.ndarray, " n"], labels_b: Int[np.ndarray, " m"]) -> ClusterMatch:
    """Match the regions of two models of the same images, so that as many images as possible are in matched ones.

    Raises:
        UsageError: the two label different numbers of images.

    Source: Kuhn 1955 (Hungarian method); Hubert & Arabie 1985 (adjusted Rand index).
    """
    a, b = np.asarray(labels_a), np.asarray(labels_b)
    if a.shape != b.shape or a.size == 0:
        raise UsageError(f"the two models label {a.size} and {b.size} images, expected the same images")
    names_a, codes_a = np.unique(a, return_inverse=True)
    names_b, codes_b = np.unique(b, return_inverse=True)
    table = np.zeros((len(names_a), len(names_b)), np.int64)
    np.add.at(table, (codes_a, codes_b), 1)
    rows, columns = linear_sum_assignment(table, maximize=True)
    pairs = [(i, j) for i, j in zip(rows, columns, strict=True) if table[i, j] > 0]
    shared = sum(int(table[i, j]) for i, j in pairs)
    mapping = {int(names_a[i]): int(names_b[j]) for i, j in pairs}
    return ClusterMatch(mapping, float(adjusted_rand_score(codes_a, codes_b)), shared / a.size)
