"""What the benchmarks share: contestants run in turn, in processes and environments of their own; medians; one table.

Machines are shared and noisy, so an absolute time says little. Contestants therefore take turns (A B C, A B C, ...),
each round gives one ratio per contestant, and the median of the ratios is what is quoted. The load of the machine is
printed before each run, and everything measured is written as JSON.

Not here: what is measured. Each script of this folder says that in its own docstring.
"""

import json
import math
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

__all__ = [
    "HERE", "Finished", "Table", "environment", "interleaved", "machine", "medians", "ratios", "run", "save", "show",
]  # fmt: skip

HERE = Path(__file__).parent
_ENVIRONMENTS = HERE / ".environments"
_RESULTS = HERE / "results"


@dataclass(frozen=True)
class Finished:
    """What a process cost, by the kernel's own account, and what it reported.

    Attributes:
        wall_s: From start to end [s].
        cpu_s: User and system time of the process and its children [s].
        peak_mb: Largest resident memory [MB].
        minor_faults: Pages that the kernel had to map in.
        report: The last line that the process printed, which must be a JSON object.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    minor_faults: int
    report: dict[str, Any]


def run(command: Sequence[str | Path], *, env: Mapping[str, str] | None = None) -> Finished:
    """Run a process to its end.

    Args:
        command: Program and arguments.
        env: Variables set beside those of this process.

    Raises:
        SystemExit: the process failed; what it said is shown.
    """
    arguments, variables = [str(part) for part in command], {**os.environ, **(env or {})}
    with tempfile.TemporaryFile("w+") as out_file, tempfile.TemporaryFile("w+") as err_file:
        begin = time.monotonic()
        process = subprocess.Popen(arguments, stdout=out_file, stderr=err_file, env=variables)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - begin
        process.returncode = os.waitstatus_to_exitcode(status)
        out_file.seek(0), err_file.seek(0)
        out, err = out_file.read(), err_file.read()
    if process.returncode:
        raise SystemExit(f"{' '.join(arguments)}\nended with {process.returncode}:\n{err[-4000:]}")
    lines = out.strip().splitlines()
    report = json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}
    return Finished(wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e3, usage.ru_minflt, report)


def environment(name: str, requirements: Sequence[str]) -> Path:
    """The Python of a virtual environment with these packages; made at first use, made anew when the list changes.

    torch comes pinned, because an unpinned one may bring a build for another device.
    """
    folder, wanted = _ENVIRONMENTS / name, "\n".join(requirements)
    stamp, python = folder / "requirements.txt", folder / "bin" / "python"
    if not stamp.is_file() or stamp.read_text() != wanted:
        print(f"making the environment {name}: {', '.join(requirements)}", file=sys.stderr)
        venv.create(folder, with_pip=True, clear=True)
        for requirement in requirements:  # in order: a pinned torch comes before what would choose another one
            subprocess.run([python, "-m", "pip", "install", "-q", *shlex.split(requirement)], check=True)
        stamp.write_text(wanted)
    return python


def interleaved(
    contestants: Mapping[str, Callable[[], dict[str, float]]],
    *,
    rounds: int,
    warm_up: int = 0,
    at_most_s: float = math.inf,
    after_round: Callable[[dict[str, list[dict[str, float]]]], None] = lambda found: None,
) -> dict[str, list[dict[str, float]]]:
    """Let contestants take turns; each call returns what it measured.

    Args:
        contestants: By name, in the order of the turns.
        rounds: Turns that count.
        warm_up: Turns before them that do not.
        at_most_s: No round is begun that would probably end later than this, the first one excepted [s].
        after_round: Called with all turns so far after each round that counts, so that an interrupted run is not lost.
    """
    found: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    begin, longest = time.monotonic(), 0.0
    for number in range(-warm_up, rounds):
        begin_round = time.monotonic()
        if number > 0 and begin_round - begin + longest > at_most_s:
            print(f"round {number + 1} of {rounds} is not begun: there is no time left", file=sys.stderr, flush=True)
            break
        for name, contestant in contestants.items():
            load = os.getloadavg()[0]
            measured = contestant()
            if number >= 0:
                found[name].append({**measured, "load_before": load})
            head = f"round {number + 1} of {rounds}" if number >= 0 else "warm-up"
            numbers = ", ".join(f"{key} {value:.4g}" for key, value in measured.items())
            print(f"{head}  {name:<32} load {load:.1f}  {numbers}", file=sys.stderr, flush=True)
        longest = max(longest, time.monotonic() - begin_round)
        if number >= 0:
            after_round(found)
    return found


def medians(found: Mapping[str, Sequence[Mapping[str, float]]]) -> dict[str, dict[str, float]]:
    """Median of each measured number, by contestant."""
    return {
        name: {key: statistics.median(turn[key] for turn in turns) for key in turns[0]}
        for name, turns in found.items()
    }  # fmt: skip


def ratios(
    found: Mapping[str, Sequence[Mapping[str, float]]], key: str, *, of: str
) -> dict[str, tuple[float, float, float]]:
    """How often the number of `of` contains that of each contestant, round by round: (lowest, median, highest)."""
    answer = {}
    for name, turns in found.items():
        per_round = [mine[key] / theirs[key] for mine, theirs in zip(found[of], turns, strict=True)]
        answer[name] = (min(per_round), statistics.median(per_round), max(per_round))
    return answer


def machine() -> dict[str, Any]:
    """Processor, cores, load and versions, for the record."""
    model = platform.processor() or "unknown"
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = [line for line in cpuinfo.read_text(errors="replace").splitlines() if line.startswith("model name")]
        model = lines[0].split(":", 1)[1].strip() if lines else model
    packages = {}
    for name in ("torch", "numpy", "scikit-learn"):
        try:
            packages[name] = version(name)
        except ModuleNotFoundError:
            continue
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "processor": model, "cores": cores, "system": platform.platform(),
        "python": platform.python_version(), "load": os.getloadavg(), **packages,
    }  # fmt: skip


@dataclass(frozen=True)
class Table:
    """Numbers under their headings.

    Attributes:
        title: What was measured.
        columns: Headings.
        rows: Words, or numbers, of which four digits are shown; of each row the first is its name.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]

    @property
    def cells(self) -> list[list[str]]:
        """The rows in words."""
        return [[_cell(value) for value in row] for row in self.rows]

    def plain(self) -> str:
        """For the screen."""
        widths = [max(len(line[i]) for line in [list(self.columns), *self.cells]) for i in range(len(self.columns))]
        lines = ["", self.title]
        for line in [list(self.columns), ["-" * width for width in widths], *self.cells]:
            first, *others = [(cell, width) for cell, width in zip(line, widths, strict=True)]
            lines.append("  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]))
        return "\n".join(lines)

    def markdown(self) -> str:
        """For a page."""
        lines = [list(self.columns), ["---"] * len(self.columns), *self.cells]
        return "\n".join([f"**{self.title}**", "", *(f"| {' | '.join(line)} |" for line in lines), ""])


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if math.isnan(value) else f"{value:.4g}"


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print one table."""
    print(Table(title, columns, rows).plain())


def save(name: str, facts: Mapping[str, Any], *, folder: Path = _RESULTS, tables: Sequence[Table] = ()) -> Path:
    """Write everything that was measured to results/NAME.json, with the machine it was measured on, and the tables to
    results/NAME.md; whole or not at all."""
    folder.mkdir(exist_ok=True, parents=True)
    path, about = folder / f"{name}.json", machine()
    _write(path, json.dumps({"machine": about, **facts}, indent=1) + "\n")
    if tables:
        where = ", ".join(f"{key} {value}" for key, value in about.items() if key != "load")
        _write(path.with_suffix(".md"), "\n".join([*(table.markdown() for table in tables), where, ""]))
    print(f"\n{path}", file=sys.stderr)
    return path


def _write(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}")
    partial.write_text(text)
    partial.replace(path)
