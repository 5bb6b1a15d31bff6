"""First phase of a study: the images, their split, their statistics and the tiles that every model shares.

The configuration is completed here (`resolve`): what was left automatic becomes a number that study.toml records. The
pixels are packed once into `STUDY/cache`, which may be deleted at any time; everything else that later phases need is
in `STUDY/data`.
"""

import dataclasses
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from zatlas import files
from zatlas.config import StudyConfig
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.readers.opening import open_images
from zatlas.images.splits import Split, split_collection
from zatlas.images.statistics import Statistics, statistics
from zatlas.model.automatic import automatic_widths
from zatlas.progress import Talk
from zatlas.randomness import generator
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling

__all__ = [
    "PCA_TILES",
    "TEST_TILES",
    "VALIDATION_TILES",
    "StudyData",
    "locate",
    "n_atlas_tiles",
    "open_collection",
    "prepare",
    "resolve",
]

log = logging.getLogger(__name__)

DEFAULT_SIZE_PX = 128
VALIDATION_TILES = 1024
TEST_TILES = 2048
PCA_TILES = 3000  # training tiles that the PCA beside the models is fitted to


@dataclass(frozen=True)
class StudyData:
    """The data of a study, ready for training."""

    collection: Collection
    """Images as the model sees them (resized, or whole sections from which tiles are cut), mapped."""
    originals: Collection
    """The same images at their own size, mapped."""
    split: Split
    statistics: Statistics
    scaling: Scaling
    config: StudyConfig
    fingerprint: str

    def rows(self, part: str) -> np.ndarray:
        """Rows of the images of "train", "validation" or "test"."""
        return self.split.rows(part)

    @property
    def side_px(self) -> int:
        """Side of what the model sees [px]."""
        return self.config.tiles.side_px

    def training_tiles(self, seed: int | None = None) -> Tiles:
        """What the models learn from, in the order of a model's seed (default: the study's)."""
        settings = self.config.tiles
        return Tiles(
            self.collection.select(self.rows("train")), size=self.side_px, sampler=settings.sampler_name,
            seed=self.config.seed if seed is None else seed, scaling=self.scaling, augment=settings.is_augmented,
            tiles_per_epoch=settings.tiles_per_epoch,
        )  # fmt: skip

    def fixed_tiles(self, part: str, *, most: int = TEST_TILES) -> Tiles:
        """Fixed grid tiles of one part, at most `most` of them, the same ones each time."""
        return self._grid(self.rows(part), stride=self.side_px, most=most, stream=part)

    def atlas_tiles(self) -> Tiles:
        """The tiles of the atlas: a grid over all images, at most `atlas_size` of them."""
        settings = self.config.atlas
        return self._grid(
            np.arange(len(self.collection)), stride=settings.stride, most=settings.atlas_size, stream="atlas"
        )

    def _grid(self, rows: np.ndarray, *, stride: int, most: int, stream: str) -> Tiles:
        tiles = Tiles(
            self.collection.select(rows), size=self.side_px, sampler="grid", stride=stride or self.side_px,
            seed=self.config.seed, scaling=self.scaling,
        )  # fmt: skip
        if most and len(tiles) > most:
            rng = generator(self.config.seed, f"fixed tiles of {stream}")
            tiles = tiles.subset(np.sort(rng.permutation(len(tiles))[:most]))
        return tiles

    def atlas_table(self, tiles: Tiles) -> pd.DataFrame:
        """The part of the split that each tile of the atlas belongs to."""
        return pd.DataFrame({"split": self.split.part[tiles.table()["image_row"].to_numpy()]})


def locate(path: str, study: Path) -> Path:
    """An input path of study.toml, which is relative to the study, as a path that can be opened."""
    return Path(os.path.normpath(study / path)) if path else Path()


def relative_input(path: str, study: Path) -> str:
    """A path given on the command line as study.toml keeps it: relative to the study."""
    return Path(os.path.relpath(Path(path).resolve(), study.resolve())).as_posix() if path else ""


def open_collection(config: StudyConfig, study: Path) -> Collection:
    """Open the images (and labels) that a configuration names."""
    data = config.data
    if not data.input:
        raise UsageError("no images given", hint="zatlas study IMAGES -o STUDY")
    return open_images(
        locate(data.input, study), key=data.key, labels=str(locate(data.labels, study)) if data.labels else "",
        group=data.group, max_rejected=data.max_rejected, min_size=data.min_size,
    )  # fmt: skip


def resolve(config: StudyConfig, collection: Collection) -> StudyConfig:
    """Complete what was left automatic from the images."""
    tiles = config.tiles
    if tiles.tile == 0 and tiles.size == 0:
        heights, widths = collection.table["height"], collection.table["width"]
        side = int(heights.iloc[0])
        keeps_size = collection.is_uniform and side == int(widths.iloc[0]) and side <= DEFAULT_SIZE_PX
        tiles = dataclasses.replace(tiles, size=side if keeps_size else DEFAULT_SIZE_PX)
    tiles = dataclasses.replace(tiles, sampler=tiles.sampler_name, augment="on" if tiles.is_augmented else "off")
    if tiles.tile and not (collection.table[["height", "width"]].min(axis=1) >= 8).all():
        raise DataError("some images are smaller than 8 px", hint="--min-size 8 leaves such images out")
    atlas = dataclasses.replace(config.atlas, stride=config.atlas.stride or tiles.side_px)
    stages = config.model.widths or automatic_widths(tiles.side_px)
    model = dataclasses.replace(config.model, widths=stages)
    return dataclasses.replace(config, tiles=tiles, model=model, atlas=atlas)


def n_atlas_tiles(config: StudyConfig, collection: Collection) -> int:
    """How many images or tiles the atlas of a completed configuration has."""
    n = len(collection)
    if config.tiles.tile:
        tile, stride = config.tiles.tile, config.atlas.stride
        counts = [np.ceil((collection.table[side] - tile).clip(lower=0) / stride) + 1 for side in ("height", "width")]
        n = int((counts[0] * counts[1]).sum())
    return min(n, config.atlas.atlas_size) if config.atlas.atlas_size else n


def prepare(config: StudyConfig, collection: Collection, study: Path, talk: Talk) -> StudyData:
    """Pack the images, split them, measure the training pixels; results go to STUDY/data."""
    fingerprint = collection.fingerprint()
    originals = collection.packed(study / "cache" / "originals", on_progress=talk.on("packing images"))
    if len(originals.rejected):
        talk.say(f"{len(originals.rejected)} damaged files set aside, see data/rejected.csv")
    split = split_collection(originals, config.split, config.seed)
    images = originals
    if not config.tiles.tile:
        _warn_about_stretching(originals, talk)
        size = config.tiles.size
        images = originals.resized(size, study / "cache" / f"resized-{size}", on_progress=talk.on("resizing images"))
    measured = _statistics(study, originals, split, fingerprint, talk)
    if measured.training is None:
        raise DataError("the training split is empty", hint="lower --test-fraction or hold out fewer groups")
    scaling = Scaling.fit(config.tiles.scaling, measured.training)
    return StudyData(images, originals, split, measured, scaling, config, fingerprint)


def _warn_about_stretching(collection: Collection, talk: Talk) -> None:
    ratio = collection.table["width"] / collection.table["height"]
    if bool(((ratio > 1.05) | (ratio < 0.95)).any()):
        n = int(((ratio > 1.05) | (ratio < 0.95)).sum())
        talk.say(
            f"{n} of {len(collection)} images are not square and are stretched to squares; --tile cuts tiles instead"
        )


def _statistics(study: Path, collection: Collection, split: Split, fingerprint: str, talk: Talk) -> Statistics:
    """Measure the pixels once and write STUDY/data; later calls read it."""
    folder = study / "data"
    record = {
        "fingerprint": fingerprint,
        "n_images": len(collection),
        "split_by": split.by,
        "warnings": [*split.warnings],
    }
    if (folder / "data.json").is_file() and files.read_json(folder / "data.json") == record:
        return Statistics.load(folder / "stats.json")
    training = np.flatnonzero(split.part != "test")
    measured = statistics(collection, training_rows=training, on_progress=talk.on("measuring pixels"))
    with files.new_folder(folder) as temporary:
        measured.save(temporary / "stats.json")
        write_table(temporary / "images.csv", collection.table)
        parts = collection.table[["image", "group"]].assign(part=split.part)
        write_table(temporary / "split.csv", parts)
        write_table(temporary / "rejected.csv", collection.rejected)
        files.write_json(temporary / "data.json", record)
    return measured


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A DataFrame as CSV, whole, formulas made inert, missing values empty."""
    filled = table.astype(object).where(table.notna(), "")
    files.write_csv(path, [str(name) for name in table.columns], filled.itertuples(index=False))
