"""Holds two studies against each other, file by file: `python tests/golden/compare.py STUDY OTHER [--tolerance T]`.

Each file is the same to the byte, or the same but for clocks and versions (the values named in `CLOCKS`), or its
numbers differ by so much of their largest value, or it differs. A figure or page that lies in one of the studies only
by its hash in manifest.json is compared by that hash. Exit code 0 when nothing differs by more than the tolerance.
"""

import argparse
import io
import json
import math
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
import safetensors.numpy

CLOCKS = {  # keys and columns that tell when, where, how fast and by which version; they differ between any two runs
    *("seconds", "images_per_s", "data_wait", "epoch_seconds", "wait_seconds", "environment", "choices", "command"),
    *("sha256", "threads", "files", "bytes"),
}
CHANGED = {"latents", "note"}  # since 0.1.0: facts that nothing read are gone, notes say path in place of walk
MADE_ANEW = ("cache/", "explorer/", ".lock")  # can be made again at any time
DRAWN = (".png", ".svg")  # compared by their bytes alone
_CLOCK_ROW = re.compile(r'<tr><th scope="row">[^<]*seconds</th>.*?</tr>')  # in the report's table of provenance


@dataclass(frozen=True)
class Row:
    """What became of one file: "same", "clocks", "numbers" (`by` says how much), "differs", "only one"."""

    name: str
    kind: str
    by: float = 0.0
    why: str = ""


def compare(one: Path, other: Path) -> list[Row]:
    """One row for each file of either study."""
    listed = [_listed(study) for study in (one, other)]
    return [_row(name, one, other, listed) for name in sorted({*listed[0], *listed[1]})]


def differences(rows: list[Row], *, tolerance: float = 0.0) -> list[Row]:
    """The rows that are not the same, to a tolerance [share of the largest value]."""
    return [r for r in rows if r.kind not in ("same", "clocks") and not (r.kind == "numbers" and r.by <= tolerance)]


def _listed(study: Path) -> dict[str, str]:
    """Files by their path, with the sha256 that the manifest records."""
    recorded = {k: v["sha256"] for k, v in json.loads((study / "manifest.json").read_text())["files"].items()}
    there = {f.relative_to(study).as_posix() for f in study.rglob("*") if f.is_file()}
    names = {n for n in {*recorded, *there} if not n.startswith(MADE_ANEW)}
    return {name: recorded.get(name, "") for name in names}


def _row(name: str, one: Path, other: Path, listed: list[dict[str, str]]) -> Row:
    if name not in listed[0] or name not in listed[1]:
        return Row(name, "only one", why=f"only in {(one if name in listed[0] else other)}")
    first, second = one / name, other / name
    if not first.is_file() or not second.is_file():
        return _by_hash(name, listed[0][name], listed[1][name], is_drawn=name.endswith((*DRAWN, ".html")))
    if first.read_bytes() == second.read_bytes():
        return Row(name, "same")
    if name.endswith(DRAWN):
        return Row(name, "differs", why="other bytes")
    return _by_value(name, first, second)


def _by_hash(name: str, one: str, other: str, *, is_drawn: bool) -> Row:
    if not is_drawn:
        return Row(name, "only one", why="the manifest lists it, and it is gone")
    return Row(name, "same") if one and one == other else Row(name, "differs", why="by its hash in the manifest")


def _by_value(name: str, first: Path, second: Path) -> Row:
    by, why = 0.0, ""
    values, others = dict(_values(first)), dict(_values(second))
    for key in sorted({*values, *others}):
        if key not in values or key not in others:
            return Row(name, "differs", why=f"{key} is only in one of them")
        found = _distance(values[key], others[key])
        if found > by:
            by, why = found, key
    if math.isinf(by):
        return Row(name, "differs", why=why)
    return Row(name, "numbers", by, why) if by else Row(name, "clocks")


def _distance(a: Any, b: Any) -> float:
    """0 for equal values; for numbers the largest difference as a share of the largest value; else infinity."""
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return math.inf
    if a.dtype.kind in "fiub" and b.dtype.kind in "fiub":
        a, b = a.astype(np.float64), b.astype(np.float64)
        if not np.array_equal(np.isnan(a), np.isnan(b)):
            return math.inf
        scale = float(max(np.nanmax(np.abs(a), initial=0), np.nanmax(np.abs(b), initial=0), 1e-12))
        return float(np.nanmax(np.abs(a - b), initial=0)) / scale
    return 0.0 if np.array_equal(a.astype(str), b.astype(str)) else math.inf


def _values(path: Path) -> Iterator[tuple[str, Any]]:
    """Everything in a file but its clocks, by name."""
    if path.suffix == ".csv":
        table = pd.read_csv(path)
        yield from ((str(c), table[c].to_numpy()) for c in table.columns if c not in CLOCKS)
        yield "columns", [c for c in table.columns if c not in CLOCKS]
    elif path.suffix in (".json", ".toml"):
        text = path.read_text(encoding="utf-8")
        yield from _leaves(json.loads(text) if path.suffix == ".json" else tomllib.loads(text))
    elif path.suffix == ".npz":
        with np.load(path) as arrays:
            yield from ((name, arrays[name]) for name in arrays.files)
    elif path.suffix == ".safetensors":
        yield from safetensors.numpy.load(path.read_bytes()).items()
    elif path.suffix == ".h5ad":
        yield from _datasets(path)
    elif path.suffix == ".html":
        yield "text", _CLOCK_ROW.sub("", path.read_text(encoding="utf-8"))
    else:
        yield "bytes", np.frombuffer(path.read_bytes(), np.uint8)


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        if value.get("name") in CLOCKS:  # a column of a stored table
            return
        for key, inner in value.items():
            if key not in CLOCKS | CHANGED:
                yield from _leaves(inner, f"{prefix}{key}.")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{prefix}{i}.")
    else:
        yield prefix, "none" if value is None else value


def _datasets(path: Path) -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    with h5py.File(io.BytesIO(path.read_bytes()), "r") as file:
        file.visititems(lambda name, item: found.append((name, item[()])) if isinstance(item, h5py.Dataset) else None)
    return [leaf for name, value in found for leaf in _unpacked(name, value)]


def _unpacked(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """A stored text of JSON as its values, so that their digits can be compared; all else as it is."""
    if isinstance(value, bytes) and value[:1] in (b"{", b"["):
        yield from _leaves(json.loads(value), f"{name}.")
    else:
        yield name, value


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--tolerance", type=float, default=0.0, help="share of the largest value in an array")
    given = parser.parse_args()
    rows = compare(given.one, given.other)
    for kind in ("same", "clocks", "numbers", "differs", "only one"):
        chosen = [row for row in rows if row.kind == kind]
        print(f"{kind:9s} {len(chosen)}")
        if kind not in ("same", "clocks"):
            for row in chosen:
                print(f"    {row.name}: {row.by:.2g} {row.why}")
    return 1 if differences(rows, tolerance=given.tolerance) else 0


if __name__ == "__main__":
    raise SystemExit(main())
