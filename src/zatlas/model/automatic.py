"""What a network takes from its images where nothing is asked for. Imports no torch: studies are planned without it."""

import math

__all__ = ["SHORT_TRAINING", "automatic_widths", "resolved_linear_path"]

_NARROWEST, _WIDEST = 24, 256  # channels

SHORT_TRAINING = 1000
"""Steps up to which whole images too begin at principal components: later the network alone is ahead (defaults.md)."""


def automatic_widths(size: int) -> tuple[int, ...]:
    """Channels of the stages for images of `size` px: as many stages as leave 4 to 7 px, doubling up to 256.

    Example:
        >>> automatic_widths(64), automatic_widths(128)
        ((32, 64, 128, 256), (24, 48, 96, 192, 256))
    """
    n_stages = min(max(int(math.log2(max(size, 1))) - 2, 1), 7)
    first = max(_WIDEST >> (n_stages - 1), _NARROWEST)
    return tuple(min(first << stage, _WIDEST) for stage in range(n_stages))


def resolved_linear_path(asked: str, sampler: str, n_steps: int) -> str:
    """Whether a network has a linear path: as asked for, else on for tiles and for whole images in a short training.

    Args:
        asked: "on", "off" or "auto".
        sampler: Of the training tiles.
        n_steps: Of the training, at most.

    Example:
        >>> [resolved_linear_path("auto", *case) for case in (("by_pixel", 9000), ("whole", 9000), ("whole", 300))]
        ['on', 'off', 'on']
    """
    if asked != "auto":
        return asked
    return "off" if sampler == "whole" and n_steps > SHORT_TRAINING else "on"
