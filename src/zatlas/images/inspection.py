"""What is in a collection, before anything is trained: the numbers behind `zatlas inspect`.

Tables only; figures are drawn from them elsewhere. One pass over the pixels gives the grey statistics and finds images
that deserve a look: constant, nearly constant, tiny, or stored twice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from zatlas.images.collection import Collection
from zatlas.images.splits import MOST_GROUPS_TO_COMPARE, Split, suggest_holdout
from zatlas.images.statistics import Statistics, grey_level_outliers, statistics
from zatlas.randomness import generator

__all__ = ["Inspection", "inspection"]

log = logging.getLogger(__name__)

_TINY_PX = 32
_NEARLY_CONSTANT = 0.01
_ALL = "all"


@dataclass(frozen=True)
class Inspection:
    """What was found.

    Attributes:
        groups: One row per group: group, images, pixels, pixel_share, mean, std, min, max, and with a split the images
            in train, validation and test.
        sizes: One row per group and one for all: minimum, median and maximum of height, width [px] and pixels.
        extremes: Largest and smallest image of each group: group, which, row, image, height, width, pixels.
        histograms: One row per bin: from, to, one column per group (up to 50) and one called all, each summing to 1.
        contact_sheet: Rows of images to show, of every group, spread over its images.
        suspicious: One row per finding: row, image, group, problem, detail.
        holdout: Group suggested to be held out; "" when there is none.
        holdout_why: The reason, one sentence.
        holdout_table: How the groups compare.
        grey_outliers: Groups whose grey level stands apart.
        warnings: Sentences worth reading.
        statistics: Grey statistics.
    """

    groups: pd.DataFrame
    sizes: pd.DataFrame
    extremes: pd.DataFrame
    histograms: pd.DataFrame
    contact_sheet: npt.NDArray[np.int64]
    suspicious: pd.DataFrame
    holdout: str
    holdout_why: str
    holdout_table: pd.DataFrame
    grey_outliers: tuple[str, ...]
    warnings: tuple[str, ...]
    statistics: Statistics


def inspection(
    collection: Collection,
    *,
    grey: Statistics | None = None,
    split: Split | None = None,
    n_shown: int = 24,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Inspection:
    """Look at a collection.

    Args:
        collection: The images; pack them first when they are compressed, so that each is decoded once.
        grey: Their statistics, when they are known; computed otherwise.
        split: Their split, to find images stored on both sides of it.
        n_shown: Images on the contact sheet.
        seed: For the choice of images on the contact sheet.
        on_progress: Called with images done and images in all.

    Raises:
        DataError: an image cannot be decoded.
    """
    grey = grey or statistics(collection, split.rows("train") if split else None, on_progress)
    sizes = _with_pixels(collection.table)
    name, why, table = suggest_holdout(collection)
    suspicious = _suspicious(sizes, grey, split)
    outliers = tuple(grey_level_outliers(grey))
    warnings = list(split.warnings) if split else []
    if outliers:
        shown = ", ".join(outliers[:8]) + (f" and {len(outliers) - 8} more" if len(outliers) > 8 else "")
        warnings.append(
            f"grey level: {shown} differ from the other groups by more than their own spread; "
            "a model may learn the stain or the exposure before the tissue"
        )
    return Inspection(
        groups=_groups(sizes, grey, split),
        sizes=_sizes(sizes),
        extremes=_extremes(sizes),
        histograms=_histograms(grey),
        contact_sheet=_contact_sheet(sizes, n_shown, seed),
        suspicious=suspicious,
        holdout=name,
        holdout_why=why,
        holdout_table=table,
        grey_outliers=outliers,
        warnings=tuple(warnings),
        statistics=grey,
    )


def _with_pixels(table: pd.DataFrame) -> pd.DataFrame:
    sizes = table[["image", "group", "height", "width"]].copy()
    sizes["pixels"] = sizes["height"].astype(np.int64) * sizes["width"].astype(np.int64)
    return sizes


def _by_group(sizes: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """Each group with its rows, or all images under the name "all" when there are no groups."""
    if not (sizes["group"] != "").any():
        return [(_ALL, sizes)]
    return [(str(name), rows) for name, rows in sizes.groupby("group")]


def _groups(sizes: pd.DataFrame, grey: Statistics, split: Split | None) -> pd.DataFrame:
    rows = []
    for name, images in _by_group(sizes):
        levels = grey.groups.get(name, grey.total)
        row: dict[str, Any] = {
            "group": name,
            "images": len(images),
            "pixels": int(images["pixels"].sum()),
            "pixel_share": float(images["pixels"].sum() / sizes["pixels"].sum()),
            "mean": levels["mean"],
            "std": levels["std"],
            "min": levels["min"],
            "max": levels["max"],
        }
        if split is not None:
            for part in ("train", "validation", "test"):
                row[part] = int((split.part[images.index] == part).sum())
        rows.append(row)
    return pd.DataFrame(rows)


def _sizes(sizes: pd.DataFrame) -> pd.DataFrame:
    chosen = _by_group(sizes)
    if chosen[0][0] != _ALL:
        chosen.append((_ALL, sizes))
    rows = []
    for name, images in chosen:
        row: dict[str, Any] = {"group": name, "images": len(images)}
        for column in ("height", "width", "pixels"):
            for what in ("min", "median", "max"):
                row[f"{column}_{what}"] = float(images[column].agg(what))
        rows.append(row)
    return pd.DataFrame(rows)


def _extremes(sizes: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for name, images in _by_group(sizes):
        pixels = images["pixels"].to_numpy()
        for which, k in (("largest", int(pixels.argmax())), ("smallest", int(pixels.argmin()))):
            row = int(images.index[k])
            rows.append({"group": name, "which": which, "row": row} | images.iloc[k].drop("group").to_dict())
    return pd.DataFrame(rows)


def _histograms(grey: Statistics) -> pd.DataFrame:
    """Shares of pixels per bin on the bins of all images, which are at least as wide as each group's."""
    edges = np.array(grey.total["histogram"]["edges"])
    table = {"from": edges[:-1], "to": edges[1:]}
    shown = grey.groups if len(grey.groups) <= MOST_GROUPS_TO_COMPARE else {}
    for name, levels in {**shown, _ALL: grey.total}.items():
        counts = np.array(levels["histogram"]["counts"], dtype=np.float64)
        bins = np.searchsorted(edges, levels["histogram"]["edges"][:-1], side="right") - 1
        table[name] = np.bincount(bins, weights=counts, minlength=len(edges) - 1) / counts.sum()
    return pd.DataFrame(table)


def _contact_sheet(sizes: pd.DataFrame, n_shown: int, seed: int) -> npt.NDArray[np.int64]:
    """Images of every group in turn, random within the group, in order of their rows."""
    rng = generator(seed, "contact sheet")
    queues = [list(rng.permutation(images.index.to_numpy())) for _, images in _by_group(sizes)]
    queues = [queues[k] for k in rng.permutation(len(queues))]
    chosen: list[int] = []
    while len(chosen) < min(n_shown, len(sizes)):
        for queue in queues:
            if queue and len(chosen) < n_shown:
                chosen.append(int(queue.pop()))
    return np.array(sorted(chosen), dtype=np.int64)


def _suspicious(sizes: pd.DataFrame, grey: Statistics, split: Split | None) -> pd.DataFrame:
    images = grey.images
    spread = grey.total["max"] - grey.total["min"]
    is_constant = (images["min"] == images["max"]).to_numpy()
    deviation = images["std"].to_numpy(np.float64)
    is_nearly = ~is_constant & (deviation < _NEARLY_CONSTANT * spread)
    is_tiny = (sizes[["height", "width"]].min(axis=1) < _TINY_PX).to_numpy()
    found = [(row, "constant", f"every pixel is {images['mean'].iat[row]:g}") for row in _rows(is_constant)]
    for row in _rows(is_nearly):
        found.append((row, "nearly constant", f"deviation {deviation[row]:.3g}, below 1 % of the range of all images"))
    for row in _rows(is_tiny):
        found.append((row, "tiny", f"{sizes['height'].iat[row]} x {sizes['width'].iat[row]} px"))
    found += _duplicates(images, is_constant, split)
    rows = [
        {"row": row, "image": sizes["image"].iat[row], "group": sizes["group"].iat[row], "problem": what, "detail": how}
        for row, what, how in sorted(found, key=lambda finding: finding[0])
    ]
    return pd.DataFrame(rows, columns=["row", "image", "group", "problem", "detail"])


def _rows(is_found: npt.NDArray[np.bool_]) -> list[int]:
    return [int(row) for row in np.flatnonzero(is_found)]


def _duplicates(
    images: pd.DataFrame, is_constant: npt.NDArray[np.bool_], split: Split | None
) -> list[tuple[int, str, str]]:
    """Images with the same pixels as an earlier one; those on both sides of a split or in two groups say so."""
    first: dict[str, int] = {}
    names, groups, contents = (images[column].tolist() for column in ("image", "group", "content"))
    found = []
    for row in _rows(~is_constant):
        twin = first.setdefault(contents[row], row)
        if twin == row:
            continue
        problem = "duplicate"
        if split is not None and split.part[row] != split.part[twin]:
            problem = f"duplicate in {split.part[twin]} and {split.part[row]}"
        elif groups[row] != groups[twin]:
            problem = "duplicate in another group"
        found.append((row, problem, f"same pixels as {names[twin]}"))
    return found
