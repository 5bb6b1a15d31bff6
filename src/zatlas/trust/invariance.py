"""Whether latents say what an image shows, or where in the image it lies: how far they move when the tile is shifted.

A tile cut a few pixels further shows nearly the same tissue. How much a latent dimension changes by that is compared
with how much it differs between tiles. A shift also brings new tissue in at one border and takes some out at the other,
which no measure from pixels can ignore; the same number of grey histograms, which know no places, says how much that
is.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from zatlas.trust.amortisation import mean_interval

__all__ = ["ShiftShare", "shift_share"]

_NO_VARIANCE = 1e-12


class ShiftShare(NamedTuple):
    """How much of their variance latents owe to a shift: 0 nothing; 1 a shifted tile is as far as any other tile.

    Attributes:
        share: Of all dimensions together, each weighing by its variance; NaN where nothing varies.
        low, high: Ends of the 95 % interval of `share`; NaN with fewer than two units.
        per_dim: Of each dimension, (d,); NaN where it does not vary.
    """

    share: float
    low: float
    high: float
    per_dim: Float[np.ndarray, " d"]


def shift_share(z: Float[np.ndarray, "n d"], shifted: Float[np.ndarray, "s n d"], units: Sequence[str]) -> ShiftShare:
    """Share of the variance of latents that shifts of the tiles make.

    With m the mean of z and of one shift's latents together: the sum of (z - shifted)^2 over tiles and shifts, divided
    by that of (z - m)^2 + (shifted - m)^2. This is 1 less the intraclass correlation of pairs, and twice the share of a
    variance within pairs; 0 for latents that shifts leave as they are, 1 for those of tiles drawn at random, up to 2.
    An offset of all latents, and a scale common to all dimensions, change nothing.

    Args:
        z: Latents of the tiles.
        shifted: Latents of the same tiles after s shifts, each with the rows in the same order.
        units: What each tile belongs to (group, image); units are taken as independent of one another.

    Returns:
        The share, with an interval by the linearised ratio over units.

    Source: Fisher 1925, Statistical methods for research workers, chapter VII; the ratio: Cochran 1977, Sampling
        techniques, section 6.4

    Example:
        >>> z = np.array([[0.0], [2.0], [4.0], [6.0]])
        >>> shifted = (z + np.array([[1.0], [-1.0], [1.0], [-1.0]]))[None]
        >>> round(shift_share(z, shifted, list("aabb")).share, 3)  # 4 / 36
        0.111
    """
    a, b = np.asarray(z, np.float64)[None], np.asarray(shifted, np.float64)
    middle = 0.5 * (a.mean(axis=1, keepdims=True) + b.mean(axis=1, keepdims=True))
    moved = ((a - b) ** 2).sum(axis=0)
    spread = ((a - middle) ** 2 + (b - middle) ** 2).sum(axis=0)
    varies = spread.sum(axis=0) > _NO_VARIANCE * max(float(spread.sum()), 1e-300)
    per_dim = np.where(varies, moved.sum(axis=0) / np.where(varies, spread.sum(axis=0), 1.0), np.nan)
    if not varies.any():
        return ShiftShare(float("nan"), float("nan"), float("nan"), per_dim)
    share = float(moved.sum() / spread.sum())
    linear = share + (moved.sum(axis=1) - share * spread.sum(axis=1)) / spread.sum(axis=1).mean()
    return ShiftShare(share, *mean_interval(linear, units), per_dim)
