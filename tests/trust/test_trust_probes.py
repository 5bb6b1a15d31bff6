"""Probes on data with known answers, which labels are worth one, and the features they read."""

import numpy as np
import pandas as pd
import pytest

from zatlas.trust.probes import grey_histogram, label_kind, linear_probe, means_by


def test_ridge_probe_reads_a_linear_label_perfectly():
    rng = np.random.default_rng(0)
    latents = rng.standard_normal((200, 4)).astype(np.float32)
    label = pd.Series(latents @ [1.0, -2, 0.5, 0] + 7)
    probe = linear_probe(latents, label)
    assert probe.metric == "R2" and probe.score > 0.999 and probe.null == 0 and probe.n == 200
    assert not probe.is_grouped


def test_probe_of_noise_is_no_better_than_its_null():
    rng = np.random.default_rng(1)
    latents = rng.standard_normal((300, 6))
    assert linear_probe(latents, pd.Series(rng.standard_normal(300))).score < 0.05
    probe = linear_probe(latents, pd.Series(rng.choice(["a", "b", "c"], 300)))
    assert probe.null == pytest.approx(1 / 3) and abs(probe.score - probe.null) < 0.12


def test_classes_that_a_line_parts_are_read_and_balanced():
    rng = np.random.default_rng(2)
    label = np.repeat(["rare", "common"], [20, 180])
    latents = rng.standard_normal((200, 3))
    latents[label == "rare", 0] += 6
    probe = linear_probe(latents, pd.Series(label))
    assert probe.metric == "balanced accuracy" and probe.kind == "categories"
    assert probe.score > 0.95 and probe.null == 0.5 and probe.n_classes == 2


def test_grouped_folds_do_not_reward_knowing_the_group():
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(20), 15)
    latents = np.eye(20)[group] + 0.01 * rng.standard_normal((300, 20))
    label = pd.Series(rng.standard_normal(20)[group])
    assert linear_probe(latents, label).score > 0.95
    grouped = linear_probe(latents, label, group)
    assert grouped.is_grouped and grouped.score < 0.2
    assert not linear_probe(latents, label, np.repeat([0, 1], 150)).is_grouped


def test_small_classes_get_fewer_folds():
    label = np.repeat([f"class {i}" for i in range(10)], 3)
    probe = linear_probe(np.eye(10)[np.repeat(np.arange(10), 3)], pd.Series(label))
    assert probe.score == 1 and probe.n == 30


def test_missing_labels_are_left_out_and_probes_repeat():
    rng = np.random.default_rng(4)
    latents = rng.standard_normal((100, 2))
    label = pd.Series(np.where(np.arange(100) % 4 == 0, np.nan, latents[:, 0]))
    probe = linear_probe(latents, label)
    assert probe.n == 75 and probe.score > 0.99
    assert linear_probe(latents, label, seed=5) == linear_probe(latents, label, seed=5)
    assert linear_probe(latents[:10], label[:10]) is None


def test_a_constant_feature_does_not_matter():
    rng = np.random.default_rng(5)
    latents = np.hstack([rng.standard_normal((60, 1)), np.full((60, 1), 3.0)])
    assert linear_probe(latents, pd.Series(latents[:, 0])).score > 0.99
    assert np.isfinite(linear_probe(np.ones((60, 2)), pd.Series(latents[:, 0])).score)


@pytest.mark.parametrize(
    ("values", "name", "expected"),
    [
        (np.linspace(0, 1, 40), "stain", "quantity"),
        (np.arange(40), "counter", ""),
        (np.arange(40) * 37 % 40, "order", ""),
        (np.arange(40) % 9, "age", "quantity"),
        (np.linspace(0, 1, 40), "index", ""),
        (np.linspace(0, 1, 40), "width", ""),
        (np.arange(40) % 9, "patient", ""),
        (np.arange(40) % 9, "Subject_No", ""),
        (["a", "b"] * 20, "kind", "categories"),
        ([True, False] * 20, "flag", "categories"),
        ([0, 1] * 20, "sex", "categories"),
        ([f"img{i}.png" for i in range(40)], "source", ""),
        (["a"] * 40, "kind", ""),
        (["a"] * 39 + ["b"], "kind", ""),
        ([1.5] * 40, "thickness", ""),
        ([np.inf, *np.linspace(0, 1, 39)], "bad", ""),
        ([None] * 30 + ["a", "b"] * 5, "sparse", ""),
    ],
)
def test_which_labels_are_worth_a_probe(values, name, expected):
    assert label_kind(pd.Series(values), name) == expected


def test_histogram_counts_shares_per_channel():
    images = np.zeros((1, 2, 2, 2), np.float32)
    images[0, 1] = [[0.3, 0.6], [1.0, 0.99]]
    assert grey_histogram(images, 4).tolist() == [[1, 0, 0, 0, 0, 0.25, 0.25, 0.5]]


def test_means_of_tiles_are_those_of_pandas():
    rng = np.random.default_rng(0)
    codes, features = rng.permutation(np.repeat([0, 1, 2], [1, 5, 9])), rng.standard_normal((15, 4))
    np.testing.assert_allclose(means_by(codes, features), pd.DataFrame(features).groupby(codes).mean().to_numpy())


@pytest.mark.parametrize(
    ("n_values", "each", "expected"),
    [(20, 3, "categories"), (21, 3, ""), (10, 2, ""), (2, 10, "categories"), (1, 40, "")],
)
def test_categories_are_few_and_each_is_seen_three_times(n_values, each, expected):
    assert label_kind(pd.Series(np.repeat([f"kind {i}" for i in range(n_values)], each))) == expected


def test_labels_are_known_for_20_images():
    for n, expected in ((20, "quantity"), (19, "")):
        assert label_kind(pd.Series([*np.linspace(0.1, 1, n), np.nan, np.nan])) == expected


def test_a_label_that_never_varies_has_no_score():
    latents = np.random.default_rng(6).standard_normal((40, 2))
    probe = linear_probe(latents, pd.Series(np.ones(40)), kind="quantity")
    assert probe is not None and np.isnan(probe.score)


def test_histogram_has_16_bins_a_channel():
    assert grey_histogram(np.zeros((2, 3, 4, 4), np.float32)).shape == (2, 48)
