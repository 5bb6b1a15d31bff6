"""The maps of a model in its results: two columns of the table of images for each, and facts beside them.

The layout is that of 0.1.0, so that its results are read and those of the same maps have the same bytes: facts of PCA
and t-SNE lie flat under the names in `_FLAT`. Any other map has an entry of its own in "maps". Nothing else in
results, report and explorer knows a map by its name.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from zatlas.atlas.projection import Projection, from_stored, in_order

__all__ = ["agreement_name", "info_of_maps", "map_columns", "maps_of", "trust_name", "trust_numbers", "without_inverse"]

_FLAT = {
    "pca": {"explained_ratio": "explained_ratio"},
    "tsne": {
        "tsne_perplexity": "perplexity",
        "trustworthiness": "trustworthiness",
        "continuity": "continuity",
        "n_neighbours": "n_neighbours",
        "initialisation": "initialisation",
        "tsne_method": "method",
    },
}
_OTHERS = "maps"
_PLAIN_TRUST = "tsne"  # its trustworthiness has no name of a map before it


def map_columns(maps: Iterable[Projection]) -> dict[str, np.ndarray]:
    """The first two axes of each map by the name of their column, (n,) each; zeros where there is no second."""
    columns = {}
    for one in maps:
        for i, name in enumerate(one.columns):
            points = one.points
            columns[name] = points[:, i] if i < points.shape[1] else np.zeros(len(points), np.float32)
    return columns


def info_of_maps(maps: Mapping[str, Projection]) -> dict[str, Any]:
    """The facts of all maps as they are stored."""
    info: dict[str, Any] = {}
    for name, keys in _FLAT.items():
        facts = maps[name].facts if name in maps else {}
        info |= {key: facts.get(fact) for key, fact in keys.items()}
    info["explained_ratio"] = list(info["explained_ratio"] or [])
    others = {name: one.stored() for name, one in maps.items() if name not in _FLAT}
    return info | ({_OTHERS: others} if others else {})


def maps_of(table: pd.DataFrame, info: Mapping[str, Any]) -> list[Projection]:
    """The maps in stored results, with their first two axes, PCA and t-SNE first."""
    stored = {
        name: {fact: info[key] for key, fact in keys.items() if info.get(key) is not None}
        for name, keys in _FLAT.items()
    }
    stored |= dict(info.get(_OTHERS, {}))
    found = []
    for name in in_order(stored):
        one = from_stored(name, np.zeros((0, 2)), stored[name])
        if set(one.columns) <= set(table):
            found.append(from_stored(name, table[list(one.columns)].to_numpy(np.float64), stored[name]))
    return found


def without_inverse(models: Iterable[Iterable[Projection]]) -> list[Projection]:
    """The maps without an inverse of several models, each by that of the first model that has it, in order."""
    found: dict[str, Projection] = {}
    for maps in models:
        found = {one.name: one for one in maps if not one.has_inverse} | found
    return [found[name] for name in in_order(found)]


def trust_name(name: str) -> str:
    """The key of the trustworthiness of a map among numbers of a model."""
    return "trustworthiness" if name == _PLAIN_TRUST else f"{name}_trustworthiness"


def agreement_name(name: str) -> str:
    """The column of how alike the maps of two models are."""
    return f"{name}_procrustes"


def trust_numbers(maps: Iterable[Projection]) -> dict[str, float]:
    """Trustworthiness of each map by its key; that of t-SNE is always there, NaN when unknown."""
    known = {trust_name(one.name): one.trustworthiness for one in maps if math.isfinite(one.trustworthiness)}
    return {trust_name(_PLAIN_TRUST): math.nan} | known
