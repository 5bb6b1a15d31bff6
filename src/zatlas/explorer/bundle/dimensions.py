"""What each latent dimension holds: its spread, what it goes with, and why some are folded away."""

import math
from typing import Any, NamedTuple

import numpy as np

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.paths import aggregate_sd
from zatlas.explorer.bundle.columns import codes_of, label_names, numbers_of
from zatlas.results.kinds import ModelResults
from zatlas.trust.associations import correlation_ratio, spearman
from zatlas.trust.histograms import histogram
from zatlas.trust.support import Support
from zatlas.trust.uncertainty import spearman_interval

__all__ = ["Described", "described", "dimensions", "support_entry"]


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


def dimensions(atlas: Atlas, results: ModelResults, columns: list[Described], unit: str) -> list[dict[str, Any]]:
    """The manifest's entries of all dimensions.

    Args:
        atlas: The atlas of the model.
        results: Rates, and which dimensions are active.
        columns: What correlations are taken with; the part of the split is left out.
        unit: What the model sees: "image" or "tile".
    """
    mean = atlas.mean.astype(np.float64)
    sd = aggregate_sd(atlas.mean, atlas.log_var)
    correlations = _correlations(mean, [column for column in columns if column.name != "split"])
    return [
        {
            "dim": j, "rate_nats": float(results.rate_per_dim[j]), "is_active": bool(results.is_active[j]),
            "mean": float(mean[:, j].mean()), "sd": float(sd[j]), "min": float(mean[:, j].min()),
            "max": float(mean[:, j].max()), "histogram": _histogram(mean[:, j]),
            "reason": _reason(float(results.rate_per_dim[j]), bool(results.is_active[j]), unit),
            "correlations": correlations[j],
        }
        for j in range(atlas.latent_dim)
    ]  # fmt: skip


def _histogram(values: np.ndarray) -> dict[str, Any]:
    low, high, counts = histogram(values)
    return {"low": low, "high": high, "counts": [int(count) for count in counts]}


def _reason(rate_nats: float, is_active: bool, unit: str) -> str:
    if is_active:
        return ""
    return f"its rate is {rate_nats:.3f} nats per {unit}: the model does not use it"


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
        bounds = [spearman_interval(float(value), n) for value in r]
        kind = "spearman"
    else:
        is_known = column.codes >= 0
        n = int(is_known.sum())
        r = correlation_ratio(mean[is_known], column.codes[is_known])
        bounds, kind = [(None, None)] * mean.shape[1], "eta"
    return [
        {"r": float(value), "kind": kind, "low": low, "high": high, "n": n} if math.isfinite(value) else None
        for value, (low, high) in zip(r, bounds, strict=True)
    ]


def support_entry(found: Support) -> dict[str, Any]:
    """The manifest's entry of the distances that separate "within", "near" and "off the data", with a sentence."""
    who = f"{found.n} {'training images' if found.is_of_training else 'images'}"
    asked = "" if found.n_asked == found.n else f", asked of {found.n_asked}"
    words = (
        f"Measured against the {who}{asked}: the distance to the {_ordinal(found.k)} nearest one in {len(found.dims)} "
        f"active {'dimension' if len(found.dims) == 1 else 'dimensions'}. Up to {found.within:.3g}, as for 95 % of "
        f"them, is within the data; up to {found.near:.3g}, as for 99.5 %, near the data; beyond, off the data."
    )
    return {
        "k": max(found.k, 1), "dims": [int(dim) for dim in found.dims], "within": found.within, "near": found.near,
        "quantiles": [float(q) for q in found.quantiles], "words": words,
    }  # fmt: skip


def _ordinal(k: int) -> str:
    return {1: "very", 2: "2nd", 3: "3rd"}.get(max(k, 1), f"{k}th")
