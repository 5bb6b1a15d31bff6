"""A network with a linear path begins at PCA, exactly, and stays a network of zatlas in all else."""

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import zatlas as za
from zatlas.config import TrainConfig
from zatlas.errors import TrainingError
from zatlas.model.automatic import resolved_linear_path
from zatlas.model.building import build
from zatlas.model.likelihoods import LIKELIHOODS, Greys
from zatlas.model.network import NetworkConfig, load_weights
from zatlas.model.objective import effective_beta
from zatlas.tiles.pixel_pca import fit_pixel_pca
from zatlas.training import evaluation as evaluation_module
from zatlas.training import fit as fit_module
from zatlas.training.evaluation import reconstruction_db
from zatlas.training.linear import fit_settled_pca
from zatlas.training.shards import Shards, keyed_noise
from zatlas.training.start import start_from_pca

sys.path.insert(0, str(Path(__file__).parent))
from tiny_training import blobs, tiles_of

CONFIG = NetworkConfig(latent_dim=3, channels=2, size=18, widths=(4, 8), linear_path="on")  # padded inside to 20 px


def images(n=60, seed=0):
    """Greys around 0.5 that 5 components describe, falling in size, with a little noise."""
    rng = np.random.default_rng(seed)
    patterns = np.random.default_rng(1).normal(0, 1, (5, 2, 18, 18))
    scores = rng.normal(0, 1, (n, 5)) * [0.1, 0.06, 0.04, 0.02, 0.01]
    noise = rng.normal(0, 0.01, (n, 2, 18, 18))
    return (0.5 + np.einsum("nk,kchw->nchw", scores, patterns) * 0.5 + noise).clip(0.02, 0.98).astype(np.float32)


def started(likelihood="gaussian", beta=1.0, latent_dim=3, n=60):
    network = build(dataclasses.replace(CONFIG, likelihood=likelihood, latent_dim=latent_dim), seed=0)
    network.likelihood.set_greys(Greys(channels=2, offset=0.0, factor=255.0, lowest=0.0, highest=255.0, are_whole=True))
    pca = fit_pixel_pca(images(n), latent_dim)
    x = torch.from_numpy(images(n))
    start_from_pca(network, pca, x, torch.ones_like(x[:, :1]), beta=beta)
    return network, pca, x


@pytest.mark.parametrize("likelihood", list(LIKELIHOODS))
def test_at_the_start_the_network_gives_back_what_pca_does(likelihood):
    network, pca, _ = started(likelihood)
    fresh = images(20, seed=5)
    with torch.no_grad():
        found = network.x_hat(network.encode(torch.from_numpy(fresh)).mean)
    nearly = {"discretised_logistic": 0.01, "poisson": 0.01}  # mean and parameters are bent at the ends
    np.testing.assert_allclose(found.numpy(), pca.reconstruct(fresh), atol=nearly.get(likelihood, 2e-5))
    assert float(np.abs(pca.reconstruct(fresh) - fresh.mean(axis=0)).mean()) > 0.01  # PCA says something


def test_latents_at_the_start_have_unit_variance_and_the_noise_fits():
    network, pca, x = started()
    with torch.no_grad():
        posterior = network.encode(x)
        params = network.decode(posterior.mean)
    np.testing.assert_allclose(posterior.mean.var(dim=0).numpy(), 1.0, rtol=1e-3)
    squared = float((x - params).square().mean())
    assert float(torch.exp(network.log_noise_var)) == pytest.approx(squared, rel=1e-4)
    expected = 1 / (1 + pca.variance[:3] / squared)
    np.testing.assert_allclose(torch.exp(posterior.log_var).numpy(), np.tile(expected, (60, 1)), atol=1e-5)


def test_the_variance_at_the_start_is_the_best_one_for_the_objective():
    for beta in (1.0, 4.0):
        network, _, x = started(beta=beta)
        mask, noise = torch.ones_like(x[:, :1]), torch.randn((60, 3), generator=torch.Generator().manual_seed(0))
        losses = []
        kept = network.encoder.linear.log_var.clone()
        for shift in (-0.7, 0.0, 0.7):
            network.encoder.linear.log_var.copy_(kept + shift)
            with torch.no_grad():
                params, posterior = network(x, noise)
            nats, rate = network.likelihood.nll(params, x, mask), network.prior.rate_per_dim(posterior).sum(dim=1)
            losses.append(float((nats + beta * rate).mean()))
        assert losses[1] < min(losses[0], losses[2]), beta


def test_convolutions_learn_beside_the_path_which_stays():
    network, _, x = started()
    path = network.encoder.linear.weight.clone(), network.decoder.linear.weight.clone()
    mask, noise = torch.ones_like(x[:, :1]), keyed_noise(60, 3, seed=0, stream="training noise", index=0)
    with Shards(network, precision="bfloat16", threads=2) as shards:
        optimizer = shards.optimizer(kind="muon", weight_decay=0.0)
        before = shards.evaluate(x, mask, noise)
        for _ in range(30):
            optimizer.step(shards.evaluate(x, mask, noise, rate_weight=1.0).gradients, 1e-3)
            shards.weights.renew()
        after = shards.evaluate(x, mask, noise)
        computing = shards.weights.computing
        assert computing.decoder.linear.weight.dtype == torch.float32
        assert computing.decoder.to_params.weight.dtype == torch.bfloat16
    assert float((after.distortion + after.rate).mean()) < float((before.distortion + before.rate).mean()) - 0.2
    assert torch.equal(path[0], network.encoder.linear.weight)
    assert torch.equal(path[1], network.decoder.linear.weight)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_training_stopped_in_its_first_epoch_goes_on_with_the_path(precision, tmp_path):
    def fitted(run, stop_after=0):
        done = []
        vae = za.VAE(latent_dim=2, widths=(4,))
        settings = TrainConfig(epochs=2, batch_size=10, threads=1, precision=precision)
        vae.fit(
            tiles_of(images(40), sampler="whole"), validation=tiles_of(images(6, seed=2)), train=settings, run=run,
            on_step=done.append, stop_requested=lambda: len(done) == stop_after,
        )  # fmt: skip
        return vae

    whole = fitted(tmp_path / "whole")
    fitted(tmp_path / "stopped", stop_after=2)
    fitted(tmp_path / "stopped")
    names = ("whole", "stopped")
    first, second = ((tmp_path / name / "weights.safetensors").read_bytes() for name in names)
    assert first == second
    assert float(whole.network.encoder.linear.weight.abs().max()) > 0
    fitted(tmp_path / "lost", stop_after=2)
    for path in (tmp_path / "lost" / "checkpoints").glob("*/state.json"):
        path.write_text("{")  # damaged: it begins again, with the path
    fitted(tmp_path / "lost")
    assert (tmp_path / "lost" / "weights.safetensors").read_bytes() == first


def test_components_that_the_images_do_not_have_stay_silent():
    network, pca, x = started(latent_dim=8, n=5)
    assert len(pca.components) == 4
    with torch.no_grad():
        posterior = network.encode(x)
    assert torch.equal(posterior.mean[:, 4:], torch.zeros(5, 4))
    torch.testing.assert_close(posterior.log_var[:, 4:], torch.zeros(5, 4), atol=1e-3, rtol=0)
    assert torch.isfinite(network.decode(posterior.mean)).all()


def test_the_path_is_saved_and_loaded_with_the_weights(tmp_path):
    network, _, x = started()
    network.save_weights(tmp_path / "weights.safetensors")
    other = build(network.config, seed=1)
    load_weights(other, tmp_path / "weights.safetensors")
    assert torch.equal(other.encode(x).mean, network.encode(x).mean)
    mask = torch.ones_like(x[:, :1])
    with torch.no_grad():
        params = network.decode(network.encode(x).mean)
    beta = effective_beta(x, params, mask, likelihood=network.likelihood, beta=1.0)
    assert beta == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize(("sampler", "steps", "expected"), [
    ("whole", 1000, "on"), ("whole", 1001, "off"), ("by_pixel", 10**6, "on"), ("equal", 10**6, "on"),
])  # fmt: skip
def test_tiles_and_short_trainings_begin_at_principal_components(sampler, steps, expected):
    assert resolved_linear_path("auto", sampler, steps) == expected
    assert resolved_linear_path("on", sampler, steps) == "on"
    assert resolved_linear_path("off", sampler, steps) == "off"


@pytest.mark.parametrize(("n_images", "epochs", "path"), [(20, 2, "on"), (20, 501, "off")])
def test_fit_counts_its_steps(n_images, epochs, path, tmp_path):
    """Two steps each epoch; stopped at once where there are many."""
    tiles = tiles_of(images(n_images), sampler="whole")
    vae = za.VAE(latent_dim=2, widths=(4,))
    vae.fit(
        tiles, validation=tiles_of(images(6, seed=2)), train=TrainConfig(epochs=epochs, batch_size=10, threads=1),
        run=tmp_path, stop_requested=lambda: epochs > 2,
    )  # fmt: skip
    assert vae.network.config.linear_path == path


def test_what_training_began_with_is_kept_when_no_epoch_is_better(tmp_path, caplog):
    """A learning rate that destroys the network: the first epoch must not win for want of a rival."""
    x = images(40)
    vae = za.VAE(latent_dim=3, widths=(4,), linear_path="on")
    settings = TrainConfig(epochs=3, batch_size=10, threads=1, learning_rate=0.5, precision="float32", ema_decay=0.0)
    vae.fit(tiles_of(x, sampler="whole"), validation=tiles_of(images(20, seed=2)), train=settings, run=tmp_path)
    assert json.loads((tmp_path / "training.json").read_text())["best_epoch"] == 0
    assert "no epoch was better on validation" in caplog.text
    mean = vae.scaling.invert(vae.network.decoder.linear.bias.view(1, 2, 18, 18).numpy())
    fresh = images(10, seed=5)
    error = np.mean((vae.reconstruct(fresh) - fresh) ** 2)
    assert error < 0.5 * np.mean((mean - fresh) ** 2)


@pytest.mark.parametrize(
    ("measured", "kept"),
    [
        ([(20.0, 18.0), (19.9, 18.1), (20.1, 17.9), (20.0, 18.0), (19.0, 17.0)], 3),
        ([(20.0, 18.0), (19.9, 18.1), (20.1, 17.9), (19.9, 17.9), (19.0, 17.0)], 0),
    ],
)
def test_what_begins_at_pca_does_not_end_below_it(tmp_path, monkeypatch, measured, kept):
    """An epoch with a better bound is not kept while validation images come back worse than at the start, in the mean
    or pooled: here by made-up measurements, of the start and of each candidate."""
    monkeypatch.setattr(fit_module, "reconstruction_db", lambda *_: measured.pop(0))
    vae = za.VAE(latent_dim=2, widths=(4,), linear_path="on")
    settings = TrainConfig(
        epochs=4, batch_size=20, threads=1, precision="float32", learning_rate=1e-3, ema_decay=0.0, patience=2
    )  # patience counts from the best bound, kept or not: no epoch is left out
    validation = tiles_of(blobs(60, seed=2))
    vae.fit(tiles_of(blobs(200, seed=1), sampler="whole"), validation=validation, train=settings, run=tmp_path)
    objective = pd.read_csv(tmp_path / "history.csv")["validation_objective_nats"]
    assert objective.is_monotonic_decreasing and not measured, "by the bound, each epoch would have been kept"
    assert json.loads((tmp_path / "training.json").read_text())["best_epoch"] == kept


@pytest.mark.parametrize(
    ("likelihood", "beta", "is_measured"),
    [("gaussian", 1.0, True), ("gaussian_per_channel", 0.5, True), ("gaussian", 4.0, False), ("bernoulli", 1.0, False),
     ("student_t", 1.0, False), ("gaussian_per_pixel", 1.0, False)],
)  # fmt: skip
def test_errors_decide_only_where_the_best_bound_has_the_least(tmp_path, likelihood, beta, is_measured):
    vae = za.VAE(latent_dim=2, widths=(4,), linear_path="on", likelihood=likelihood, beta=beta)
    vae.fit(
        tiles_of(blobs(40, seed=1), sampler="whole"), validation=tiles_of(blobs(20, seed=2)),
        train=TrainConfig(epochs=1, batch_size=20, threads=1, precision="float32"), run=tmp_path,
    )  # fmt: skip
    assert len(json.loads((tmp_path / "training.json").read_text())["start_db"]) == (2 if is_measured else 0)


def test_an_image_that_is_not_finite_is_named_before_the_first_step(tmp_path):
    x = blobs(20, seed=2)
    x[3, 0, 5, 5] = np.nan
    vae = za.VAE(latent_dim=2, widths=(4,), linear_path="on")
    with pytest.raises(TrainingError, match="1 images hold values that are not finite numbers: img003"):
        vae.fit(
            tiles_of(blobs(40, seed=1), sampler="whole"), validation=tiles_of(x),
            train=TrainConfig(epochs=1, batch_size=20, threads=1, precision="float32"), run=tmp_path,
        )  # fmt: skip


def test_psnr_of_reconstructions_counts_real_pixels_alone():
    x = torch.rand((5, 2, 18, 18), generator=torch.Generator().manual_seed(0))
    x = torch.cat([x, torch.zeros(1, 2, 18, 18)])
    network = build(CONFIG, seed=0)
    tiles = tiles_of(x.numpy())
    found = reconstruction_db(network, tiles)
    with torch.no_grad():
        squared = ((network.x_hat(network.encode(x).mean) - x) ** 2).numpy().astype(np.float64)
    errors = np.maximum(squared.mean(axis=(1, 2, 3)), 1e-10)
    assert found == pytest.approx((np.mean(-10 * np.log10(errors)), -10 * np.log10(squared.mean())), abs=1e-4)
    batch = next(tiles.batches(0, 6))
    half = batch.mask.clone()
    half[:, :, :9] = 0

    def masked(*_):
        yield dataclasses.replace(batch, mask=half)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluation_module, "batches_on", masked)
        _, pooled = reconstruction_db(network, tiles)
    assert pooled == pytest.approx(-10 * np.log10(squared[:, :, 9:].mean()), abs=1e-4)


def test_one_image_has_no_components_to_begin_with():
    one = tiles_of(images(1), sampler="whole")
    vae = za.VAE(latent_dim=2, widths=(4,))
    vae.fit(one, validation=tiles_of(images(2, seed=2)), train=TrainConfig(epochs=2, batch_size=2, threads=1))
    assert np.isfinite(vae.reconstruct(images(2, seed=3))).all()


def test_a_short_training_begins_at_a_pca_that_has_seen_enough(tmp_path):
    """One epoch of 8 images, while the PCA that they are compared with sees a thousand draws and more."""
    train, validation = tiles_of(blobs(8, seed=1), sampler="whole"), tiles_of(blobs(40, seed=2))
    settings = TrainConfig(epochs=1, batch_size=8, threads=1, precision="float32", jitter=0.1)
    vae = za.VAE(latent_dim=3, widths=(4,)).fit(train, validation=validation, train=settings, run=tmp_path / "own")
    fair = fit_settled_pca(train, validation, 3, seed=0, jitter=settings.jitter)
    assert fair.is_augmented and fair.n_draws >= 2048
    expected = fair.pca.components * np.sqrt(fair.pca.variance[:3, None])
    np.testing.assert_allclose(vae.network.decoder.linear.weight.numpy(), expected, rtol=1e-5, atol=1e-7)
    given = fit_pixel_pca(blobs(60, seed=1), 4)
    other = za.VAE(latent_dim=3, widths=(4,))
    other.fit(train, validation=validation, train=settings, run=tmp_path / "given", pca=lambda: given)
    np.testing.assert_array_equal(other.network.decoder.linear.bias.numpy(), given.mean.reshape(-1))


def test_a_vamp_prior_begins_without_the_path(tmp_path):
    vae = za.VAE(latent_dim=2, widths=(4,), prior="vamp")
    vae.fit(tiles_of(images(20), sampler="whole"), validation=tiles_of(images(4, seed=2)), epochs=1, run=tmp_path)
    assert vae.network.config.linear_path == "off"


def test_without_a_path_there_is_nothing_to_start():
    network = build(dataclasses.replace(CONFIG, linear_path="auto"), seed=0)
    assert network.config.linear_path == "off"
    x = torch.from_numpy(images(5))
    with pytest.raises(TypeError, match="no linear path"):
        start_from_pca(network, fit_pixel_pca(images(5), 3), x, torch.ones_like(x[:, :1]), beta=1.0)


@pytest.mark.parametrize(("spoilt", "words"), [(None, "not a finite number before the first step"), (25, "img025")])
def test_a_start_that_is_not_finite_is_told_without_weights_to_go_back_to(spoilt, words, tmp_path):
    x, network = blobs(30, seed=2), build(NetworkConfig(latent_dim=3, channels=1, size=16, widths=(4, 8)), seed=0)
    if spoilt is not None:
        x[spoilt, 0, 3, 3] = np.nan

    def start():
        if spoilt is None:
            next(network.parameters()).data.fill_(float("nan"))

    settings = TrainConfig(epochs=1, batch_size=10, threads=1, precision="float32")
    with pytest.raises(TrainingError, match=words):
        fit_module.fit(
            network, tiles_of(blobs(40, seed=1), sampler="whole"), validation=tiles_of(x), test=None,
            config=settings, beta=1.0, seed=0, run=tmp_path, start=start,
        )  # fmt: skip
    assert not (tmp_path / "weights.safetensors").exists()
