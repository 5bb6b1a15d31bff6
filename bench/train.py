"""Training speed: the same network, loss, optimiser and images in zatlas and in the libraries that people use.

    python bench/train.py                          # all contestants, three rounds
    python bench/train.py --only zatlas notebook --rounds 1 --epochs 3 --images 256
    python bench/train.py --threads 1              # everybody on one core
    python bench/train.py --w2                     # the network of a public solution, see below
    python bench/train.py --equal-time             # quality after equal processor time
    python bench/train.py --tune                   # the batch size with which each peer is best, for "-best"
    python bench/train.py --old-defaults           # how soon today's defaults reach what those of 0.1.0 reached
    python bench/train.py --busy-neighbour         # zatlas beside a process that keeps one of two cores busy
    python bench/train.py --precision-check        # zatlas in bfloat16 and in float32, three seeds
    python bench/train.py ... --minutes 12         # begin no round that would end later
    python bench/train.py ... --input images.npz --labels labels.csv --group patient

Run it on Linux with the Python that has zatlas. The peers are processes in environments of their own, which the script
makes; what cannot be installed or does not run is reported in the table. Files of results are written after each round.

Equal for all: 128 px images (synthetic radiographs unless --input says otherwise; a fifth of the patients for testing),
strided convolutions of 32, 64, 128 and 256 channels (k 3) with ReLU, linear layers to mean and log_var of 16
dimensions, the mirrored decoder of transposed convolutions; cross-entropy summed over pixels plus KL divergence summed
over dimensions, mean of the batch; Adam at 1e-3, batches of 64, the same number of epochs. The first epoch is not
counted. The test loss is computed by the same lines for all, at z = posterior mean, in float32.

Not equal: each library draws its weights as it does by default. zatlas bounds log_var smoothly and lowers the
learning rate along a cosine, of which only the first hundredth is run (train_peers/zatlas_user.py). "+allocator" gives
a peer the allocator's thresholds that the command line of zatlas sets.

"-best" is each at its own: zatlas with its default network and settings; a peer with the same network and Adam at 1e-3,
but with the allocator's thresholds (Keras in bfloat16) and the batch size with which --tune found it best: of 16, 32
and 64 that with the highest PSNR of validation images after equal processor time. pythae, which runs the same steps,
takes that of the notebook. Before --tune has run it is 64. Fast ones run more epochs with --equal-time
(EQUAL_TIME_EPOCHS), so that all end after about as much time; zatlas-best plans that many. In a training of up to 1000
steps zatlas-best begins at principal components, which puts it far ahead at once; zatlas-best-no-path does not.

--old-defaults: zatlas with the settings of 0.1.0 for --epochs (100), against its defaults of today, planned for as many
epochs and stopped after 40 % of them ("today"), which takes a little more than 40 % of the time; with --only today
today-short also planned for 32 % of them, which takes about 40 %. All by the code of today, which makes the steps of
0.1.0 faster than they were.

--w2: 64 px, 32-64-128-256-512 channels, 128 dimensions. The public solution has BatchNorm after each convolution, and
so has the notebook here; zatlas has no layers with batch statistics and runs without norm and with GroupNorm.
"""

import argparse
import json
import math
import os
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
import train_tables
from contest import Table
from train_images import Source, write_parts

PEERS = Path(__file__).parent / "train_peers"
CHECKOUT = Path(__file__).resolve().parent.parent
TORCH = ("torch==2.13.0", "numpy==2.4.6")  # first in each list: an unpinned torch brings gigabytes for another device
REQUIREMENTS = {
    "notebook": TORCH,
    "pythae": (*TORCH, "pythae==0.1.2"),
    "lightning": (*TORCH, "lightning==2.6.6"),
    "keras": ("tensorflow-cpu==2.21.0", "keras==3.15.1"),
}
W1 = {"size": 128, "widths": (32, 64, 128, 256), "latent_dim": 16}
W2 = {"size": 64, "widths": (32, 64, 128, 256, 512), "latent_dim": 128}
MEASURED = ("images_per_s", "images_per_cpu_s", "cpu_s_per_image", "faults_per_image", "test_loss", "peak_mb")


@dataclass(frozen=True)
class Contestant:
    """A file of train_peers, and what it is told beyond the task."""

    peer: str
    options: Mapping[str, Any]


_RAISED = {"allocator": True}
BATCHES, USUAL_BATCH = (16, 32, 64), 64
_TUNED_FILE = "train-batch"  # of the results
TUNED = {"notebook": "notebook", "pythae": "notebook", "keras": "keras"}  # whose batch size each peer takes
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
_AT_BEST = {
    "notebook": _RAISED,
    "pythae": _RAISED,
    "keras": {"precision": "mixed_bfloat16"},
}
ON_REQUEST = {  # run when named by --only
    "zatlas-float32": Contestant("zatlas", {**_RAISED, "precision": "float32"}),
    "zatlas-allocator-as-is": Contestant("zatlas", {}),
    "zatlas-best": Contestant("zatlas", {**_RAISED, "settings": "own"}),
    "zatlas-best-no-path": Contestant("zatlas", {**_RAISED, "settings": "own, no path"}),
    **{f"{peer}-best": Contestant(peer, options) for peer, options in _AT_BEST.items()},
}
EQUAL_TIME = ("zatlas", "zatlas-best", "notebook", "notebook-best", "pythae", "pythae-best", "keras", "keras-best")
EQUAL_TIME_EPOCHS = {  # times those of the others
    "zatlas": 3, "zatlas-best": 3, "zatlas-best-no-path": 3, "keras": 2, "keras-best": 3,
}  # fmt: skip
OLD = "0.1.0"
OLD_DEFAULTS = {  # with their shares of the epochs: planned, and run
    OLD: ("0.1.0", 1.0, 1.0),
    "today": ("own", 1.0, 0.4),
    "today-short": ("own", 0.32, 0.32),
}


class Training:
    """Runs contestants on one set of images, and remembers what is not a number: versions, choices, failures."""

    def __init__(self, folder: Path, task: Mapping[str, Any], *, is_here: bool) -> None:
        self.folder, self.is_here, self.task = folder, is_here, task
        self.source = Path(shutil.copytree(CHECKOUT / "src", folder / "src"))  # edits during a run change nothing
        self.about: dict[str, Any] = {}
        self.curves: dict[str, list[train_tables.Curve]] = {}  # quality over time, by turn
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
        if self.is_here or peer == "zatlas":
            return Path(sys.executable)
        return contest.environment(f"train-{peer}", REQUIREMENTS[peer])

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

    def rounds(
        self,
        contestants: Mapping[str, Callable[[], dict[str, float]]],
        options: argparse.Namespace,
        after_round: Callable[[dict[str, Any]], Sequence[Table]] = lambda found: (),
    ) -> dict[str, Any]:
        """Contestants in turn; those that failed are left out of what comes back.

        Args:
            contestants: By name.
            options: How many rounds, in how much time.
            after_round: Makes tables of all turns so far, which are written to the files of results.
        """

        def keep(found: dict[str, Any]) -> None:
            able = self.without_failed(found)
            contest.save(file_name(options), self.facts(able), folder=options.results, tables=after_round(able))

        found = contest.interleaved(
            contestants, rounds=options.rounds, at_most_s=60 * options.minutes, after_round=keep
        )  # fmt: skip
        return self.without_failed(found)

    def without_failed(self, by_name: Mapping[str, Any]) -> dict[str, Any]:
        """Those that ran in each round."""
        return {name: turns for name, turns in by_name.items() if name not in self.failed}

    def tell_failures(self) -> None:
        """Say why contestants are missing."""
        for name, (what, reason) in self.failed.items():
            print(f"\n{name} ({what}): {reason[-1500:]}")

    def facts(self, found: Mapping[str, Any]) -> dict[str, Any]:
        """For the record."""
        task = {key: value for key, value in self.task.items() if key not in ("train", "validation", "test")}
        facts = {"zatlas": _state_of_the_checkout(), "task": task, "about": self.about, "failed": self.failed}
        return {**facts, "found": found, "quality": self.curves}


def _state_of_the_checkout() -> dict[str, Any]:
    """Commit, and whether src differs from it."""
    git = ["git", "-C", str(CHECKOUT)]
    commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=False).stdout.strip()
    changes = subprocess.run([*git, "status", "--short", "src"], capture_output=True, text=True, check=False).stdout
    return {"commit": commit, "changed": [line[3:] for line in changes.splitlines()]}


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
    """The table of all contestants against zatlas, and with --equal-time that of their quality."""
    able = training.install(contestants)
    turns = {name: partial(training.turn, name, one, options.threads) for name, one in able.items()}

    def tables(found: Mapping[str, Any]) -> list[Table]:
        if not found:
            return []
        speeds = train_tables.comparison(found, training.about, training.failed, title=_title(options))
        if not options.equal_time:
            return [speeds]
        curves = training.without_failed(training.curves)
        title = f"Quality of {options.judge} images over processor time, {options.source.words}"
        return [speeds, train_tables.quality(curves, training.failed, title=title)]

    found = training.rounds(turns, options, tables)
    for table in tables(found):
        print(table.plain())
    training.tell_failures()


def tune(training: Training, options: argparse.Namespace) -> None:
    """Find the batch size of each peer, and keep it for `-best`."""
    contestants = {
        f"{peer}-{batch}": Contestant(peer, {**_AT_BEST[peer], "batch_size": batch})
        for peer in dict.fromkeys(TUNED.values())
        for batch in BATCHES
    }
    able = training.install(contestants)
    turns = {name: partial(training.turn, name, one, options.threads) for name, one in able.items()}
    training.rounds(turns, options)
    curves, found = training.without_failed(training.curves), {}
    for peer in dict.fromkeys(one.peer for one in able.values()):
        own = {str(size): curves[f"{peer}-{size}"] for size in BATCHES if f"{peer}-{size}" in curves}
        found[peer] = train_tables.after_equal_time(own)
    best = {peer: int(max(of_batches, key=of_batches.__getitem__)) for peer, of_batches in found.items() if of_batches}
    columns = ["peer", *(f"PSNR, batches of {size}" for size in BATCHES), "best"]
    rows = [[peer, *(found[peer].get(str(size), math.nan) for size in BATCHES), str(best[peer])] for peer in best]
    table = Table(f"Validation images after equal processor time, {options.source.words}", columns, rows)
    contest.save(_TUNED_FILE, {"best": best, "psnr": found}, folder=options.results, tables=[table])
    print(table.plain())
    training.tell_failures()


def tuned(name: str, contestant: Contestant, results: Path) -> Contestant:
    """A contestant at its best, with the batch size that `tune` found."""
    file = results / f"{_TUNED_FILE}.json"
    if name not in (f"{peer}-best" for peer in TUNED) or not file.is_file():
        return contestant
    size = json.loads(file.read_text())["best"].get(TUNED[contestant.peer], USUAL_BATCH)
    return Contestant(contestant.peer, {**contestant.options, "batch_size": size})


def file_name(options: argparse.Namespace) -> str:
    """Of the results, without its ending."""
    words = {
        "-busy-neighbour": options.busy_neighbour,
        "-precision": options.precision_check,
        "-old-defaults": options.old_defaults,
        "-tune": options.tune,
        "-equal-time": options.equal_time,
        "-w2": options.w2,
        f"-threads{options.threads}": options.threads,
        f"-on-{Path(options.source.input).stem}": options.source.input,
        "-validation": options.judge == "validation",
    }
    return "train" + "".join(word for word, is_meant in words.items() if is_meant)


def _title(options: argparse.Namespace) -> str:
    network = "W2 (64 px)" if options.w2 else "W1 (128 px)"
    where = f"pinned to {options.threads} of the cores" if options.threads else "all cores"
    return f"Training {network}, {options.epochs} epochs of {options.source.words}, the first not counted, {where}"


def old_defaults(training: Training, options: argparse.Namespace) -> None:
    """Today's defaults against those of 0.1.0: the time to the quality with which the latter end."""
    wanted = (OLD, *(options.only or ("today",)))
    turns = {
        name: partial(
            training.turn,
            name,
            Contestant(
                "zatlas",
                {
                    **_RAISED,
                    "settings": settings,
                    "planned_epochs": max(2, round(planned * options.epochs)),
                    "epochs": max(2, round(run * options.epochs)),
                },
            ),
            options.threads,
        )
        for name, (settings, planned, run) in OLD_DEFAULTS.items()
        if name in wanted
    }

    def tables(found: Mapping[str, Any]) -> list[Table]:
        if OLD not in found:
            return []
        curves = training.without_failed(training.curves)
        title = f"Time to the quality of {OLD} after {options.epochs} epochs, {options.source.words}"
        return [train_tables.old_defaults(curves, OLD, training.failed, title=title)]

    for table in tables(training.rounds(turns, options, tables)):
        print(table.plain())
    training.tell_failures()


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
    found = training.rounds(turns, options)
    training.tell_failures()
    if training.failed:
        raise SystemExit(1)
    medians = contest.medians(found)
    low, middle, high = contest.ratios(found, "images_per_s", of="two cores, one busy")["one quiet core"]
    rows = [[name, numbers["images_per_s"], str(training.about[name]["threads"])] for name, numbers in medians.items()]
    contest.show("zatlas beside a busy process", ["", "images/s", "threads"], rows)
    print(f"\nwith the neighbour / one quiet core: {middle:.2f} ({low:.2f} to {high:.2f}); the goal is 0.9")
    contest.save(file_name(options), {**training.facts(found), "ratio": [low, middle, high]}, folder=options.results)


def precision_check(training: Training, options: argparse.Namespace) -> None:
    """Test losses of zatlas in both number formats, one seed per round: do they differ by more than the seeds do?"""
    formats = {name: Contestant("zatlas", {**_RAISED, "precision": name}) for name in ("float32", "bfloat16")}
    able = training.install(formats)
    turns = {name: partial(training.turn, name, one, options.threads) for name, one in able.items()}
    found = training.rounds(turns, options)
    training.tell_failures()
    if training.failed:
        raise SystemExit(1)
    losses = {name: [turn["test_loss"] for turn in turns] for name, turns in found.items()}
    rows = [
        [name, *(f"{loss:.1f}" for loss in of_seeds), f"{statistics.mean(of_seeds):.1f}", f"{_spread(of_seeds):.1f}"]
        for name, of_seeds in losses.items()
    ]
    columns = ["precision", *(f"seed {seed}" for seed in range(len(losses["float32"]))), "mean", "spread"]
    contest.show("Test loss of zatlas [nats per image]", columns, rows)
    gap = statistics.mean(losses["bfloat16"]) - statistics.mean(losses["float32"])
    verdict = "within" if abs(gap) <= _spread(losses["float32"]) else "OUTSIDE"
    print(f"\nbfloat16 - float32: {gap:+.1f} nats, {verdict} the spread of the seeds in float32")
    contest.save(file_name(options), {**training.facts(found), "gap_nats": gap}, folder=options.results)


def _spread(values: Sequence[float]) -> float:
    return max(values) - min(values)


def main() -> None:
    """Read the options and run what they ask for."""
    options = _options()
    network = W2 if options.w2 else W1
    with tempfile.TemporaryDirectory(prefix="zatlas-bench-") as name:
        folder = Path(name)
        files = write_parts(options.source, folder, size=network["size"])
        files["test"] = files["validation" if options.tune else options.judge]
        is_watched = options.old_defaults or options.equal_time or options.tune
        watch_every = max(1, options.epochs // 25) if is_watched else 0
        task = {**network, **files, "epochs": options.epochs, "watch_every": watch_every}
        training = Training(folder, task, is_here=options.here)
        if options.busy_neighbour:
            busy_neighbour(training, options)
        elif options.precision_check:
            precision_check(training, options)
        elif options.old_defaults:
            old_defaults(training, options)
        elif options.tune:
            tune(training, options)
        else:
            compare(training, _wanted(options), options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = list(dict.fromkeys([*W1_CONTESTANTS, *W2_CONTESTANTS, *ON_REQUEST, *OLD_DEFAULTS]))
    parser.add_argument("--rounds", type=int, default=3, help="turns of each contestant, and seeds (default: 3)")
    parser.add_argument(
        "--epochs", type=int, default=0,
        help="of each training; the first is not counted (default: 4, 10 with --equal-time, 100 with --old-defaults)",
    )  # fmt: skip
    parser.add_argument("--images", type=int, default=0, help="in all parts (default: 2000, or all of --input)")
    parser.add_argument("--input", default="", metavar="NPZ", help="images of your own instead of synthetic ones")
    parser.add_argument("--labels", default="", metavar="CSV", help="a row per image of --input")
    parser.add_argument("--group", default="", metavar="COLUMN", help="of --labels, which no two parts share")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=names, help=f"some of {', '.join(names)}")
    parser.add_argument("--threads", type=int, default=0, help="pin each contestant to so many cores (default: all)")
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no round that would end later")
    parser.add_argument("--judge", choices=("test", "validation"), default="test", help="images that are judged by")
    parser.add_argument("--here", action="store_true", help="use this Python for all instead of environments")
    parser.add_argument("--results", type=Path, default=contest.HERE / "results", help="folder of the files of results")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--w2", action="store_true", help="the other network")
    parser.add_argument("--equal-time", action="store_true", help="also the quality after equal processor time")
    mode.add_argument("--busy-neighbour", action="store_true", help="zatlas beside a busy process, on two cores")
    mode.add_argument("--precision-check", action="store_true", help="zatlas in bfloat16 and float32")
    mode.add_argument("--old-defaults", action="store_true", help="today's defaults against those of 0.1.0")
    mode.add_argument("--tune", action="store_true", help="find the batch size of peers at their best")
    options = parser.parse_args()
    options.epochs = options.epochs or (100 if options.old_defaults else 10 if options.equal_time else 4)
    images = options.images or (0 if options.input else 2000)
    if options.epochs < 2 or options.rounds < 1 or 0 < images < 32:
        parser.error("at least two epochs, one round and 32 images are needed")
    options.source = Source(images, options.input, options.labels, options.group)
    known = {**(W2_CONTESTANTS if options.w2 else W1_CONTESTANTS), **ON_REQUEST}
    known = OLD_DEFAULTS if options.old_defaults else known
    if unknown := [name for name in options.only or () if name not in known]:
        parser.error(f"not in this comparison: {', '.join(unknown)}")
    return options


def _wanted(options: argparse.Namespace) -> dict[str, Contestant]:
    """The contestants of a comparison, by name; with --equal-time those that are fast run more epochs."""
    of_network = W2_CONTESTANTS if options.w2 else W1_CONTESTANTS
    usual = [*of_network] if options.w2 or not options.equal_time else EQUAL_TIME
    known = {**of_network, **ON_REQUEST}
    wanted = {name: tuned(name, known[name], options.results) for name in options.only or usual}
    if not options.equal_time:
        return wanted
    return {
        name: Contestant(one.peer, {**one.options, "epochs": EQUAL_TIME_EPOCHS.get(name, 1) * options.epochs})
        for name, one in wanted.items()
    }


if __name__ == "__main__":
    main()
