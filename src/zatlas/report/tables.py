"""Tables of the report: numbers with sensible digits, as plain text for the template."""

import math
import re
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd

from zatlas.report.figures.style import number, plain

__all__ = ["cell", "cells_of", "table_block", "whole"]

_COUNT = re.compile(r"(^|_)n(_|$)")  # test_n, test_n_empty


def table_block(
    table: pd.DataFrame,
    title: str,
    caption: str = "",
    *,
    best: Iterable[tuple[int, int]] = (),
    digits: int = 4,
    all_numbers: bool = False,
) -> dict[str, Any]:
    """A table for the page: numbers to the right, with sensible digits.

    Args:
        table: Its columns become those of the page.
        title: A few words.
        caption: What is in it.
        best: Cells (column, row) to set off.
        digits: Significant digits of the largest number of a column.
        all_numbers: All columns but the first are numbers, also where they are text already.
    """
    is_number = [pd.api.types.is_numeric_dtype(table.iloc[:, i]) for i in range(table.shape[1])]
    if all_numbers:
        is_number = [False, *([True] * (table.shape[1] - 1))]
    cells = [cells_of(table.iloc[:, i], digits) for i in range(table.shape[1])]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return {
        "kind": "table",
        "title": title,
        "caption": caption,
        "header": [str(name) for name in table.columns],
        "rows": rows,
        "is_number": is_number,
        "best": set(best),
    }


def cells_of(column: pd.Series, digits: int) -> list[str]:
    """The cells of a column; its numbers with as many decimals as its largest one has significant digits for."""
    if not pd.api.types.is_float_dtype(column):
        return [cell(value, digits) for value in column.tolist()]
    values = column.to_numpy(dtype=float)
    largest = float(np.max(np.abs(values[np.isfinite(values)]), initial=0.0))
    decimals = int(np.clip(digits - 1 - math.floor(math.log10(largest)), 0, 3)) if largest > 0 else 1
    texts = [f"{value:,.{decimals}f}" if math.isfinite(value) else "–" for value in values]
    return [text.replace(",", "\u202f").replace("-", "−") for text in texts]


def cell(value: Any, digits: int) -> str:
    """One value as text."""
    if isinstance(value, float | np.floating):
        return number(float(value), digits)
    if isinstance(value, int | np.integer) and not isinstance(value, bool):
        return f"{int(value):,}".replace(",", "\u202f")
    return plain(value, 60)


def whole(column: pd.Series) -> pd.Series:
    """Counts that were stored as decimal numbers, as whole ones."""
    is_count = bool(_COUNT.search(str(column.name))) and bool((column == column.round()).all())
    return column.astype(int) if is_count else column
