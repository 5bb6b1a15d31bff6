"""Findings about the encoder: how far its latents are from the best ones, and how far shifts of a tile move them."""

import math
from typing import Any

from zatlas.report.figures.style import count, number, plain
from zatlas.report.findings.words import in_order, listing, unit_of
from zatlas.results.kinds import Finding, ModelResults, StudyResults

__all__ = ["amortisation", "invariance"]

_MUCH_DB = 0.1
_MOSTLY = 0.5
_PARTS = {"train": "training", "validation": "validation", "test": "test"}


def amortisation(results: StudyResults) -> Finding | None:
    """Does the encoder find the best latents?"""
    models = [model for model in in_order(results) if model.amortisation]
    if not models:
        return None
    numbers = {model.name: dict(model.amortisation) for model in models}
    first = models[0].amortisation
    unit = unit_of(results)
    held = count(int(first["n"]), f"{_PARTS.get(str(first['part']), '')} {unit}")
    parts = [f"{plain(model.name)} {_gain(model.amortisation)}" for model in models]
    text = (
        f"The latents of {held} were refined by {int(first['steps'])} gradient steps on the objective, each by itself, "
        f"the model staying as it is. That gains per {unit}: {'; '.join(parts)}{_interval_words(first)}. "
    )
    behind = [model for model in models if _is_behind(model)]
    if behind:
        names = listing([plain(model.name) for model in behind])
        text += (
            f"So the encoder of {names} is behind its decoder, as it is when training ends early: more epochs are the "
            "cure, not refined latents."
        )
    else:
        text += "So the encoder finds latents about as good as these decoders allow."
    return Finding(section="encoder", question="Does the encoder find the best latents?", text=text, numbers=numbers)


def _gain(found: dict[str, Any]) -> str:
    nats, db = (f"{number(found[name])}{_range(found, name)}" for name in ("nats", "db"))
    return f"{nats} nats and {db} dB"


def _range(found: dict[str, Any], name: str) -> str:
    low, high = found[f"{name}_low"], found[f"{name}_high"]
    return f" [{number(low)}, {number(high)}]" if math.isfinite(low) and math.isfinite(high) else ""


def _interval_words(found: dict[str, Any]) -> str:
    if not math.isfinite(found["nats_low"]):
        return ""
    return f" (in brackets 95 % intervals over {count(int(found['n_units']), str(found['by']))})"


def _is_behind(model: ModelResults) -> bool:
    """Whether the gain in PSNR is worth a word and not by chance."""
    found = model.amortisation
    return bool(found["db"] > _MUCH_DB and not found["db_low"] <= 0)


def invariance(results: StudyResults) -> Finding | None:
    """Do latents say what a tile shows, or where in the tile it lies?"""
    models = [model for model in in_order(results) if model.invariance]
    if not models:
        return None
    first = models[0].invariance
    px = int(first["shifts"][1]["px"])
    held = count(int(first["n"]), f"{_PARTS.get(str(first['part']), '')} tile")
    own = [f"{plain(model.name)} {_share(_at(model, px), 'latents')}" for model in models]
    beside = [f"{plain(model.name)} {_share(_at(model, px), 'pca')}" for model in models]
    within = f" (in brackets 95 % intervals over {count(int(first['n_units']), str(first['by']))})"
    text = (
        f"From the same images {held} were cut again {px} px further, an eighth of their side. "
        f"The shift makes this share of the variance of the latents, where 0 is none and 1 as much as between tiles "
        f"drawn at random: {'; '.join(own)}{within if _has_interval(_at(models[0], px), 'latents') else ''}. "
        f"Scores of as many principal components, each of variance 1: {'; '.join(beside)}. "
        f"Grey histograms, which know no places: {number(_at(models[0], px)['histogram'])}. "
    )
    moved = [model for model in models if _at(model, px)["latents"] > _MOSTLY]
    if moved:
        names = listing([plain(model.name) for model in moved])
        text += (
            f"So the latents of {names} say largely where things lie in the tile; neighbours and regions of tiles go "
            "by that too."
        )
    else:
        text += "So the latents say more about what a tile shows than about where in it that lies."
    numbers = {model.name: dict(model.invariance) for model in models}
    return Finding(section="invariance", question="What is there, or where?", text=text, numbers=numbers)


def _at(model: ModelResults, px: int) -> dict[str, Any]:
    """The numbers of one distance."""
    return next(dict(shift) for shift in model.invariance["shifts"] if shift["px"] == px)


def _has_interval(found: dict[str, Any], name: str) -> bool:
    return math.isfinite(found[f"{name}_low"]) and math.isfinite(found[f"{name}_high"])


def _share(found: dict[str, Any], name: str) -> str:
    return f"{number(found[name])}{_range(found, name)}"
