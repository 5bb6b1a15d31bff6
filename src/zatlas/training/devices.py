"""Which processor, number format and threads a training uses: each choice with its reason.

The choices change speed, never draws or data; the number format alone changes digits, and a training keeps the one it
was begun with. Nothing here is decided silently: the reasons are logged once and stored in training.json.
`raise_allocator_thresholds` changes the whole process, so the command line calls it, and the Python API does when it is
asked to.
"""

import ctypes
import logging
import platform
import sys
from dataclasses import dataclass, field
from pathlib import Path

import torch

from zatlas.compute import cores, shard_images
from zatlas.config import TrainConfig
from zatlas.errors import UsageError
from zatlas.model.network import NetworkConfig, Shape
from zatlas.training import graphs
from zatlas.training.rehearsal import rehearse

__all__ = ["Devices", "choose", "raise_allocator_thresholds"]

log = logging.getLogger(__name__)

_BF16_FLAGS = ("avx512_bf16", "amx_bf16")
_LEAST_COSINE = 0.99  # between the gradients of one step in both formats
# Far below what is measured (1.6, and 0.9 for toy networks) and above broken kernels (0.25): noise must decide nothing,
# because the number format changes digits.
_LEAST_SPEEDUP = 0.4
# Parameters of mallopt(3) in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


@dataclass(frozen=True)
class Devices:
    """Where and how to compute: each choice, and why.

    Attributes:
        device: Name of the torch device.
        precision: "float32" or "bfloat16", the format of convolutions; losses and parameters are always float32.
        threads: Worker threads at most, each computing one shard of a batch at a time.
        is_threads_fixed: The number of threads was asked for by hand.
        reasons: Why, by attribute; also of what is never changed (memory format, compilation, allocator).
    """

    device: str
    precision: str
    threads: int
    is_threads_fixed: bool = False
    reasons: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, dict[str, str | int]]:
        """Each choice as {"value", "reason"}, for training.json."""
        chosen = {name: {"value": getattr(self, name), "reason": reason} for name, reason in self.reasons.items()}
        others = {"memory_format": _MEMORY_FORMAT, "compile": _COMPILE, "allocator": _allocator()}
        return {**chosen, **others, **({} if self.device == "cpu" else {"tf32": _tf32(), "cuda_graph": _cuda_graph()})}


_MEMORY_FORMAT: dict[str, str | int] = {
    "value": "channels_last", "reason": "convolutions are 1.3 times faster in it (speed.md)"
}  # fmt: skip
_COMPILE: dict[str, str | int] = {"value": "off", "reason": "torch.compile gained nothing in this loop (speed.md)"}


def _tf32() -> dict[str, str | int]:
    """Which float32 products torch rounds to TF32 on a CUDA device; nothing is changed, it is put on record."""
    allowed = {
        "convolutions": torch.backends.cudnn.allow_tf32,
        "matrix products": torch.backends.cuda.matmul.allow_tf32,
    }
    names = [name for name, is_allowed in allowed.items() if is_allowed]
    return {
        "value": f"in {' and '.join(names)}" if names else "off",
        "reason": "as torch is set: TF32 keeps 10 bits of float32's 23 and is several times as fast",
    }


def _cuda_graph() -> dict[str, str | int]:
    """Whether steps are replayed as CUDA graphs, where they can be."""
    if graphs.are_asked_for():
        return {"value": "on", "reason": "the environment asks for it"}
    return {"value": "off", "reason": "no device has shown what it gains; ZATLAS_CUDA_GRAPH=1 asks for it"}


def choose(config: TrainConfig, network: Shape, *, stored_precision: str = "") -> Devices:
    """Choose device, number format and threads.

    Args:
        config: What was asked for.
        network: What shall be trained; one that is not of zatlas (no NetworkConfig) computes in float32 unless asked.
        stored_precision: The number format that this training was begun with, if it was; it is kept.

    Raises:
        UsageError: the device that was asked for is not there.
    """
    device, device_reason = _choose_device(config.device)
    precision, precision_reason = _choose_precision(config, network, stored_precision, device)
    threads, threads_reason = _choose_threads(config.threads, config.batch_size, network.size, device)
    reasons = {"device": device_reason, "precision": precision_reason, "threads": threads_reason}
    chosen = Devices(device, precision, threads, bool(config.threads), reasons)
    for name, choice in chosen.to_dict().items():
        log.info("%s: %s (%s)", name.replace("_", " "), choice["value"], choice["reason"])
    return chosen


def _choose_device(asked: str) -> tuple[str, str]:
    if asked == "cuda" and not torch.cuda.is_available():
        raise UsageError("--device is cuda, but torch finds no CUDA device", hint="leave --device out")
    if asked != "auto":
        return asked, "as asked for"
    if torch.cuda.is_available():
        return "cpu", "a CUDA device is there and has not been measured; --device cuda uses it"
    return "cpu", "no CUDA device was found"


def _choose_threads(asked: int, batch_size: int, size_px: int, device: str) -> tuple[int, str]:
    if device != "cpu":
        return 1, "the device computes each batch in one piece"
    if asked:
        return asked, "as asked for"
    at_hand, reason = cores()
    shards = -(-batch_size // shard_images(batch_size, size_px))
    if shards < at_hand:
        return shards, f"{reason}, and a batch of {batch_size} images has {shards} shards"
    return at_hand, reason


def _choose_precision(config: TrainConfig, network: Shape, stored: str, device: str) -> tuple[str, str]:
    if stored:
        return stored, "this training was begun with it"
    if config.precision != "auto":
        return config.precision, "as asked for"
    if not isinstance(network, NetworkConfig):
        return "float32", "the network is one of your own"
    if network.texture != "off":
        return "float32", "local latents are computed in it"
    if device == "cuda":
        return _precision_of_cuda()
    flag = next((flag for flag in _BF16_FLAGS if flag in _processor_flags()), "")
    if not flag:
        return "float32", "no bfloat16 arithmetic was found in the processor"
    found = rehearse(network)
    if found.cosine < _LEAST_COSINE:
        return "float32", f"gradients in bfloat16 point elsewhere (cosine {found.cosine:.3f})"
    if config.deterministic:
        return "bfloat16", f"the processor computes in it ({flag})"
    if found.speedup < _LEAST_SPEEDUP:
        return "float32", f"steps in bfloat16 take {1 / found.speedup:.1f} times as long here"
    return "bfloat16", (
        f"the processor computes in it ({flag}); a trial step was {found.speedup:.1f} times as fast, "
        f"its gradient at a cosine of {found.cosine:.4f}"
    )


def _precision_of_cuda() -> tuple[str, str]:
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return "bfloat16", "the CUDA device computes in it; its speed and gradients were not tried"
    return "float32", "the CUDA device has no bfloat16 arithmetic"


def _processor_flags() -> set[str]:
    """Instruction sets of the processor, where the system tells them (Linux on x86)."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return set()
    return next((set(line.split(":", 1)[1].split()) for line in lines if line.startswith("flags")), set())


def raise_allocator_thresholds() -> str:
    """Let the allocator keep big blocks instead of giving them back to the kernel after each step.

    With glibc's defaults every step of a training faults its activations in again. One arena serves all threads,
    because the others are limited to 64 MB each and give larger blocks back at once: 393 923 page faults per step
    against none (speed.md). Changes the whole process.

    Returns:
        What was done, or why nothing was; training.json repeats it.
    """
    global _allocator_state
    _allocator_state = _raise_thresholds()
    return _allocator_state


_allocator_state = "as it is"


def _allocator() -> dict[str, str | int]:
    """The choice of the allocator as {"value", "reason"}."""
    if _allocator_state != "as it is":
        return {"value": _allocator_state, "reason": "faulting memory in again takes a third of each step (speed.md)"}
    reason = "it belongs to the whole process; VAE.fit(keep_freed_memory=True) raises its thresholds"
    return {"value": _allocator_state, "reason": reason}


def _raise_thresholds() -> str:
    if sys.platform != "linux" or platform.libc_ver()[0] != "glibc":
        return "left as it is (not glibc on Linux)"
    mallopt = ctypes.CDLL(None).mallopt
    kept = [
        mallopt(_M_MMAP_THRESHOLD, 1 << 30) or mallopt(_M_MMAP_THRESHOLD, 32 << 20),
        mallopt(_M_TRIM_THRESHOLD, 1 << 30),
        mallopt(_M_TOP_PAD, 64 << 20),
        mallopt(_M_ARENA_MAX, 1),
    ]
    return "keeps freed blocks" if all(kept) else "refused some of the raised thresholds"
