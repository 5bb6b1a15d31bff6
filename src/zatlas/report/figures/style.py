"""How figures look: colours, type, themes, and words for numbers.

Colours follow Okabe and Ito (categories), cividis (quantities) and a blue-white-orange map centred at zero
(differences): distinguishable with every common form of colour blindness. Images are grey, or their own RGB, never
false colours. Figures are drawn inside `theme(...)`, which sets matplotlib's parameters for the block; drawing code
takes its ink from `ink()` and `muted()`, so that the same code serves light and dark pages.
"""

import contextlib
import contextvars
import functools
import math
import unicodedata
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, ParamSpec

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

__all__ = [
    "DPI",
    "GENERATED",
    "OKABE_ITO",
    "RESIDUAL",
    "Categories",
    "ThemeName",
    "categories",
    "count",
    "ink",
    "muted",
    "new_figure",
    "number",
    "other_colour",
    "part_colour",
    "part_word",
    "pixels_of",
    "plain",
    "signed",
    "theme",
    "themed",
    "tidy",
]

DPI = 150
ThemeName = Literal["light", "dark"]
P = ParamSpec("P")
_is_themed: contextvars.ContextVar[bool] = contextvars.ContextVar("is_themed", default=False)

# Okabe & Ito 2008, "Color universal design", https://jfly.uni-koeln.de/color/; the eighth colour is the ink itself.
OKABE_ITO = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")
GENERATED = "#D55E00"
RESIDUAL = LinearSegmentedColormap.from_list(
    "residual", ["#08306b", "#2b7bba", "#a6cbe3", "#ffffff", "#f6c08a", "#d9741a", "#7f2704"], N=255
)

_INKS = {
    "light": {"ink": "#1c2127", "muted": "#5a636e", "grid": "#e3e6e9", "face": "#ffffff"},
    "dark": {"ink": "#e8eaed", "muted": "#a2abb5", "grid": "#333a43", "face": "#181c22"},
}
_PARTS = {"train": "#0072B2", "validation": "#56B4E9", "test": "#D55E00"}


@contextlib.contextmanager
def theme(name: ThemeName = "light") -> Iterator[None]:
    """Draw and save figures of the block with the colours of a light or dark page.

    Names of groups and labels are shown as they are: mathematics in `$...$` is not interpreted, and a sign that the
    font lacks becomes a box without a warning.
    """
    colours = _INKS[name]
    parameters: Any = {
        "axes.axisbelow": True,
        "axes.edgecolor": colours["muted"],
        "axes.facecolor": "none",
        "axes.grid": False,
        "axes.labelcolor": colours["ink"],
        "axes.labelsize": 9,
        "axes.linewidth": 0.7,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": colours["ink"],
        "axes.titlelocation": "left",
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "figure.dpi": DPI,
        "figure.facecolor": colours["face"],
        "font.family": ["DejaVu Sans"],
        "font.size": 9,
        "grid.color": colours["grid"],
        "grid.linewidth": 0.7,
        "image.cmap": "gray",
        "legend.fontsize": 8.5,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "patch.linewidth": 0,
        "savefig.facecolor": "auto",
        "svg.fonttype": "path",
        "svg.hashsalt": "zatlas",
        "text.color": colours["ink"],
        "text.hinting": "none",
        "text.parse_math": False,
        "xtick.color": colours["muted"],
        "xtick.labelcolor": colours["ink"],
        "xtick.labelsize": 8.5,
        "ytick.color": colours["muted"],
        "ytick.labelcolor": colours["ink"],
        "ytick.labelsize": 8.5,
    }
    with matplotlib.rc_context(parameters), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        token = _is_themed.set(True)
        try:
            yield
        finally:
            _is_themed.reset(token)


def themed(function: Callable[P, Figure]) -> Callable[P, Figure]:
    """The same figure, drawn in the light theme unless it is called inside `theme`."""

    @functools.wraps(function)
    def draw(*args: P.args, **kwargs: P.kwargs) -> Figure:
        if _is_themed.get():
            return function(*args, **kwargs)
        with theme("light"):
            return function(*args, **kwargs)

    return draw


def ink() -> str:
    """The colour of text on the current theme."""
    return str(matplotlib.rcParams["text.color"])


def muted() -> str:
    """The colour of quieter text and of axes on the current theme."""
    return str(matplotlib.rcParams["xtick.color"])


def other_colour() -> str:
    """The colour of "other" and of collapsed dimensions: a middle grey that shows on both themes."""
    return "#8b939c"


def part_colour(part: str) -> str:
    """The colour of the training, validation or test part; the same in every figure."""
    return _PARTS.get(part, other_colour())


def part_word(part: str) -> str:
    """The name of a part in running text."""
    return {"train": "training"}.get(part, part)


def new_figure(width: float, height: float, rows: int = 1, columns: int = 1, **grid: Any) -> tuple[Figure, np.ndarray]:
    """A figure of a given size [inch] with a grid of axes, laid out without overlaps.

    Returns:
        The figure and its axes as an array (rows, columns).
    """
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    return figure, axes


def tidy(axes: Axes, *, grid: Literal["x", "y", "both", ""] = "y") -> None:
    """Quiet grid lines behind the data, along one direction."""
    if grid:
        axes.grid(True, axis=grid)
    axes.tick_params(length=2.5, width=0.7)


def pixels_of(image: np.ndarray) -> np.ndarray:
    """An image (c, h, w) on [0, 1] as uint8 RGB (h, w, 3): 3 channels are RGB, others are averaged to grey."""
    array = np.asarray(image, dtype=np.float64)
    if array.ndim == 2:
        array = array[None]
    shown = array if array.shape[0] == 3 else np.repeat(array.mean(axis=0, keepdims=True), 3, axis=0)
    levels = np.rint(np.clip(np.nan_to_num(shown), 0.0, 1.0) * 255)
    return np.asarray(levels.astype(np.uint8).transpose(1, 2, 0))


def plain(value: object, limit: int = 26) -> str:
    """A name from the data as one short printable line: control characters become "?", long names are cut."""
    text = "".join("?" if unicodedata.category(sign)[0] == "C" else sign for sign in str(value))
    text = " ".join(text.split())
    if text in ("", "nan", "None", "<NA>"):
        return "(none)"
    return text if len(text) <= limit else text[: limit - 1] + "…"


def number(value: float | None, digits: int = 3) -> str:
    """A number with `digits` significant digits, never in powers of ten, thousands set off; "–" when unknown.

    Example:
        >>> number(0.012345), number(23.97), number(None)
        ('0.0123', '24.0', '–')
    """
    if value is None or not math.isfinite(value):
        return "–"
    if value == 0:
        return "0"
    decimals = digits - 1 - math.floor(math.log10(abs(value)))
    rounded = round(value, decimals)
    text = f"{rounded:,.{min(max(decimals, 0), 6)}f}" if abs(rounded) < 10**digits else f"{value:,.0f}"
    return text.replace(",", "\u202f").replace("-", "−")


def signed(value: float, decimals: int = 2) -> str:
    """A difference with its sign: `+0.62`, `−0.10`, `0.00`."""
    text = f"{value:+.{decimals}f}"
    if float(text) == 0:
        return f"{0:.{decimals}f}"
    return text.replace("-", "−")


def count(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun in the right number.

    Example:
        >>> count(1, "image"), count(444, "image"), count(2, "body", "bodies")
        ('1 image', '444 images', '2 bodies')
    """
    word = noun if n == 1 else (plural or f"{noun}s")
    return f"{n:,}".replace(",", "\u202f") + f" {word}"


@dataclass(frozen=True)
class Categories:
    """Values of a column as at most eight coloured classes.

    Attributes:
        names: Names to show, most frequent first, "other (n classes)" last when there are more than eight.
        colours: One colour per name.
        sizes: Number of rows per name.
        codes: Index into `names` per row (n,).
    """

    names: list[str]
    colours: list[str]
    sizes: list[int]
    codes: np.ndarray


def categories(values: Sequence[Any] | pd.Series, *, top: int = 8) -> Categories:
    """Give each distinct value a colour; with more than `top` values, the top 7 and "other"."""
    column = pd.Series(values).astype("object")
    texts = column.where(column.notna(), "(none)").astype(str)
    sizes = texts.value_counts()
    order = sorted(sizes.index, key=_natural) if len(sizes) <= top else list(sizes.index[: top - 1])
    n_other = len(sizes) - len(order)
    lookup = {name: i for i, name in enumerate(order)}
    codes = np.array([lookup.get(text, len(order)) for text in texts], dtype=np.int64)
    names = [plain(name) for name in order] + ([f"other ({count(n_other, 'class', 'classes')})"] if n_other else [])
    palette = [*OKABE_ITO, ink()][: len(order)] + ([other_colour()] if n_other else [])
    return Categories(names, palette, [int((codes == i).sum()) for i in range(len(names))], codes)


def _natural(text: str) -> tuple[int, float, str]:
    """Sort key: numbers by value before text by letter."""
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)
