"""What every contestant of train.py shares: the task it is given, the clock, the test loss, the report.

It imports no library but numpy, so that nothing here favours one of them. The first epoch is never counted: in it
libraries compile, allocate and start threads. The test loss is computed here, in numpy, from what each library's
network returns in float32, so that it means the same for all.
"""

import ctypes
import itertools
import json
import math
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

import numpy as np

__all__ = [
    "Clock", "Task", "cores", "images_of", "psnr", "raise_allocator_thresholds", "read_task", "report", "test_loss",
]  # fmt: skip

_TEST_BATCH = 100


@dataclass(frozen=True)
class Task:
    """What to train, and how.

    Attributes:
        train: NPY file of the training images, (n, h, w) uint8.
        test: NPY file of the test images.
        validation: NPY file of images that choose the epoch; only zatlas, when it is as a user finds it, takes them.
        folder: Where the contestant may write.
        epochs: Passes over the training images.
        seed: Of weights, order and noise.
        size: Side of the images [px].
        widths: Channels of the encoder's stages.
        latent_dim: Number of latent dimensions.
        norm: "none", "group" or "batch", after each convolution.
        precision: As the library calls it; "" takes its default.
        allocator: Raise the allocator's thresholds first.
        batch_size: Images per step.
        learning_rate: Of Adam, constant.
        watch_every: Reconstruct the test images after each so manyth epoch and the last one; 0 never. The clock stands
            still meanwhile.
        settings: "" for those above; zatlas also has "own", its default network and settings, "own, no path", and
            "0.1.0", those of version 0.1.0.
        planned_epochs: For zatlas, whose learning rate falls along a cosine: the epochs after which it would end;
            0 takes those that are run.
    """

    train: str
    test: str
    validation: str
    folder: str
    epochs: int
    seed: int
    size: int
    widths: tuple[int, ...]
    latent_dim: int
    norm: str = "none"
    precision: str = ""
    allocator: bool = False
    batch_size: int = 64
    learning_rate: float = 1e-3
    watch_every: int = 0
    settings: str = ""
    planned_epochs: int = 0


def read_task(*, sets_allocator: bool = True) -> Task:
    """The task from the command line, a JSON object; the allocator is set at once, before anything big is allocated."""
    values = json.loads(sys.argv[1])
    task = Task(**{**values, "widths": tuple(values["widths"])})
    if task.allocator and sets_allocator:
        raise_allocator_thresholds()
    return task


def raise_allocator_thresholds() -> None:
    """The call that `zatlas` makes on the command line (zatlas.training.devices); a test holds the two together."""
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_threshold, arena_max = -1, -2, -3, -8
    mallopt(mmap_threshold, 1 << 30) or mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)
    mallopt(arena_max, 1)


def images_of(path: str) -> np.ndarray:
    """Images (n, 1, h, w), float32 from 0 to 1, as every peer but zatlas keeps them."""
    return np.load(path)[:, None].astype(np.float32) / 255


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


class Clock:
    """Wall time, processor time and page faults between the ends of epochs.

    So everything that a library does between two epochs (evaluation, checkpoints, tables) counts as well.

    Attributes:
        quality: After epochs that were looked at: processor seconds since `watch` was called, PSNR of test images [dB],
            and seconds by the clock on the wall.
    """

    def __init__(self) -> None:
        self._marks: list[tuple[float, float, int]] = []
        self._left_out = (0.0, 0.0, 0)  # what the looks at the test images cost
        self._begin, self._look = (0.0, 0.0, 0), lambda: math.nan
        self.quality: list[tuple[float, float, float]] = []
        self._every = self._last = 0

    def watch(self, task: Task, shown: Callable[[np.ndarray], np.ndarray]) -> None:
        """Note the PSNR of the test images after epochs, if the task wants it; to be called before the training.

        Args:
            task: It names the test images.
            shown: From images (b, 1, h, w) to their reconstructions from z = mean, both from 0 to 1.
        """
        self._every, self._last, self._look = task.watch_every, task.epochs, lambda: psnr(task, shown)
        self._begin = _now()

    def epoch_ended(self) -> None:
        """To be called once at the end of each epoch."""
        now = _now()
        self._marks.append(tuple(a - b for a, b in zip(now, self._left_out, strict=True)))  # type: ignore[arg-type]
        done = len(self._marks)
        if self._every and (done % self._every == 0 or done == self._last):
            wall, cpu = (self._marks[-1][column] - self._begin[column] for column in (0, 1))
            self.quality.append((cpu, self._look(), wall))
            spent = (b - a for a, b in zip(now, _now(), strict=True))
            self._left_out = tuple(a + b for a, b in zip(self._left_out, spent, strict=True))  # type: ignore[assignment]

    def numbers(self, n_images: int) -> dict[str, float]:
        """What the epochs after the first cost, by image."""
        if len(self._marks) < 2:
            raise SystemExit("at least two epochs are needed: the first one is not counted")
        walls = [mark[0] for mark in self._marks]
        seconds = [after - before for before, after in itertools.pairwise(walls)]
        cpu, faults = (self._marks[-1][column] - self._marks[0][column] for column in (1, 2))
        counted = n_images * len(seconds)
        return {
            "images_per_s": n_images / statistics.median(seconds),
            "cpu_s_per_image": cpu / counted,
            "images_per_cpu_s": counted / cpu,
            "faults_per_image": faults / counted,
        }


def _now() -> tuple[float, float, int]:
    """Wall clock [s], processor time of this process [s], page faults."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter(), usage.ru_utime + usage.ru_stime, usage.ru_minflt


def psnr(task: Task, shown: Callable[[np.ndarray], np.ndarray]) -> float:
    """Mean over test images of their peak signal-to-noise ratio [dB], greys from 0 to 1."""
    images, found = images_of(task.test), []
    for start in range(0, len(images), _TEST_BATCH):
        x = images[start : start + _TEST_BATCH]
        x_hat = shown(x)
        assert x_hat.shape == x.shape
        errors = np.square(x_hat.astype(np.float64) - x).mean(axis=(1, 2, 3))
        found += (-10 * np.log10(np.maximum(errors, 1e-12))).tolist()
    return float(np.mean(found))


def test_loss(task: Task, passed: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray, np.ndarray]]) -> float:
    """Cross-entropy summed over pixels plus KL divergence, at z = posterior mean [mean nats per test image].

    Args:
        task: It names the test images.
        passed: From images (b, 1, h, w) to logits (b, 1, h, w), mean (b, d) and log_var (b, d), all float32.
    """
    images, total = images_of(task.test), 0.0
    for start in range(0, len(images), _TEST_BATCH):
        x = images[start : start + _TEST_BATCH].astype(np.float64)
        logits, mean, log_var = (values.astype(np.float64) for values in passed(x.astype(np.float32)))
        assert logits.shape == x.shape and mean.shape == log_var.shape == (len(x), task.latent_dim)
        total += (np.maximum(logits, 0) - logits * x + np.log1p(np.exp(-np.abs(logits)))).sum()
        total += 0.5 * (mean**2 + np.exp(log_var) - 1 - log_var).sum()
    return float(total / len(images))


def report(
    task: Task,
    clock: Clock,
    *,
    loss: float,
    threads: int,
    parameters: int,
    libraries: list[str],
    more: dict[str, str | int] | None = None,
) -> None:
    """Print the result as the last line.

    Args:
        task: As it was given.
        clock: With all epochs.
        loss: Of the test images [nats per image].
        threads: As the library says.
        parameters: Number of trained values.
        libraries: Packages whose versions go on record.
        more: What else is worth recording.
    """
    numbers = clock.numbers(len(np.load(task.train, mmap_mode="r")))
    about = {"threads": threads, "parameters": parameters, "versions": {name: version(name) for name in libraries}}
    found = {**numbers, "test_loss": loss, "quality": clock.quality, **about, **(more or {})}
    print("\n" + json.dumps(found), flush=True)
