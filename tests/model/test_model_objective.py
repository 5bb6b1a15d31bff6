"""The objective against exact answers."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from sklearn.decomposition import PCA
from torch.distributions import Normal, kl_divergence

from zatlas.model import likelihoods
from zatlas.model.likelihoods import NOISE_FLOOR_VAR, squared_error, updated_log_noise_var
from zatlas.model.objective import active_dims, effective_beta, kl_weight
from zatlas.model.priors import Posterior, StandardNormal

ZERO = torch.zeros((), dtype=torch.float64)


def with_noise(name, log_noise_var):
    """A likelihood of zatlas with this log of the shared variance."""
    made = likelihoods.likelihood(name)
    made.log_noise_var = log_noise_var
    return made


def distortion(params, x, mask, *, likelihood, log_noise_var):
    return with_noise(likelihood, log_noise_var).nll(params, x, mask)


def rate(mean, log_var):
    return StandardNormal().rate(Posterior(mean, log_var), mean)


def float64(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 9))
def test_rate_is_the_kl_divergence(seed, b, d):
    mean, log_var = 6 * float64(b, d, seed=seed) - 3, 8 * float64(b, d, seed=seed + 1) - 6
    posterior = Normal(mean, torch.exp(0.5 * log_var))
    exact = kl_divergence(posterior, Normal(torch.zeros_like(mean), torch.ones_like(mean)))
    torch.testing.assert_close(StandardNormal().rate_per_dim(Posterior(mean, log_var)), exact)
    torch.testing.assert_close(rate(mean, log_var), exact.sum(dim=1))
    assert (rate(mean, log_var) >= 0).all()


@pytest.mark.parametrize("log_var", [-6.0, 0.0, 1.5])
def test_gaussian_density_integrates_to_one(log_var):
    def density(value):
        x = torch.full((1, 1, 1, 1), value, dtype=torch.float64)
        nats = distortion(
            torch.full_like(x, 0.4), x, torch.ones_like(x), likelihood="gaussian", log_noise_var=ZERO + log_var
        )
        return math.exp(-float(nats))

    deviation = math.exp(log_var / 2)
    total, _ = quad(density, 0.4 - 12 * deviation, 0.4 + 12 * deviation, points=[0.4])
    assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("logit", [-30.0, -1.2, 0.0, 5.0])
def test_bernoulli_probabilities_add_up_to_one(logit):
    params = torch.full((2, 1, 1, 1), logit, dtype=torch.float64)
    x = torch.tensor([0.0, 1.0], dtype=torch.float64).reshape(2, 1, 1, 1)
    nats = distortion(params, x, torch.ones_like(x), likelihood="bernoulli", log_noise_var=ZERO)
    assert float(torch.exp(-nats).sum()) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_distortion_is_a_sum_over_unmasked_pixels_of_each_image(likelihood):
    params, x = 4 * float64(3, 2, 4, 4) - 2, float64(3, 2, 4, 4, seed=1)
    mask = (float64(3, 1, 4, 4, seed=2) > 0.4).double()
    log_noise_var = ZERO - 2
    found = distortion(params, x, mask, likelihood=likelihood, log_noise_var=log_noise_var)
    for b in range(3):
        expected = 0.0
        for c, h, w in np.ndindex(2, 4, 4):
            if mask[b, 0, h, w]:
                value, target = params[b, c, h, w], x[b, c, h, w]
                if likelihood == "gaussian":
                    expected -= float(Normal(value, torch.exp(0.5 * log_noise_var)).log_prob(target))
                else:
                    p = torch.sigmoid(value)
                    expected -= float(target * torch.log(p) + (1 - target) * torch.log(1 - p))
        assert float(found[b]) == pytest.approx(expected, rel=1e-12)
    changed = x + 5 * (1 - mask)
    assert torch.equal(found, distortion(params, changed, mask, likelihood=likelihood, log_noise_var=log_noise_var))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_gradients_agree_with_finite_differences(likelihood):
    x, mask = float64(2, 1, 3, 3, seed=1), (float64(2, 1, 3, 3, seed=2) > 0.3).double()
    mean, log_var = float64(2, 2), float64(2, 2, seed=3) - 1

    def loss(params, m, v, noise_var):
        return distortion(params, x, mask, likelihood=likelihood, log_noise_var=noise_var) + rate(m, v)

    inputs = [value.requires_grad_() for value in (4 * float64(2, 1, 3, 3) - 2, mean, log_var, ZERO.clone() - 1)]
    assert torch.autograd.gradcheck(loss, inputs)


def test_running_noise_variance_finds_the_optimum_and_its_floor():
    params, x = float64(4, 1, 8, 8), float64(4, 1, 8, 8, seed=1)
    mask = torch.ones(4, 1, 8, 8, dtype=torch.float64)
    squared, n_values = squared_error(params, x, mask)
    first = updated_log_noise_var(ZERO + 3, squared, n_values, step=0)
    assert float(torch.exp(first)) == pytest.approx(float((x - params).square().mean()))
    losses = [
        float(distortion(params, x, mask, likelihood="gaussian", log_noise_var=first + shift).sum())
        for shift in (-0.01, 0.0, 0.01)
    ]
    assert min(losses) == losses[1], "the mean squared residual is the best shared variance"
    later = updated_log_noise_var(first, 4 * squared, n_values, step=10_000)
    assert float(torch.exp(later - first)) == pytest.approx(1 + 3 * 0.05)
    assert float(torch.exp(updated_log_noise_var(first, ZERO, n_values, step=0))) == pytest.approx(NOISE_FLOOR_VAR)


def test_squared_error_counts_channels_and_leaves_out_padding():
    x, mask = torch.ones(1, 3, 2, 2), torch.tensor([[[[1.0, 1.0], [1.0, 0.0]]]])
    squared, n_values = squared_error(torch.zeros_like(x), x, mask)
    assert (float(squared), float(n_values)) == (9, 9)


def test_linear_vae_reaches_the_probabilistic_pca_likelihood():
    # The optimum of a linear VAE with one shared variance is probabilistic PCA, and its bound is tight:
    # Lucas et al. 2019, https://arxiv.org/abs/1911.02469
    n, d, k = 400, 9, 2
    rng = np.random.default_rng(0)
    data = rng.normal(size=(n, k)) @ (rng.normal(size=(k, d)) * [[2.0], [0.8]]) + 0.3 * rng.normal(size=(n, d))
    exact = PCA(k).fit(data).score(data)
    x = torch.from_numpy(data).reshape(n, 1, 3, 3)
    mask, generator = torch.ones(n, 1, 3, 3, dtype=torch.float64), torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    encode, decode = (0.1 * normal(d, k)).requires_grad_(), (0.1 * normal(k, d)).requires_grad_()
    log_var, log_noise_var = torch.zeros(k, dtype=torch.float64, requires_grad=True), ZERO.clone()
    centred = x.flatten(1) - x.flatten(1).mean(0)

    def elbo(noise):
        nonlocal log_noise_var
        mean = centred @ encode
        params = ((mean + torch.exp(0.5 * log_var) * noise) @ decode + x.flatten(1).mean(0)).reshape(x.shape)
        log_noise_var = updated_log_noise_var(log_noise_var, *squared_error(params.detach(), x, mask), step=10_000)
        nats = distortion(params, x, mask, likelihood="gaussian", log_noise_var=log_noise_var)
        return -(nats + rate(mean, log_var.expand(n, k))).mean()

    optimizer = torch.optim.Adam([encode, decode, log_var], lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1500)
    for _ in range(1500):
        loss = -elbo(normal(n, k))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        reached = float(torch.stack([elbo(normal(n, k)) for _ in range(100)]).mean())
    assert reached == pytest.approx(exact, rel=0.005)
    assert reached <= exact + 0.01, "a bound cannot exceed what it bounds"


def test_kl_weight_rises_linearly_then_stays():
    assert [kl_weight(e, warmup_epochs=4.0) for e in (0.0, 1.0, 4.0, 9.0)] == [0, 0.25, 1, 1]
    assert kl_weight(0.0, warmup_epochs=0.0) == 1


def test_active_dims_counts_dimensions_that_vary():
    means = torch.stack([torch.linspace(-1, 1, 50), torch.linspace(-0.05, 0.05, 50), torch.zeros(50)], dim=1)
    assert active_dims(means) == 1
    assert active_dims(means[:1]) == 0


@pytest.mark.parametrize(("residual_sd", "expected"), [(0.03, 267), (0.05, 96), (0.10, 24)])
def test_effective_beta_of_cross_entropy_on_mid_greys(residual_sd, expected):
    x_hat = torch.full((1, 1, 64, 64), 0.6)
    x = x_hat + residual_sd * torch.tensor([1.0, -1.0]).repeat(32).expand(1, 1, 64, 64)
    params = torch.logit(x_hat)
    found = effective_beta(x, params, torch.ones(1, 1, 64, 64), likelihood=likelihoods.Bernoulli(), beta=1.0)
    assert found == pytest.approx(expected, rel=0.01)


def test_effective_beta_of_a_calibrated_gaussian_is_beta():
    x_hat, x = torch.zeros(2, 1, 8, 8), float64(2, 1, 8, 8).float() - 0.5
    mask = torch.ones(2, 1, 8, 8)
    log_noise_var = torch.log(x.square().mean())
    found = effective_beta(x, x_hat, mask, likelihood=with_noise("gaussian", log_noise_var), beta=4.0)
    assert found == pytest.approx(4, rel=1e-5)
    wide = with_noise("gaussian", log_noise_var + math.log(9))
    wider = effective_beta(x, x_hat, mask, likelihood=wide, beta=1.0)
    assert wider == pytest.approx(9, rel=1e-5)


def test_noise_floor_is_the_variance_of_rounding_to_8_bits():
    greys = float64(200_000, seed=7)
    assert float(((greys * 255).round() / 255 - greys).square().mean()) == pytest.approx(NOISE_FLOOR_VAR, rel=0.02)
