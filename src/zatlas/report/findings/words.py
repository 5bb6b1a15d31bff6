"""Words for findings: lists, ranges, and what is known of the parts of a model."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from zatlas.report.figures.style import count, plain
from zatlas.results.kinds import ModelResults, StudyResults
from zatlas.trust.gains import Gain
from zatlas.trust.uncertainty import standard_error

if TYPE_CHECKING:
    from zatlas.model.likelihoods import Words

__all__ = [
    "about_likelihood",
    "by_likelihood",
    "exact_words",
    "gain",
    "grade",
    "groups_of_test",
    "has_empty",
    "in_order",
    "listing",
    "metric",
    "own_options",
    "psnr_error",
    "sizes",
    "tests",
    "those",
    "unit_of",
]


def listing(parts: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def sizes(models: Sequence[ModelResults]) -> str:
    """`4, 16 and 32 latent dimensions`."""
    numbers = listing([str(model.latent_dim) for model in models])
    return f"{numbers} latent {'dimension' if numbers == '1' else 'dimensions'}"


def those(results: StudyResults, models: Sequence[ModelResults]) -> str:
    """Some models of a study: by size, or by name where they differ in other things: `z16, beta4 and bce`."""
    return sizes(models) if results.is_by_size else listing([plain(model.name) for model in models])


def in_order(results: StudyResults) -> list[ModelResults]:
    """The models from small to large, or as the study lists them where they differ in more than their size."""
    return sorted(results.models, key=lambda model: model.latent_dim) if results.is_by_size else list(results.models)


def own_options(results: StudyResults, name: str) -> str:
    """What a model of `[[models]]` has of its own beside its size: `beta 4, widths 16 32`."""
    table: dict[str, object] = next((model for model in results.config.get("models", []) if model["name"] == name), {})
    return ", ".join(f"{key} {_value(value)}" for key, value in table.items() if key not in ("name", "latent_dim"))


def _value(value: object) -> str:
    if isinstance(value, list):
        return " ".join(map(_value, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def by_likelihood(models: Sequence[ModelResults]) -> dict[str, list[str]]:
    """Names of the models of each likelihood; distortion and ELBO of two likelihoods cannot be compared."""
    found: dict[str, list[str]] = {}
    for model in models:
        found.setdefault(model.likelihood, []).append(plain(model.name))
    return found


def about_likelihood(name: str) -> "Words":
    """What a likelihood says about itself."""
    from zatlas.model.likelihoods import words_of  # with torch, which only words about the objective need

    return words_of(name)


def metric(model: ModelResults, part: str, name: str) -> float:
    """A number of the table of metrics; NaN when it was not measured."""
    table = model.metrics
    if part not in table.index or name not in table.columns:
        return float("nan")
    return float(table[name].astype(float)[part])


def psnr_error(model: ModelResults, part: str = "test") -> float:
    """Standard error of the mean PSNR of a part [dB]."""
    return standard_error(metric(model, part, "psnr_sd"), metric(model, part, "n"))


def gain(model: ModelResults, measure: str = "", part: str = "test") -> Gain:
    """What a model gains over PCA in a measure of `trust.gains.GAINS`; NaN where it was not measured.

    Studies of 0.1.0 know the mean over tiles alone, without an interval.
    """
    db, low, high = (metric(model, part, f"{measure}gain_{end}db") for end in ("", "low_", "high_"))
    if not measure and db != db:
        db = metric(model, part, "psnr_db") - metric(model, part, "pca_psnr_db")
    return Gain(db, low, high)


def has_empty(model: ModelResults) -> bool:
    """Whether some test images are nearly empty, so that a gain without them says something of its own."""
    return metric(model, "test", "n_empty") > 0 and math.isfinite(gain(model, "content_").db)


def groups_of_test(results: StudyResults, model: ModelResults) -> str:
    """Over what intervals of the test split are, such as `103 held-out patients`; "" where there is none."""
    n = metric(model, "test", "n_groups")
    if not n > 1:
        return ""
    if model.pca_facts.get("unit") == "image":
        return count(int(n), "held-out image")
    column = str(results.config.get("data", {}).get("group", ""))
    table = results.data.groups
    is_known = "train" in table and "test" in table
    is_held_out = is_known and not bool(((table["train"] > 0) & (table["test"] > 0)).any())
    return count(int(n), f"{'held-out ' if is_held_out else ''}{column if column.isalpha() else 'group'}")


def unit_of(results: StudyResults) -> str:
    """What a model sees: "tile" of an image, or "image"."""
    return results.data.unit


def exact_words(results: StudyResults, models: Sequence[ModelResults]) -> str:
    """That some test images come back exactly, where they do: PSNR ends at 100 dB, and such images lift its mean."""
    found = {"PCA": max((_exact(model, "pca_") for model in models), default=0)}
    found |= {plain(model.name): _exact(model) for model in models}
    each = [f"{n} from {who}" for who, n in found.items() if n]
    if not each:
        return ""
    return (
        f"Some {unit_of(results)}s come back exactly, as evenly grey ones can: {listing(each)}. Each counts as 100 dB, "
        "where PSNR ends, and lifts the mean. "
    )


def _exact(model: ModelResults, prefix: str = "") -> int:
    n = metric(model, "test", f"{prefix}n_exact")
    return int(n) if n > 0 else 0  # not known of studies made before it was counted


def tests(model: ModelResults, is_tiled: bool) -> str:
    """`444 test images` or `1 test tile`."""
    n = int(metric(model, "test", "n")) if "test" in model.metrics.index else 0
    return count(n, "test tile" if is_tiled else "test image")


def grade(value: float, steps: Sequence[tuple[float, str]]) -> str:
    """The words of the first step whose limit the value reaches; steps by falling limit, the last is the rest."""
    return next((words for limit, words in steps if value >= limit), steps[-1][1])
