"""Everything that the report says about one model, measured: `analyse_model`; and of several: `compare_models`.

Bounded in memory and the same for the same input: of each part, and of the atlas where pixels are needed, at most 2000
tiles are used, evenly spaced in their order (500 for SSIM, which is slow). The PCA beside the model is that of the
study, which has seen what the network is shown; without one it is fitted to at most 3000 training tiles. Nothing of the
test part steers anything here; it is only measured.
"""

import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int

from zatlas.atlas.atlas import Atlas
from zatlas.config import StudyConfig
from zatlas.errors import UsageError
from zatlas.model.network import Network
from zatlas.model.objective import effective_beta
from zatlas.model.priors import Posterior, Prior
from zatlas.model.told import in_told_shards, told_in
from zatlas.results.amortisation import measured_amortisation
from zatlas.results.comparison import compare_models
from zatlas.results.invariance import measured_invariance
from zatlas.results.kinds import ModelResults, Reconstructions
from zatlas.results.maps import info_of_maps, map_columns
from zatlas.results.pictures import View, galleries, neighbours, prior_strips, samples, traversals, walks
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import PixelPca, fit_pixel_pca, most_pca_rows
from zatlas.tiles.samplers import evenly
from zatlas.tiles.transforms import Scaling
from zatlas.training.evaluation import evaluate
from zatlas.training.linear import SettledPca
from zatlas.trust.associations import between_share
from zatlas.trust.dimensions import (
    active_units,
    forecast_active_dims,
    information_per_dim,
)
from zatlas.trust.evaluation import psnr, squared_error, ssim
from zatlas.trust.features import WORDS, feature_spread, image_features
from zatlas.trust.gains import TileErrors, contrast, contrast_floor, gains
from zatlas.trust.probes import Probe, grey_histogram, label_kind, linear_probe, means_by

__all__ = ["PARTS", "analyse_model", "compare_models"]

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")

_MOST_TILES = 2000
_MOST_SSIM = 500
_MOST_LABELS = 24
_MOST_LABEL_WALKS = 8
_LEAST_IMAGES = 40
_BATCH = 64
_METRICS = (
    "distortion_nats", "rate_nats", "elbo_nats", "psnr_db", "psnr_sd", "ssim", "pca_psnr_db", "pca_ssim", "n",
    "gain_db", "gain_low_db", "gain_high_db",
    "content_psnr_db", "content_pca_psnr_db", "content_gain_db", "content_gain_low_db", "content_gain_high_db",
    "pooled_psnr_db", "pooled_pca_psnr_db", "pooled_gain_db", "pooled_gain_low_db", "pooled_gain_high_db",
    "n_empty", "n_exact", "pca_n_exact", "n_groups",
)  # fmt: skip


_COUNTS = ("n", "n_empty", "n_exact", "pca_n_exact", "n_groups")
_PER_TILE = ("error", "pca_error", "psnr", "pca_psnr", "ssim", "pca_ssim", "n_values", "contrast")


def analyse_model(
    network: Network,
    scaling: Scaling,
    atlas: Atlas,
    tiles: Mapping[str, Tiles],
    config: StudyConfig,
    seed: int,
    on_progress: Callable[[int, int], None] | None = None,
    *,
    name: str = "",
    pca: SettledPca | None = None,
) -> ModelResults:
    """Measure a model and choose its pictures.

    Args:
        network: The trained network; its mode (train or eval) is what it was afterwards.
        scaling: The grey scale that it works on; tiles on another one are refused.
        atlas: Its atlas; the usual maps and k-means are made when missing, further maps are taken along.
        tiles: Grid tiles of the parts "train", "validation", "test" (those there are), and "atlas", row by row those
            of the atlas.
        config: The study's configuration, with the options of this model (`StudyConfig.for_model`).
        seed: Of every draw.
        on_progress: Called with (steps done, steps in all).
        name: Of the model; by default that of its latent size, such as z16.
        pca: PCA of the training images as they are shown, from 0 to 1, of as many components as there are latent
            dimensions; by default it is fitted to at most 3000 tiles of "train".

    Returns:
        The results; their `history` is empty, because the training knows it.

    Raises:
        UsageError: tiles are missing, or do not belong to the atlas or to the network's grey scale.
    """
    parts = [part for part in PARTS if part in tiles and len(tiles[part])]
    _check(scaling, atlas, tiles, parts)
    was_training = network.training
    network.eval()
    try:
        with torch.inference_mode():
            return _Analysis(network, atlas, tiles, parts, config, seed, on_progress, pca).run(name)
    finally:
        network.train(was_training)


def _check(scaling: Scaling, atlas: Atlas, tiles: Mapping[str, Tiles], parts: list[str]) -> None:
    missing = [name for name in ("train", "atlas") if name not in tiles or not len(tiles[name])]
    if missing:
        raise UsageError(f"no tiles of {' and '.join(missing)} to analyse the model with", hint="check the split")
    if len(tiles["atlas"]) != len(atlas):
        raise UsageError(
            f"the atlas has {len(atlas)} rows, its tiles are {len(tiles['atlas'])}", hint="embed these tiles again"
        )
    for name in (*parts, "atlas"):
        if tiles[name].scaling != scaling:
            raise UsageError(f"the tiles of {name} are on another grey scale", hint="give them the model's scaling")


@dataclass
class _Seen:
    """What the pixels of a sample of the atlas say."""

    rows: Int[np.ndarray, " m"]
    features: pd.DataFrame
    spread: dict[str, float]
    histogram: Float[np.ndarray, "m b"]
    pca_scores: Float[np.ndarray, "m k"]


class _Analysis:
    """One analysis in progress: the model, its tiles and what several steps share."""

    _STEPS = 12

    def __init__(
        self,
        network: Network,
        atlas: Atlas,
        tiles: Mapping[str, Tiles],
        parts: list[str],
        config: StudyConfig,
        seed: int,
        on_progress: Callable[[int, int], None] | None,
        pca: SettledPca | None = None,
    ) -> None:
        self.settled_pca = pca
        self.network, self.atlas, self.tiles, self.parts = network, atlas, tiles, parts
        self.config, self.seed, self.on_progress = config, seed, on_progress
        self.done = 0
        self.view = View(network, tiles["train"])
        self.training_rows = _training_rows(atlas)
        self.effective_beta = float("nan")
        self.pca_facts: dict[str, Any] = {}
        self.contrast_floor = self._contrast_floor()

    def _step(self) -> None:
        self.done += 1
        if self.on_progress is not None:
            self.on_progress(self.done, self._STEPS)

    def run(self, name: str) -> ModelResults:
        """Measure in an order in which images are read once and no more than one step's arrays are in memory."""
        self._complete_atlas()
        atlas, settings, shape = self.atlas, self.config.atlas, self.network.config
        pca = self._pca()
        metrics = self._metrics(pca)
        reconstructions = self._reconstructions(pca)
        seen = self._look(pca)
        rates = _mean_rates(atlas, self.training_rows, self.network.prior)
        is_active = active_units(atlas.mean[self.training_rows])
        pictured = self.tiles["atlas"]
        made = galleries(self.view, atlas, pictured, self.seed)
        self._step()
        walked = walks(self.view, atlas, pictured, self._axes(rates), settings.points, seen.spread)
        self._step()
        traversed = traversals(self.view, atlas, rates, is_active)
        self._step()
        drawn = samples(self.view, atlas, pictured, self.training_rows, settings.samples, self.seed)
        drawn.priors, drawn.strips = prior_strips(self.view, atlas, self.seed)
        self._step()
        near = neighbours(self.view, atlas, pictured, self.seed)
        probes = self._probes(seen)
        return ModelResults(
            name=name or f"z{shape.latent_dim}",
            latent_dim=shape.latent_dim,
            likelihood=self.network.likelihood.name,
            beta=self.config.model.beta,
            n_parameters=sum(parameter.numel() for parameter in self.network.parameters()),
            history=pd.DataFrame(),
            metrics=metrics,
            rate_per_dim=rates,
            is_active=is_active,
            effective_beta=self.effective_beta,
            forecast_active_dims=self._forecast(pca),
            reconstructions=reconstructions,
            galleries=made,
            cluster_info=_cluster_info(atlas, seen),
            walks=walked,
            traversals=traversed,
            samples=drawn,
            projections=_projections(atlas),
            projection_info=info_of_maps(atlas.maps),
            probes=probes,
            neighbours=near,
            prior=self.network.prior.name,
            n_local=self.network.n_local,
            amortisation=self._amortisation(),
            invariance=measured_invariance(self.view, self.tiles[self.parts[-1]], pca, part=self.parts[-1]),
            pca_facts=self.pca_facts,
        )

    def _complete_atlas(self) -> None:
        """Maps and regions that a study makes before; an atlas given without them gets them here."""
        settings, atlas = self.config.atlas, self.atlas
        if "cluster" not in atlas.table:
            atlas.kmeans(settings.clusters, seed=self.seed)
        atlas.complete_maps(self.seed, settings.perplexity)
        self._step()

    def _pca(self) -> PixelPca:
        """The PCA beside the model, and the facts about it."""
        found = self.settled_pca
        if found is not None:
            pca, facts = found.pca, {name: value for name, value in found._asdict().items() if name != "pca"}
        else:
            pca, facts = self._pca_of_training_tiles()
        self.pca_facts = facts | {"unit": "group" if len(self.atlas.groups) > 1 else "image"}
        self._step()
        return pca

    def _pca_of_training_tiles(self) -> tuple[PixelPca, dict[str, Any]]:
        train = self.tiles["train"]
        rows = evenly(len(train), most_pca_rows(train.channels * train.size**2))
        images = np.empty((len(rows), train.channels, train.size, train.size), np.float32)
        for start in range(0, len(rows), _BATCH):
            part = slice(start, start + _BATCH)
            images[part] = self.view.take(train, rows[part])
        facts = {"n_draws": len(rows), "is_augmented": False, "is_settled": len(rows) == len(train)}
        return fit_pixel_pca(images, self.network.config.latent_dim), facts

    def _forecast(self, pca: PixelPca) -> int:
        shape = self.network.config
        return forecast_active_dims(
            pca.variance,
            shape.latent_dim,
            beta=self.config.model.beta,
            n_values=pca.mean.size,
            noise_variance=self.network.likelihood.noise_around(pca.mean),
            beyond=pca.beyond,
        )

    def _metrics(self, pca: PixelPca) -> pd.DataFrame:
        """Mean numbers of each part; the effective beta is that of the last part, of test when there is one."""
        table = {part: self._metrics_of(self.tiles[part], pca) for part in self.parts}
        for _ in range(len(PARTS) - len(self.parts)):
            self._step()
        metrics = pd.DataFrame.from_dict(table, orient="index", columns=list(_METRICS))
        return metrics.astype(dict.fromkeys(_COUNTS, np.int64)).rename_axis("part")

    def _contrast_floor(self) -> float:
        """Below which contrast a tile is called empty, from a sample of the training tiles."""
        train = self.tiles["train"]
        rows = evenly(len(train), _MOST_SSIM)
        found = [contrast(self.view.take(train, rows[at : at + _BATCH])) for at in range(0, len(rows), _BATCH)]
        return contrast_floor(np.concatenate(found))

    def _units(self, tiles: Tiles) -> np.ndarray:
        """What is independent of the others among some tiles: their groups, or images where no groups are known."""
        return np.asarray(tiles.table()[self.pca_facts["unit"]].to_numpy(dtype=str))

    def _metrics_of(self, tiles: Tiles, pca: PixelPca) -> dict[str, float]:
        subset = tiles.subset(evenly(len(tiles), _MOST_TILES))
        found = evaluate(self.network, subset, seed=self.seed)
        with_ssim = set(evenly(len(subset), _MOST_SSIM).tolist())
        columns: dict[str, list[np.ndarray]] = {name: [] for name in _PER_TILE}
        standardised, done = 0.0, 0
        with contextlib.closing(subset.batches(0, _BATCH)) as batches:
            for batch in batches:
                x, mask = self.view.display(batch.x.numpy()), batch.mask.numpy()
                x_hat, own_beta = self._reconstructed(batch.x, batch.mask, told_in(self.network, subset, batch.rows))
                some = [i for i in range(len(x)) if done + i in with_ssim]
                for prefix, made in (("", x_hat), ("pca_", pca.reconstruct(x))):
                    columns[f"{prefix}error"].append(squared_error(x, made, mask))
                    columns[f"{prefix}psnr"].append(psnr(x, made, mask))
                    columns[f"{prefix}ssim"].append(ssim(x[some], made[some], mask[some]))
                columns["n_values"].append(mask.sum(axis=(1, 2, 3), dtype=np.float64) * x.shape[1])
                columns["contrast"].append(contrast(x, mask))
                standardised += len(x) / own_beta
                done += len(x)
        self.effective_beta = self.config.model.beta * done / standardised
        numbers = {name: np.concatenate(values) for name, values in columns.items()}
        has_content = numbers["contrast"] >= self.contrast_floor
        errors = TileErrors(
            numbers["error"], numbers["pca_error"], numbers["n_values"], has_content, self._units(subset)
        )
        self._step()
        return {
            **{name: float(found[name]) for name in ("distortion_nats", "rate_nats", "elbo_nats")},
            "psnr_db": float(numbers["psnr"].mean()),
            "psnr_sd": float(numbers["psnr"].std()),
            "ssim": float(numbers["ssim"].mean()),
            "pca_psnr_db": float(numbers["pca_psnr"].mean()),
            "pca_ssim": float(numbers["pca_ssim"].mean()),
            "n": done,
            **gains(errors),
        }

    def _reconstructed(
        self, x: torch.Tensor, mask: torch.Tensor, told: torch.Tensor | None
    ) -> tuple[np.ndarray, float]:
        """Reconstructions of a batch as shown, and its effective beta for beta 1."""
        network = self.network
        x, mask = x.to(network.device), mask.to(network.device)
        params = in_told_shards(network, lambda network, x: network.reconstruction(x), x, told)
        own_beta = effective_beta(x, params, mask, likelihood=network.likelihood, beta=1.0)
        x_hat = network.likelihood.mean(params)
        return self.view.display(x_hat.float().cpu().numpy()), own_beta

    def _reconstructions(self, pca: PixelPca) -> Reconstructions:
        """Evenly spaced tiles of the test part: the same ones for every model of a study."""
        tiles = self.tiles[self.parts[-1]]
        rows = evenly(len(tiles), self.config.atlas.examples)
        batch = tiles.batch(0, rows)
        x, mask = self.view.display(batch.x.numpy()), batch.mask.numpy()
        made = self.view.reconstruct(batch.x.numpy(), told_in(self.network, tiles, batch.rows))
        linear = pca.reconstruct(x)
        images = [str(name) for name in tiles.table()["image"].iloc[rows]]
        table = pd.DataFrame(
            {
                "image": images,
                "psnr_db": psnr(x, made, mask),
                "ssim": ssim(x, made, mask),
                "pca_psnr_db": psnr(x, linear, mask),
                "pca_ssim": ssim(x, linear, mask),
            }
        )
        self._step()
        return Reconstructions(rows=rows, images=images, originals=x, reconstructions=made, pca=linear, table=table)

    def _amortisation(self) -> dict[str, Any]:
        part = self.parts[-1]
        return measured_amortisation(self.view, self.tiles[part], beta=self.config.model.beta, part=part)

    def _look(self, pca: PixelPca) -> _Seen:
        """Read the pixels of a sample of the atlas once: features, histograms, PCA scores."""
        tiles = self.tiles["atlas"]
        rows, image_rows = evenly(len(tiles), _MOST_TILES), tiles.table()["image_row"].to_numpy()
        features, reconstructed, histograms, scores = [], [], [], []
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            images, told = self.view.take(tiles, part), told_in(self.network, tiles, image_rows[part])
            features.append(image_features(images))
            reconstructed.append(image_features(self.view.decode(self.atlas.mean[part], told)))
            histograms.append(grey_histogram(images))
            scores.append(pca.transform(images))
        self._step()
        real = pd.concat(features, ignore_index=True)
        spread = feature_spread(real, pd.concat(reconstructed, ignore_index=True))
        return _Seen(rows, real, spread, np.concatenate(histograms), np.concatenate(scores))

    def _axes(self, rates: Float[np.ndarray, " d"]) -> list[str]:
        """The first two axes of each map, the dimension of highest rate, and numeric labels."""
        maps, table = self.atlas.maps.values(), self.atlas.table
        axes = [f"{one.stem.upper()}{i}" for one in maps for i in (1, 2) if i <= one.points.shape[1]]
        axes.append(f"z{int(np.argmax(rates))}")
        named = [name for name in self.atlas.labels if name.removeprefix("label_") not in ("width", "height")]
        numeric = [name for name in named if label_kind(table[name], name) == "quantity"]
        if len(numeric) > _MOST_LABEL_WALKS:
            log.info("paths along the first %d of %d numeric labels", _MOST_LABEL_WALKS, len(numeric))
        return axes + numeric[:_MOST_LABEL_WALKS]

    def _probes(self, seen: _Seen) -> pd.DataFrame:
        """Each label read from latents, from the grey histogram, and from PCA of the same size."""
        table = self.atlas.table.iloc[seen.rows].reset_index(drop=True)
        by_tile = {"latents": self.atlas.mean[seen.rows], "histogram": seen.histogram, "pca": seen.pca_scores}
        first, by_image = _per_image(table, by_tile)
        labels = [name for name in self.atlas.labels if label_kind(self.atlas.table[name], name)][:_MOST_LABELS]
        if len(self.atlas.groups) > 1 and label_kind(table["group"]):
            labels = ["group", *labels]
        rows = []
        for name in labels:
            is_of_image = len(first) < len(table) and len(first) >= _LEAST_IMAGES and _is_of_image(table, name)
            own, sources = (first, by_image) if is_of_image else (table, by_tile)
            groups, by = _fold_groups(own, name)
            scores = {
                source: linear_probe(features, own[name], groups, kind=label_kind(own[name]), seed=self.seed)
                for source, features in sources.items()
            }
            if scores["latents"] is not None:
                has_tiles = len(first) < len(table)
                unit = "image" if is_of_image or not has_tiles else "tile"
                rows.append(_probe_row(name, scores, by) | {"unit": unit})
        self._step()
        columns = ["label", "kind", "score_latents", "score_histogram", "score_pca", "n", "metric", "grouped", "null"]
        return pd.DataFrame(rows, columns=[*columns, "by", "unit"])


def _training_rows(atlas: Atlas) -> Int[np.ndarray, " m"]:
    """Rows of the atlas that belong to the training part; all rows when it is not known, or too few."""
    if "split" in atlas.table:
        rows = np.flatnonzero(atlas.table["split"].astype(str).to_numpy() == "train")
        if len(rows) >= 5:
            return rows
    return np.arange(len(atlas))


def _mean_rates(atlas: Atlas, rows: Int[np.ndarray, " m"], prior: Prior) -> Float[np.ndarray, " d"]:
    """Mean rate of each dimension over some rows [nats]; where the prior has none, against all latents along it."""
    mean, log_var = torch.from_numpy(atlas.mean[rows]).double(), torch.from_numpy(atlas.log_var[rows]).double()
    rates = prior.rate_per_dim(Posterior(mean, log_var))
    if rates is None:
        return information_per_dim(mean.numpy(), log_var.numpy())
    return np.asarray(rates.mean(dim=0).numpy())


def _cluster_info(atlas: Atlas, seen: _Seen) -> dict[str, Any]:
    """What k-means found, and how the clusters differ in groups, labels and image features."""
    info = {key: value for key, value in atlas.info.get("clusters", {}).items() if key != "seed"}
    cluster = pd.Series(atlas.cluster, name="cluster")
    tables, numeric = {}, {}
    for name in [*(["group"] if len(atlas.groups) > 1 else []), *atlas.labels]:
        column = atlas.table[name]
        kind = label_kind(column, name)
        if kind == "categories":
            tables[name] = _crosstab(cluster, column)
        elif kind == "quantity":
            numeric[name] = column.astype(float).groupby(cluster).mean()
    sampled = cluster.to_numpy()[seen.rows]
    shares = {name: between_share(seen.features[name].to_numpy(), sampled) for name in seen.features.columns}
    distinct = [
        {"feature": name, "words": WORDS[name], "between_share": share}
        for name, share in sorted(shares.items(), key=lambda item: -item[1])
    ]
    index = pd.Index(np.unique(cluster), name="cluster")
    return {
        "k": len(index),
        "silhouette": None,
        "stability": None,
        "verdict": "",
        "text": "",
        **info,
        "tables": tables,
        "numeric": pd.DataFrame(numeric, index=index),
        "features": seen.features.groupby(pd.Series(sampled, name="cluster")).mean(),
        "distinct": distinct,
    }


def _crosstab(cluster: "pd.Series[int]", column: "pd.Series[Any]") -> pd.DataFrame:
    """Number of images of each value (columns) in each cluster (rows); missing values count as "missing"."""
    values = column.astype(object).where(column.notna(), "missing").astype(str).rename("value")
    table = pd.crosstab(cluster, values.reset_index(drop=True))
    table.columns = pd.Index([str(name) for name in table.columns], name=str(column.name))
    return table


def _projections(atlas: Atlas) -> pd.DataFrame:
    """The table of maps and labels, one row per atlas row."""
    source = atlas.table
    table = pd.DataFrame({"row": np.arange(len(atlas))})
    for name in ("image", "group", "split"):
        table[name] = source[name].astype(str).to_numpy() if name in source else ""
    table["cluster"] = source["cluster"].to_numpy()
    for name, values in map_columns(atlas.maps.values()).items():
        table[name] = values
    if "y_px" in source and bool((source[["y_px", "x_px"]] != 0).to_numpy().any()):
        table["y_px"], table["x_px"] = source["y_px"].to_numpy(), source["x_px"].to_numpy()
    for name in atlas.labels:
        if name not in table:
            table[name] = _plain_column(source[name])
    for name in ("psnr_db", "rate_nats", "distortion_nats"):
        if name in source:
            table[name] = source[name].to_numpy()
    return table


def _plain_column(column: "pd.Series[Any]") -> Any:
    """A label as JSON can hold it: numbers, booleans and categories as they are, all else as text."""
    if isinstance(column.dtype, pd.CategoricalDtype) or pd.api.types.is_numeric_dtype(column):
        return column.array
    return column.map(lambda value: value if value is None or value != value else str(value)).astype(object).array


def _per_image(
    table: pd.DataFrame, sources: Mapping[str, Float[np.ndarray, "n f"]]
) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """One row per image instead of one per tile: the first row of the table, the mean of the features.

    A label of an image says little about each of its tiles; the image is the unit that was labelled.
    """
    _, first, code = np.unique(table["image"].to_numpy(dtype=str), return_index=True, return_inverse=True)
    return table.iloc[first].reset_index(drop=True), {name: means_by(code, source) for name, source in sources.items()}


def _is_of_image(table: pd.DataFrame, label: str) -> bool:
    """Whether all tiles of an image have the same label."""
    return bool((table.groupby("image", sort=False)[label].nunique(dropna=False) <= 1).all())


def _fold_groups(table: pd.DataFrame, label: str) -> tuple[np.ndarray | None, str]:
    """What must not be parted between folds, and its name: groups, or the images that tiles come from."""
    if label != "group" and table["group"].nunique() >= 3:
        return table["group"].to_numpy(dtype=str), "group"
    if table["image"].duplicated().any():
        return table["image"].to_numpy(dtype=str), "image"
    return None, ""


def _probe_row(label: str, scores: Mapping[str, Probe | None], by: str) -> dict[str, Any]:
    main = scores["latents"]
    assert main is not None
    row = {f"score_{source}": probe.score if probe else float("nan") for source, probe in scores.items()}
    return {
        "label": label,
        "kind": main.kind,
        **row,
        "n": main.n,
        "metric": main.metric,
        "grouped": main.is_grouped,
        "null": main.null,
        "by": by if main.is_grouped else "",
    }
