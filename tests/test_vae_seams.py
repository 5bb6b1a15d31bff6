"""From fit to analysis with a likelihood and a network that the package knows nothing of; listeners; refusals."""

import math
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from own_parts import Laplace, Residual, SharedLaplace, Tied, blobs, tiles_of

import zatlas as za
from zatlas import files
from zatlas.atlas.encode import encode
from zatlas.config import AtlasConfig, ModelConfig, StudyConfig, TrainConfig
from zatlas.errors import DataError, UsageError
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import Network, Posterior, Shape
from zatlas.model.own import OwnNetwork
from zatlas.model.priors import StandardNormal
from zatlas.results.analysis import analyse_model
from zatlas.training.evaluation import evaluate
from zatlas.training.weights import Weights

TRAIN = TrainConfig(epochs=3, batch_size=16, learning_rate=3e-3, kl_warmup_epochs=0.0, threads=1)
X = blobs(5, seed=9)


def fitted(vae, run, *, train=TRAIN, **options):
    return vae.fit(
        tiles_of(64, 1, "whole"), validation=tiles_of(20, 2), test=tiles_of(20, 3), train=train, run=run, **options
    )


def analysed(vae):
    tiles = {"train": tiles_of(40, 1), "test": tiles_of(24, 3), "atlas": tiles_of(64, 4)}
    atlas = vae.embed(tiles["atlas"], table_extra=pd.DataFrame({"split": ["train"] * 40 + ["test"] * 24}))
    settings = AtlasConfig(clusters=2, points=2, samples=4, examples=3)
    config = StudyConfig(model=vae.model, atlas=settings)
    return atlas, analyse_model(vae.network, vae.scaling, atlas, tiles, config, seed=0)


def same(one, other):
    names = one.network.state_dict()
    return all(torch.equal(value, other.network.state_dict()[name]) for name, value in names.items())


@pytest.mark.parametrize("likelihood", [Laplace(), SharedLaplace()], ids=lambda one: one.name)
def test_a_likelihood_from_outside_is_trained_embedded_and_analysed(tmp_path, likelihood):
    vae = fitted(za.VAE(3, likelihood=likelihood, widths=(4, 8)), tmp_path / "run")
    history = vae.history["validation_elbo_nats"]
    assert history.iloc[-1] > history.iloc[0]
    assert likelihood.name in repr(vae)
    if isinstance(likelihood, SharedLaplace):
        assert float(vae.network.likelihood.log_scale.detach()) < -0.005, "its scale was learned"
        assert float(likelihood.log_scale.detach()) == 0, "in a copy"
    atlas, results = analysed(vae)
    assert atlas.info["likelihood"] == results.likelihood == likelihood.name
    tiles = tiles_of(64, 4)
    x, params = torch.from_numpy(tiles.take(np.arange(64))), vae.network.decode(torch.from_numpy(atlas.mean))
    nats = -vae.network.likelihood.distribution(params).log_prob(x).sum(dim=(1, 2, 3))
    torch.testing.assert_close(torch.from_numpy(atlas.table["distortion_nats"].to_numpy()), nats, rtol=1e-4, atol=1e-2)
    assert math.isfinite(results.effective_beta)
    assert np.isfinite(results.metrics.to_numpy()).all()
    again = za.load(tmp_path / "run", likelihood=likelihood)
    assert same(vae, again)
    np.testing.assert_array_equal(again.reconstruct(X), vae.reconstruct(X))
    with pytest.raises(UsageError, match=f"a likelihood of your own, {likelihood.name}") as caught:
        za.load(tmp_path / "run")
    assert "likelihood=" in caught.value.hint
    with pytest.raises(UsageError, match=f"trained with the likelihood {likelihood.name}, found gaussian"):
        za.load(tmp_path / "run", likelihood="gaussian")


def test_config_toml_says_with_what_a_training_went_on(tmp_path):
    for patience, epochs in ((3, 2), (7, 2)):
        fitted(za.VAE(3, widths=(4, 8)), tmp_path, train=replace(TRAIN, epochs=epochs, patience=patience))
        assert tomllib.loads((tmp_path / "config.toml").read_text())["train"]["patience"] == patience
    with pytest.raises(UsageError, match="begun with other settings"):
        fitted(za.VAE(3, widths=(4, 8)), tmp_path, train=replace(TRAIN, epochs=3, patience=9))
    assert tomllib.loads((tmp_path / "config.toml").read_text())["train"]["patience"] == 7


def parts():
    """A network put together from an encoder and a decoder made elsewhere."""
    made = Residual()
    encoder, decoder = torch.nn.Sequential(made.body, made.head, Halves()), torch.nn.Sequential(made.mlp, Image())
    return Network(encoder, decoder, Gaussian(), StandardNormal(), Shape(latent_dim=3, channels=1, size=16))


class Halves(torch.nn.Module):
    def forward(self, x):
        return Posterior(*x.chunk(2, dim=1))


class Image(torch.nn.Module):
    def forward(self, x):
        return x.reshape(-1, 1, 16, 16)


CASES = {
    "gaussian": (lambda: Residual(), None),
    "bernoulli": (lambda: Residual(), "bernoulli"),
    "two numbers": (lambda: Residual(n_params=2), Laplace()),
    "likelihood inside": (lambda: Residual(likelihood=SharedLaplace()), None),
    "tied": (lambda: Tied(), None),
    "made of parts": (lambda: parts(), None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_network_from_outside_goes_all_the_way(tmp_path, case):
    make, likelihood = CASES[case]
    module = make()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    vae = fitted(za.VAE(3, network=module, likelihood=likelihood), tmp_path / "run")
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items()), "a copy is trained"
    assert vae.history["validation_elbo_nats"].iloc[-1] > vae.history["validation_elbo_nats"].iloc[0]
    saved = vae.save(tmp_path / "saved")
    z, image = vae.encode(X).mean.numpy(), (5, 1, 16, 16)
    likelihood = None if isinstance(likelihood, str) else likelihood  # the folder knows the names of those of zatlas
    for folder in (saved, tmp_path / "run"):
        again = za.load(folder, network=make(), likelihood=likelihood)
        assert same(vae, again)
        np.testing.assert_array_equal(again.decode(z), vae.decode(z))
    assert vae.decode(z).shape == vae.reconstruct(X).shape == vae.sample(5).shape == image
    atlas, results = analysed(vae)
    assert vae.sample(5, like=atlas).shape == image
    np.testing.assert_allclose(vae.embed(tiles_of(64, 4)).mean, atlas.mean)
    assert (results.latent_dim, results.likelihood) == (3, vae.network.likelihood.name)
    record = tomllib.loads((saved / "config.toml").read_text())["network"]
    assert (record["own"], record["latent_dim"]) == (type(module).__name__, 3)
    assert "widths" not in record
    precision = files.read_json(tmp_path / "run" / "training.json")["choices"]["precision"]
    assert precision == {"value": "float32", "reason": "the network is one of your own"}


class Renamed(Residual):
    """The same under another name."""


def test_a_training_of_an_own_network_resumes_to_the_same_bytes(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other"
    fitted(za.VAE(3, network=Residual(likelihood=SharedLaplace())), other)
    steps = []
    stopped = {"on_step": steps.append, "stop_requested": lambda: len(steps) == 6}
    fitted(za.VAE(3, network=Residual(likelihood=SharedLaplace())), run, **stopped)
    fitted(za.VAE(3, network=Residual(likelihood=SharedLaplace())), run)
    assert files.sha256(run / "weights.safetensors") == files.sha256(other / "weights.safetensors")
    with pytest.raises(UsageError, match=r"other settings \(.*network\.own: Residual -> Renamed"):
        fitted(za.VAE(3, network=Renamed(likelihood=SharedLaplace())), run)
    threads = tmp_path / "threads"
    fitted(za.VAE(3, network=Residual(likelihood=SharedLaplace())), threads, train=replace(TRAIN, threads=3))
    assert files.sha256(threads / "weights.safetensors") == files.sha256(other / "weights.safetensors")


def test_frozen_parameters_stay_and_shared_ones_stay_shared(tmp_path):
    vae = fitted(za.VAE(3, network=Tied()), tmp_path)
    trained = vae.network.module
    assert trained.weight is trained.again
    assert not torch.equal(trained.weight, Tied().weight)
    assert torch.equal(trained.centre, Tied().centre)
    assert not torch.equal(trained.spread, Tied().spread)


def test_parameters_that_share_one_number_in_memory_get_numbers_of_their_own():
    network = OwnNetwork(Tied(), Gaussian(), Shape(latent_dim=3, channels=1, size=16))
    assert network.module.spread.stride() == (0,)
    weights = Weights(network, torch.float32)
    with torch.no_grad():
        weights.values.copy_(torch.arange(len(weights.values)))
    assert len(set(network.module.spread.tolist())) == 3


def test_networks_are_wanted_where_they_were_trained_and_nowhere_else(tmp_path):
    train = replace(TRAIN, epochs=1)
    fitted(za.VAE(3, network=Residual()), tmp_path / "own", train=train)
    fitted(za.VAE(3, widths=(4, 8)), tmp_path / "zatlas", train=train)
    with pytest.raises(UsageError, match="trained with a network of your own, Residual") as caught:
        za.load(tmp_path / "own")
    assert caught.value.hint.startswith("give it: zatlas.load(folder, network=Residual(...)), or zatlas.Study(")
    with pytest.raises(UsageError, match="trained with the network of zatlas"):
        za.load(tmp_path / "zatlas", network=Residual())
    with pytest.raises(UsageError, match=r"expected a torch\.nn\.Module"):
        za.load(tmp_path / "own", network="Residual")
    with pytest.raises(UsageError, match=r"latent_dim|shape \(2, 4\)"):
        za.load(tmp_path / "own", network=Residual(d=4))
    with pytest.raises(UsageError, match="trained with the likelihood gaussian, found laplace"):
        za.load(tmp_path / "own", network=Residual(n_params=2), likelihood=Laplace())
    with pytest.raises(DataError, match=r"weights\.safetensors belongs to a network of another shape"):
        za.load(tmp_path / "own", network=Tied())


def test_what_does_not_fit_is_refused_before_training(tmp_path):
    with pytest.raises(UsageError, match=r"means of shape \(2, 3\), expected \(2, 16\)"):
        fitted(za.VAE(network=Residual()), tmp_path / "a")
    with pytest.raises(UsageError, match="grey values from 0 to 1"):
        za.VAE(3, likelihood="bernoulli").fit(tiles_of(20, 1, "whole", "standardise"))
    with pytest.raises(UsageError, match="expected bernoulli or "):
        za.VAE(3, likelihood="cauchy")
    asked = replace(TRAIN, precision="bfloat16")
    with pytest.raises(UsageError, match="computes in float32 alone"):
        fitted(za.VAE(3, network=Residual()), tmp_path / "b", train=asked)
    frozen = Residual().requires_grad_(False)
    with pytest.raises(UsageError, match="no parameters to train"):
        fitted(za.VAE(3, network=frozen), tmp_path / "c")
    odd = Residual()
    odd.extra = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    with pytest.raises(UsageError, match=r"extra of the network is torch\.float64"):
        fitted(za.VAE(3, network=odd), tmp_path / "d")
    vae = fitted(za.VAE(3, network=Residual()), tmp_path / "e", train=replace(TRAIN, epochs=1))
    with pytest.raises(UsageError, match="computes in float32 alone"):
        vae.embed(tiles_of(20, 2), precision="bfloat16")


def test_listeners_hear_every_step_and_every_epoch(tmp_path):
    steps, rows = [], []
    vae = fitted(za.VAE(3, widths=(4, 8)), tmp_path, on_step=steps.append, on_epoch=rows.append)
    assert [step.step for step in steps] == list(range(1, 13))
    pd.testing.assert_frame_equal(pd.DataFrame(rows), vae.history, check_dtype=False)
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    again = fitted(za.VAE(3, widths=(4, 8)), tmp_path / "again", on_epoch=lambda row: row.update(epoch=77))
    assert list(again.history["epoch"]) == [1, 2, 3], "a listener cannot change the history"


def test_a_study_tells_whoever_listens_about_its_epochs(tmp_path):
    from zatlas.progress import Talk

    np.savez(tmp_path / "blobs.npz", images=(255 * blobs(40, 1)[:, 0]).astype(np.uint8))
    heard = []
    config = replace(
        StudyConfig(model=ModelConfig(latent_dim=(2,), widths=(4, 8)), train=replace(TRAIN, epochs=2)),
        data=za.StudyConfig().data.__class__(input=str(tmp_path / "blobs.npz")),
    )
    talk = Talk(epoch=lambda model, row: heard.append((model, row["epoch"])))
    za.study(config, tmp_path / "study", until="train", talk=talk)
    assert heard == [("z2", 1), ("z2", 2)]
    wrong = replace(config, model=replace(config.model, likelihood="cauchy"))
    with pytest.raises(UsageError, match="--likelihood is cauchy, expected bernoulli or "):
        za.study(wrong, tmp_path / "other")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("make", [lambda: za.VAE(3, widths=(4, 8)), lambda: za.VAE(3, network=Tied())])
def test_evaluation_changes_nothing(tmp_path, make):
    network = fitted(make(), tmp_path, train=replace(TRAIN, epochs=1)).network
    next(network.encoder.children()).train()
    state = network.state_dict(keep_vars=True)
    before = {name: (value.data_ptr(), value.clone(), value.stride()) for name, value in state.items()}
    modes = [module.training for module in network.modules()]
    chance = torch.random.get_rng_state()
    first, second = (evaluate(network, tiles_of(70, 2), seed=0) for _ in range(2))
    encode(network, tiles_of(20, 2))
    assert first == second
    assert any(modes)
    assert modes == [module.training for module in network.modules()]
    assert torch.equal(chance, torch.random.get_rng_state())
    for name, value in network.state_dict(keep_vars=True).items():
        pointer, values, stride = before[name]
        assert (value.data_ptr(), value.stride()) == (pointer, stride), name
        assert torch.equal(value, values), name
    x = torch.from_numpy(X)
    posterior = network.encode(x)
    expected = network.prior.rate(posterior, posterior.mean)
    tiles = replace_images(X)
    assert evaluate(network, tiles, seed=0)["rate_nats"] == pytest.approx(float(expected.detach().mean()), rel=1e-5)


def replace_images(x):
    tiles = tiles_of(len(x), 9)
    assert np.array_equal(tiles.take(np.arange(len(x))), x)
    return tiles


def test_the_page_about_own_networks_runs_as_it_stands(tmp_path, monkeypatch):
    page = Path(__file__).parents[1] / "docs" / "how-to" / "use_your_own_network.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == 4
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "page"}
    exec(compile("\n".join(blocks), page.name, "exec"), names)
    assert names["frames"].shape == (7, 1, 32, 32)
    assert names["vae"].network.likelihood.name == "laplace"
    assert len(names["atlas"]) == 60
    assert names["study"].state == "complete"


def test_samples_are_drawn_like_the_training_latents_alone(tmp_path):
    vae = fitted(za.VAE(3, widths=(4, 8)), tmp_path / "run")
    split = ["train"] * 40 + ["validation"] * 12 + ["test"] * 12
    atlas = vae.embed(tiles_of(64, 4), table_extra=pd.DataFrame({"split": split}))
    drawn = vae.sample(6, like=atlas, seed=1)
    atlas.mean[40:] = 50.0
    assert np.array_equal(vae.sample(6, like=atlas, seed=1), drawn)
    assert not np.array_equal(vae.sample(6, seed=1), vae.sample(6, seed=2))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (torch.nn.Dropout(0.5), "decode gives other numbers each time"),
        (torch.nn.BatchNorm2d(1), "decode gives other numbers for an image when other images stand beside it"),
    ],
)
def test_a_decoder_that_depends_on_chance_or_neighbours_is_refused(tmp_path, layer, message):
    class Noisy(Residual):
        def __init__(self):
            super().__init__()
            self.last = layer

        def decode(self, z):
            return self.last(super().decode(z))

    with pytest.raises(UsageError, match=message):
        fitted(za.VAE(3, network=Noisy()), tmp_path / "run")


class Doubled(Residual):
    """Two numbers for each channel."""

    def decode(self, z):
        return torch.cat([super().decode(z)] * 2, dim=1)


class PerPixel(Laplace):
    name = "per-pixel"

    def nll(self, params, x, mask):
        return (params - x).abs()


class Undefined(Laplace):
    name = "undefined"

    def nll(self, params, x, mask):
        return super().nll(params, x, mask) * math.nan


class TwoChannels(Laplace):
    name = "two-channels"

    def mean(self, params):
        return torch.cat([params, params], dim=1)


@pytest.mark.parametrize(
    ("chosen", "message"),
    [
        (PerPixel(), r"PerPixel.nll gives nats of shape .*, expected \(2,\)"),
        (Undefined(), "Undefined.nll gives nats that are not finite"),
        (TwoChannels(), r"TwoChannels.mean gives images of shape"),
    ],
)
@pytest.mark.parametrize("own", [False, True])
def test_a_likelihood_that_does_not_fit_is_refused_before_training(tmp_path, chosen, message, own):
    parts = {"network": Doubled()} if own else {"widths": (4, 8)}
    with pytest.raises(UsageError, match=message):
        fitted(za.VAE(3, likelihood=chosen, **parts), tmp_path / "run")


def test_a_refused_fit_leaves_the_run_as_it_was(tmp_path):
    fitted(za.VAE(3, widths=(4, 8)), tmp_path / "run")
    before = {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()}
    for other in (za.VAE(3, widths=(4, 8), beta=4.0), za.VAE(3, widths=(8,)), za.VAE(3, network=Residual())):
        with pytest.raises((UsageError, DataError)):
            fitted(other, tmp_path / "run")
        assert {file: file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file()} == before
    assert za.load(tmp_path / "run").latent_dim == 3


def test_a_single_image_that_chooses_the_epoch_is_warned_about(tmp_path, caplog):
    train = TrainConfig(epochs=1, batch_size=16, threads=1, precision="float32")
    za.VAE(2, widths=(4, 8)).fit(tiles_of(8, 1, "whole"), train=train, run=tmp_path / "few")
    assert "the best epoch is chosen by a single image" in caplog.text
    assert "validation=" in caplog.text
    caplog.clear()
    za.VAE(2, widths=(4, 8)).fit(tiles_of(8, 1, "whole"), validation=tiles_of(2, 2), train=train, run=tmp_path / "more")
    assert "best epoch is chosen" not in caplog.text
