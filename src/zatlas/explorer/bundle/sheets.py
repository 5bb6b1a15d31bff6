"""Pictures of all images on a few large sheets, which a browser loads quickly: image i is cell i, in reading order.

Pictures are 8 bit on the display scale of the report (0 the darkest, 255 the brightest grey that the network knows).
Sheets are WebP of at most 4096 px a side, which every browser and graphics card takes. One sheet is in memory at a
time.
"""

import io
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from zatlas.explorer.bundle.columns import Files
from zatlas.explorer.greys import eight_bits, shown
from zatlas.images.resizing import area_mean
from zatlas.tiles.loader import Tiles

__all__ = ["THUMBNAIL_PX", "Layout", "Sheet", "layout", "write_sheets"]

THUMBNAIL_PX = 64
_LARGEST_PX = 4096
_QUALITY = 80
_EFFORT = 25  # lossless: 5 times as fast as 100 for radiographs of 128 px, 0.3 % larger
_BATCH_VALUES = 4_000_000


class Layout(NamedTuple):
    """Where pictures lie on their sheets.

    Attributes:
        size_px: Side of a picture.
        columns: Pictures in a row of a sheet.
        per_sheet: Pictures on a full sheet.
    """

    size_px: int
    columns: int
    per_sheet: int

    def place(self, row: int) -> tuple[int, int, int]:
        """Sheet of the picture of an atlas row, and its top and left edge there [px].

        Example:
            >>> layout(64).place(4096 + 65)
            (1, 64, 64)
        """
        sheet, cell = divmod(row, self.per_sheet)
        return sheet, cell // self.columns * self.size_px, cell % self.columns * self.size_px

    def shape(self, n: int) -> tuple[int, int]:
        """Height and width of a sheet with `n` pictures; cropped to its rows [px]."""
        return math.ceil(n / self.columns) * self.size_px, self.columns * self.size_px


def layout(size_px: int) -> Layout:
    """The layout of pictures of `size_px`: as many as fit 4096 px."""
    columns = max(1, _LARGEST_PX // size_px)
    return Layout(size_px, columns, columns * columns)


class Sheet:
    """Sheets of pictures of one size, filled in the order of the rows and written as soon as they are full.

    Args:
        files: Where they are written.
        name: Of the files, followed by their number.
        size_px: Side of the pictures.
        n: How many pictures there will be.
        is_lossless: Whether pixels are kept exactly.
    """

    def __init__(self, files: Files, name: str, size_px: int, n: int, *, is_lossless: bool) -> None:
        self.files, self.name, self.n, self.is_lossless = files, name, n, is_lossless
        self.layout = layout(size_px)
        self.entries: list[dict[str, Any]] = []
        self._done = 0
        self._canvas: np.ndarray = np.zeros((0, 0), np.uint8)

    def add(self, pictures: UInt8[np.ndarray, "b h w k"]) -> None:
        """The next pictures; k is 1 (grey) or 3 (colour)."""
        size = self.layout.size_px
        for picture in pictures:
            sheet, top, left = self.layout.place(self._done)
            if top == 0 and left == 0:
                on_sheet = min(self.layout.per_sheet, self.n - sheet * self.layout.per_sheet)
                self._canvas = np.zeros((*self.layout.shape(on_sheet), picture.shape[2]), np.uint8)
            self._canvas[top : top + size, left : left + size] = picture
            self._done += 1
            if self._done == self.n or self._done % self.layout.per_sheet == 0:
                self._write()

    def _write(self) -> None:
        height, width, k = self._canvas.shape
        pixels = self._canvas[:, :, 0] if k == 1 else self._canvas
        stream = io.BytesIO()
        Image.fromarray(pixels).convert("RGB").save(
            stream, "WEBP", lossless=self.is_lossless, quality=_EFFORT if self.is_lossless else _QUALITY, method=4
        )
        path = f"sheets/{self.name}-{len(self.entries)}.webp"
        self.entries.append(self.files.raw(path, stream.getvalue(), "webp", (height, width, 3)))

    def info(self) -> dict[str, Any]:
        """What the manifest says of the sheets."""
        about = {"size_px": self.layout.size_px, "columns": self.layout.columns, "per_sheet": self.layout.per_sheet}
        return {**about, "lossless": self.is_lossless, "files": self.entries}


def write_sheets(
    files: Files,
    tiles: Tiles,
    limits: tuple[float, float],
    *,
    with_thumbnails: bool,
    with_originals: bool,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """Write sheets of thumbnails and of the pictures as the model sees them, reading each tile once.

    Args:
        files: Where to.
        tiles: The tiles of the atlas.
        limits: Greys of the network's scale that are shown as black and white.
        with_thumbnails: Small pictures, averaged over areas; WebP of quality 80.
        with_originals: All pixels as the model sees them, lossless.
        on_progress: Called with (tiles done, tiles in all).

    Returns:
        The manifest's entries of thumbnails and originals; None for those not wanted.
    """
    n, side = len(tiles), tiles.size
    small_px = min(THUMBNAIL_PX, side)
    thumbnails = Sheet(files, "thumbnails", small_px, n, is_lossless=False) if with_thumbnails else None
    originals = Sheet(files, "originals", side, n, is_lossless=True) if with_originals else None
    if thumbnails is None and originals is None:
        return None, None
    batch = max(1, _BATCH_VALUES // (tiles.channels * side * side))
    for start in range(0, n, batch):
        rows = np.arange(start, min(start + batch, n))
        pictures = shown(tiles.take(rows), limits)
        if thumbnails is not None:
            thumbnails.add(eight_bits(area_mean(pictures, small_px, small_px)))
        if originals is not None:
            originals.add(eight_bits(pictures))
        if on_progress is not None:
            on_progress(int(rows[-1]) + 1, n)
    return tuple(made.info() if made is not None else None for made in (thumbnails, originals))  # type: ignore[return-value]
