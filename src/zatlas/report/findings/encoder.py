"""A finding about the encoder: how far its latents are from the best ones, by the amortisation gap."""

import math
from typing import Any

from zatlas.report.figures.style import count, number, plain
from zatlas.report.findings.words import in_order, listing, unit_of
from zatlas.results.kinds import Finding, ModelResults, StudyResults

__all__ = ["amortisation"]

_MUCH_DB = 0.1
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
