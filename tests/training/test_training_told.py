"""Training with a covariate: bits on any number of threads, after a stop, and that z loses it."""

import copy
import dataclasses

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from tiny_training import blobs, tiles_of

from zatlas.atlas.refinement import refined_in_shards
from zatlas.config import TrainConfig
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.covariate import energy_distance, standardised, told_of
from zatlas.model.network import NetworkConfig
from zatlas.model.told import told_value
from zatlas.training.evaluation import evaluation
from zatlas.training.shards import Shards, keyed_noise
from zatlas.vae import VAE, load

BRAINS = ("B01", "B02")


def stained(n, seed, brains=BRAINS):
    """Discs on a ground whose grey is that of their brain."""
    names = np.array(brains)[np.arange(n) % len(brains)]
    x = 0.7 * blobs(n, seed) + 0.3 * (names == "B02").astype(np.float32)[:, None, None, None]
    tiles = tiles_of(x)
    table = tiles.images.table.assign(group=names)
    tiles.images = dataclasses.replace(tiles.images, table=table)
    return tiles


def trained(run, threads=1, stop_after=0, epochs=3, weight=1.0, n=48, checkpoint_minutes=1e-9):
    """A small network; with `stop_after` in two goes."""
    vae = VAE(3, covariate="group", covariate_weight=weight, widths=(4, 8), seed=1)
    steps = iter(range(1, 10_000))
    vae.fit(
        stained(n, 0),
        validation=stained(16, 1),
        train=TrainConfig(
            epochs=epochs, batch_size=32, threads=threads, checkpoint_minutes=checkpoint_minutes, precision="float32"
        ),
        run=run,
        stop_requested=lambda: next(steps) == stop_after,
    )
    return vae


def made():
    config = NetworkConfig(
        latent_dim=3, channels=1, size=16, widths=(4, 8), covariate="group", covariate_values=BRAINS,
        covariate_weight=2.0,
    )  # fmt: skip
    return build(config, seed=0)


def weights(run):
    return (run / "weights.safetensors").read_bytes()


@pytest.fixture(scope="module")
def once(tmp_path_factory):
    run = tmp_path_factory.mktemp("one") / "run"
    trained(run)
    return weights(run)


@pytest.mark.parametrize("threads", [2, 3])
def test_bits_do_not_hang_on_the_number_of_threads(tmp_path, once, threads):
    trained(tmp_path / "run", threads)
    assert weights(tmp_path / "run") == once


def test_a_training_that_was_stopped_ends_with_the_same_bits(tmp_path, once):
    trained(tmp_path / "run", stop_after=3)
    trained(tmp_path / "run")
    assert weights(tmp_path / "run") == once


def test_z_loses_the_covariate_and_the_decoder_gives_it_back(tmp_path):
    """Without the distance z says it, without the scales and shifts no image can be drawn as if from the other one."""
    tiles = stained(128, 2)
    x, names = tiles.take(np.arange(128)), np.arange(128) % 2
    read = {}
    for weight in (0.0, 3.0):
        vae = trained(tmp_path / str(weight), epochs=25, weight=weight, n=128, checkpoint_minutes=9.0)
        z = vae.encode(x).mean.numpy()
        z = (z - z.mean(axis=0)) / (z.std(axis=0) + 1e-6)
        read[weight] = LogisticRegression().fit(z[:64], names[:64]).score(z[64:], names[64:])
    assert read[0.0] > read[3.0] + 0.15
    ground = [vae.as_if(x, brain)[..., 0, 0].mean() for brain in BRAINS]
    assert ground[1] > ground[0] + 0.05


def gradients(network, tiles, told, weight):
    network = copy.deepcopy(network)
    object.__setattr__(network.config, "covariate_weight", weight)
    batch = tiles.batch(0, np.arange(len(tiles)))
    with Shards(network) as shards:
        noise = keyed_noise(len(batch.x), 3, seed=0, stream="training noise", index=0)
        found = shards.evaluate(batch.x, batch.mask, noise, rate_weight=1.0, told=told)
        return {name: view.clone() for name, view in shards.weights.views(found.gradients).items()}


def test_the_gradient_of_a_step_holds_that_of_the_distance_within_each_shard_and_of_what_is_told():
    network, tiles = made(), stained(32, 0)
    told = told_of(["B01", "B02"] * 16, BRAINS)
    with_it, without = gradients(network, tiles, told, 2.0), gradients(network, tiles, told, 0.0)
    parameters = dict(network.encoder.named_parameters())
    z = network.encode(torch.from_numpy(tiles.take(np.arange(32)))).mean
    distance = 0.5 * (
        energy_distance(standardised(z[:16]), told[:16]) + energy_distance(standardised(z[16:]), told[16:])
    )
    expected = torch.autograd.grad(2.0 * 16 * 16 * distance, list(parameters.values()), materialize_grads=True)
    for name, gradient in zip(parameters, expected, strict=True):
        found = with_it[f"encoder.{name}"] - without[f"encoder.{name}"]
        torch.testing.assert_close(found, gradient, rtol=1e-2, atol=1e-2)
    assert max(float(one.abs().max()) for one in expected) > 1
    of_unknown = gradients(network, tiles, told_of(["?"] * 32, BRAINS), 2.0)
    for name in (one for one in with_it if "tables" in one):
        assert (without[name][0] - without[name][1]).abs().max() > 1e-3  # each value learns from its own images
        torch.testing.assert_close(of_unknown[name][0], of_unknown[name][1])


def test_an_evaluation_tells_each_image_its_value_and_counts_what_z_says():
    network = made()
    tiles = stained(10, 0, ("B01", "B02", "B20"))
    with torch.no_grad():
        network.covariate.tables[-1][1] = torch.tensor([0.0, 0.4])
    with Shards(network) as shards:
        numbers = evaluation(shards, tiles, seed=0).numbers
        other = dataclasses.replace(tiles.images, table=tiles.images.table.assign(group="B20"))
        tiles.images = other
        as_unknown = evaluation(shards, tiles, seed=0).numbers
    x = torch.from_numpy(tiles.take(np.arange(10)))
    told = told_of([("B01", "B02", "B20")[i % 3] for i in range(10)], BRAINS)
    expected = 2.0 * 16 * 16 * energy_distance(standardised(network.encode(x).mean.detach()), told)
    assert numbers["covariate_nats"] == pytest.approx(float(expected), rel=1e-3)
    assert as_unknown["covariate_nats"] == pytest.approx(0, abs=1e-6)
    assert numbers["distortion_nats"] != pytest.approx(as_unknown["distortion_nats"], rel=1e-3)


def test_model_and_atlas_know_the_values(tmp_path):
    trained(tmp_path / "run")
    vae = load(tmp_path / "run")
    assert vae.covariate_values == BRAINS
    tiles = stained(40, 2)
    with torch.no_grad():
        vae.network.covariate.tables[-1][1] += torch.tensor([0.0, 0.4])
    table = vae.embed(tiles).table
    z = vae.encode(tiles.take(np.arange(40))).mean.numpy()
    for brain in BRAINS:
        rows = table["group"] == brain
        made = vae.decode(z[rows], covariate=brain)
        error = ((made.clip(0, 1) - tiles.take(np.flatnonzero(rows))) ** 2).mean(axis=(1, 2, 3))
        np.testing.assert_allclose(table["psnr_db"][rows], -10 * np.log10(error), atol=0.05)
    x = torch.from_numpy(tiles.take(np.flatnonzero(table["group"] == "B02")))
    expected = refined_in_shards(told_value(vae.network, "B02"), x, steps=3, beta=1.0)
    found = vae.embed(tiles, refine=3).mean[table["group"] == "B02"]
    np.testing.assert_allclose(found, expected.mean.numpy(), atol=1e-4)


def test_what_cannot_be_told_is_refused():
    with pytest.raises(UsageError, match="no column of these images"):
        VAE(3, covariate="brain", widths=(4, 8)).fit(stained(16, 0), validation=stained(16, 1), epochs=1)
    module = torch.nn.Linear(1, 1)
    module.encode = module.decode = module.forward
    with pytest.raises(UsageError, match="needs the network of zatlas"):
        VAE(3, covariate="group", network=module).fit(stained(16, 0), validation=stained(16, 1), epochs=1)
