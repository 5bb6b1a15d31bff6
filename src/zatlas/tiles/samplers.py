"""Where to look: which tile of which image, as a pure function of (seed, epoch, index).

The corner of a tile may lie anywhere from `1 - tile` to `side - 1`, so that the tile overhangs the image. Over this
extended range every pixel, in a corner of the image or not, lies in exactly tile^2 of the (h + tile - 1)(w + tile - 1)
corners. Images drawn in proportion to that number therefore show every pixel of the collection equally often, exactly,
as long as the overhanging part is reflected for the eye of the encoder and weighs nothing in the loss. Corners that
keep the tile inside the image ("valid crops") do not: with 128 px tiles they show a corner pixel 16384 times less
often than one in the middle.

    by_pixel_epoch        a grid of tiles over each image at a random phase: every pixel once per epoch, shuffled
    by_pixel_independent  the same law, one independent draw per index
    equal                 a group, then one of its images, then a corner, each with equal probability
    whole                 every image once per epoch, shuffled
    grid                  fixed, evenly spaced, inside the image: for encoding

No sampler has a state. Draws come from Philox4x64 with key (seed, epoch) and counter (index, stream), so that batch
size, prefetching and resuming never change one. Reading pixels is the business of `loader`.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Int, Shaped, UInt64

from zatlas.errors import UsageError
from zatlas.randomness import random_words, shuffled

__all__ = [
    "Draws",
    "by_pixel_epoch",
    "by_pixel_epoch_length",
    "by_pixel_independent",
    "coverage",
    "effective_pixel_share",
    "equal",
    "evenly",
    "grid",
    "tiles_covering",
    "whole",
]


@dataclass(frozen=True)
class Draws:
    """Tiles to be looked at.

    Attributes:
        image: Row of the image in the collection.
        y: Top edge [px]; negative or beyond `height - tile` where the tile overhangs the image.
        x: Left edge [px].
    """

    image: Int[np.ndarray, " n"]
    y: Int[np.ndarray, " n"]
    x: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.image)

    def take(self, indices: Int[np.ndarray, " m"]) -> "Draws":
        """The draws at some positions, in that order."""
        return Draws(self.image[indices], self.y[indices], self.x[indices])


def _below(words: UInt64[np.ndarray, "*n"], bound: Int[np.ndarray, "*n"] | int) -> Int[np.ndarray, "*n"]:
    """Uniform whole numbers 0 <= k < bound; uneven by less than bound / 2^64."""
    return np.asarray(words % np.asarray(bound, dtype=np.uint64)).astype(np.int64)


def _extended(sizes: Int[np.ndarray, "n 2"], tile: int) -> Int[np.ndarray, "n 2"]:
    """Number of corners, along y and x, at which a tile touches the image."""
    return np.asarray(sizes, dtype=np.int64) + (tile - 1)


def tiles_covering(sizes: Int[np.ndarray, "n 2"], tile: int) -> int:
    """Mean number of tiles of `by_pixel_epoch`, rounded up: so many cover each pixel once on average.

    Args:
        sizes: Height and width of each image [px].
        tile: Side of the tiles [px].
    """
    return -(-int(_extended(sizes, tile).prod(axis=1).sum()) // tile**2)


def by_pixel_epoch(sizes: Int[np.ndarray, "n 2"], tile: int, seed: int, epoch: int) -> Draws:
    """One epoch in which every pixel of every image is seen exactly once, in shuffled order.

    Each image is covered by a grid of adjoining tiles whose phase is uniform over tile x tile positions and new in
    each epoch, so that each corner of the extended range is used in one of tile^2 epochs. The number of tiles varies a
    little with the phases. Expected visits per pixel are those of `by_pixel_independent`, without its misses (a share
    1/e of the pixels per epoch).

    Args:
        sizes: Height and width of each image [px].
        tile: Side of the tiles [px].
        seed: The one seed.
        epoch: Number of the epoch, from 0.
    """
    first, counts = _phased_grid(sizes, tile, _phases(len(sizes), tile, seed, epoch))
    image, row, column = _cells(counts)
    n = len(image)
    order = shuffled(seed, epoch, "tile shuffle", n)
    draws = Draws(image, first[image, 0] + row * tile, first[image, 1] + column * tile)
    return draws.take(order)


def by_pixel_epoch_length(sizes: Int[np.ndarray, "n 2"], tile: int, seed: int, epoch: int) -> int:
    """Number of tiles that `by_pixel_epoch` draws, without drawing them."""
    return int(_phased_grid(sizes, tile, _phases(len(sizes), tile, seed, epoch))[1].prod(axis=1).sum())


def _phases(n: int, tile: int, seed: int, epoch: int) -> Int[np.ndarray, "n 2"]:
    return _below(random_words(seed, epoch, "tile phase", np.arange(n))[:, :2], tile)


def _phased_grid(
    sizes: Int[np.ndarray, "n 2"], tile: int, phase: Int[np.ndarray, "n 2"]
) -> tuple[Int[np.ndarray, "n 2"], Int[np.ndarray, "n 2"]]:
    """First corner and number of tiles of each image, along y and x, when its grid has this phase (0 to tile - 1)."""
    return phase - (tile - 1), -(-(_extended(sizes, tile) - phase) // tile)


def _cells(
    counts: Int[np.ndarray, "n 2"],
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Image, row and column of each cell of grids of counts[i, 0] x counts[i, 1] cells, row by row."""
    per_image = counts.prod(axis=1)
    image = np.repeat(np.arange(len(counts)), per_image)
    cell = np.arange(len(image)) - np.repeat(np.cumsum(per_image) - per_image, per_image)
    columns = counts[image, 1]
    return image, cell // columns, cell % columns


def by_pixel_independent(
    sizes: Int[np.ndarray, "n 2"], tile: int, seed: int, epoch: int, indices: Int[np.ndarray, " m"]
) -> Draws:
    """Independent draws under which every pixel of the collection is equally likely, borders included.

    The image has probability proportional to (h + tile - 1)(w + tile - 1), the corner is uniform over its extended
    range.

    Args:
        sizes: Height and width of each image [px].
        tile: Side of the tiles [px].
        seed: The one seed.
        epoch: Number of the epoch, from 0.
        indices: Positions in the epoch.
    """
    return _placed_by_pixel(sizes, tile, random_words(seed, epoch, "tile position", indices))


def _placed_by_pixel(sizes: Int[np.ndarray, "n 2"], tile: int, words: UInt64[np.ndarray, "m 4"]) -> Draws:
    corners = np.cumsum(_extended(sizes, tile).prod(axis=1))
    image = np.searchsorted(corners, _below(words[:, 0], int(corners[-1])), side="right")
    return _at_random_corner(image, sizes, tile, words)


def equal(
    sizes: Int[np.ndarray, "n 2"],
    groups: Shaped[np.ndarray, " n"],
    tile: int,
    seed: int,
    epoch: int,
    indices: Int[np.ndarray, " m"],
) -> Draws:
    """Independent draws: each group equally likely, then each of its images, then each corner.

    Inside one image all pixels are equally likely, borders included; between images they are not: `coverage` says by
    how much.

    Args:
        sizes: Height and width of each image [px].
        groups: Group of each image; one common name when there are none.
        tile: Side of the tiles [px].
        seed: The one seed.
        epoch: Number of the epoch, from 0.
        indices: Positions in the epoch.
    """
    return _placed_equally(sizes, groups, tile, random_words(seed, epoch, "tile position", indices))


def _placed_equally(
    sizes: Int[np.ndarray, "n 2"], groups: Shaped[np.ndarray, " n"], tile: int, words: UInt64[np.ndarray, "m 4"]
) -> Draws:
    _, of_image, n_images = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
    by_group = np.argsort(of_image, kind="stable")
    first = np.cumsum(n_images) - n_images
    group = _below(words[:, 0], len(n_images))
    image = by_group[first[group] + _below(words[:, 1], n_images[group])]
    return _at_random_corner(image, sizes, tile, words)


def _at_random_corner(
    image: Int[np.ndarray, " m"], sizes: Int[np.ndarray, "n 2"], tile: int, words: UInt64[np.ndarray, "m 4"]
) -> Draws:
    corner = _below(words[:, 2:], _extended(sizes, tile)[image]) - (tile - 1)
    return Draws(image, corner[:, 0], corner[:, 1])


def whole(n: int, seed: int, epoch: int) -> Draws:
    """Each of `n` images once, in the shuffled order of this epoch."""
    image = shuffled(seed, epoch, "tile shuffle", n)
    return Draws(image, np.zeros(n, dtype=np.int64), np.zeros(n, dtype=np.int64))


def grid(sizes: Int[np.ndarray, "n 2"], tile: int, stride: int) -> Draws:
    """Fixed tiles, evenly spaced from edge to edge of each image, image by image and row by row.

    Corners run from 0 to `side - tile` in steps of at most `stride`, so that no part of the image is left out and no
    tile overhangs. Along a side shorter than the tile there is one tile, overhanging equally at both ends.

    Args:
        sizes: Height and width of each image [px].
        tile: Side of the tiles [px].
        stride: Largest distance between neighbouring tiles [px].
    """
    span = np.asarray(sizes, dtype=np.int64) - tile
    counts = np.where(span > 0, -(-span // stride) + 1, 1)
    image, row, column = _cells(counts)

    def corner(axis: int, step: np.ndarray) -> Int[np.ndarray, " m"]:
        length, gaps = span[image, axis], np.maximum(counts[image, axis] - 1, 1)
        return np.asarray(np.where(length > 0, (2 * step * length + gaps) // (2 * gaps), length // 2))

    return Draws(image, corner(0, row), corner(1, column))


def coverage(
    sizes: Int[np.ndarray, "n 2"],
    groups: Shaped[np.ndarray, " n"],
    tile: int,
    sampler: str,
    draws: Draws | None = None,
) -> pd.DataFrame:
    """How much of what the model sees comes from each group, under the law of a sampler and in real draws.

    Args:
        sizes: Height and width of each image [px].
        groups: Group of each image.
        tile: Side of the tiles [px].
        sampler: "whole", "by_pixel" or "equal".
        draws: Draws to compare with the law.

    Returns:
        One row per group: group, images, pixels, tile_share (expected share of the tiles), pixel_share (expected share
        of the pixels seen, padding not counted), pixel_weight (expected visits of one of its pixels relative to the
        mean over all pixels), and with `draws` the realised_tile_share and realised_pixel_share.

    Raises:
        UsageError: the sampler is unknown.
    """
    density = _visits_per_pixel(sizes, groups, tile, sampler)
    pixels = np.asarray(sizes, dtype=np.int64).prod(axis=1)
    table = pd.DataFrame(
        {
            "group": groups.astype(str),
            "images": 1,
            "pixels": pixels,
            "tile_share": _image_probability(sizes, groups, tile, sampler),
            "pixel_share": density * pixels / np.sum(density * pixels),
        }
    )
    if draws is not None:
        n = len(sizes)
        seen = np.bincount(draws.image, weights=_pixels_inside(draws, sizes, tile), minlength=n)
        table["realised_tile_share"] = np.bincount(draws.image, minlength=n) / len(draws)
        table["realised_pixel_share"] = seen / seen.sum()
    result = table.groupby("group", sort=True).sum().reset_index()
    weight = result["pixel_share"] / (result["pixels"] / result["pixels"].sum())
    result.insert(5, "pixel_weight", weight)
    return result


def effective_pixel_share(
    sizes: Int[np.ndarray, "n 2"], groups: Shaped[np.ndarray, " n"], tile: int, sampler: str
) -> float:
    """Effective sample size as a share of all pixels, from 0 to 1: (sum w)^2 / (n sum w^2), w the visits of a pixel.

    1 when all pixels are equally likely. At 0.5 the draws tell as much as equal draws from half of the pixels would.

    Source: Kish 1965, Survey Sampling, section 11.7.
    Example:
        >>> effective_pixel_share(np.array([[50, 60], [500, 600]]), np.array(["a", "b"]), 16, "by_pixel")
        1.0
    """
    density = _visits_per_pixel(sizes, groups, tile, sampler)
    pixels = np.asarray(sizes, dtype=np.int64).prod(axis=1)
    return float(np.sum(density * pixels) ** 2 / (pixels.sum() * np.sum(density**2 * pixels)))


def _image_probability(
    sizes: Int[np.ndarray, "n 2"], groups: Shaped[np.ndarray, " n"], tile: int, sampler: str
) -> np.ndarray:
    if sampler == "by_pixel":
        corners = _extended(sizes, tile).prod(axis=1)
        return np.asarray(corners / corners.sum())
    if sampler == "equal":
        _, of_image, n_images = np.unique(groups.astype(str), return_inverse=True, return_counts=True)
        return np.asarray(1 / (len(n_images) * n_images[of_image]))
    if sampler == "whole":
        return np.full(len(sizes), 1 / len(sizes))
    raise UsageError(f"no law for the sampler {sampler!r}", hint="use by_pixel, equal or whole")


def _visits_per_pixel(
    sizes: Int[np.ndarray, "n 2"], groups: Shaped[np.ndarray, " n"], tile: int, sampler: str
) -> np.ndarray:
    """Expected visits of each pixel of each image per draw, up to a common factor that makes by_pixel exactly 1."""
    probability = _image_probability(sizes, groups, tile, sampler)
    corners = _extended(sizes, tile).prod(axis=1)
    if sampler == "by_pixel":
        return np.ones(len(sizes))
    return probability if sampler == "whole" else probability * corners.sum() / corners


def _pixels_inside(draws: Draws, sizes: Int[np.ndarray, "n 2"], tile: int) -> Int[np.ndarray, " m"]:
    """Number of pixels of each drawn tile that lie inside its image."""
    size = np.asarray(sizes, dtype=np.int64)[draws.image]
    rows = np.minimum(draws.y + tile, size[:, 0]) - np.maximum(draws.y, 0)
    columns = np.minimum(draws.x + tile, size[:, 1]) - np.maximum(draws.x, 0)
    return np.asarray(rows * columns)


def evenly(n: int, most: int) -> Int[np.ndarray, " m"]:
    """Rows 0 to n - 1, or at most `most` of them evenly spaced, first and last included.

    Example:
        >>> evenly(5, 3)
        array([0, 2, 4])
    """
    return np.unique(np.linspace(0, max(n - 1, 0), min(n, most)).astype(np.int64))
