"""How t-SNE, neighbours, k-means and PCA of latents scale, and what each way of computing them loses.

    python bench/analysis.py                                   everything (an hour on two cores)
    python bench/analysis.py --only pca,kmeans --sizes 1000    some steps, some sizes
    python bench/analysis.py --only tsne --sizes 100000 --contestants zatlas,scikit-learn

Every contestant runs in a process of its own on one thread, because one thread is what makes these steps repeat
themselves on any machine; they take turns, and the medians of the rounds stand in the table. Beside the seconds: the
peak memory of the process; for t-SNE the KL divergence that the contestant reports, trustworthiness and continuity of
2000 points; for neighbours the share of the exact ones found; for k-means the inertia relative to the lowest; for PCA
the largest relative error of a variance against a full SVD in float64. At more than 50 000 points one round is run,
and a contestant that exceeds the time limit is said to.

Results of earlier runs stay in results/analysis.json until the same contestant is measured again at the same size.
Not here: the analysis of a whole study (scale.py).
"""

import argparse
import json
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import contest
import numpy as np
from analysis_points import latents, pictures
from analysis_worker import contestants

STEPS = ("tsne", "near15", "near90", "kmeans", "pca", "pixels")
SIZES = (1000, 10_000, 100_000)
DIMENSIONS = (16, 32)
SIDES = (64, 128)
PACKAGES = (
    "numpy==2.4.6", "scipy==1.17.1", "scikit-learn==1.9.1", "openTSNE==1.0.4", "pynndescent==0.7.0",
    "numba==0.68.1", "faiss-cpu==1.15.1",
)  # fmt: skip
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
MANY = 50_000
MOST_PICTURES = 3000
HERE = Path(__file__).parent
Row = dict[str, Any]


def main() -> None:
    """Measure what was asked for, show one table, keep everything."""
    options = _options()
    rows = _earlier()
    for step in options.only:
        for n in options.sizes:
            for d in SIDES if step == "pixels" else options.dimensions:
                if step == "pixels" and n > MOST_PICTURES:
                    continue
                found = measure(step, n, d, options)
                new = {_key(row) for row in found}
                rows = [row for row in rows if _key(row) not in new] + found
    order = {step: place for place, step in enumerate(STEPS)}
    rows.sort(key=lambda row: (order[row["step"]], row["n"], row["d"]))
    columns = ("step", "n", "d", "contestant", "seconds", "peak MB", "quality")
    shown = [
        (r["step"], str(r["n"]), str(r["d"]), r["contestant"], r["seconds"], r["peak_mb"], _words(r)) for r in rows
    ]
    contest.show("Analysis of latents, one thread; medians", columns, shown)
    contest.save("analysis", {"rows": rows})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(STEPS), help="steps, by comma")
    parser.add_argument("--sizes", type=_numbers, default=list(SIZES), help="numbers of points, by comma")
    parser.add_argument("--dimensions", type=_numbers, default=list(DIMENSIONS), help="latent dimensions, by comma")
    parser.add_argument("--contestants", type=lambda text: text.split(","), default=None, help="names, by comma")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant")
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which a contestant gives up")
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(float(word)) for word in text.split(",")]


def _earlier() -> list[Row]:
    path = HERE / "results" / "analysis.json"
    return json.loads(path.read_text())["rows"] if path.is_file() else []


def _key(row: Row) -> tuple[Any, ...]:
    return row["step"], row["n"], row["d"], row["contestant"]


def measure(step: str, n: int, d: int, options: argparse.Namespace) -> list[Row]:
    """One row per contestant of a step at one size."""
    names = [
        name
        for name in contestants(step, np.empty((0, 1)), 0)
        if options.contestants is None or name in options.contestants
    ]
    if not names:
        return []
    turns: dict[str, list[Row]] = {name: [] for name in names}
    for _ in range(1 if n > MANY else options.rounds):
        for name in names:
            turns[name].append(_turn(step, name, n, d, options.limit))
            print(step, n, d, name, _words(turns[name][-1]), turns[name][-1], file=sys.stderr, flush=True)
    rows = [_median(turns[name]) | {"step": step, "n": n, "d": d, "contestant": name} for name in names]
    return _relative(rows)


def _turn(step: str, name: str, n: int, d: int, limit: float) -> Row:
    is_own = name.startswith("zatlas")
    python = Path(sys.executable) if is_own else contest.environment("analysis", PACKAGES)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "arrays.npz"
        command: list[str | Path] = [
            python,
            HERE / "analysis_worker.py",
            step,
            name,
            str(n),
            str(d),
            "0",
            str(limit),
            out,
        ]
        done = contest.run(command, env=ONE_THREAD)
        if "gave_up_after_s" in done.report:
            return {"seconds": float("inf"), "peak_mb": done.peak_mb, **done.report}
        with np.load(out) as stored:
            quality = judge(step, n, d, {key: stored[key] for key in stored.files})
    report = {key: value for key, value in done.report.items() if key not in ("step_s", "step_cpu_s")}
    return {"seconds": done.report["step_s"], "cpu_s": done.report["step_cpu_s"], "peak_mb": done.peak_mb} | {
        **report, **quality,
    }  # fmt: skip


def judge(step: str, n: int, d: int, arrays: dict[str, np.ndarray]) -> dict[str, float]:
    """How good the arrays of a contestant are."""
    if step == "tsne":
        from zatlas.atlas.neighbours import trust

        trustworthiness, continuity = trust(latents(n, d), arrays["map"], most=1000)
        return {"trustworthiness": trustworthiness, "continuity": continuity}
    if step in ("near15", "near90"):
        return {"recall": _recall(latents(n, d), arrays["rows"])}
    if step in ("pca", "pixels"):
        points = latents(n, d) if step == "pca" else pictures(n, d).reshape(n, -1)
        points = points.astype(np.float64)
        if step == "pca":
            true = np.linalg.svd(points - points.mean(axis=0), compute_uv=False) ** 2 / (n - 1)
        else:
            centred = points - points.mean(axis=0)
            true = np.linalg.eigvalsh(centred @ centred.T)[::-1] / (n - 1)
        found = arrays["variance"]
        return {"variance_error": float(np.abs(found / true[: len(found)] - 1).max())}
    return {}


def _recall(points: np.ndarray, rows: np.ndarray, *, most: int = 1000) -> float:
    """Share of the true neighbours of some points that were found, by distances in float64."""
    points = points.astype(np.float64)
    some = np.random.default_rng(0).choice(len(points), min(most, len(points)), replace=False)
    k, hits = rows.shape[1], 0
    for row in some:
        squares = ((points - points[row]) ** 2).sum(axis=1)
        squares[row] = np.inf
        hits += len(np.intersect1d(np.argpartition(squares, k)[:k], rows[row]))
    return hits / (len(some) * k)


def _median(turns: list[Row]) -> Row:
    keys = set.intersection(*(set(turn) for turn in turns))
    return {key: statistics.median(turn[key] for turn in turns) for key in sorted(keys)} | {"rounds": len(turns)}


def _relative(rows: list[Row]) -> list[Row]:
    lowest = min((row["inertia"] for row in rows if "inertia" in row), default=1.0)
    return [row | ({"inertia_ratio": row["inertia"] / lowest} if "inertia" in row else {}) for row in rows]


def _words(row: Row) -> str:
    if "gave_up_after_s" in row:
        return f"gave up after {row['gave_up_after_s']:.0f} s"
    names = {
        "kl": "KL {:.3f}", "trustworthiness": "T {:.3f}", "continuity": "C {:.3f}", "recall": "recall {:.4f}",
        "inertia_ratio": "inertia x {:.4f}", "variance_error": "error {:.1e}",
    }  # fmt: skip
    return ", ".join(form.format(row[name]) for name, form in names.items() if name in row)


if __name__ == "__main__":
    main()
