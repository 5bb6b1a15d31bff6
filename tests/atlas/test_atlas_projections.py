"""Maps: PCA and trust against scikit-learn, t-SNE's start and its edge cases, neighbours by brute force."""

import numpy as np
import pytest
import sklearn.decomposition
import sklearn.manifold
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from zatlas import compute
from zatlas.atlas import neighbours, projections
from zatlas.atlas.neighbours import nearest_neighbours, trust
from zatlas.atlas.projections import fit_pca, measured, tsne
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


@settings(max_examples=30, deadline=None)
@given(n=st.integers(200, 400), d=st.integers(2, 10), seed=st.integers(0, 1000), falls=st.floats(0, 6))
def test_components_are_those_of_a_singular_value_decomposition_far_from_zero_too(n, d, seed, falls):
    points = np.random.default_rng(seed).normal(size=(n, d)) * 10.0 ** -np.linspace(0, falls, d) + 30
    ours = fit_pca(points)
    _, singular, vectors = np.linalg.svd(points - points.mean(axis=0), full_matrices=False)
    variance = singular**2 / (n - 1)
    np.testing.assert_allclose(ours.variance, variance, rtol=1e-9, atol=1e-14 * variance[0])
    if np.abs(np.diff(variance)).min() / variance[0] > 1e-7:
        np.testing.assert_allclose(np.abs((ours.components * vectors).sum(axis=1)), 1, atol=1e-4)
    np.testing.assert_allclose(ours.components @ ours.components.T, np.eye(d), atol=1e-12)
    np.testing.assert_allclose(ours.inverse(ours.transform(points)), points, atol=1e-9)


def test_a_dimension_that_never_varies_has_no_negative_variance(rng):
    points = np.column_stack([1e3 * rng.normal(size=500), np.full(500, 7.0), 1e-3 * rng.normal(size=500)])
    found = fit_pca(points)
    assert (found.variance >= 0).all()
    assert found.variance[2] == pytest.approx(0, abs=1e-9)
    assert found.variance[1] == pytest.approx(1e-6, rel=0.3)
    assert found.explained_ratio.sum() == pytest.approx(1)


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


def test_trust_takes_equal_distances_in_the_order_of_the_images():
    # All latents coincide, so the neighbours of an image are the first others; on the map they stand in a row.
    high, low = np.zeros((7, 2)), np.arange(7.0)[:, None]
    ranks = [[j + 1 if j < i else j for j in range(7)] for i in range(7)]
    trustworthiness, continuity = 0, 0
    for i in range(7):
        by_map = sorted((abs(i - j), j) for j in range(7) if j != i)
        near = [j for _, j in by_map[:2]]
        first = [j for j in range(7) if j != i][:2]
        trustworthiness += sum(ranks[i][j] - 2 for j in near if j not in first)
        continuity += sum([j for _, j in by_map].index(j) + 1 - 2 for j in first if j not in near)
    scale = 2 / (7 * 2 * (2 * 7 - 3 * 2 - 1))
    assert trust(high, low, k=2) == pytest.approx((1 - scale * trustworthiness, 1 - scale * continuity))


def test_trust_needs_more_images_than_twice_the_neighbourhood(rng):
    with pytest.raises(UsageError, match="neighbourhood of 15 needs more than 30 images, found 30"):
        trust(rng.normal(size=(30, 3)), rng.normal(size=(30, 2)), k=15)


def test_tsne_separates_blobs_and_repeats_itself(rng):
    points, which = three_blobs(rng)
    first, second = tsne(points, seed=3), tsne(points, seed=3)
    np.testing.assert_array_equal(first.points, second.points)
    assert first.points.dtype == np.float32
    assert first.facts["perplexity"] == 30
    first = measured(first, points)
    assert first.facts["n_neighbours"] == 15
    assert first.trustworthiness > 0.85
    assert first.facts["continuity"] > 0.85
    centres = np.stack([first.points[which == c].mean(axis=0) for c in range(3)])
    nearest = np.linalg.norm(first.points[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, which)


def test_tsne_keeps_the_order_along_the_first_component(rng):
    points = np.column_stack([np.linspace(-20, 20, 100), rng.normal(size=(100, 3))])
    mapped = tsne(points).points
    assert np.corrcoef(points[:, 0], mapped[:, 0])[0, 1] > 0.8


@pytest.mark.parametrize(("n", "expected"), [(30, 10), (90, 30), (91, 30), (5, 5 / 3)])
def test_perplexity_follows_the_number_of_images(rng, n, expected):
    assert tsne(rng.normal(size=(n, 3))).facts["perplexity"] == pytest.approx(expected)


@pytest.mark.parametrize("points", [np.zeros((20, 3)), np.linspace(0, 1, 20)[:, None]], ids=["equal", "one dimension"])
def test_tsne_spreads_degenerate_latents_over_the_plane(points):
    mapped = tsne(points).points
    assert np.isfinite(mapped).all()
    assert (mapped.std(axis=0) > 0).all()


@pytest.mark.parametrize("fft_above", [20_000, 100], ids=["tree", "grid"])
def test_the_map_has_the_same_bits_on_any_number_of_threads(rng, monkeypatch, fft_above):
    points, which = three_blobs(rng)
    monkeypatch.setattr(projections, "_FFT_ABOVE", fft_above)
    monkeypatch.setattr(projections, "_STEPS", (60, 40))
    found = []
    for threads in (1, 3):
        monkeypatch.setattr(projections, "_threads", lambda n, threads=threads: threads)
        found.append(tsne(points, seed=3))
    np.testing.assert_array_equal(found[0].points, found[1].points)
    assert found[0].facts["kl_divergence"] == found[1].facts["kl_divergence"]
    centres = np.stack([found[0].points[which == c].mean(axis=0) for c in range(3)])
    nearest = np.linalg.norm(found[0].points[:, None] - centres, axis=2).argmin(axis=1)
    np.testing.assert_array_equal(nearest, which)


def test_the_way_to_the_map_depends_on_the_number_of_images_and_is_told(rng, monkeypatch, caplog):
    points, _ = three_blobs(rng)
    monkeypatch.setattr(projections, "_STEPS", (100, 100))
    tree = tsne(points)
    assert "Barnes-Hut" in tree.facts["method"] and "90 exact nearest neighbours" in tree.facts["method"]
    monkeypatch.setattr(projections, "_FFT_ABOVE", len(points))
    assert tsne(points).facts["method"] == tree.facts["method"]
    monkeypatch.setattr(projections, "_FFT_ABOVE", len(points) - 1)
    with caplog.at_level("INFO"):
        grid = tsne(points)
    assert "FFT" in grid.facts["method"]
    assert "because there are more than 149 images" in caplog.text
    trusted = [measured(one, points).trustworthiness for one in (grid, tree)]
    assert trusted[0] == pytest.approx(trusted[1], abs=0.02)
    assert grid.facts["kl_divergence"] == pytest.approx(tree.facts["kl_divergence"], rel=0.2)


def test_the_map_is_as_good_as_that_of_scikit_learn(rng):
    points, _ = three_blobs(rng, 300)
    ours = tsne(points)
    theirs = sklearn.manifold.TSNE(init="pca", random_state=0).fit(points)
    assert ours.facts["kl_divergence"] < 1.05 * theirs.kl_divergence_
    assert min(trust(points, ours.points, k=15)) > min(trust(points, theirs.embedding_, k=15)) - 0.01


def test_the_largest_possible_perplexity_is_taken_as_it_is(rng):
    assert tsne(rng.normal(size=(20, 3)), perplexity=19.0).facts["perplexity"] == 19


def test_threads_are_for_many_images(monkeypatch):
    monkeypatch.setattr(compute.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(compute, "_container_quota", lambda: 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert projections._threads(projections._THREADS_FROM - 1) == 1
    assert projections._threads(projections._THREADS_FROM) == 4
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert projections._threads(projections._THREADS_FROM) == 2


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


@pytest.mark.parametrize(("spread", "words"), [([1] + [0.001] * 9, "a k-d tree"), ([1] * 10, "all pairs")])
def test_neighbours_of_many_images_are_exact_by_tree_and_by_pairs(rng, monkeypatch, caplog, spread, words):
    monkeypatch.setattr(neighbours, "_TREE_FROM", 1000)
    points = (rng.normal(size=(3000, 10)) * spread).astype(np.float32)
    with caplog.at_level("INFO"):
        rows, distances = nearest_neighbours(points, 15)
    assert f"nearest neighbours of 3000 images: {words}" in caplog.text
    every = cdist(points, points)
    np.fill_diagonal(every, np.inf)
    np.testing.assert_array_equal(rows, np.argsort(every, axis=1)[:, :15])
    np.testing.assert_allclose(distances, np.sort(every, axis=1)[:, :15])


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
