"""Models with a prior that is trained with them: threads, resuming, on disk, in an atlas, analysed."""

import numpy as np
import pandas as pd
import pytest
import torch
from own_parts import Residual, blobs, tiles_of

import zatlas as za
from zatlas.atlas.encode import encode
from zatlas.atlas.fitted_priors import fit_prior, split_latents
from zatlas.config import StudyConfig, TrainConfig
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.model.priors import VampPrior
from zatlas.randomness import derived_seed
from zatlas.results.analysis import analyse_model
from zatlas.trust.dimensions import information_per_dim

TRAINED = ("mixture", "vamp", "flow")


def fitted(run, prior, *, threads=1, stop_after=0, network=None, **options):
    steps = []
    vae = za.VAE(3, prior=prior, widths=(4, 8), network=network, **options)
    settings = TrainConfig(epochs=3, batch_size=16, learning_rate=3e-3, kl_warmup_epochs=0.0, threads=threads)
    return vae.fit(
        tiles_of(48, 1, "whole"), validation=tiles_of(16, 2), train=settings, run=run, on_step=steps.append,
        stop_requested=(lambda: len(steps) == stop_after) if stop_after else None,
    )  # fmt: skip


def weights(run):
    return (run / "weights.safetensors").read_bytes()


@pytest.mark.parametrize("prior", TRAINED)
def test_threads_and_interruptions_change_no_bit(tmp_path, prior):
    vae = fitted(tmp_path / "one", prior)
    start = vae._new_network(vae.network.config).state_dict()
    moved = {name for name, value in vae.network.state_dict().items() if not torch.equal(value, start[name])}
    assert {name for name, _ in vae.network.named_parameters() if name.startswith("prior.")} <= moved, "all is trained"
    fitted(tmp_path / "two", prior, threads=2)
    fitted(tmp_path / "resumed", prior, stop_after=2)
    assert weights(tmp_path / "resumed") != weights(tmp_path / "one")
    fitted(tmp_path / "resumed", prior)
    assert weights(tmp_path / "one") == weights(tmp_path / "two") == weights(tmp_path / "resumed")
    with pytest.raises(UsageError, match=rf"network\.prior: {prior} -> standard"):
        fitted(tmp_path / "one", "standard")


@pytest.mark.parametrize("network", [None, Residual()])
@pytest.mark.parametrize("prior", TRAINED)
def test_a_model_is_saved_and_loaded_with_its_prior(tmp_path, prior, network):
    vae = fitted(tmp_path / "run", prior, network=network)
    vae.save(tmp_path / "saved")
    z = torch.randn((5, 3), generator=torch.Generator().manual_seed(0))
    for folder in ("run", "saved"):
        again = za.load(tmp_path / folder, network=network)
        assert again.network.prior.name == again.model.prior == prior
        assert torch.equal(again.network.prior.log_prob(z), vae.network.prior.log_prob(z))
        np.testing.assert_array_equal(again.sample(3), vae.sample(3))
    drawn = vae.network.prior.sample(3, 3, np.random.default_rng(derived_seed(0, "prior samples")))
    np.testing.assert_array_equal(vae.sample(3), vae.decode(drawn))


def test_a_vamp_begins_with_training_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(VampPrior, "start_from", lambda self, images: seen.append(images))
    fitted(tmp_path, "vamp")
    (images,) = seen
    assert len(images) == 8
    training = blobs(48, 1)
    assert all(any(np.array_equal(image, one) for one in training) for image in images.numpy())


def untrained(prior):
    """A network whose latents differ much between images."""
    network = build(NetworkConfig(latent_dim=3, channels=1, size=16, widths=(4, 8), prior=prior), 0)
    with torch.no_grad():
        network.encoder.to_posterior.weight.mul_(100)
        for parameter in network.prior.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return network


@pytest.mark.parametrize("prior", ["standard", *TRAINED])
def test_an_atlas_holds_the_rate_against_the_prior_of_its_model(prior):
    network, tiles = untrained(prior), tiles_of(40, 3)
    found = encode(network, tiles).table["rate_nats"].to_numpy()
    noise = torch.randn((2000, 3), generator=torch.Generator().manual_seed(9))
    with torch.no_grad():
        posterior = network.encode(torch.from_numpy(blobs(40, 3)))
        exact = network.prior.mean_rate(posterior, noise).numpy()
    assert exact.std() > 0.1
    np.testing.assert_allclose(found, exact, atol=0.3, rtol=0.1)
    again = encode(network, tiles, batch_size=7)
    np.testing.assert_array_equal(again.table["rate_nats"], found)


def test_rates_of_dimensions_need_no_prior_that_has_them():
    network, tiles = untrained("mixture"), tiles_of(40, 1)
    atlas = encode(network, tiles)
    found = analyse_model(network, tiles.scaling, atlas, {"train": tiles, "atlas": tiles}, StudyConfig(), 0)
    np.testing.assert_allclose(found.rate_per_dim, information_per_dim(atlas.mean, atlas.log_var))
    assert found.prior == "mixture"


def test_information_is_the_rate_when_latents_are_gaussian_along_a_dimension():
    rng = np.random.default_rng(0)
    means = rng.normal(size=(4000, 2)) * np.sqrt([0.75, 0])
    log_vars = np.log(np.tile([0.25, 1.0], (4000, 1)))
    rate = 0.5 * (means**2 + np.exp(log_vars) - 1 - log_vars).mean(axis=0)
    np.testing.assert_allclose(information_per_dim(means, log_vars), rate, atol=0.03)
    np.testing.assert_allclose(information_per_dim(3 * means + 5, log_vars + np.log(9)), rate, atol=0.03)


def test_images_are_drawn_from_a_prior_fitted_to_the_training_latents(tmp_path):
    vae = fitted(tmp_path, "standard")
    split = np.repeat(["train", "validation", "test"], [40, 12, 8])
    atlas = vae.embed(tiles_of(60, 1), table_extra=pd.DataFrame({"split": split}))
    parts = split_latents(atlas.mean, atlas.log_var, split)
    expected = fit_prior("gaussian", parts["train"], parts["validation"], seed=5)
    z = expected.sample(4, np.random.default_rng(derived_seed(5, "prior samples")))
    np.testing.assert_array_equal(vae.sample(4, like=atlas, prior="gaussian", seed=5), vae.decode(z))
    with pytest.raises(UsageError, match="the prior 'flow' is fitted to latents, and none are given"):
        vae.sample(4, prior="flow")
