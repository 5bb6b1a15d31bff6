"""Pictures as the explorer shows them: greys or colours of the network's scale, in 8 bits."""

import numpy as np
from jaxtyping import Float, UInt8

from zatlas.tiles.transforms import as_shown

__all__ = ["eight_bits", "shown"]


def shown(scaled: Float[np.ndarray, "b c h w"], limits: tuple[float, float]) -> Float[np.ndarray, "b k h w"]:
    """On the display scale 0..1; images of two, four or more channels show the mean of them."""
    greys = as_shown(scaled, limits)
    return np.asarray(greys if greys.shape[1] in (1, 3) else greys.mean(axis=1, keepdims=True))


def eight_bits(greys: Float[np.ndarray, "b c h w"]) -> UInt8[np.ndarray, "b h w c"]:
    """Pictures on 0..1 as bytes, channels last."""
    return np.ascontiguousarray(np.rint(greys * 255).astype(np.uint8).transpose(0, 2, 3, 1))
