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

from zatlas import files
from zatlas.errors import ZatlasError
from zatlas.model.network import Network, load_weights
from zatlas.training.optimizer import Optimizer
from zatlas.training.weights import Weights

__all__ = ["load_newest", "save"]

log = logging.getLogger(__name__)

_KEPT = 2


def save(folder: Path, network: Network, optimizer: Optimizer, state: dict[str, Any]) -> Path:
    """Write checkpoint `step-XXXXXXXX` (from `state["step"]`) into `folder` and remove all but the last two.

    Raises:
        WriteError: the disk is full or cannot be written; older checkpoints are untouched.
    """
    files.make_folder(folder)
    path = folder / f"step-{state['step']:08d}"
    with files.new_folder(path) as temporary:
        values, moments = temporary / "weights.safetensors", temporary / "optimizer.safetensors"
        network.save_weights(values)
        safetensors.torch.save_file(optimizer.tensors(), moments)
        record = {**state, "sha256": {file.name: files.sha256(file) for file in (values, moments)}}
        text = json.dumps(record, indent=1, sort_keys=True, allow_nan=False)
        (temporary / "state.json").write_text(text, encoding="utf-8")
    for old in sorted(folder.glob("step-*"))[:-_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
    return path


def load_newest(folder: Path, network: Network, weights: Weights, optimizer: Optimizer) -> dict[str, Any] | None:
    """Load the newest intact checkpoint into network and optimizer; returns its record, None when there is none."""
    for path in sorted(folder.glob("step-*"), reverse=True):
        try:
            record: dict[str, Any] = files.read_json(path / "state.json")
            for name, expected in record["sha256"].items():
                if not (path / name).is_file() or files.sha256(path / name) != expected:
                    raise KeyError(name)
        except (ZatlasError, KeyError, TypeError) as err:
            log.warning("checkpoint %s is damaged (%s) and is left out", path.name, str(err).splitlines()[0])
            continue
        load_weights(network, path / "weights.safetensors")
        weights.renew()
        optimizer.fill(safetensors.torch.load_file(path / "optimizer.safetensors"))
        return record
    return None
