"""Maps of the latent space, coloured by cluster, group, label; models matched to one another.

`scatter` is the public one: it takes an atlas or a table. Every other figure is a pure function of results with its
`..._numbers` beside it. Images of the test part have a ring of ink around the dot.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from zatlas.atlas.projection import Projection, from_stored, listed
from zatlas.errors import UsageError
from zatlas.report.figures.curves import matrix
from zatlas.report.figures.style import categories, ink, new_figure, plain, themed
from zatlas.results.kinds import Comparison, ModelResults
from zatlas.results.maps import map_columns as axis_columns
from zatlas.results.maps import maps_of

__all__ = [
    "cluster_match",
    "cluster_match_numbers",
    "label_maps",
    "label_maps_numbers",
    "maps",
    "maps_numbers",
    "neighbour_overlap",
    "neighbour_overlap_numbers",
    "scatter",
]

_FIXED = ("row", "image", "image_row", "split", "y_px", "x_px", "size_px")


@themed
def scatter(atlas: Any, projection: str = "", *, color: str = "cluster", width: float = 6.0) -> Figure:
    """A map of an atlas, coloured by a column of its table.

    Args:
        atlas: An `Atlas` with the projection computed, or a table with columns such as `pc1`, `pc2`.
        projection: Name of a map; "" takes the first without an inverse, else the first.
        color: Column of the table: categories take the Okabe-Ito colours, quantities cividis.
        width: Width of the figure [inch].

    Raises:
        UsageError: the projection or the column is not there.
    """
    table, one = _table_of(atlas, projection)
    if color not in table:
        known = ", ".join(str(name) for name in table.columns if name not in (*_FIXED, *one.columns))
        raise UsageError(f"the atlas has no column {color!r}", hint=f"choose one of: {known}")
    figure, axes = new_figure(width, width * 0.82)
    handles = draw_map(axes[0, 0], table, one, color)
    if handles:
        figure.legend(handles=handles, loc="outside right upper", title=plain(color), title_fontsize=9)
    return figure


def _table_of(atlas: Any, projection: str) -> tuple[pd.DataFrame, Projection]:
    """The table with the axes of a map in it, and the map."""
    if isinstance(atlas, pd.DataFrame):
        table, maps = atlas, {one.name: one for one in maps_of(atlas, {})}
        columns = [f"{projection}1", f"{projection}2"]
        if projection and set(columns) <= set(table):
            maps.setdefault(projection, from_stored(projection, table[columns].to_numpy()))
    else:
        table, maps = atlas.table.copy(), atlas.maps
    usual = [*(name for name, one in maps.items() if not one.has_inverse), *maps]
    name = projection or next(iter(usual), "")
    if name not in maps:
        known = ", ".join(maps)
        raise UsageError(
            f"the atlas has no {projection} map yet" if projection else "the atlas has no map yet",
            hint=f"choose one of: {known}" if known else "call atlas.pca() first",
        )
    if not isinstance(atlas, pd.DataFrame):
        table = table.assign(**axis_columns([maps[name]]))
    return table, maps[name]


def is_quantity(column: pd.Series) -> bool:
    """Whether a column is drawn as a quantity (numbers with many values) rather than as categories."""
    if isinstance(column.dtype, pd.CategoricalDtype) or not pd.api.types.is_numeric_dtype(column):
        return False
    if pd.api.types.is_bool_dtype(column):
        return False
    return bool(pd.api.types.is_float_dtype(column) and column.nunique() > 4) or column.nunique() > 12


def map_columns(model: ModelResults) -> list[str]:
    """Label columns worth a map: neither constant nor (like an identifier) almost all different."""
    table, chosen = model.projections, []
    axes = [name for one in model.maps for name in one.columns]
    for name in table.columns:
        if name in (*_FIXED, *axes, "cluster", "group", "psnr_db", "rate_nats", "distortion_nats"):
            continue
        column = table[name]
        n = column.nunique()
        if n >= 2 and (is_quantity(column) or n <= max(40, len(table) // 8)):
            chosen.append(str(name))
    return chosen


def draw_map(
    panel: Axes, table: pd.DataFrame, projection: Projection, color: str, *, scale: float = 1.0, has_rings: bool = True,
    cell: str = "cluster",
) -> list[Line2D]:  # fmt: skip
    """Draw one map; returns legend handles for categories, or draws a colour bar for a quantity.

    `cell` is what a cluster is called in the legend.
    """
    x_name, y_name = projection.columns
    n = len(table)
    order = np.random.Generator(np.random.Philox(n)).permutation(n)  # no class lies on top of the others
    shuffled = table.iloc[order]
    size = scale * float(np.clip(11000 / max(n, 1), 5, 34))
    is_test = (shuffled["split"].astype(str) == "test").to_numpy() if "split" in table else np.zeros(n, dtype=bool)
    width = 0.55 if n <= 400 else 0.35
    rings = {"edgecolors": np.where(is_test & has_rings, ink(), "none"), "linewidths": width, "s": size}
    handles: list[Line2D] = []
    common: dict[str, Any] = {"x": shuffled[x_name], "y": shuffled[y_name], "rasterized": n > 800, **rings}
    if is_quantity(table[color]):
        values = shuffled[color].to_numpy(dtype=float)
        low, high = np.nanpercentile(values, [1, 99])
        points = panel.scatter(c=values, cmap="cividis", norm=Normalize(low, high if high > low else low + 1), **common)
        bar = panel.figure.colorbar(points, ax=panel, shrink=0.7, pad=0.02, aspect=28)
        bar.outline.set_visible(False)
        bar.ax.tick_params(labelsize=7, length=2)
    else:
        classes = categories(table[color])
        colours = np.array(classes.colours, dtype=object)[classes.codes[order]]
        panel.scatter(c=list(colours), **common)
        word = f"{cell} " if color == "cluster" else ""
        handles = [
            Line2D([], [], marker="o", linestyle="none", color=colour, markersize=6, label=f"{word}{name} ({n_rows})")
            for name, colour, n_rows in zip(classes.names, classes.colours, classes.sizes, strict=True)
        ]
        if color == "cluster":
            _write_names(panel, table, x_name, y_name)
    _frame_map(panel, projection)
    return handles


def _write_names(panel: Axes, table: pd.DataFrame, x_name: str, y_name: str) -> None:
    """The name of each cluster at the median of its points, so that colour is not the only key."""
    for name, part in table.groupby("cluster", observed=True):
        text = panel.text(
            part[x_name].median(),
            part[y_name].median(),
            plain(name),
            ha="center",
            va="center",
            fontsize=9,
            color="#1c2127",
        )
        text.set_fontweight("bold")
        text.set_bbox({"boxstyle": "round,pad=0.22", "facecolor": "#ffffff", "alpha": 0.82, "linewidth": 0})


def _frame_map(panel: Axes, projection: Projection) -> None:
    panel.set_xlabel(plain(projection.axis_label(1)))
    panel.set_ylabel(plain(projection.axis_label(2)))
    if projection.has_inverse:
        panel.tick_params(labelsize=7, length=2)
    else:
        panel.set_xticks([])
        panel.set_yticks([])
    panel.set_aspect("equal", adjustable="datalim")


def _shape(table: pd.DataFrame, projection: Projection) -> float:
    """Height of a map relative to its width, without its outermost points."""
    x, y = (np.nanpercentile(table[name].to_numpy(dtype=float), [0.5, 99.5]) for name in projection.columns)
    return float((y[1] - y[0]) / max(x[1] - x[0], 1e-9))


@themed
def maps(model: ModelResults, color: str) -> Figure:
    """The maps of one model side by side, two in a row, coloured by one column."""
    table, shown = model.projections, model.maps
    n_rows = -(-len(shown) // 2)
    height = 0.9 + float(np.clip(4.0 * max(_shape(table, one) for one in shown), 2.0, 3.7))
    figure, axes = new_figure(9.0, height * n_rows, n_rows, 2)
    handles: list[Line2D] = []
    for panel in axes.flat[len(shown) :]:
        panel.set_axis_off()
    for panel, one in zip(axes.flat, shown, strict=False):
        handles = draw_map(panel, table, one, color, cell=model.cell)
        _label_with_shares(panel, one)
        panel.set_title(f"{plain(one.title)} of the latents")
    if "split" in table and (table["split"].astype(str) == "test").any():
        ring = Line2D(
            [], [], marker="o", linestyle="none", markerfacecolor="none", markeredgecolor=ink(), label="ring: test"
        )
        handles = [*handles, ring]
    if handles:
        longest = max(len(str(handle.get_label())) for handle in handles)
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), max(2, int(130 / (longest + 6))))
        )
    return figure


def _label_with_shares(panel: Axes, projection: Projection) -> None:
    """How much of the variance lies along each axis, where it is known."""
    shares = projection.facts.get("explained_ratio", [])
    labels = [f"{plain(projection.axis_label(i + 1))} ({100 * s:.0f} % of the variance)" for i, s in enumerate(shares)]
    if labels:
        panel.set_xlabel(labels[0])
    if labels[1:]:
        panel.set_ylabel(labels[1])


def maps_numbers(model: ModelResults, color: str) -> pd.DataFrame:
    """Coordinates of every image on all maps, its part, and the colouring column."""
    wanted = ["row", "image", "split", *(name for one in model.maps for name in one.columns), color]
    return model.projections[[name for name in dict.fromkeys(wanted) if name in model.projections]]


@themed
def label_maps(model: ModelResults, columns: Sequence[str], projection: str = "") -> Figure:
    """One map again and again, small, coloured by each label.

    Args:
        model: The model.
        columns: The labels.
        projection: Name of the map; "" takes the first without an inverse, else the first.
    """
    one = _map_of(model, projection)
    n_columns = min(3, len(columns))
    n_rows = -(-len(columns) // n_columns)
    panel_height = 0.65 + float(np.clip(2.5 * _shape(model.projections, one), 1.1, 2.6))
    figure, axes = new_figure(3.0 * n_columns, panel_height * n_rows, n_rows, n_columns)
    for i, panel in enumerate(axes.flat):
        if i >= len(columns):
            panel.set_axis_off()
            continue
        handles = draw_map(panel, model.projections, one, columns[i], scale=0.55, has_rings=False)
        panel.set_title(plain(columns[i], 30))
        panel.set_xlabel("")
        panel.set_ylabel("")
        if handles:
            shown = handles[:8]
            panel.legend(
                handles=shown,
                loc="upper center",
                bbox_to_anchor=(0.5, -0.01),
                fontsize=6.8,
                ncols=2 if max(len(str(h.get_label())) for h in shown) < 26 else 1,
                handletextpad=0.1,
                columnspacing=0.8,
                labelcolor=ink(),
            )
    return figure


def label_maps_numbers(model: ModelResults, columns: Sequence[str], projection: str = "") -> pd.DataFrame:
    """Coordinates on the map and labels of every image."""
    wanted = ["row", "image", "split", *_map_of(model, projection).columns, *columns]
    return model.projections[[name for name in wanted if name in model.projections]]


def _map_of(model: ModelResults, name: str) -> Projection:
    shown = sorted(model.maps, key=lambda one: one.has_inverse)
    found = next((one for one in shown if name in ("", one.name)), None)
    if found is None:
        raise UsageError(
            f"the model {model.name} has no map {name!r}", hint=f"choose one of: {listed([m.name for m in shown])}"
        )
    return found


@themed
def cluster_match(a: ModelResults, b: ModelResults, comparison: Comparison) -> Figure:
    """How many images the clusters of two models share; rows and columns matched by the Hungarian method."""
    table = cluster_match_numbers(a, b, comparison)
    title = f"images in both: regions of {plain(a.name, 12)} (rows), of {plain(b.name, 12)} (columns)"
    return matrix(table.set_index("cluster"), label=title, decimals=0)


def cluster_match_numbers(a: ModelResults, b: ModelResults, comparison: Comparison) -> pd.DataFrame:
    """Number of images in each cluster of `a` (rows) and of `b` (columns, in the order matched to the rows)."""
    left = a.projections.set_index("row")["cluster"].astype(str)
    right = b.projections.set_index("row")["cluster"].astype(str)
    both = pd.concat([left.rename("a"), right.rename("b")], axis=1, join="inner")
    counts = pd.crosstab(both["a"], both["b"])
    counts = counts.loc[sorted(counts.index, key=_as_number), sorted(counts.columns, key=_as_number)]
    mapping = _mapping(comparison, a.name, b.name)
    first = [mapping[name] for name in counts.index if mapping.get(name) in counts.columns]
    order = [*dict.fromkeys(first), *(name for name in counts.columns if name not in first)]
    return counts[order].rename_axis("cluster").rename_axis(None, axis=1).reset_index()


def _mapping(comparison: Comparison, a: str, b: str) -> dict[str, str]:
    for match in comparison.cluster_matches:
        if (match["a"], match["b"]) == (a, b):
            return {str(key): str(value) for key, value in dict(match["mapping"]).items()}
        if (match["a"], match["b"]) == (b, a):
            return {str(value): str(key) for key, value in dict(match["mapping"]).items()}
    return {}


def _as_number(text: str) -> tuple[float, str]:
    return (float(text), text) if text.replace(".", "", 1).isdigit() else (float("inf"), text)


@themed
def neighbour_overlap(comparison: Comparison) -> Figure:
    """Share of nearest neighbours that two models have in common."""
    label = "share of nearest neighbours in common"
    return matrix(comparison.neighbour_overlap, label=label)


def neighbour_overlap_numbers(comparison: Comparison) -> pd.DataFrame:
    """The matrix of shared neighbours, one row per model."""
    return comparison.neighbour_overlap.rename_axis("model").reset_index()
