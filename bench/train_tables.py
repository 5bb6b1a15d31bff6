"""What train.py concludes: speeds against zatlas, quality after equal time, the time to a quality.

A curve holds, after each epoch that was looked at, processor seconds since the beginning, the PSNR of test images, and
seconds by the clock on the wall. Between two epochs it is taken as straight. Functions of what was measured; nothing is
run here.
"""

import itertools
import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import contest
from contest import Table

__all__ = ["Curve", "Curves", "after_equal_time", "comparison", "old_defaults", "quality", "quality_after", "time_to"]

Curve = Sequence[Sequence[float]]
"""Rows of (processor seconds, PSNR [dB], seconds)."""
Curves = Mapping[str, Sequence[Curve]]
"""Of each contestant, by round."""

CPU, WALL = 0, 2
REFERENCES = ("notebook", "notebook-best", "keras", "keras-best")
SHARES = (0.25, 0.5, 1.0)  # of the equal time
GOAL_OF_OLD = 0.4


def quality_after(curve: Curve, seconds: float) -> float:
    """PSNR after so many processor seconds; before the end of the first epoch nothing is known (NaN)."""
    if seconds < curve[0][CPU]:
        return math.nan
    for (begin, low, *_), (end, high, *_) in itertools.pairwise(curve):
        if begin <= seconds <= end:
            return low + (high - low) * (seconds - begin) / (end - begin)
    return curve[-1][1]


def time_to(curve: Curve, quality: float, *, clock: int = CPU) -> float:
    """Seconds until a PSNR is reached, by the processor or on the wall; infinite when it never is."""
    if curve[0][1] >= quality:
        return curve[0][clock]
    for before, after in itertools.pairwise(curve):
        if before[1] < quality <= after[1]:
            return before[clock] + (after[clock] - before[clock]) * (quality - before[1]) / (after[1] - before[1])
    return math.inf


def comparison(found: Mapping[str, Any], about: Mapping[str, Any], failed: Mapping[str, Any], *, title: str) -> Table:
    """Medians, and how many times as fast zatlas was, round by round; those that failed come last."""
    medians = contest.medians(found)
    walls = contest.ratios(found, "images_per_s", of="zatlas") if "zatlas" in found else {}
    cpus = contest.ratios(found, "images_per_cpu_s", of="zatlas") if "zatlas" in found else {}
    rows = [
        [
            name, f"{numbers['images_per_s']:.0f}", *(_times(walls.get(name), i) for i in range(3)),
            f"{1e3 * numbers['cpu_s_per_image']:.2f}", _times(cpus.get(name), 1), _known(numbers["test_loss"], 1),
            f"{numbers['faults_per_image']:.0f}", str(about[name]["threads"]), f"{numbers['peak_mb']:.0f}",
        ]
        for name, numbers in medians.items()
    ]  # fmt: skip
    columns = [
        "contestant", "images/s", "zatlas x: min", "median", "max", "CPU ms/image", "zatlas x (CPU)", "test loss",
        "faults/image", "threads", "MB",
    ]  # fmt: skip
    return Table(title, columns, rows + _missing(failed, len(columns)))


def quality(curves: Curves, failed: Mapping[str, Any], *, title: str) -> Table:
    """PSNR after equal processor time, and how many times as fast the final quality of others was reached.

    The equal time of a round is that after which its first contestant had ended.
    """
    rounds = [dict(zip(curves, turns, strict=True)) for turns in zip(*curves.values(), strict=True)]
    references = [name for name in REFERENCES if name in curves]
    ends = [min(curve[-1][CPU] for curve in of_round.values()) for of_round in rounds]
    rows = []
    for name, turns in curves.items():
        after = [
            statistics.median(quality_after(curve, share * end) for curve, end in zip(turns, ends, strict=True))
            for share in SHARES
        ]
        times = [_times_as_fast(rounds, name, reference, CPU) for reference in references]
        walls = [_times_as_fast(rounds, name, reference, WALL) for reference in references[:1]]
        last = [statistics.median(curve[-1][column] for curve in turns) for column in (CPU, 1)]
        rows.append([name, *(_known(one, 2) for one in after), f"{last[0]:.1f}", f"{last[1]:.2f}", *times, *walls])
    equal = statistics.median(ends)
    columns = [
        "contestant", *(f"PSNR after {share * equal:.3g} s" for share in SHARES), "CPU s in all", "PSNR at the end",
        *(f"x {reference}" for reference in references), *(f"x {reference} (wall)" for reference in references[:1]),
    ]  # fmt: skip
    return Table(title, columns, rows + _missing(failed, len(columns)))


def after_equal_time(curves: Curves) -> dict[str, float]:
    """Median PSNR of each after the time with which the first one of its round had ended [dB]."""
    ends = [min(curve[-1][CPU] for curve in of_round) for of_round in zip(*curves.values(), strict=True)]
    return {
        name: statistics.median(quality_after(curve, end) for curve, end in zip(turns, ends, strict=True))
        for name, turns in curves.items()
    }


def _times_as_fast(rounds: Sequence[Mapping[str, Curve]], name: str, reference: str, clock: int) -> str:
    """How many times as fast as `reference` it reached its final quality: median, lowest and highest of the rounds."""
    ratios = []
    for of_round in rounds:
        theirs = of_round[reference][-1]
        ratios.append(theirs[clock] / time_to(of_round[name], theirs[1], clock=clock))
    if max(ratios) == 0:
        return "not reached"
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def old_defaults(curves: Curves, old: str, failed: Mapping[str, Any], *, title: str) -> Table:
    """The share of the time of `old` after which others had reached its final quality, round by round."""
    rows = []
    for name, turns in curves.items():
        shares, wall_shares = (
            [
                time_to(mine, theirs[-1][1], clock=clock) / theirs[-1][clock]
                for mine, theirs in zip(turns, curves[old], strict=True)
            ]
            for clock in (CPU, WALL)
        )
        seconds, psnr, _ = (statistics.median(curve[-1][column] for curve in turns) for column in range(3))
        verdict = "-" if name == old else "reached" if statistics.median(shares) <= GOAL_OF_OLD else "MISSED"
        rows.append([
            name, f"{seconds:.1f}", f"{psnr:.2f}", _share(shares), _share(wall_shares), verdict,
        ])  # fmt: skip
    columns = [
        "settings", "CPU s in all", "PSNR at the end", f"share of the time of {old}", "the same by wall",
        f"goal {GOAL_OF_OLD:g}",
    ]  # fmt: skip
    return Table(title, columns, rows + _missing(failed, len(columns)))


def _share(values: Sequence[float]) -> str:
    middle = statistics.median(values)
    return f"{middle:.2f} ({min(values):.2f} to {max(values):.2f})" if math.isfinite(middle) else "not reached"


def _times(of_rounds: Sequence[float] | None, which: int) -> str:
    return "-" if of_rounds is None else f"{of_rounds[which]:.2f}"


def _known(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"


def _missing(failed: Mapping[str, Any], n_columns: int) -> list[list[str]]:
    return [[name, what, *["-"] * (n_columns - 2)] for name, (what, _) in failed.items()]
