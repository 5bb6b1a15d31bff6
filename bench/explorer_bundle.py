"""Bundles of made-up studies for `explorer.py`: any number of points and any decoder, without training.

Written with the modules that write real ones, so the page takes them for such. The latents are those of
`analysis_points.py`, the weights of the networks are untrained, the pictures synthetic radiographs. Above 20 000 images
two things are made up that would take longer than the measurement: the t-SNE map (a bent copy of the latents), and the
neighbours (those next along the first dimension, with their true distances). The page reads them all the same.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from analysis_points import latents

from zatlas import files, phantom
from zatlas.atlas.projections import fit_pca
from zatlas.explorer.bundle import facts
from zatlas.explorer.bundle.columns import Files, category_column, number_column, plain
from zatlas.explorer.bundle.dimensions import support_entry
from zatlas.explorer.bundle.sheets import THUMBNAIL_PX, Sheet
from zatlas.explorer.bundle.writing import SCHEMA_VERSION
from zatlas.model.automatic import automatic_widths
from zatlas.model.building import build
from zatlas.model.network import Network, NetworkConfig
from zatlas.trust import support

__all__ = ["LIMITS", "D", "Networks", "Shape", "exported", "write_bundle"]

D = 16
"""Latent dimensions."""
LIMITS = (0.0, 1.0)
"""Greys shown as black and white."""
NAME = "z16"
_K, _EXACT, _MOST_PICTURES, _SUPPORTED = 10, 20_000, 5_000, 5_000
_CLUSTERS, _GROUPS = 8, 12


class Shape(NamedTuple):
    """A decoder: side of the images [px], channels of the stages, residual blocks after each stage."""

    size: int = 128
    widths: tuple[int, ...] = automatic_widths(128)
    blocks: int = 0

    def __str__(self) -> str:
        blocks = f", {self.blocks} block{'s' if self.blocks > 1 else ''}" if self.blocks else ""
        return f"{'-'.join(map(str, self.widths))} at {self.size} px{blocks}"

    def network(self) -> Network:
        """With the weights before training."""
        config = NetworkConfig(
            latent_dim=D, channels=1, size=self.size, widths=self.widths, blocks=self.blocks, norm="none",
            decoder="upsample", likelihood="bernoulli",
        )  # fmt: skip
        return build(config, seed=0).eval()


class Networks(NamedTuple):
    """The networks of a bundle as ONNX, with what the manifest says of each."""

    shape: Shape
    decoder: Any
    encoder: Any = None


def exported(shape: Shape, *, with_encoder: bool = False) -> Networks:
    """Export a decoder, and the encoder if wanted; both are compared with torch, as in a real export."""
    from zatlas.explorer.bundle.onnx_export import check_latents, export_decoder, export_encoder

    network = shape.network()
    decoder = export_decoder(network, check_latents(latents(1000, D), seed=0), LIMITS)
    if not with_encoder:
        return Networks(shape, decoder)
    images = np.random.default_rng(0).random((16, 1, shape.size, shape.size), np.float32)
    return Networks(shape, decoder, export_encoder(network, images))


def write_bundle(folder: Path, n: int, networks: Networks, *, with_thumbnails: bool) -> Path:
    """Write a bundle of `n` images into a new folder, which is returned."""
    from zatlas.explorer.bundle.onnx_export import write_net

    writer, rng = Files(folder), np.random.default_rng(n)
    mean = latents(n, D)
    names = files.json("names", [f"image_{row:07d}" for row in range(n)])
    columns = _columns(writer, mean, rng)
    side = networks.shape.size
    thumbnails = _thumbnails(writer, n, min(THUMBNAIL_PX, side)) if with_thumbnails else None
    model = _model(writer, mean, rng)
    model["decoder"] = write_net(writer, f"{NAME}/decoder.onnx", networks.decoder)
    model["encoder"] = networks.encoder and write_net(writer, f"{NAME}/encoder.onnx", networks.encoder)
    privacy = facts.privacy(
        n=n, labels=["age"], has_thumbnails=with_thumbnails, has_originals=False, side_px=side,
        thumbnail_px=min(THUMBNAIL_PX, side), has_decoder=True, has_encoder=bool(networks.encoder),
    )  # fmt: skip
    record = "".join(entry["sha256"] for entry in files.records.values())
    manifest = {
        "schema_version": SCHEMA_VERSION, "title": "Made-up latents", "zatlas": files.environment()["zatlas"],
        "atlas_hash": hashlib.sha256(record.encode("ascii")).hexdigest(), "privacy": privacy,
        "images": {
            "n": n, "side_px": side, "channels": 1, "is_tiled": False, "unit": "grey value",
            "scaling": {"kind": "minmax", "offset": 0.0, "factor": 1.0},
            "display": {"low": LIMITS[0], "high": LIMITS[1]},
        },
        "names": names, "columns": columns, "thumbnails": thumbnails, "originals": None, "models": [model],
        "comparison": None, "run": _run(n), "files": dict(sorted(files.records.items())),
    }  # fmt: skip
    files.write_json(folder / "manifest.json", manifest)
    return folder


def _columns(writer: Files, mean: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    n = len(mean)
    groups, parts = pd.Index([f"P{i:02d}" for i in range(_GROUPS)]), pd.Index(["train", "validation", "test"])
    group = pd.Series(pd.Categorical.from_codes(rng.integers(0, _GROUPS, n), groups))
    part = pd.Series(pd.Categorical.from_codes(rng.choice(3, n, p=(0.7, 0.15, 0.15)), parts))
    age = (50 + 10 * mean[:, 0] / mean[:, 0].std() + 5 * rng.standard_normal(n)).astype(np.float32)
    return [
        category_column(writer, "columns/000", "group", group),
        category_column(writer, "columns/001", "split", part),
        number_column(writer, "columns/002", "age", age, title="age"),
    ]


def _model(writer: Files, mean: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    n, pca = len(mean), fit_pca(mean)
    near = support.neighbours(mean) if n <= _EXACT else _beside(mean)
    cluster = (np.digitize(mean[:, 0], np.quantile(mean[:, 0], np.linspace(0, 1, _CLUSTERS + 1)[1:-1]))).astype(int)
    spread = mean.std(axis=0)
    is_active = spread > 0.05 * spread.max()
    return {
        "name": NAME, "latent_dim": D, "likelihood": "bernoulli", "beta": 1.0, "effective_beta": 1.0,
        "n_parameters": 1_000_000, "mean": files.array(f"{NAME}/mean", mean, "f32"),
        "log_var": files.array(f"{NAME}/log_var", rng.normal(-3, 0.5, mean.shape), "f32"),
        "columns": _model_columns(writer, cluster, near, rng),
        "projections": _projections(writer, mean, pca, rng),
        "pca": {
            "mean": plain(pca.center), "components": plain(pca.components), "sd": plain(np.sqrt(pca.variance)),
            "explained_ratio": plain(pca.explained_ratio),
        },
        "knn": {
            "k": _K, "rows": files.array(f"{NAME}/knn_rows", near.rows, "u32"),
            "distances": files.array(f"{NAME}/knn_distances", near.distances, "f32"),
        },
        "support": support_entry(support.support(mean[:_SUPPORTED], np.ones(min(n, _SUPPORTED), bool), is_active)),
        "dimensions": [_dimension(j, mean[:, j], bool(is_active[j])) for j in range(D)],
        "clusters": _clusters(cluster, rng), "walks": [],
        "metrics": {"test": {"distortion_nats": 100.0, "rate_nats": 20.0, "elbo_nats": -120.0, "psnr_db": 25.0}},
        "history": {"epoch": [1, 2], "train_distortion_nats": [120.0, 100.0]},
        "mismatch": {"kl_nats": 0.5, "auc": 0.6},
    }  # fmt: skip


def _beside(mean: np.ndarray) -> support.Neighbours:
    """Ten rows next along the first dimension, nearest first."""
    order = np.argsort(mean[:, 0])
    rows = np.empty((len(mean), _K), np.uint32)
    for step in range(_K):
        rows[order, step] = np.roll(order, -step - 1)
    distances = np.stack([np.linalg.norm(mean[rows[:, i]] - mean, axis=1) for i in range(_K)], axis=1)
    by_distance = np.argsort(distances, axis=1)
    return support.Neighbours(np.take_along_axis(rows, by_distance, 1), np.take_along_axis(distances, by_distance, 1))


def _model_columns(
    writer: Files, cluster: np.ndarray, near: support.Neighbours, rng: np.random.Generator
) -> list[dict[str, Any]]:
    n = len(cluster)
    made_up = {"distortion_nats": (100, 20), "rate_nats": (20, 3), "psnr_db": (25, 2)}
    kept = rng.integers(0, _K + 1, n) / _K
    return [
        category_column(writer, f"{NAME}/cluster", "cluster", pd.Series(pd.Categorical(cluster))),
        *(
            number_column(writer, f"{NAME}/{name}", name, rng.normal(middle, sd, n))
            for name, (middle, sd) in made_up.items()
        ),
        number_column(
            writer, f"{NAME}/neighbour_distance", "neighbour_distance", support.neighbour_distance(near),
            title="Distance to neighbours", description="distance to the 5th nearest other image",
        ),
        number_column(writer, f"{NAME}/tsne_kept", "tsne_kept", kept, title="Neighbours kept by t-SNE"),
    ]  # fmt: skip


def _projections(writer: Files, mean: np.ndarray, pca: Any, rng: np.random.Generator) -> list[dict[str, Any]]:
    scores = pca.transform(mean)[:, :10]
    bent = scores / scores.std(axis=0)
    points = 20 * np.stack([np.sin(bent[:, 0]) + bent[:, 2], np.cos(bent[:, 1]) + bent[:, 3]], axis=1)
    points += rng.standard_normal(points.shape)
    axes = [f"PC{i + 1} ({100 * share:.1f} % of variance)" for i, share in enumerate(pca.explained_ratio[:10])]
    return [
        {
            "name": "pca", "title": "PCA", "file": files.array(f"{NAME}/pca", scores, "f32"), "axes": axes,
            "note": "Made up.", "has_inverse": True,
        },
        {
            "name": "tsne", "title": "t-SNE", "file": files.array(f"{NAME}/tsne", points, "f32"),
            "axes": ["t-SNE 1", "t-SNE 2"], "note": "Made up.", "has_inverse": False,
        },
    ]  # fmt: skip


def _dimension(dim: int, values: np.ndarray, is_active: bool) -> dict[str, Any]:
    low, high = float(values.min()), float(values.max())
    counts, _ = np.histogram(values, bins=40, range=(low, high))
    return {
        "dim": dim, "rate_nats": float(2.0 - 0.1 * dim) if is_active else 0.0, "is_active": is_active,
        "mean": float(values.mean()), "sd": float(values.std()), "min": low, "max": high,
        "histogram": {"low": low, "high": high, "counts": counts.tolist()},
        "reason": "" if is_active else "its rate is 0.000 nats per image: the model does not use it",
        "correlations": [],
    }  # fmt: skip


def _clusters(cluster: np.ndarray, rng: np.random.Generator) -> dict[str, Any]:
    items = []
    for number in range(_CLUSTERS):
        rows = np.flatnonzero(cluster == number)
        some = {kind: sorted(rng.choice(rows, 4).tolist()) for kind in ("central", "random", "borderline")}
        share = len(rows) / len(cluster)
        items.append({"cluster": number, "size": len(rows), "share": share, **some, "counts": []})
    return {"k": _CLUSTERS, "silhouette": 0.3, "stability": 0.9, "text": "Made up.", "items": items}


def _thumbnails(writer: Files, n: int, size: int) -> dict[str, Any]:
    """Sheets of synthetic radiographs."""
    if n > _MOST_PICTURES:
        raise ValueError(f"pictures for at most {_MOST_PICTURES} images")
    sheet = Sheet(writer, "thumbnails", size, n, is_lossless=False)
    path, labels = phantom.radiographs(files.folder / "images.npz", images=n, size=size)
    with np.load(path) as stored:
        images = stored[stored.files[0]]
    path.unlink(), labels.unlink()
    sheet.add(np.asarray(images, np.uint8)[..., None])
    return sheet.info()


def _run(n: int) -> dict[str, Any]:
    counts = {"train": int(0.7 * n), "validation": int(0.15 * n), "test": int(0.15 * n)}
    return {
        "command": ["python", "bench/explorer.py"], "seed": 0, "environment": files.environment(), "fingerprint": "",
        "split": {"counts": counts, "reason": "made up", "warnings": []}, "training": {}, "config": {},
        "data": "made up", "is_synthetic": True,
    }  # fmt: skip
