"""Quality numbers against values by hand, scikit-learn and scikit-image; probes on data with known answers."""

import tracemalloc

import numpy as np
import pandas as pd
import pytest
from skimage.metrics import structural_similarity
from sklearn.decomposition import PCA

from zatlas.errors import DataError, UsageError
from zatlas.trust.evaluation import (
    active_units,
    fit_pixel_pca,
    forecast_active_dims,
    implied_noise_variance,
    most_pca_rows,
    neighbour_overlap,
    psnr,
    ssim,
)
from zatlas.trust.probes import grey_histogram, label_kind, linear_probe


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((60, 5)) * [5, 3, 2, 1, 0.5]
    basis = np.linalg.qr(rng.standard_normal((144, 5)))[0].T
    return (0.5 + 0.03 * factors @ basis).reshape(60, 1, 12, 12).astype(np.float32)


def test_psnr_by_hand():
    x = np.zeros((2, 1, 2, 2), np.float32)
    x_hat = np.array([[[[0.1, 0.1], [0.1, 0.1]]], [[[1.0, 0], [0, 0]]]], np.float32)
    np.testing.assert_allclose(psnr(x, x_hat), [20, 10 * np.log10(4)], rtol=1e-6)
    np.testing.assert_allclose(psnr(255 * x, 255 * x_hat, data_range=255.0), psnr(x, x_hat), rtol=1e-6)


def test_psnr_of_an_equal_image_is_finite():
    x = np.ones((1, 3, 4, 4), np.float32)
    assert psnr(x, x).tolist() == [100.0]


def test_psnr_does_not_see_padding():
    x, x_hat = np.zeros((1, 2, 2, 2), np.float32), np.full((1, 2, 2, 2), 0.1, np.float32)
    x_hat[..., 1] = 0.9
    mask = np.ones((1, 1, 2, 2), np.float32)
    mask[..., 1] = 0
    np.testing.assert_allclose(psnr(x, x_hat, mask), [20], rtol=1e-6)


def test_ssim_is_that_of_scikit_image_and_1_for_equal_images():
    rng = np.random.default_rng(1)
    x, y = rng.random((2, 1, 20, 20)), rng.random((2, 1, 20, 20))
    expected = [structural_similarity(a[0], b[0], data_range=1.0) for a, b in zip(x, y, strict=True)]
    np.testing.assert_allclose(ssim(x, y), expected)
    np.testing.assert_allclose(ssim(x, x), 1)


def test_ssim_of_small_images_uses_a_window_that_fits():
    rng = np.random.default_rng(2)
    for side in (3, 4, 6):
        x = rng.random((1, 1, side, side))
        np.testing.assert_allclose(ssim(x, x), 1)
    assert np.isnan(ssim(np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 2, 2)))).all()
    assert ssim(np.zeros((0, 1, 8, 8)), np.zeros((0, 1, 8, 8))).shape == (0,)


def test_ssim_does_not_see_padding():
    rng = np.random.default_rng(3)
    x = rng.random((1, 1, 24, 24))
    y = x.copy()
    y[..., 14:] = rng.random((1, 1, 24, 10))
    mask = np.zeros((1, 1, 24, 24))
    mask[..., :11] = 1  # windows of 7 px centred here reach column 13
    assert ssim(x, y)[0] < 0.9
    np.testing.assert_allclose(ssim(x, y, mask), 1)


def test_pca_baseline_is_that_of_scikit_learn(images):
    reference = PCA(3, svd_solver="full").fit(images.reshape(60, -1).astype(np.float64))
    found = fit_pixel_pca(images.copy(), 3)
    np.testing.assert_allclose(found.variance[:3], reference.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(np.abs(found.components @ reference.components_.T), np.eye(3), atol=1e-3)
    flat = images.reshape(60, -1)
    expected = reference.inverse_transform(reference.transform(flat)).reshape(images.shape)
    np.testing.assert_allclose(found.reconstruct(images), np.clip(expected, 0, 1), atol=1e-4)
    assert found.reconstruct(images).dtype == np.float32 and found.transform(images).shape == (60, 3)


def test_pca_of_more_images_than_values_takes_the_covariance():
    rng = np.random.default_rng(4)
    images = (rng.random((300, 1, 6, 6)) * np.linspace(1, 0.1, 6)).astype(np.float32)
    reference = PCA(5, svd_solver="full").fit(images.reshape(300, -1).astype(np.float64))
    found = fit_pixel_pca(images.copy(), 5)
    assert found.variance.shape == (36,) and found.n == 300
    np.testing.assert_allclose(found.variance[:5], reference.explained_variance_, rtol=1e-4)
    np.testing.assert_allclose(np.abs((found.components * reference.components_).sum(axis=1)), 1, atol=1e-3)
    assert (found.components[np.arange(5), np.abs(found.components).argmax(axis=1)] > 0).all()


def test_pca_of_few_images_stops_at_their_rank(images):
    found = fit_pixel_pca(images[:4].copy(), 16)
    assert found.components.shape == (3, 144)
    np.testing.assert_allclose(found.reconstruct(images[:4]), images[:4], atol=1e-4)
    with pytest.raises(DataError, match="at least 2"):
        fit_pixel_pca(images[:1].copy(), 2)


def test_pca_of_equal_images_has_no_component():
    found = fit_pixel_pca(np.full((5, 1, 4, 4), 0.3, np.float32), 2)
    assert found.components.shape == (0, 16)
    np.testing.assert_allclose(found.reconstruct(np.full((1, 1, 4, 4), 0.3, np.float32)), 0.3, rtol=1e-6)


def test_pca_reconstructions_are_clipped(images):
    found = fit_pixel_pca(images.copy(), 5)
    made = found.reconstruct(np.float32(3) * images)
    assert made.max() <= 1 and made.min() >= 0


def test_pca_needs_little_more_memory_than_the_images():
    rng = np.random.default_rng(0)
    images = rng.random((500, 1, 64, 64), dtype=np.float32)
    tracemalloc.start()
    fit_pixel_pca(images, 8)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.2 * images.nbytes + 5 * 8 * 500**2
    assert most_pca_rows(128 * 128) * 128 * 128 * 4 <= 256e6 and most_pca_rows(64 * 64) == 3000


def test_forecast_counts_what_exceeds_the_noise():
    spectrum = np.array([10.0, 4, 1, 0.2, 0.1, 0.1])
    assert forecast_active_dims(spectrum, 4, beta=1.0, n_values=6, noise_variance=0.5) == 3
    assert forecast_active_dims(spectrum, 2, beta=1.0, n_values=6, noise_variance=0.5) == 2
    assert forecast_active_dims(spectrum, 4, beta=10.0, n_values=6, noise_variance=0.5) == 1
    # Shared optimal variance: with q dimensions the noise is the mean variance of the others.
    assert forecast_active_dims(spectrum, 4, beta=1.0, n_values=6, noise_variance=None) == 4
    assert forecast_active_dims(spectrum, 4, beta=10.0, n_values=6, noise_variance=None) == 2
    assert forecast_active_dims(np.ones(6), 4, beta=2.0, n_values=6, noise_variance=None) == 0


def test_cross_entropy_implies_a_noise_of_x_times_1_minus_x():
    assert implied_noise_variance(np.full((1, 2, 2), 0.6)) == pytest.approx(0.24)
    assert np.isfinite(implied_noise_variance(np.zeros((1, 2, 2))))


def test_active_units_are_those_whose_mean_varies():
    means = np.zeros((100, 3))
    means[:, 0], means[:, 1] = np.linspace(-1, 1, 100), 0.05 * np.linspace(-1, 1, 100)
    assert active_units(means).tolist() == [True, False, False]
    assert not active_units(means[:1]).any()


def test_neighbours_are_common_in_a_turned_space_and_by_chance_in_another():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((300, 4))
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert neighbour_overlap(a, 3 * a @ turn, 10) == pytest.approx(1, abs=0.01)
    assert neighbour_overlap(a, rng.standard_normal((300, 7)), 10) == pytest.approx(10 / 299, abs=0.02)
    with pytest.raises(UsageError, match="300 and 299"):
        neighbour_overlap(a, a[:299])


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


def test_neighbours_in_common_of_many_images_are_those_of_some_of_them():
    rng = np.random.default_rng(3)
    a = rng.normal(size=(400, 5))
    b = a + 0.3 * rng.normal(size=a.shape)
    whole, part = neighbour_overlap(a, b, 10), neighbour_overlap(a, b, 10, most=150)
    assert part != whole and part == pytest.approx(whole, abs=0.05)
    assert part == neighbour_overlap(a, b, 10, most=150)
    assert neighbour_overlap(a, a, 10, most=150) == 1
    assert neighbour_overlap(a, 3 * a, 10, most=150) == 1


def test_neighbours_in_common_survive_many_equal_latents():
    same = np.repeat(np.random.default_rng(0).normal(size=(4, 3)), 30, axis=0)
    assert 0 <= neighbour_overlap(same, same[::-1].copy(), 5, most=20) <= 1
    assert neighbour_overlap(same, same, 5, most=20) == 1
