"""Checkpoints of a training: a folder with weights, optimizer state and a JSON record, renamed into place whole.

    checkpoints/step-00001200/weights.safetensors, optimizer.safetensors, state.json

state.json carries the sha256 of the two others, so that a damaged checkpoint is noticed and the one before it is used.
The last two are kept. The best weights so far live outside, in the run's weights.safetensors.
"""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from zatlas import runs
from zatlas.errors import ZatlasError
from zatlas.model.network import Network, load_weights

__all__ = ["load_newest", "save"]

log = logging.getLogger(__name__)

_KEPT = 2


def save(folder: Path, network: Network, optimizer: torch.optim.Optimizer, state: dict[str, Any]) -> Path:
    """Write checkpoint `step-XXXXXXXX` (from `state["step"]`) into `folder` and remove all but the last two.

    Raises:
        WriteError: the disk is full or cannot be written; older checkpoints are untouched.
    """
    runs.make_folder(folder)
    path = folder / f"step-{state['step']:08d}"
    with runs.new_folder(path) as temporary:
        weights, moments = temporary / "weights.safetensors", temporary / "optimizer.safetensors"
        network.save_weights(weights)
        safetensors.torch.save_file(_optimizer_tensors(network, optimizer), moments)
        record = {**state, "sha256": {file.name: runs.sha256(file) for file in (weights, moments)}}
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        (temporary / "state.json").write_text(text, encoding="utf-8")
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def load_newest(folder: Path, network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Any] | None:
    """Load the newest intact checkpoint into network and optimizer; returns its record, None when there is none."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            record: dict[str, Any] = runs.read_json(path / "state.json")
            for name, expected in record["sha256"].items():
                if not (path / name).is_file() or runs.sha256(path / name) != expected:
                    raise KeyError(name)
        except (ZatlasError, KeyError, TypeError) as err:
            log.warning("checkpoint %s is damaged (%s) and is left out", path.name, str(err).splitlines()[0])
            continue
        load_weights(network, path / "weights.safetensors")
        _fill_optimizer(network, optimizer, safetensors.torch.load_file(path / "optimizer.safetensors"))
        return record
    return None


def _optimizer_tensors(network: Network, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Adam's state as flat tensors named `PARAMETER:exp_avg`; clones, because safetensors refuses shared memory."""
    return {
        f"{name}:{key}": value.detach().clone(memory_format=torch.contiguous_format)
        for name, parameter in network.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def _fill_optimizer(network: Network, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """The inverse of `_optimizer_tensors`; moments get the memory layout of their parameter, as Adam makes them."""
    for name, parameter in network.named_parameters():
        for key in ("exp_avg", "exp_avg_sq", "step"):
            value = tensors.get(f"{name}:{key}")
            if value is not None:
                own = value if key == "step" else torch.empty_like(parameter, requires_grad=False).copy_(value)
                optimizer.state[parameter][key] = own
