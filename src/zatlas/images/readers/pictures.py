"""Single pictures that Pillow decodes: PNG, JPEG, WebP and BMP; PNG of 16 bits per colour through imagecodecs.

Headers tell size and number type; pixels are decoded when they are read.
"""

import struct
import warnings
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from zatlas.images.readers.colour import COLOURS, MODE_TEXT, flattened, from_cmyk, palette_channels, turned
from zatlas.images.readers.reader import ReadOptions, image_scan, problem_text
from zatlas.images.source import DamagedImage, DecodedSource, Pixels, Scan, check_declared_size

__all__ = ["read_bmp", "read_jpeg", "read_png", "read_webp"]

IMAGE_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError,
    MemoryError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and imagecodecs raise on damaged files."""


def _read(path: Path, options: ReadOptions, *, kind: str) -> Scan:
    """Find the image of a single file of a kind.

    Raises:
        DamagedImage: the header is damaged, or declares too large an image.
    """
    try:
        header = _Header.of(path, kind)
    except IMAGE_ERRORS as err:
        raise DamagedImage(f"is damaged: {_plain(err)}") from err
    names = COLOURS if header.shape[0] == 3 else ()
    source = DecodedSource(header.shape, header.dtype, lambda: _decoded(path, header), channel_names=names)
    return image_scan(path, kind, [source], header.note)


read_png, read_jpeg, read_webp, read_bmp = (partial(_read, kind=kind) for kind in ("PNG", "JPEG", "WebP", "BMP"))


def _plain(err: BaseException) -> str:
    is_no_image = isinstance(err, UnidentifiedImageError)
    return "its header cannot be understood" if is_no_image else problem_text(err)


@dataclass(frozen=True)
class _Header:
    """What a PNG, JPEG, WebP or BMP file declares, and what decoding gives."""

    kind: str
    mode: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    orientation: int
    has_alpha: bool
    is_deep: bool
    note: str

    @classmethod
    def of(cls, path: Path, kind: str) -> "_Header":
        is_deep = kind == "PNG" and _png_is_deep_colour(path)
        with _open(path, kind) as image:
            mode, (width, height) = image.mode, image.size
            has_alpha = mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
            orientation = image.getexif().get(274, 1)
            n_frames = getattr(image, "n_frames", 1)
            palette = bytes(image.getpalette("RGB") or ()) if mode in ("P", "PA") else b""
        channels = {"1": 1, "L": 1, "LA": 1, "La": 1, "I;16": 1, "I;16B": 1, "I": 1, "F": 1}.get(mode, 3)
        if mode in ("P", "PA"):
            channels = palette_channels(np.frombuffer(palette, np.uint8).reshape(-1, 3)) if palette else 3
        if is_deep:
            channels, has_alpha = _png_deep_channels(path)
        if not isinstance(orientation, int) or not 1 <= orientation <= 8:
            orientation = 1
        if orientation >= 5:
            width, height = height, width
        dtype = np.dtype(np.uint16 if is_deep or mode.startswith("I") else np.float32 if mode == "F" else np.uint8)
        check_declared_size((channels, height, width), dtype.itemsize)
        notes = {
            "palette": mode in ("P", "PA"),
            "alpha": has_alpha,
            "cmyk": mode == "CMYK",
            "bilevel": mode == "1",
            "turned": orientation > 1,
            "frames": n_frames > 1,
        }
        note = "; ".join(MODE_TEXT[name] for name, applies in notes.items() if applies)
        return cls(kind, mode, (channels, height, width), dtype, orientation, has_alpha, is_deep, note)


def _open(path: Path, kind: str) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns from 89 Mpx and refuses from 179 Mpx. Large sections are ordinary here; the refusal stays.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # remarks on damaged EXIF and on palettes
        return Image.open(path, formats=[kind.upper()])


def _png_is_deep_colour(path: Path) -> bool:
    """Whether a PNG has 16 bits per channel and more than one channel: Pillow would cut it to 8."""
    with path.open("rb") as file:
        start = file.read(26)
    return len(start) == 26 and start[24] == 16 and start[25] in (2, 4, 6)


def _png_deep_channels(path: Path) -> tuple[int, bool]:
    with path.open("rb") as file:
        kind = file.read(26)[25]
    return (1 if kind == 4 else 3), kind in (4, 6)


def _decoded(path: Path, header: _Header) -> Pixels:
    """Pixels (c, h, w) of a file, grey or RGB."""
    try:
        if header.is_deep:
            pixels = imagecodecs.png_decode(path.read_bytes())
            pixels = flattened(pixels) if header.has_alpha else pixels[..., : header.shape[0]]
        else:
            with _open(path, header.kind) as image:
                pixels = _plain_pixels(image, header)
    except IMAGE_ERRORS as err:
        raise DamagedImage(f"is damaged: {_plain(err)}") from err
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = turned(pixels, header.orientation)
    return np.moveaxis(pixels.astype(header.dtype, copy=False), -1, 0)


def _plain_pixels(image: Image.Image, header: _Header) -> Pixels:
    """Pixels of an opened image as grey (h, w) or colours (h, w, c)."""
    if header.mode == "CMYK":
        return from_cmyk(np.asarray(image))
    if header.has_alpha and header.mode not in ("I;16", "I"):
        pixels = flattened(np.asarray(image.convert("RGBA")))
        return pixels[..., : header.shape[0]]
    if header.mode in ("P", "YCbCr", "LAB", "HSV"):
        return np.asarray(image.convert("RGB"))[..., : header.shape[0]]
    if header.mode == "1":
        return np.asarray(image.convert("L"))
    return np.asarray(image)
