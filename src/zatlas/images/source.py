"""One image as it lies on disk: its shape and number type are known, its pixels are read when asked for.

An image is always (c, h, w) in native byte order. `ArraySource` looks at pixels that are mapped or in memory;
`DecodedSource` decodes them at each read. `Scan` is what a reader finds in a file or folder before it becomes a
`Collection`. Nothing here opens a file by itself.
"""

import math
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from zatlas.errors import DataError, FileAccessError

__all__ = [
    "MAX_IMAGE_BYTES",
    "ArraySource",
    "DamagedImage",
    "DecodedSource",
    "Found",
    "ImageSource",
    "Scan",
    "check_declared_size",
    "is_readable_dtype",
    "map_array",
    "map_file",
    "printable",
    "size_text",
]

MAX_IMAGE_BYTES = 2 * 1024**3
"""Largest image that is decoded whole [bytes]: 2 GiB, over twenty times the largest test section."""

Pixels = np.ndarray[Any, np.dtype[Any]]


class DamagedImage(DataError):
    """One image cannot be read; the reason is meant for the table of rejected files."""


class ImageSource:
    """One image of a collection. A source of another kind derives from this class and writes `read`.

    Attributes:
        shape: Channels, height, width of level 0.
        dtype: Number type of the pixels, native byte order.
        levels: How many times smaller than level 0 the image is at each level, ascending; the first is 1.
        pixel_size_um: Side of a pixel of level 0 [um]; None when it is not known.
        channel_names: One per channel; () when they are not known.
        reads_windows: Whether a window costs no more than its own pixels, as of a mapped file. False where the whole
            image is decoded first: tiles are cut from such an image once it has been packed.
    """

    __slots__ = ()

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    levels: tuple[float, ...] = (1,)
    pixel_size_um: float | None = None
    channel_names: tuple[str, ...] = ()
    reads_windows: bool = False

    def read(
        self, y: int = 0, x: int = 0, height: int | None = None, width: int | None = None, level: int = 0
    ) -> Pixels:
        """Pixels of a window (c, height, width) that lies inside the image; all of it by default.

        Args:
            y: First row, in pixels of that level.
            x: First column, in pixels of that level.
            height: Rows; None reads to the end.
            width: Columns; None reads to the end.
            level: Position in `levels`.

        Raises:
            DamagedImage: the pixels cannot be read.
            ValueError: the window leaves the image, or there is no such level (`checked_window` raises it).
        """
        raise NotImplementedError

    def shape_at(self, level: int) -> tuple[int, int, int]:
        """Channels, height, width of a level: sides are rounded up, unless a source knows better.

        Raises:
            ValueError: there is no such level.
        """
        if not 0 <= level < len(self.levels):
            raise ValueError(f"there is no level {level}, only {len(self.levels)}")
        (c, h, w), factor = self.shape, self.levels[level]
        return c, math.ceil(h / factor), math.ceil(w / factor)

    def checked_window(self, y: int, x: int, height: int | None, width: int | None, level: int = 0) -> tuple[int, int]:
        """Height and width of a window as `read` is asked for it.

        Raises:
            ValueError: it leaves the image, or there is no such level.
        """
        _, h, w = self.shape_at(level)
        height = h - y if height is None else height
        width = w - x if width is None else width
        if y < 0 or x < 0 or height < 1 or width < 1 or y + height > h or x + width > w:
            raise ValueError(f"window {height} x {width} at ({y}, {x}) leaves the image of {h} x {w} px")
        return height, width


class ArraySource(ImageSource):
    """An image whose pixels can be addressed: a view of a mapped file or of an array in memory.

    Args:
        array: Shape (c, h, w); read-only when it is a view of a mapped file.
        pixel_size_um: Side of a pixel [um]; None when it is not known.
        channel_names: One per channel; () when they are not known.
    """

    __slots__ = ("array", "channel_names", "pixel_size_um")
    reads_windows = True

    def __init__(
        self, array: Pixels, *, pixel_size_um: float | None = None, channel_names: tuple[str, ...] = ()
    ) -> None:
        self.array, self.pixel_size_um, self.channel_names = array, pixel_size_um, channel_names

    @property
    def shape(self) -> tuple[int, int, int]:  # type: ignore[override]  # not kept twice: there may be a million images
        """Channels, height, width."""
        c, h, w = self.array.shape
        return c, h, w

    @property
    def dtype(self) -> np.dtype[Any]:  # type: ignore[override]
        """Number type of the pixels."""
        return self.array.dtype

    def read(
        self, y: int = 0, x: int = 0, height: int | None = None, width: int | None = None, level: int = 0
    ) -> Pixels:
        """Pixels of a window (c, height, width), a view."""
        height, width = self.checked_window(y, x, height, width, level)
        return self.array[:, y : y + height, x : x + width]


class DecodedSource(ImageSource):
    """An image that is decoded at each read (PNG, compressed HDF5), with its promises checked.

    Args:
        shape: Channels, height, width, as the file's header declares them.
        dtype: Number type after decoding.
        decode: Returns the pixels (c, h, w).
        pixel_size_um: Side of a pixel [um]; None when it is not known.
        channel_names: One per channel; () when they are not known.
    """

    __slots__ = ("_decode", "channel_names", "dtype", "pixel_size_um", "shape")

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        decode: Callable[[], Pixels],
        *,
        pixel_size_um: float | None = None,
        channel_names: tuple[str, ...] = (),
    ) -> None:
        self.shape, self.dtype, self._decode = shape, dtype, decode
        self.pixel_size_um, self.channel_names = pixel_size_um, channel_names

    def read(
        self, y: int = 0, x: int = 0, height: int | None = None, width: int | None = None, level: int = 0
    ) -> Pixels:
        """Pixels of a window (c, height, width).

        Raises:
            DamagedImage: the image cannot be decoded, is not what its header declared, or holds NaN or infinity.
        """
        height, width = self.checked_window(y, x, height, width, level)
        pixels = self._decode()
        if pixels.shape != self.shape or pixels.dtype != self.dtype:
            found = f"{pixels.shape} {pixels.dtype}"
            raise DamagedImage(f"decodes to {found}, but was listed as {self.shape} {self.dtype}: it has changed since")
        window = pixels[:, y : y + height, x : x + width]
        if window.dtype.kind == "f" and not np.isfinite(window).all():
            raise DamagedImage("holds NaN or infinite pixels")
        return window


@dataclass
class Found:
    """An image that a reader found.

    Attributes:
        name: What it is called in tables, unique in its collection: "B01/0003", "00017".
        position: Its place in the input, counted before damaged images are set aside.
        group: Brain, patient or folder it belongs to; "" when there is none.
        labels: What the file itself says about the image.
    """

    name: str
    position: int
    source: ImageSource
    group: str = ""
    labels: dict[str, Any] = field(default_factory=dict)


@dataclass
class Scan:
    """What a reader found in a file or folder.

    Attributes:
        rejected: File or image, and the reason.
        files: Every file that the pixels come from.
        why: Why this reader, and how it understood the file.
        note: What is done to the stored values, in words; "" when nothing.
    """

    format: str
    why: str
    images: list[Found] = field(default_factory=list)
    rejected: list[tuple[str, str]] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    note: str = ""


def is_readable_dtype(dtype: np.dtype[Any]) -> bool:
    """Whether pixels can be of this type: whole numbers, floating point up to 64 bit, or true and false."""
    return dtype.kind in "uib" or (dtype.kind == "f" and dtype.itemsize <= 8)


def check_declared_size(shape: Sequence[int], itemsize: int) -> None:
    """Refuse what a header declares to be empty or too large, before any memory is asked for.

    Raises:
        DamagedImage: a side is zero, or the image is larger than `MAX_IMAGE_BYTES`.
    """
    n_bytes = itemsize
    for side in shape:
        n_bytes *= int(side)
    if n_bytes <= 0:
        raise DamagedImage(f"has no pixels: its header declares {' x '.join(map(str, shape))}")
    if n_bytes > MAX_IMAGE_BYTES:
        declared = " x ".join(map(str, shape))
        raise DamagedImage(
            f"declares {declared} values, {size_text(n_bytes)}, "
            f"more than the limit of {size_text(MAX_IMAGE_BYTES)} per image: cut it into parts"
        )


def map_file(path: Path) -> mmap.mmap:
    """Map a whole file for reading; pages are loaded when they are touched.

    Raises:
        FileAccessError: it cannot be opened.
    """
    try:
        with path.open("rb") as file:
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as err:
        raise FileAccessError(f"{printable(path.name)} cannot be mapped: {err}") from err


def map_array(buffer: mmap.mmap, offset: int, shape: Sequence[int], dtype: np.dtype[Any], order: str = "C") -> Pixels:
    """View part of a mapped file as an array, a plain ndarray: its crops cost half of those of `numpy.memmap`."""
    return np.ndarray(tuple(shape), dtype=dtype, buffer=buffer, offset=offset, order="F" if order == "F" else "C")


def printable(name: str) -> str:
    r"""A name fit for tables and terminals: control characters and bytes that are no text are shown as `\x1b`."""
    text = name.encode("utf-8", "backslashreplace").decode("utf-8")
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


def size_text(n_bytes: int) -> str:
    """A number of bytes in words: "3.8 GB"."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.3g} PB"
