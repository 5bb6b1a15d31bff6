"""A table of labels (CSV) beside the images: which row belongs to which image.

The rows are joined by a column called index (0, 1, 2, ... in the order of the input), or by the column that names the
images: their path in the collection, their file name, or the file name without its ending. Every image needs exactly
one row; rows without an image are passed over.
"""

import csv
import difflib
import io
import logging
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import pandas as pd

from zatlas.errors import DataError, FileAccessError, UsageError
from zatlas.images.source import printable

__all__ = ["OWN_COLUMNS", "RESERVED", "groups_from", "match_labels", "read_labels", "typed", "with_free_names"]

log = logging.getLogger(__name__)

OWN_COLUMNS = ("image", "group", "height", "width", "channels", "dtype")
"""Columns of a collection's table that are no labels."""
_OF_ATLASES = (
    "row", "image_row", "split", "cluster", "y_px", "x_px", "size_px", "distortion_nats", "rate_nats",
    "local_rate_nats", "psnr_db",
)  # fmt: skip
RESERVED = (*OWN_COLUMNS, *_OF_ATLASES)
"""Columns that zatlas makes itself, here or in an atlas made from the collection."""
_INDEX_NAMES = ("index", "row", "image_index", "unnamed: 0")


def read_labels(path: Path) -> pd.DataFrame:
    """Read a table of labels, all cells as text; comma, semicolon or tab between them.

    Raises:
        FileAccessError: the file cannot be read.
        DataError: it is not a table, or two columns have the same name.
    """
    try:
        content = path.read_bytes()
    except OSError as err:
        raise FileAccessError(f"the labels table {printable(path.name)} cannot be read: {err.strerror}") from err
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        log.info("labels: %s is not UTF-8, read as Windows-1252", printable(path.name))
        text = content.decode("cp1252", "replace")
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator) if row]
    except csv.Error as err:
        raise DataError(f"{printable(path.name)} is not a table of labels: {err}", hint="save it as CSV") from err
    if len(rows) < 2 or "\0" in first:
        raise DataError(
            f"{printable(path.name)} is not a table of labels: expected a line of column names and a line per image",
            hint="save the table as CSV",
        )
    names = [name.strip() for name in rows[0]]
    double = [name for name, n in Counter(names).items() if n > 1]
    if double:
        raise DataError(f"column {double[0]!r} occurs twice in {printable(path.name)}", hint="rename one of them")
    uneven = next((i for i, row in enumerate(rows) if len(row) != len(names)), None)
    if uneven is not None:
        raise DataError(
            f"row {uneven + 1} of {printable(path.name)} has {len(rows[uneven])} cells, expected {len(names)}",
            hint="put text that holds a comma between double quotes",
        )
    return pd.DataFrame(rows[1:], columns=names, dtype=object)


def match_labels(table: pd.DataFrame, images: Sequence[str], positions: Sequence[int], where: str) -> pd.DataFrame:
    """The row of each image, in the order of the images; the column they were joined by is left out.

    Args:
        table: As `read_labels` returns it.
        images: Names of the images in their collection.
        positions: Place of each image in the input, counted from 0.
        where: Name of the table's file, for messages.

    Raises:
        DataError: no column names the images, an image has no row, or has more than one.
    """
    column, keys, cells, how = _best_key(table, images, positions, where)
    counts = Counter(cells)
    double = sorted({key for key in keys if counts[key] > 1})
    if double:
        raise DataError(
            f"{_images_have(len(double))} more than one row in {where}: {', '.join(double[:3])} (column {column})",
            hint="keep one row per image",
        )
    missing = [image for image, key in zip(images, keys, strict=True) if key not in counts]
    if missing:
        verb = "has" if len(missing) == 1 else "have"
        raise DataError(
            f"of {len(images)} images, {len(missing)} {verb} no row in {where}: {', '.join(missing[:3])}"
            f"{' ...' if len(missing) > 3 else ''} (joined by {how})",
            hint="add a row for each image, or give the right table with --labels",
        )
    row_of = {cell: row for row, cell in enumerate(cells)}
    extra = len(set(cells) - set(keys))
    log.info("labels: %s joined by %s%s", where, how, f"; rows without an image: {extra}" if extra else "")
    joined = table.iloc[[row_of[key] for key in keys]].drop(columns=column).reset_index(drop=True)
    return joined.apply(typed)


def _images_have(n: int) -> str:
    return "1 image has" if n == 1 else f"{n} images have"


def _best_key(
    table: pd.DataFrame, images: Sequence[str], positions: Sequence[int], where: str
) -> tuple[str, list[str], list[str], str]:
    """The column that fits the images best: its name, the images' keys, its cells, and how in words."""
    kinds = {
        "path": list(images),
        "file name": [PurePosixPath(name).name for name in images],
        "file name without ending": [PurePosixPath(name).stem for name in images],
        "path without ending": [PurePosixPath(name).with_suffix("").as_posix() if name else name for name in images],
    }
    best: tuple[float, str, list[str], list[str], str] = (0.0, "", [], [], "")
    ambiguous = ""
    for column in table.columns:
        cells = [str(cell).strip() for cell in table[column]]
        if column.lower() in _INDEX_NAMES:
            numbers = [cell.removesuffix(".0").lstrip("0") or "0" for cell in cells]
            if all(number.isdecimal() for number in numbers):
                return column, [str(position) for position in positions], numbers, f"index (column {column})"
        as_paths = [cell.replace("\\", "/").removeprefix("./") for cell in cells]
        known = set(as_paths)
        for kind, keys in kinds.items():
            share = sum(key in known for key in keys) / max(1, len(keys))
            if share > best[0] and len(set(keys)) < len(keys):
                ambiguous = kind
            elif share > best[0]:
                best = (share, column, keys, as_paths, f"{kind} (column {column})")
    if best[0] < 0.5 and ambiguous:
        raise DataError(
            f"{where} names images by {ambiguous}, but several images share one",
            hint=f"name images by their path, such as {images[0]}",
        )
    if best[0] == 0:
        raise DataError(
            f"no column of {where} names the images; its columns are {', '.join(map(str, table.columns))}",
            hint=f"add a column called index (0, 1, 2, ...) or a column with names such as {images[0]}",
        )
    return best[1], best[2], best[3], best[4]


def typed(column: pd.Series) -> pd.Series:
    """Text cells as whole numbers or numbers where all of them are; empty cells are missing.

    Text such as "007" stays text, because its zeros mean something.
    """
    cells = column.map(lambda cell: cell.strip() if isinstance(cell, str) else cell).replace("", None)
    filled = cells.dropna()
    texts = filled.map(str)
    if len(filled) == 0 or bool(texts.map(lambda text: re.match(r"[+-]?0\d|.*_", text) is not None).any()):
        return cells.astype(object)
    try:
        return pd.to_numeric(cells)
    except (ValueError, TypeError):
        return cells.astype(object)


def with_free_names(labels: pd.DataFrame) -> pd.DataFrame:
    """Label columns renamed to label_NAME where zatlas has a column of its own by that name."""
    clash = {name: f"label_{name}" for name in labels.columns if name in RESERVED}
    if clash:
        log.info("labels: %s", ", ".join(f"{old} is called {new}" for old, new in clash.items()))
    return labels.rename(columns=clash)


def groups_from(table: pd.DataFrame, labels: Sequence[str], column: str) -> pd.Series:
    """The group of each image from a label column, as text.

    Raises:
        UsageError: there is no such column.
        DataError: some images have no value in it.
    """
    name = column if column in labels else f"label_{column}"
    if name not in labels:
        close = difflib.get_close_matches(column, labels, n=1, cutoff=0.5)
        known = f"the label columns are {', '.join(labels)}" if labels else "the images have no label columns"
        hint = f"did you mean --group {close[0]}?" if close else "give a table that has it with --labels"
        raise UsageError(f"there is no column {column!r} to group by; {known}", hint=hint)
    values = table[name]
    empty = table.loc[values.isna(), "image"]
    if len(empty):
        raise DataError(
            f"{_images_have(len(empty))} no value in column {column!r}, which names their groups: "
            f"{', '.join(empty.head(3))}",
            hint="fill the column in, or group by another with --group",
        )
    return values.map(_group_name)


def _group_name(value: object) -> str:
    is_whole = isinstance(value, float) and value.is_integer()
    return printable(str(int(value)) if is_whole and isinstance(value, float) else str(value))
