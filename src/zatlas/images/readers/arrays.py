"""Stacks of images in NumPy files: NPY and NPZ, and the rules by which the axes of an array are understood.

The header of every array is compared with the file before memory is asked for; object arrays, which need pickle, are
refused. NPY files and stored members of NPZ files are mapped where they lie. Deflated members are streamed: image k
is reached by decompressing what stands before it, so that reading in order costs one pass and little memory.
"""

import io
import logging
import math
import mmap
import struct
import tempfile
import threading
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from zatlas.errors import DataError, UsageError
from zatlas.images.readers.reader import ReadOptions
from zatlas.images.source import (
    ArraySource,
    DamagedImage,
    DecodedSource,
    Found,
    ImageSource,
    Pixels,
    Scan,
    check_declared_size,
    is_readable_dtype,
    map_array,
    map_file,
    printable,
    size_text,
)

__all__ = [
    "Layout",
    "add_label_columns",
    "image_layout",
    "is_mappable",
    "is_npz",
    "named_stack",
    "native",
    "native_dtype",
    "read_npy",
    "read_npz",
    "shape_text",
    "stack_sources",
]

log = logging.getLogger(__name__)

_STACK_NAMES = ("images", "image", "imgs", "img", "x", "data", "pixels", "array", "arr_0")
_LABEL_NAMES = ("labels", "label", "y", "targets", "target", "patient", "patients", "subject", "group", "groups")
_SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}
_HEADER_BYTES = 65_536
_MAX_CHANNELS = 16
_BOMB_RATIO = 200
_BOMB_BYTES = 256 * 1024**2
_MAX_LABEL_BYTES = 64 * 1024**2
_HEADER_ERRORS = (
    ValueError, SyntaxError, KeyError, TypeError, RecursionError, MemoryError, tokenize.TokenError,
)  # fmt: skip
ZIP_ERRORS = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error, struct.error, KeyError)
"""What zipfile and zlib raise on damaged or encrypted archives (RuntimeError: a password; KeyError: no such member)."""


@dataclass(frozen=True)
class Layout:
    """How an array holds images: their number, the shape of one in memory, and which of its axes is the channel.

    Attributes:
        text: The axes, such as "NHW" or "NHW3"; without N the array is one image.
    """

    n: int
    item: tuple[int, ...]
    channel_axis: int | None
    text: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height, width of each image."""
        if self.channel_axis is None:
            return 1, self.item[0], self.item[1]
        c = self.item[self.channel_axis]
        h, w = (side for axis, side in enumerate(self.item) if axis != self.channel_axis)
        return c, h, w

    def channels_first(self, item: Pixels) -> Pixels:
        """View one image of the array as (c, h, w)."""
        return item[None] if self.channel_axis is None else np.moveaxis(item, self.channel_axis, 0)

    @property
    def is_stack(self) -> bool:
        """Whether the array has an axis of images."""
        return self.text.startswith("N")


def image_layout(shape: tuple[int, ...]) -> Layout | None:
    """Understand the axes of an array of pixels; None when it cannot hold images.

    Two axes are one image (HW). Three are a stack (NHW), unless the last has 1 to 4 entries and the others at least 16:
    that is one colour image (HWC). Four are a stack with channels last (NHWC) or first (NCHW): the channel axis is the
    one with at most 16 entries, fewer than height and width. Axes are never guessed from the pixels.
    """
    if math.prod(shape) == 0:
        return None
    if len(shape) == 2:
        return Layout(1, shape, None, "HW")
    if len(shape) == 3:
        if shape[2] <= 4 and min(shape[:2]) >= 16:
            return Layout(1, shape, 2, f"HW{shape[2]}")
        return Layout(shape[0], shape[1:], None, "NHW")
    if len(shape) == 4:
        if shape[3] in (1, 3) or (shape[3] <= _MAX_CHANNELS and shape[3] < min(shape[1:3])):
            return Layout(shape[0], shape[1:], 2, f"NHW{shape[3]}")
        if shape[1] in (1, 3) or (shape[1] <= _MAX_CHANNELS and shape[1] < min(shape[2:])):
            return Layout(shape[0], shape[1:], 0, f"N{shape[1]}HW")
    return None


def native(pixels: Pixels) -> Pixels:
    """Pixels in native byte order; true and false become 255 and 0 (uint8)."""
    if pixels.dtype.kind == "b":
        return pixels.astype(np.uint8) * np.uint8(255)
    return pixels.astype(pixels.dtype.newbyteorder("="), copy=False)


def native_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that `native` gives."""
    return np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("=")


def is_mappable(dtype: np.dtype[Any]) -> bool:
    """Whether pixels of this type can be used as they lie on disk."""
    return dtype.kind != "b" and dtype.isnative


@dataclass(frozen=True)
class _Header:
    """What the header of an array in NPY format declares, and where the data begin."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    order: str
    offset: int

    @property
    def n_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def _read_header(file: IO[bytes]) -> _Header:
    """Read a header in NPY format from its first 64 KiB, without asking for memory that it declares.

    Raises:
        DamagedImage: it is not such a header, or declares an array that needs pickle.
    """
    start = io.BytesIO(file.read(_HEADER_BYTES))
    try:
        version = npy.read_magic(start)
    except ValueError as err:
        raise DamagedImage("is not an array in NumPy format") from err
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # written by Python 2, which is all the same here
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            shape, is_fortran, dtype = read(start, max_header_size=_HEADER_BYTES)
    except _HEADER_ERRORS as err:
        raise DamagedImage("has a damaged NumPy header") from err
    if dtype.hasobject:
        raise DamagedImage(
            "holds Python objects (dtype object), which only pickle can read; "
            "zatlas never unpickles, because a pickle can run any program: "
            "save a plain array of one size and number type, or an HDF5 file with one dataset per image"
        )
    if min(shape, default=0) < 0:
        raise DamagedImage("has a damaged NumPy header")
    return _Header(shape, dtype, "F" if is_fortran else "C", start.tell())


def stack_sources(
    layout: Layout, dtype: np.dtype[Any], item: Callable[[int], Pixels], is_mapped: bool
) -> list[ImageSource]:
    """A source per image; `item(k)` gives image k as it lies in the array."""
    if is_mapped:
        return [ArraySource(layout.channels_first(item(k))) for k in range(layout.n)]
    given = native_dtype(dtype)

    def decoder(k: int) -> Callable[[], Pixels]:
        return lambda: native(layout.channels_first(item(k)))

    return [DecodedSource(layout.shape, given, decoder(k)) for k in range(layout.n)]


def shape_text(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """An array in words: "2402 x 128 x 128 uint8"."""
    return f"{' x '.join(map(str, shape)) or 'one value'} {dtype}"


def read_npy(path: Path, options: ReadOptions) -> Scan:
    """Find the images of an NPY file, which is mapped.

    Raises:
        DamagedImage: the header is damaged, the file is shorter than it declares, or the array holds no images.
    """
    with path.open("rb") as file:
        header = _read_header(file)
    layout = _checked_layout(header, "it")
    n_found = path.stat().st_size - header.offset
    if n_found < header.n_bytes:
        raise DamagedImage(
            f"is truncated: its header declares {size_text(header.n_bytes)}, but {size_text(max(0, n_found))} are there"
        )
    array = map_array(map_file(path), header.offset, header.shape, header.dtype, header.order)
    items = array if layout.is_stack else array[None]
    sources = stack_sources(layout, header.dtype, lambda k: items[k], is_mappable(header.dtype))
    why = f"NumPy array of {shape_text(header.shape, header.dtype)}, read as {layout.text}"
    return Scan("npy", why, named_stack(sources), files=[path])


def _checked_layout(header: _Header, name: str) -> Layout:
    layout = image_layout(header.shape)
    if layout is None or not is_readable_dtype(header.dtype):
        raise DamagedImage(
            f"holds no images: {name} is {shape_text(header.shape, header.dtype)}, "
            "expected numbers of shape NHW, NHW1, N1HW or NHW3"
        )
    check_declared_size(layout.item, header.dtype.itemsize)
    return layout


def named_stack(sources: list[ImageSource], prefix: str = "", first: int = 0, **labels: Any) -> list[Found]:
    """Images of a stack, named by their number in it: "00017"."""
    width = max(5, len(str(len(sources) - 1)))
    return [Found(f"{prefix}{k:0{width}d}", first + k, source, labels=dict(labels)) for k, source in enumerate(sources)]


class _Archive:
    """An NPZ file: its members' headers, checked against the directory of the archive."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._buffer: mmap.mmap | None = None
        try:
            with zipfile.ZipFile(path) as archive:
                members = [info for info in archive.infolist() if not info.is_dir()]
                self.members = {info.filename.removesuffix(".npy"): info for info in members}
                self.headers: dict[str, _Header] = {}
                self.refused: dict[str, str] = {}
                for key, info in self.members.items():
                    self._add(archive, key, info)
        except ZIP_ERRORS as err:
            raise DamagedImage(f"is a damaged NPZ archive: {err}") from err

    def _add(self, archive: zipfile.ZipFile, key: str, info: zipfile.ZipInfo) -> None:
        try:
            with archive.open(info) as file:
                header = _read_header(file)
            if header.offset + header.n_bytes != info.file_size:
                raise DamagedImage(
                    f"declares {size_text(header.n_bytes)} of pixels, but {size_text(info.file_size)} are stored"
                )
            ratio = info.file_size / max(1, info.compress_size)
            if ratio > _BOMB_RATIO and info.file_size > _BOMB_BYTES:
                raise DamagedImage(
                    f"unpacks to {ratio:.0f} times its size ({size_text(info.file_size)}), as no images do"
                )
            self.headers[key] = header
        except DamagedImage as damage:
            self.refused[key] = damage.what
        except ZIP_ERRORS as err:
            self.refused[key] = f"cannot be read: {err}"

    def listing(self) -> str:
        """The keys with their shapes."""
        known = [f"{printable(key)} ({shape_text(h.shape, h.dtype)})" for key, h in list(self.headers.items())[:20]]
        refused = [f"{printable(key)} (refused: it {reason})" for key, reason in list(self.refused.items())[:5]]
        return ", ".join(known + refused) or "none"

    def image_keys(self) -> list[str]:
        """Keys of arrays that can be stacks of images."""
        return [
            key
            for key, header in self.headers.items()
            if len(header.shape) >= 3 and image_layout(header.shape) and is_readable_dtype(header.dtype)
        ]

    def label_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the arrays of numbers or text that are small enough to be labels."""
        return {
            key: header.shape
            for key, header in self.headers.items()
            if header.dtype.kind in "uifbUS" and header.n_bytes <= _MAX_LABEL_BYTES
        }

    def small_array(self, key: str) -> Pixels:
        """A small array in memory, for labels."""
        header = self.headers[key]
        with zipfile.ZipFile(self.path) as archive, archive.open(self.members[key]) as file:
            content = file.read()
        data = np.frombuffer(content, header.dtype, offset=header.offset)
        return data.reshape(header.shape, order="F" if header.order == "F" else "C")

    def sources(self, key: str) -> tuple[Layout, list[ImageSource]]:
        """The images of a member: mapped when it is stored, streamed when it is deflated."""
        header, info = self.headers[key], self.members[key]
        layout = _checked_layout(header, printable(key))
        if info.compress_type == zipfile.ZIP_STORED and not info.flag_bits & 1:
            start = _stored_at(self.path, info)
            self._buffer = self._buffer or map_file(self.path)
            array = map_array(self._buffer, start + header.offset, header.shape, header.dtype, header.order)
            items = array if layout.is_stack else array[None]
            return layout, stack_sources(layout, header.dtype, lambda k: items[k], is_mappable(header.dtype))
        stream = _MemberStream(self.path, info, header, layout)
        return layout, stack_sources(layout, header.dtype, stream.item, False)


def _stored_at(path: Path, info: zipfile.ZipInfo) -> int:
    """Where the bytes of a stored member begin, from its local header.

    Raises:
        DamagedImage: the local header is not where the directory says, or the member reaches past the end of the file.
    """
    with path.open("rb") as file:
        file.seek(info.header_offset)
        local = file.read(30)
    if len(local) < 30 or local[:4] != b"PK\x03\x04":
        raise DamagedImage("is a damaged NPZ archive: a member is not where its directory says")
    n_name, n_extra = struct.unpack("<HH", local[26:30])
    start = info.header_offset + 30 + int(n_name) + int(n_extra)
    if start + info.file_size > path.stat().st_size:
        raise DamagedImage("is a truncated NPZ archive")
    return start


class _MemberStream:
    """Reads the images of a deflated member in order; going back starts the decompression again.

    An array in Fortran order, whose images are interleaved, is first decompressed to a temporary file.
    """

    def __init__(self, path: Path, info: zipfile.ZipInfo, header: _Header, layout: Layout) -> None:
        self._path, self._info, self._header, self._layout = path, info, header, layout
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._next = 0
        self._interleaved: Pixels | None = None
        self._item_bytes = math.prod(layout.item) * header.dtype.itemsize

    def item(self, k: int) -> Pixels:
        """Image k as it lies in the array.

        Raises:
            DamagedImage: the archive is damaged before or inside the image.
        """
        with self._lock:
            try:
                if self._header.order == "F" and len(self._header.shape) > 1:
                    return self._item_of_interleaved(k)
                return self._item_in_order(k)
            except ZIP_ERRORS as err:
                self._close()
                raise DamagedImage(f"cannot be decompressed: {err}") from err

    def _item_in_order(self, k: int) -> Pixels:
        if self._file is None or k < self._next:
            self._open()
        assert self._file is not None
        self._skip((k - self._next) * self._item_bytes)
        content = self._file.read(self._item_bytes)
        if len(content) != self._item_bytes:
            raise EOFError("it ends too early")
        self._next = k + 1
        if self._next == self._layout.n:
            self._close()
        return np.frombuffer(content, self._header.dtype).reshape(self._layout.item)

    def _item_of_interleaved(self, k: int) -> Pixels:
        if self._interleaved is None:
            self._open()
            assert self._file is not None
            with tempfile.TemporaryFile() as spool:
                while block := self._file.read(1 << 20):
                    spool.write(block)
                spool.flush()
                buffer = mmap.mmap(spool.fileno(), 0, access=mmap.ACCESS_READ)
            self._close()
            self._interleaved = map_array(buffer, 0, self._header.shape, self._header.dtype, "F")
        array = self._interleaved if self._layout.is_stack else self._interleaved[None]
        return np.array(array[k])

    def _open(self) -> None:
        self._close()
        archive = zipfile.ZipFile(self._path)
        try:
            self._file = archive.open(self._info)
        finally:
            archive.close()
        self._next = 0
        self._skip(self._header.offset)

    def _skip(self, n_bytes: int) -> None:
        assert self._file is not None
        while n_bytes > 0:
            block = self._file.read(min(n_bytes, 1 << 20))
            if not block:
                raise EOFError("it ends too early")
            n_bytes -= len(block)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __del__(self) -> None:
        self._close()


def is_npz(path: Path, start: bytes) -> bool:
    """Whether a file may be an NPZ archive, which is a ZIP archive by its first bytes."""
    return start.startswith((b"PK\x03\x04", b"PK\x05\x06")) and path.suffix.lower() in (".npz", ".zip", "")


def read_npz(path: Path, options: ReadOptions) -> Scan:
    """Find the images of an NPZ file.

    The array is the one called as the key; else train, val and test arrays as in MedMNIST, which become one collection
    with a label column `source_split`; else the only stack of images, or the one with a usual name (images, x, arr_0);
    else, without any stack, every two-dimensional array is an image.

    Raises:
        UsageError: there is no array called `key`.
        DataError: several arrays could be the images, or none.
        DamagedImage: the archive is damaged.
    """
    archive = _Archive(path)
    scan = Scan("npz", "", files=[path])
    if options.key:
        _require_key(archive, options.key)
        _add_stack(scan, archive, options.key)
        return scan
    parts = _parts(archive)
    if parts:
        _add_parts(scan, archive, parts)
        return scan
    stacks = archive.image_keys()
    usual = [name for wanted in _STACK_NAMES for name in stacks if name.lower() == wanted]
    if len(stacks) == 1 or usual:
        _add_stack(scan, archive, stacks[0] if len(stacks) == 1 else usual[0])
        return scan
    if stacks:
        raise DataError(
            f"{printable(path.name)} holds several arrays that could be the images: {archive.listing()}",
            hint=f"name one, for example --key {printable(stacks[0])}",
        )
    _add_single_images(scan, archive)
    return scan


def _require_key(archive: _Archive, key: str) -> None:
    if key in archive.refused:
        raise DamagedImage(f"holds {printable(key)}, which {archive.refused[key]}")
    if key not in archive.headers:
        raise UsageError(
            f"{printable(archive.path.name)} has no array called {key!r}; it holds {archive.listing()}",
            hint="choose one of these with --key",
        )


def _add_stack(scan: Scan, archive: _Archive, key: str) -> None:
    layout, sources = archive.sources(key)
    header = archive.headers[key]
    scan.images = named_stack(sources)
    scan.why = f"array {printable(key)} of {shape_text(header.shape, header.dtype)}, read as {layout.text}"
    add_label_columns(scan.images, archive.label_shapes(), archive.small_array)


def add_label_columns(
    images: list[Found], shapes: Mapping[str, tuple[int, ...]], read: Callable[[str], Pixels]
) -> None:
    """Give the images the labels that lie beside a stack: arrays called labels, y, patient, with a value per image.

    Args:
        images: All images of the stack, in order.
        shapes: Names and shapes of the small arrays.
        read: Reads one of them.
    """
    for name, shape in shapes.items():
        if name.lower() in _LABEL_NAMES and shape in ((len(images),), (len(images), 1)):
            column = "label" if name.lower() in ("labels", "y", "targets", "target") else name
            for found, value in zip(images, read(name).reshape(-1).tolist(), strict=True):
                found.labels[column] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def _parts(archive: _Archive) -> dict[str, str]:
    """Keys of train, val and test stacks: {"train": "train_images"}; empty when there are not at least two."""
    parts: dict[str, str] = {}
    for key in archive.image_keys():
        words = key.lower().split("_")
        named = [_SPLIT_NAMES[word] for word in words if word in _SPLIT_NAMES]
        rest = [word for word in words if word not in _SPLIT_NAMES]
        is_images = not rest or rest[0] in ("images", "image", "imgs", "x", "data")
        if len(named) == 1 and is_images and named[0] not in parts:
            parts[named[0]] = key
    return parts if len(parts) >= 2 else {}


def _add_parts(scan: Scan, archive: _Archive, parts: dict[str, str]) -> None:
    texts = []
    for part, key in parts.items():
        layout, sources = archive.sources(key)
        images = named_stack(sources, f"{part}/", len(scan.images), source_split=part)
        for name in (key.replace("images", "labels"), key.replace("x", "y"), key.replace("X", "y")):
            if name != key and archive.label_shapes().get(name) in ((layout.n,), (layout.n, 1)):
                for found, value in zip(images, archive.small_array(name).reshape(-1).tolist(), strict=True):
                    found.labels["label"] = value
        scan.images += images
        texts.append(f"{printable(key)} ({layout.n} images, {layout.text})")
    scan.why = f"arrays {', '.join(texts)}, taken together; the column source_split says which is which"


def _add_single_images(scan: Scan, archive: _Archive) -> None:
    flat = [
        key
        for key, header in archive.headers.items()
        if len(header.shape) == 2 and min(header.shape) >= 8 and is_readable_dtype(header.dtype)
    ]
    if not flat:
        hint = "save the images as one array, for example numpy.savez(path, images=stack)"
        raise DataError(
            f"{printable(archive.path.name)} holds no array of images; it holds {archive.listing()}", hint=hint
        )
    for key in flat:
        _, sources = archive.sources(key)
        scan.images.append(Found(printable(key), len(scan.images), sources[0]))
    scan.rejected += [(printable(key), reason) for key, reason in archive.refused.items()]
    scan.why = f"{len(flat)} two-dimensional arrays, one image each"
