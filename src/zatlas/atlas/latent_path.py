"""A path through latent space as a record; `paths` makes them. Apart, so that stored results are read without torch."""

from dataclasses import dataclass, field

import numpy as np

__all__ = ["LatentPath"]


@dataclass(kw_only=True)
class LatentPath:
    """A path through latent space from one real image to another, not decoded.

    Attributes:
        name: What the ends are extreme on: "PC1", "t-SNE 1", "z3", a label, or "a -> b" for two chosen images.
        axis_kind: Name of a map such as "pca", or "latent", "label" or "pair".
        start_row, end_row: Atlas rows of the two images.
        start_image, end_image: Their names.
        t: Positions of the p interior points, k / (p + 1), (p,).
        z: Latents with both ends, (p + 2, d).
        kind: "straight" or "spherical".
        note: What a reader must know about this path, may be empty.
        nearest_distance: Distance of each of the p + 2 points to the nearest real latent, in median
            nearest-neighbour distances of the real latents, (p + 2,).
    """

    name: str
    axis_kind: str
    start_row: int
    end_row: int
    start_image: str
    end_image: str
    t: np.ndarray
    z: np.ndarray
    kind: str = "straight"
    note: str = ""
    nearest_distance: np.ndarray = field(default_factory=lambda: np.zeros(0))
