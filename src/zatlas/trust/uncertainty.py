"""How far a number may lie from what it stands for: standard errors and intervals."""

import math

__all__ = ["difference_error", "spearman_interval", "standard_error"]

_NORMAL_95 = 1.959964  # 97.5 % quantile of the normal distribution
_FIELLER = 1.06  # variance of the z-transformed rank correlation, times n - 3
_LEAST_IMAGES = 4


def standard_error(deviation: float, n: float) -> float:
    """Standard error of the mean of n independent values with a standard deviation: deviation / sqrt(n).

    Fewer than one value count as one; an unknown number (NaN) gives NaN.

    Example:
        >>> standard_error(3.0, 9)
        1.0
    """
    return deviation / math.sqrt(max(n, 1.0))


def difference_error(a: float, b: float) -> float:
    """Standard error of a difference between two independent means with standard errors a and b: sqrt(a^2 + b^2).

    Of the same images measured twice it is an upper limit where the two go together, as they mostly do.

    Example:
        >>> difference_error(3.0, 4.0)
        5.0
    """
    return math.hypot(a, b)


def spearman_interval(r: float, n: int) -> tuple[float | None, float | None]:
    """95 % interval of a rank correlation by Fisher's transformation: tanh(artanh r -+ 1.96 sqrt(1.06 / (n - 3))).

    Args:
        r: Spearman's rank correlation.
        n: Images; with 4 or fewer, or without a correlation, there is no interval.

    Returns:
        Its ends, both r for a perfect correlation; (None, None) where there is none.

    Source: Fieller, Hartley & Pearson 1957, https://doi.org/10.1093/biomet/44.3-4.470
    """
    if not math.isfinite(r) or n <= _LEAST_IMAGES:
        return None, None
    if abs(r) >= 1 - 1e-12:
        return r, r
    half = _NORMAL_95 * math.sqrt(_FIELLER / (n - 3))
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
