"""The models of a study side by side: numbers, clusters matched to one another, neighbours in common, maps alike.

Two models of the same images may organise them differently although both reconstruct them well. Axes of two latent
spaces mean nothing to each other; neighbours, distances and divisions can be compared.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.clusters import match_clusters
from zatlas.errors import DataError
from zatlas.results.kinds import Comparison, ModelResults
from zatlas.results.maps import agreement_name, trust_numbers, without_inverse
from zatlas.tiles.samplers import evenly
from zatlas.trust.agreement import (
    MOST_ASKED,
    chance_overlap,
    distance_correlation,
    map_agreement,
    neighbour_overlap,
)

__all__ = ["compare_models"]

_NEIGHBOURS = 15
_MOST_ROWS = 1000
_PARTS = ("test", "validation", "train")


def compare_models(
    models: Sequence[ModelResults],
    atlases: Sequence[Atlas],
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Compare models of the same images.

    Args:
        models: Results of each model.
        atlases: Its atlas, of the same images in the same order.
        on_progress: Called with (pairs done, pairs in all).

    Raises:
        DataError: the atlases are of different images.
    """
    _check_same_images(atlases)
    names = [model.name for model in models]
    overlap = pd.DataFrame(np.eye(len(names)), index=pd.Index(names), columns=pd.Index(names))
    matches, similar = [], []
    pairs = list(itertools.combinations(range(len(models)), 2))
    for done, (i, j) in enumerate(pairs):
        a, b = atlases[i], atlases[j]
        overlap.iloc[i, j] = overlap.iloc[j, i] = neighbour_overlap(a.mean, b.mean, _NEIGHBOURS)
        matches.append({"a": names[i], "b": names[j], **match_clusters(a.cluster, b.cluster).summary()})
        similar.append({"a": names[i], "b": names[j], **_similarity(a, b)})
        if on_progress is not None:
            on_progress(done + 1, len(pairs))
    agreements = [agreement_name(one.name) for one in without_inverse(atlas.maps.values() for atlas in atlases)]
    columns = ["a", "b", *agreements, "distance_correlation", "chance_overlap", "overlap_images"]
    return Comparison(
        table=pd.DataFrame([_summary(model) for model in models]),
        cluster_matches=matches,
        neighbour_overlap=overlap,
        map_similarity=pd.DataFrame(similar, columns=columns),
    )


def _check_same_images(atlases: Sequence[Atlas]) -> None:
    columns = [name for name in ("image", "y_px", "x_px") if all(name in atlas.table for atlas in atlases)]
    first = atlases[0].table[columns]
    for other in atlases[1:]:
        if len(other) != len(atlases[0]) or not (other.table[columns].to_numpy() == first.to_numpy()).all():
            raise DataError(
                "the atlases of these models are of different images or tiles and cannot be compared",
                hint="make all atlases in one study",
            )


def _summary(model: ModelResults) -> dict[str, Any]:
    """One row of the table: what says most about a model."""
    metrics, info = model.metrics, model.cluster_info
    values: Any = metrics.loc
    judged = next((part for part in _PARTS if part in metrics.index), "")
    row: dict[str, Any] = {"name": model.name, "latent_dim": model.latent_dim, "n_parameters": model.n_parameters}
    row["judged_on"] = judged
    for name in metrics.columns if judged else ():
        row[f"test_{name}"] = float(values[judged, name])
    if "train" in metrics.index:
        row["train_psnr_db"] = float(values["train", "psnr_db"])
    return row | {
        "active_dims": int(model.is_active.sum()),
        **({"n_local": model.n_local} if model.n_local else {}),
        "forecast_active_dims": model.forecast_active_dims,
        "effective_beta": model.effective_beta,
        "k": info.get("k"),
        "silhouette": _number(info.get("silhouette")),
        "stability": _number(info.get("stability")),
        **trust_numbers(model.maps),
        "mismatch_kl_nats": _number(model.samples.mismatch.get("kl_nats")),
        "mismatch_auc": _number(model.samples.mismatch.get("auc")),
    }


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)


def _similarity(a: Atlas, b: Atlas) -> dict[str, float]:
    rows = evenly(len(a), _MOST_ROWS)
    maps, others = a.maps, b.maps
    return {
        **{
            agreement_name(name): map_agreement(maps[name].points, others[name].points)
            for name in maps
            if name in others and not maps[name].has_inverse
        },
        "distance_correlation": distance_correlation(a.mean[rows], b.mean[rows]),
        "chance_overlap": chance_overlap(len(a), _NEIGHBOURS),
        "overlap_images": min(len(a), MOST_ASKED),
    }
