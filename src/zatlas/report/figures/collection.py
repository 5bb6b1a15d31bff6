"""Figures of the data: images per group, sizes, grey histograms, contact sheet, tiles, the split.

Each figure is a pure function of the data summary; its companion `..._numbers` gives the plotted values as a table.
`zatlas inspect` draws the same figures.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from zatlas.report.figures.sheet import Cell, Row, grid_rows, sheet
from zatlas.report.figures.style import (
    OKABE_ITO,
    ink,
    muted,
    new_figure,
    other_colour,
    part_colour,
    part_word,
    plain,
    themed,
    tidy,
)
from zatlas.results.kinds import DataSummary
from zatlas.trust.histograms import coarser, pooled

__all__ = [
    "contact_sheet",
    "contact_sheet_numbers",
    "example_tiles",
    "example_tiles_numbers",
    "extremes",
    "extremes_numbers",
    "grey_histograms",
    "grey_histograms_numbers",
    "group_sizes",
    "group_sizes_numbers",
    "image_sizes",
    "image_sizes_numbers",
    "split",
    "split_numbers",
]

_MOST_GROUPS = 24
_PARTS = ("train", "validation", "test")


def has_groups(data: DataSummary) -> bool:
    """Whether the images come in more than one group."""
    return len(data.groups) > 1


@themed
def group_sizes(data: DataSummary) -> Figure:
    """Images per group as bars; with many groups, how many groups have how many images."""
    table = group_sizes_numbers(data)
    if len(table) > _MOST_GROUPS:
        figure, axes = new_figure(7.0, 2.8)
        panel = axes[0, 0]
        counts = table["images"].value_counts().sort_index()
        panel.bar(counts.index, counts.to_numpy(), color=OKABE_ITO[0], width=0.8)
        panel.set_xlabel("images in the group")
        panel.set_ylabel("groups")
        if counts.max() > 50 * max(1, counts.min()):
            panel.set_yscale("log")
        tidy(panel)
        return figure
    figure, axes = new_figure(7.0, 1.1 + 0.3 * len(table))
    panel = axes[0, 0]
    at = np.arange(len(table))[::-1]
    panel.barh(at, table["images"], color=OKABE_ITO[0], height=0.7)
    for y, n in zip(at, table["images"], strict=True):
        panel.text(n, y, f" {n}", va="center", fontsize=8)
    panel.set_yticks(at, [plain(name) for name in table["group"]])
    panel.set_xlabel("images")
    panel.set_xlim(0, float(table["images"].max()) * 1.12)
    tidy(panel, grid="x")
    return figure


def group_sizes_numbers(data: DataSummary) -> pd.DataFrame:
    """The table of groups."""
    return data.groups.reset_index(drop=True)


def is_uniform(data: DataSummary) -> bool:
    """Whether all images have one size."""
    return bool((data.sizes["min"] == data.sizes["max"]).all())


@themed
def image_sizes(data: DataSummary) -> Figure:
    """Width against height of every image, and the distribution of areas per group."""
    table = data.image_table
    groups = _shown_groups(table["group"].astype(str))
    figure, axes = new_figure(9.0, 3.4, 1, 2, width_ratios=(1, 1.25))
    for i, name in enumerate(groups):
        part = table[table["group"].astype(str) == name]
        colour = OKABE_ITO[i % len(OKABE_ITO)]
        axes[0, 0].scatter(
            part["width"],
            part["height"],
            s=14,
            color=colour,
            alpha=0.75,
            linewidths=0,
            label=plain(name),
            rasterized=True,
        )
    axes[0, 0].set_xlabel("width [px]")
    axes[0, 0].set_ylabel("height [px]")
    axes[0, 0].set_title("size of each image")
    tidy(axes[0, 0], grid="both")
    sides = [
        np.sqrt(table.loc[table["group"].astype(str) == name, ["height", "width"]].prod(axis=1)) for name in groups
    ]
    boxes = axes[0, 1].boxplot(sides, orientation="horizontal", widths=0.55, patch_artist=True, sym=".")
    for i, box in enumerate(boxes["boxes"]):
        box.set(facecolor=OKABE_ITO[i % len(OKABE_ITO)], alpha=0.8, linewidth=0)
    for kind, colour in (("medians", ink()), ("whiskers", muted()), ("caps", muted())):
        for line in boxes[kind]:
            line.set(color=colour, linewidth=1.2 if kind == "medians" else 0.8)
    for line in boxes["fliers"]:
        line.set(markeredgecolor=muted(), markerfacecolor=muted(), markersize=3)
    axes[0, 1].set_yticks(range(1, len(groups) + 1), [plain(name, 18) for name in groups])
    axes[0, 1].invert_yaxis()
    axes[0, 1].set_xlabel("√(height × width) [px]")
    axes[0, 1].set_title("distribution per group")
    tidy(axes[0, 1], grid="x")
    return figure


def _shown_groups(names: pd.Series) -> list[str]:
    """Group names in order of size, at most as many as can be told apart in one figure."""
    return sorted(names.value_counts().index[:10])


def image_sizes_numbers(data: DataSummary) -> pd.DataFrame:
    """Height and width of every image."""
    return data.image_table.reset_index(drop=True)


@themed
def grey_histograms(data: DataSummary) -> Figure:
    """Share of pixels at each grey level, one line per group, the total in ink."""
    table = grey_histograms_numbers(data)
    names = list(dict.fromkeys(table["group"]))
    figure, axes = new_figure(8.2, 3.2)
    panel = axes[0, 0]
    shown = [name for name in names if name != "all images"]
    for i, name in enumerate(shown[:14]):
        part = table[table["group"] == name]
        style = "-" if i < len(OKABE_ITO) else (0, (4, 1.5))
        panel.plot(
            part["grey_level"],
            100 * part["share"],
            color=OKABE_ITO[i % len(OKABE_ITO)],
            linestyle=style,
            linewidth=1.3,
            label=plain(name),
        )
    total = table[table["group"] == "all images"]
    panel.fill_between(total["grey_level"], 100 * total["share"], color=other_colour(), alpha=0.28, linewidth=0)
    panel.plot(total["grey_level"], 100 * total["share"], color=ink(), linewidth=1.1, label="all images")
    panel.set_xlabel("grey level")
    panel.set_ylabel("pixels [%] per level bin")
    panel.set_ylim(bottom=0)
    top = float(np.percentile(100 * table["share"], 99.5))
    if top > 0 and 100 * table["share"].max() > 2 * top:
        panel.set_ylim(0, 1.3 * top)
    figure.legend(loc="outside right upper", fontsize=8)
    tidy(panel)
    return figure


def grey_histograms_numbers(data: DataSummary) -> pd.DataFrame:
    """Share of the pixels in each grey-level bin, per group and for all images."""
    tables = [_histogram_table(str(name), shares, data) for name, shares in data.histograms.items()]
    if "all" not in data.histograms and len(data.histograms) > 1:
        pixels = data.groups.set_index(data.groups["group"].astype(str))["pixels"].astype(float)
        weights = np.array([pixels.get(str(name), 1.0) for name in data.histograms])
        total = pooled(np.stack(list(data.histograms.values())), weights)
        tables.append(_histogram_table("all", total, data))
    return pd.concat(tables, ignore_index=True).replace({"group": {"all": "all images"}})


def _histogram_table(name: str, shares: np.ndarray, data: DataSummary) -> pd.DataFrame:
    values, edges = coarser(np.asarray(shares, dtype=float), np.asarray(data.histogram_edges, dtype=float))
    return pd.DataFrame({"group": name, "grey_level": 0.5 * (edges[1:] + edges[:-1]), "share": values})


@themed
def extremes(data: DataSummary) -> Figure:
    """The largest and the smallest image of each group, whole, shrunk to one size."""
    rows = []
    table = data.extremes.reset_index(drop=True)
    cells = [
        Cell(image, f"{plain(name, 18)}\n{width} × {height} px")
        for image, name, width, height in zip(
            data.extreme_images, table["image"], table["width"], table["height"], strict=True
        )
    ]
    for kind in ("largest", "smallest"):
        places = np.flatnonzero((table["kind"] == kind).to_numpy())[:7]
        heads = [plain(table["group"][i], 14) for i in places] if kind == "largest" else ()
        rows.append(Row([cells[i] for i in places], kind, columns=heads))
    return sheet(rows, largest_in=1.3)


def extremes_numbers(data: DataSummary) -> pd.DataFrame:
    """Names and sizes of the largest and smallest images."""
    return data.extremes.reset_index(drop=True)


@themed
def contact_sheet(data: DataSummary) -> Figure:
    """Images of the collection drawn by the seed, whole, shrunk to one size."""
    names = [plain(name, 14) for name in data.contact_ids]
    cells = [Cell(image, name) for image, name in zip(data.contact_sheet, names, strict=True)]
    return sheet(grid_rows(cells, 8), columns=8, largest_in=1.05)


def contact_sheet_numbers(data: DataSummary) -> pd.DataFrame:
    """Names of the images shown."""
    return pd.DataFrame({"place": range(len(data.contact_ids)), "image": list(data.contact_ids)})


@themed
def example_tiles(data: DataSummary) -> Figure:
    """What the model sees: tiles, or whole images, as drawn by the sampler and scaled."""
    return sheet(grid_rows([Cell(image) for image in data.tile_examples], 8), columns=8, largest_in=1.05)


def example_tiles_numbers(data: DataSummary) -> pd.DataFrame:
    """Mean and standard deviation of each tile shown, on the grey scale of training."""
    tiles = np.asarray(data.tile_examples, dtype=float)
    axes = tuple(range(1, tiles.ndim))
    return pd.DataFrame({"place": range(len(tiles)), "mean": tiles.mean(axis=axes), "std": tiles.std(axis=axes)})


@themed
def split(data: DataSummary) -> Figure:
    """Images of each part; per group when there are few groups."""
    table = split_numbers(data)
    figure, axes = new_figure(8.2, 1.25 + 0.3 * len(table))
    panel = axes[0, 0]
    at, left = np.arange(len(table))[::-1], np.zeros(len(table))
    for part in _PARTS:
        values = table[part].to_numpy(dtype=float)
        panel.barh(at, values, left=left, height=0.68, color=part_colour(part), label=part_word(part))
        for y, x, n in zip(at, left, values, strict=True):
            if n > 0.06 * (left.max() + values.max()):
                panel.text(
                    x + n / 2,
                    y,
                    f"{int(n)}",
                    ha="center",
                    va="center",
                    fontsize=8,
                    color="#ffffff" if part != "validation" else "#1c2127",
                )
        left += values
    panel.set_yticks(at, [plain(name) for name in table["group"]])
    panel.set_xlabel("images")
    figure.legend(loc="outside upper left", ncols=3)
    tidy(panel, grid="x")
    return figure


def split_numbers(data: DataSummary) -> pd.DataFrame:
    """Images of each part per group; one row "all images" when the groups are many."""
    total = {"group": "all images", **{part: int(data.split_counts.get(part, 0)) for part in _PARTS}}
    if not has_groups(data) or len(data.groups) > _MOST_GROUPS or not set(_PARTS) <= set(data.groups.columns):
        return pd.DataFrame([total])
    return pd.concat([data.groups[["group", *_PARTS]], pd.DataFrame([total])], ignore_index=True)
