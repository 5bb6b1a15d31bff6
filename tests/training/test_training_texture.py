"""Training with local latents: bits on any number of threads, after a stop, and what the history tells."""

import json

import pytest
import torch
from tiny_training import blobs, tiles_of

from zatlas.config import TrainConfig
from zatlas.files import read_json
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.training.evaluation import evaluation
from zatlas.training.shards import Shards, keyed_noise
from zatlas.vae import VAE, load


def trained(run, threads=1, stop_after=0, texture="matched"):
    """Three epochs of a small network; with `stop_after` in two goes."""
    vae = VAE(3, texture=texture, widths=(4, 6, 8), seed=1)
    steps = iter(range(1, 10_000))
    vae.fit(
        tiles_of(blobs(48, 0)),
        validation=tiles_of(blobs(16, 1)),
        train=TrainConfig(epochs=3, batch_size=16, threads=threads, checkpoint_minutes=1e-9),
        run=run,
        stop_requested=lambda: next(steps) == stop_after,
    )
    return (run / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("one") / "run")


@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_hang_on_the_number_of_threads(tmp_path, once, threads):
    assert trained(tmp_path / "run", threads) == once


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, once):
    trained(tmp_path / "run", stop_after=5)
    assert trained(tmp_path / "run") == once


def test_an_evaluation_gives_the_mean_rate_of_each_map():
    network = build(NetworkConfig(latent_dim=3, channels=1, size=16, widths=(4, 6, 8), texture="local"), seed=0)
    with torch.no_grad():
        network.local.blocks[0].posterior[-1].bias.fill_(0.7)
    tiles = tiles_of(blobs(10, 0))
    with Shards(network) as shards:
        numbers = evaluation(shards, tiles, seed=0).numbers
    noise = keyed_noise(10, network.n_noise, seed=0, stream="evaluation noise", index=0)
    found = network.passed(torch.from_numpy(blobs(10, 0)), noise)
    assert numbers["rate_4px_nats"] == pytest.approx(found.local_rates.mean().item(), rel=1e-4)
    of_z = network.prior.rate(found.posterior, found.z).mean().item()
    assert numbers["rate_nats"] == pytest.approx(of_z + numbers["rate_4px_nats"], rel=1e-4)


def test_history_model_and_atlas_tell_the_rates(tmp_path):
    trained(tmp_path / "run")
    vae = load(tmp_path / "run")
    row = vae.history.iloc[-1]
    assert 0 < row["validation_rate_4px_nats"] < row["validation_rate_nats"]
    x = torch.from_numpy(blobs(4, 2)).numpy()
    assert vae.reconstruct(x).shape == x.shape
    atlas = vae.embed(tiles_of(blobs(8, 2)))
    local, rate = atlas.table["local_rate_nats"], atlas.table["rate_nats"]
    assert ((local >= 0) & (local < rate)).all()
    refined = vae.embed(tiles_of(blobs(8, 2)), refine=5).table
    loss = (atlas.table["distortion_nats"] + rate).mean()
    assert (refined["distortion_nats"] + refined["rate_nats"]).mean() < loss + 1


def test_statistics_are_measured_on_training_images_and_lie_with_the_weights(tmp_path):
    trained(tmp_path / "run")
    network = load(tmp_path / "run").network
    scale = network.statistics.get_buffer("scale").clone()
    network.statistics.measure(torch.from_numpy(blobs(48, 0)))
    torch.testing.assert_close(network.statistics.get_buffer("scale"), scale)
    trained(tmp_path / "local", texture="local")
    assert load(tmp_path / "local").network.statistics is None


def test_draws_are_matched_last_and_epochs_before_are_no_candidates(tmp_path, monkeypatch):
    strengths = []
    monkeypatch.setattr(VAE, "_new_network", _listening(VAE._new_network, strengths))
    trained(tmp_path / "run")
    assert strengths[:5] == [0] * 5  # 3 epochs of 3 steps
    assert 0 < strengths[6] < strengths[7] == strengths[8] == 1
    facts = json.loads((tmp_path / "run" / "training.json").read_text())
    assert facts["best_epoch"] == 3


def _listening(new_network, strengths):
    """Notes how strongly draws are matched in each step."""

    def made(self, shape):
        network = new_network(self, shape)
        told = network.statistics.train_at

        def listening(share_done):
            told(share_done)
            strengths.append(network.statistics.strength)

        network.statistics.train_at = listening
        return network

    return made


def test_the_history_tells_the_rates_that_the_kept_weights_have(tmp_path):
    """Several batches, the last one smaller; the average of the weights; two maps of different rates."""
    x = blobs(150, 1)
    vae = VAE(3, texture="local", decoder="transposed", widths=(4, 6, 8), seed=1)
    vae.fit(
        tiles_of(blobs(48, 0)),
        validation=tiles_of(x),
        train=TrainConfig(epochs=2, batch_size=16, ema_decay=0.9, threads=2),
        run=tmp_path / "run",
    )
    kept = load(tmp_path / "run")
    best = read_json(tmp_path / "run" / "training.json")["best_epoch"]
    row = kept.history.set_index("epoch").loc[best]
    network, sums, of_z = kept.network, torch.zeros(2), 0.0
    for index, part in enumerate(torch.from_numpy(x).split(64)):
        noise = keyed_noise(len(part), network.n_noise, seed=1, stream="evaluation noise", index=index)
        found = network.passed(part, noise)
        sums += found.local_rates.sum(dim=0)
        of_z += network.prior.rate(found.posterior, found.z).sum().item() / len(x)
    told = [row[f"validation_rate_{side}px_nats"] for side in (4, 8)]
    assert told == pytest.approx((sums / len(x)).tolist(), rel=1e-3)
    assert row["validation_rate_nats"] - sum(told) == pytest.approx(of_z, rel=1e-3)
