"""Grey statistics of a collection in one pass over its pixels.

Every number is pooled over all pixels and channels, as if the images were one long list of values: the standard
deviation is not the mean of the images' deviations, which is smaller because it forgets that images differ. Memory
stays small: pixels are read in blocks of rows and dropped.
"""

import hashlib
import math
import sys
import typing
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import numpy.typing as npt
import pandas as pd

from zatlas.errors import DataError
from zatlas.files import SCHEMA_VERSION, read_json, write_json
from zatlas.images.collection import Collection
from zatlas.images.resizing import row_blocks
from zatlas.images.source import ImageSource, Pixels
from zatlas.images.splits import MOST_GROUPS_TO_COMPARE

__all__ = ["Histogram", "Statistics", "Summary", "grey_level_outliers", "pooled", "statistics"]

_MOST_BINS = 1024
_SHOWN_BINS = 256
_IMAGE_COLUMNS = ("image", "group", "min", "max", "mean", "std", "count", "content")
_BINS_OF_MANY_GROUPS = 16  # thousands of patients with 256 bins each would make stats.json 8 MB


class Histogram(TypedDict):
    """Numbers of pixels in bins of equal width; bin k holds values from edges[k] up to, not including, edges[k + 1]."""

    counts: list[int]
    edges: list[float]


class Summary(TypedDict):
    """Statistics of some images, pooled over their pixels and channels, in pixel units; count is of values."""

    min: float
    max: float
    mean: float
    std: float
    count: int
    histogram: Histogram


@dataclass(frozen=True)
class Statistics:
    """Grey statistics of a collection.

    Attributes:
        total: Of all images.
        groups: Of each group; with more than 50 groups, their histograms have at most 16 bins.
        training: Of the training images; None when they were not named.
        images: One row per image: image, group, min, max, mean, std, count, content (a hash of its pixels).
    """

    total: Summary
    groups: dict[str, Summary]
    training: Summary | None
    images: pd.DataFrame

    def save(self, path: Path | str) -> None:
        """Write stats.json; min, max, mean, std and count of all images stand at its top."""
        columns = {str(name): self.images[name].tolist() for name in self.images.columns}
        content = {
            **self.total,
            "groups": self.groups,
            "training": self.training,
            "images": columns,
            "schema_version": SCHEMA_VERSION,
        }
        write_json(Path(path), content)

    @classmethod
    def load(cls, path: Path | str) -> "Statistics":
        """Read stats.json.

        Raises:
            FileAccessError: the file cannot be read.
            DataError: it is not a stats.json of a known version.
        """
        content = read_json(Path(path))
        known = {"groups", "training", "images", *Summary.__annotations__}
        if (
            not isinstance(content, dict)
            or not known <= set(content)
            or content.get("schema_version") != SCHEMA_VERSION
        ):
            raise DataError(f"{Path(path).name} is not a table of statistics of a known version")
        total = typing.cast(Summary, {name: content[name] for name in Summary.__annotations__})
        images = pd.DataFrame(content["images"], columns=list(_IMAGE_COLUMNS))
        return cls(total, content["groups"], content["training"], images)


def statistics(
    collection: Collection,
    training_rows: npt.ArrayLike | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Statistics:
    """Pooled minimum, maximum, mean, standard deviation and histogram: of all images, each group, the training part.

    Whole numbers of up to 16 bits are added up exactly; others in float64 by the update of Chan, Golub and LeVeque.
    The deviation is that of the population (division by the number of values).

    Args:
        collection: The images.
        training_rows: Row numbers of the training images, or one true or false per image.
        on_progress: Called with images done and images in all.

    Raises:
        DataError: an image cannot be decoded, or holds NaN or infinity.

    Source: Chan, Golub & LeVeque 1983, The American Statistician 37(3), eq. 2.1.
    """
    is_training = np.zeros(len(collection), dtype=bool)
    chosen = np.asarray([] if training_rows is None else training_rows)
    is_training[chosen if chosen.dtype == bool else chosen.astype(np.int64)] = True
    total, training = _Pool(), _Pool()
    groups = {name: _Pool() for name in collection.groups}
    columns: dict[str, list[Any]] = {name: [] for name in _IMAGE_COLUMNS}  # of a million images: numbers, no histograms
    names = collection.table[["image", "group"]].astype(str).to_numpy().tolist()
    for row, (source, (image, group)) in enumerate(zip(collection.sources, names, strict=True)):
        pool, content = _pool_of(source, image)
        total.add(pool)
        if group in groups:
            groups[group].add(pool)
        if is_training[row]:
            training.add(pool)
        values = (image, group, pool.lowest, pool.highest, pool.mean, pool.std, pool.count, content)
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
        if on_progress is not None:
            on_progress(row + 1, len(collection))
    if not names:
        raise DataError("there are no images to take statistics of")
    most_bins = _SHOWN_BINS if len(groups) <= MOST_GROUPS_TO_COMPARE else _BINS_OF_MANY_GROUPS
    return Statistics(
        total.summary(),
        {name: pool.summary(most_bins) for name, pool in groups.items()},
        training.summary() if is_training.any() else None,
        pd.DataFrame(columns),
    )


def pooled(collection: Collection, level: int = 0) -> Summary:
    """Statistics of all images alone, at a level of images that have several; see `statistics`.

    Raises:
        DataError: an image cannot be decoded, or holds NaN or infinity.
    """
    pool = _Pool()
    for source, image in zip(collection.sources, collection.table["image"].astype(str), strict=True):
        try:
            for block in row_blocks(source, level):
                pool.add(_Pool.of(block))
        except DataError as err:
            raise DataError(f"{image} {err.what}", hint="replace these pixels, or leave the image out") from err
    return pool.summary()


def _pool_of(source: ImageSource, image: str) -> tuple["_Pool", str]:
    """Statistics of one image, and a hash of its size, number type and pixels."""
    pool = _Pool()
    digest = hashlib.blake2b(f"{source.shape} {source.dtype.str}".encode(), digest_size=16)
    try:
        for block in row_blocks(source):
            pool.add(_Pool.of(block))
            digest.update(np.ascontiguousarray(block).data)
    except DataError as err:
        raise DataError(f"{image} {err.what}", hint="pack the collection first, which sets such images aside") from err
    return pool, digest.hexdigest()


@dataclass
class _Pool:
    """Running count, mean, sum of squared deviations, extremes and histogram.

    The histogram's bins are [k 2^e, (k + 1) 2^e): two neighbours merge exactly into one when the range grows, so that
    one pass is enough although the range is not known before.
    """

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    is_whole: bool = True
    exponent: int = 0
    first_bin: int = 0
    bins: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    @classmethod
    def of(cls, block: Pixels) -> "_Pool":
        """Statistics of a block of pixels."""
        values = block.reshape(-1)
        lowest, highest = values.min(), values.max()
        if block.dtype.kind == "f" and not (np.isfinite(lowest) and np.isfinite(highest)):
            raise DataError("holds NaN or infinite pixels")
        if block.dtype.kind in "ui" and block.dtype.itemsize <= 2:
            return cls._of_small_whole(values, int(lowest), int(highest))
        doubles = values.astype(np.float64)
        mean = float(doubles.mean())
        squares = float(np.square(doubles - mean).sum())
        is_whole = block.dtype.kind in "ui"
        exponent = _exponent(float(lowest), float(highest), is_whole=is_whole)
        index = np.floor(np.ldexp(doubles, -exponent)).astype(np.int64)
        first = int(index.min())
        bins = np.bincount(index - first).astype(np.int64)
        return cls(len(values), mean, squares, float(lowest), float(highest), is_whole, exponent, first, bins)

    @classmethod
    def _of_small_whole(cls, values: Pixels, lowest: int, highest: int) -> "_Pool":
        """From exact counts of each value: the sums are whole numbers, rounded once at the end."""
        counts = np.bincount(values.astype(np.int64) - lowest)
        levels = [int(level) for level in np.flatnonzero(counts)]
        n = len(values)
        first_sum = sum(level * int(counts[level]) for level in levels)
        second_sum = sum(level * level * int(counts[level]) for level in levels)
        squares = (n * second_sum - first_sum * first_sum) / n
        bins = counts.astype(np.int64)
        pool = cls(n, lowest + first_sum / n, squares, float(lowest), float(highest), True, 0, lowest, bins)
        pool._coarsen_to(_exponent(lowest, highest, is_whole=True))
        return pool

    def add(self, other: "_Pool") -> None:
        """Pool with other pixels."""
        if other.count == 0:
            return
        n = self.count + other.count
        gap = other.mean - self.mean
        self.squares += other.squares + gap * gap * (self.count * other.count / n)
        self.mean = other.mean if self.count == 0 else self.mean + gap * (other.count / n)
        if self.count == 0:
            self.is_whole, self.exponent = other.is_whole, other.exponent
        self.is_whole = self.is_whole and other.is_whole
        self.count = n
        self.lowest, self.highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        self._add_bins(other)

    def _add_bins(self, other: "_Pool") -> None:
        needed = _exponent(self.lowest, self.highest, is_whole=self.is_whole)
        exponent = max(needed, self.exponent, other.exponent)
        self._coarsen_to(exponent)
        first_bin, bins = _coarsened(other.first_bin, other.bins, exponent - other.exponent)
        if len(self.bins) == 0:
            self.first_bin, self.bins = first_bin, bins.copy()
            return
        first = min(self.first_bin, first_bin)
        stop = max(self.first_bin + len(self.bins), first_bin + len(bins))
        merged = np.zeros(stop - first, dtype=np.int64)
        merged[self.first_bin - first : self.first_bin - first + len(self.bins)] += self.bins
        merged[first_bin - first : first_bin - first + len(bins)] += bins
        self.first_bin, self.bins = first, merged

    def _coarsen_to(self, exponent: int) -> None:
        self.first_bin, self.bins = _coarsened(self.first_bin, self.bins, exponent - self.exponent)
        self.exponent = exponent

    @property
    def std(self) -> float:
        """Standard deviation of the population."""
        return math.sqrt(max(0.0, self.squares / self.count))

    def summary(self, most_bins: int = _SHOWN_BINS) -> Summary:
        """Statistics with a histogram of at most `most_bins` bins; of all 256 values for 8-bit images."""
        first_bin, bins, exponent = self.first_bin, self.bins, self.exponent
        while len(bins) > most_bins:
            exponent += 1
            first_bin, bins = _coarsened(first_bin, bins, 1)
        if (
            self.is_whole
            and exponent == 0
            and most_bins == _SHOWN_BINS
            and first_bin >= 0
            and first_bin + len(bins) <= _SHOWN_BINS
        ):
            full = np.zeros(_SHOWN_BINS, dtype=np.int64)
            full[first_bin : first_bin + len(bins)] = bins
            first_bin, bins = 0, full
        edges = np.ldexp(np.arange(first_bin, first_bin + len(bins) + 1, dtype=np.float64), exponent)
        histogram = Histogram(counts=bins.tolist(), edges=edges.tolist())
        return Summary(
            min=self.lowest, max=self.highest, mean=self.mean, std=self.std, count=self.count, histogram=histogram
        )


def _coarsened(first_bin: int, bins: npt.NDArray[np.int64], steps: int) -> tuple[int, npt.NDArray[np.int64]]:
    """The same histogram with bins 2^steps times as wide."""
    if steps <= 0 or len(bins) == 0:
        return first_bin, bins
    wide = np.arange(first_bin, first_bin + len(bins)) >> min(steps, 62)
    merged = np.zeros(int(wide[-1] - wide[0]) + 1, dtype=np.int64)
    np.add.at(merged, wide - wide[0], bins)
    return int(wide[0]), merged


def _exponent(lowest: float, highest: float, *, is_whole: bool) -> int:
    """The smallest e for which bins of width 2^e cover the range with at most `_MOST_BINS` bins.

    Not below 0 for whole numbers, nor so small that bin numbers leave 50 bits.
    """
    spread = min(highest - lowest, sys.float_info.max)
    largest = max(abs(lowest), abs(highest))
    exponent = math.ceil(math.log2(spread / (_MOST_BINS - 1))) if spread > 0 else -1074
    if largest > 0:
        exponent = max(exponent, math.frexp(largest)[1] - 50)
    return max(exponent, 0 if is_whole else -1022)


def grey_level_outliers(statistics: Statistics) -> list[str]:
    """Groups whose grey level stands apart: it differs from the other groups' by more than the group's own spread.

    The level of a group is the median of its images' means, its spread the standard deviation of those means; the
    others' level is the median of the other groups' levels. Groups of fewer than 3 images have no spread to speak of,
    and more than 50 groups (patients) are not compared one by one.
    """
    images = statistics.images[statistics.images["group"] != ""]
    means = images.groupby("group")["mean"]
    levels, spreads, counts = means.median(), means.std(ddof=1), means.count()
    if not 2 <= len(levels) <= MOST_GROUPS_TO_COMPARE:
        return []
    others = [float(np.median(np.delete(levels.to_numpy(), k))) for k in range(len(levels))]
    is_apart = (counts >= 3) & ((levels - np.array(others)).abs() > spreads)
    return [str(name) for name in levels.index[is_apart]]
