"""Which processor, number format and threads a training uses: each choice with its reason.

The choices change speed, never draws or data. Nothing here is decided silently: the reasons are logged once and stored
in training.json. `raise_allocator_thresholds` changes the whole process, so it is called by the command line and left
to the caller in the Python API.
"""

import ctypes
import logging
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

__all__ = ["Devices", "choose", "one_thread_per_operator", "raise_allocator_thresholds"]

log = logging.getLogger(__name__)

_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
# Parameters of mallopt(3) in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


@dataclass(frozen=True)
class Devices:
    """Where and how to compute.

    Attributes:
        device: Name of the torch device.
        precision: "float32" or "bfloat16", the format of convolutions; losses and parameters are always float32.
        threads: Worker threads, each computing one shard of a batch at a time.
        reasons: Why, by attribute.
    """

    device: str
    precision: str
    threads: int
    reasons: dict[str, str]

    def to_dict(self) -> dict[str, dict[str, str | int]]:
        """Each choice as {"value", "reason"}, for training.json."""
        return {name: {"value": getattr(self, name), "reason": reason} for name, reason in self.reasons.items()}


def choose(*, threads: int = 0, precision: str = "auto") -> Devices:
    """Choose device, number format and threads.

    Args:
        threads: As asked for; 0 takes as many as there are cores.
        precision: "auto", "float32" or "bfloat16".
    """
    n_threads, threads_reason = _choose_threads(threads)
    format_name, format_reason = _choose_precision(precision)
    reasons = {"device": "training runs on the processor", "precision": format_reason, "threads": threads_reason}
    chosen = Devices(device="cpu", precision=format_name, threads=n_threads, reasons=reasons)
    for name, reason in reasons.items():
        log.info("%s: %s (%s)", name, getattr(chosen, name), reason)
    return chosen


def _choose_threads(asked: int) -> tuple[int, str]:
    if asked:
        return asked, "as asked for"
    cores, reason = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1), ""
    limit = os.environ.get("OMP_NUM_THREADS", "")
    if limit.isdecimal() and 1 <= int(limit) < cores:
        return int(limit), f"OMP_NUM_THREADS is {limit}"
    quota = _container_quota()
    if quota and quota < cores:
        return quota, f"this container may use {quota} of {cores} cores"
    reason = "one core is at hand" if cores == 1 else f"{cores} cores are at hand"
    return cores, reason


def _container_quota() -> int:
    """Whole cores that the control group grants this process; 0 without a limit."""
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
    except (OSError, ValueError):
        return 0
    return 0 if quota == "max" else max(1, int(quota) // int(period))


def _choose_precision(asked: str) -> tuple[str, str]:
    if asked != "auto":
        return asked, "as asked for"
    flags = _processor_flags()
    for flag in _BF16_FLAGS:
        if flag in flags:
            return "bfloat16", f"the processor computes in bfloat16 ({flag})"
    return "float32", "no bfloat16 arithmetic was found in the processor"


def _processor_flags() -> set[str]:
    """Instruction sets of the processor, where the system tells them (Linux on x86)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())


@contextmanager
def one_thread_per_operator() -> Iterator[None]:
    """Within the block torch's operators use one thread each; the former number is restored after it.

    Several threads inside one operator wait for each other at its end, which a busy neighbour turns into a standstill
    (defaults.md). Parallelism comes from shards instead.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def raise_allocator_thresholds() -> str:
    """Let the allocator keep big blocks instead of giving them back to the kernel after each step.

    With glibc's defaults every step of a training faults its activations in again. One arena serves all threads,
    because the others are limited to 64 MB each and give larger blocks back at once: 393 923 page faults per step
    against none (defaults.md). Changes the whole process.

    Returns:
        What was done, or why nothing was.
    """
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "allocator left as it is (not glibc on Linux)"
    mallopt = ctypes.CDLL(None).mallopt
    kept = [
        mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 32 << 20),
        mallopt(_M_TRIM_THRESHOLD, 1 << 30),
        mallopt(_M_TOP_PAD, 64 << 20),
        mallopt(_M_ARENA_MAX, 1),
    ]
    return "allocator keeps freed blocks" if all(kept) else "allocator refused some of the raised thresholds"
