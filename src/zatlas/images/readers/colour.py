"""Stored colours to grey or RGB: palettes, CMYK, transparency, and the turn that a camera noted.

Arrays here are (h, w, c). Nothing is lost in silence: each change has a sentence in `MODE_TEXT` for the log.
"""

from typing import Any

import numpy as np

__all__ = ["COLOURS", "MODE_TEXT", "flattened", "from_cmyk", "palette_channels", "turned"]

Pixels = np.ndarray[Any, np.dtype[Any]]

COLOURS = ("red", "green", "blue")

MODE_TEXT = {
    "alpha": "transparency is dropped where an image is opaque, else laid on white",
    "palette": "palette colours are looked up (grey when the whole palette is grey)",
    "cmyk": "CMYK colours are converted to RGB without a colour profile",
    "inverted": "stored with white as 0, inverted so that white is the highest value",
    "turned": "turned upright as its orientation tag says",
    "bilevel": "black and white become 0 and 255",
    "frames": "only the first of several frames is read",
}
"""What is done to stored values, in words."""


def flattened(pixels: Pixels, *, is_premultiplied: bool = False) -> Pixels:
    """Lay an image whose last channel is opacity on white; an opaque one keeps its colours exactly.

    Args:
        pixels: Shape (h, w, c + 1), whole numbers or floating point from 0 to 1.
        is_premultiplied: Whether the colours have been multiplied by the opacity already.

    Returns:
        Shape (h, w, c), same number type.
    """
    colours, opacity = pixels[..., :-1], pixels[..., -1:]
    is_whole = pixels.dtype.kind in "ui"
    highest = np.iinfo(pixels.dtype).max if is_whole else 1
    if bool((opacity == highest).all()):
        return colours
    share = opacity.astype(np.float64) / highest
    laid = colours.astype(np.float64) * (1 if is_premultiplied else share) + highest * (1 - share)
    return np.clip(np.rint(laid) if is_whole else laid, 0, highest).astype(pixels.dtype)


def from_cmyk(pixels: Pixels) -> Pixels:
    """CMYK (h, w, 4) uint8, 255 full ink, to RGB: (255 - ink) (255 - black) / 255."""
    white = 255 - pixels.astype(np.uint32)
    return ((white[..., :3] * white[..., 3:] + 127) // 255).astype(np.uint8)


def palette_channels(palette: Pixels) -> int:
    """1 when every entry of a palette (n, 3) is grey, else 3."""
    return 1 if bool((palette[:, :1] == palette).all()) else 3


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Turn and mirror an image as its EXIF or TIFF orientation (1 to 8) says, so that it stands upright.

    Source: TIFF 6.0, tag 274.
    """
    steps = {
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: p.swapaxes(0, 1)[:, ::-1],
        7: lambda p: p.swapaxes(0, 1)[::-1, ::-1],
        8: lambda p: p.swapaxes(0, 1)[::-1],
    }
    return steps[orientation](pixels) if orientation in steps else pixels
