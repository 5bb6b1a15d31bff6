"""The images of a study in words, tables and thumbnails, as the report and `zatlas inspect` show them."""

from typing import Any

import numpy as np
import pandas as pd

from zatlas.config import StudyConfig
from zatlas.images.collection import Collection
from zatlas.images.inspection import Inspection
from zatlas.images.resizing import area_mean
from zatlas.images.source import ImageSource
from zatlas.images.splits import Split
from zatlas.images.statistics import Statistics
from zatlas.results.kinds import DataSummary
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling

__all__ = ["describe", "scaling_words"]

_THUMBNAIL_PX = 128
_TILE_EXAMPLES = 24
_EXTREME_GROUPS = 7
_EXTREME_PX = 160
_HISTOGRAM_GROUPS = 12
_SUSPICIOUS_SHOWN = 6
_PARTS = ("train", "validation", "test")
_NUMBERS = ("min", "max", "mean", "std", "count")


def describe(
    originals: Collection,
    found: Inspection,
    split: Split | None,
    config: StudyConfig,
    scaling: Scaling,
    training_tiles: Tiles | None = None,
) -> DataSummary:
    """Summarise a collection.

    Args:
        originals: The images at their own size, mapped.
        found: What an inspection of them has found.
        split: Which part each belongs to.
        config: The study's resolved configuration.
        scaling: Grey scale fitted to the training pixels.
        training_tiles: Where example tiles are drawn from; None when the model sees whole images.
    """
    table = originals.table
    grey = _Grey(found.statistics)
    extremes, extreme_images = _extremes(originals, found.extremes, grey)
    edges, histograms = _histograms(found.histograms)
    return DataSummary(
        name=config.title or originals.path.name,
        n_images=len(originals),
        n_rejected=len(originals.rejected),
        channels=originals.channels,
        dtype=str(originals.dtype),
        sizes=_sizes(table),
        groups=_groups(found.groups),
        split_counts={part: len(split.rows(part)) for part in _PARTS} if split else {},
        split_reason=split.reason if split else "not split",
        warnings=list(found.warnings),
        statistics=_numbers(found.statistics),
        contact_sheet=np.stack([_thumbnail(originals[int(row)], grey, _THUMBNAIL_PX) for row in found.contact_sheet]),
        contact_ids=[str(table["image"].iat[row]) for row in found.contact_sheet],
        tile_examples=_tile_examples(training_tiles, originals.channels, grey),
        scaling=scaling_words(scaling),
        histogram_edges=edges,
        histograms=histograms,
        side_px=config.tiles.side_px,
        is_tiled=config.tiles.tile > 0,
        sampler=config.tiles.sampler_name,
        labels=list(originals.labels),
        notes=_notes(originals, found),
        image_table=table[["image", "group", "height", "width"]].copy(),
        extremes=extremes,
        extreme_images=extreme_images,
    )


class _Grey:
    """Pixel units to a display scale on which 0 and 1 are the darkest and brightest training pixel."""

    def __init__(self, measured: Statistics) -> None:
        reference = measured.training or measured.total
        self.low, self.span = reference["min"], max(reference["max"] - reference["min"], 1e-12)

    def __call__(self, pixels: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip((pixels.astype(np.float32) - self.low) / self.span, 0, 1), dtype=np.float32)


def scaling_words(scaling: Scaling) -> str:
    """The grey scale in a sentence."""
    if scaling.kind == "minmax":
        highest = scaling.offset + scaling.factor
        return f"min-max: {scaling.offset:g} to {highest:g}, the range of the training pixels, become 0 to 1"
    greys = f"mean {scaling.offset:.4f} and deviation {scaling.factor:.4f}"
    return f"standardised: {greys} of the training pixels become 0 and 1"


def _thumbnail(source: ImageSource, grey: _Grey, side_px: int, *, is_square: bool = True) -> np.ndarray:
    """The whole image shrunk to fit `side_px`; padded with white to a square when asked for."""
    pixels = grey(source.read())
    _, height, width = pixels.shape
    scale = side_px / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    small = area_mean(pixels, *size)
    if not is_square:
        return small
    square = np.ones((pixels.shape[0], side_px, side_px), dtype=np.float32)
    y, x = (side_px - size[0]) // 2, (side_px - size[1]) // 2
    square[:, y : y + size[0], x : x + size[1]] = small
    return square


def _tile_examples(tiles: Tiles | None, channels: int, grey: _Grey) -> np.ndarray:
    if tiles is None or tiles.sampler == "whole":
        return np.zeros((0, channels, 1, 1), dtype=np.float32)
    n = min(_TILE_EXAMPLES, tiles.epoch_length(0))
    return grey(tiles.scaling.invert(tiles.pixels(0, np.arange(n))))


def _sizes(table: pd.DataFrame) -> pd.DataFrame:
    rows = [(side, table[side].min(), table[side].median(), table[side].max()) for side in ("height", "width")]
    return pd.DataFrame(rows, columns=["quantity", "min", "median", "max"])


def _groups(found: pd.DataFrame) -> pd.DataFrame:
    wanted = [name for name in ("group", "images", "pixels", "mean", "std", *_PARTS) if name in found]
    return found[wanted].copy()


def _extremes(collection: Collection, found: pd.DataFrame, grey: _Grey) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """The largest and the smallest image of each of the largest groups, with thumbnails; none when all are alike."""
    columns = ["group", "kind", "image", "height", "width"]
    if collection.is_uniform:
        return pd.DataFrame(columns=columns), []
    largest = collection.table["group"].replace("", "all").value_counts().index[:_EXTREME_GROUPS]
    chosen = found[found["group"].isin(largest)].rename(columns={"which": "kind"}).reset_index(drop=True)
    images = [_thumbnail(collection[int(row)], grey, _EXTREME_PX, is_square=False) for row in chosen["row"]]
    return chosen[columns], images


def _numbers(measured: Statistics) -> dict[str, Any]:
    def plain(summary: Any) -> dict[str, float]:
        return {name: summary[name] for name in _NUMBERS}

    groups = {name: plain(summary) for name, summary in measured.groups.items()}
    training = plain(measured.training) if measured.training else None
    return {**plain(measured.total), "groups": groups, "training": training}


def _histograms(found: pd.DataFrame) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Shares of pixels per bin, for all images and, when they are few, for each group."""
    edges = np.append(found["from"].to_numpy(), found["to"].iloc[-1])
    names = [name for name in found.columns if name not in ("from", "to")]
    if len(names) - 1 > _HISTOGRAM_GROUPS:
        names = ["all"]
    return edges, {str(name): found[name].to_numpy(np.float32) for name in names}


def _notes(collection: Collection, found: Inspection) -> list[str]:
    notes = [f"Read as {collection.format}: {collection.why}."] if collection.why else []
    if found.holdout:
        notes.append(f"Suggested hold-out: {found.holdout_why}.")
    n = len(found.suspicious)
    if n:
        shown = found.suspicious.head(_SUSPICIOUS_SHOWN)
        words = "; ".join(f"{row.image} ({row.problem}: {row.detail})" for row in shown.itertuples())
        notes.append(f"{n} finding{'s' if n > 1 else ''} worth a look: {words}{'; ...' if n > len(shown) else ''}.")
    return notes
