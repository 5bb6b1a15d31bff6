"""Which images train, which choose the best epoch, which only judge.

A split is by group (brain, patient) whenever there are groups, so that no group is in two parts; without groups it is
by image. It is a pure function of the table, the configuration and the seed. Images of one patient on both sides of a
split make a test look better than it is: columns that look like patients are checked and named.

Nothing here reads pixels; everything is decided from the collection's table.
"""

import difflib
import logging
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd

from zatlas.config import SplitConfig
from zatlas.errors import DataError, UsageError
from zatlas.randomness import generator

__all__ = [
    "MOST_GROUPS_TO_COMPARE",
    "PARTS",
    "Split",
    "few_to_choose_by",
    "patient_like_columns",
    "planned_split",
    "split_collection",
    "suggest_holdout",
]

log = logging.getLogger(__name__)

PARTS = ("train", "validation", "test")
_VALIDATION_BY_GROUP_FROM = 10
_TRIES = 64
MOST_GROUPS_TO_COMPARE = 50
"""With more groups, such as patients, groups are not compared one by one."""
_PERSON_WORDS = (
    "patient", "patients", "subject", "subjects", "case", "cases", "animal", "animals", "donor", "donors",
    "participant", "participants", "individual", "individuals", "person", "persons", "mouse", "rat", "monkey", "brain",
    "specimen", "mrn", "pid", "patientid", "subjectid", "caseid", "animalid", "donorid",
)  # fmt: skip
_ID_WORDS = ("id", "ids", "number", "no", "nr", "code", "name", "key")


@runtime_checkable
class _Grouped(Protocol):
    """What a split needs of a collection."""

    @property
    def table(self) -> pd.DataFrame: ...
    @property
    def groups(self) -> tuple[str, ...]: ...
    @property
    def labels(self) -> tuple[str, ...]: ...


@dataclass(frozen=True)
class Split:
    """The part of each image.

    Attributes:
        part: "train", "validation" or "test" for each row of the collection.
        by: How it was made: "group names", "groups" or "images".
        warnings: Risks that the person should know, whole sentences.
        reason: What was held out and why, one sentence.
    """

    part: np.ndarray[Any, np.dtype[np.str_]]
    by: str
    warnings: tuple[str, ...]
    reason: str

    def rows(self, part: str) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Rows of the images of a part, ascending."""
        if part not in PARTS:
            raise ValueError(f"part is {part!r}, expected one of {', '.join(PARTS)}")
        return np.flatnonzero(self.part == part).astype(np.int64)


def split_collection(collection: _Grouped, config: SplitConfig, seed: int) -> Split:
    """Divide a collection into train, validation and test.

    The test part: the groups named by `config.test_group`; else groups drawn at random whose images come closest to
    `config.test_fraction`; else, without groups, images drawn at random. The validation part is taken from what
    remains: whole groups when there are at least 10, images otherwise. No part is empty.

    Args:
        collection: Images with their groups.
        config: Groups or fractions.
        seed: The study's seed; the same seed gives the same parts.

    Raises:
        UsageError: an unknown group is named, or no group is left for training, or nothing for testing.
        DataError: there are too few images for three parts.
    """
    split = planned_split(collection, config, seed)
    for warning in split.warnings:
        log.warning("split: %s", warning)
    log.info("split: %s", split.reason)
    return split


def planned_split(collection: _Grouped, config: SplitConfig, seed: int) -> Split:
    """What `split_collection` gives, without a word in the log."""
    group = collection.table["group"].to_numpy(dtype=str)
    n = len(group)
    if n < 3:
        found = "is 1 image" if n == 1 else f"are {n} images"
        raise DataError(f"there {found}, but a split needs at least 3: one to train, one to choose, one to judge")
    by = "group names" if config.test_group else ("groups" if len(collection.groups) >= 2 else "images")
    if by == "group names":
        is_test = np.isin(group, _named_groups(collection.groups, config.test_group))
    elif config.test_fraction == 0:
        raise UsageError(
            "--test-fraction is 0, so that no image is left to judge the model by",
            hint="set --test-fraction to 0.2, or name groups with --test-group",
        )
    elif by == "groups":
        is_test = np.isin(group, _draw_groups(group, config.test_fraction, generator(seed, "test groups")))
    else:
        is_test = _draw_images(np.arange(n), config.test_fraction, generator(seed, "test images"), n, n_left=2)
    is_validation = _validation(group, ~is_test, config.validation_fraction, seed)
    part = np.where(is_test, "test", np.where(is_validation, "validation", "train"))
    few = few_to_choose_by(group[is_validation], group[part == "train"], remedy="--validation-fraction takes more")
    warnings = (*_leaks(collection, is_test, by), *([few] if few else []))
    return Split(part, by, warnings, _reason(collection, group, part, by))


def _named_groups(groups: Sequence[str], named: Sequence[str]) -> list[str]:
    if not groups:
        raise UsageError(
            f"--test-group names {named[0]!r}, but the images have no groups",
            hint="name the column that holds them with --group, or leave --test-group out to split by image",
        )
    for name in named:
        if name not in groups:
            close = difflib.get_close_matches(name, groups, n=1, cutoff=0.5)
            shown = ", ".join(groups[:30]) + (f" and {len(groups) - 30} more" if len(groups) > 30 else "")
            raise UsageError(
                f"there is no group {name!r} to hold out; the groups are {shown}",
                hint=f"did you mean --test-group {close[0]}?" if close else "choose one of these with --test-group",
            )
    if set(named) == set(groups):
        raise UsageError(
            f"all {len(groups)} groups are held out for testing, so that none is left for training",
            hint="leave at least one group out of --test-group",
        )
    return list(dict.fromkeys(named))


def _draw_groups(group: np.ndarray[Any, Any], fraction: float, rng: np.random.Generator) -> list[str]:
    """Groups whose images come closest to a fraction of all, at least one and never all of them.

    Many random orders are tried; in each, groups are taken while they bring the number of images closer to the aim.
    """
    names, counts = np.unique(group, return_counts=True)
    aim = fraction * counts.sum()
    best: list[int] = []
    best_distance = np.inf
    for _ in range(_TRIES):
        chosen: list[int] = []
        total = 0
        for index in rng.permutation(len(names)):
            is_closer = abs(total + counts[index] - aim) < abs(total - aim)
            if len(chosen) < len(names) - 1 and (is_closer or not chosen):
                chosen.append(int(index))
                total += int(counts[index])
        if abs(total - aim) < best_distance:
            best, best_distance = chosen, abs(total - aim)
    return [str(names[index]) for index in best]


def _draw_images(
    rows: np.ndarray[Any, Any], fraction: float, rng: np.random.Generator, n: int, *, n_left: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Mark a fraction of `rows`, at least one, leaving at least `n_left`, in a mask of length n."""
    n_drawn = min(max(1, round(fraction * len(rows))), len(rows) - n_left)
    is_drawn = np.zeros(n, dtype=bool)
    is_drawn[rng.permutation(rows)[:n_drawn]] = True
    return is_drawn


def _validation(
    group: np.ndarray[Any, Any], is_left: np.ndarray[Any, np.dtype[np.bool_]], fraction: float, seed: int
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    rows = np.flatnonzero(is_left)
    if len(rows) < 2:
        raise DataError(
            "only 1 image is left to train with, but 2 are needed: one trains, one chooses the best epoch",
            hint="hold fewer groups out with --test-group, or set a smaller --test-fraction",
        )
    if len(np.unique(group[rows])) >= _VALIDATION_BY_GROUP_FROM:
        chosen = _draw_groups(group[rows], fraction, generator(seed, "validation groups"))
        return is_left & np.isin(group, chosen)
    return _draw_images(rows, fraction, generator(seed, "validation images"), len(group), n_left=1)


def _reason(collection: _Grouped, group: np.ndarray[Any, Any], part: np.ndarray[Any, Any], by: str) -> str:
    is_test = part == "test"
    share = f"{is_test.sum()} of {len(part)} images ({is_test.mean():.0%})"
    if by == "images":
        n_groups = len(collection.groups)
        why = "there are no groups" if n_groups == 0 else f"there is only one group, {collection.groups[0]}"
        text = f"{share} drawn at random for testing, because {why}"
    else:
        names = sorted(set(group[is_test]))
        shown = ", ".join(names) if len(names) <= 8 else f"{', '.join(names[:5])} and {len(names) - 5} more"
        how = "as asked" if by == "group names" else "drawn at random to come closest to the fraction asked for"
        text = f"{len(names)} of {len(collection.groups)} groups ({shown}) held out for testing, {how}: {share}"
    validation = part == "validation"
    shares_groups = bool(set(group[validation]) & set(group[part == "train"])) and by != "images"
    unit = f"images of the {len(set(group[~is_test]))} training groups" if shares_groups else "whole groups"
    unit = "images" if by == "images" else unit
    return f"{text}; {validation.sum()} images for choosing the epoch ({unit})"


def patient_like_columns(table: pd.DataFrame, labels: Sequence[str]) -> list[str]:
    """Label columns whose values look like patients: many images share a value, and there are many values.

    By name: patient, subject, case, animal, donor, brain and the like, alone or before "id" or "number" at the end of
    the column's name. By content: text with at least 10 values, each on 1.2 to 50 images on average. Numbers are
    believed only by name, so that widths and ages are not taken for patients.
    """
    return [name for name in labels if _is_patient_like(name, table[name])]


def _is_patient_like(name: str, column: pd.Series) -> bool:
    words = re.findall(r"[a-z]+", re.sub(r"([a-z])([A-Z])", r"\1 \2", name).lower())
    values = column.dropna()
    n_values = values.nunique()
    if n_values == len(values):
        return False
    while len(words) > 1 and words[-1] in _ID_WORDS:
        words.pop()
    if words and words[-1] in _PERSON_WORDS:
        return True
    is_text = not pd.api.types.is_numeric_dtype(values)
    return is_text and n_values >= 10 and 1.2 <= len(values) / n_values <= 50


def few_to_choose_by(validation: Collection[str], training: Collection[str], *, remedy: str) -> str:
    """A sentence where a single image, or a single group, chooses the best epoch; "" where more do.

    Args:
        validation: Group of each image of the validation split; "" where there are no groups.
        training: The same of the training split.
        remedy: What takes more, for the end of the sentence.

    Example:
        >>> few_to_choose_by(["B1", "B2"], ["B3", "B4"], remedy="take more")
        ''
    """
    groups, n = set(validation), len(validation)
    if n == 1:
        return f"the best epoch is chosen by a single image, so that chance decides much; {remedy}"
    if len(groups) == 1 and not set(training) <= groups:
        (name,) = groups
        return f"the best epoch is chosen by {n} images of one group, {name}, which may be unlike the others; {remedy}"
    return ""


def _leaks(collection: _Grouped, is_test: np.ndarray[Any, np.dtype[np.bool_]], by: str) -> list[str]:
    """A sentence for each column that looks like patients and has values on both sides of the split."""
    warnings = []
    for name in patient_like_columns(collection.table, collection.labels):
        column = collection.table[name].astype("string")
        shared = sorted(set(column[is_test].dropna()) & set(column[~is_test].dropna()))
        if not shared:
            continue
        n_test = int(column[is_test].isin(shared).sum())
        shown = ", ".join(shared[:3]) + (", ..." if len(shared) > 3 else "")
        values = "1 value" if len(shared) == 1 else f"{len(shared)} values"
        remedy = f"--group {name} keeps them apart"
        if column.nunique() < 3:
            remedy = "read test results as within-patient ones"
        elif by == "group names":
            remedy = f"hold out every group that shares it, or use --group {name}"
        warnings.append(
            f"column {name!r} looks like patients, and {values} of it ({shown}) "
            f"{'is' if len(shared) == 1 else 'are'} in both the training and the test split "
            f"({n_test} of {int(is_test.sum())} test images): "
            f"the test will look better than it is for new patients; {remedy}"
        )
    return warnings


def suggest_holdout(collection: _Grouped) -> tuple[str, str, pd.DataFrame]:
    """The group to hold out for testing: sizes distributed most like the others', least training data lost.

    Each group's image areas are compared with those of all other images by the Kolmogorov-Smirnov distance (0 alike,
    1 apart). The distance and the share of pixels lost to training are added; the smallest sum wins among groups with
    at least 5 images and 5 % of the images, where there are such groups.

    Returns:
        Name of the group ("" when there are fewer than 2 or more than 50 groups), the reason in a sentence, and the
        table of all groups: group, images, pixel_share, size_distance, score, shares_patient_with, is_eligible.
    """
    groups = collection.groups
    if len(groups) < 2:
        return "", "there are fewer than two groups, so that the split is by image", pd.DataFrame()
    if len(groups) > MOST_GROUPS_TO_COMPARE:
        why = (
            f"there are {len(groups)} groups, so that a fraction of them is held out rather than one (--test-fraction)"
        )
        return "", why, pd.DataFrame()
    table = collection.table
    rows = pd.DataFrame([_holdout_row(collection, name) for name in groups])
    enough = (rows["images"] >= 5) & (rows["images"] >= 0.05 * len(table))
    rows["is_eligible"] = enough if enough.any() else True
    rows["score"] = rows["size_distance"] + rows["pixel_share"]
    rows = rows.sort_values(["is_eligible", "score", "group"], ascending=[False, True, True], ignore_index=True)
    best = rows.iloc[0]
    why = (
        f"{best['group']} costs {best['pixel_share']:.0%} of the pixels ({best['images']} of {len(table)} images), "
        f"and its image sizes are distributed like those of the other groups "
        f"(Kolmogorov-Smirnov distance {best['size_distance']:.2f}; 0 is alike, 1 is apart): "
        f"the smallest sum of both among {int(rows['is_eligible'].sum())} groups"
    )
    if best["shares_patient_with"]:
        why += f". Mind that it shares a patient with {best['shares_patient_with']}"
    return str(best["group"]), why, rows


def _holdout_row(collection: _Grouped, name: str) -> dict[str, Any]:
    table = collection.table
    is_group = (table["group"] == name).to_numpy()
    pixels = table["height"].to_numpy(np.int64) * table["width"].to_numpy(np.int64)
    partners: set[str] = set()
    for column in patient_like_columns(table, collection.labels):
        same = table[column].isin(table.loc[is_group, column].dropna()).to_numpy()
        partners |= set(table.loc[same & ~is_group, "group"])
    return {
        "group": name,
        "images": int(is_group.sum()),
        "pixel_share": float(pixels[is_group].sum() / pixels.sum()),
        "size_distance": _ks_distance(pixels[is_group], pixels[~is_group]),
        "shares_patient_with": ", ".join(sorted(partners)),
    }


def _ks_distance(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> float:
    """Largest difference between two empirical distribution functions, 0 to 1."""
    values = np.concatenate([a, b])
    of_a = np.searchsorted(np.sort(a), values, side="right") / len(a)
    of_b = np.searchsorted(np.sort(b), values, side="right") / len(b)
    return float(np.abs(of_a - of_b).max())
