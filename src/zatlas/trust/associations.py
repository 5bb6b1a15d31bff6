"""What goes with what: latent dimensions and features with numbers and categories, clusters with labels."""

import math

import numpy as np
from jaxtyping import Bool, Float, Int, Num
from scipy.stats import rankdata

__all__ = ["between_share", "correlation_ratio", "cramers_v", "expected_counts", "largest_excess", "spearman"]

_LEAST_IMAGES = 4
_MOST_VALUES = 50


def spearman(points: Float[np.ndarray, "n d"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """Spearman's rank correlation of each dimension with some numbers, equal ones sharing their mean rank, -1 to 1.

    NaN where one of the two does not vary, and below 4 images.

    Source: Spearman 1904, https://doi.org/10.2307/1412159

    Example:
        >>> spearman(np.array([[1.0], [2.0], [3.0], [9.0]]), np.array([4.0, 5.0, 6.0, 7.0])).round(6)
        array([1.])
    """
    if len(values) < _LEAST_IMAGES:
        return np.full(points.shape[1], np.nan)
    x, y = rankdata(points, axis=0), rankdata(values)
    x, y = x - x.mean(axis=0), y - y.mean()
    size = np.sqrt((x**2).sum(axis=0) * (y @ y))
    return np.asarray(np.where(size > 0, y @ x / np.where(size > 0, size, 1), np.nan).clip(-1, 1))


def correlation_ratio(points: Float[np.ndarray, "n d"], codes: Int[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """Correlation ratio eta of each dimension with categories: root of the share of variance between them, 0 to 1.

    eta^2 = sum over categories of n_k (mean_k - mean)^2 / sum of (x - mean)^2. NaN with fewer than 2 or more than 50
    categories, below 4 images, where each image is its own category, and where a dimension does not vary.

    Source: Fisher 1925, Statistical methods for research workers, chapter VIII

    Example:
        >>> correlation_ratio(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]))
        array([1.])
    """
    used, codes = np.unique(codes, return_inverse=True)
    if len(points) < _LEAST_IMAGES or not 2 <= len(used) <= _MOST_VALUES or len(used) == len(points):
        return np.full(points.shape[1], np.nan)
    size = np.bincount(codes).astype(np.float64)
    sums = np.zeros((len(used), points.shape[1]))
    centred = points - points.mean(axis=0)
    np.add.at(sums, codes, centred)
    between, total = (sums**2 / size[:, None]).sum(axis=0), (centred**2).sum(axis=0)
    return np.asarray(np.where(total > 0, np.sqrt(between / np.where(total > 0, total, 1)), np.nan).clip(0, 1))


def between_share(values: Float[np.ndarray, " n"], labels: np.ndarray) -> float:
    """Share of the variance of a feature that lies between classes (eta squared), 0 to 1; 0 for a constant feature.

    Example:
        >>> between_share(np.array([0.0, 0.0, 1.0, 1.0]), np.array(["a", "a", "b", "b"]))
        1.0
    """
    values, codes = np.asarray(values, np.float64), np.unique(labels, return_inverse=True)[1]
    total = ((values - values.mean()) ** 2).sum()
    if total <= 1e-18 * max(1, len(values)):
        return 0.0
    sizes = np.bincount(codes)
    means = np.bincount(codes, weights=values) / sizes
    return float((sizes * (means - values.mean()) ** 2).sum() / total)


def cramers_v(counts: Num[np.ndarray, "r c"]) -> float:
    """Cramér's V of a table of counts, corrected for its bias in small samples: 0 independent, 1 determined.

    V^2 = phi^2 / (min(r', c') - 1), where phi^2 = max(0, chi^2 / n - (r - 1)(c - 1) / (n - 1)),
    r' = r - (r - 1)^2 / (n - 1) and c' likewise. Rows and columns without any count are left out. NaN with fewer than
    2 rows, columns or counts.

    Example:
        >>> cramers_v(np.array([[50, 50], [50, 50]]))
        0.0

    Source: Bergsma 2013, J. Korean Stat. Soc. 42:323, https://doi.org/10.1016/j.jkss.2012.10.002
    """
    counts = np.asarray(counts, dtype=float)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    n, (r, c) = counts.sum(), counts.shape
    if min(r, c) < 2 or n < 2:
        return float("nan")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / n
    phi2 = float(((counts - expected) ** 2 / expected).sum() / n)
    phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    smaller = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return float(min(1.0, math.sqrt(phi2 / smaller))) if smaller > 0 else float("nan")


def largest_excess(counts: Num[np.ndarray, "r c"]) -> tuple[int, int, float, float]:
    """The cell of a table of counts whose share of its row is farthest above the share of its column in all rows.

    Args:
        counts: Rows such as clusters, columns such as the values of a label; at least one count.

    Returns:
        Row, column, the share of the column in this row and its share in all, each 0 to 1.

    Example:
        >>> largest_excess(np.array([[3, 1], [1, 3], [4, 4]]))
        (0, 0, 0.75, 0.5)
    """
    counts = np.asarray(counts, dtype=float)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    overall = counts.sum(axis=0) / counts.sum()
    row, column = (int(i) for i in np.unravel_index(int(np.argmax(shares - overall)), shares.shape))
    return row, column, float(shares[row, column]), float(overall[column])


def expected_counts(
    codes: Int[np.ndarray, " n"], is_inside: Bool[np.ndarray, " n"], n_values: int
) -> tuple[Int[np.ndarray, " v"], Int[np.ndarray, " v"], Float[np.ndarray, " v"]]:
    """How often each value occurs among some of the images, and would if being one of them had nothing to do with it.

    Args:
        codes: Value of each image, 0 to n_values - 1; -1 where it is not known, which does not count.
        is_inside: Whether an image is one of those, such as of the members of a cluster.
        n_values: v.

    Returns:
        Counts in all images, counts inside, and counts expected inside: those in all times the share of the images
        with a known value that lie inside.
    """
    is_known = codes >= 0
    overall = np.bincount(codes[is_known], minlength=n_values)
    inside = np.bincount(codes[is_known & is_inside], minlength=n_values)
    return overall, inside, overall * (inside.sum() / max(overall.sum(), 1))
