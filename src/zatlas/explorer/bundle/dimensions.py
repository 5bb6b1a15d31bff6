"""What each latent dimension holds: its spread, what it goes with, and why some are folded away."""

import math
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.paths import aggregate_sd
from zatlas.explorer.bundle.columns import codes_of, label_names, numbers_of
from zatlas.results.kinds import ModelResults

__all__ = ["Described", "described", "dimensions", "eta", "spearman"]

_BINS = 40
_LEAST_IMAGES = 4
_MOST_VALUES = 50
_FIELLER = 1.06  # variance of the z-transformed rank correlation, times n - 3


class Described(NamedTuple):
    """A column of the table that describes images: numbers, or codes of categories (-1 missing) with their names."""

    name: str
    numbers: np.ndarray | None
    codes: np.ndarray
    categories: list[str]


def described(atlas: Atlas) -> list[Described]:
    """Group, part of the split and labels of an atlas."""
    labels = label_names(atlas)
    own = [name for name in ("group", "split") if name in atlas.table and (name != "group" or atlas.groups)]
    found = []
    for name in (*own, *labels):
        numbers = None if name in own else numbers_of(atlas.table[name])
        codes, categories = codes_of(atlas.table[name], is_group=name == "group") if numbers is None else (_NONE, [])
        found.append(Described(labels.get(name, str(name)), numbers, codes, categories))
    return found


_NONE = np.zeros(0, np.int64)


def dimensions(atlas: Atlas, results: ModelResults, columns: list[Described]) -> list[dict[str, Any]]:
    """The manifest's entries of all dimensions.

    Args:
        atlas: The atlas of the model.
        results: Rates, and which dimensions are active.
        columns: What correlations are taken with; the part of the split is left out.
    """
    mean = atlas.mean.astype(np.float64)
    sd = aggregate_sd(atlas.mean, atlas.log_var)
    correlations = _correlations(mean, [column for column in columns if column.name != "split"])
    return [
        {
            "dim": j, "rate_nats": float(results.rate_per_dim[j]), "is_active": bool(results.is_active[j]),
            "mean": float(mean[:, j].mean()), "sd": float(sd[j]), "min": float(mean[:, j].min()),
            "max": float(mean[:, j].max()), "histogram": _histogram(mean[:, j]),
            "reason": _reason(float(results.rate_per_dim[j]), bool(results.is_active[j])),
            "correlations": correlations[j],
        }
        for j in range(atlas.latent_dim)
    ]  # fmt: skip


def _histogram(values: np.ndarray) -> dict[str, Any]:
    low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    counts, _ = np.histogram(values, bins=_BINS, range=(low, high))
    return {"low": low, "high": high, "counts": [int(count) for count in counts]}


def _reason(rate_nats: float, is_active: bool) -> str:
    if is_active:
        return ""
    return f"its rate is {rate_nats:.3f} nats per image: the model does not use it"


def _correlations(mean: np.ndarray, columns: list[Described]) -> list[list[dict[str, Any]]]:
    """For each dimension one entry per column that varies, the strongest first."""
    found: list[list[dict[str, Any]]] = [[] for _ in range(mean.shape[1])]
    for column in columns:
        for j, entry in enumerate(_with_column(mean, column)):
            if entry is not None:
                found[j].append({"column": column.name, **entry})
    return [sorted(entries, key=lambda entry: -abs(entry["r"])) for entries in found]


def _with_column(mean: np.ndarray, column: Described) -> list[dict[str, Any] | None]:
    if column.numbers is not None:
        is_known = np.isfinite(column.numbers)
        n = int(is_known.sum())
        r = spearman(mean[is_known], column.numbers[is_known])
        bounds = [_interval(float(value), n) for value in r]
        kind = "spearman"
    else:
        is_known = column.codes >= 0
        n = int(is_known.sum())
        r, bounds, kind = eta(mean[is_known], column.codes[is_known]), [(None, None)] * mean.shape[1], "eta"
    return [
        {"r": float(value), "kind": kind, "low": low, "high": high, "n": n} if math.isfinite(value) else None
        for value, (low, high) in zip(r, bounds, strict=True)
    ]


def spearman(points: Float[np.ndarray, "n d"], values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " d"]:
    """Spearman's rank correlation of each dimension with some numbers; NaN where one of the two does not vary.

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


def _interval(r: float, n: int) -> tuple[float | None, float | None]:
    """95 % interval of a rank correlation by Fisher's transformation.

    Source: Fieller, Hartley & Pearson 1957, https://doi.org/10.1093/biomet/44.3-4.470
    """
    if not math.isfinite(r) or n <= _LEAST_IMAGES:
        return None, None
    if abs(r) >= 1 - 1e-12:
        return r, r
    half = 1.959964 * math.sqrt(_FIELLER / (n - 3))
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def eta(points: Float[np.ndarray, "n d"], codes: np.ndarray) -> Float[np.ndarray, " d"]:
    """Correlation ratio of each dimension with categories: root of the share of variance between them, 0 to 1.

    NaN with fewer than 2 or more than 50 categories, and where a dimension does not vary.

    Example:
        >>> eta(np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 0, 1, 1]))
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
