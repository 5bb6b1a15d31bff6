"""Training speed: the same network, loss, optimiser and images in zatlas and in the libraries that people use.

    python bench/train.py                          # all contestants, three rounds
    python bench/train.py --only zatlas notebook --rounds 1 --epochs 3 --images 256
    python bench/train.py --threads 1              # everybody on one core
    python bench/train.py --w2                     # the network of a public solution, see below
    python bench/train.py --busy-neighbour         # zatlas beside a process that keeps one of two cores busy
    python bench/train.py --equal-time             # quality after equal processor time
    python bench/train.py --precision-check        # zatlas in bfloat16 and in float32, three seeds

Run it on Linux with a Python that has zatlas, which draws the images. Each contestant is a process in an environment
of its own, which the script makes; what cannot be installed or does not run is reported in the table.

Equal for all: 128 px images (synthetic radiographs, a tenth of them for testing), strided convolutions of 32, 64, 128
and 256 channels (k 3) with ReLU, linear layers to mean and log_var of 16 dimensions, the mirrored decoder of
transposed convolutions; cross-entropy summed over pixels plus KL divergence summed over dimensions, mean of the batch;
Adam at 1e-3, batches of 64, the same number of epochs. The first epoch is not counted. The test loss is computed by
the same lines for all, at z = posterior mean, in float32.

Not equal: each library draws its weights as it does by default. zatlas bounds log_var smoothly and lowers the
learning rate along a cosine, of which only the first hundredth is run (train_peers/zatlas_user.py). "+allocator" gives
a peer the allocator's thresholds that the command line of zatlas sets.

--w2: 64 px, 32-64-128-256-512 channels, 128 dimensions. The public solution has BatchNorm after each convolution, and
so has the notebook here; zatlas has no layers with batch statistics and runs without norm and with GroupNorm.
"""

import argparse
import itertools
import json
import math
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import contest

PEERS = Path(__file__).parent / "train_peers"
CHECKOUT = Path(__file__).resolve().parent.parent
TORCH = "torch==2.13.0"  # first in each list: an unpinned one brings gigabytes for another device
_CHECKOUT_PATH = shlex.quote(str(CHECKOUT))
REQUIREMENTS = {
    "zatlas": (TORCH, f"-c {shlex.quote(str(CHECKOUT / 'constraints.txt'))} -e {_CHECKOUT_PATH}"),
    "notebook": (TORCH, "numpy"),
    "pythae": (TORCH, "pythae==0.1.2"),
    "lightning": (TORCH, "numpy", "lightning"),
    "keras": ("tensorflow-cpu", "keras"),
}
W1 = {"size": 128, "widths": (32, 64, 128, 256), "latent_dim": 16}
W2 = {"size": 64, "widths": (32, 64, 128, 256, 512), "latent_dim": 128}
MEASURED = ("images_per_s", "images_per_cpu_s", "cpu_s_per_image", "faults_per_image", "test_loss", "peak_mb")


Curve = Sequence[Sequence[float]]
"""Processor seconds since the beginning, and PSNR [dB], after each epoch."""


@dataclass(frozen=True)
class Contestant:
    """A file of train_peers with its environment, and what it is told beyond the task."""

    peer: str
    options: Mapping[str, Any]


_RAISED = {"allocator": True}
W1_CONTESTANTS = {
    "zatlas": Contestant("zatlas", _RAISED),
    "notebook": Contestant("notebook", {}),
    "notebook+allocator": Contestant("notebook", _RAISED),
    "pythae": Contestant("pythae", {}),
    "pythae+allocator": Contestant("pythae", _RAISED),
    "lightning": Contestant("lightning", {}),
    "lightning+allocator": Contestant("lightning", _RAISED),
    "keras": Contestant("keras", {}),
    "keras-bfloat16": Contestant("keras", {"precision": "mixed_bfloat16"}),
}
W2_CONTESTANTS = {
    "zatlas": Contestant("zatlas", _RAISED),
    "zatlas-group": Contestant("zatlas", {**_RAISED, "norm": "group"}),
    "notebook": Contestant("notebook", {"norm": "batch"}),
    "notebook+allocator": Contestant("notebook", {**_RAISED, "norm": "batch"}),
}
ON_REQUEST = {  # run when named by --only
    "zatlas-float32": Contestant("zatlas", {**_RAISED, "precision": "float32"}),
    "zatlas-allocator-as-is": Contestant("zatlas", {}),
    "zatlas-own": Contestant("zatlas", {**_RAISED, "own": True}),
}


class Training:
    """Runs contestants on one set of images, and remembers what is not a number: versions, choices, failures."""

    def __init__(self, folder: Path, *, images: int, epochs: int, network: Mapping[str, Any], is_here: bool) -> None:
        self.folder, self.is_here = folder, is_here
        self.source = Path(shutil.copytree(CHECKOUT / "src", folder / "src"))  # edits during a run change nothing
        self.task = {**network, **_draw_images(folder, images, network["size"]), "epochs": epochs}
        self.about: dict[str, Any] = {}
        self.curves: dict[str, list[Curve]] = {}  # quality over processor time, by turn
        self.failed: dict[str, tuple[str, str]] = {}  # in a word, and in full
        self._turns: dict[str, int] = {}

    def install(self, contestants: Mapping[str, Contestant]) -> dict[str, Contestant]:
        """Make the environments; those whose environment cannot be made are left out."""
        broken: dict[str, str] = {}
        for peer in dict.fromkeys(contestant.peer for contestant in contestants.values()):
            try:
                self._python(peer)
            except subprocess.CalledProcessError as err:
                broken[peer] = str(err)
        for name, contestant in contestants.items():
            if contestant.peer in broken:
                self.failed[name] = ("not installed", broken[contestant.peer])
        return {name: contestant for name, contestant in contestants.items() if name not in self.failed}

    def _python(self, peer: str) -> Path:
        return Path(sys.executable) if self.is_here else contest.environment(f"train-{peer}", REQUIREMENTS[peer])

    def turn(self, name: str, contestant: Contestant, n_cores: int) -> dict[str, float]:
        """One training; its seed is the number of the turn. NaN after a failure."""
        seed = self._turns[name] = self._turns.get(name, -1) + 1
        if name in self.failed:
            return dict.fromkeys(MEASURED, math.nan)
        with tempfile.TemporaryDirectory(dir=self.folder) as spare, pinned(n_cores):
            task = json.dumps({**self.task, **contestant.options, "seed": seed, "folder": spare})
            try:
                script = PEERS / f"{contestant.peer}_user.py"
                done = contest.run([self._python(contestant.peer), script, task], env={"PYTHONPATH": str(self.source)})
                if not done.report:
                    raise SystemExit("it ended without a report")
            except SystemExit as err:
                self.failed[name] = ("did not run", str(err))
                return dict.fromkeys(MEASURED, math.nan)
        numbers = {**done.report, "peak_mb": done.peak_mb}
        self.curves.setdefault(name, []).append(numbers.pop("quality"))
        self.about[name] = {key: value for key, value in numbers.items() if key not in MEASURED}
        return {key: numbers[key] for key in MEASURED}

    def rounds(self, contestants: Mapping[str, Callable[[], dict[str, float]]], n: int) -> dict[str, Any]:
        """Contestants in turn; those that failed are left out of what comes back."""
        found = contest.interleaved(contestants, rounds=n)
        return {name: turns for name, turns in found.items() if name not in self.failed}

    def tell_failures(self) -> None:
        """Say why contestants are missing."""
        for name, (what, reason) in self.failed.items():
            print(f"\n{name} ({what}): {reason[-1500:]}")

    def facts(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """For the record."""
        task = {key: value for key, value in self.task.items() if key not in ("train", "test")}
        facts = {"zatlas": _state_of_the_checkout(), "task": task, "about": self.about, "failed": self.failed}
        return {**facts, "found": found, "quality": self.curves}


def _state_of_the_checkout() -> dict[str, Any]:
    """Commit, and whether src differs from it."""
    git = ["git", "-C", str(CHECKOUT)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changes = subprocess.run([*git, "status", "--short", "src"], capture_output=True, text=True, check=False).stdout
    return {"commit": commit, "changed": [line[3:] for line in changes.splitlines()]}


def _draw_images(folder: Path, images: int, size: int) -> dict[str, str]:
    """Files of training and test images, and how they are named in the task."""
    import numpy as np

    from zatlas.images import phantom

    print(f"drawing {images} images of {size} px", file=sys.stderr)
    drawn, _ = phantom.radiographs(folder / "drawn.npz", images=images, size=size)
    pixels = np.load(drawn)["images"]
    n_test = max(1, images // 10)
    files = {"train": folder / "train.npy", "test": folder / "test.npy"}
    np.save(files["train"], pixels[n_test:])
    np.save(files["test"], pixels[:n_test])
    return {name: str(path) for name, path in files.items()}


@contextmanager
def pinned(n_cores: int, *, first: int = 0) -> Iterator[None]:
    """Within the block this process, and so those it starts, keep to some of its cores; 0 means all."""
    before = os.sched_getaffinity(0)
    if n_cores:
        os.sched_setaffinity(0, sorted(before)[first : first + n_cores])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def compare(training: Training, contestants: Mapping[str, Contestant], options: argparse.Namespace) -> None:
    """The table of all contestants against zatlas."""
    able = training.install(contestants)
    turns = {name: partial(training.turn, name, one, options.threads) for name, one in able.items()}
    found = training.rounds(turns, options.rounds)
    show_comparison(found, training, title=_title(options))
    if options.equal_time:
        show_quality(training)
    training.tell_failures()
    name = (
        "train"
        + ("-equal-time" if options.equal_time else "")
        + ("-w2" if options.w2 else "")
        + (f"-threads{options.threads}" if options.threads else "")
    )
    contest.save(name, training.facts(found), folder=options.results)


def show_comparison(found: Mapping[str, Any], training: Training, *, title: str) -> None:
    """Print medians, and how many times as fast zatlas was, round by round; those that failed come last."""
    medians = contest.medians(found)
    walls = contest.ratios(found, "images_per_s", of="zatlas") if "zatlas" in found else {}
    cpus = contest.ratios(found, "images_per_cpu_s", of="zatlas") if "zatlas" in found else {}
    rows = [
        [
            name, f"{numbers['images_per_s']:.0f}", *(_times(walls.get(name), i) for i in range(3)),
            f"{1e3 * numbers['cpu_s_per_image']:.2f}", _times(cpus.get(name), 1), f"{numbers['test_loss']:.1f}",
            f"{numbers['faults_per_image']:.0f}", str(training.about[name]["threads"]), f"{numbers['peak_mb']:.0f}",
        ]
        for name, numbers in medians.items()
    ]  # fmt: skip
    columns = [
        "contestant", "images/s", "zatlas x: min", "median", "max", "CPU ms/image", "zatlas x (CPU)", "test loss",
        "faults/image", "threads", "MB",
    ]  # fmt: skip
    missing = [[name, what, *["-"] * (len(columns) - 2)] for name, (what, _) in training.failed.items()]
    contest.show(title, columns, rows + missing)


def _times(of_rounds: Sequence[float] | None, which: int) -> str:
    return "-" if of_rounds is None else f"{of_rounds[which]:.2f}"


def _title(options: argparse.Namespace) -> str:
    network = "W2 (64 px)" if options.w2 else "W1 (128 px)"
    where = f"pinned to {options.threads} of the cores" if options.threads else "all cores"
    return f"Training {network}, {options.epochs - 1} counted epochs of {options.images} images less a tenth, {where}"


def show_quality(training: Training) -> None:
    """Print the PSNR after equal processor time, and the time to the quality with which the notebook ended.

    The equal time of a round is that after which the first contestant had ended. Curves are taken as straight between
    two epochs.
    """
    curves = {name: turns for name, turns in training.curves.items() if name not in training.failed}
    rounds = [dict(zip(curves, turns, strict=True)) for turns in zip(*curves.values(), strict=True)]
    rows = []
    for name in curves:
        after, times = [], []
        for of_round in rounds:
            after.append(quality_after(of_round[name], min(curve[-1][0] for curve in of_round.values())))
            if "notebook" in of_round:
                times.append(time_to(of_round[name], of_round["notebook"][-1][1]) / of_round["notebook"][-1][0])
        ends = [curve[-1] for curve in curves[name]]
        share = statistics.median(times) if times else math.nan
        rows.append([
            name, f"{statistics.median(after):.2f}", f"{min(after):.2f} to {max(after):.2f}",
            f"{statistics.median(end[0] for end in ends):.1f}", f"{statistics.median(end[1] for end in ends):.2f}",
            f"{share:.2f}" if math.isfinite(share) else "not reached" if times else "-",
        ])  # fmt: skip
    columns = ["contestant", "PSNR after equal time", "rounds", "CPU s in all", "PSNR at the end", "time to notebook's"]
    missing = [[name, what, *["-"] * (len(columns) - 2)] for name, (what, _) in training.failed.items()]
    contest.show("Quality of test images over processor time", columns, rows + missing)


def quality_after(curve: Curve, seconds: float) -> float:
    """PSNR at a time; before the end of the first epoch nothing is known (NaN)."""
    if seconds < curve[0][0]:
        return math.nan
    for (begin, low), (end, high) in itertools.pairwise(curve):
        if begin <= seconds <= end:
            return low + (high - low) * (seconds - begin) / (end - begin)
    return curve[-1][1]


def time_to(curve: Curve, quality: float) -> float:
    """Seconds until a PSNR is reached; infinite when it never is."""
    if curve[0][1] >= quality:
        return curve[0][0]
    for (begin, low), (end, high) in itertools.pairwise(curve):
        if low < quality <= high:
            return begin + (end - begin) * (quality - low) / (high - low)
    return math.inf


def busy_neighbour(training: Training, options: argparse.Namespace) -> None:
    """zatlas on two cores of which one is kept busy, against zatlas on one quiet core."""
    if len(os.sched_getaffinity(0)) < 2:
        raise SystemExit("this needs two cores")
    alone = W1_CONTESTANTS["zatlas"]
    training.install({"zatlas": alone})

    def beside() -> dict[str, float]:
        with pinned(1, first=1):
            neighbour = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            return training.turn("two cores, one busy", alone, 2)
        finally:
            neighbour.kill()
            neighbour.wait()

    turns = {"one quiet core": partial(training.turn, "one quiet core", alone, 1), "two cores, one busy": beside}
    found = training.rounds(turns, options.rounds)
    training.tell_failures()
    if training.failed:
        raise SystemExit(1)
    medians = contest.medians(found)
    low, middle, high = contest.ratios(found, "images_per_s", of="two cores, one busy")["one quiet core"]
    rows = [[name, numbers["images_per_s"], str(training.about[name]["threads"])] for name, numbers in medians.items()]
    contest.show("zatlas beside a busy process", ["", "images/s", "threads"], rows)
    print(f"\nwith the neighbour / one quiet core: {middle:.2f} ({low:.2f} to {high:.2f}); the goal is 0.9")
    contest.save(
        "train-busy-neighbour", {**training.facts(found), "ratio": [low, middle, high]}, folder=options.results
    )


def precision_check(training: Training, options: argparse.Namespace) -> None:
    """Test losses of zatlas in both number formats, one seed per round: do they differ by more than the seeds do?"""
    formats = {name: Contestant("zatlas", {**_RAISED, "precision": name}) for name in ("float32", "bfloat16")}
    able = training.install(formats)
    turns = {name: partial(training.turn, name, one, options.threads) for name, one in able.items()}
    found = training.rounds(turns, options.rounds)
    training.tell_failures()
    if training.failed:
        raise SystemExit(1)
    losses = {name: [turn["test_loss"] for turn in turns] for name, turns in found.items()}
    rows = [
        [name, *(f"{loss:.1f}" for loss in of_seeds), f"{statistics.mean(of_seeds):.1f}", f"{_spread(of_seeds):.1f}"]
        for name, of_seeds in losses.items()
    ]
    columns = ["precision", *(f"seed {seed}" for seed in range(options.rounds)), "mean", "spread"]
    contest.show("Test loss of zatlas [nats per image]", columns, rows)
    gap = statistics.mean(losses["bfloat16"]) - statistics.mean(losses["float32"])
    verdict = "within" if abs(gap) <= _spread(losses["float32"]) else "OUTSIDE"
    print(f"\nbfloat16 - float32: {gap:+.1f} nats, {verdict} the spread of the seeds in float32")
    contest.save("train-precision", {**training.facts(found), "gap_nats": gap}, folder=options.results)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def main() -> None:
    """Read the options and run what they ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys([*W1_CONTESTANTS, *W2_CONTESTANTS, *ON_REQUEST]))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant, and seeds (default: 3)")
    parser.add_argument("--epochs", type=int, default=4, help="of each training; the first is not counted (default: 4)")
    parser.add_argument("--images", type=int, default=2000, help="a tenth of them for testing (default: 2000)")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"some of {', '.join(names)}")
    parser.add_argument("--threads", type=int, default=0, help="pin each contestant to so many cores (default: all)")
    parser.add_argument("--here", action="store_true", help="use this Python for all instead of environments")
    parser.add_argument("--results", type=Path, default=contest.HERE / "results", help="folder of the JSON files")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--w2", action="store_true", help="the other network")
    parser.add_argument("--equal-time", action="store_true", help="also the quality after equal processor time")
    mode.add_argument("--busy-neighbour", action="store_true", help="zatlas beside a busy process, on two cores")
    mode.add_argument("--precision-check", action="store_true", help="zatlas in bfloat16 and float32")
    options = parser.parse_args()
    if options.epochs < 2 or options.rounds < 1 or options.images < 32:
        parser.error("at least two epochs, one round and 32 images are needed")
    known = {**(W2_CONTESTANTS if options.w2 else W1_CONTESTANTS), **ON_REQUEST}
    wanted = options.only or [name for name in known if name not in ON_REQUEST]
    if unknown := [name for name in wanted if name not in known]:
        parser.error(f"not with this network: {', '.join(unknown)}")
    with tempfile.TemporaryDirectory(prefix="zatlas-bench-") as folder:
        training = Training(
            Path(folder), images=options.images, epochs=options.epochs, network=W2 if options.w2 else W1,
            is_here=options.here,
        )  # fmt: skip
        training.task["watches_quality"] = options.equal_time
        if options.busy_neighbour:
            busy_neighbour(training, options)
        elif options.precision_check:
            precision_check(training, options)
        else:
            compare(training, {name: known[name] for name in wanted}, options)


if __name__ == "__main__":
    main()
