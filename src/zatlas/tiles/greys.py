"""Between which greys images are shown: what is drawn black and white, on the grey scale of a network."""

import numpy as np

from zatlas.tiles.loader import Tiles
from zatlas.tiles.samplers import evenly
from zatlas.tiles.transforms import Scaling

__all__ = ["HIGHEST_PSNR_DB", "SMALLEST_ERROR", "grey_limits", "known_grey_limits"]

SMALLEST_ERROR = 1e-10
"""Mean squared error, relative to the squared grey range, below which an image counts as an exact copy: far below the
rounding of 8 bits (59 dB). It keeps means over images finite."""

HIGHEST_PSNR_DB = 100.0
"""PSNR of an exact copy: that of `SMALLEST_ERROR`."""


def grey_limits(tiles: Tiles, *, most: int = 512) -> tuple[float, float]:
    """Darkest and brightest grey on the network's scale; their difference is the peak of PSNR.

    0 and 1 for minmax scaling. For standardised 8-bit images what 0 and 255 become; for other standardised ones the
    extremes of at most `most` tiles spread evenly.
    """
    known = known_grey_limits(tiles.scaling, set(tiles.images.table["dtype"]))
    if known is not None:
        return known
    rows = evenly(len(tiles), most)
    extremes = [_extremes(tiles.take(part)) for part in np.array_split(rows, -(-len(rows) // 64))]
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def known_grey_limits(scaling: Scaling, dtypes: set[str]) -> tuple[float, float] | None:
    """`grey_limits` where they follow from the grey scale alone: minmax scaling, or images of 8 bits; else None."""
    low, high = scaling.limits
    if not np.isfinite([low, high]).all():
        if dtypes != {"uint8"}:
            return None
        low, high = scaling.apply(np.array([0, 255], np.uint8)).tolist()
    return float(low), float(high)


def _extremes(pixels: np.ndarray) -> tuple[float, float]:
    return float(pixels.min()), float(pixels.max())
