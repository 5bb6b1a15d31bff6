"""Gains over PCA: three measures, what counts as empty, intervals over groups."""

import numpy as np
import pytest
from scipy import stats

from zatlas.trust.evaluation import psnr, squared_error
from zatlas.trust.gains import Gain, TileErrors, contrast, contrast_floor, gain_verdict, gains, interval_over_groups


def errors_of(model, pca, *, group, has_content=None, n_values=None) -> TileErrors:
    model, pca = np.asarray(model, float), np.asarray(pca, float)
    content = np.ones(len(model), bool) if has_content is None else np.asarray(has_content)
    n = np.full(len(model), 100.0) if n_values is None else np.asarray(n_values, float)
    return TileErrors(model, pca, n, content, np.asarray(group))


def test_three_measures_of_empty_and_full_tiles():
    """The model is better where there is something to see, and loses on one empty tile."""
    found = gains(
        errors_of([1e-2, 1e-2, 1e-4], [2e-2, 2e-2, 1e-5], group=["a", "b", "c"], has_content=[True, True, False]),
    )
    assert found["gain_db"] == pytest.approx((2 * 10 * np.log10(2) - 10) / 3)
    assert found["content_gain_db"] == pytest.approx(10 * np.log10(2))
    assert found["content_psnr_db"] == pytest.approx(20) and found["content_pca_psnr_db"] == pytest.approx(16.98970004)
    assert found["pooled_psnr_db"] == pytest.approx(-10 * np.log10(2.01e-2 / 3))
    assert found["pooled_gain_db"] == pytest.approx(10 * np.log10((4e-2 + 1e-5) / 2.01e-2))
    assert found["n_empty"] == 1 and found["n_groups"] == 3


def test_pooled_error_weighs_pixels():
    found = gains(errors_of([0.1, 0.2], [0.1, 0.1], group=["a", "b"], n_values=[300, 100]))
    assert found["pooled_psnr_db"] == pytest.approx(-10 * np.log10(0.125))
    assert found["gain_db"] == pytest.approx(-10 * np.log10(2) / 2)


def test_gains_are_those_of_psnr():
    rng = np.random.default_rng(0)
    x, made, linear = rng.random((3, 9, 2, 6, 6))
    mask = (rng.random((9, 1, 6, 6)) < 0.7).astype(float)
    errors = errors_of(squared_error(x, made, mask), squared_error(x, linear, mask), group=np.arange(9))
    expected = psnr(x, made, mask) - psnr(x, linear, mask)
    assert gains(errors)["gain_db"] == pytest.approx(expected.mean())
    assert psnr(x[:1], x[:1])[0] == 100 and gains(errors_of([0.0], [1.0], group=["a"]))["gain_db"] == 100


def test_no_tile_with_content_and_a_single_group():
    found = gains(errors_of([0.1, 0.1], [0.2, 0.2], group=["a", "a"], has_content=[False, False]))
    assert np.isnan(found["content_gain_db"]) and np.isnan(found["content_psnr_db"]) and found["n_empty"] == 2
    assert found["n_groups"] == 1
    assert found["gain_db"] > 0 and np.isnan(found["gain_low_db"]) and np.isnan(found["pooled_gain_high_db"])


def mean_of(sums):
    return sums[:, 0] / sums[:, 1]


def test_interval_is_over_groups_not_tiles():
    """Tiles of a group are alike: a thousand of them say no more than one."""
    rng = np.random.default_rng(1)
    of_group = rng.standard_normal(40)
    group = np.repeat(np.arange(40), 25)
    values = np.stack([of_group[group], np.ones(1000)], axis=1)
    low, high = interval_over_groups(values, group, mean_of)
    half = stats.t.ppf(0.975, 39) * of_group.std(ddof=1) / np.sqrt(40)
    assert (low, high) == pytest.approx((of_group.mean() - half, of_group.mean() + half))
    narrow = interval_over_groups(values, np.arange(1000), mean_of)
    assert narrow[1] - narrow[0] < 0.3 * (high - low)
    assert interval_over_groups(values[::-1], group[::-1].astype(str), mean_of) == pytest.approx((low, high))


def test_groups_weigh_by_their_tiles():
    """One large group and two small ones: the mean is over tiles, and a group left out takes all its own along."""
    group = np.array(["a"] * 8 + ["b", "c"])
    values = np.stack([np.r_[np.ones(8), 0, 0], np.ones(10)], axis=1)
    without = np.array([0, 8 / 9, 8 / 9])
    half = stats.t.ppf(0.975, 2) * np.sqrt(2 / 3 * ((without - without.mean()) ** 2).sum())
    assert interval_over_groups(values, group, mean_of) == pytest.approx((0.8 - half, 0.8 + half))
    assert all(np.isnan(interval_over_groups(values, np.zeros(10), mean_of)))


@pytest.mark.parametrize("n_groups", [3, 5, 12])
def test_few_groups_hold_the_truth_as_often_as_they_say(n_groups):
    rng = np.random.default_rng(n_groups)
    hits = 0
    for _ in range(400):
        sizes = np.maximum(1, rng.lognormal(3, 0.6, n_groups)).astype(int)
        group = np.repeat(np.arange(n_groups), sizes)
        values = rng.standard_normal(n_groups)[group] + 2 * rng.standard_normal(len(group))
        low, high = interval_over_groups(np.stack([values, np.ones(len(group))], axis=1), group, mean_of)
        hits += low <= 0 <= high
    assert 0.9 <= hits / 400 <= 0.98


def test_contrast_is_the_standard_deviation_of_pixels_that_count():
    rng = np.random.default_rng(0)
    x = rng.random((4, 3, 8, 8)).astype(np.float32)
    np.testing.assert_allclose(contrast(x), np.sqrt(x.var(axis=(2, 3)).mean(axis=1)), rtol=1e-5)
    mask = np.zeros((4, 1, 8, 8), np.float32)
    mask[:, :, :4] = 1
    np.testing.assert_allclose(contrast(x, mask), contrast(x[:, :, :4]), rtol=1e-5)
    flat = np.broadcast_to(np.array([0.2, 0.9, 0.5])[:, None, None], (1, 3, 8, 8))  # evenly coloured: empty
    np.testing.assert_allclose(contrast(flat), 0, atol=1e-7)


def test_glass_is_empty_and_faint_tissue_is_not():
    tissue, faint, glass = np.full(12, 0.2), np.full(8, 0.045), np.full(80, 0.006)
    floor = contrast_floor(np.concatenate([tissue, faint, glass]))
    assert glass.max() < floor < faint.min()
    radiographs = np.linspace(0.078, 0.326, 500)
    assert contrast_floor(radiographs) < radiographs.min()
    assert contrast_floor(np.zeros(0)) == 0


@pytest.mark.parametrize(
    ("gain", "words"),
    [
        (Gain(0.81, 0.75, 0.88), "beats"),
        (Gain(0.02, 0.01, 0.03), "beats"),
        (Gain(0.5, -0.1, 1.1), "level with"),
        (Gain(-0.4, -0.9, 0.0), "level with"),
        (Gain(-0.4, -0.9, -0.1), "stays below"),
        (Gain(0.2, float("nan"), float("nan")), "beats"),
        (Gain(-0.09, float("nan"), float("nan")), "level with"),
        (Gain(-0.2, float("nan"), float("nan")), "stays below"),
    ],
)
def test_verdict_follows_the_interval(gain, words):
    assert gain_verdict(gain) == words


def test_images_that_come_back_exactly_are_counted():
    found = gains(errors_of([0.0, 1e-10, 2e-10], [1e-11, 1.0, 1.0], group=["a", "b", "c"]))
    assert (found["n_exact"], found["pca_n_exact"]) == (2, 1)
