"""How values spread: counts in equal bins, shares of several groups pooled, finer bins joined."""

import numpy as np
from jaxtyping import Float, Int

__all__ = ["coarser", "histogram", "pooled"]


def histogram(values: Float[np.ndarray, " n"], bins: int = 40) -> tuple[float, float, Int[np.ndarray, " b"]]:
    """Counts in equal bins from the lowest to the highest value; around a single value one wide bin range of 1.

    Returns:
        Lower edge of the first bin, upper edge of the last, counts.

    Example:
        >>> histogram(np.array([0.0, 1.0, 2.0, 4.0]), bins=2)
        (0.0, 4.0, array([2, 2]))
    """
    low, high = float(values.min()), float(values.max())
    if not high > low:
        low, high = low - 0.5, high + 0.5
    return low, high, np.histogram(values, bins=bins, range=(low, high))[0]


def pooled(shares: Float[np.ndarray, "g b"], weights: Float[np.ndarray, " g"]) -> Float[np.ndarray, " b"]:
    """Shares per bin of all groups together: the mean of theirs, each weighed by how much it holds.

    Example:
        >>> pooled(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([3.0, 1.0]))
        array([0.75, 0.25])
    """
    return np.asarray(np.average(shares, axis=0, weights=weights))


def coarser(
    shares: Float[np.ndarray, " b"], edges: Float[np.ndarray, " e"], bins: int = 64
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " k"]]:
    """Bins joined to `bins` where there are a multiple of it; otherwise as they are.

    Args:
        shares: Share of each bin, (b,).
        edges: Edges of the bins, (b + 1,).
        bins: How many are wanted.

    Returns:
        Shares and edges.
    """
    if len(shares) > bins and len(shares) % bins == 0:
        return shares.reshape(bins, -1).sum(axis=1), edges[:: len(shares) // bins]
    return shares, edges
