"""Priors fitted after training: densities, what they gain on latents they have not seen, and a judge that is honest."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from zatlas.atlas.fitted_priors import (
    FITTED,
    FittedPrior,
    Latents,
    fit_prior,
    judge_prior,
    of_model,
    split_latents,
    telling_apart,
)
from zatlas.errors import DataError, UsageError
from zatlas.model.priors import StandardNormal

CLUMPS = np.array([[-3.0, 0.5], [3.0, 0.0]])
VARIANCE = 0.05


def latents(n, seed, *, d=2):
    """Two clumps of posteriors: an aggregate of two Gaussians of variance 0.25, known exactly."""
    rng = np.random.default_rng(seed)
    means = CLUMPS[rng.integers(2, size=n)] + np.sqrt(0.25 - VARIANCE) * rng.normal(size=(n, 2))
    return Latents(means[:, :d].astype(np.float32), np.full((n, d), np.log(VARIANCE), np.float32))


@pytest.fixture(scope="module")
def fitted():
    return {name: fit_prior(name, latents(400, 0), latents(100, 1)) for name in FITTED}


@pytest.mark.parametrize("name", FITTED)
def test_densities_integrate_to_one_and_draws_follow_them(fitted, name):
    prior = fitted[name]
    side = np.linspace(-9, 9, 301)
    grid = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1).reshape(-1, 2)
    density = np.exp(prior.log_prob(grid)) * (side[1] - side[0]) ** 2
    assert density.sum() == pytest.approx(1, abs=5e-3)
    drawn = prior.sample(20_000, np.random.default_rng(0))
    for inside in (_right, _above, _between):
        assert inside(drawn).mean() == pytest.approx(density[inside(grid)].sum(), abs=0.02)


def _right(z):
    return z[:, 0] > 0


def _above(z):
    return z[:, 1] > 0.5


def _between(z):
    return np.abs(z[:, 0]) < 1.5


def test_a_mixture_of_two_reaches_the_bound_of_the_true_one(fitted):
    judged = latents(600, 2)
    true = FittedPrior("true", "", _true, lambda n, rng: rng.standard_normal((n, 2)))
    found, best = judge_prior(fitted["mixture"], judged), judge_prior(true, judged)
    assert "2 components" in fitted["mixture"].words
    assert found["rate_nats"] == pytest.approx(best["rate_nats"], abs=0.05)
    standard = judge_prior(of_model(StandardNormal(), 2), judged)
    exact = 0.5 * (judged.means.astype(float) ** 2 + VARIANCE - 1 - np.log(VARIANCE)).sum(axis=1).mean()
    assert standard["rate_nats"] == pytest.approx(exact, abs=0.1)
    for name, prior in fitted.items():
        assert best["rate_nats"] - 0.05 < judge_prior(prior, judged)["rate_nats"] < standard["rate_nats"], name


def _true(z):
    deviation = 0.5
    return np.log(sum(0.5 * norm(centre, deviation).pdf(z).prod(axis=1) for centre in CLUMPS))


def test_clumps_are_told_from_the_standard_normal_and_from_one_gaussian_but_not_from_a_mixture(fitted):
    judged = latents(300, 3)
    auc = {name: judge_prior(prior, judged)["auc"] for name, prior in fitted.items()}
    auc["standard"] = judge_prior(of_model(StandardNormal(), 2), judged)["auc"]
    assert auc["standard"] > 0.9
    assert auc["gaussian"] > 0.7, "it has the right mean and covariance, and a hole is left"
    assert auc["mixture"] < 0.6
    assert auc["exemplars"] < 0.6


def test_a_prior_that_knows_the_training_latents_by_heart_is_found_out_by_others():
    """In many dimensions the bare posteriors of the training images cover no other image."""
    rng = np.random.default_rng(0)
    train, judged = (Latents(rng.normal(size=(200, 12)), np.full((200, 12), -6.0)) for _ in range(2))
    by_heart = FittedPrior(
        "by heart",
        "",
        lambda z: -0.5 * np.exp(6.0) * ((z[:, None] - train.means) ** 2).sum(axis=2).min(axis=1),
        lambda n, rng: train.means[rng.integers(len(train), size=n)] + np.exp(-3.0) * rng.normal(size=(n, 12)),
    )
    assert telling_apart(judged.draw(rng), by_heart, None) > 0.95
    assert telling_apart(train.draw(rng), by_heart, None) < 0.6
    assert judge_prior(by_heart, judged)["rate_nats"] > judge_prior(by_heart, train)["rate_nats"] + 100
    width = float(fit_prior("exemplars", train, judged).words.split(", ")[1].split()[0])
    assert width > 0.6, "validation latents want one Gaussian, or nearly so"


def test_exemplars_lie_between_the_posteriors_and_one_gaussian():
    train, validation = (Latents(latents(n, n).means, np.full((n, 2), -9.0)) for n in (200, 80))
    prior = fit_prior("exemplars", train, validation)
    width = float(prior.words.split(", ")[1].split()[0])
    assert 0 < width < 0.5
    assert ", 0 times as wide" in fit_prior("exemplars", train, train).words
    drawn = prior.sample(40_000, np.random.default_rng(0))
    whole = np.cov(train.means.T, bias=True)
    np.testing.assert_allclose(np.cov(drawn.T), whole, atol=0.15)
    np.testing.assert_allclose(drawn.mean(axis=0), train.means.mean(axis=0), atol=0.05)


def test_latents_are_split_as_the_images_are():
    means = np.arange(60.0)[:, None]
    split = np.repeat(["train", "validation", "test", "train"], [20, 12, 8, 20])
    found = split_latents(means, means, split)
    assert {name: len(one) for name, one in found.items()} == {"train": 40, "validation": 12, "test": 8}
    assert set(found["test"].means[:, 0]) == set(range(32, 40))
    few = split_latents(means, means, np.where(split == "validation", "test", split))
    assert {name: len(one) for name, one in few.items()} == {"train": 32, "validation": 8, "test": 20}
    seen = {*few["train"].means[:, 0], *few["validation"].means[:, 0]}
    assert len(seen) == 40 and not seen & set(few["test"].means[:, 0])
    whole = split_latents(means, means, None)
    assert {name: len(one) for name, one in whole.items()} == {"train": 48, "validation": 12}


def test_equal_distributions_are_not_told_apart_and_groups_stay_whole():
    rng = np.random.default_rng(1)
    standard = of_model(StandardNormal(), 6)
    assert telling_apart(rng.normal(size=(500, 6)), standard, None) == pytest.approx(0.5, abs=0.07)
    # One clump for each of 8 groups: whoever has seen the others of a clump knows it, with whole groups nobody has.
    groups = np.repeat(np.arange(8), 25)
    centres = rng.normal(size=(8, 6))
    clumped = centres[groups] + 0.05 * rng.normal(size=(200, 6))
    assert telling_apart(clumped, standard, None) > telling_apart(clumped, standard, groups) + 0.1


def test_seeds_repeat_and_few_images_are_refused():
    train, validation, judged = latents(60, 0), latents(20, 1), latents(40, 2)
    for name in FITTED:
        first, again = (fit_prior(name, train, validation, seed=4) for _ in range(2))
        assert judge_prior(first, judged, seed=1) == judge_prior(again, judged, seed=1)
        np.testing.assert_array_equal(
            first.sample(5, np.random.default_rng(0)), again.sample(5, np.random.default_rng(0))
        )
    assert np.isnan(judge_prior(first, latents(19, 3))["auc"])
    with pytest.raises(DataError, match="4 training and 20 validation images are too few"):
        fit_prior("flow", latents(4, 0), validation)
    with pytest.raises(UsageError, match="there is no prior 'vamp' to fit"):
        fit_prior("vamp", train, validation)
    with pytest.raises(DataError, match="not finite"):
        Latents(np.full((3, 2), np.nan), np.zeros((3, 2)))


@pytest.mark.parametrize("name", FITTED)
def test_one_dimension_is_enough_and_gradients_need_not_be_on(name):
    with torch.inference_mode():
        prior = fit_prior(name, latents(80, 0, d=1), latents(30, 1, d=1))
    side = np.linspace(-9, 9, 2001)[:, None]
    assert np.exp(prior.log_prob(side)).sum() * 0.009 == pytest.approx(1, abs=5e-3)
    assert prior.sample(6, np.random.default_rng(0)).shape == (6, 1)
