"""Maps: PCA and trust against scikit-learn, t-SNE's start and its edge cases, neighbours by brute force."""

import numpy as np
import pytest
import sklearn.decomposition
import sklearn.manifold
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.atlas.projections import derived_seed, fit_pca, nearest_neighbours, trust, tsne
from zatlas.errors import DataError, UsageError


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def three_blobs(rng, n=150, d=6):
    centres = 8 * np.eye(3, d)
    which = np.arange(n) % 3
    return centres[which] + rng.normal(size=(n, d)), which


@settings(max_examples=30, deadline=None)
@given(n=st.integers(3, 30), d=st.integers(1, 12), seed=st.integers(0, 1000))
def test_pca_is_that_of_scikit_learn(n, d, seed):
    points = np.random.default_rng(seed).normal(size=(n, d)) * np.linspace(3, 1, d) + 5
    ours, theirs = fit_pca(points), sklearn.decomposition.PCA(svd_solver="full").fit(points)
    np.testing.assert_allclose(ours.variance, theirs.explained_variance_, atol=1e-10)
    np.testing.assert_allclose(ours.explained_ratio, theirs.explained_variance_ratio_, atol=1e-10)
    rank = min(n - 1, d)
    agreement = np.abs((ours.components[:rank] * theirs.components_[:rank]).sum(axis=1))
    np.testing.assert_allclose(agreement, 1, atol=1e-6)
    np.testing.assert_allclose(ours.inverse(ours.transform(points)), points, atol=1e-9)


def test_the_largest_loading_is_positive_whatever_the_order_of_the_images(rng):
    points = rng.normal(size=(50, 5)) * [5, 4, 3, 2, 1]
    ours, shuffled = fit_pca(points), fit_pca(points[rng.permutation(50)])
    largest = np.abs(ours.components).argmax(axis=1)
    assert (ours.components[np.arange(5), largest] > 0).all()
    np.testing.assert_allclose(ours.components, shuffled.components, atol=1e-10)


def test_pca_keeps_as_many_components_as_asked_for_and_survives_equal_points(rng):
    assert fit_pca(rng.normal(size=(20, 6)), 2).components.shape == (2, 6)
    assert fit_pca(rng.normal(size=(3, 6))).components.shape == (3, 6)
    assert (fit_pca(np.ones((4, 3))).explained_ratio == 0).all()
    assert fit_pca(np.ones((1, 3))).variance.tolist() == [0]


def test_latents_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="latents of 1 of 3 images are not finite"):
        fit_pca(np.array([[0.0], [np.nan], [1.0]]))
    with pytest.raises(DataError, match=r"found an array of shape \(0, 2\)"):
        fit_pca(np.zeros((0, 2)))


def test_trustworthiness_and_continuity_are_those_of_scikit_learn(rng):
    high, low = rng.normal(size=(120, 5)), rng.normal(size=(120, 2))
    for k in (1, 5, 15):
        expected = sklearn.manifold.trustworthiness(high, low, n_neighbors=k)
        reverse = sklearn.manifold.trustworthiness(low, high, n_neighbors=k)
        assert trust(high, low, k=k) == pytest.approx((expected, reverse), abs=1e-12)
    assert trust(high, high, k=15) == (1, 1)


def test_trust_of_many_images_is_estimated_from_some_of_them(rng):
    high = rng.normal(size=(600, 4))
    whole, part = trust(high, high[:, :2], most=600), trust(high, high[:, :2], most=200)
    assert part == pytest.approx(whole, abs=0.03)
    assert part != whole
    assert part == trust(high, high[:, :2], most=200)


def test_trust_needs_more_images_than_twice_the_neighbourhood(rng):
    with pytest.raises(UsageError, match="neighbourhood of 15 needs more than 30 images, found 30"):
        trust(rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), k=15)


def test_tsne_separates_blobs_and_repeats_itself(rng):
    points, which = three_blobs(rng)
    first, second = tsne(points, seed=3), tsne(points, seed=3)
    np.testing.assert_array_equal(first.points, second.points)
    assert first.points.dtype == np.float32
    assert first.perplexity == 30
    assert first.n_neighbours == 15
    assert first.trustworthiness > 0.85
    assert first.continuity > 0.85
    centres = np.stack([first.points[which == c].mean(axis=0) for c in range(3)])
    nearest = np.linalg.norm(first.points[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, which)


def test_tsne_keeps_the_order_along_the_first_component(rng):
    points = np.column_stack([np.linspace(-20, 20, 100), rng.normal(size=(100, 3))])
    mapped = tsne(points).points
    assert np.corrcoef(points[:, 0], mapped[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize(("n", "expected"), [(30, 10), (90, 30), (91, 30), (5, 5 / 3)])
def test_perplexity_follows_the_number_of_images(rng, n, expected):
    assert tsne(rng.normal(size=(n, 3))).perplexity == pytest.approx(expected)


@pytest.mark.parametrize("points", [np.zeros((20, 3)), np.linspace(0, 1, 20)[:, None]], ids=["equal", "one dimension"])
def test_tsne_spreads_degenerate_latents_over_the_plane(points):
    mapped = tsne(points).points
    assert np.isfinite(mapped).all()
    assert (mapped.std(axis=0) > 0).all()


def test_tsne_says_what_it_needs(rng):
    with pytest.raises(DataError, match="t-SNE needs at least 5 images, found 4"):
        tsne(rng.normal(size=(4, 3)))
    with pytest.raises(UsageError, match="--perplexity is 50, expected 1 to 19 for 20 images"):
        tsne(rng.normal(size=(20, 3)), perplexity=50.0)


def test_neighbours_are_exact(rng):
    points = rng.normal(size=(60, 20)).astype(np.float32)
    rows, distances = nearest_neighbours(points, 5)
    every = np.linalg.norm(points[:, None].astype(float) - points, axis=2)
    np.fill_diagonal(every, np.inf)
    np.testing.assert_array_equal(rows, np.argsort(every, axis=1)[:, :5])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :5])


def test_a_duplicate_is_a_neighbour_at_distance_zero_and_an_image_is_not_its_own(rng):
    points = np.repeat(rng.normal(size=(10, 20)), 2, axis=0) * 1000
    rows, distances = nearest_neighbours(points, 1)
    np.testing.assert_array_equal(rows[:, 0], np.arange(20) ^ 1)
    assert (distances == 0).all()


def test_neighbours_of_other_points_and_of_too_few(rng):
    points = rng.normal(size=(3, 2))
    rows, _ = nearest_neighbours(points, 9)
    assert rows.shape == (3, 2)
    rows, distances = nearest_neighbours(points, 1, points + 1e-9)
    assert rows.tolist() == [[0], [1], [2]]
    assert (distances < 1e-8).all()
    assert nearest_neighbours(points[:1], 3)[0].shape == (1, 0)


def test_streams_have_seeds_of_their_own():
    seeds = {derived_seed(s, name, k) for s in (0, 1) for name in ("a", "b") for k in (0, 1)}
    assert len(seeds) == 8
    assert derived_seed(2**40, "a") < 2**32
