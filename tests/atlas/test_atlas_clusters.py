"""Regions: known numbers of clusters found, single clouds called what they are, matches of permuted labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score, silhouette_score

from zatlas.atlas import clusters
from zatlas.atlas.clusters import assess, kmeans, match_clusters, members
from zatlas.errors import DataError, UsageError


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def blobs(rng, sizes, d=6, distance=8.0):
    which = np.repeat(np.arange(len(sizes)), sizes)
    return distance * np.eye(len(sizes), d)[which] + rng.normal(size=(len(which), d)), which


def test_blobs_are_found_counted_and_called_clusters(rng):
    points, which = blobs(rng, [50, 120, 80, 100])
    found = kmeans(points, seed=1)
    assert found.k == 4
    assert found.verdict == "clusters"
    assert adjusted_rand_score(which, found.labels) == 1
    assert found.sizes.tolist() == [120, 100, 80, 50]
    assert np.bincount(found.labels).tolist() == [120, 100, 80, 50]
    assert found.silhouette == pytest.approx(silhouette_score(points, found.labels))
    assert found.stability > 0.95
    assert "4 clusters, stable and parted by valleys" in found.text
    for c in range(4):
        np.testing.assert_allclose(found.centroids[c], points[found.labels == c].mean(axis=0))


@pytest.mark.parametrize("spread", [np.ones(4), np.array([6, 1, 1, 1]), np.linspace(3, 0.1, 4)])
def test_one_gaussian_cloud_is_a_continuum_even_where_its_halves_are_stable(rng, spread):
    found = assess(rng.normal(size=(400, 4)) * spread)
    assert found.verdict == "continuum"
    assert "continuum" in found.text
    assert "one Gaussian cloud of the same covariance" in found.text


@pytest.mark.parametrize("make", ["uniform", "heavy tails", "arc"])
def test_clouds_of_other_shapes_are_a_continuum_too(rng, make):
    angle = rng.uniform(0, np.pi, 500)
    points = {
        "uniform": rng.uniform(size=(500, 2)),
        "heavy tails": rng.standard_t(3, size=(500, 3)),
        "arc": np.column_stack([np.cos(angle), np.sin(angle)]) * 5 + 0.3 * rng.normal(size=(500, 2)),
    }[make]
    assert assess(points).verdict == "continuum"


def test_a_small_cluster_beside_a_large_one_is_seen(rng):
    points, _ = blobs(rng, [380, 30], distance=6)
    found = kmeans(points)
    assert (found.k, found.verdict) == (2, "clusters")


def test_without_any_stable_number_eight_regions_are_shown_and_it_is_said(rng):
    found = kmeans(rng.normal(size=(150, 40)))
    assert found.k == 8
    assert "no number of regions from 2 up is stable, 8 regions divide it for display" in found.text


def test_the_same_seed_gives_the_same_regions_and_another_seed_the_same_clusters(rng):
    points, which = blobs(rng, [60, 50, 40])
    first, second, other = kmeans(points, seed=4), kmeans(points, seed=4), kmeans(points, seed=5)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.text == second.text
    assert first.trials.equals(second.trials)
    np.testing.assert_array_equal(first.labels, other.labels)
    np.testing.assert_array_equal(first.labels, which)


def inertia(points, found):
    return ((points - found.centroids[found.labels]) ** 2).sum()


def test_many_points_are_divided_by_mini_batches_almost_as_well_and_it_is_said(rng, monkeypatch, caplog):
    points = np.concatenate([blobs(rng, [400, 300, 200], distance=5)[0], 2 * rng.normal(size=(1100, 6))])
    monkeypatch.setattr(clusters, "_BATCHES_ABOVE", 2000)
    with caplog.at_level("INFO"):
        whole = kmeans(points, 5, seed=1)
    assert "mini-batches" not in caplog.text
    monkeypatch.setattr(clusters, "_BATCHES_ABOVE", 1999)
    monkeypatch.setattr(clusters, "_SAMPLE", 1000)
    monkeypatch.setattr(clusters, "_BATCH", 500)
    with caplog.at_level("INFO"):
        first, second = kmeans(points, 5, seed=1), kmeans(points, 5, seed=1)
    assert "by mini-batches, because there are 2000 latents (more than 1999)" in caplog.text
    np.testing.assert_array_equal(first.labels, second.labels)
    assert first.sizes.tolist() == sorted(first.sizes, reverse=True) and first.sizes.sum() == 2000
    assert inertia(points, first) < 1.05 * inertia(points, whole)


def test_an_asked_number_is_kept_and_the_verdict_is_not_bent_to_it(rng):
    points, _ = blobs(rng, [60, 50, 40])
    found = kmeans(points, 15)
    assert found.k == 15
    assert found.was_asked
    assert found.verdict == "clusters"
    assert found.text.endswith("15 regions were asked for.")
    assert 15 in found.trials["k"].to_list()
    assert 0 < found.stability < 0.75


def test_degenerate_latents(rng):
    same = kmeans(np.zeros((30, 3)))
    assert (same.k, same.verdict) == (1, "continuum")
    assert np.isnan(same.silhouette)
    assert same.summary()["silhouette"] is None
    pair = kmeans(np.repeat([[0.0, 0], [1, 1]], [20, 10], axis=0))
    assert pair.sizes.tolist() == [20, 10]
    assert kmeans(rng.normal(size=(5, 3))).k == 2
    assert kmeans(rng.normal(size=(1, 3))).labels.tolist() == [0]


def test_impossible_requests_are_refused(rng):
    with pytest.raises(UsageError, match=r"--clusters is 3, expected 0 \(automatic\) or 1 to 2"):
        kmeans(np.repeat([[0.0], [1.0]], 5, axis=0), 3)
    with pytest.raises(DataError, match="not finite"):
        kmeans(np.array([[0.0], [np.inf]]))


def test_members_are_what_their_names_say(rng):
    points, labels = blobs(rng, [40, 30, 6], distance=5)
    found = members(points, labels, count=8, seed=2)
    assert [m.cluster for m in found] == [0, 1, 2]
    assert [m.size for m in found] == [40, 30, 6]
    centroids = np.stack([points[labels == c].mean(axis=0) for c in range(3)])
    distances = np.linalg.norm(points[:, None] - centroids, axis=2)
    for m in found:
        rows = np.flatnonzero(labels == m.cluster)
        own = distances[rows, m.cluster]
        margin = np.delete(distances[rows], m.cluster, axis=1).min(axis=1) - own
        assert m.central.tolist() == rows[np.argsort(own)][:8].tolist()
        assert m.borderline.tolist() == rows[np.argsort(margin)][:8].tolist()
        assert set(m.random) <= set(rows)
        assert len(set(m.random)) == len(m.random) == min(8, m.size)
    again = members(points, labels, count=8, seed=2)
    assert all((a.random == b.random).all() for a, b in zip(found, again, strict=True))
    assert found[0].random.tolist() != members(points, labels, count=8, seed=3)[0].random.tolist()


def test_members_of_a_single_region_and_of_none(rng):
    points = rng.normal(size=(12, 2))
    (only,) = members(points, np.zeros(12, int), count=3)
    far = np.linalg.norm(points - points.mean(axis=0), axis=1)
    assert only.borderline.tolist() == np.argsort(-far)[:3].tolist()
    assert members(points, np.full(12, -1)) == []


@settings(max_examples=40, deadline=None)
@given(k=st.integers(1, 9), n=st.integers(1, 80), seed=st.integers(0, 10_000))
def test_a_permutation_of_labels_is_recovered(k, n, seed):
    rng = np.random.default_rng(seed)
    a, permutation = rng.integers(k, size=n), rng.permutation(k)
    match = match_clusters(a, permutation[a])
    assert match.mapping == {int(c): int(permutation[c]) for c in np.unique(a)}
    assert match.ari == 1
    assert match.share == 1


def test_matching_counts_what_is_shared():
    match = match_clusters(np.array([0, 0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0, 0]))
    assert match.mapping == {0: 1, 1: 0}
    assert match.share == pytest.approx(4 / 6)
    assert match.summary() == {"mapping": match.mapping, "ari": match.ari, "share": match.share}
    with pytest.raises(UsageError, match="label 2 and 3 images"):
        match_clusters(np.zeros(2, int), np.zeros(3, int))
