"""Words for findings: lists, ranges, and what is known of the parts of a model."""

from collections.abc import Sequence

from zatlas.report.figures.style import count
from zatlas.results.kinds import ModelResults
from zatlas.trust.uncertainty import standard_error

__all__ = ["grade", "listing", "metric", "psnr_error", "sizes", "tests"]


def listing(parts: Sequence[str], last: str = "and") -> str:
    """`a`, `a and b`, `a, b and c`."""
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} {last} {parts[-1]}"


def sizes(models: Sequence[ModelResults]) -> str:
    """`4, 16 and 32 latent dimensions`."""
    numbers = listing([str(model.latent_dim) for model in models])
    return f"{numbers} latent {'dimension' if numbers == '1' else 'dimensions'}"


def metric(model: ModelResults, part: str, name: str) -> float:
    """A number of the table of metrics; NaN when it was not measured."""
    table = model.metrics
    if part not in table.index or name not in table.columns:
        return float("nan")
    return float(table[name].astype(float)[part])


def psnr_error(model: ModelResults, part: str = "test") -> float:
    """Standard error of the mean PSNR of a part [dB]."""
    return standard_error(metric(model, part, "psnr_sd"), metric(model, part, "n"))


def tests(model: ModelResults, is_tiled: bool) -> str:
    """`444 test images` or `1 test tile`."""
    n = int(metric(model, "test", "n")) if "test" in model.metrics.index else 0
    return count(n, "test tile" if is_tiled else "test image")


def grade(value: float, steps: Sequence[tuple[float, str]]) -> str:
    """The words of the first step whose limit the value reaches; steps by falling limit, the last is the rest."""
    return next((words for limit, words in steps if value >= limit), steps[-1][1])
