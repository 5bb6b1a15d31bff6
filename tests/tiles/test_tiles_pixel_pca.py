"""PCA of pixels against scikit-learn, and its memory."""

import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA

from zatlas.errors import DataError
from zatlas.tiles.pixel_pca import fit_pixel_pca, most_pca_rows


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
