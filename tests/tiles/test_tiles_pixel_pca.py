"""PCA of pixels against scikit-learn, and its memory."""

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

from zatlas.errors import DataError
from zatlas.tiles.pixel_pca import PcaStream, fit_pixel_pca, fit_pixel_pca_stream, most_pca_rows


@pytest.fixture
def images():
    rng = np.random.default_rng(0)
    factors = rng.standard_normal((60, 5)) * [5, 3, 2, 1, 0.5]
    basis = np.linalg.qr(rng.standard_normal((144, 5)))[0].T
    return (0.5 + 0.03 * factors @ basis).reshape(60, 1, 12, 12).astype(np.float32)


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


def test_the_first_components_are_a_smaller_pca(images):
    large, small = fit_pixel_pca(images.copy(), 5), fit_pixel_pca(images.copy(), 2)
    found = large.first(2)
    np.testing.assert_allclose(found.components, small.components, atol=1e-6)
    assert (found.left_out, found.beyond) == (pytest.approx(small.left_out), pytest.approx(small.beyond))
    np.testing.assert_allclose(found.reconstruct(images), small.reconstruct(images), atol=1e-6)
    assert large.first(5) is large and large.first(9) is large


def test_a_pca_on_another_scale_is_that_of_the_images_there(images):
    expected, found = fit_pixel_pca(3 * images - 2, 3), fit_pixel_pca(images.copy(), 3).rescaled(3.0, -2.0)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-5)
    np.testing.assert_allclose(found.variance[:3], expected.variance[:3], rtol=1e-4)
    assert found.left_out == pytest.approx(expected.left_out, rel=1e-3)
    made = [pca.reconstruct(3 * images - 2, is_clipped=False) for pca in (found, expected)]
    np.testing.assert_allclose(made[0], made[1], atol=1e-4)


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


def textures(n: int, channels: int = 1, side: int = 36, seed: int = 0) -> np.ndarray:
    """Images whose variance falls slowly, as that of tissue does, around a mean that is not flat."""
    rng = np.random.default_rng(seed)
    n_values = channels * side**2
    scale = 0.2 / np.sqrt(1 + np.arange(200))
    basis = np.linalg.qr(np.random.default_rng(9).standard_normal((n_values, 200)))[0].T
    flat = np.linspace(0.2, 0.8, n_values) + (rng.standard_normal((n, 200)) * scale) @ basis
    return flat.reshape(n, channels, side, side).astype(np.float32)


def captured(found, images: np.ndarray) -> float:
    """Share of the variance of images that components hold."""
    flat = (images - found.mean).reshape(len(images), -1)
    return float(((flat @ found.components.T) ** 2).sum() / (flat**2).sum())


@pytest.mark.parametrize(("channels", "side"), [(1, 36), (3, 20)])
def test_a_stream_of_images_gives_their_pca(channels, side):
    images = textures(900, channels, side)
    exact = fit_pixel_pca(images.copy(), 6)
    found = fit_pixel_pca_stream(np.array_split(images, 11), 6)
    assert found.n == 900 and found.mean.shape == (channels, side, side)
    np.testing.assert_allclose(found.mean, exact.mean, atol=1e-5)
    np.testing.assert_allclose(found.variance[:6], exact.variance[:6], rtol=1e-3)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(6), atol=1e-5)
    assert found.left_out == pytest.approx(exact.left_out, rel=1e-3)
    new = textures(300, channels, side, seed=1)
    assert captured(found, new) == pytest.approx(captured(exact, new), abs=2e-4)
    cosines = np.linalg.svd(found.components @ exact.components.T)[1]
    assert cosines.min() > 0.995  # the sixth and seventh variance lie 15 % apart


def test_order_and_batches_of_a_stream_matter_little():
    images = textures(800)
    one_way = fit_pixel_pca_stream([images], 8)
    other_way = fit_pixel_pca_stream([*np.array_split(images[::-1], 40)], 8)
    assert captured(one_way, images) == pytest.approx(captured(other_way, images), abs=1e-4)
    np.testing.assert_allclose(one_way.variance[:8], other_way.variance[:8], rtol=2e-3)


def test_a_stream_of_small_images_is_exact():
    images = textures(900, side=20)
    exact = fit_pixel_pca(images.copy(), 5)
    found = fit_pixel_pca_stream(np.array_split(images, 3), 5)
    np.testing.assert_allclose(found.variance, exact.variance, rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(np.abs(found.components @ exact.components.T), np.eye(5), atol=2e-3)
    assert found.left_out == pytest.approx(exact.left_out, rel=1e-4)


def test_a_stream_of_few_images_is_exact_and_goes_on():
    images = textures(40)
    stream = PcaStream(8)
    stream.add(images[:20])
    before = images.copy()
    exact = fit_pixel_pca(images[:20].copy(), 8)
    found = stream.result()
    np.testing.assert_allclose(found.variance[:8], exact.variance[:8], rtol=1e-3)
    np.testing.assert_allclose(np.abs((found.components * exact.components).sum(axis=1)), 1, atol=1e-3)
    stream.add(images[20:])
    np.testing.assert_allclose(stream.result().variance[:8], fit_pixel_pca(images.copy(), 8).variance[:8], rtol=1e-3)
    np.testing.assert_array_equal(images, before)
    with pytest.raises(DataError, match="at least 2"):
        fit_pixel_pca_stream([images[:1]], 2)


@pytest.mark.parametrize("side", [12, 40])
def test_a_stream_without_variance_in_some_directions_stops_at_its_rank(side):
    rng = np.random.default_rng(2)
    basis = np.linalg.qr(rng.standard_normal((side**2, 3)))[0].T
    flat = 0.5 + (rng.standard_normal((700, 3)) * [3, 2, 1]) @ basis / 30
    images = flat.reshape(700, 1, side, side).astype(np.float32)
    found = fit_pixel_pca_stream(np.array_split(images, 5), 16)
    assert found.components.shape == (3, side**2)
    np.testing.assert_allclose(found.components @ found.components.T, np.eye(3), atol=1e-4)
    np.testing.assert_allclose(found.reconstruct(images[:9]), images[:9], atol=1e-4)
    constant = fit_pixel_pca_stream([np.full((600, 1, side, side), 0.3, np.float32)] * 2, 4)
    assert constant.components.shape == (0, side**2) and constant.left_out == pytest.approx(0, abs=1e-6)
    np.testing.assert_allclose(constant.reconstruct(images[:1]), 0.3, atol=1e-6)


def test_what_components_leave_out_is_the_noise_of_probabilistic_pca():
    rng = np.random.default_rng(3)
    images = (0.5 + 0.1 * rng.standard_normal((3000, 1, 6, 6))).astype(np.float32)
    images += (0.5 * rng.standard_normal((3000, 1, 1, 1))).astype(np.float32)
    for found in (fit_pixel_pca(images.copy(), 1), fit_pixel_pca_stream([images], 1)):
        assert found.noise_variance == pytest.approx(0.01, rel=0.02)
        total = images.reshape(3000, -1).var(axis=0, ddof=1).sum()
        assert found.left_out + found.variance[0] == pytest.approx(total, rel=1e-3)


def test_a_stream_needs_the_same_memory_however_many_images_come():
    rng = np.random.default_rng(0)
    stream = PcaStream(4)
    batch = rng.random((64, 1, 40, 40), dtype=np.float32)
    stream.add(batch)
    tracemalloc.start()
    for _ in range(30):
        stream.add(batch)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * 8 * 600**2 + 4 * 2 * 600 * 2048


def test_reconstructions_off_the_scale_are_left_when_asked(images):
    found = fit_pixel_pca(images.copy(), 5)
    bright = found.mean + np.float32(20) * (images - found.mean)
    assert bright.max() > 1.5 and bright.min() < -0.5
    np.testing.assert_allclose(found.reconstruct(bright, is_clipped=False), bright, atol=1e-2)
