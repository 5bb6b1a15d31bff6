"""What the bundle says of the study as a whole: the models side by side, how it was run, what travels with it.

Nothing here names the machine: paths are reduced to their last part, and the home folder to "~".
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from zatlas.explorer.bundle.columns import plain
from zatlas.images import phantom
from zatlas.results.kinds import Comparison, StudyResults

__all__ = ["base_name", "comparison", "privacy", "run", "table_rows", "title"]


def title(results: StudyResults) -> str:
    """The title of the study, or one made from the name of its data."""
    return str(results.config.get("title") or "") or f"The latent space of {results.data.name}"


def comparison(compared: Comparison, names: Sequence[str]) -> dict[str, Any] | None:
    """The comparison of some models; None for a single one."""
    if len(names) < 2:
        return None
    pairs = [pair for pair in compared.cluster_matches if pair["a"] in names and pair["b"] in names]
    similar = [row for row in table_rows(compared.map_similarity) if row["a"] in names and row["b"] in names]
    overlap = compared.neighbour_overlap.loc[list(names), list(names)]
    return {
        "table": [row for row in table_rows(compared.table) if row["name"] in names],
        "cluster_matches": plain(pairs),
        "neighbour_overlap": {"names": list(names), "values": plain(overlap.to_numpy(float))},
        "map_similarity": similar,
    }


def table_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as a list of rows."""
    rows: list[dict[str, Any]] = plain(table.to_dict("records"))
    return rows


def run(results: StudyResults, names: Sequence[str]) -> dict[str, Any]:
    """How the study was made, without the places of its files."""
    made, data = results.provenance, results.data
    training = {name: record for name, record in made.get("training", {}).items() if name in names}
    config = {name: dict(part) if isinstance(part, dict) else part for name, part in results.settings.items()}
    for name in ("input", "labels"):
        if config.get("data", {}).get(name):
            config["data"][name] = base_name(config["data"][name])
    facts = {
        "command": [base_name(word) for word in made.get("command", [])],
        "seed": made.get("seed", 0),
        "environment": made.get("environment", {}),
        "fingerprint": made.get("fingerprint", ""),
        "split": {"counts": data.split_counts, "reason": data.split_reason, "warnings": data.warnings},
        "training": training,
        "config": config,
        "data": data.name,
        "is_synthetic": is_synthetic(data.labels),
    }
    without_home: dict[str, Any] = _without_home(plain(facts), str(Path.home()))
    return without_home


def base_name(word: str) -> str:
    """A word of a command line with its paths reduced to their last part.

    Example:
        >>> base_name("/home/anna/images/cell_data.h5"), base_name("--labels=../a/b.csv"), base_name("--epochs")
        ('cell_data.h5', '--labels=b.csv', '--epochs')
    """
    flag, equals, value = word.partition("=") if word.startswith("-") else ("", "", word)
    parts = [part for part in re.split(r"[/\\]", value) if part]
    return f"{flag}{equals}{parts[-1] if parts else value}"


def _without_home(value: Any, home: str) -> Any:
    if isinstance(value, dict):
        return {key: _without_home(item, home) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_home(item, home) for item in value]
    return value.replace(home, "~") if isinstance(value, str) and len(home) > 1 else value


def is_synthetic(labels: Sequence[str]) -> bool:
    """Whether the images were drawn by `zatlas.phantom`, which writes the factors of each image as its labels."""
    return any(set(phantom.factor_names(kind)) <= set(labels) for kind in ("sections", "radiographs"))


def privacy(
    *, n: int, labels: Sequence[str], has_thumbnails: bool, has_originals: bool, side_px: int, thumbnail_px: int,
    has_decoder: bool, has_encoder: bool, note: str = "",
) -> dict[str, Any]:  # fmt: skip
    """Which pictures and which facts about them travel with the bundle, in words.

    Args:
        n: How many images.
        labels: Titles of the label columns.
        has_thumbnails: Small pictures are inside.
        has_originals: Pictures with all pixels that the model sees are inside.
        side_px: Side of the pictures that the model sees.
        thumbnail_px: Side of the thumbnails.
        has_decoder: The decoder is inside, which draws pictures like those it learned from.
        has_encoder: The encoder is inside.
        note: Why pictures that were wanted are not inside.
    """
    level = "originals" if has_originals else "thumbnails" if has_thumbnails else "latents"
    what = {
        "originals": f"all images as the model sees them ({side_px} px)",
        "thumbnails": f"small pictures of all images ({thumbnail_px} px)",
        "latents": "no images, only their latents",
    }[level]
    words = f"This page holds {what}, their names and labels{', and the decoder' if has_decoder else ''}."
    contains = [
        *([f"originals of {n} images at {side_px} px"] if has_originals else []),
        *([f"thumbnails of {n} images at {thumbnail_px} px"] if has_thumbnails else []),
        "names of the images, their groups and the split that each is in",
        *([f"labels: {', '.join(labels)}"] if labels else []),
        "latents, maps, regions and numbers of each model",
        *(["the decoder, which can draw pictures close to images that it has learned from"] if has_decoder else []),
        *(["the encoder"] if has_encoder else []),
    ]
    return {"level": level, "words": f"{words} {note}".strip(), "contains": plain(contains)}
