"""How zatlas computes on a processor: cores at hand, one thread per operator, pools, shards.

Parallelism comes from shards: pieces of a fixed number of rows, each computed by one thread of a small pool whose
operators use one thread each. So a result has the same bits on any number of cores, and a busy neighbour costs its
share of a core and no more (measured in speed.md).

How many threads torch and the linear algebra use is a setting of the whole process. The two context managers here count
who is inside, whichever thread that is: the first one in sets it, the last one out restores it. A notebook that encodes
beside a training therefore neither slows the process for ever nor changes a bit of either.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import threadpoolctl
import torch
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "SHARD_IMAGES",
    "cores",
    "in_shards",
    "one_thread",
    "one_thread_per_operator",
    "operator_pool",
    "pool_of",
    "shard_images",
    "shards_of",
]

SHARD_IMAGES = 16
"""Rows of a shard outside training: 8 or 16 images encode 1.1 to 1.4 times as fast as 64, because their activations
fit the cache (speed.md)."""

_LEAST_IMAGES = 8  # in a shard of training: fewer make convolutions slow
_SMALL_PX = 64

Result = TypeVar("Result")


def cores() -> tuple[int, str]:
    """How many cores this process may use, and why; OMP_NUM_THREADS and the limit of a container are heeded."""
    n = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and 1 <= int(limit) < n:
        return int(limit), f"OMP_NUM_THREADS is {limit}"
    quota = _container_quota()
    if quota and quota < n:
        return quota, f"this container may use {quota} of {n} cores"
    return n, "one core is at hand" if n == 1 else f"{n} cores are at hand"


def _container_quota() -> int:
    """Whole cores that the control group grants this process; 0 without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return 0 if quota == "max" else max(1, int(quota) // int(period))


class _OperatorThreads:
    """Who is inside `one_thread_per_operator`, and how many threads operators had before the first came.

    torch keeps the number twice: for the process, and for each thread that has used it. A thread that leaves while
    others are inside must leave both at one, so it notes what its own number was and takes that for granted next time.
    """

    def __init__(self) -> None:
        self.lock, self.inside, self.outside = threading.Lock(), 0, 1
        self.own = threading.local()

    def enter(self) -> int:
        with self.lock:
            before: int = getattr(self.own, "left_at_one_instead_of", 0) or torch.get_num_threads()
            if self.inside and before == 1:  # a thread that came to life meanwhile knows no other number
                before = self.outside
            if not self.inside:
                self.outside = before
            self.inside += 1
            torch.set_num_threads(1)
            return before

    def leave(self, before: int) -> None:
        with self.lock:
            self.inside -= 1
            self.own.left_at_one_instead_of = before if self.inside else 0
            if not self.inside:
                torch.set_num_threads(before)


_operator_threads = _OperatorThreads()


@contextlib.contextmanager
def one_thread_per_operator() -> Iterator[None]:
    """Within the block torch's operators use one thread each; the former number is restored after it.

    Several threads inside one operator wait for each other at its end, which a busy neighbour turns into a standstill
    (speed.md). Safe in several threads at once: operators stay at one thread until the last block has ended.
    """
    before = _operator_threads.enter()
    try:
        yield
    finally:
        _operator_threads.leave(before)


class _LibraryThreads:
    """The same for linear algebra outside torch (BLAS), whose number is the process's alone.

    threadpoolctl lets one thread change it at a time and overlooks the others, which would leave the second one inside
    with many threads when the first one leaves. The turn is therefore given up after each change.
    """

    def __init__(self) -> None:
        self.lock, self.inside = threading.Lock(), 0
        self.limiter: Any = None

    def enter(self) -> None:
        with self.lock:
            if not self.inside:
                _give_up_turn()
                self.limiter = _thread_controllers()[0].limit(limits=1)
                _give_up_turn()
            self.inside += 1

    def leave(self) -> None:
        with self.lock:
            self.inside -= 1
            if not self.inside:
                _give_up_turn()
                self.limiter.restore_original_limits()
                _give_up_turn()


def _give_up_turn() -> None:
    """Let any thread change the number of threads of OpenBLAS; before threadpoolctl 3.8 any thread may."""
    give_up = getattr(getattr(threadpoolctl, "OpenBLASController", None), "clear_controlling_thread", None)
    if give_up is not None:
        give_up()


_library_threads = _LibraryThreads()


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run numerical libraries on one thread, in bounded memory: the same numbers however many cores there are.

    Safe in several threads at once, as `one_thread_per_operator` is.
    """
    import sklearn  # a second of import, which training does without

    _library_threads.enter()
    try:
        # OpenMP has a number for each thread, scikit-learn a configuration for each: these need no counting.
        with _thread_controllers()[1].limit(limits=1), sklearn.config_context(working_memory=128):
            yield
    finally:
        _library_threads.leave()


@functools.lru_cache(maxsize=1)
def _thread_controllers() -> tuple[threadpoolctl.ThreadpoolController, threadpoolctl.ThreadpoolController]:
    """Of BLAS and of OpenMP; found once: looking through the loaded libraries takes 8 ms, as long as k-means itself."""
    found = threadpoolctl.ThreadpoolController()
    return found.select(user_api="blas"), found.select(user_api="openmp")


def pool_of(threads: int) -> ThreadPoolExecutor:
    """Threads that compute shards, with one thread per operator in each."""
    return ThreadPoolExecutor(threads, "shard", initializer=torch.set_num_threads, initargs=(1,))


@contextlib.contextmanager
def operator_pool() -> Iterator[ThreadPoolExecutor]:
    """A thread for each core at hand, with one thread per operator in each."""
    with one_thread_per_operator(), pool_of(cores()[0]) as pool:
        yield pool


def shard_images(batch_size: int, size_px: int) -> int:
    """Images in each shard of a batch, whatever the machine: a quarter of the batch, but 8 to 16; of images of at most
    64 px half of it, but 8 to 32.

    Fewer make convolutions slow, more gain nothing, and a batch of 16 still occupies two cores (speed.md).

    Example:
        >>> [shard_images(n, 128) for n in (16, 48, 64, 256)], [shard_images(n, 64) for n in (16, 48, 64, 256)]
        ([8, 12, 16, 16], [8, 24, 32, 32])
    """
    shards, most = (2, 32) if size_px <= _SMALL_PX else (4, 16)
    return min(max(-(-batch_size // shards), _LEAST_IMAGES), most)


def in_shards(compute: Callable[..., Result], rows: Float[Tensor, "n ..."], *more: Tensor) -> list[Result]:
    """compute(part) for every 16 rows, in order, several parts at a time; without gradients. Of `more` it gets the same
    rows.

    A single part is computed with one thread, too: two threads inside the operators wait for each other, which took
    84 ms for one latent beside a busy program, where one thread took 1.3 ms (speed.md).
    """
    parts = shards_of(rows)
    if len(parts) == 1:
        with one_thread_per_operator():
            return [_without_gradients(compute, rows, *more)]
    with operator_pool() as pool:
        return list(pool.map(partial(_without_gradients, compute), parts, *map(shards_of, more)))


def _without_gradients(compute: Callable[..., Result], *parts: Tensor) -> Result:
    with torch.inference_mode():
        return compute(*parts)


def shards_of(rows: Float[Tensor, "n ..."]) -> list[Tensor]:
    """The rows in pieces of 16; one empty piece when there are none."""
    return [rows[start : start + SHARD_IMAGES] for start in range(0, max(len(rows), 1), SHARD_IMAGES)]
