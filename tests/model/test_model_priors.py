"""Priors: densities that integrate to 1, draws that follow them, rates, and gradients that reach what is trained."""

import copy
import math

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from zatlas.config import PRIORS as NAMES
from zatlas.config import LayersConfig
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig, Posterior, load_weights
from zatlas.model.prior_words import prior_words
from zatlas.model.priors import PRIORS, Flow, GaussianMixture, Prior, StandardNormal, VampPrior, new_prior


def chance(seed=0):
    return torch.Generator().manual_seed(seed)


class Halves(torch.nn.Module):
    """An encoder for tests: posteriors far apart, one for each image by its grey."""

    def __init__(self, d):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.linspace(1, 2, d))

    def forward(self, x):
        grey = x.mean(dim=(1, 2, 3))[:, None]
        return Posterior(4 * grey * self.scale, -1 - grey.square().expand(-1, len(self.scale)))


def made(name, d):
    """A prior of each kind, away from where it begins."""
    prior = new_prior(name, Halves(d).requires_grad_(False), d=d, channels=1, size=4, generator=chance())
    amount = 0.015 if name == "flow" else 0.3
    with torch.no_grad():
        for parameter in prior.parameters():
            parameter.add_(amount * torch.randn(parameter.shape, generator=chance(1)))
    if isinstance(prior, VampPrior):
        prior.start_from(torch.linspace(-1, 1, 5)[:, None, None, None].expand(-1, 1, 4, 4))
    return prior.double().requires_grad_(False)


@pytest.mark.parametrize("name", PRIORS)
@pytest.mark.parametrize("d", [1, 2])
def test_densities_integrate_to_one_and_draws_follow_them(name, d):
    prior, side = made(name, d), torch.linspace(-14, 14, 2001 if d == 1 else 201, dtype=torch.float64)
    grid = torch.cartesian_prod(*[side] * d).view(-1, d)
    mass = prior.log_prob(grid).exp() * (side[1] - side[0]) ** d
    assert float(mass.sum()) == pytest.approx(1, abs=2e-3)
    drawn = prior.sample(20_000, d, np.random.default_rng(0))
    assert drawn.shape == (20_000, d)
    for inside in (_right, _last_above_one, _all_small):
        assert inside(drawn).mean() == pytest.approx(float(mass[inside(grid)].sum()), abs=0.02)
    np.testing.assert_allclose(prior.sample(7, d, np.random.default_rng(0)), drawn[:7], rtol=1e-5, atol=1e-9)


def _right(z):
    return z[:, 0] > 0.07


def _last_above_one(z):
    return z[:, -1] > 1.05


def _all_small(z):
    return (abs(z) < 0.77).all(axis=1)


def test_the_rate_of_the_standard_normal_is_exact_and_estimates_agree_with_it():
    posterior = Posterior(torch.tensor([[0.5, -1.0]]).double(), torch.tensor([[-2.0, 0.3]]).double())
    exact = kl_divergence(Normal(posterior.mean, torch.exp(0.5 * posterior.log_var)), Normal(0.0, 1.0)).sum()
    prior = StandardNormal()
    assert float(prior.rate(posterior, torch.full((1, 2), 7.0))) == pytest.approx(float(exact))
    noise = torch.randn((40_000, 2), generator=chance(), dtype=torch.float64)
    assert float(prior.mean_rate(posterior, noise)) == pytest.approx(float(exact))
    assert float(Prior.mean_rate(_Drawn(), posterior, noise)) == pytest.approx(float(exact), abs=0.03)
    one = Prior.rate(prior, posterior, posterior.draw(noise[:1]))
    assert float(one) != pytest.approx(float(exact), abs=1e-3)


class _Drawn(StandardNormal):
    """N(0, I) as a prior without closed form."""

    def rate(self, posterior, z):
        return Prior.rate(self, posterior, z)


def test_the_mean_rate_is_the_mean_over_shared_draws_of_each_image():
    prior = made("mixture", 3)
    posterior = Posterior(torch.randn(4, 3, generator=chance()).double(), torch.full((4, 3), -1.0).double())
    noise = torch.randn((5, 3), generator=chance(1)).double()
    each = [prior.rate(posterior, posterior.draw(row.expand(4, 3))) for row in noise]
    torch.testing.assert_close(prior.mean_rate(posterior, noise), torch.stack(each).mean(dim=0))


def test_a_mixture_weighs_its_components():
    prior = GaussianMixture(1, chance(), k=2).double().requires_grad_(False)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.0, math.log(3)]))
        prior.means.copy_(torch.tensor([[-5.0], [5.0]]))
        prior.log_vars.copy_(torch.tensor([[0.0], [math.log(0.25)]]))
    expected = math.log(0.75) - math.log(0.5) - 0.5 * math.log(2 * math.pi) - 0.5 * (0.5 / 0.5) ** 2
    assert float(prior.log_prob(torch.tensor([[5.5]]).double())) == pytest.approx(expected)
    drawn = prior.sample(4000, 1, np.random.default_rng(0))[:, 0]
    assert (drawn > 0).mean() == pytest.approx(0.75, abs=0.03)
    assert drawn[drawn > 0].std() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("d", [1, 2, 5])
def test_a_flow_can_be_turned_back_and_knows_its_jacobian(d):
    flow = made("flow", d)
    z = torch.randn((6, d), generator=chance(3)).double()
    u, log_det = flow.towards_normal(z)
    torch.testing.assert_close(flow.from_normal(u), z)
    assert float((u - z).abs().max()) > 0.1
    jacobians = torch.autograd.functional.jacobian(lambda x: flow.towards_normal(x)[0].sum(dim=0), z).transpose(0, 1)
    torch.testing.assert_close(torch.linalg.slogdet(jacobians).logabsdet, log_det)


@pytest.mark.parametrize("d", [2, 3, 16])
def test_a_flow_moves_every_dimension_by_others_and_begins_as_the_standard_normal(d):
    flow = Flow(d, chance())
    moved = torch.stack([one.moved for one in flow.couplings])
    assert (moved.sum(dim=0) == 3).all()
    assert ((moved.sum(dim=1) > 0) & (moved.sum(dim=1) < d)).all()
    z = torch.randn((5, d), generator=chance(1))
    torch.testing.assert_close(flow.log_prob(z), StandardNormal().log_prob(z))


def test_a_vamp_is_the_mixture_of_the_posteriors_of_its_images():
    encoder = Halves(2)
    prior = VampPrior(encoder, 1, 4, chance(), k=3)
    prior.start_from(torch.tensor([-1.0, 0.5]).view(2, 1, 1, 1).expand(-1, 1, 4, 4))
    assert prior.images[:, 0, 0, 0].tolist() == [-1, 0.5, -1], "in turn"
    assert set(dict(prior.named_parameters())) == {"images", "logits"}, "the encoder is that of the network"
    z = torch.tensor([[0.3, 0.1]])
    posterior = encoder(prior.images)
    densities = Normal(posterior.mean, torch.exp(0.5 * posterior.log_var)).log_prob(z).sum(dim=1).exp()
    torch.testing.assert_close(prior.log_prob(z).exp(), densities.mean()[None])
    prior.log_prob(z).sum().backward()
    assert float(prior.images.grad.abs().max()) > 0
    assert float(encoder.scale.grad.abs().max()) > 0, "the components move with the encoder"


def config(prior, **options):
    return NetworkConfig(latent_dim=3, channels=1, size=16, widths=(4, 8), prior=prior, **options)


@pytest.mark.parametrize("name", PRIORS)
def test_a_network_is_built_saved_and_filled_again_with_its_prior(tmp_path, name):
    state = torch.get_rng_state()
    first, again = build(config(name), 3), build(config(name), 3)
    assert torch.equal(torch.get_rng_state(), state), "nothing is drawn from the global random state"
    assert first.prior.name == name
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    plain = build(config("standard"), 3).state_dict()
    assert all(torch.equal(first.state_dict()[key], value) for key, value in plain.items()), "other weights are as ever"
    assert (set(first.state_dict()) == set(plain)) == (name == "standard")
    z = torch.randn((5, 3), generator=chance())
    with torch.no_grad():
        for parameter in first.prior.parameters():
            parameter.add_(0.1)
    first.save_weights(tmp_path / "weights.safetensors")
    load_weights(again, tmp_path / "weights.safetensors")
    assert torch.equal(again.prior.log_prob(z), first.prior.log_prob(z))


def test_copies_of_a_network_have_a_vamp_of_their_own_encoder():
    network = build(config("vamp"), 0)
    z = torch.zeros(1, 3)
    copied, half = copy.deepcopy(network), network.compute_copy(torch.bfloat16)
    before = network.prior.log_prob(z)
    assert torch.equal(copied.prior.log_prob(z), before)
    assert half.prior.images is network.prior.images, "trained once"
    assert float((half.prior.log_prob(z) - before).detach().abs()) < 0.1
    with torch.no_grad():
        copied.encoder.to_posterior.bias.add_(2)
        half.encoder.to_posterior.bias.sub_(2)
    assert torch.equal(network.prior.log_prob(z), before)
    assert not torch.equal(copied.prior.log_prob(z), before)
    assert not torch.equal(half.prior.log_prob(z), before)


def test_unknown_priors_are_refused_and_known_ones_have_words():
    with pytest.raises(UsageError, match="--prior is laplace, expected standard, mixture, flow or vamp"):
        LayersConfig(prior="laplace")
    with pytest.raises(UsageError, match="--prior is laplace, expected standard or mixture or vamp or flow"):
        new_prior("laplace", Halves(2), d=2, channels=1, size=4, generator=chance())
    for name in PRIORS:
        assert LayersConfig(prior=name).prior == name
        assert prior_words(name) == PRIORS[name].words
    assert prior_words("other") == "the prior other"
    assert set(PRIORS) == set(NAMES), "a prior that can be named can be made"
