"""Smaller and larger copies of images by areas, and images in blocks of rows.

Along an axis that shrinks, each new pixel is the mean of the area it covers, so that no grey level is lost or invented.
`area_mean` is scikit-image's, for what is in memory. `area_resized` keeps weights of its own, because it reads an image
of any size block by block and interpolates where it grows. `block_mean` takes squares of a whole number of pixels.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import scipy.sparse
from jaxtyping import Float

from zatlas.images.source import ArraySource, ImageSource, Pixels

__all__ = ["area_mean", "area_resized", "block_mean", "row_blocks"]

_BLOCK_VALUES = 4_000_000


def row_blocks(source: ImageSource, level: int = 0) -> Iterator[Pixels]:
    """The image in blocks of rows (c, rows, w) of about 4 million values, so that large images need little memory.

    An image that must be decoded is decoded once and then cut.
    """
    if not source.reads_windows:
        source, level = ArraySource(source.read(level=level)), 0
    c, h, w = source.shape_at(level)
    step = max(1, _BLOCK_VALUES // (c * w))
    for y in range(0, h, step):
        yield source.read(y, 0, min(step, h - y), w, level)


def area_mean(x: Float[np.ndarray, "*n h w"], height: int, width: int) -> Float[np.ndarray, "*n height width"]:
    """Images resized to (height, width): each new pixel is the mean of the area that it covers; number type kept.

    Args:
        x: Images.
        height: New height [px].
        width: New width [px].

    Example:
        >>> area_mean(np.arange(4, dtype=np.float32).reshape(1, 2, 2), 1, 1)
        array([[[1.5]]], dtype=float32)
    """
    if x.shape[-2:] == (height, width):
        return x
    from skimage.transform import resize_local_mean  # 0.1 s to import, which opening images does without

    resized: Any = resize_local_mean
    return np.asarray(resized(x, (*x.shape[:-2], height, width), grid_mode=True, preserve_range=True))


def block_mean(x: Float[np.ndarray, "*n h w"], step: int) -> Float[np.ndarray, "*n h2 w2"]:
    """Means of squares of `step` x `step` pixels, those at the far edges filled up with the outermost pixels.

    Example:
        >>> block_mean(np.array([[0.0, 2.0, 5.0], [4.0, 6.0, 5.0]]), 2)
        array([[3., 5.]])
    """
    if step == 1:
        return x
    *n, h, w = x.shape
    edges = [(0, 0)] * len(n) + [(0, -h % step), (0, -w % step)]
    padded = np.pad(x, edges, mode="edge")
    blocks = padded.reshape(*n, padded.shape[-2] // step, step, padded.shape[-1] // step, step)
    return np.asarray(blocks.mean(axis=(-3, -1)))


def area_resized(source: ImageSource, side_px: int) -> Pixels:
    """The whole image resized to (c, side_px, side_px), its number type kept (whole numbers are rounded).

    By areas along an axis that shrinks; along one that grows, pixels are interpolated linearly.

    Args:
        source: The image.
        side_px: New height and width [px].
    """
    c, h, w = source.shape
    if (h, w) == (side_px, side_px):
        return source.read()
    down, across = ((_area_weights if side_px <= n else _linear_weights)(n, side_px) for n in (h, w))
    result = np.zeros((c, side_px, side_px))
    y = 0
    for block in row_blocks(source):
        rows = block.shape[1]
        for channel in range(c):
            narrow = (across @ block[channel].astype(np.float64).T).T
            result[channel] += down[:, y : y + rows] @ narrow
        y += rows
    if source.dtype.kind in "ui":
        limits = np.iinfo(source.dtype)
        result = np.clip(np.rint(result), limits.min, limits.max)
    return result.astype(source.dtype)


def _area_weights(n: int, n_new: int) -> scipy.sparse.csr_array[Any]:
    """Weights (n_new, n) of the pixels that each new pixel covers; rows sum to 1."""
    scale = n / n_new
    start = np.arange(n_new) * scale
    stop = np.minimum(start + scale, n)
    columns = np.floor(start).astype(np.int64)[:, None] + np.arange(int(np.ceil(scale)) + 1)
    overlap = np.minimum(stop[:, None], columns + 1) - np.maximum(start[:, None], columns)
    return _sparse(np.clip(overlap, 0, None) / scale, columns, n)


def _linear_weights(n: int, n_new: int) -> scipy.sparse.csr_array[Any]:
    """Weights (n_new, n) of the two pixels between whose centres each new pixel lies; rows sum to 1."""
    centre = np.clip((np.arange(n_new) + 0.5) * (n / n_new) - 0.5, 0, n - 1)
    low = np.floor(centre).astype(np.int64)
    share = centre - low
    return _sparse(np.stack([1 - share, share], axis=1), low[:, None] + np.arange(2), n)


def _sparse(weights: np.ndarray, columns: np.ndarray, n: int) -> scipy.sparse.csr_array[Any]:
    """Weights (n_new, k) of the pixels `columns` (n_new, k) as a matrix (n_new, n), without those that are zero."""
    rows = np.broadcast_to(np.arange(len(columns))[:, None], columns.shape)
    is_used = (weights > 0) & (columns < n)
    triples = (weights[is_used], (rows[is_used], columns[is_used]))
    return scipy.sparse.csr_array(triples, shape=(len(columns), n))
