"""One synthetic section of cell-body-stained (Nissl) olfactory tubercle, drawn from known factors.

The picture is built as a microscope sees it: an optical density is summed over neuropil and cells, multiplied by the
strength of the stain, and turned into grey by Beer-Lambert, `grey = lamp * exp(-stain * density)`. From the pial border
(below) upwards stand the cell-poor layer I, the dense and folded layer II and layer III, in which lie the islands of
Calleja, fibre bundles and vessels. Tears and glass hold no tissue and no stain. Everything is invented: no pixel and no
statistic of a real picture is used beyond the grey levels that are usual for such sections.

Not modelled: sectioning angle, colour, stitching seams, focus drift within an image.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8
from scipy.ndimage import gaussian_filter
from scipy.spatial import cKDTree

from zatlas.randomness import generator

__all__ = ["FACTOR_RANGES", "draw_section"]

FACTOR_RANGES: dict[str, tuple[float, float]] = {
    "stain": (0.4, 1.8),
    "cell_density": (0.04, 0.34),
    "cell_size": (0.75, 1.35),
    "island_fraction": (0.0, 0.10),
    "fibres": (0.0, 0.15),
    "vessels": (0.0, 12.0),
    "tears": (0.0, 0.05),
}
"""Lowest and highest value of each factor; units in `zatlas.images.phantom`."""

_GOLDEN = 0.6180339887498949
_MEAN_RADIUS_PX = 3.6  # of a medium soma at cell_size 1
_NEUROPIL = 0.38  # optical density of tissue without cells
_SATURATION = 1.7  # the optical density that overlapping cells approach
_ISLAND_PACKING = 0.70
_LAYERS = (0.04, 2.0, 1.0)  # cells in layers I, II and III, in units of cell_density


@dataclass(frozen=True)
class _Anatomy:
    """What lies where in one section; all maps have the shape of the image."""

    tissue: Bool[np.ndarray, "h w"]
    cells: Float32[np.ndarray, "h w"]  # expected cell cover in units of cell_density
    neuropil: Float32[np.ndarray, "h w"]  # optical density between the cells
    islands: Bool[np.ndarray, "h w"]
    fibres: Bool[np.ndarray, "h w"]
    fibre_angle: Float32[np.ndarray, "h w"]
    lumens: Float32[np.ndarray, "h w"]  # 1 inside a vessel, soft edge
    vessels: Float[np.ndarray, "n 5"]  # y, x, long radius, short radius [px], angle [rad]


@dataclass(frozen=True)
class _Cells:
    """Somata, one entry each."""

    y: Float[np.ndarray, " n"]
    x: Float[np.ndarray, " n"]
    radius: Float[np.ndarray, " n"]
    aspect: Float[np.ndarray, " n"]
    angle: Float[np.ndarray, " n"]
    density: Float[np.ndarray, " n"]  # peak optical density
    softness: Float[np.ndarray, " n"]  # width of the edge [px]
    has_nucleolus: Bool[np.ndarray, " n"]
    phase: Float[np.ndarray, " n"]  # turns the corners of the outline

    @staticmethod
    def join(*parts: "_Cells") -> "_Cells":
        names = _Cells.__dataclass_fields__
        return _Cells(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})

    def take(self, rows: np.ndarray) -> "_Cells":
        return _Cells(**{name: getattr(self, name)[rows] for name in _Cells.__dataclass_fields__})


def draw_section(
    seed: int, brain: int, image: int, *, min_px: int, max_px: int
) -> tuple[UInt8[np.ndarray, "h w"], dict[str, float]]:
    """Draw section `image` of brain number `brain`, a pure function of the arguments.

    Args:
        brain: Position of the brain in the file (0 is the first); sets the level of the stain.
        image: Position of the image in the brain; it does not matter how many there are.
        min_px: Shortest side [px].
        max_px: Longest side [px].

    Returns:
        The picture, and its factors as drawn (shares are measured in the finished picture).
    """
    rng = generator(seed, "phantom section", brain, image)
    height, width = (int(side) for side in rng.integers(min_px, max_px + 1, size=2))
    wanted = {name: float(rng.uniform(low, high)) for name, (low, high) in FACTOR_RANGES.items()}
    wanted["stain"] = _stain(seed, brain, rng.uniform())
    tears = _tear_mask(rng, height, width, wanted["tears"])
    anatomy = _anatomy(rng, height, width, wanted, tears)
    cells = _all_cells(rng, anatomy, wanted)
    somata = _SATURATION * -np.expm1(-_render(cells, height, width) / _SATURATION)
    density = _cut_vessels(wanted["stain"] * anatomy.neuropil + wanted["stain"] ** 0.4 * somata, anatomy)
    density *= gaussian_filter((anatomy.tissue & ~tears).astype(np.float32), 0.7)
    pixels = _expose(rng, density)
    n_tissue = max(int(anatomy.tissue.sum()), 1)
    measured = {
        "island_fraction": float((anatomy.islands & ~tears).sum() / n_tissue),
        "fibres": float((anatomy.fibres & ~tears).sum() / n_tissue),
        "vessels": len(anatomy.vessels) / (height * width) * 1e5,
        "tears": float((tears & anatomy.tissue).sum() / (height * width)),
    }
    return pixels, {name: round((wanted | measured)[name], 6) for name in FACTOR_RANGES}


def _stain(seed: int, brain: int, variation: float) -> float:
    """Level of the brain, spread by the golden ratio so that brains differ, plus the variation of the image."""
    low, high = FACTOR_RANGES["stain"]
    offset = generator(seed, "phantom section").uniform()
    level = (offset + brain * _GOLDEN) % 1.0
    return float(low + (high - low) * (0.55 * level + 0.45 * variation))


# ---- where tissue, layers, islands, fibres, vessels and tears lie


def _anatomy(
    rng: np.random.Generator, height: int, width: int, wanted: dict[str, float], tears: Bool[np.ndarray, "h w"]
) -> _Anatomy:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    pia = height * (1 - rng.uniform(0.015, 0.03)) + _wave(rng, width, height * 0.006, waves=4)
    depth = pia[None, :] - y  # px below the pial surface
    tissue = depth > 0
    fold = _wave(rng, width, height * 0.03, waves=6)
    top_of_1 = height * rng.uniform(0.23, 0.26) + fold
    thickness_2 = height * rng.uniform(0.10, 0.13) + _wave(rng, width, height * 0.015, waves=5)
    cells = _layer_profile(depth, top_of_1, thickness_2, height)
    cells *= np.exp(0.15 * _smooth_noise(rng, height, width, 22.0))
    neuropil = _NEUROPIL * (1 + 0.05 * _smooth_noise(rng, height, width, 30.0))
    islands, shell = _island_mask(rng, depth, top_of_1 + thickness_2, wanted["island_fraction"])
    fibres, angle, streaks = _fibre_mask(rng, depth, top_of_1 + thickness_2, wanted["fibres"])
    fibres &= ~islands
    vessels = _place_vessels(rng, tissue & ~islands, wanted["vessels"])
    lumens = np.zeros((height, width), np.float32)
    for vessel in vessels:
        np.maximum(lumens, _ellipse(y, x, vessel), out=lumens)
    neuropil = np.where(fibres, neuropil * (0.78 + 0.16 * streaks), neuropil)
    cells *= tissue & ~tears & ~islands
    cells[shell & ~islands] *= 0.25
    cells[fibres] *= 0.10
    cells *= 1 - lumens
    return _Anatomy(tissue, cells, neuropil.astype(np.float32), islands & ~tears, fibres, angle, lumens, vessels)


def _layer_profile(
    depth: Float32[np.ndarray, "h w"],
    top_of_1: Float[np.ndarray, " w"],
    thickness_2: Float[np.ndarray, " w"],
    height: int,
) -> Float32[np.ndarray, "h w"]:
    """Expected cell cover against depth: few cells in layer I, many in II, fewer with depth in III."""
    step = height * 0.012
    into_2 = _sigmoid((depth - top_of_1) / step)
    into_3 = _sigmoid((depth - top_of_1 - thickness_2) / (2 * step))
    one, two, three = _LAYERS
    return (one + (two - one) * into_2 + (three - two) * into_3).astype(np.float32)


def _island_mask(
    rng: np.random.Generator, depth: Float32[np.ndarray, "h w"], layer_2: Float[np.ndarray, " w"], fraction: float
) -> tuple[Bool[np.ndarray, "h w"], Bool[np.ndarray, "h w"]]:
    """Irregular round islands, most of them just above layer II, and the cell-poor shell around each."""
    height, width = depth.shape
    islands = np.zeros(depth.shape, bool)
    shell = np.zeros(depth.shape, bool)
    area = fraction * float((depth > 0).sum())
    largest = 0.13 * min(height, width)
    for _ in range(40):
        missing = area - islands.sum()
        if missing < 60:
            break
        radius = min(largest * rng.uniform(0.55, 1.0), float(np.sqrt(missing / np.pi)) * 1.05)
        cx = rng.uniform(radius, width - radius)
        above = rng.uniform(0.2, 1.4) * radius + rng.exponential(0.12 * height)
        surface = depth[0, int(cx)]  # depth of the top row = height of tissue in this column
        cy = np.clip(surface - layer_2[int(cx)] - above, radius, height - radius)
        distance = _blob_distance(rng, depth.shape, cy, cx, radius)
        if (islands & (distance < 1.3)).any() and rng.uniform() < 0.9:
            continue
        islands |= distance < 1
        shell |= distance < 1 + 3.0 / radius
    return islands & (depth > 4), shell


def _blob_distance(
    rng: np.random.Generator, shape: tuple[int, int], cy: float, cx: float, radius: float
) -> Float32[np.ndarray, "h w"]:
    """Distance from the centre in units of the outline's radius, an ellipse with three more harmonics."""
    y, x = np.ogrid[: shape[0], : shape[1]]
    dy, dx = (y - cy) * rng.uniform(0.9, 1.5), x - cx
    turn = np.arctan2(dy, dx)
    outline = 1 + sum(rng.normal(0, 0.09) * np.cos(k * turn + rng.uniform(0, 2 * np.pi)) for k in (2, 3, 4))
    return np.asarray(np.hypot(dy, dx) / (radius * np.maximum(outline, 0.3)), np.float32)


def _fibre_mask(
    rng: np.random.Generator, depth: Float32[np.ndarray, "h w"], layer_2: Float[np.ndarray, " w"], fraction: float
) -> tuple[Bool[np.ndarray, "h w"], Float32[np.ndarray, "h w"], Float32[np.ndarray, "h w"]]:
    """Wavy bundles through layer III: where, their angle [rad], and the streaks along them (0 to 1)."""
    height, width = depth.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    allowed = depth > layer_2[None, :] + 4
    mask = np.zeros(depth.shape, bool)
    angles = np.zeros(depth.shape, np.float32)
    streaks = np.zeros(depth.shape, np.float32)
    area = fraction * float((depth > 0).sum())
    main = rng.uniform(-0.5, 0.5) + (np.pi / 2 if rng.uniform() < 0.3 else 0.0)
    for _ in range(30):
        missing = area - mask.sum()
        if missing < 80:
            break
        angle = main + rng.normal(0, 0.15)
        cy, cx = rng.uniform(0, height * 0.62), rng.uniform(0, width)
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        across += 5 * np.sin(along / rng.uniform(25, 50) + rng.uniform(0, 6.3))
        length = rng.uniform(0.35, 0.8) * max(height, width)
        thick = min(rng.uniform(7, 17), missing / length * 1.3 + 2)
        inside = (np.abs(across) < thick / 2 * np.sqrt(np.maximum(1 - (2 * along / length) ** 2, 0))) & allowed
        new = inside & ~mask
        mask |= inside
        angles[new] = angle
        streaks[new] = (0.5 + 0.5 * np.sin(across * 2.1 + 1.5 * np.sin(along / 11)))[new]
    return mask, angles, streaks


def _place_vessels(
    rng: np.random.Generator, allowed: Bool[np.ndarray, "h w"], per_1e5_px: float
) -> Float[np.ndarray, "n 5"]:
    """Cross-cut (round) and lengthwise cut (long, towards the pia) vessels."""
    height, width = allowed.shape
    n = round(per_1e5_px * height * width / 1e5)
    at = np.flatnonzero(allowed)[rng.integers(0, max(int(allowed.sum()), 1), size=n)]
    is_long = rng.uniform(size=n) < 0.2
    short = rng.uniform(2.0, 5.0, size=n) * np.where(is_long, 0.55, 1.0)
    long = short * np.where(is_long, rng.uniform(4, 8, size=n), rng.uniform(1.0, 1.5, size=n))
    angle = np.where(is_long, np.pi / 2 + rng.normal(0, 0.3, size=n), rng.uniform(0, np.pi, size=n))
    return np.stack([at // width, at % width, long, short, angle], axis=1).astype(float)


def _ellipse(
    y: Float32[np.ndarray, "h w"], x: Float32[np.ndarray, "h w"], vessel: Float[np.ndarray, " 5"]
) -> np.ndarray:
    cy, cx, long, short, angle = vessel
    along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
    across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle) + 0.12 * long * np.sin(along / (0.6 * long))
    return np.asarray(_sigmoid((1 - np.hypot(along / long, across / short)) * short * 2.0), np.float32)


def _tear_mask(rng: np.random.Generator, height: int, width: int, fraction: float) -> Bool[np.ndarray, "h w"]:
    """Gaps with ragged edges: most run in from a border of the image, some lie across it."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    mask = np.zeros((height, width), bool)
    for _ in range(8):
        missing = fraction * height * width - float(mask.sum())
        if missing < 120:
            break
        angle = rng.uniform(-0.6, 0.6) + (np.pi / 2 if rng.uniform() < 0.4 else 0.0)
        cy, cx = rng.uniform(0.05, 0.95) * height, rng.choice([0.0, 1.0, rng.uniform()]) * width
        along = (x - cx) * np.cos(angle) + (y - cy) * np.sin(angle)
        across = (y - cy) * np.cos(angle) - (x - cx) * np.sin(angle)
        length = rng.uniform(0.5, 1.1) * max(height, width)
        steps = np.clip(np.round(along + 2 * max(height, width)).astype(int), 0, 4 * max(height, width) - 1)
        ragged = _smooth_noise(rng, 3, 4 * max(height, width), 2.5)
        centre = 7 * np.sin(along / rng.uniform(18, 40) + rng.uniform(0, 6.3)) + 1.6 * ragged[0][steps]
        taper = np.sqrt(np.maximum(1 - (2 * along / length) ** 2, 0))
        thick = min(1.6 * missing / length, 20.0) * (1 + 0.25 * ragged[2][steps])
        mask |= np.abs(across - centre) < 0.5 * thick * taper
    return mask


# ---- cells


def _all_cells(rng: np.random.Generator, anatomy: _Anatomy, wanted: dict[str, float]) -> _Cells:
    size = wanted["cell_size"]
    neurons = _scatter(rng, anatomy.cells * wanted["cell_density"], lambda n: _neurons(rng, n, size), spacing=0.80)
    island = anatomy.islands * np.float32(_ISLAND_PACKING)
    granules = _scatter(rng, island, lambda n: _granules(rng, n), spacing=0.74)
    free = anatomy.tissue & ~anatomy.islands & ~anatomy.fibres
    satellites = _scatter(rng, free * np.float32(0.008), lambda n: _satellites(rng, n), spacing=0.9)
    rows = _scatter(rng, anatomy.fibres * np.float32(0.10), lambda n: _glia(rng, n), spacing=0.9)
    at = np.round(rows.y).astype(int), np.round(rows.x).astype(int)
    inside = np.clip(at[0], 0, anatomy.tissue.shape[0] - 1), np.clip(at[1], 0, anatomy.tissue.shape[1] - 1)
    rows.angle[:] = anatomy.fibre_angle[inside] + rng.normal(0, 0.15, len(rows.y))
    return _Cells.join(neurons, satellites, granules, rows, _endothelium(rng, anatomy.vessels))


def _scatter(
    rng: np.random.Generator, cover: Float32[np.ndarray, "h w"], make: Callable[[int], _Cells], *, spacing: float
) -> _Cells:
    """Put cells where `cover` is high until their area reaches its sum, without heavy overlap.

    Candidates are drawn from `cover` and taken in order unless a cell already taken is nearer than `spacing` times the
    sum of both radii. Because the area, not the number, is met, cover and size of cells do not mix.
    """
    target = float(cover.sum())
    cumulative = np.cumsum(cover.ravel(), dtype=np.float64)
    probe = make(64)
    mean_area = float(np.mean(np.pi * probe.radius**2 * probe.aspect))
    n = int(3.0 * target / mean_area) + 8
    cells = make(n)
    if target <= mean_area:
        return cells.take(np.zeros(0, int))
    at = np.minimum(np.searchsorted(cumulative, rng.uniform(0, cumulative[-1], size=n)), cover.size - 1)
    cells.y[:] = at // cover.shape[1] + rng.uniform(-0.5, 0.5, size=n)
    cells.x[:] = at % cover.shape[1] + rng.uniform(-0.5, 0.5, size=n)
    taken = _without_overlap(cells, spacing)
    area = np.cumsum(np.pi * cells.radius[taken] ** 2 * cells.aspect[taken])
    return cells.take(taken[: int(np.searchsorted(area, target)) + 1])


def _without_overlap(cells: _Cells, spacing: float) -> np.ndarray:
    """Rows of the cells that stay when each later one that touches an earlier one is left out."""
    tree = cKDTree(np.column_stack([cells.y, cells.x]))
    pairs = tree.query_pairs(2 * spacing * float(cells.radius.max()), output_type="ndarray")
    first, second = pairs.min(axis=1), pairs.max(axis=1)
    radius = cells.radius * np.sqrt(cells.aspect)
    gap = np.hypot(cells.y[first] - cells.y[second], cells.x[first] - cells.x[second])
    touching = gap < spacing * (radius[first] + radius[second])
    first, second = first[touching], second[touching]
    stays = [True] * len(cells.y)
    order = np.lexsort((first, second))
    for i, j in zip(first[order].tolist(), second[order].tolist(), strict=True):
        if stays[i]:
            stays[j] = False
    return np.flatnonzero(stays)


def _neurons(rng: np.random.Generator, n: int, size: float) -> _Cells:
    """Medium neurons, some large ones with a nucleolus, and small dark glia, whose size does not follow `size`."""
    kind = rng.choice(3, size=n, p=[0.72, 0.10, 0.18])  # medium, large, glia
    radius = _MEAN_RADIUS_PX * size * rng.lognormal(0, 0.13, size=n) * np.array([1.0, 1.5, 1.0])[kind]
    radius = np.where(kind == 2, rng.uniform(1.3, 1.9, size=n), radius)
    density = rng.uniform([0.65, 0.60, 1.1], [1.30, 1.05, 1.6], size=(n, 3))[np.arange(n), kind]
    is_blurred = rng.uniform(size=n) < 0.25  # lies above or below the plane of focus
    return _Cells(
        y=np.zeros(n),
        x=np.zeros(n),
        radius=radius,
        aspect=np.where(kind == 2, rng.uniform(0.75, 1.0, size=n), rng.uniform(0.58, 0.95, size=n)),
        angle=rng.normal(np.pi / 2, 0.9, size=n),  # somata tend to stand upright on the pia
        density=density * np.where(is_blurred, 0.62, 1.0),
        softness=np.where(is_blurred, 1.5, 0.55),
        has_nucleolus=(kind < 2) & (radius > 3.4) & ~is_blurred,
        phase=rng.uniform(0, 2 * np.pi, size=n),
    )


def _granules(rng: np.random.Generator, n: int) -> _Cells:
    """The small, dark, closely packed cells of an island of Calleja."""
    return _small(
        rng, n, rng.uniform(1.7, 2.5, size=n), rng.uniform(0.75, 1.0, size=n), rng.uniform(0.95, 1.45, size=n)
    )


def _satellites(rng: np.random.Generator, n: int) -> _Cells:
    """Round glial nuclei, everywhere in the tissue and independent of every factor."""
    return _small(rng, n, rng.uniform(1.2, 1.8, size=n), rng.uniform(0.75, 1.0, size=n), rng.uniform(0.8, 1.3, size=n))


def _glia(rng: np.random.Generator, n: int) -> _Cells:
    """Elongated dark nuclei, as they lie in rows between fibres."""
    return _small(rng, n, rng.uniform(1.6, 2.3, size=n), rng.uniform(0.4, 0.65, size=n), rng.uniform(0.9, 1.3, size=n))


def _small(rng: np.random.Generator, n: int, radius: np.ndarray, aspect: np.ndarray, density: np.ndarray) -> _Cells:
    return _Cells(
        y=np.zeros(n),
        x=np.zeros(n),
        radius=radius,
        aspect=aspect,
        angle=rng.uniform(0, np.pi, size=n),
        density=density,
        softness=np.full(n, 0.5),
        has_nucleolus=np.zeros(n, bool),
        phase=rng.uniform(0, 2 * np.pi, size=n),
    )


def _endothelium(rng: np.random.Generator, vessels: Float[np.ndarray, "n 5"]) -> _Cells:
    """Flat dark nuclei along the walls, about one for each 9 px of wall."""
    per_vessel = np.maximum((2 * np.pi * np.sqrt(vessels[:, 2] * vessels[:, 3]) / 9).astype(int), 2)
    y, x, long, short, angle = np.repeat(vessels, per_vessel, axis=0).T
    cells = _small(rng, len(y), rng.uniform(1.7, 2.3, size=len(y)), np.full(len(y), 0.42), np.full(len(y), 1.1))
    turn = rng.uniform(0, 2 * np.pi, size=len(y))
    along, across = (long + 1.0) * np.cos(turn), (short + 1.0) * np.sin(turn)
    cells.y[:] = y + along * np.sin(angle) + across * np.cos(angle)
    cells.x[:] = x + along * np.cos(angle) - across * np.sin(angle)
    cells.angle[:] = angle + np.arctan2(short * np.cos(turn), -long * np.sin(turn))  # along the wall
    return cells


# ---- picture


def _render(cells: _Cells, height: int, width: int) -> Float32[np.ndarray, "h w"]:
    """Sum of the optical densities of all cells; cells of like size are stamped together."""
    reach = np.ceil(cells.radius * 1.35 + 2.5 * cells.softness).astype(int)
    margin = int(reach.max(initial=1)) + 2
    canvas = np.zeros((height + 2 * margin, width + 2 * margin), np.float32)
    is_inside = (cells.y > -2) & (cells.y < height + 1) & (cells.x > -2) & (cells.x < width + 1)
    for half in np.unique(reach[is_inside]):
        _stamp(canvas, cells.take(np.flatnonzero(is_inside & (reach == half))), int(half), margin)
    return canvas[margin : margin + height, margin : margin + width]


def _stamp(canvas: Float32[np.ndarray, "h w"], cells: _Cells, half: int, margin: int) -> None:
    """Add soft ellipses with rounded corners, a pale nucleus and a dark nucleolus, in windows of 2 half + 1 px."""
    row, column = np.round(cells.y).astype(int), np.round(cells.x).astype(int)
    offset = np.arange(-half, half + 1)
    dy = (offset[None, :, None] - (cells.y - row)[:, None, None]).astype(np.float32)
    dx = (offset[None, None, :] - (cells.x - column)[:, None, None]).astype(np.float32)

    def each(values: np.ndarray) -> np.ndarray:
        return np.asarray(values, np.float32)[:, None, None]

    along = dx * each(np.cos(cells.angle)) + dy * each(np.sin(cells.angle))
    across = (dy * each(np.cos(cells.angle)) - dx * each(np.sin(cells.angle))) / each(cells.aspect)
    distance = np.hypot(along, across)
    corners = 1 + 0.11 * np.cos(3 * np.arctan2(across, along) + each(cells.phase))
    edge = (each(cells.radius) * corners - distance) / each(cells.softness)
    density = each(cells.density) * _sigmoid(1.7 * edge)
    nucleus = np.exp(-((distance / each(0.46 * cells.radius)) ** 2)) * each(0.30 * cells.has_nucleolus)
    nucleolus = np.exp(-((distance / 0.95) ** 2)) * each(0.75 * cells.has_nucleolus)
    density = density * (1 - nucleus) + nucleolus * each(cells.density)
    rows = (row + margin)[:, None, None] + offset[None, :, None]
    columns = (column + margin)[:, None, None] + offset[None, None, :]
    np.add.at(canvas, (rows, columns), density)


def _cut_vessels(density: Float32[np.ndarray, "h w"], anatomy: _Anatomy) -> Float32[np.ndarray, "h w"]:
    """Lumens hold no stain; a thin darker wall surrounds them."""
    wall = np.clip(gaussian_filter(anatomy.lumens, 1.3) - anatomy.lumens, 0, None)
    return np.asarray(density * (1 - 0.93 * anatomy.lumens) + 0.5 * wall, np.float32)


def _expose(rng: np.random.Generator, density: Float32[np.ndarray, "h w"]) -> UInt8[np.ndarray, "h w"]:
    """Optical density to grey values: granular stain, Beer-Lambert, lens blur, uneven lamp, camera noise."""
    height, width = density.shape
    grain = gaussian_filter(rng.standard_normal(density.shape).astype(np.float32), 0.8) * 3.0
    density = density * (1 + 0.10 * grain)
    grey = rng.uniform(231, 234) * np.exp(-density)
    grey = gaussian_filter(grey, 0.45) * (1 + 0.008 * _smooth_noise(rng, height, width, 90.0))
    grey += rng.normal(0, 2.2, size=grey.shape)
    return np.asarray(np.clip(np.rint(grey), 0, 255), np.uint8)


# ---- small mathematics


def _sigmoid(t: np.ndarray) -> np.ndarray:
    return np.asarray(0.5 + 0.5 * np.tanh(0.5 * t))


def _smooth_noise(rng: np.random.Generator, height: int, width: int, scale_px: float) -> Float32[np.ndarray, "h w"]:
    """Gaussian noise of unit variance, smooth over `scale_px`; made on a coarse grid and enlarged bilinearly."""
    step = max(scale_px / 3, 1.0)
    rows, columns = int(height / step) + 8, int(width / step) + 8
    coarse = gaussian_filter(rng.standard_normal((rows, columns)).astype(np.float32), scale_px / step, mode="wrap")
    coarse /= max(float(coarse.std()), 1e-6)
    y, x = np.arange(height) / step, np.arange(width) / step
    i, j = y.astype(int), x.astype(int)
    u, v = (y - i).astype(np.float32)[:, None], (x - j).astype(np.float32)[None, :]
    above = coarse[i][:, j] * (1 - v) + coarse[i][:, j + 1] * v
    below = coarse[i + 1][:, j] * (1 - v) + coarse[i + 1][:, j + 1] * v
    return np.asarray(above * (1 - u) + below * u, np.float32)


def _wave(rng: np.random.Generator, width: int, amplitude: float, *, waves: int) -> Float[np.ndarray, " w"]:
    """A smooth random line of standard deviation `amplitude`."""
    t = np.linspace(0, 2 * np.pi, width)
    total = np.zeros(width)
    for k in range(1, waves + 1):
        total += rng.normal() * np.sin(0.7 * k * t + rng.uniform(0, 2 * np.pi)) / np.sqrt(k)
    return np.asarray(amplitude * total / np.sqrt(0.5 * sum(1 / k for k in range(1, waves + 1))))
