"""A stand-in for `zatlas.tiles.loader.Tiles` that holds its images in memory, and a small training on it.

Run as a script it trains in the folder given, printing a line after each step, so that a test can kill it at a chosen
moment: `python memory_tiles.py RUN LIKELIHOOD THREADS`.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from zatlas.config import TrainConfig
from zatlas.model.network import NetworkConfig, build
from zatlas.training.fit import fit


@dataclass(frozen=True)
class MemoryBatch:
    x: torch.Tensor
    mask: torch.Tensor
    rows: np.ndarray


class MemoryImages:
    def __init__(self, n):
        self.table = pd.DataFrame({"image": [f"img{i:03d}" for i in range(n)]})

    def __len__(self):
        return len(self.table)


class MemoryTiles:
    """Whole images, shuffled anew each epoch when `seed` is not None."""

    def __init__(self, x, seed=None):
        self.x, self.seed, self.images = x, seed, MemoryImages(len(x))
        self.channels, self.size = x.shape[1], x.shape[2]

    def epoch_length(self, epoch):
        return len(self.x)

    def batches(self, epoch, batch_size, start=0):
        order = np.arange(len(self.x))
        if self.seed is not None:
            order = np.random.default_rng([self.seed, epoch]).permutation(len(self.x))
        for begin in range(start, len(order), batch_size):
            rows = order[begin : begin + batch_size]
            x = torch.from_numpy(self.x[rows])
            yield MemoryBatch(x, torch.ones(len(x), 1, *x.shape[2:]), rows)


def blobs(n, seed):
    """Images (n, 1, 16, 16) of one soft disc each; position, size and brightness vary."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    centre, radius = rng.uniform(4, 12, (n, 2, 1, 1)), rng.uniform(2, 4, (n, 1, 1))
    brightness = rng.uniform(0.5, 1, (n, 1, 1))
    distance = np.hypot(y - centre[:, 0], x - centre[:, 1])
    return (brightness / (1 + np.exp(distance - radius)))[:, None].astype(np.float32)


def train(run, *, likelihood="gaussian", on_step=None, stop_requested=None, x=None, seed=0, **options):
    config = NetworkConfig(
        latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample",
        likelihood=likelihood,
    )  # fmt: skip
    network = build(config, seed=seed)
    defaults = {"epochs": 4, "batch_size": 40, "learning_rate": 3e-3, "kl_warmup_epochs": 1.0, "threads": 1}
    settings = TrainConfig(**{**defaults, **options})
    training, validation, test = (
        MemoryTiles(blobs(100, seed=1) if x is None else x, seed=seed),
        MemoryTiles(blobs(30, seed=2)),
        MemoryTiles(blobs(30, seed=3)),
    )
    history = fit(
        network, training, validation=validation, test=test, config=settings, beta=1.0, seed=seed, run=Path(run),
        on_step=on_step, stop_requested=stop_requested,
    )  # fmt: skip
    return network, history


if __name__ == "__main__":
    train(
        sys.argv[1],
        likelihood=sys.argv[2],
        threads=int(sys.argv[3]),
        checkpoint_minutes=1e-9,
        on_step=lambda step: print(step.step, flush=True),
    )
