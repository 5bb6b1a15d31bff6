"""Every figure of a study in the order of the report, and the files made of each: PNG, SVG, CSV.

`catalogue` lists the figures as recipes (id, title, caption, how to draw, which numbers); `write_figures` draws them
all into a folder. The same results give the same bytes: no dates, fixed identifiers in the SVG. Text that a
spreadsheet would run as a formula is made inert in the CSV.
"""

import contextlib
import gc
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from zatlas.files import make_folder, new_file, remove_leftovers, write_csv
from zatlas.report.figures.catalogue import Recipe, catalogue
from zatlas.report.figures.style import DPI, ThemeName, theme
from zatlas.results.kinds import StudyResults

__all__ = ["FigureEntry", "Manifest", "draw", "few_collections", "figure_bytes", "write_figures", "write_recipes"]


@dataclass(frozen=True)
class FigureEntry:
    """One written figure.

    Attributes:
        id: Name of its files without the ending.
        title: A few words.
        caption: What is seen and what the axes mean.
        files: File names in the folder by kind: "png", "svg", "csv".
        section: Section of the report it belongs to.
        model: Name of the model, "" for figures of the data and of all models.
    """

    id: str
    title: str
    caption: str
    files: dict[str, str]
    section: str
    model: str


@dataclass(frozen=True)
class Manifest:
    """All written figures, in the order of the report.

    Attributes:
        folder: Where their files are.
        entries: One per figure.
    """

    folder: Path
    entries: tuple[FigureEntry, ...]

    def __iter__(self) -> Iterator[FigureEntry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)


def write_figures(
    results: StudyResults, folder: Path, on_progress: Callable[[int, int], None] | None = None
) -> Manifest:
    """Write each figure of the study as PNG (150 dpi) and SVG, and its numbers as CSV.

    Figures of an earlier run that no longer exist are removed from the folder.

    Raises:
        WriteError: the folder cannot be written.
    """
    manifest = write_recipes(catalogue(results), folder, on_progress)
    _remove_others(manifest)
    return manifest


def write_recipes(
    recipes: Sequence[Recipe], folder: Path, on_progress: Callable[[int, int], None] | None = None
) -> Manifest:
    """Write chosen figures, such as those of `data_recipes`, as `write_figures` does."""
    make_folder(folder)
    remove_leftovers(folder)
    entries = []
    with few_collections():
        for done, recipe in enumerate(recipes):
            entries.append(_write(recipe, folder))
            if on_progress is not None:
                on_progress(done + 1, len(recipes))
    return Manifest(folder, tuple(entries))


def _remove_others(manifest: Manifest) -> None:
    """Remove figures of an earlier run: names that have all three kinds of file, and are not in the manifest."""
    kept = {entry.id for entry in manifest}
    for svg in manifest.folder.glob("*.svg"):
        trio = [svg.with_suffix(suffix) for suffix in (".svg", ".png", ".csv")]
        if svg.stem not in kept and all(file.is_file() for file in trio):
            for file in trio:
                file.unlink()


def _write(recipe: Recipe, folder: Path) -> FigureEntry:
    files = {kind: f"{recipe.id}.{kind}" for kind in ("png", "svg", "csv")}
    with theme("light"):
        for kind, content in figure_bytes(recipe.draw()).items():
            with new_file(folder / files[kind]) as temporary:
                temporary.write_bytes(content)
    write_numbers(recipe.numbers(), folder / files["csv"])
    return FigureEntry(recipe.id, recipe.title, recipe.caption, files, recipe.section, recipe.model)


def draw(recipe: Recipe, name: ThemeName) -> Image.Image:
    """The picture of a figure on a light or dark page."""
    with theme(name):
        return _painted(recipe.draw())


def figure_bytes(figure: Figure) -> dict[str, bytes]:
    """A figure as "png" and "svg", without dates, so that equal figures are equal bytes. Call inside `theme`.

    What is laid out for the PNG is kept for the SVG, and neither is drawn twice, as `savefig` does: a third less time.
    """
    png, svg = io.BytesIO(), io.BytesIO()
    _painted(figure).save(png, "PNG", compress_level=4, dpi=(DPI, DPI))
    figure.set_layout_engine("none")
    canvas: Any = FigureCanvasSVG(figure)
    canvas.print_svg(svg, metadata={"Date": None, "Creator": "zatlas"})
    return {"png": png.getvalue(), "svg": svg.getvalue()}


def _painted(figure: Figure) -> Image.Image:
    figure.set_dpi(DPI)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


@contextlib.contextmanager
def few_collections() -> Iterator[None]:
    """Let Python's garbage collector overlook what was there before.

    Figures are full of circles, so it runs often, and looks at everything that a study has loaded each time.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def write_numbers(table: pd.DataFrame, path: Path) -> None:
    """Write the numbers behind a figure, at most nine significant digits, formulas made inert."""
    columns = [_cells(table.iloc[:, i]) for i in range(table.shape[1])]
    write_csv(path, [str(name) for name in table.columns], zip(*columns, strict=True))


def _cells(column: pd.Series) -> Sequence[object]:
    if pd.api.types.is_float_dtype(column):
        return [float(f"{value:.9g}") if pd.notna(value) else "" for value in column.astype(float)]
    return ["" if pd.isna(value) else value for value in column.astype(object)]
