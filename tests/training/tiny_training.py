"""A small training on images made in memory.

Run as a script it trains in the folder given, printing a line after each step, so that a test can kill it at a chosen
moment: `python tiny_training.py RUN LIKELIHOOD THREADS`.
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd

from zatlas.config import TrainConfig
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling
from zatlas.training.fit import fit


def tiles_of(x, sampler="grid", seed=0, tiles_per_epoch=0):
    """Whole images (n, 1, h, w) of greys between 0 and 1 as tiles."""
    n, channels, height, width = x.shape
    columns = {"height": height, "width": width, "channels": channels, "dtype": str(x.dtype)}
    table = pd.DataFrame({"image": [f"img{i:03d}" for i in range(n)], "group": ""}).assign(**columns)
    images = Collection(table=table, sources=tuple(map(ArraySource, x)), path=Path("blobs"))
    scaling = Scaling("minmax", 0.0, 1.0)
    return Tiles(images, size=height, sampler=sampler, seed=seed, scaling=scaling, tiles_per_epoch=tiles_per_epoch)


def blobs(n, seed):
    """Images (n, 1, 16, 16) of one soft disc each; position, size and brightness vary."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    centre, radius = rng.uniform(4, 12, (n, 2, 1, 1)), rng.uniform(2, 4, (n, 1, 1))
    brightness = rng.uniform(0.5, 1, (n, 1, 1))
    distance = np.hypot(y - centre[:, 0], x - centre[:, 1])
    return (brightness / (1 + np.exp(distance - radius)))[:, None].astype(np.float32)


def train(
    run,
    *,
    likelihood="gaussian",
    on_step=None,
    stop_requested=None,
    x=None,
    seed=0,
    beta=1.0,
    tiles_per_epoch=0,
    sampler="whole",
    **options,
):
    config = NetworkConfig(
        latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample",
        likelihood=likelihood,
    )  # fmt: skip
    network = build(config, seed=seed)
    defaults = {"epochs": 4, "batch_size": 40, "learning_rate": 3e-3, "kl_warmup_epochs": 1.0, "threads": 1}
    settings = TrainConfig(**{**defaults, **options})
    x = blobs(100, seed=1) if x is None else x
    training = tiles_of(x, sampler=sampler, seed=seed, tiles_per_epoch=tiles_per_epoch)
    validation, test = tiles_of(blobs(30, seed=2)), tiles_of(blobs(30, seed=3))
    history = fit(
        network, training, validation=validation, test=test, config=settings, beta=beta, seed=seed, run=Path(run),
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
