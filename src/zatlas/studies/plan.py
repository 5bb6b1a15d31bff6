"""`--dry-run`: what a study would do, how large it is, how long it takes and how much memory it needs.

Sizes follow from the headers of the images. Time and memory come from a probe: a few training steps of each model on
random pixels, on this machine as it is now. Nothing is written.
"""

import dataclasses
import math
import resource
import statistics as stats
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from zatlas.compute import one_thread_per_operator
from zatlas.config import ModelSpec, StudyConfig, with_input_paths
from zatlas.images.collection import Collection
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.progress import Talk
from zatlas.studies.checks import check_images, folder_for, needs_pca, new_models
from zatlas.studies.data import (
    DEFAULT_SIZE_PX,
    VALIDATION_TILES,
    n_atlas_tiles,
    open_collection,
    relative_input,
    resolve,
)
from zatlas.tiles.pixel_pca import PcaStream
from zatlas.training.devices import choose
from zatlas.training.linear import expected_draws
from zatlas.training.shards import Shards

__all__ = ["ModelPlan", "Plan", "plan"]

_PROBE_STEPS = 3
_FORWARD_SHARE = 1 / 3  # of a training step, for an image of validation or test
# What comes after training, on one thread: for the study, for each model, for each image of its atlas. Of two models
# and 60 images of 64 px it took 34 s (22 s for figures and report), of one and 500 images 29 s (13 s).
_STUDY_S, _MODEL_S, _IMAGE_S = 6.0, 13.0, 0.024
# An image drawn for the study's PCA costs more than adding it to it, 1.5 to 4.3 times as much on one thread: tiles of
# 128 px with 64 components 0.69 ms, where a probe says 0.19; radiographs of 128 px with 16 components 0.32 and 0.15.
_PCA_PROBE, _PCA_SHARE = 1024, 3.0
_JUDGED = ("validation", "test")  # looked at after each epoch
_ANALYSIS_TILES = 4096
_LIBRARIES_BYTES = 530_000_000  # scikit-learn, matplotlib, pandas, AnnData and ONNX, loaded after training


@dataclass(frozen=True)
class ModelPlan:
    """One model of the plan."""

    name: str
    n_parameters: int
    images_per_s: float
    minutes: float


@dataclass(frozen=True)
class Plan:
    """What a study would do."""

    study: Path
    n_images: int
    n_rejected: int
    parts: dict[str, int]
    split_reason: str
    warnings: tuple[str, ...]
    side_px: int
    sampler: str
    tiles_per_epoch: int
    atlas_tiles: int
    cache_bytes: int
    study_bytes: int
    peak_memory_bytes: int
    models: tuple[ModelPlan, ...]
    pca_minutes: float

    @property
    def minutes(self) -> float:
        """Expected time in all, when no training ends early [min]."""
        analysis_s = _MODEL_S + _IMAGE_S * self.atlas_tiles
        return _STUDY_S / 60 + self.pca_minutes + sum(model.minutes + analysis_s / 60 for model in self.models)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain values."""
        return {**dataclasses.asdict(self), "study": str(self.study), "minutes": round(self.minutes, 1)}

    def text(self) -> str:
        """The plan in lines."""
        parts = ", ".join(f"{n} {part}" for part, n in self.parts.items())
        lines = [
            f"study      {self.study}",
            f"images     {self.n_images} ({parts}); {self.split_reason}",
            *([f"rejected   {self.n_rejected} files"] if self.n_rejected else []),
            *(f"warning    {warning}" for warning in self.warnings),
            f"tiles      {self.side_px} x {self.side_px} px, {self.sampler}, about {self.tiles_per_epoch} per epoch",
            f"atlas      {self.atlas_tiles} {'images' if self.sampler == 'whole' else 'tiles'}",
        ]
        width = max(4, *(len(m.name) for m in self.models))
        lines += [
            f"model {m.name:<{width}} {m.n_parameters:,} parameters, {m.images_per_s:.0f} images/s, "
            f"about {_duration(m.minutes)}"
            for m in self.models
        ]
        lines += [
            *([f"PCA        about {_duration(self.pca_minutes)}"] if self.pca_minutes else []),
            f"disk       {_megabytes(self.study_bytes)} for the study, {_megabytes(self.cache_bytes)} for its cache",
            f"memory     about {_megabytes(self.peak_memory_bytes)} at the peak",
            f"time       about {_duration(self.minutes)} in all on this machine as it is now",
        ]
        return "\n".join(lines)


def plan(config: StudyConfig, folder: Path, talk: Talk, *, force: bool = False, until: str = "") -> Plan:
    """Plan a study that would be written to `folder`; arguments and refusals are those of `studies.run.study`."""
    models = new_models(config, {})
    config = with_input_paths(config, lambda path: relative_input(path, folder))
    collection = open_collection(config, folder)
    config = resolve(config, collection)
    split = check_images(config, collection, models, with_atlas=until != "train")
    folder = folder_for(config, collection, folder, force=force)
    n_tiles = _tiles_per_epoch(config, collection.select(split.rows("train")))
    n_judged = sum(min(_tiles_of(config, collection, split.rows(part)), VALIDATION_TILES) for part in _JUDGED)
    passes = n_tiles + _FORWARD_SHARE * n_judged
    is_fitted = needs_pca(config, models, n_tiles, with_atlas=until != "train")
    pca_minutes = _pca_minutes(config, collection.channels, len(split.rows("train")), talk) if is_fitted else 0.0
    planned = tuple(_probe(config, collection.channels, spec, passes, talk) for spec in config.model_specs)
    parameter_bytes = 4 * sum(m.n_parameters for m in planned)
    side, n_atlas = config.tiles.side_px or DEFAULT_SIZE_PX, n_atlas_tiles(config, collection)
    seen_bytes = 4 * min(n_atlas, _ANALYSIS_TILES) * collection.channels * side**2
    return Plan(
        study=folder, n_images=len(collection), n_rejected=len(collection.rejected),
        parts={part: len(split.rows(part)) for part in ("train", "validation", "test")}, split_reason=split.reason,
        warnings=tuple(split.warnings), side_px=side, sampler=config.tiles.sampler_name, tiles_per_epoch=n_tiles,
        atlas_tiles=n_atlas, cache_bytes=_pixel_bytes(collection),
        study_bytes=8 * parameter_bytes + 40_000_000 * (1 + len(planned)),
        peak_memory_bytes=_peak_bytes() + _LIBRARIES_BYTES + seen_bytes, models=planned, pca_minutes=pca_minutes,
    )  # fmt: skip


def _tiles_per_epoch(config: StudyConfig, training: Collection) -> int:
    """Tiles of an epoch: as set, one per image, or the mean number of tiles of a random-phase grid."""
    if config.tiles.tiles_per_epoch:
        return config.tiles.tiles_per_epoch
    if not config.tiles.tile:
        return len(training)
    tile = config.tiles.tile
    height, width = (training.table[name].to_numpy(np.float64) for name in ("height", "width"))
    return math.ceil(float(((height + tile - 1) * (width + tile - 1)).sum()) / tile**2)


def _tiles_of(config: StudyConfig, collection: Collection, rows: np.ndarray) -> int:
    """How many fixed tiles some images have."""
    atlas = dataclasses.replace(config.atlas, atlas_size=0, stride=config.tiles.side_px)
    return n_atlas_tiles(dataclasses.replace(config, atlas=atlas), collection.select(rows))


def _pixel_bytes(collection: Collection) -> int:
    table = collection.table
    item = table["dtype"].map(lambda name: np.dtype(name).itemsize)
    return int((table["height"] * table["width"] * table["channels"] * item).sum())


def _probe(config: StudyConfig, channels: int, spec: ModelSpec, passes: float, talk: Talk) -> ModelPlan:
    """Time a few steps of one model, of which an epoch has so many that `passes` images go through."""
    talk.say(f"timing a few steps of {spec.name}")
    shape = NetworkConfig.from_model(spec.config, spec.latent_dim, channels=channels, size=config.tiles.side_px)
    network = build(shape, seed=spec.seed)
    batch = config.train.batch_size
    x = torch.rand(batch, channels, shape.size, shape.size, generator=torch.Generator().manual_seed(0))
    devices = choose(config.train, shape)
    with one_thread_per_operator(), Shards(
        network, precision=devices.precision, threads=devices.threads, device=devices.device
    ) as shards:  # fmt: skip
        times = [_step_seconds(shards, x, network.n_noise) for _ in range(_PROBE_STEPS + 1)][1:]
    images_per_s = batch / stats.median(times)
    minutes = config.train.epochs * passes / images_per_s / 60
    return ModelPlan(spec.name, sum(p.numel() for p in network.parameters()), round(images_per_s, 1), minutes)


def _pca_minutes(config: StudyConfig, channels: int, n_images: int, talk: Talk) -> float:
    """Expected time of the study's PCA; the probe fills what it holds, so that the peak of memory counts it."""
    talk.say("timing principal components")
    tiles, size = config.tiles, max(spec.latent_dim for spec in config.model_specs)
    is_varied = tiles.is_augmented or config.train.jitter > 0
    draws = expected_draws(tiles.sampler_name, n_images, size, is_varied=is_varied)
    return _PCA_SHARE * draws * _pca_seconds(channels, tiles.side_px, size) / 60


def _pca_seconds(channels: int, side: int, n_components: int) -> float:
    """Seconds for each image that PCA takes in."""
    batch = 64
    x = torch.rand(batch, channels, side, side, generator=torch.Generator().manual_seed(0)).numpy()
    times = []
    for _ in range(2):  # the first one finds cold libraries and memory
        stream, start = PcaStream(n_components), time.perf_counter()
        with one_thread_per_operator():
            for _ in range(_PCA_PROBE // batch):
                stream.add(x)
            stream.result()
        times.append(time.perf_counter() - start)
    return times[-1] / _PCA_PROBE


def _step_seconds(shards: Shards, x: torch.Tensor, n_noise: int) -> float:
    start = time.perf_counter()
    shards.evaluate(x, torch.ones_like(x[:, :1]), torch.zeros(len(x), n_noise), rate_weight=1.0)
    return time.perf_counter() - start


def _peak_bytes() -> int:
    """Largest memory of this process so far."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _duration(minutes: float) -> str:
    return f"{minutes:.0f} min" if minutes >= 2 else f"{max(10, 10 * round(6 * minutes))} s"


def _megabytes(n: float) -> str:
    return f"{n / 1e9:.1f} GB" if n >= 1e9 else f"{n / 1e6:.0f} MB"
