"""TIFF files: a directory of pages, checked before a decoder sees it.

TIFF is a graph of offsets, and a damaged or malicious one can send a decoder in circles or ask it for terabytes. The
directories are therefore walked here first, tag by tag: they must be finite, their pixels must lie inside the file, and
what they declare must be an image that can be read. tifffile reads the tags, and then decodes single pages.

Each page is an image of its own, named `file.tif[0]`, `file.tif[1]`, ...: pages of a stack are planes, not channels.
Reduced copies (thumbnails, levels of a pyramid) and masks are left out.
"""

import logging
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TIFF, FileHandle, TiffFile, TiffFileError, TiffTag
from tifffile import TiffPage as DecodedPage

from zatlas.images.readers.colour import COLOURS, MODE_TEXT, flattened, from_cmyk, palette_channels, turned
from zatlas.images.readers.reader import ReadOptions, image_scan, problem_text
from zatlas.images.source import DamagedImage, DecodedSource, Pixels, Scan, check_declared_size, size_text

__all__ = ["TIFF_MAGIC", "TiffPage", "read_tiff"]

log = logging.getLogger(__name__)

_FORMATS = {
    b"II*\0": TIFF.CLASSIC_LE, b"MM\0*": TIFF.CLASSIC_BE, b"II+\0": TIFF.BIG_LE, b"MM\0+": TIFF.BIG_BE,
}  # fmt: skip
TIFF_MAGIC = tuple(_FORMATS)
_WHOLE_NUMBERS = (1, 3, 4, 6, 8, 9, 13, 16, 17, 18)
"""Types of tags that hold whole numbers."""
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _DESCRIPTION = 256, 257, 258, 259, 262, 270
_STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES, _PLANAR = 273, 274, 277, 278, 279, 284
_COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT = 320, 322, 323, 324, 325, 338, 339
_SUBFILE = 254
_TAGS = (
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _ROWS_PER_STRIP,
    _STRIP_BYTES, _PLANAR, _COLOUR_MAP, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_BYTES, _EXTRA, _FORMAT,
    _SUBFILE,
)  # fmt: skip
_COMPRESSIONS = {
    1: "none", 2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 7: "JPEG", 8: "deflate", 32773: "PackBits",
    32946: "deflate", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 34887: "LERC", 34925: "LZMA",
    50000: "zstd", 50001: "WebP",
}  # fmt: skip
_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _CMYK, _YCBCR = 0, 1, 2, 3, 5, 6
_BOMB_RATIO = 2000
_BOMB_BYTES = 256 * 1024**2
TIFF_ERRORS = (
    OSError, ValueError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError, MemoryError,
    EOFError, struct.error,
)  # fmt: skip
"""What tifffile and its codecs raise on damaged pages."""
_BEYOND_END = "is truncated or damaged: its directory points beyond the end of the file"


@dataclass(frozen=True)
class TiffPage:
    """A page that has been found sound: where its directory begins, and what decoding gives.

    Attributes:
        offset: Of the directory in the file [bytes].
        shape: Channels, height, width after decoding.
        dtype: Number type after decoding.
        note: What is done to the stored values, "" when nothing.
    """

    offset: int
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    photometric: int
    is_planar: bool
    bits: int
    alpha: str
    orientation: int
    colour_map: tuple[int, ...]
    note: str

    def source(self, path: Path) -> DecodedSource:
        """A source that decodes this page at each read."""
        names = COLOURS if self.shape[0] == 3 else ()
        return DecodedSource(self.shape, self.dtype, lambda: _decoded(path, self), channel_names=names)


class _File:
    """An opened file as the tags of tifffile want it; nothing is read beyond its end."""

    def __init__(self, filehandle: FileHandle) -> None:
        self.filehandle = filehandle
        start = filehandle.read(16)
        if start[:4] not in TIFF_MAGIC or len(start) < 8:
            raise DamagedImage("is not a TIFF file")
        self.tiff = _FORMATS[start[:4]]
        if self.tiff.is_bigtiff and (len(start) < 16 or self._number(self.tiff.tagformat1[:2], start[4:6]) != 8):
            raise DamagedImage("is a damaged BigTIFF file")
        n = self.tiff.offsetsize
        self.first = self._number(self.tiff.offsetformat, start[n : 2 * n])

    def _number(self, code: str, content: bytes) -> int:
        return int(struct.unpack(code, content)[0])

    def _at(self, offset: int, n_bytes: int) -> bytes:
        if offset + n_bytes > self.filehandle.size:
            raise DamagedImage(_BEYOND_END)
        self.filehandle.seek(offset)
        return bytes(self.filehandle.read(n_bytes))

    def directory(self, offset: int) -> tuple[dict[int, tuple[int, ...]], int, str]:
        """Values of the tags that matter, the offset of the next directory, and the description."""
        tiff = self.tiff
        n = self._number(tiff.tagnoformat, self._at(offset, tiff.tagnosize))
        if n == 0 or n > 4096:
            raise DamagedImage(f"has a damaged directory of {n} entries")
        first = offset + tiff.tagnosize
        content = self._at(first, n * tiff.tagsize + tiff.offsetsize)
        tags: dict[int, tuple[int, ...]] = {}
        description = ""
        for k in range(n):
            place = k * tiff.tagsize
            code, kind = struct.unpack(tiff.tagformat1, content[place : place + 4])
            if code == _DESCRIPTION or (code in _TAGS and code not in tags and kind in _WHOLE_NUMBERS):
                value = self._value(first + place, content[place : place + tiff.tagsize])
                if code == _DESCRIPTION:
                    description = value.decode("latin-1") if isinstance(value, bytes) else str(value)
                else:
                    tags[code] = tuple(value if isinstance(value, bytes) else np.ravel(value).tolist())
        return tags, self._number(tiff.offsetformat, content[n * tiff.tagsize :]), description

    def _value(self, offset: int, header: bytes) -> Any:
        try:
            return TiffTag.fromfile(self, offset=offset, header=header).value  # type: ignore[arg-type]
        except TiffFileError as err:
            raise DamagedImage(_BEYOND_END) from err


def read_tiff(path: Path, options: ReadOptions) -> Scan:
    """Find the images of a TIFF file: its pages.

    Raises:
        DamagedImage: the file is damaged, or of a kind that is not read; with the reason.
    """
    try:
        pages = _pages(path)
    except TIFF_ERRORS as err:
        raise DamagedImage(f"is damaged: {problem_text(err)}") from err
    note = "; ".join(sorted({page.note for page in pages} - {""}))
    return image_scan(path, "TIFF", [page.source(path) for page in pages], note)


def _pages(path: Path) -> list[TiffPage]:
    """The pages that are images, without decoding them."""
    pages: list[TiffPage] = []
    left_out = 0
    with FileHandle(path) as handle:
        file = _File(handle)
        offset, seen = file.first, set[int]()
        while offset:
            if offset in seen:
                raise DamagedImage("has a directory that points back to itself")
            seen.add(offset)
            tags, following, description = file.directory(offset)
            kind = tags.get(_SUBFILE, (0,))[0] if tags.get(_SUBFILE) else 0
            if kind & 0b101:
                left_out += 1
            else:
                _refuse_hidden_planes(description, following)
                pages.append(_checked(tags, offset, handle.size))
            offset = following
    images = [page for page in pages if not _is_level(page, pages[0])] if pages else []
    left_out += len(pages) - len(images)
    if not images:
        raise DamagedImage("holds no image, only reduced copies or masks")
    if left_out:
        log.info("%s: %d reduced copies or masks are left out", path.name, left_out)
    return images


def _is_level(page: TiffPage, first: TiffPage) -> bool:
    """Whether a page is the first one in lower resolution: half, a quarter, ... of both sides."""
    scales = [first.shape[1] / page.shape[1], first.shape[2] / page.shape[2]]
    factor = 2 ** round(np.log2(max(scales[0], 1)))
    return factor >= 2 and page.shape[0] == first.shape[0] and all(abs(s / factor - 1) < 0.02 for s in scales)


def _refuse_hidden_planes(description: str, following: int) -> None:
    """ImageJ writes stacks above 4 GB with a single directory; their other planes would be lost in silence."""
    if description.startswith("ImageJ") and not following:
        for line in description[:4096].split("\n"):
            name, _, value = line.partition("=")
            if name == "images" and value.strip().isdigit() and int(value) > 1:
                raise DamagedImage(
                    f"is an ImageJ stack of {int(value)} planes without a directory of them: "
                    "save it as several TIFF files, or in HDF5"
                )


def _checked(tags: dict[int, tuple[int, ...]], offset: int, file_bytes: int) -> TiffPage:
    """A page, when its directory is sound and of a kind that is read."""

    def one(tag: int, default: int) -> int:
        values = tags.get(tag)
        return int(values[0]) if values else default

    height, width, samples = one(_HEIGHT, 0), one(_WIDTH, 0), one(_SAMPLES, 1)
    compression, photometric = one(_COMPRESSION, 1), one(_PHOTOMETRIC, _MINISBLACK)
    if compression not in _COMPRESSIONS:
        raise DamagedImage(f"has compression {compression}, which is not known")
    if photometric not in (_MINISWHITE, _MINISBLACK, _RGB, _PALETTE, _CMYK, _YCBCR):
        raise DamagedImage(f"has colours of kind {photometric}, which are not read: save it as RGB")
    if photometric == _YCBCR and compression != 7:
        raise DamagedImage("has uncompressed YCbCr colours, which are not read: save it as RGB")
    dtype, bits = _number_type(tags, samples)
    check_declared_size((samples, height, width), dtype.itemsize)
    is_planar = one(_PLANAR, 1) == 2 and samples > 1
    n_bytes = height * width * samples * bits // 8
    _check_data(tags, (height, width, samples), is_planar, n_bytes, compression, file_bytes)
    return _interpreted(tags, offset, dtype, bits, is_planar)


def _number_type(tags: dict[int, tuple[int, ...]], samples: int) -> tuple[np.dtype[Any], int]:
    bits = tags.get(_BITS) or (1,)
    kinds = tags.get(_FORMAT) or (1,)
    if not 1 <= samples <= 64 or len(set(bits)) > 1 or len(set(kinds)) > 1:
        raise DamagedImage(f"has {samples} channels of {', '.join(map(str, bits[:8]))} bits, which is not read")
    letter = {1: "u", 2: "i", 3: "f", 4: "u"}.get(kinds[0])
    if bits[0] == 1 and letter == "u" and samples == 1:
        return np.dtype(np.uint8), 1
    known = {"u": (8, 16, 32), "i": (8, 16, 32), "f": (16, 32, 64)}
    if letter is None or bits[0] not in known[letter]:
        what = {1: "whole numbers", 2: "signed numbers", 3: "floating point"}.get(kinds[0], "complex numbers")
        raise DamagedImage(
            f"has {bits[0]}-bit {what}, which are not read: save it with 8 or 16 bits, or as 32-bit float"
        )
    return np.dtype(f"{letter}{bits[0] // 8}"), int(bits[0])


def _check_data(
    tags: dict[int, tuple[int, ...]],
    size: tuple[int, int, int],
    is_planar: bool,
    n_bytes: int,
    compression: int,
    file_bytes: int,
) -> None:
    """The strips or tiles must be as many as the image needs, lie inside the file and hold enough."""
    height, width, samples = size
    is_tiled = _TILE_WIDTH in tags or _TILE_OFFSETS in tags
    offsets = tags.get(_TILE_OFFSETS if is_tiled else _STRIP_OFFSETS, ()) or tags.get(_STRIP_OFFSETS, ())
    counts = tags.get(_TILE_BYTES if is_tiled else _STRIP_BYTES, ()) or tags.get(_STRIP_BYTES, ())
    if not offsets or not counts:
        raise DamagedImage("has no pixels: the directory names no strips or tiles")
    if is_tiled:
        tile_h, tile_w = (tags.get(_TILE_HEIGHT) or (0,))[0], (tags.get(_TILE_WIDTH) or (0,))[0]
        if tile_h < 1 or tile_w < 1 or tile_h > 65536 or tile_w > 65536:
            raise DamagedImage(f"has tiles of {tile_h} x {tile_w} px")
        needed = -(-height // tile_h) * -(-width // tile_w)
    else:
        rows = (tags.get(_ROWS_PER_STRIP) or (height,))[0]
        needed = -(-height // max(1, min(rows, height)))
    needed *= samples if is_planar else 1
    if len(offsets) < needed or len(counts) < needed:
        raise DamagedImage(f"is damaged: {min(len(offsets), len(counts))} of {needed} strips or tiles are there")
    if any(start + n > file_bytes for start, n in zip(offsets, counts, strict=False)):
        raise DamagedImage("is truncated: pixels reach past the end of the file")
    stored = sum(counts[:needed])
    if compression == 1 and stored < n_bytes:
        raise DamagedImage(f"declares {size_text(n_bytes)} of pixels, but only {size_text(stored)} are there")
    if n_bytes > _BOMB_BYTES and n_bytes > _BOMB_RATIO * stored:
        raise DamagedImage(f"declares {size_text(n_bytes)} of pixels, but stores {size_text(stored)}, as no images do")


def _interpreted(
    tags: dict[int, tuple[int, ...]], offset: int, dtype: np.dtype[Any], bits: int, is_planar: bool
) -> TiffPage:
    height, width = tags[_HEIGHT][0], tags[_WIDTH][0]
    samples = (tags.get(_SAMPLES) or (1,))[0]
    photometric = (tags.get(_PHOTOMETRIC) or (_MINISBLACK,))[0]
    orientation = (tags.get(_ORIENTATION) or (1,))[0]
    orientation = orientation if 1 <= orientation <= 8 else 1
    extra = tags.get(_EXTRA) or ()
    alpha = {1: "premultiplied", 2: "straight"}.get(extra[-1], "") if extra and samples in (2, 4) else ""
    colour_map = tags.get(_COLOUR_MAP) or ()
    channels, note = samples - bool(alpha), MODE_TEXT["alpha"] if alpha else ""
    if photometric == _PALETTE:
        if len(colour_map) != 3 * 2**bits or dtype.kind != "u" or bits > 16 or samples != 1:
            raise DamagedImage("has a damaged palette")
        channels, note = palette_channels(np.array(colour_map).reshape(3, -1).T), MODE_TEXT["palette"]
        dtype = np.dtype(np.uint8)
    elif photometric == _CMYK:
        if samples != 4 or dtype != np.uint8:
            raise DamagedImage("has CMYK colours of an unusual kind: save it as RGB")
        channels, note = 3, MODE_TEXT["cmyk"]
        alpha = ""
    elif photometric == _MINISWHITE:
        if dtype.kind != "u":
            raise DamagedImage("has white as its lowest value with signed or floating point pixels, which is not read")
        note = MODE_TEXT["inverted"]
    if orientation >= 5:
        height, width = width, height
    note = note or (MODE_TEXT["turned"] if orientation > 1 else "")
    shape = (int(channels), int(height), int(width))
    colours = colour_map if photometric == _PALETTE else ()
    return TiffPage(offset, shape, dtype, photometric, is_planar, bits, alpha, orientation, colours, note)


def _decoded(path: Path, page: TiffPage) -> Pixels:
    """Pixels (c, h, w) of a page, decoded by tifffile and brought to grey or RGB with white as the highest value."""
    try:
        with TiffFile(path) as file:
            file.filehandle.seek(page.offset)
            stored = DecodedPage(file, index=0).asarray(maxworkers=1)
    except TIFF_ERRORS as err:
        raise DamagedImage(f"cannot be decoded: {err}") from err
    pixels = np.asarray(stored)
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    elif page.is_planar:
        pixels = np.moveaxis(pixels, 0, -1)
    if pixels.ndim != 3:
        raise DamagedImage(f"decodes to {pixels.ndim} axes, expected rows, columns and channels")
    if page.photometric == _PALETTE:
        table = np.array(page.colour_map, dtype=np.uint32).reshape(3, -1).T
        table = (table >> (8 if table.max() > 255 else 0)).astype(np.uint8)  # some writers store 0 to 255
        pixels = table[pixels[..., 0]][..., : page.shape[0]]
    elif page.photometric == _CMYK:
        pixels = from_cmyk(pixels)
    if page.bits == 1:
        pixels = (pixels > 0).astype(np.uint8) * np.uint8(255)
    if page.photometric == _MINISWHITE:
        pixels = np.iinfo(pixels.dtype).max - pixels
    if page.alpha:
        pixels = flattened(pixels, is_premultiplied=page.alpha == "premultiplied")
    pixels = turned(pixels, page.orientation)
    return np.moveaxis(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), -1, 0)
