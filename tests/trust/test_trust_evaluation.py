"""PSNR and SSIM against values by hand and scikit-image; fine texture of waves; the best epoch."""

import math

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from zatlas.trust.evaluation import best_epoch, bits, psnr, relative_error, ssim, texture_kept


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


def waves(period, amplitude=1.0, side=64):
    """A grey image with vertical stripes of a period [px]."""
    return (amplitude * np.sin(2 * np.pi * np.arange(side) / period) * np.ones((side, 1)))[None, None]


def test_texture_is_the_power_of_what_is_finer_than_16_px():
    fine, coarse = waves(5), waves(40, 3.0)
    assert texture_kept(fine, 0.5 * fine + 7) == pytest.approx(0.25)
    assert texture_kept(fine, waves(10)) == pytest.approx(1, abs=1e-3)
    assert texture_kept(fine, coarse) < 3e-3
    assert texture_kept(fine, waves(17)) < 0.5 < texture_kept(fine, waves(15))


def test_texture_is_known_from_16_px_on_and_where_there_is_some():
    rng = np.random.default_rng(0)
    assert texture_kept(*2 * [rng.random((2, 3, 16, 20))]) == 1
    assert math.isnan(texture_kept(*2 * [rng.random((2, 3, 15, 20))]))
    assert math.isnan(texture_kept(np.zeros((1, 1, 32, 32)), rng.random((1, 1, 32, 32))))
    assert math.isnan(texture_kept(np.zeros((0, 1, 32, 32)), np.zeros((0, 1, 32, 32))))


def test_error_and_bits_undo_psnr_and_nats():
    x, x_hat = np.zeros((1, 1, 4, 4)), np.full((1, 1, 4, 4), 0.02)
    assert relative_error(float(psnr(x, x_hat)[0])) == pytest.approx(0.02)
    assert bits(math.log(8)) == pytest.approx(3)


def test_the_best_epoch_is_the_first_of_lowest_objective():
    nan = float("nan")
    assert best_epoch(np.array([1.0, 2, 3, 4]), np.array([9.0, nan, 5, 5])) == 3
    assert best_epoch(np.array([1.0, 2]), np.array([nan, nan])) is None
    assert best_epoch(np.zeros(0), np.zeros(0)) is None
