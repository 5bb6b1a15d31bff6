"""One model of a study in the bundle: latents, maps, neighbours, support, dimensions, clusters, networks."""

import logging
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.projection import Projection, from_stored
from zatlas.atlas.projections import Pca, fit_pca
from zatlas.compute import in_shards
from zatlas.errors import ZatlasError
from zatlas.explorer.bundle.columns import Files, category_column, clean, number_column, plain
from zatlas.explorer.bundle.dimensions import Described, described, dimensions, support_entry
from zatlas.model.network import Network
from zatlas.results.kinds import Gallery, ModelResults
from zatlas.results.levels import levels
from zatlas.trust import support
from zatlas.trust.associations import expected_counts

__all__ = ["model_part", "networks"]

log = logging.getLogger(__name__)

_MOST_AXES = 10
_MOST_COUNTED = 30
_PCA = "pca"
"""The map that is made here, because the page turns places on it back to latents by the components in the manifest."""
_NUMBERS = ("distortion_nats", "rate_nats", "local_rate_nats", "psnr_db")


def model_part(files: Files, atlas: Atlas, results: ModelResults, *, unit: str = "image") -> dict[str, Any]:
    """Write the columns of one model; returns its entry of the manifest, without the networks.

    Args:
        files: Where to; in a folder named after the model.
        atlas: The model's atlas.
        results: The model's results.
        unit: What the model sees: "image" or "tile".
    """
    name, about = results.name, described(atlas)
    near = support.neighbours(atlas.mean)
    pca = fit_pca(atlas.mean)
    kept = {map_: support.kept_share(near, one.points) for map_, one in atlas.maps.items() if map_ != _PCA}
    is_training = _is_training(atlas)
    return {
        "name": name, "latent_dim": atlas.latent_dim, "likelihood": results.likelihood, "prior": results.prior,
        "beta": float(results.beta),
        "effective_beta": plain(float(results.effective_beta)), "n_parameters": int(results.n_parameters),
        "local": _local(results),
        "mean": files.array(f"{name}/mean", atlas.mean, "f32"),
        "log_var": files.array(f"{name}/log_var", atlas.log_var, "f32"),
        "columns": _columns(files, name, atlas, near, kept),
        "projections": _projections(files, name, atlas, pca, kept),
        "pca": {
            "mean": plain(pca.center), "components": plain(pca.components), "sd": plain(np.sqrt(pca.variance)),
            "explained_ratio": plain(pca.explained_ratio),
        },
        "knn": {
            "k": int(near.rows.shape[1]), "rows": files.array(f"{name}/knn_rows", near.rows, "u32"),
            "distances": files.array(f"{name}/knn_distances", near.distances, "f32"),
        },
        "support": support_entry(support.support(atlas.mean, is_training, np.asarray(results.is_active, bool))),
        "dimensions": dimensions(atlas, results, about, unit),
        "clusters": _clusters(atlas, results, about),
        "walks": [
            {key: plain(getattr(walk, key)) for key in ("name", "axis_kind", "start_row", "end_row", "note")}
            for walk in results.walks
        ],
        "metrics": {str(part): plain(row.to_dict()) for part, row in results.metrics.iterrows()},
        "history": {str(column): plain(values.tolist()) for column, values in results.history.items()},
        "mismatch": {key: plain(results.samples.mismatch.get(key)) for key in ("kl_nats", "auc")},
    }  # fmt: skip


def _local(results: ModelResults) -> dict[str, Any] | None:
    """How many local latents an image has, and what each level of latents says about one."""
    if not results.n_local:
        return None
    return {"n_values": int(results.n_local), "levels": [plain(one._asdict()) for one in levels(results)]}


def _is_training(atlas: Atlas) -> np.ndarray:
    if "split" not in atlas.table:
        return np.ones(len(atlas), bool)
    return np.asarray(atlas.table["split"].astype(str).to_numpy() == "train")


def _columns(
    files: Files, name: str, atlas: Atlas, near: support.Neighbours, kept: dict[str, np.ndarray]
) -> list[dict[str, Any]]:
    columns: list[dict[str, Any]] = []
    if "cluster" in atlas.table:
        numbers = sorted(set(atlas.cluster.tolist()))
        cluster = pd.Series(pd.Categorical(atlas.cluster, categories=numbers))
        columns.append(category_column(files, f"{name}/cluster", "cluster", cluster))
    for key in (key for key in _NUMBERS if key in atlas.table):
        values = atlas.table[key].to_numpy(np.float32, na_value=np.nan)
        columns.append(number_column(files, f"{name}/{key}", key, values))
    columns.append(
        number_column(
            files, f"{name}/neighbour_distance", "neighbour_distance", support.neighbour_distance(near),
            title="Distance to neighbours",
            description="distance to the 5th nearest other image in the full latent space; large: a rare image",
        )
    )  # fmt: skip
    for map_, share in kept.items():
        named = clean(atlas.maps[map_].title)
        text = f"share of the 10 nearest images in latent space that are among the 10 nearest on the {named} map"
        title = f"Neighbours kept by {named}"
        columns.append(
            number_column(files, f"{name}/{map_}_kept", f"{map_}_kept", share, title=title, description=text)
        )
    return columns


def _projections(files: Files, name: str, atlas: Atlas, pca: Pca, kept: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    maps = atlas.maps
    scores = maps[_PCA].points if _PCA in maps else None
    scores = pca.transform(atlas.mean) if scores is None else scores
    ratios = [100 * float(ratio) for ratio in pca.explained_ratio[:_MOST_AXES]]
    axes = [f"PC{i + 1} ({ratio:.1f} % of variance)" for i, ratio in enumerate(ratios)]
    scores = np.asarray(scores)[:, : len(axes)]
    note = (
        f"The first two axes keep {sum(ratios[:2]):.1f} % of the variance of the latents. "
        "A place on this map is decoded exactly, with all other components at their mean."
    )
    if scores.shape[1] < 2:  # a map needs two axes
        scores = np.column_stack([scores, np.zeros(len(atlas))])[:, :2]
        axes, note = (
            [*axes, "nothing: there is one dimension"],
            "There is one latent dimension: all images lie on a line.",
        )
    own = from_stored(_PCA, scores)
    entries = [_projection(files, name, own, axes, note)]
    for map_, share in kept.items():
        one = replace(maps[map_], points=_two_axes(maps[map_].points))
        titles = [one.axis_name(i + 1) for i in range(one.points.shape[1])]
        entries.append(_projection(files, name, one, titles, _map_note(one, share)))
    return entries


def _two_axes(points: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n m"]:
    """The first ten axes, and at least two: all images on a line where the map has one."""
    return np.column_stack([points[:, :_MOST_AXES], np.zeros((len(points), max(2 - points.shape[1], 0)))])


def _map_note(one: Projection, share: np.ndarray) -> str:
    known = share[np.isfinite(share)]
    facts = [
        *([f"trustworthiness {one.trustworthiness:.2f}"] if math.isfinite(one.trustworthiness) else []),
        *([f"{100 * known.mean():.0f} % of the nearest neighbours in latent space kept"] if len(known) else []),
    ]
    inverse = "A place on it" if one.has_inverse else "It has no inverse: a place on it"
    return f"{one.kept_in_words(facts)} {inverse} is decoded as a mean of the images around it."


def _projection(files: Files, name: str, one: Projection, axes: list[str], note: str) -> dict[str, Any]:
    file = files.array(f"{name}/{one.name}", one.points, "f32")
    return {
        "name": one.name, "title": clean(one.title), "file": file, "axes": plain(axes), "note": clean(note),
        "has_inverse": one.name == _PCA,
    }  # fmt: skip


def _clusters(atlas: Atlas, results: ModelResults, columns: list[Described]) -> dict[str, Any]:
    info = results.cluster_info
    counted = [column for column in columns if 0 < len(column.categories) <= _MOST_COUNTED]
    numbers = atlas.cluster if "cluster" in atlas.table else np.zeros(len(atlas), np.int64)
    return {
        "k": int(info.get("k") or len(results.galleries)), "silhouette": plain(info.get("silhouette")),
        "stability": plain(info.get("stability")), "verdict": plain(str(info.get("verdict", ""))),
        "text": plain(str(info.get("text", ""))),
        "items": [_cluster(gallery, numbers, counted) for gallery in results.galleries],
    }  # fmt: skip


def _cluster(gallery: Gallery, numbers: Int[np.ndarray, " n"], counted: list[Described]) -> dict[str, Any]:
    inside = numbers == gallery.cluster
    return {
        "cluster": int(gallery.cluster), "size": int(gallery.size), "share": float(gallery.share),
        **{kind: [int(row) for row in getattr(gallery, kind)] for kind in ("central", "random", "borderline")},
        "counts": [{"column": column.name, "values": _counts(column, inside)} for column in counted],
    }  # fmt: skip


def _counts(column: Described, inside: np.ndarray) -> list[dict[str, Any]]:
    """How often each value occurs in a cluster, and would if clusters and values had nothing to do with each other."""
    overall, found, expected = expected_counts(column.codes, inside, len(column.categories))
    return [
        {"value": value, "n": int(n), "expected": round(float(by_chance), 3)}
        for value, n, by_chance, total in zip(column.categories, found, expected, overall, strict=True)
        if total
    ]


def networks(
    files: Files,
    name: str,
    network: Network,
    mean: Float[np.ndarray, "n d"],
    limits: tuple[float, float],
    *,
    seed: int,
    with_encoder: bool,
    say: Callable[[str], None],
) -> dict[str, Any]:
    """Write decoder and encoder as ONNX; one that cannot be is None in the manifest, and `say` is told why.

    Args:
        files: Where to.
        name: Of the model.
        network: The network, on the CPU.
        mean: Posterior means of the images, some of which the networks are compared on.
        limits: Greys of the network's scale shown as black and white.
        seed: Of the latents drawn for the comparison.
        with_encoder: Whether the encoder is wanted.
        say: Takes a sentence.
    """
    import torch

    from zatlas.atlas.drawing import noise_of_draw
    from zatlas.explorer.bundle.onnx_export import check_latents, export_decoder, export_encoder, write_net

    network.eval()
    z = check_latents(mean, seed)
    found: dict[str, Any] = {"decoder": None, "encoder": None}
    with torch.inference_mode():
        images = torch.cat(in_shards(network.x_hat, torch.from_numpy(z))).numpy().astype(np.float32)
    wanted: dict[str, Callable[[], Any]] = {"decoder": lambda: export_decoder(network, z, limits)}
    if with_encoder:
        wanted["encoder"] = lambda: export_encoder(network, np.clip(images, *limits).astype(np.float32))
    for kind, export in wanted.items():
        try:
            found[kind] = write_net(files, f"{name}/{kind}.onnx", export())
            if kind == "decoder" and network.n_local:
                found[kind]["noise"] = files.array(f"{name}/kept_noise", noise_of_draw(network, 1).numpy(), "f32")
        except ZatlasError as err:
            log.warning("no %s of %s in the explorer: %s", kind, name, err.what)
            say(f"warning: the {kind} of {name} is not in the explorer: {err.what}")
    return found
