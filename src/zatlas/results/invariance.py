"""How far the latents of tiles move when the tiles are shifted: tiles in, the numbers of trust/invariance out.

Shifted tiles are cut from the image itself, down and to the right, or up and to the left where the image ends; nothing
is reflected. Bounded: at most 128 tiles, each shifted by three distances along both axes.
"""

from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int

from zatlas.compute import in_shards
from zatlas.results.pictures import View
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import PixelPca
from zatlas.tiles.samplers import evenly
from zatlas.trust.amortisation import units_of
from zatlas.trust.invariance import shift_share
from zatlas.trust.probes import grey_histogram

__all__ = ["SHIFTS", "measured_invariance", "shifted_tiles"]

SHIFTS = (1 / 16, 1 / 8, 1 / 4)
"""Distances, as a share of the side of a tile."""

_MOST_TILES, _LEAST_TILES = 128, 8
_NO_VARIANCE = 1e-12


def measured_invariance(view: View, tiles: Tiles, pca: PixelPca, *, part: str) -> dict[str, Any]:
    """Share of the variance of latents, PCA scores and grey histograms that shifts make, for each distance.

    Args:
        view: The network, in evaluation mode, and the greys as shown.
        tiles: Grid tiles, best those of the test part.
        pca: Of images as shown.
        part: Of which part of the split the tiles are; noted in the result.

    Returns:
        n, n_units, by (name of the units), part, size_px, and shifts: for each distance px, per_dim (of the latents)
        and for `latents`, `pca` and `histogram` the share, with `_low` and `_high`. {} where fewer than 8 tiles have
        room for being shifted, as whole images have none.
    """
    distances = [max(1, round(tiles.size * share)) for share in SHIFTS]
    fixed, steps = shifted_tiles(tiles, max(distances), _MOST_TILES)
    if len(fixed) < _LEAST_TILES:
        return {}
    table = fixed.table()
    units, by = units_of(table["group"].astype(str).tolist(), table["image"].astype(str).tolist())
    sources = _sources(view, fixed, pca)
    shifts = []
    for px in distances:
        seen = [_sources(view, fixed.moved(px * steps * axis), pca) for axis in np.eye(2, dtype=np.int64)]
        row: dict[str, Any] = {"px": px}
        for name, own in sources.items():
            found = shift_share(own, np.stack([one[name] for one in seen]), units)
            row |= {name: found.share, f"{name}_low": found.low, f"{name}_high": found.high}
            if name == "latents":
                row["per_dim"] = found.per_dim.tolist()
        shifts.append(row)
    return {
        "n": len(fixed), "n_units": len(set(units)), "by": by, "part": part, "size_px": tiles.size, "shifts": shifts,
    }  # fmt: skip


def shifted_tiles(tiles: Tiles, most_px: int, most: int) -> tuple[Tiles, Int[np.ndarray, "n 2"]]:
    """Tiles that lie in their image and have room in it along both axes, and where: 1 down or right, -1 up or left.

    Args:
        tiles: Grid tiles.
        most_px: Longest shift [px].
        most: Number of tiles, evenly spaced among those with room.
    """
    table = tiles.table()
    corners = table[["y_px", "x_px"]].to_numpy(np.int64)
    shapes = [tiles.images[row].shape_at(tiles.level)[1:] for row in range(len(tiles.images))]
    free = np.array(shapes, np.int64)[table["image_row"].to_numpy()] - tiles.size - corners
    forwards, backwards = free >= most_px, corners >= most_px
    has_room: Bool[np.ndarray, " n"] = ((corners >= 0) & (free >= 0) & (forwards | backwards)).all(axis=1)
    rows = np.flatnonzero(has_room)
    rows = rows[evenly(len(rows), most)]
    return tiles.subset(rows), np.where(forwards[rows], 1, -1)


def _sources(view: View, tiles: Tiles, pca: PixelPca) -> dict[str, Float[np.ndarray, "n f"]]:
    """What is compared, of each tile; PCA scores of variance 1 each, as the prior wants latents to be.

    Unscaled, the share of PCA would be that of brightness, which has most of the variance and moves least.
    """
    scaled = tiles.take(np.arange(len(tiles)))
    encoded = in_shards(lambda x: view.network.encode(x).mean, torch.from_numpy(scaled).to(view.network.device))
    shown = view.display(scaled)
    return {
        "latents": torch.cat(encoded).double().cpu().numpy(),
        "pca": pca.transform(shown) / np.sqrt(np.maximum(pca.variance[: len(pca.components)], _NO_VARIANCE)),
        "histogram": grey_histogram(shown),
    }
