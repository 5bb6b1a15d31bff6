"""How much each level of latents says about an image: z, and each map of local latents beside it."""

import re
from typing import NamedTuple

import pandas as pd

from zatlas.results.kinds import ModelResults

__all__ = ["Level", "level_columns", "level_name", "level_rates", "levels", "side_of"]

_COLUMN = re.compile(r"validation_rate_(\d+)px_nats")


class Level(NamedTuple):
    """A level of latents.

    Attributes:
        side: Of the map of local latents [cells]; 0 for z, which has no place.
        rate_nats: What it says about a validation image, on average.
    """

    side: int
    rate_nats: float

    @property
    def name(self) -> str:
        """In a few letters."""
        return level_name(self.side)


def level_name(side: int) -> str:
    """z, or the map of this side [cells], in a few letters.

    Example:
        >>> level_name(0), level_name(8)
        ('z', '8 × 8')
    """
    return f"{side} × {side}" if side else "z"


def level_columns(model: ModelResults) -> dict[int, str]:
    """Columns of the history that hold the rates of maps of local latents, by their side; coarse map first."""
    found = ((side_of(str(name)), str(name)) for name in model.history)
    return dict(sorted((side, name) for side, name in found if side is not None))


def side_of(column: str) -> int | None:
    """The side of the map [cells] whose rate a column of a history holds; None of any other column."""
    found = _COLUMN.fullmatch(column)
    return int(found[1]) if found else None


def level_rates(model: ModelResults) -> pd.DataFrame:
    """The validation rate of each level after each epoch [nats], z first; no columns without local latents."""
    columns, history = level_columns(model), model.history
    if not columns:
        return pd.DataFrame(index=history.index)
    local = history[list(columns.values())].astype(float)
    rates = {level_name(side): local[name] for side, name in columns.items()}
    return pd.DataFrame({level_name(0): history["validation_rate_nats"] - local.sum(axis=1), **rates})


def levels(model: ModelResults) -> list[Level]:
    """z and the maps of local latents with their rates at the epoch whose weights are kept; empty without local ones.

    They are those of the history, on the validation split: each image with one draw of its latents.
    """
    columns = level_columns(model)
    if not columns:
        return []
    row = level_rates(model)[model.history["epoch"] == model.kept_epoch]
    return [] if row.empty else [Level(side, float(row[level_name(side)].iloc[0])) for side in (0, *columns)]
