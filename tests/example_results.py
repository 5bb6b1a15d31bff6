"""Small, complete and plausible results of a study that never was, for tests of what shows results.

Images are soft bright ellipses on a dark ground whose `stain` (brightness) and `width` vary; "models" blur them. All
tables agree with one another: sizes, clusters, groups and rows fit together.
"""

import numpy as np
import pandas as pd

from zatlas.results.kinds import (
    Comparison,
    DataSummary,
    Gallery,
    ModelResults,
    Reconstructions,
    Samples,
    StudyResults,
    Traversal,
    Walk,
)

FEATURES = (
    "brightness",
    "contrast",
    "sharpness",
    "left_right_symmetry",
    "centre_of_mass_y",
    "centre_of_mass_x",
    "edge_density",
)
PARTS = ("train", "validation", "test")
EXTREMES = ("largest", "smallest")
_AMORTISATION = {
    "n": 24, "n_units": 3, "nats": 4.0, "nats_low": 2.5, "nats_high": 5.5, "db": 0.02, "db_low": 0.01, "db_high": 0.03,
    "loss_before": 310.0, "psnr_before_db": 21.0, "steps": 20, "by": "group", "part": "test",
}  # fmt: skip
_INVARIANCE = {
    "n": 24, "n_units": 3, "by": "group", "part": "test", "size_px": 32,
    "shifts": [
        {
            "px": px, "latents": share, "latents_low": share - 0.05, "latents_high": share + 0.05,
            "pca": share / 2, "pca_low": share / 2 - 0.04, "pca_high": share / 2 + 0.04,
            "histogram": share / 10, "histogram_low": share / 20, "histogram_high": share / 5,
            "per_dim": [share, share, share, share],
        }
        for px, share in ((2, 0.11), (4, 0.32), (8, 0.71))
    ],
}  # fmt: skip
TSNE_NOTE = (
    "t-SNE has no inverse: the walk runs in latent space between the two images that are extreme on the t-SNE axis"
)


def example_results(
    seed: int = 0,
    n_models: int = 2,
    *,
    n_images: int = 80,
    size: int = 32,
    channels: int = 1,
    with_groups: bool = True,
    with_labels: bool = True,
    points: int = 7,
    is_tiled: bool = False,
) -> StudyResults:
    """Results of a study with models z4, z16, z32, ... (at most four).

    Args:
        seed: Everything derives from it.
        n_models: 1 to 4.
        n_images: Images in the atlas.
        size: Side of the images [px].
        channels: 1 or 3.
        with_groups: Whether the images belong to brains B01, B02, B20 (else group is "").
        with_labels: Whether there are label columns `stain`, `width` (numbers) and `kind` (categories).
        points: Interior points of the walks.
        is_tiled: Whether the study is of tiles.
    """
    rng = np.random.default_rng(seed)
    world = _World(rng, n_images, size, channels, with_groups, with_labels)
    models = [_model(world, d, rng, points) for d in (4, 16, 32, 64)[:n_models]]
    config = {
        "seed": seed,
        "title": "",
        "data": {"input": "example.npz", "labels": "", "group": "group" if with_groups else ""},
        "model": {"latent_dim": [m.latent_dim for m in models], "likelihood": "bernoulli", "beta": 1.0},
        "tiles": {"tile": size if is_tiled else 0, "size": 0 if is_tiled else size, "scaling": "minmax"},
        "train": {"epochs": 30, "batch_size": 64, "learning_rate": 0.001},
        "atlas": {"points": points, "clusters": 3},
    }
    provenance = {"command": ["zatlas", "study", "example.npz"], "seed": seed, "fingerprint": "0" * 64}
    return StudyResults(
        data=_summary(world, is_tiled),
        models=models,
        comparison=_comparison(models, rng),
        config=config,
        provenance=provenance,
    )


class _World:
    """The images, their factors and their table."""

    def __init__(self, rng, n, size, channels, with_groups, with_labels):
        self.n, self.size, self.channels = n, size, channels
        self.stain, self.width = rng.uniform(0.3, 0.9, n), rng.uniform(0.2, 0.42, n)
        self.images = self.draw(self.stain, self.width)
        group = np.array(["B01", "B02", "B20"])[np.arange(n) % 3] if with_groups else np.full(n, "")
        split = np.where(group == "B20", "test", "train") if with_groups else rng.choice(["train", "test"], n)
        split[::10] = np.where(split[::10] == "train", "validation", split[::10])
        names = [f"{g}/{i:04d}" if g else f"{i:05d}" for i, g in enumerate(group)]
        self.cluster = np.digitize(self.stain, [0.5, 0.7])
        self.table = pd.DataFrame({"row": np.arange(n), "image": names, "group": group, "split": split})
        self.table["cluster"] = pd.Categorical(self.cluster)
        self.labels = {}
        if with_labels:
            kind = np.where(self.width > 0.31, "wide", "narrow")
            self.labels = {"stain": self.stain, "width": self.width, "kind": pd.Categorical(kind)}

    def draw(self, stain, width):
        y, x = np.mgrid[-1 : 1 : self.size * 1j, -1 : 1 : self.size * 1j]
        stain, width = (np.asarray(v, float).reshape(-1, 1, 1, 1) for v in (stain, width))
        shape = np.exp(-((x / (2 * width)) ** 4) - (y / 0.8) ** 4)
        ribs = 0.08 * np.sin(12 * y) * shape
        image = np.clip(0.08 + stain * shape + ribs, 0, 1)
        return np.repeat(image, self.channels, axis=1).astype(np.float32)


def _model(world, d, rng, points):
    z = rng.standard_normal((world.n, d)).astype(np.float32)
    z[:, 0], z[:, 1] = (world.stain - 0.6) / 0.17, (world.width - 0.31) / 0.064
    rate = np.sort(rng.gamma(2.0, 1.5, d))[::-1].astype(np.float64)
    is_active = np.arange(d) < max(3, int(0.8 * d))
    rate[~is_active] = 0.002
    rate = rng.permutation(rate) if d > 4 else rate
    is_active = rate > 0.01
    psnr = rng.normal(19 + np.log2(d), 1.2, world.n)
    return ModelResults(
        name=f"z{d}",
        latent_dim=d,
        likelihood="bernoulli",
        beta=1.0,
        n_parameters=100_000 + 1000 * d,
        history=_history(d, rng),
        metrics=_metrics(d, world.n),
        rate_per_dim=rate,
        is_active=is_active,
        effective_beta=42.0 + d,
        forecast_active_dims=min(d, 20),
        reconstructions=_reconstructions(world, d, rng),
        galleries=[_gallery(world, c, rng) for c in range(3)],
        cluster_info=_cluster_info(world),
        walks=_walks(world, z, points, rng),
        traversals=_traversals(world, rate),
        samples=_samples(world, d, rng),
        projections=_projections(world, z, psnr, rng),
        projection_info={
            "explained_ratio": [0.4, 0.2, *([0.4 / (d - 2)] * (d - 2))],
            "tsne_perplexity": 26.7,
            "trustworthiness": 0.96,
            "continuity": 0.97,
            "initialisation": "first two principal components",
        },
        probes=_probes(world),
        neighbours=_neighbours(world, z),
        amortisation=_AMORTISATION,
        invariance=_INVARIANCE,
    )


def _history(d, rng, epochs=30):
    at = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": at, "step": at * 20, "seconds": at * 2.5, "images_per_s": 800.0})
    table["learning_rate"] = 1e-3 * np.cos(0.5 * np.pi * at / (epochs + 1))
    table["kl_weight"] = np.minimum(at / 10, 1.0)
    for part, gap in (("train", 0.0), ("validation", 8.0), ("test", 11.0)):
        noise = rng.normal(0, 0.6, epochs)
        table[f"{part}_distortion_nats"] = 620 - 3 * np.log2(d) + 90 * np.exp(-at / 5) + gap + noise
        table[f"{part}_rate_nats"] = (6 + 3 * np.log2(d)) * (1 - np.exp(-at / 4))
        table[f"{part}_elbo_nats"] = -table[f"{part}_distortion_nats"] - table[f"{part}_rate_nats"]
    table["active_dims"] = np.minimum(d, 2 + at)
    return table


def _metrics(d, n):
    bonus = np.log2(d)
    rows = {
        part: {
            "distortion_nats": 620 - 3 * bonus + gap,
            "rate_nats": 6 + 3 * bonus,
            "elbo_nats": -(626 + gap),
            "psnr_db": 20 + bonus - 0.1 * gap,
            "psnr_sd": 1.3,
            "ssim": 0.6 + 0.03 * bonus - 0.005 * gap,
            "pca_psnr_db": 19 + bonus - 0.1 * gap,
            "pca_ssim": 0.55 + 0.03 * bonus - 0.005 * gap,
            "n": n // 3,
        }
        for part, gap in (("train", 0.0), ("validation", 8.0), ("test", 11.0))
    }
    table = pd.DataFrame.from_dict(rows, orient="index").astype({"n": int})
    return table.rename_axis("part")


def _reconstructions(world, d, rng, n=10):
    rows = np.flatnonzero(world.table["split"] == "test")[:n]
    originals = world.images[rows]
    made = world.draw(world.stain[rows] + rng.normal(0, 0.2 / d, len(rows)), world.width[rows])
    pca = np.clip(made + rng.normal(0, 0.03, made.shape), 0, 1).astype(np.float32)
    psnr = [
        -10 * np.log10(np.mean((a - b) ** 2, axis=(1, 2, 3)) + 1e-4) for a, b in ((originals, made), (originals, pca))
    ]
    names = world.table["image"].iloc[rows].tolist()
    table = pd.DataFrame({"image": names, "psnr_db": psnr[0], "ssim": 0.82, "pca_psnr_db": psnr[1], "pca_ssim": 0.74})
    return Reconstructions(rows=rows, images=names, originals=originals, reconstructions=made, pca=pca, table=table)


def _gallery(world, cluster, rng, m=8):
    rows = np.flatnonzero(world.cluster == cluster)
    chosen = {name: rng.permutation(rows)[:m] for name in ("central", "random", "borderline")}
    images = {name: world.images[members] for name, members in chosen.items()}
    return Gallery(cluster=cluster, size=len(rows), share=len(rows) / world.n, **chosen, images=images)


def _cluster_info(world):
    crosstab = pd.crosstab(pd.Series(world.cluster, name="cluster"), world.table["group"])
    tables = {"group": crosstab} if (world.table["group"] != "").any() else {}
    numeric = pd.DataFrame(index=pd.Index(range(3), name="cluster"))
    for name, values in world.labels.items():
        if name == "kind":
            tables[name] = pd.crosstab(
                pd.Series(world.cluster, name="cluster"), pd.Series(values.astype(str), name=name)
            )
        else:
            numeric[name] = [float(np.mean(values[world.cluster == c])) for c in range(3)]
    features = pd.DataFrame({name: np.linspace(0.2, 0.6, 3) for name in FEATURES}, index=numeric.index)
    return {
        "k": 3,
        "silhouette": 0.31,
        "stability": 0.88,
        "verdict": "continuum",
        "text": "The 3 regions are parts of one continuum (silhouette 0.31, not above 19 Gaussian clouds).",
        "tables": tables,
        "numeric": numeric,
        "features": features,
        "distinct": [{"feature": "brightness", "words": "brightness", "between_share": 0.85}],
    }


def _walks(world, z, points, rng):
    walks = []
    axes = [("PC1", "pca"), ("PC2", "pca"), ("t-SNE 1", "tsne"), ("t-SNE 2", "tsne"), ("z0", "latent")]
    for name, axis_kind in axes + [(label, "label") for label in ("stain",) if label in world.labels]:
        follows_stain = name in ("PC1", "stain", "z0", "t-SNE 1")
        order = np.argsort(world.stain if follows_stain else world.width)
        start, end = int(order[0]), int(order[-1])
        t = np.arange(points + 2) / (points + 1)
        stain = world.stain[start] + t * (world.stain[end] - world.stain[start])
        width = world.width[start] + t * (world.width[end] - world.width[start])
        decoded = world.draw(stain, width)
        features = pd.DataFrame({f: np.full(points + 2, 0.3) + rng.normal(0, 0.005, points + 2) for f in FEATURES})
        features["brightness"] = decoded.mean(axis=(1, 2, 3))
        change = float(features["brightness"].iloc[-1] - features["brightness"].iloc[0])
        spread = float(world.images.mean(axis=(1, 2, 3)).std())
        named = {
            "feature": "brightness",
            "words": "brightness",
            "change": change,
            "spread": spread,
            "ratio": abs(change) / spread,
            "monotone": 0.99,
            "direction": "rises",
            "text": f"brightness rises by {abs(change) / spread:.1f} standard deviations",
        }
        walks.append(
            Walk(
                name=name,
                axis_kind=axis_kind,
                start_row=start,
                end_row=end,
                start_image=world.table["image"][start],
                end_image=world.table["image"][end],
                t=t[1:-1],
                z=(z[start] + t[:, None] * (z[end] - z[start])).astype(np.float32),
                frames=decoded[1:-1],
                end_originals=world.images[[start, end]],
                end_reconstructions=decoded[[0, -1]],
                kind="straight",
                note=TSNE_NOTE if axis_kind == "tsne" else "",
                features=features,
                changes=[named] if abs(change) >= spread else [],
                nearest_distance=1.4 * np.sin(np.pi * t),
            )
        )
    return walks


def _traversals(world, rate, most=8):
    values = np.linspace(-2.5, 2.5, 7)
    frames = {
        True: world.draw(0.6 + 0.1 * values, np.full(7, 0.3)),
        False: world.draw(np.full(7, 0.6), 0.3 + 0.04 * values),
    }
    order = np.argsort(-rate, kind="stable")[:most]
    return [
        Traversal(dim=int(d), rate_nats=float(rate[d]), values=values, frames=frames[i % 2 == 0])
        for i, d in enumerate(order)
    ]


def _samples(world, d, rng, n=12):
    nearest = rng.choice(np.flatnonzero(world.table["split"] == "train"), n)
    trials = pd.DataFrame({"n_components": [1, 2, 4, 8], "heldout_loglik": [-9.5, -9.1, -8.9, -9.3]})
    return Samples(
        z=rng.standard_normal((n, d)).astype(np.float32),
        frames=world.draw(world.stain[nearest], world.width[nearest] * 0.95),
        nearest_rows=nearest,
        nearest_images=world.images[nearest],
        nearest_distance=rng.uniform(0.5, 1.5, n),
        density={"kind": "Gaussian mixture", "n_components": 4, "trials": trials, "heldout_loglik": -8.9},
        prior_frames=np.clip(world.images[nearest][:, :, ::-1] * rng.uniform(0.3, 1.6), 0, 1).astype(np.float32),
        mismatch={"kl_nats": 0.3 * d, "auc": 0.81},
        priors=_priors(d),
        strips=dict.fromkeys(("own", "gaussian", "mixture"), world.images[nearest][:4]),
    )


def _priors(d):
    words = ["the standard normal N(0, I)", "a Gaussian", "Gaussian mixture of 4 components"]
    table = pd.DataFrame(
        {"name": ["standard", "gaussian", "mixture"], "words": words, "when": ["with", "after", "after"]}
    )
    return table.assign(
        validation_rate_nats=[6.0 + d, 4.0 + d, 3.5 + d],
        rate_nats=[6.0 + d, 4.0 + d, 3.5 + d],
        auc=[0.96, 0.72, 0.57],
        n=40,
    )


def _projections(world, z, psnr, rng):
    table = world.table.copy()
    table["pc1"], table["pc2"] = z[:, 0], z[:, 1]
    table["tsne1"], table["tsne2"] = 10 * z[:, 0] + rng.normal(0, 2, world.n), 10 * z[:, 1] + rng.normal(0, 2, world.n)
    for name, values in world.labels.items():
        table[name] = values
    table["psnr_db"], table["rate_nats"] = psnr, rng.gamma(4, 3, world.n)
    return table


def _probes(world):
    rows = []
    for name in world.labels:
        metric = "balanced accuracy" if name == "kind" else "R2"
        kind = "categories" if name == "kind" else "quantity"
        rows.append(
            (
                name,
                kind,
                0.93,
                0.71 if name == "stain" else 0.2,
                0.9,
                world.n,
                metric,
                True,
                0.5 if name == "kind" else 0.0,
                "group",
                "image",
            )
        )
    columns = ["label", "kind", "score_latents", "score_histogram", "score_pca", "n", "metric", "grouped", "null"]
    return pd.DataFrame(rows, columns=[*columns, "by", "unit"])


def _neighbours(world, z, q=6, k=5):
    query = np.linspace(0, world.n - 1, q).astype(np.int64)
    distance = np.linalg.norm(z[query][:, None] - z[None], axis=2)
    rows = np.argsort(distance, axis=1)[:, 1 : k + 1]
    return {
        "query_rows": query,
        "query_images": world.images[query],
        "neighbour_rows": rows,
        "neighbour_images": world.images[rows],
        "distances": np.take_along_axis(distance, rows, axis=1),
    }


def _comparison(models, rng):
    rows = []
    for m in models:
        test = m.metrics.loc["test"]
        rows.append(
            {
                "name": m.name,
                "latent_dim": m.latent_dim,
                "n_parameters": m.n_parameters,
                **{f"test_{c}": float(test[c]) for c in m.metrics.columns},
                "train_psnr_db": float(m.metrics.loc["train", "psnr_db"]),
                "active_dims": int(m.is_active.sum()),
                "forecast_active_dims": m.forecast_active_dims,
                "effective_beta": m.effective_beta,
                "k": m.cluster_info["k"],
                "silhouette": m.cluster_info["silhouette"],
                "stability": m.cluster_info["stability"],
                "trustworthiness": m.projection_info["trustworthiness"],
                "mismatch_kl_nats": m.samples.mismatch["kl_nats"],
                "mismatch_auc": m.samples.mismatch["auc"],
            }
        )
    names = [m.name for m in models]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    overlap = pd.DataFrame(np.full((len(names), len(names)), 0.42), index=names, columns=names)
    for name in names:
        overlap.loc[name, name] = 1.0
    similar = [(a, b, 0.7 + 0.1 * rng.uniform(), 0.6 + 0.1 * rng.uniform()) for a, b in pairs]
    return Comparison(
        table=pd.DataFrame(rows),
        cluster_matches=[{"a": a, "b": b, "ari": 0.55, "share": 0.8, "mapping": {0: 1, 1: 0, 2: 2}} for a, b in pairs],
        neighbour_overlap=overlap,
        map_similarity=pd.DataFrame(similar, columns=["a", "b", "tsne_procrustes", "distance_correlation"]),
    )


def _summary(world, is_tiled):
    pixels = world.images * 255
    names = sorted(set(world.table["group"]))
    groups = []
    for name in names:
        rows = np.flatnonzero(world.table["group"] == name)
        split = world.table["split"].iloc[rows]
        counts = {part: int((split == part).sum()) for part in PARTS}
        values = pixels[rows]
        groups.append(
            {
                "group": name or "all",
                "images": len(rows),
                "pixels": int(values.size),
                "mean": float(values.mean()),
                "std": float(values.std()),
                **counts,
            }
        )
    edges = np.linspace(0, 256, 33)
    histograms = {
        name or "all": np.histogram(pixels[(world.table["group"] == name).to_numpy()], edges)[0].astype(float)
        for name in names
    }
    overall = {
        "min": float(pixels.min()),
        "max": float(pixels.max()),
        "mean": float(pixels.mean()),
        "std": float(pixels.std()),
        "count": int(pixels.size),
        "images": world.n,
    }
    size = float(world.size)
    return DataSummary(
        name="example.npz",
        n_images=world.n,
        n_rejected=1,
        channels=world.channels,
        dtype="uint8",
        sizes=pd.DataFrame(
            {"quantity": ["height", "width"], "min": [size, size], "median": [size, size], "max": [size, size]}
        ),
        groups=pd.DataFrame(groups),
        split_counts={part: int((world.table["split"] == part).sum()) for part in PARTS},
        split_reason="by group: B20 is held out" if names != [""] else "by image: there are no groups",
        warnings=["label column 'patient' looks like patients and is not used as group"],
        statistics={**overall, "training": overall},
        contact_sheet=world.images[:24],
        contact_ids=world.table["image"].tolist()[:24],
        tile_examples=world.images[: 12 if is_tiled else 0],
        scaling="minmax: 0..255 of the training pixels becomes 0..1",
        histogram_edges=edges,
        histograms={name: counts / counts.sum() for name, counts in histograms.items()},
        side_px=world.size,
        is_tiled=is_tiled,
        sampler="by_pixel" if is_tiled else "whole",
        labels=list(world.labels),
        notes=["suggested hold-out: B20"],
        image_table=world.table[["image", "group"]].assign(height=world.size, width=world.size),
        extremes=pd.DataFrame(
            [(name or "all", kind, f"{name}/{kind}", world.size, world.size) for name in names for kind in EXTREMES],
            columns=["group", "kind", "image", "height", "width"],
        ),
        extreme_images=[world.images[i] for i in range(2 * len(names))],
    )
