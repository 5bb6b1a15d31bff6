"""A collection of images: a table that says what they are, and a source for the pixels of each.

The table is small and in memory; pixels stay on disk. Collections are never changed: `select`, `packed`, `resized`
and `join_labels` return new ones. What could not be read is in `rejected`, with the reason.
"""

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zatlas.config import SplitConfig
from zatlas.errors import DataError
from zatlas.files import sha256
from zatlas.images.labels import OWN_COLUMNS, groups_from, match_labels, read_labels, with_free_names
from zatlas.images.packing import Packed, pack
from zatlas.images.resizing import row_blocks
from zatlas.images.source import ArraySource, ImageSource, printable
from zatlas.images.splits import split_collection

__all__ = ["Collection", "check_rejected", "join_labels"]

log = logging.getLogger(__name__)


def _nothing_rejected() -> pd.DataFrame:
    return pd.DataFrame({"file": pd.Series(dtype=str), "reason": pd.Series(dtype=str)})


@dataclass(frozen=True, repr=False)
class Collection:
    """Images, what is known about them, and where their pixels are.

    Attributes:
        table: One row per image, index 0, 1, 2, ...; columns image (unique name), group ("" when there is none),
            height [px], width [px], channels, dtype, then the labels.
        sources: One per row.
        path: The file or folder opened.
        format: "npz", "npy", "hdf5", "folder" or "image".
        why: How the input was understood.
        rejected: Columns file and reason, one row per image that was set aside.
        positions: Place of each image in the input, counted before damaged ones were set aside.
        files: Every file that pixels come from.
        max_rejected: Share of damaged images above which opening or packing fails.
    """

    table: pd.DataFrame
    sources: tuple[ImageSource, ...]
    path: Path
    format: str = "arrays"
    why: str = ""
    rejected: pd.DataFrame = field(default_factory=_nothing_rejected)
    positions: tuple[int, ...] = ()
    files: tuple[Path, ...] = ()
    max_rejected: float = 0.01

    def __post_init__(self) -> None:
        if not self.positions:
            object.__setattr__(self, "positions", tuple(range(len(self.sources))))

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, row: int) -> ImageSource:
        return self.sources[row]

    def __repr__(self) -> str:
        if not self.sources:
            return f"Collection of no images from {printable(self.path.name)}"
        heights, widths = self.table["height"], self.table["width"]
        size = f"{heights.iloc[0]} x {widths.iloc[0]} px"
        if not self.is_uniform:
            size = f"{heights.min()} x {widths.min()} to {heights.max()} x {widths.max()} px"
        channels = sorted(set(self.table["channels"]))
        lines = [
            f"Collection of {len(self)} image{'s' if len(self) != 1 else ''} "
            f"from {printable(self.path.name)} ({self.format})",
            f"  size: {size}, {' or '.join(map(str, channels))} channel{'s' if channels != [1] else ''}, "
            f"{' or '.join(sorted(set(self.table['dtype'])))}",
        ]
        if self.groups:
            counts = self.table["group"].value_counts().sort_index()
            shown = ", ".join(f"{name} {n}" for name, n in counts.head(12).items())
            lines.append(f"  {len(counts)} groups: {shown}{', ...' if len(counts) > 12 else ''}")
        if self.labels:
            lines.append(f"  labels: {', '.join(self.labels)}")
        if len(self.rejected):
            lines.append(f"  rejected: {len(self.rejected)}")
        return "\n".join(lines)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the label columns."""
        return tuple(name for name in self.table.columns if name not in OWN_COLUMNS)

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups, sorted; () when there are none."""
        return tuple(sorted(set(self.table["group"]) - {""}))

    @property
    def channels(self) -> int:
        """Channels of every image.

        Raises:
            DataError: they differ.
        """
        return int(self._only("channels"))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Number type of every image.

        Raises:
            DataError: they differ.
        """
        return np.dtype(str(self._only("dtype")))

    def _only(self, column: str) -> Any:
        values = self.table[column].unique()
        if len(values) != 1:
            raise DataError(f"the images have different {column}: {', '.join(map(str, values))}")
        return values[0]

    @property
    def is_mapped(self) -> bool:
        """Whether every image can be read without decoding."""
        return all(isinstance(source, ArraySource) for source in self.sources)

    @property
    def is_uniform(self) -> bool:
        """Whether all images have the same height and width."""
        return len(self.table[["height", "width"]].drop_duplicates()) <= 1

    def select(self, rows: npt.ArrayLike) -> "Collection":
        """The images of some rows, in that order.

        Args:
            rows: Row numbers, or one true or false per image.
        """
        chosen = np.asarray(rows)
        chosen = np.flatnonzero(chosen) if chosen.dtype == bool else chosen.astype(np.int64)
        return dataclasses.replace(
            self,
            table=self.table.iloc[chosen].reset_index(drop=True),
            sources=tuple(self.sources[row] for row in chosen),
            positions=tuple(self.positions[row] for row in chosen),
        )

    def split(
        self, test_groups: Sequence[str] = (), test_fraction: float = 0.2, seed: int = 0
    ) -> tuple["Collection", "Collection"]:
        """Training and test images: by group names, by a fraction of the groups, or by image without groups.

        Raises:
            UsageError: an unknown group, or none left for training.
        """
        config = SplitConfig(test_group=tuple(test_groups), test_fraction=test_fraction)
        is_test = split_collection(self, config, seed).part == "test"
        return self.select(~is_test), self.select(is_test)

    def fingerprint(self) -> str:
        """A sha256 (hex) that changes with any pixel, size, number type, name, group or label."""
        table = self.table.to_csv(index=False, lineterminator="\n")
        return hashlib.sha256((self._pixel_fingerprint() + table).encode("utf-8", "backslashreplace")).hexdigest()

    def _pixel_fingerprint(self) -> str:
        """A sha256 (hex) of what decides the pixels: input files and the images taken from them."""
        digest = hashlib.sha256(f"zatlas pixels 1\n{printable(self.path.name)}\n".encode())
        for file in self.files:
            status = file.stat()
            digest.update(f"{status.st_size} {_file_hash(file, status.st_size, status.st_mtime_ns)}\n".encode())
        columns = self.table[["image", "height", "width", "channels", "dtype"]]
        digest.update(columns.to_csv(index=False, lineterminator="\n").encode("utf-8", "backslashreplace"))
        digest.update(repr(self.positions).encode())
        if not self.files:
            for source in self.sources:
                for block in row_blocks(source):
                    digest.update(np.ascontiguousarray(block).data)
        return digest.hexdigest()

    def packed(self, folder: str | Path, on_progress: Callable[[int, int], None] | None = None) -> "Collection":
        """The same images, all mapped. Images that cannot be decoded are dropped and listed in `rejected`.

        A collection that is mapped already is returned as it is; another is converted once to
        `folder/pixels.bin` and taken from there the next time. Floating point images are checked for NaN and infinity.

        Args:
            folder: Where the converted pixels go, such as a cache folder beside the study.
            on_progress: Called with images done and images in all.

        Raises:
            DataError: more images are damaged than `max_rejected` allows.
            WriteError: the folder cannot be written or the disk is too full.
        """
        if not self.is_mapped:
            key = self._pixel_fingerprint()
            return self._from_packed(pack(self.sources, Path(folder), key, on_progress=on_progress))
        if all(source.dtype.kind != "f" for source in self.sources):
            return self
        damaged = [row for row, source in enumerate(self.sources) if not _is_finite(source)]
        kept = sorted(set(range(len(self))) - set(damaged))
        rejected = [(row, "holds NaN or infinite pixels") for row in damaged]
        return self._from_packed(Packed([self.sources[row] for row in kept], kept, rejected))

    def resized(
        self, size: int, folder: str | Path, on_progress: Callable[[int, int], None] | None = None
    ) -> "Collection":
        """Every image resized whole to (size, size), mapped; area means when shrinking, number type kept.

        Sides are scaled independently, so that an image that is not square is stretched.

        Args:
            size: New height and width [px].
            folder: Where the resized pixels go.
            on_progress: Called with images done and images in all.

        Raises:
            DataError: more images are damaged than `max_rejected` allows.
            WriteError: the folder cannot be written or the disk is too full.
        """
        if self.is_uniform and len(self) and self.sources[0].shape[1:] == (size, size):
            return self.packed(folder, on_progress)
        n_stretched = int((self.table["height"] != self.table["width"]).sum())
        if n_stretched:
            log.info("resize: %d of %d images are not square and are stretched to %d px", n_stretched, len(self), size)
        key = f"{self._pixel_fingerprint()} resized to {size} by area"
        return self._from_packed(pack(self.sources, Path(folder), key, side_px=size, on_progress=on_progress))

    def _from_packed(self, packed: Packed) -> "Collection":
        names = self.table["image"]
        added = pd.DataFrame([{"file": names[row], "reason": reason} for row, reason in packed.rejected])
        for row, reason in packed.rejected:
            log.warning("rejected: %s %s", names[row], reason)
        rejected = pd.concat([self.rejected, added], ignore_index=True) if len(added) else self.rejected
        check_rejected(rejected, len(packed.kept), self.max_rejected, printable(self.path.name))
        kept = self.select(np.array(packed.kept, dtype=np.int64))
        sizes = pd.DataFrame([source.shape for source in packed.sources], columns=["channels", "height", "width"])
        table = kept.table.assign(height=sizes["height"], width=sizes["width"])
        return dataclasses.replace(kept, table=table, sources=tuple(packed.sources), rejected=rejected)


def _is_finite(source: ImageSource) -> bool:
    return all(bool(np.isfinite(block).all()) for block in row_blocks(source))


@lru_cache(maxsize=200_000)
def _file_hash(path: Path, n_bytes: int, modified_ns: int) -> str:
    """sha256 of a file, computed once while its size and time of change stay the same."""
    return sha256(path)


def check_rejected(rejected: pd.DataFrame, n_kept: int, max_rejected: float, where: str) -> None:
    """Stop when too many images are damaged.

    Raises:
        DataError: the share of rejected images is above `max_rejected`, or no image is left.
    """
    n = len(rejected)
    if n == 0 or (n_kept > 0 and n / (n + n_kept) <= max_rejected):
        return
    if n == 1 and n_kept == 0:
        raise DataError(f"{rejected['file'].iloc[0]} {rejected['reason'].iloc[0]}", hint="open another file")
    first = "; ".join(f"{file} {reason}" for file, reason in rejected.head(5).itertuples(index=False))
    raise DataError(
        f"{n} of {n + n_kept} images cannot be used, more than --max-rejected {max_rejected:g} allows: "
        f"{first}{'; ...' if n > 5 else ''}",
        where=where,
        hint="repair or remove these files, or raise --max-rejected",
    )


def join_labels(collection: Collection, csv_path: Path | str, group_column: str = "") -> Collection:
    """The collection with the columns of a labels table, joined by index, name or path.

    Args:
        collection: Images.
        csv_path: CSV with one row per image; "" joins nothing (to group by a label that the images bring along).
        group_column: Column whose values become the groups; "" keeps the groups.

    Raises:
        DataError: images without a row or with several, or no column that names the images.
        UsageError: there is no column `group_column`.
    """
    table = collection.table
    if csv_path:
        path = Path(csv_path)
        joined = match_labels(read_labels(path), list(table["image"]), collection.positions, printable(path.name))
        joined = with_free_names(joined)
        table = pd.concat([table.drop(columns=[n for n in joined.columns if n in table.columns]), joined], axis=1)
    if group_column:
        labels = [name for name in table.columns if name not in OWN_COLUMNS]
        table = table.assign(group=groups_from(table, labels, group_column))
        log.info("groups: from column %s, %d groups", group_column, table["group"].nunique())
    return dataclasses.replace(collection, table=table)
