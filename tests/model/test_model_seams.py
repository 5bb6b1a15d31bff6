"""Likelihoods, priors and networks that live outside the package fit in, or are refused in a sentence."""

import copy
import math
import re

import numpy as np
import pytest
import safetensors.torch
import torch
from own_parts import Laplace, Residual, SharedLaplace, Tied
from torch import nn

from zatlas.config import ModelConfig
from zatlas.errors import DataError, UsageError
from zatlas.model import likelihoods
from zatlas.model.building import build
from zatlas.model.likelihoods import LIKELIHOODS, Gaussian, check_greys, words_of
from zatlas.model.network import Network, NetworkConfig, Posterior, Shape, load_weights
from zatlas.model.objective import effective_beta
from zatlas.model.own import own_network
from zatlas.model.priors import StandardNormal

SMALL = NetworkConfig(latent_dim=3, channels=1, size=16, widths=(4, 8))
SHAPE = Shape(latent_dim=3, channels=1, size=16)


def random(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("made", [*(kind() for kind in LIKELIHOODS.values()), Laplace(), SharedLaplace()])
def test_a_likelihood_keeps_what_it_promises(made):
    params, x, mask = random(2, made.n_params * 3, 4, 4) - 0.5, random(2, 3, 4, 4, seed=1), torch.ones(2, 1, 4, 4)
    mean, variance = made.mean(params), made.implied_variance(params)
    assert mean.shape == variance.shape == x.shape
    assert (variance > 0).all()
    nats = made.nll(params, x, mask)
    assert nats.shape == (2,)
    mask[:, :, 2:] = 0
    half = made.nll(params, x, mask)
    x[:, :, 2:] = 7
    assert torch.equal(made.nll(params, x, mask), half), "padding counts nothing"
    assert not torch.equal(half, nats)
    many = params.repeat(4000, 1, 1, 1)
    drawn = made.sample(many, torch.Generator().manual_seed(0)).reshape(4000, 2, 3, 4, 4)
    torch.testing.assert_close(drawn.mean(dim=0), mean, atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.var(dim=0), variance.contiguous(), atol=0.05, rtol=0.25)
    again = made.sample(many, torch.Generator().manual_seed(0))
    assert torch.equal(again.reshape(drawn.shape), drawn), "the draws depend on the generator alone"


def test_noise_is_observed_by_the_gaussian_alone():
    params, x, mask = random(4, 1, 8, 8), random(4, 1, 8, 8, seed=1), torch.ones(4, 1, 8, 8)
    gaussian, bernoulli, own = Gaussian(), LIKELIHOODS["bernoulli"](), Laplace()
    for made in (gaussian, bernoulli, own):
        made.observe(made.residuals(params[:, :1].repeat(1, made.n_params, 1, 1), x, mask), step=0)
    assert float(gaussian.log_noise_var) == pytest.approx(math.log(float((x - params).square().mean())), rel=1e-5)
    assert float(bernoulli.log_noise_var) == 0
    assert gaussian.noise_around(np.full((1, 2, 2), 0.6)) is None
    assert bernoulli.noise_around(np.full((1, 2, 2), 0.6)) == pytest.approx(0.24)
    assert np.isfinite(bernoulli.noise_around(np.zeros((1, 2, 2))))


def test_calibrated_noise_is_the_best_for_a_split_and_never_below_the_floor():
    params, x, mask = random(4, 1, 8, 8), random(4, 1, 8, 8, seed=1), torch.ones(4, 1, 8, 8)
    gaussian = Gaussian()
    nats = gaussian.calibrate(gaussian.residuals(params, x, mask))
    assert nats == pytest.approx(float(gaussian.nll(params, x, mask).sum()), rel=1e-5)
    for shift in (-0.1, 0.1):
        other = copy.deepcopy(gaussian)
        other.log_noise_var.add_(shift)
        assert float(other.nll(params, x, mask).sum()) > nats + 0.1
    nats = gaussian.calibrate(gaussian.residuals(x, x, mask))
    assert float(gaussian.log_noise_var) == pytest.approx(math.log(likelihoods.NOISE_FLOOR_VAR))
    assert nats == pytest.approx(float(gaussian.nll(x, x, mask).sum()), rel=1e-5)
    for made in (LIKELIHOODS["bernoulli"](), Laplace()):
        assert made.calibrate(()) is None


def test_a_likelihood_is_chosen_by_name_or_given():
    assert type(likelihoods.likelihood("gaussian")) is Gaussian
    given = SharedLaplace()
    fresh = likelihoods.likelihood(given)
    assert type(fresh) is SharedLaplace
    assert fresh is not given, "its numbers are those of one model"
    for odd, words in (("cauchy", "--likelihood is cauchy, expected bernoulli or "), (3, "likelihood is 3")):
        with pytest.raises(UsageError, match=words):
            likelihoods.likelihood(odd)
    check_greys("bernoulli", "minmax")
    check_greys(given, "standardise")
    with pytest.raises(UsageError, match="grey values from 0 to 1, but --scaling is standardise") as caught:
        check_greys("bernoulli", "standardise")
    assert caught.value.hint == "use --scaling minmax, or --likelihood gaussian"
    assert ModelConfig(likelihood="laplace").likelihood == "laplace", "a configuration may name one from outside"


def test_reports_have_words_for_every_likelihood():
    for name in LIKELIHOODS:
        assert words_of(name) is LIKELIHOODS[name].words
    unknown = words_of("laplace")
    assert "laplace" in unknown.name
    assert "laplace" in unknown.loss
    assert unknown.meaning.endswith(".")
    assert unknown.caution == ""


def test_a_calibrated_likelihood_has_an_effective_beta_of_beta():
    params = torch.cat([random(64, 1, 16, 16), random(64, 1, 16, 16, seed=1) - 2], dim=1)
    x = Laplace().sample(params, torch.Generator().manual_seed(0))
    found = effective_beta(x, params, torch.ones(64, 1, 16, 16), likelihood=Laplace(), beta=3.0)
    assert found == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("decoder", ["transposed", "upsample"])
def test_the_network_of_zatlas_gives_as_many_numbers_as_a_likelihood_wants(decoder):
    config = NetworkConfig(latent_dim=3, channels=2, size=13, widths=(4, 8), decoder=decoder, likelihood="laplace")
    network = build(config, 0, Laplace())
    assert network.decode(torch.zeros(5, 3)).shape == (5, 4, 13, 13)
    assert network.x_hat(torch.zeros(5, 3)).shape == (5, 2, 13, 13)
    with pytest.raises(UsageError, match="--likelihood is laplace"):
        build(config, 0)


def test_a_network_is_an_encoder_a_decoder_a_likelihood_and_a_prior():
    made = build(SMALL, 0)
    again = Network(made.encoder, made.decoder, Laplace(), StandardNormal(), SHAPE)
    assert torch.equal(again.encode(random(2, 1, 16, 16)).mean, made.encode(random(2, 1, 16, 16)).mean)
    assert again.prior.rate(Posterior(torch.ones(2, 3), torch.zeros(2, 3)), torch.zeros(2, 3)).tolist() == [1.5, 1.5]
    assert again.prior.sample(5, 3, np.random.default_rng(1)).tolist() == np.random.default_rng(1).normal(
        size=(5, 3)
    ).tolist()  # fmt: skip


@pytest.mark.parametrize("name", ["bernoulli", "gaussian"])
def test_names_of_weights_are_those_of_0_1_0(name):
    made = build(NetworkConfig(latent_dim=3, channels=1, size=16, widths=(4, 8), likelihood=name), 0)
    names = set(made.state_dict())
    assert "log_noise_var" in names
    assert {one.split(".")[0] for one in names - {"log_noise_var"}} == {"encoder", "decoder"}
    values = {one: torch.full_like(value, 0.5) for one, value in made.state_dict().items()}
    made.load_state_dict(values)
    assert float(made.likelihood.log_noise_var) == 0.5
    del values["log_noise_var"]
    with pytest.raises(RuntimeError, match="log_noise_var"):
        made.load_state_dict(values)
    outer = nn.ModuleDict({"inner": made})
    assert "inner.log_noise_var" in outer.state_dict()
    outer.load_state_dict(outer.state_dict())


@pytest.mark.parametrize(
    ("module", "chosen"),
    [
        (Residual(), None), (Residual(n_params=2), Laplace()), (Residual(likelihood=SharedLaplace()), None),
        (Residual(), SharedLaplace()), (Tied(), None),
    ],
)  # fmt: skip
def test_weights_of_an_own_network_go_to_disk_and_back_under_its_own_names(tmp_path, module, chosen):
    network, path = own_network(module, SHAPE, chosen), tmp_path / "weights.safetensors"
    network.save_weights(path)
    stored = safetensors.torch.load_file(path)
    own = {name: value for name, value in stored.items() if name in module.state_dict()}
    copy.deepcopy(module).load_state_dict(own)
    assert {name.split(".")[0] for name in set(stored) - set(own)} <= {"likelihood", "log_noise_var"}
    other = own_network(module, SHAPE, chosen)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(3).add_(1)
    load_weights(other, path)
    for name, value in network.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    x = random(2, 1, 16, 16)
    assert torch.equal(network.encode(x).mean, other.encode(x).mean)
    safetensors.torch.save_file({name: stored[name] for name in list(stored)[1:]}, path)
    with pytest.raises(DataError, match="another shape"):
        load_weights(other, path)


def test_an_own_network_is_copied_and_its_likelihood_is_part_of_it():
    module = Residual(likelihood=SharedLaplace())
    network = own_network(module, SHAPE)
    assert network.likelihood is network.module.likelihood
    assert network.module is not module
    assert sum(parameter.numel() for parameter in network.parameters()) == sum(p.numel() for p in module.parameters())
    assert type(own_network(Residual(), SHAPE).likelihood) is Gaussian
    assert network.record() == {"latent_dim": 3, "channels": 1, "size": 16, "likelihood": "shared laplace",
                                "prior": "standard", "own": "Residual"}  # fmt: skip


class Changed(Residual):
    """A network of which one thing is wrong."""

    def __init__(self, encode=None, decode=None, **options):
        super().__init__(**options)
        self.changes = {"encode": encode, "decode": decode}

    def encode(self, x):
        change = self.changes["encode"]
        return super().encode(x) if change is None else change(self, *super().encode(x))

    def decode(self, z):
        change = self.changes["decode"]
        return super().decode(z) if change is None else change(self, super().decode(z))


def batch_norm(self, mean, log_var):
    return (mean - mean.mean(dim=0)) / (mean.std(dim=0) if len(mean) > 1 else 1), log_var


class Half(nn.Module):
    def encode(self, x):
        return x


@pytest.mark.parametrize(
    ("module", "words", "hint"),
    [
        ("resnet18", "network is a str, expected a torch.nn.Module", ""),
        (nn.Linear(2, 2), "Linear has no method encode and no decode", r"encode\(x\) -> \(mean, log_var\)"),
        (Half(), "Half has no method decode", ""),
        (Residual(d=5), r"means of shape \(2, 5\), expected \(2, 3\)", r"VAE\(latent_dim=5"),
        (Residual(channels=2), "cannot encode images of 1 x 16 x 16 px", ""),
        (Residual(n_params=2), r"of shape \(2, 2, 16, 16\), expected \(2, 1, 16, 16\)", r"\(1, 16, 16\)"),
        (Changed(decode=lambda _, p: p[..., :8]), r"\(2, 1, 16, 8\), expected \(2, 1, 16, 16\)", ""),
        (Changed(encode=lambda _, m, v: m), "expected .mean, log_var.", ""),
        (Changed(encode=lambda _, m, v: (m, v[:, :1])), r"log_vars of shape \(2, 1\)", ""),
        (Changed(encode=lambda _, m, v: (m * torch.nan, v)), "not finite", "initial weights"),
        (Changed(decode=lambda _, p: p / 0), "not finite", ""),
        (Changed(decode=lambda _, p: p.double()), "torch.float64, expected torch.float32", r"\.float\(\)"),
        (Changed(decode=lambda _, p: p @ p[..., :8, :]), "cannot decode latents of 3 dimensions", ""),
        (Changed(encode=lambda _, m, v: (nn.functional.dropout(m), v)), "other latents each time", "dropout"),
        (Changed(encode=batch_norm), "when other images stand beside it", "GroupNorm"),
    ],
)
def test_a_network_that_does_not_fit_is_refused_in_a_sentence(module, words, hint):
    state = torch.random.get_rng_state()
    with pytest.raises(UsageError) as caught:
        own_network(module, SHAPE)
    assert torch.equal(state, torch.random.get_rng_state())
    assert len(caught.value.what) < 300
    assert re.search(words, caught.value.what), caught.value.what
    assert caught.value.hint
    assert re.search(hint, caught.value.hint), caught.value.hint


class Counting(Residual):
    def __init__(self):
        super().__init__()
        self.register_buffer("seen", torch.zeros(()))

    def encode(self, x):
        self.seen += len(x)
        return super().encode(x)


def test_trying_a_network_leaves_no_trace_in_it():
    module = Counting()
    assert float(own_network(module, SHAPE).module.seen) == 0
    assert float(module.seen) == 0


def test_an_own_network_offers_bfloat16_or_says_that_it_does_not():
    with pytest.raises(UsageError, match="Residual computes in float32 alone"):
        own_network(Residual(), SHAPE).compute_copy(torch.bfloat16)
    made = Network(nn.Flatten(), nn.Identity(), Gaussian(), StandardNormal(), SHAPE)
    with pytest.raises(UsageError, match="an encoder of class Flatten computes in float32 alone"):
        made.compute_copy(torch.bfloat16)

    class Lower(Residual):
        def compute_copy(self, dtype):
            other = copy.deepcopy(self)
            other.mlp.to(dtype)
            other.is_lower = True
            return other

        def decode(self, z):
            return super().decode(z.to(self.mlp[0].weight.dtype))

    network = own_network(Lower(), SHAPE, SharedLaplace())
    lower = network.compute_copy(torch.bfloat16)
    assert lower.decode(torch.zeros(1, 3)).dtype == torch.bfloat16
    assert lower.likelihood is network.likelihood
