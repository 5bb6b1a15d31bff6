"""The sheet of `zatlas sample --as-if`: real tiles, and what a model draws had they another value of a covariate."""

import pandas as pd
from matplotlib.figure import Figure

from zatlas.report.figures.sheet import Cell, Row, sheet
from zatlas.report.figures.style import plain, themed
from zatlas.results.as_if import AsIf

__all__ = ["as_if_numbers", "as_if_sheet", "as_if_words"]


def as_if_words(shown: AsIf) -> str:
    """What the sheet shows, and that it is no observation."""
    return (
        f"Right of each tile: its reconstruction, and the tile as if its {plain(shown.column)} were another. "
        "Drawn by the model, not observed."
    )


@themed
def as_if_sheet(shown: AsIf) -> Figure:
    """A row for each tile: the original, its reconstruction, and a column for each value."""
    columns = ["original", "reconstruction", *(f"as if {plain(value, 10)}" for value in shown.values)]
    rows = []
    for place, (image, own) in enumerate(zip(shown.images, shown.own, strict=True)):
        told = f"told {plain(own, 10)}" if own else "told the mean of all"
        cells = [
            Cell(shown.originals[place], plain(image, 16)),
            Cell(shown.reconstructions[place], told, is_generated=True),
            *(Cell(drawn, is_generated=True) for drawn in shown.drawn[place]),
        ]
        rows.append(Row(cells, columns=columns if place == 0 else ()))
    return sheet(rows, gaps=(1, 2), foot=as_if_words(shown))


def as_if_numbers(shown: AsIf) -> pd.DataFrame:
    """Mean grey (0 black, 1 white) of each tile, of its reconstruction, and of each picture drawn."""
    rows = []
    for place, image in enumerate(shown.images):
        pictures = {"original": shown.originals[place], "reconstruction": shown.reconstructions[place]}
        pictures |= {f"as if {value}": one for value, one in zip(shown.values, shown.drawn[place], strict=True)}
        for picture, pixels in pictures.items():
            row = {"image": image, "own_value": shown.own[place], "picture": picture, "mean_grey": float(pixels.mean())}
            rows.append(row)
    return pd.DataFrame(rows)
