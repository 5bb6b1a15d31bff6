"""Priors of a model side by side: fitted to training latents, judged on test latents, and what is drawn from which."""

import numpy as np
import pandas as pd
import pytest
import torch

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.density import prior_mismatch
from zatlas.errors import UsageError
from zatlas.model.priors import GaussianMixture, StandardNormal
from zatlas.results.priors import compare_priors, drawn_latents, latents_of, own_mismatch

N = 300


def clumps(n, seed):
    rng = np.random.default_rng(seed)
    return (np.array([[-3.0, 0], [3.0, 1]])[rng.integers(2, size=n)] + 0.4 * rng.normal(size=(n, 2))).astype(np.float32)


def atlas_of(mean, split):
    table = pd.DataFrame({"image": [str(i) for i in range(len(mean))], "image_row": np.arange(len(mean))})
    table = table.assign(group=[f"p{i // 3}" for i in range(len(mean))], y_px=0, x_px=0, size_px=8)
    if split is not None:
        table.insert(3, "split", split)
    return Atlas(mean, np.full_like(mean, -3.0), table)


SPLIT = np.repeat(["train", "validation", "test"], [180, 40, 80])


@pytest.fixture(scope="module")
def compared():
    return compare_priors(StandardNormal(), atlas_of(clumps(N, 0), SPLIT), 0)


def test_own_and_fitted_priors_stand_side_by_side(compared):
    table, priors = compared
    assert list(table.columns) == ["name", "words", "when", "validation_rate_nats", "rate_nats", "auc", "n"]
    assert table["name"].tolist() == ["standard", "gaussian", "mixture", "exemplars", "flow"]
    assert table["name"].tolist() == [one.name for one in priors]
    assert table["when"].tolist() == ["with"] + 4 * ["after"]
    assert (table["n"] == 80).all()
    mean = clumps(N, 0)[220:].astype(float)
    exact = 0.5 * (mean**2 + np.exp(-3.0) - 1 + 3).sum(axis=1).mean()
    rate, auc = table.set_index("name")["rate_nats"], table.set_index("name")["auc"]
    assert rate["standard"] == pytest.approx(exact, abs=0.1)
    assert rate["mixture"] < rate["gaussian"] - 0.3 < rate["standard"] - 0.3
    assert auc["mixture"] < 0.62 < 0.9 < auc["standard"]


def test_test_latents_judge_and_do_nothing_else(compared):
    mean = clumps(N, 0)
    mean[220:] = 9.0 + 2 * mean[220:]
    table, priors = compare_priors(StandardNormal(), atlas_of(mean, SPLIT), 0)
    for one, before in zip(priors, compared[1], strict=True):
        assert one.words == before.words
        draws = [each.sample(5, np.random.default_rng(0)) for each in (one, before)]
        np.testing.assert_array_equal(*draws)
    assert (table["rate_nats"] > compared[0]["rate_nats"] + 5).all()
    assert table["validation_rate_nats"].tolist() == compared[0]["validation_rate_nats"].tolist()


def test_without_enough_test_images_nothing_is_compared():
    for split in (None, np.repeat(["train", "test"], [281, 19])):
        table, priors = compare_priors(StandardNormal(), atlas_of(clumps(N, 0), split), 0)
        assert len(table) == len(priors) == 0
    wide = np.zeros((N, 129), np.float32)
    assert len(compare_priors(StandardNormal(), atlas_of(wide, SPLIT), 0)[0]) == 0
    assert {name: len(one) for name, one in latents_of(atlas_of(clumps(N, 0), None)).items()} == {
        "train": 240, "validation": 60,
    }  # fmt: skip


def test_latents_are_compared_with_the_prior_of_their_model():
    mean, log_var = clumps(N, 0), np.full((N, 2), -3.0, np.float32)
    assert own_mismatch(StandardNormal(), mean, log_var, 3) == prior_mismatch(mean, log_var, 3)
    prior = GaussianMixture(2, torch.Generator().manual_seed(0), k=2)
    with torch.no_grad():
        prior.means.copy_(torch.tensor([[-3.0, 0.0], [3.0, 1.0]]))
        prior.log_vars.fill_(float(np.log(0.16 + np.exp(-3))))
    found = own_mismatch(prior, mean, log_var, 3)
    assert np.isnan(found["kl_nats"])
    assert found["auc"] < 0.6
    assert prior_mismatch(mean, log_var)["auc"] > 0.9


def test_latents_are_drawn_from_what_was_asked_for():
    atlas = atlas_of(clumps(N, 0), SPLIT)
    z, words = drawn_latents("mixture", atlas, 400, 1)
    assert z.dtype == np.float32
    assert "Gaussian mixture of 2 components" in words
    assert (np.abs(z[:, 0]) > 1.5).mean() > 0.97
    gaussian, words = drawn_latents("gaussian", atlas, 400, 1)
    assert (np.abs(gaussian[:, 0]) > 1.5).mean() < 0.8
    assert words == "a Gaussian with mean and covariance of the training latents"
    np.testing.assert_array_equal(drawn_latents("mixture", atlas, 400, 1)[0], z)
    assert not np.array_equal(drawn_latents("mixture", atlas, 400, 2)[0], z)
    with pytest.raises(UsageError, match="there is no prior 'best' to fit"):
        drawn_latents("best", atlas, 4, 1)
