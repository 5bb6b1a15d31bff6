"""Densities: a known mixture recovered, draws with its moments, and the mismatch with the prior in known cases."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from zatlas.atlas.density import fit_density, prior_mismatch
from zatlas.errors import DataError

CENTRES = np.array([[-6.0, 0.0], [6.0, 1.0], [0.0, 8.0]])
SHAPE = np.array([[1.0, 0.8], [0.0, 0.6]])


@pytest.fixture
def rng():
    return np.random.default_rng(5)


@pytest.fixture(scope="module")
def mixture():
    rng = np.random.default_rng(6)
    points = CENTRES[rng.choice(3, 900, p=[0.5, 0.3, 0.2])] + rng.normal(size=(900, 2)) @ SHAPE
    return points, fit_density(points, 0)


def test_a_mixture_of_three_is_recovered(mixture):
    _, density = mixture
    assert density.n_components == 3
    assert density.kind == "full"
    order = np.argsort(-density.weights)
    np.testing.assert_allclose(density.weights[order], [0.5, 0.3, 0.2], atol=0.05)
    np.testing.assert_allclose(density.means[order], CENTRES, atol=0.25)
    for factor in density.factors:
        np.testing.assert_allclose(factor @ factor.T, SHAPE.T @ SHAPE, atol=0.35)


def _log_density(density, points):
    parts = zip(density.weights, density.means, density.factors, strict=True)
    return np.log(sum(weight * multivariate_normal(mean, f @ f.T).pdf(points) for weight, mean, f in parts))


def test_the_choice_is_the_best_of_the_trials(mixture):
    points, density = mixture
    trials = density.trials
    assert list(trials.columns) == ["kind", "n_components", "heldout_loglik", "has_converged", "chosen"]
    assert trials["chosen"].sum() == 1
    assert trials.loc[trials["heldout_loglik"].idxmax(), "chosen"]
    assert density.heldout_loglik == trials["heldout_loglik"].max()
    # On the scale of the latents themselves, so that it is close to the mean log-density of the fitted ones.
    assert density.heldout_loglik == pytest.approx(_log_density(density, points).mean(), abs=0.15)
    assert "Gaussian mixture of 3 components with full covariances, fitted to 900 training latents" in density.text


def test_draws_have_the_moments_of_the_latents_and_repeat_themselves(mixture):
    points, density = mixture
    draws = density.sample(40_000, seed=3)
    assert draws.dtype == np.float32
    np.testing.assert_allclose(draws.mean(axis=0), points.mean(axis=0), atol=0.15)
    np.testing.assert_allclose(np.cov(draws.T), np.cov(points.T), atol=0.6)
    np.testing.assert_array_equal(density.sample(10, seed=3), draws[:10])
    assert not np.array_equal(density.sample(10, seed=4), draws[:10])


def test_the_same_seed_gives_the_same_density(rng):
    points = rng.normal(size=(200, 4))
    first, second = fit_density(points, 9), fit_density(points, 9)
    np.testing.assert_array_equal(first.means, second.means)
    assert first.trials.equals(second.trials)


def test_independent_dimensions_take_diagonal_covariances(rng):
    density = fit_density(rng.normal(size=(150, 12)) * 3)
    assert (density.kind, density.n_components) == ("diag", 1)
    np.testing.assert_allclose(density.sample(5000).std(axis=0), 3, rtol=0.25)


@pytest.mark.parametrize(("n", "d"), [(5, 3), (12, 32), (60, 32), (300, 1)])
def test_few_latents_and_many_dimensions(rng, n, d):
    density = fit_density(rng.normal(size=(n, d)))
    assert density.n_components == 1
    assert np.isfinite(density.sample(20)).all()
    assert np.isfinite(density.heldout_loglik)


def test_unused_dimensions_stay_unused(rng):
    points = rng.normal(size=(300, 3)) * [1, 1e-4, 0] + [0, 0, 7]
    draws = fit_density(points).sample(2000)
    np.testing.assert_allclose(draws.std(axis=0), [1, 1e-4, 0], rtol=0.2, atol=1e-5)
    np.testing.assert_allclose(draws[:, 2], 7, atol=1e-4)


def test_impossible_latents_are_refused():
    with pytest.raises(DataError, match=r"shape \(4, 2\) are too few for a density: expected at least 5"):
        fit_density(np.zeros((4, 2)))
    with pytest.raises(DataError, match="not finite"):
        fit_density(np.full((9, 2), np.nan))


def test_an_aggregate_posterior_equal_to_the_prior_has_no_mismatch(rng):
    variance = 0.3
    means = rng.normal(size=(1500, 8)) * np.sqrt(1 - variance)
    found = prior_mismatch(means, np.full((1500, 8), np.log(variance)))
    assert found["kl_nats"] == pytest.approx(0, abs=0.05)
    assert found["kl_mixture_nats"] == pytest.approx(0, abs=1)
    assert found["auc"] == pytest.approx(0.5, abs=0.04)
    assert found["n"] == 1500


def test_a_collapsed_model_is_the_prior():
    found = prior_mismatch(np.zeros((400, 3)), np.zeros((400, 3)))
    assert found["kl_nats"] == pytest.approx(0, abs=1e-12)
    assert found["kl_mixture_nats"] == pytest.approx(0, abs=1e-9)
    assert found["rate_nats"] == 0
    assert found["auc"] == pytest.approx(0.5, abs=0.08)


def test_shifted_latents_are_far_from_the_prior(rng):
    means = rng.normal(size=(500, 4)) + 3
    found = prior_mismatch(means, np.full((500, 4), -3.0))
    assert found["auc"] > 0.99
    variance = 1 + np.exp(-3.0)
    assert found["kl_nats"] == pytest.approx(4 * 0.5 * (variance + 9 - 1 - np.log(variance)), rel=0.05)
    assert found["kl_nats"] < found["kl_mixture_nats"] < found["rate_nats"]


def test_correlated_latents_are_told_from_the_prior_although_each_dimension_matches(rng):
    factor = np.linalg.cholesky([[1, 0.95], [0.95, 1]])
    found = prior_mismatch(rng.normal(size=(1000, 2)) @ factor.T, np.full((1000, 2), -9.0))
    assert found["auc"] > 0.8
    assert found["kl_nats"] == pytest.approx(-0.5 * np.log(1 - 0.95**2), abs=0.1)


def test_the_mixture_estimate_is_exact_for_two_images_far_apart():
    means, log_vars = np.array([[50.0], [-50.0]] * 500), np.zeros((1000, 1))
    # Half of the draws around each: KL = rate - log 2.
    assert prior_mismatch(means, log_vars)["kl_mixture_nats"] == pytest.approx(1250 - np.log(2), rel=0.01)


def test_few_images_have_no_classifier_and_seeds_repeat(rng):
    means, log_vars = rng.normal(size=(19, 3)), np.full((19, 3), -2.0)
    assert np.isnan(prior_mismatch(means, log_vars)["auc"])
    means, log_vars = rng.normal(size=(60, 3)), np.full((60, 3), -2.0)
    assert prior_mismatch(means, log_vars, 1) == prior_mismatch(means, log_vars, 1)
    assert prior_mismatch(means, log_vars, 1) != prior_mismatch(means, log_vars, 2)
