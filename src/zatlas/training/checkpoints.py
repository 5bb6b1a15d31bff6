"""Checkpoints of a training: a folder with weights, optimizer state and a JSON record, renamed into place whole.

    checkpoints/step-00001200/weights.safetensors, optimizer.safetensors, state.json

optimizer.safetensors also holds the running mean of the weights. state.json carries the sha256 of the two others, so
that a damaged checkpoint is noticed and the one before it is used. The last two are kept. The best weights so far live
outside, in the run's weights.safetensors.
"""

import json
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import safetensors
import safetensors.torch
from torch import Tensor

from zatlas import files
from zatlas.errors import ZatlasError
from zatlas.model.network import Network, load_weights
from zatlas.training.weights import Weights

__all__ = ["load_newest", "save"]

log = logging.getLogger(__name__)

_KEPT = 2


@runtime_checkable
class Part(Protocol):
    """What a checkpoint holds beside the weights, as tensors with names of their own."""

    def tensors(self) -> dict[str, Tensor]:
        """The state."""

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """The inverse; `tensors` may hold those of others too."""


def save(folder: Path, network: Network, parts: Sequence[Part], state: dict[str, Any]) -> Path:
    """Write checkpoint `step-XXXXXXXX` (from `state["step"]`) into `folder` and remove all but the last two.

    Raises:
        WriteError: the disk is full or cannot be written; older checkpoints are untouched.
    """
    files.make_folder(folder)
    path = folder / f"step-{state['step']:08d}"
    with files.new_folder(path) as temporary:
        values, moments = temporary / "weights.safetensors", temporary / "optimizer.safetensors"
        network.save_weights(values)
        safetensors.torch.save_file({k: v for part in parts for k, v in part.tensors().items()}, moments)
        record = {**state, "sha256": {file.name: files.sha256(file) for file in (values, moments)}}
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        (temporary / "state.json").write_text(text, encoding="utf-8")
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def load_newest(
    folder: Path, network: Network, weights: Weights, parts: Sequence[Part], check: Callable[[dict[str, Any]], None]
) -> dict[str, Any] | None:
    """Load the newest intact checkpoint into network and parts.

    Args:
        folder: With the checkpoints, or not there yet.
        network: Is filled with the weights.
        weights: Its parameters.
        parts: Are filled with the rest.
        check: Called with the record before anything is changed; may refuse it by an error.

    Returns:
        The record; None when there is no intact checkpoint.
    """
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            record: dict[str, Any] = files.read_json(path / "state.json")
            for name, expected in record["sha256"].items():
                if not (path / name).is_file() or files.sha256(path / name) != expected:
                    raise KeyError(name)
        except (ZatlasError, KeyError, TypeError) as err:
            log.warning("checkpoint %s is damaged (%s) and is left out", path.name, str(err).splitlines()[0])
            continue
        check(record)
        load_weights(network, path / "weights.safetensors")
        weights.renew()
        tensors = safetensors.torch.load_file(path / "optimizer.safetensors")
        for part in parts:
            part.fill(tensors)
        return record
    return None
