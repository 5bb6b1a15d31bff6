"""Paths through latent space: between two images, along one dimension, and how far they are from real latents.

A path always runs in latent space, straight or along a great circle. How far a point lies from all real latents says
how much a decoded image there can be trusted. Everything takes arrays, and nothing here decodes; which images are
extreme on which axis is known by `axes` and the atlas.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from zatlas.atlas.latent_path import LatentPath
from zatlas.atlas.neighbours import nearest_neighbours
from zatlas.errors import DataError, UsageError

__all__ = [
    "TRAVERSAL_VALUES",
    "aggregate_sd",
    "extremes",
    "interpolate",
    "nearest_distance",
    "path_between",
    "positions",
    "relative_to_spacing",
    "spacing",
    "traversal",
    "traversal_order",
]

TRAVERSAL_VALUES = (-2.0, -1.5, -1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
_KINDS = ("straight", "spherical")


def positions(points: int) -> Float[np.ndarray, " p"]:
    """Positions of the interior points of a path: k / (points + 1) for k = 1..points, strictly between 0 and 1.

    Example:
        >>> positions(3)
        array([0.25, 0.5 , 0.75])
    """
    if points < 1:
        raise UsageError(f"--points is {points}, expected 1 or more", hint="use --points 7")
    return np.arange(1, points + 1) / (points + 1)


def interpolate(
    z0: Float[np.ndarray, " d"], z1: Float[np.ndarray, " d"], points: int = 7, kind: str = "straight"
) -> Float[np.ndarray, "p d"]:
    """Latents from `z0` to `z1`, both ends and `points` interior points, float32 (points + 2, d).

    - straight: z0 + t (z1 - z0).
    - spherical: the direction turns from that of z0 to that of z1 by equal angles, the length goes evenly from that of
      z0 to that of z1; ends of equal length stay at that length throughout. Where there is no such arc (an end at the
      origin, one dimension) the path is straight; between opposite directions one of the many arcs is taken.

    Raises:
        UsageError: `kind` is neither, or `points` is below 1.

    Source: slerp, Shoemake 1985; for latents White 2016, https://arxiv.org/abs/1609.04468
    """
    if kind not in _KINDS:
        raise UsageError(f"a path cannot be {kind!r}", hint="use straight or spherical")
    z0, z1 = np.asarray(z0, np.float64), np.asarray(z1, np.float64)
    t = np.concatenate([[0.0], positions(points), [1.0]])[:, None]
    z = z0 + t * (z1 - z0) if kind == "straight" else _spherical(z0, z1, t)
    z = z.astype(np.float32)
    z[0], z[-1] = z0, z1
    return z


def _spherical(z0: np.ndarray, z1: np.ndarray, t: np.ndarray) -> np.ndarray:
    length0, length1 = float(np.linalg.norm(z0)), float(np.linalg.norm(z1))
    straight = z0 + t * (z1 - z0)
    if min(length0, length1) == 0 or len(z0) < 2:
        return np.asarray(straight)
    start = z0 / length0
    cosine = float(np.clip(start @ z1 / length1, -1, 1))
    across = z1 / length1 - cosine * start
    if np.linalg.norm(across) < 1e-9:
        if cosine > 0:
            return np.asarray(straight)
        # Opposite directions: turn over the axis on which the start lies least.
        across = np.eye(len(z0))[np.abs(start).argmin()]
        across = across - (across @ start) * start
    across = across / np.linalg.norm(across)
    angle = np.arccos(cosine) * t
    lengths = length0 + t * (length1 - length0)
    return np.asarray(lengths * (np.cos(angle) * start + np.sin(angle) * across))


def path_between(
    latents: Float[np.ndarray, "n d"],
    rows: tuple[int, int],
    points: int = 7,
    *,
    images: Sequence[str],
    axis: tuple[str, str] = ("", "pair"),
    kind: str = "straight",
    unit: float = 0.0,
    note: str = "",
) -> LatentPath:
    """The path between two real images.

    Args:
        latents: Of all images.
        rows: Where the path begins and ends.
        points: Interior points.
        images: Names of all images.
        axis: Name and kind of the axis on which the ends are extreme; by default they were chosen.
        kind: "straight" or "spherical".
        unit: The `spacing` of the latents, where it is known already; 0 computes it.
        note: What a reader must know about the path.

    Raises:
        UsageError: there are no such rows, or they are the same.
    """
    start, end = _checked_rows(len(latents), rows)
    z = interpolate(latents[start], latents[end], points, kind)
    name, axis_kind = axis
    return LatentPath(
        name=name or f"{images[start]} -> {images[end]}",
        axis_kind=axis_kind,
        start_row=start,
        end_row=end,
        start_image=images[start],
        end_image=images[end],
        t=positions(points),
        z=z,
        kind=kind,
        note=note,
        nearest_distance=relative_to_spacing(nearest_distance(z, latents), latents, unit=unit),
    )


def _checked_rows(n: int, rows: tuple[int, int]) -> tuple[int, int]:
    start, end = (int(row) for row in rows)
    if not (0 <= start < n and 0 <= end < n) or start == end:
        raise UsageError(
            f"a path cannot go from row {start} to row {end} of an atlas of {n}",
            hint=f"choose two different rows from 0 to {n - 1}",
        )
    return start, end


def extremes(latents: Float[np.ndarray, "n d"], values: Float[np.ndarray, " n"], name: str) -> tuple[int, int]:
    """Rows of the images lowest and highest on an axis.

    Several images may share the lowest or highest value (labels often do): then the one nearest to their common centre
    in latent space stands for them.

    Args:
        latents: Of all images.
        values: Of all images on the axis; those that are not finite are left out.
        name: Of the axis, for the message.

    Raises:
        UsageError: all images have the same value.
    """
    known = np.flatnonzero(np.isfinite(values))
    if len(known) < 2 or np.ptp(values[known]) == 0:
        raise UsageError(f"all images have the same value on {name}", hint="choose another axis")
    low, high = values[known].min(), values[known].max()
    return _most_typical(latents, known[values[known] == low]), _most_typical(latents, known[values[known] == high])


def _most_typical(latents: np.ndarray, rows: Int[np.ndarray, " m"]) -> int:
    if len(rows) == 1:
        return int(rows[0])
    own = latents[rows].astype(np.float64)
    return int(rows[np.linalg.norm(own - own.mean(axis=0), axis=1).argmin()])


def nearest_distance(z: Float[np.ndarray, "p d"], latents: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " p"]:
    """Distance of each point to the nearest real latent; 0 at a real latent."""
    return np.asarray(nearest_neighbours(latents, 1, queries=z)[1][:, 0])


def relative_to_spacing(
    distance: Float[np.ndarray, " p"], latents: Float[np.ndarray, "n d"], *, unit: float = 0.0
) -> Float[np.ndarray, " p"]:
    """Distances in units of `spacing`, which is computed when `unit` is 0.

    About 1 and below: as near to the data as the data are to one another.
    """
    return np.asarray(distance, np.float64) / (unit or spacing(latents))


def spacing(latents: Float[np.ndarray, "n d"], *, most: int = 2000) -> float:
    """Median distance of a real latent to its nearest neighbour; 1 for latents that coincide and for a single one.

    With more than `most` latents, evenly spaced rows are asked for their neighbour among all.
    """
    if len(latents) < 2:
        return 1.0
    rows = np.linspace(0, len(latents) - 1, min(len(latents), most)).astype(np.int64)
    return float(np.median(nearest_neighbours(latents, 2, queries=latents[rows])[1][:, 1])) or 1.0


def aggregate_sd(mean: Float[np.ndarray, "n d"], log_var: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Standard deviation of the aggregate posterior along each dimension: sqrt(var(mean) + mean(exp(log_var)))."""
    return np.asarray(np.sqrt(mean.astype(np.float64).var(axis=0) + np.exp(log_var.astype(np.float64)).mean(axis=0)))


def traversal_order(
    rate_per_dim: Float[np.ndarray, " d"], is_active: Bool[np.ndarray, " d"], *, most: int = 32
) -> list[int]:
    """Dimensions to traverse: the active ones by falling rate, at most `most`; the first four when none is active."""
    order = [int(dim) for dim in np.argsort(-np.asarray(rate_per_dim), kind="stable")]
    active = [dim for dim in order if is_active[dim]]
    return (active or order[:4])[:most]


def traversal(
    mean: Float[np.ndarray, "n d"],
    log_var: Float[np.ndarray, "n d"],
    dim: int,
    values: tuple[float, ...] = TRAVERSAL_VALUES,
) -> Float[np.ndarray, "k d"]:
    """Latents along one dimension, the others held at the mean of all images, float32.

    Args:
        mean: Posterior means of the images.
        log_var: Posterior log-variances.
        dim: The dimension that varies.
        values: Positions in standard deviations of the aggregate posterior, from its mean.

    Raises:
        DataError: there is no such dimension.
    """
    if not 0 <= dim < mean.shape[1]:
        raise DataError(f"there is no latent dimension {dim}", hint=f"use 0 to {mean.shape[1] - 1}")
    z = np.repeat(mean.mean(axis=0, dtype=np.float64)[None], len(values), axis=0)
    z[:, dim] += np.asarray(values) * aggregate_sd(mean, log_var)[dim]
    return np.asarray(z, np.float32)
