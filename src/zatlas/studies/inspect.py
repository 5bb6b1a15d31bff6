"""`zatlas inspect`: what is in a collection, in tables and figures, before anything is trained."""

import dataclasses
import logging
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zatlas import files
from zatlas.config import StudyConfig
from zatlas.errors import ZatlasError
from zatlas.images.collection import Collection
from zatlas.images.inspection import Inspection, inspection
from zatlas.images.readers.opening import open_images
from zatlas.images.splits import Split, split_collection
from zatlas.images.statistics import statistics
from zatlas.progress import Talk
from zatlas.report.figures.catalogue import data_recipes
from zatlas.report.figures.writing import write_recipes
from zatlas.results.kinds import DataSummary
from zatlas.results.summary import describe
from zatlas.studies.data import resolve, write_table
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling

__all__ = ["Inspected", "inspect"]

log = logging.getLogger(__name__)

_GROUPS_SHOWN = 20
_MANY_GROUPS = 50


@dataclass(frozen=True)
class Inspected:
    """What was found, and where its figures are."""

    summary: DataSummary
    inspection: Inspection
    folder: Path
    rejected: pd.DataFrame

    @property
    def suggested_flags(self) -> str:
        """Flags of `zatlas study` that fit the images."""
        flags = [f"--test-group {shlex.quote(self.inspection.holdout)}"] if self.inspection.holdout else []
        if not bool((self.summary.sizes["min"] == self.summary.sizes["max"]).all()):
            flags.append("--tile 128 --sampler by_pixel")
        return " ".join(flags)

    def as_dict(self) -> dict[str, Any]:
        """The findings as plain values."""
        found = self.inspection
        return {
            "images": self.summary.n_images,
            "rejected": self.rejected.to_dict("records"),
            "channels": self.summary.channels,
            "dtype": self.summary.dtype,
            "statistics": self.summary.statistics,
            "groups": found.groups.to_dict("records"),
            "sizes": found.sizes.to_dict("records"),
            "suspicious": found.suspicious.to_dict("records"),
            "holdout": {"group": found.holdout, "why": found.holdout_why},
            "grey_outliers": list(found.grey_outliers),
            "warnings": list(found.warnings),
            "folder": str(self.folder),
        }

    def text(self) -> str:
        """The findings in lines and tables."""
        summary, found, numbers = self.summary, self.inspection, self.summary.statistics
        sizes = summary.sizes.set_index("quantity").astype(float).to_dict("index")
        heads = [f"{name} {_range(side['min'], side['max'])} px" for name, side in sizes.items()]
        lines = [
            f"{summary.n_images} images, {', '.join(heads)}, "
            f"{summary.channels} channel{'s' if summary.channels > 1 else ''}, {summary.dtype}",
            f"grey: min {numbers['min']:g}, max {numbers['max']:g}, mean {numbers['mean']:.4f}, "
            f"std {numbers['std']:.4f}, pooled over {numbers['count']:,} values",
            "",
            _shown(found.groups, _GROUPS_SHOWN) if len(found.groups) <= _MANY_GROUPS else _many_groups(found.groups),
        ]
        if len(self.rejected):
            lines += ["", f"{len(self.rejected)} rejected:", _shown(self.rejected, 10)]
        if len(found.suspicious):
            table = found.suspicious.drop(columns=["row"])
            lines += ["", f"{len(found.suspicious)} worth a look:", _shown(table, 10)]
        lines += ["", f"suggested hold-out: {found.holdout_why}"] if found.holdout_why else []
        lines += [f"warning: {warning}" for warning in found.warnings]
        return "\n".join([*lines, "", f"figures, tables and stats.json are in {self.folder}"])


def _range(low: float, high: float) -> str:
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _many_groups(groups: pd.DataFrame) -> str:
    """Groups too many to be listed: how large they are, how far their grey levels spread."""
    images, mean = groups["images"].astype(float), groups["mean"]
    return (
        f"{len(groups)} groups of {_range(images.min(), images.max())} images (median {images.median():g}), "
        f"mean grey {mean.min():.4g} to {mean.max():.4g}; all of them are in groups.csv"
    )


def _shown(table: pd.DataFrame, most: int) -> str:
    text = table.head(most).to_string(index=False, float_format=lambda value: f"{value:.4g}")
    more = len(table) - most
    return text + (f"\n... and {more} more" if more > 0 else "")


def inspect(config: StudyConfig, out: Path | None = None, talk: Talk | None = None) -> Inspected:
    """Look at a collection and write what was found.

    Args:
        config: Which images, and which split when the training part is to be measured by itself.
        out: Folder for figures, tables and stats.json; by default named after the data.
        talk: Where progress goes.

    Raises:
        DataError: the images cannot be read.
        WriteError: the folder cannot be written.
    """
    talk = talk or Talk()
    data = config.data
    collection = open_images(
        data.input, key=data.key, labels=data.labels, group=data.group, max_rejected=data.max_rejected,
        min_size=data.min_size,
    )  # fmt: skip
    folder = files.make_folder(out or Path(f"{Path(data.input).stem}-inspection"))
    with tempfile.TemporaryDirectory(prefix="zatlas-") as cache:
        images = collection.packed(Path(cache), on_progress=talk.on("reading images"))
        return _inspect(config, images, folder, talk)


def _inspect(config: StudyConfig, images: Collection, folder: Path, talk: Talk) -> Inspected:
    config = resolve(config, images)
    split = _split(config, images, talk)
    rows = np.flatnonzero(split.part != "test") if split else None
    grey = statistics(images, training_rows=rows, on_progress=talk.on("measuring pixels"))
    found = inspection(images, grey=grey, split=split, seed=config.seed)
    scaling = Scaling.fit(config.tiles.scaling, grey.training or grey.total)
    # The tiles drawn at random; images that are all alike and small are seen whole.
    tile = config.tiles.tile or (
        0 if images.is_uniform else min(128, int(images.table[["height", "width"]].min().min()))
    )
    config = dataclasses.replace(config, tiles=dataclasses.replace(config.tiles, tile=tile, sampler="", size=0))
    tiles = Tiles(images, size=tile, sampler="by_pixel", seed=config.seed, scaling=scaling) if tile else None
    summary = describe(images, found, split, config, scaling, tiles)
    grey.save(folder / "stats.json")
    for name, table in (
        ("images", images.table), ("groups", found.groups), ("sizes", found.sizes), ("suspicious", found.suspicious),
        ("rejected", images.rejected), ("holdout", found.holdout_table),
    ):  # fmt: skip
        write_table(folder / f"{name}.csv", table)
    write_recipes(data_recipes(summary), folder / "figures", talk.on("drawing figures"))
    return Inspected(summary, found, folder, images.rejected)


def _split(config: StudyConfig, images: Collection, talk: Talk) -> Split | None:
    """The split that a study would make, or None, said aloud, when the images are too few for one."""
    try:
        return split_collection(images, config.split, config.seed)
    except ZatlasError as err:
        if config.split.test_group:
            raise
        talk.say(f"not split into training and test: {err.what}")
        return None
