"""The table of how far shifts of a tile move its latents."""

from typing import Any

import pandas as pd

from zatlas.report.figures.style import count, plain
from zatlas.report.findings.words import in_order
from zatlas.report.tables import table_block
from zatlas.results.kinds import StudyResults

__all__ = ["invariance_blocks"]


def invariance_blocks(results: StudyResults) -> list[dict[str, Any]]:
    """One table of all models and distances; none where it was not measured."""
    models = [model for model in in_order(results) if model.invariance]
    if not models:
        return []
    rows = [
        {
            "model": plain(model.name),
            "shift [px]": int(shift["px"]),
            "latents": float(shift["latents"]),
            "PCA": float(shift["pca"]),
            "grey histogram": float(shift["histogram"]),
        }
        for model in models
        for shift in model.invariance["shifts"]
    ]
    first = models[0].invariance
    caption = (
        f"Share of their variance that a shift of the tile by so many pixels makes: 0 none, 1 as much as between tiles "
        f"drawn at random. {count(int(first['n']), 'tile')} of {int(first['size_px'])} px, cut again from the same "
        "images down or up, and to one side. PCA scores have variance 1 each. The histogram knows no "
        "places: its share is new tissue alone."
    )
    return [table_block(pd.DataFrame(rows), "How far latents move when a tile is shifted", caption, digits=3)]
