"""Each likelihood of zatlas goes all the way: training, embedding, results, saving, the decoder in the browser."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zatlas as za
from zatlas.config import AtlasConfig, StudyConfig, TrainConfig
from zatlas.errors import UsageError
from zatlas.explorer.bundle.onnx_export import export_decoder
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.likelihoods import LIKELIHOODS
from zatlas.results.analysis import analyse_model
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling

TRAIN = TrainConfig(epochs=2, batch_size=16, learning_rate=3e-3, threads=1, precision="float32")


def discs(n, seed, channels, dtype=np.uint8):
    """Images (n, channels, 16, 16) of one disc each, of counts with noise."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    centre, radius = rng.uniform(5, 11, (n, 2, 1, 1)), rng.uniform(2, 4, (n, 1, 1))
    bright = 30 + 120 / (1 + np.exp(np.hypot(y - centre[:, 0], x - centre[:, 1]) - radius))
    return rng.poisson(np.repeat(bright[:, None], channels, axis=1)).clip(0, 255).astype(dtype)


def tiles_of(n, seed, sampler="grid", channels=2, dtype=np.uint8):
    table = pd.DataFrame({"image": [f"img{i:03d}" for i in range(n)], "group": ""})
    table = table.assign(height=16, width=16, channels=channels, dtype=np.dtype(dtype).name)
    images = Collection(table=table, sources=tuple(map(ArraySource, discs(n, seed, channels, dtype))), path=Path("x"))
    return Tiles(images, size=16, sampler=sampler, scaling=Scaling("minmax", 2.0, 200.0))


@pytest.mark.parametrize("name", sorted(LIKELIHOODS))
def test_each_likelihood_goes_all_the_way(tmp_path, name):
    vae = za.VAE(2, likelihood=name, widths=(4, 8))
    vae.fit(tiles_of(40, 1, "whole"), validation=tiles_of(16, 2), train=TRAIN, run=tmp_path / "run")
    objective = vae.history["validation_objective_nats"]
    assert objective.iloc[-1] < objective.iloc[0]
    tiles = {"train": tiles_of(24, 1), "test": tiles_of(12, 3), "atlas": tiles_of(20, 4)}
    atlas = vae.embed(tiles["atlas"], table_extra=pd.DataFrame({"split": ["train"] * 12 + ["test"] * 8}))
    config = StudyConfig(model=vae.model, atlas=AtlasConfig(clusters=2, points=2, samples=4, examples=2))
    results = analyse_model(vae.network, vae.scaling, atlas, tiles, config, seed=0)
    assert results.likelihood == name
    assert np.isfinite(results.metrics.to_numpy()).all()
    assert 0 < results.effective_beta < 1e4
    again = za.load(tmp_path / "run")
    assert all(torch.equal(one, again.network.state_dict()[key]) for key, one in vae.network.state_dict().items())
    x = discs(4, 5, 2)
    np.testing.assert_array_equal(again.reconstruct(x), vae.reconstruct(x))
    assert vae.reconstruct(x).shape == x.shape
    made = export_decoder(vae.network, atlas.mean[:4], (0.0, 1.0))
    assert made.max_abs_difference < 1e-4


@pytest.mark.parametrize("name", ["gaussian_per_pixel", "discretised_logistic", "poisson", "continuous_bernoulli"])
def test_bfloat16_networks_have_losses_in_float32(tmp_path, name):
    train = TrainConfig(epochs=1, batch_size=16, threads=1, precision="bfloat16")
    vae = za.VAE(2, likelihood=name, widths=(4, 8)).fit(
        tiles_of(20, 1, "whole"), validation=tiles_of(8, 2), train=train, run=tmp_path / "run"
    )
    assert np.isfinite(vae.history["validation_elbo_nats"]).all()


def test_the_grey_scale_of_the_tiles_reaches_the_likelihood(tmp_path):
    vae = za.VAE(2, likelihood="discretised_logistic", widths=(4, 8)).fit(
        tiles_of(20, 1, "whole"), validation=tiles_of(8, 2), epochs=1, run=tmp_path / "run"
    )
    made = vae.network.likelihood
    assert [float(made.get_buffer(one)) for one in ("offset", "factor", "lowest", "highest")] == [2, 200, 2, 202]
    per_channel = za.VAE(2, likelihood="gaussian_per_channel", widths=(4, 8)).fit(
        tiles_of(20, 1, "whole"), validation=tiles_of(8, 2), epochs=1, run=tmp_path / "other"
    )
    assert per_channel.network.log_noise_var.shape == (2,)


def test_images_of_fractions_are_refused_by_likelihoods_of_whole_numbers(tmp_path):
    for name in ("discretised_logistic", "poisson"):
        with pytest.raises(UsageError, match="is one of whole numbers"):
            za.VAE(2, likelihood=name, widths=(4, 8)).fit(
                tiles_of(20, 1, "whole", dtype=np.float32), validation=tiles_of(8, 2), run=tmp_path / name
            )
