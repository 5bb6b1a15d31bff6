"""Figures of images: reconstructions, clusters, traversals, walks, samples, neighbours.

Each figure is a pure function of results; its companion `..._numbers` gives the numbers behind it as a table. All
images of a figure are on one grey scale, from the darkest to the brightest grey of the training images. Every image
made by the model has a dashed orange border.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from zatlas.report.figures.sheet import Cell, Row, grid_rows, sheet
from zatlas.report.figures.style import GENERATED, RESIDUAL, ink, muted, number, other_colour, plain, themed
from zatlas.results.kinds import OWN, Gallery, ModelResults, Samples, Traversal, Walk
from zatlas.tiles.greys import HIGHEST_PSNR_DB

__all__ = [
    "galleries",
    "galleries_numbers",
    "neighbours",
    "neighbours_numbers",
    "prior_samples",
    "prior_samples_numbers",
    "prior_strips",
    "prior_strips_numbers",
    "reconstructions",
    "reconstructions_by_size",
    "reconstructions_by_size_numbers",
    "reconstructions_numbers",
    "samples",
    "samples_numbers",
    "traversals",
    "traversals_numbers",
    "walk",
    "walk_numbers",
]

RESIDUAL_RANGE = 0.3
EXACT_DB = HIGHEST_PSNR_DB - 0.05  # shown as it


def residual_pixels(original: np.ndarray, reconstruction: np.ndarray, limit: float = RESIDUAL_RANGE) -> np.ndarray:
    """Reconstruction minus original (c, h, w), mean over channels, as blue-white-orange pixels (h, w, 3).

    Blue: the reconstruction is darker; orange: brighter; full colour at a difference of `limit` of the grey range.
    """
    difference = (np.asarray(reconstruction, dtype=float) - np.asarray(original, dtype=float)).mean(axis=0)
    colours = RESIDUAL(np.clip(0.5 + 0.5 * difference / limit, 0.0, 1.0), bytes=True)
    return np.asarray(colours, dtype=np.uint8)[..., :3]


@themed
def reconstructions(model: ModelResults) -> Figure:
    """Test images, their reconstructions, the differences, and PCA of the same size, with PSNR and SSIM."""
    shown = model.reconstructions
    n = min(len(shown.originals), 10)
    scores = shown.table.reset_index(drop=True)
    ours = [f"{_psnr(scores['psnr_db'][i])}\nSSIM {scores['ssim'][i]:.2f}" for i in range(n)]
    pca = [f"{_psnr(scores['pca_psnr_db'][i])}\nSSIM {scores['pca_ssim'][i]:.2f}" for i in range(n)]
    rows = [
        Row([Cell(x) for x in shown.originals[:n]], "original"),
        Row(
            [Cell(x, text, is_generated=True) for x, text in zip(shown.reconstructions[:n], ours, strict=True)],
            f"{plain(model.name, 8)}",
        ),
        Row(
            [Cell(residual_pixels(x, y)) for x, y in zip(shown.originals[:n], shown.reconstructions[:n], strict=True)],
            "difference",
        ),
        Row([Cell(x, text) for x, text in zip(shown.pca[:n], pca, strict=True)], f"PCA {model.latent_dim}"),
    ]
    figure = sheet(rows, room_in=0.5)
    height = float(figure.get_size_inches()[1])
    bar = figure.add_axes((0.32, 0.3 / height, 0.36, 0.1 / height))
    scale = ScalarMappable(Normalize(-RESIDUAL_RANGE, RESIDUAL_RANGE), RESIDUAL)
    colours = figure.colorbar(scale, cax=bar, orientation="horizontal", ticks=[-RESIDUAL_RANGE, 0, RESIDUAL_RANGE])
    colours.ax.set_xticklabels([f"−{RESIDUAL_RANGE}", "0", f"+{RESIDUAL_RANGE}"])
    colours.ax.tick_params(labelsize=7, length=2)
    colours.outline.set_visible(False)
    bar.text(-0.03, 0.5, "darker", transform=bar.transAxes, ha="right", va="center", fontsize=7.5, color=muted())
    bar.text(1.03, 0.5, "brighter", transform=bar.transAxes, ha="left", va="center", fontsize=7.5, color=muted())
    return figure


def _psnr(value: float) -> str:
    """PSNR as it stands under an image; at its end of 100 dB the two are the same but for rounding."""
    return f"{value:.1f} dB" if value < EXACT_DB else "≥ 100 dB"


def reconstructions_numbers(model: ModelResults) -> pd.DataFrame:
    """PSNR and SSIM of each test image shown, for the model and for PCA of the same size."""
    return model.reconstructions.table.reset_index(drop=True)


@themed
def reconstructions_by_size(models: Sequence[ModelResults]) -> Figure:
    """The same test images through every model, one row each."""
    n = min(10, *(len(model.reconstructions.originals) for model in models))
    rows = [Row([Cell(x) for x in models[0].reconstructions.originals[:n]], "original")]
    for model in models:
        table = model.reconstructions.table.reset_index(drop=True)
        cells = [
            Cell(x, _psnr(table["psnr_db"][i]), is_generated=True)
            for i, x in enumerate(model.reconstructions.reconstructions[:n])
        ]
        rows.append(Row(cells, plain(model.name, 10)))
    return sheet(rows)


def reconstructions_by_size_numbers(models: Sequence[ModelResults]) -> pd.DataFrame:
    """PSNR and SSIM of each test image shown, per model."""
    tables = [model.reconstructions.table.assign(model=model.name) for model in models]
    return pd.concat(tables, ignore_index=True)


_KINDS = (("central", "most central"), ("random", "random"), ("borderline", "borderline"))


@themed
def galleries(chosen: Sequence[Gallery], cell: str = "cluster") -> Figure:
    """Central, random and borderline images of clusters, three rows each; `cell` is what a cluster is called."""
    rows: list[Row] = []
    for gallery in chosen:
        heading = f"{cell.capitalize()} {gallery.cluster}: {gallery.size} images, {100 * gallery.share:.0f} %"
        for kind, text in _KINDS:
            images = gallery.images.get(kind)
            if images is not None and len(images):
                rows.append(Row([Cell(x) for x in images[:8]], text, heading))
                heading = ""
    return sheet(rows, columns=8, largest_in=0.86)


def galleries_numbers(chosen: Sequence[Gallery]) -> pd.DataFrame:
    """Rows of the collection shown for each cluster."""
    records = []
    for gallery in chosen:
        for kind, _ in _KINDS:
            for place, row in enumerate(np.asarray(getattr(gallery, kind)).tolist()):
                records.append((gallery.cluster, gallery.size, gallery.share, kind, place, row))
    return pd.DataFrame(records, columns=["cluster", "size", "share", "kind", "place", "row"])


@themed
def traversals(chosen: Sequence[Traversal]) -> Figure:
    """Decoded images along single latent dimensions, one row each, strongest rate first."""
    rows = []
    for i, one in enumerate(chosen):
        heads = [f"{value:+.1f}".replace("-", "−") if value else "0" for value in one.values] if i == 0 else ()
        cells = [Cell(x, is_generated=True) for x in one.frames]
        rows.append(Row(cells, f"z{one.dim}\n{one.rate_nats:.2f} nats", columns=heads))
    return sheet(rows, largest_in=0.86, foot="columns: position along the dimension, in its standard deviations")


def traversals_numbers(chosen: Sequence[Traversal]) -> pd.DataFrame:
    """Positions and mean grey of each traversal frame."""
    records = [
        (one.dim, one.rate_nats, float(value), float(np.mean(frame)))
        for one in chosen
        for value, frame in zip(one.values, one.frames, strict=True)
    ]
    return pd.DataFrame(records, columns=["dim", "rate_nats", "value_sd", "mean_grey"])


def feature_ranges(walks: Sequence[Walk]) -> dict[str, tuple[float, float]]:
    """Lowest and highest value of each feature over all walks, so that their panels can share axes."""
    table = pd.concat([one.features for one in walks], ignore_index=True).select_dtypes("number")
    return {str(name): (float(table[name].min()), float(table[name].max())) for name in table.columns}


@themed
def walk(one: Walk, ranges: dict[str, tuple[float, float]] | None = None) -> Figure:
    """A film strip from one real image to another through latent space, and what changes along it.

    Args:
        one: The walk.
        ranges: Limits of the features' axes, from `feature_ranges` of all walks of the model; None fits this walk.
    """
    n = len(one.t)
    cells = [
        Cell(one.end_originals[0]),
        Cell(one.end_reconstructions[0], is_generated=True),
        *(Cell(frame, is_generated=True) for frame in one.frames),
        Cell(one.end_reconstructions[1], is_generated=True),
        Cell(one.end_originals[1]),
    ]
    times = [f"t = {number(float(t), 3)}" if n <= 8 else f"{number(float(t), 2)}" for t in one.t]
    heads = ["original", "t = 0", *times, "t = 1", "original"]
    ends = (f"{plain(one.start_image, 16)}", f"{plain(one.end_image, 16)}")
    captioned = [
        Cell(cell.image, ends[0] if i == 0 else ends[1] if i == len(cells) - 1 else "", cell.is_generated)
        for i, cell in enumerate(cells)
    ]
    if n <= 9:
        rows = [Row(captioned, columns=heads)]
        figure = sheet(rows, gaps=(1, len(cells) - 1), room_in=1.5)
    else:
        rows = [
            Row(captioned[start : start + 11], columns=heads[start : start + 11])
            for start in range(0, len(captioned), 11)
        ]
        figure = sheet(rows, room_in=1.5)
    _draw_features(figure, one, ranges or feature_ranges([one]))
    return figure


def _draw_features(figure: Figure, one: Walk, ranges: dict[str, tuple[float, float]]) -> None:
    """Small panels under the strip: each feature along t, coloured where the change is large.

    They are drawn as lines in the axes of the sheet, whose unit is the inch: real axes cost ten times as much time.
    """
    names = [str(name) for name in one.features.select_dtypes("number").columns if name != "t"][:8]
    large = {str(change.get("feature")) for change in one.changes}
    t = np.concatenate([[0.0], np.asarray(one.t, dtype=float), [1.0]])
    width, height = (float(side) for side in figure.get_size_inches())
    axes, step = figure.axes[0], (width - 0.1) / (len(names) + 1)
    for i, name in enumerate([*names, ""]):
        values = one.features[name].to_numpy(dtype=float) if name else np.asarray(one.nearest_distance, dtype=float)
        low, high = ranges[name] if name else (0.0, max(2.0, float(np.nanmax(values))))
        box = _Box(0.42 + i * step, height - 1.14, step - 0.52, 0.72, low, high)
        _draw_panel(axes, box, t, values, _feature_word(name), is_large=name in large)
        if not name:
            axes.plot(box.x([0, 1]), box.y([1, 1]), color=other_colour(), linewidth=0.7, linestyle=(0, (2, 2)))
    axes.text(0.42, height - 0.12, "along t, from the first end to the last", fontsize=7.5, color=muted(), va="center")


@dataclass(frozen=True)
class _Box:
    """A panel in inches from the top left corner, and the values at its lower and upper edge."""

    left: float
    top: float
    width: float
    height: float
    low: float
    high: float

    def x(self, t: Sequence[float] | np.ndarray) -> np.ndarray:
        return self.left + self.width * np.asarray(t, dtype=float)

    def y(self, values: Sequence[float] | np.ndarray) -> np.ndarray:
        span = (self.high - self.low) or 1.0
        return self.top + self.height * (1 - (np.asarray(values, dtype=float) - self.low) / span)


def _draw_panel(axes: Axes, box: _Box, t: np.ndarray, values: np.ndarray, name: str, *, is_large: bool) -> None:
    bottom, right = box.top + box.height, box.left + box.width
    margin = 0.05
    axes.plot(
        [box.left - margin, box.left - margin, right],
        [box.top - margin, bottom + margin, bottom + margin],
        color=muted(),
        linewidth=0.6,
    )
    axes.plot(box.x(t), box.y(values), color=GENERATED if is_large else muted(), linewidth=1.8 if is_large else 1.1)
    for value, y in ((box.high, box.top), (box.low, bottom)):
        text = number(value, 2)
        axes.text(box.left - margin - 0.03, y, text, fontsize=6.3, ha="right", va="center", color=muted())
    for text, x in (("0", box.left), ("1", right)):
        axes.text(x, bottom + margin + 0.08, text, fontsize=6.3, ha="center", va="center", color=muted())
    title = axes.text(
        box.left - margin,
        box.top - margin - 0.05,
        name,
        fontsize=6.8,
        va="bottom",
        color=ink() if is_large else muted(),
    )
    title.set_fontweight("bold" if is_large else "normal")


def _feature_word(name: str) -> str:
    words = {
        "": "distance to\nnearest real",
        "left_right_symmetry": "left-right\nsymmetry",
        "centre_of_mass_y": "centre of\nmass, y",
        "centre_of_mass_x": "centre of\nmass, x",
        "edge_density": "edge\ndensity",
    }
    return words.get(name, plain(name.replace("_", " "), 14))


def walk_numbers(one: Walk) -> pd.DataFrame:
    """Position, features and distance to the nearest real image for each step of a walk, then its latents."""
    table = one.features.reset_index(drop=True).drop(columns="t", errors="ignore")
    table.insert(0, "t", np.concatenate([[0.0], np.asarray(one.t, dtype=float), [1.0]]))
    table["nearest_distance"] = np.asarray(one.nearest_distance, dtype=float)
    latents = pd.DataFrame(np.asarray(one.z), columns=[f"z{i}" for i in range(np.asarray(one.z).shape[1])])
    return pd.concat([table, latents], axis=1)


@themed
def samples(drawn: Samples) -> Figure:
    """Images sampled from the fitted density, each with the nearest real image beside it."""
    rows: list[Row] = []
    pairs = list(zip(drawn.frames, drawn.nearest_images, drawn.nearest_distance, strict=True))
    for start in range(0, len(pairs), 4):
        cells: list[Cell | None] = []
        for frame, nearest, distance in pairs[start : start + 4]:
            cells += [Cell(frame, is_generated=True), Cell(nearest, f"distance {number(float(distance), 2)}")]
        heads = ["sample", "nearest real"] * 4 if start == 0 else ()
        rows.append(Row(cells, columns=heads))
    return sheet(rows, columns=8, largest_in=0.98, gaps=(2, 4, 6))


def samples_numbers(drawn: Samples) -> pd.DataFrame:
    """Nearest real row and its distance for each sample, then the sample's latents."""
    latents = np.asarray(drawn.z)
    table = pd.DataFrame({"nearest_row": drawn.nearest_rows, "nearest_distance": drawn.nearest_distance})
    return pd.concat([table, pd.DataFrame(latents, columns=[f"z{i}" for i in range(latents.shape[1])])], axis=1)


@themed
def prior_samples(drawn: Samples) -> Figure:
    """Images decoded from draws of the model's own prior: a diagnosis of the model, not its best samples."""
    cells = [Cell(frame, is_generated=True) for frame in drawn.prior_frames]
    return sheet(grid_rows(cells, 8), columns=8, largest_in=0.98)


@themed
def prior_strips(drawn: Samples) -> Figure:
    """A strip of images decoded from draws of each prior: the model's own first, then those fitted after training."""
    fitted = list(drawn.priors["name"])[1:] if len(drawn.priors) else []
    order = [OWN, *fitted]  # strips come back from their file sorted by name
    named = [*(name for name in order if name in drawn.strips), *(name for name in drawn.strips if name not in order)]
    rows = [Row([Cell(frame, is_generated=True) for frame in drawn.strips[name]], name) for name in named]
    return sheet(rows, largest_in=0.98)


def prior_strips_numbers(drawn: Samples) -> pd.DataFrame:
    """The table of priors."""
    return drawn.priors.copy()


def prior_samples_numbers(drawn: Samples) -> pd.DataFrame:
    """Mean grey and contrast of each prior sample, with the mismatch between posterior and prior."""
    frames = np.asarray(drawn.prior_frames, dtype=float)
    table = pd.DataFrame({"mean_grey": frames.mean(axis=(1, 2, 3)), "contrast": frames.std(axis=(1, 2, 3))})
    return table.assign(**{f"mismatch_{key}": value for key, value in drawn.mismatch.items()})


@themed
def neighbours(model: ModelResults) -> Figure:
    """Real images with their nearest neighbours in latent space."""
    found = model.neighbours
    rows = []
    for i, query in enumerate(found["query_images"]):
        cells: list[Cell | None] = [Cell(query)]
        for image, distance in zip(found["neighbour_images"][i], found["distances"][i], strict=True):
            cells.append(Cell(image, number(float(distance), 2)))
        heads = ["image", *(f"{k + 1}." for k in range(len(cells) - 1))] if i == 0 else ()
        rows.append(Row(cells, columns=heads))
    foot = "numbers: distance in latent space; the images are real"
    return sheet(rows, largest_in=0.98, gaps=(1,), foot=foot)


def neighbours_numbers(model: ModelResults) -> pd.DataFrame:
    """Query row, rank, neighbour row and latent distance."""
    found = model.neighbours
    records = [
        (int(query), rank + 1, int(row), float(found["distances"][i][rank]))
        for i, query in enumerate(_query_rows(found))
        for rank, row in enumerate(found["neighbour_rows"][i])
    ]
    return pd.DataFrame(records, columns=["query_row", "rank", "neighbour_row", "distance"])


def _query_rows(found: dict[str, np.ndarray]) -> list[int]:
    return [int(row) for row in np.asarray(found["query_rows"])]
