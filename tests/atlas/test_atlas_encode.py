"""Encoding: means and numbers against the formulas computed here, padding left out, any batch size."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from zatlas.atlas.encode import encode
from zatlas.compute import in_shards
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.building import build
from zatlas.model.likelihoods import likelihood
from zatlas.model.network import Network, NetworkConfig, Shape
from zatlas.model.own import _Decode, _Encode
from zatlas.model.priors import StandardNormal
from zatlas.tiles.greys import grey_limits
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling

SIDE = 16


def collection(images, **labels):
    sources = tuple(ArraySource(image) for image in images)
    table = pd.DataFrame({
        "image": [f"{row:05d}" for row in range(len(images))],
        "group": [f"P{row % 2}" for row in range(len(images))],
        "height": [image.shape[1] for image in images],
        "width": [image.shape[2] for image in images],
        "channels": [image.shape[0] for image in images],
        "dtype": [str(image.dtype) for image in images],
        **labels,
    })  # fmt: skip
    return Collection(table=table, sources=sources, path=Path("phantom.npz"))


def images(n=9, side=SIDE, seed=0, dtype=np.uint8):
    rng = np.random.default_rng(seed)
    return [rng.integers(20, 230, size=(1, side, side)).astype(dtype) for _ in range(n)]


def grid(collected, **settings):
    return Tiles(collected, **{"size": SIDE, "sampler": "grid", **settings})


@pytest.fixture(params=["bernoulli", "gaussian"])
def network(request):
    config = NetworkConfig(
        latent_dim=3, channels=1, size=SIDE, widths=(4, 8), blocks=0, norm="none", decoder="transposed",
        likelihood=request.param,
    )  # fmt: skip
    network = build(config, seed=1)
    network.log_noise_var.fill_(-3.0)
    with torch.no_grad():
        network.encoder.to_posterior.weight.mul_(30)
    return network.eval()


def test_latents_and_numbers_are_those_of_the_formulas(network):
    tiles = grid(collection(images()))
    atlas = encode(network, tiles)
    x = torch.from_numpy(tiles.take(np.arange(9)))
    with torch.inference_mode():
        mean, log_var = network.encode(x)
        x_hat = network.x_hat(mean)
        params = network.decode(mean)
    np.testing.assert_allclose(atlas.mean, mean, atol=1e-5)
    np.testing.assert_allclose(atlas.log_var, log_var, atol=1e-5)
    posterior = torch.distributions.Normal(mean, (0.5 * log_var).exp())
    rate = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(dim=1)
    np.testing.assert_allclose(atlas.table["rate_nats"], rate, rtol=1e-4, atol=1e-4)
    if network.config.likelihood == "bernoulli":
        loss = torch.nn.functional.binary_cross_entropy_with_logits(params, x, reduction="none")
    else:
        loss = -torch.distributions.Normal(params, float(np.exp(-1.5))).log_prob(x)
    np.testing.assert_allclose(atlas.table["distortion_nats"], loss.sum(dim=(1, 2, 3)), rtol=1e-4)
    psnr = -10 * torch.log10((x_hat.clamp(0, 1) - x).square().mean(dim=(1, 2, 3)))
    np.testing.assert_allclose(atlas.table["psnr_db"], psnr, rtol=1e-4)
    assert atlas.mean.dtype == atlas.log_var.dtype == np.float32
    assert atlas.mean.std() > 0.01


def test_the_mean_is_used_never_a_sample(network):
    tiles = grid(collection(images()))
    state = torch.random.get_rng_state()
    first, second = encode(network, tiles), encode(network, tiles)
    np.testing.assert_array_equal(first.mean, second.mean)
    pd.testing.assert_frame_equal(first.table, second.table)
    assert torch.equal(state, torch.random.get_rng_state())


def test_batch_size_changes_nothing_and_progress_is_told(network):
    tiles, told = grid(collection(images(39))), []
    whole = encode(network, tiles)
    parts = encode(network, tiles, batch_size=4, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(16, 39), (32, 39), (39, 39)], "whole shards of 16"
    np.testing.assert_array_equal(whole.mean, parts.mean)
    np.testing.assert_array_equal(whole.table["distortion_nats"], parts.table["distortion_nats"])


def test_every_image_has_the_same_place_in_its_shard_with_any_batch_size():
    """Seen for log-variances of 3 latents with batches of 7: 1e-6 between two places of one image."""

    class PlaceTells(nn.Module):
        def encode(self, x):
            place = torch.arange(float(len(x)))[:, None].expand(-1, 3)
            return place, -place

        def decode(self, z):
            return torch.zeros(len(z), 1, SIDE, SIDE)

    shape = Shape(latent_dim=3, channels=1, size=SIDE)
    module = PlaceTells()
    network = Network(_Encode(module), _Decode(module), likelihood("gaussian"), StandardNormal(), shape)
    tiles = grid(collection(images(41)))
    for batch_size in (1, 7, 16, 17, 128):
        np.testing.assert_array_equal(encode(network, tiles, batch_size=batch_size).mean[:, 0], np.arange(41) % 16)


def test_padding_counts_in_no_number(network):
    small = [image[:, :10, :12].copy() for image in images(3)]
    tiles = grid(collection(small))
    atlas = encode(network, tiles)
    batch = tiles.batch(0, np.arange(3))
    assert batch.mask.mean() < 1
    with torch.inference_mode():
        x_hat = network.x_hat(network.encode(batch.x).mean)
    for row in range(3):
        real = batch.mask[row, 0].bool()
        mse = (x_hat[row, 0][real].clamp(0, 1) - batch.x[row, 0][real]).square().mean()
        assert atlas.table["psnr_db"][row] == pytest.approx(-10 * np.log10(float(mse)), rel=1e-4)


def test_the_table_says_where_each_tile_is_and_carries_the_labels(network):
    labels = {"age": [1.5, np.nan, 3], "diagnosis": ["a", np.nan, "b"]}
    tiles = grid(collection(images(3, side=40), **labels), stride=12)
    atlas = encode(network, tiles)
    table = atlas.table
    assert list(table.columns) == [
        "image", "image_row", "group", "y_px", "x_px", "size_px", "distortion_nats", "rate_nats", "psnr_db",
        "age", "diagnosis",
    ]  # fmt: skip
    assert len(table) == len(tiles) == 27
    assert table["image_row"].to_list() == np.repeat([0, 1, 2], 9).tolist()
    assert table["y_px"].to_list()[:9] == [0, 0, 0, 12, 12, 12, 24, 24, 24]
    assert (table["size_px"] == SIDE).all()
    assert atlas.groups == ("P0", "P1")
    assert atlas.labels == ("age", "diagnosis")
    assert table["diagnosis"].isna().sum() == 9
    part = encode(network, tiles.subset([20, 3]))
    pd.testing.assert_frame_equal(
        part.table[["image", "y_px", "x_px", "age"]],
        table[["image", "y_px", "x_px", "age"]].iloc[[20, 3]].reset_index(drop=True),
    )
    np.testing.assert_allclose(part.mean, atlas.mean[[20, 3]], atol=1e-6)


def test_further_columns_come_first_and_names_of_the_atlas_are_kept_free(network, caplog):
    tiles = grid(collection(images(4), age=[1, 2, 3, 4], cluster=["a", "b", "c", "d"]))
    extra = pd.DataFrame(
        {"split": ["train", "test"] * 2, "age": [9, 8, 7, 6], "site": list("wxyz")}, index=[5, 6, 7, 8]
    )
    atlas = encode(network, tiles, table_extra=extra)
    assert atlas.table["split"].to_list() == ["train", "test", "train", "test"]
    assert list(atlas.table.columns)[:4] == ["image", "image_row", "group", "split"]
    assert atlas.labels == ("age", "site", "label_cluster")
    assert atlas.table["age"].to_list() == [9, 8, 7, 6]
    assert "labels renamed" in caplog.text


def test_the_file_of_an_encoded_atlas_is_read_back_equal(network, tmp_path):
    atlas = encode(network, grid(collection(images(), age=np.arange(9.0), sex=["f", "m", np.nan] * 3)))
    again = type(atlas).load(atlas.save(tmp_path / "z3.h5ad"))
    pd.testing.assert_frame_equal(again.table, atlas.table)
    assert again.info == atlas.info == {"likelihood": network.config.likelihood, "size_px": SIDE}


def test_the_mode_of_the_network_is_put_back(network):
    tiles = grid(collection(images(2)))
    network.train()
    encode(network, tiles)
    assert network.training

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encode(network, tiles, on_progress=stop)
    assert network.training


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_the_peak_of_standardised_images(dtype):
    collected = collection(images(dtype=dtype))
    assert grey_limits(grid(collected)) == (0, 1)
    tiles = grid(collected, scaling=Scaling("standardise", 100.0, 50.0))
    pixels = np.stack([source.read() for source in collected.sources])
    low, high = (0, 255) if dtype == np.uint8 else (float(pixels.min()), float(pixels.max()))
    assert grey_limits(tiles) == pytest.approx(((low - 100) / 50, (high - 100) / 50))


def test_psnr_does_not_depend_on_the_grey_scale(network):
    collected = collection([np.full((1, SIDE, SIDE), 128, np.uint8)])
    if network.config.likelihood == "bernoulli":
        pytest.skip("bernoulli takes minmax only")
    with torch.no_grad():
        for parameter in network.decoder.parameters():
            parameter.zero_()
    values = []
    for scaling in (Scaling("minmax", 0.0, 255.0), Scaling("standardise", 0.0, 60.0)):
        values.append(encode(network, grid(collected, scaling=scaling)).table["psnr_db"][0])
    assert values == pytest.approx([-20 * np.log10(128 / 255)] * 2, rel=1e-5)


def test_what_cannot_be_encoded_is_refused(network):
    collected = collection(images(2))
    with pytest.raises(UsageError, match="an atlas needs grid tiles, found sampler whole"):
        encode(network, Tiles(collected, size=SIDE, sampler="whole"))
    with pytest.raises(UsageError, match="the tiles have 1 channels and 8 px, the network takes 1 and 16"):
        encode(network, grid(collected, size=8))
    with pytest.raises(UsageError, match="table_extra has 3 rows, expected one for each of the 2 tiles"):
        encode(network, grid(collected), table_extra=pd.DataFrame({"split": ["a"] * 3}))
    with pytest.raises(DataError, match="no tiles to encode"):
        encode(network, grid(collected).subset([]))
    with torch.no_grad():
        network.encoder.to_posterior.weight.fill_(torch.nan)
    with pytest.raises(DataError, match="not finite numbers\nhint: train the model again"):
        encode(network, grid(collected))


def test_neither_threads_nor_the_batch_size_move_a_bit(network):
    tiles = grid(collection(images(41)))
    before = torch.get_num_threads()
    found = {}
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            for batch_size in (1, 7, 16, 64):
                found[threads, batch_size] = encode(network, tiles, batch_size=batch_size)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    first = found[1, 64]
    for atlas in found.values():
        np.testing.assert_array_equal(atlas.mean, first.mean)
        np.testing.assert_array_equal(atlas.log_var, first.log_var)
        pd.testing.assert_frame_equal(atlas.table, first.table, check_exact=True)


def test_bfloat16_is_near_float32_and_said_in_the_atlas(network):
    tiles = grid(collection(images(20)))
    exact, fast = encode(network, tiles), encode(network, tiles, precision="bfloat16")
    difference = np.abs(fast.mean - exact.mean) / exact.mean.std(axis=0)
    assert 0 < difference.max() < 0.2
    assert fast.mean.dtype == np.float32
    assert fast.info["precision"] == "bfloat16"
    assert "precision" not in exact.info
    np.testing.assert_allclose(fast.table["distortion_nats"], exact.table["distortion_nats"], rtol=0.05)
    with pytest.raises(UsageError, match="unknown precision 'float16'\nhint: use float32 or bfloat16"):
        encode(network, tiles, precision="float16")


def test_shards_are_computed_in_order_and_without_gradients():
    rows = torch.arange(35.0)
    assert torch.equal(torch.cat(in_shards(lambda part: part + 1, rows)), rows + 1)
    assert [len(part) for part in in_shards(lambda part: part, rows)] == [16, 16, 3]
    assert not any(in_shards(lambda part: torch.is_grad_enabled(), rows))
    assert [len(part) for part in in_shards(lambda part: part, rows[:0])] == [0]
