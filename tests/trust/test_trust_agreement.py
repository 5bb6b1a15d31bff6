"""Neighbours, maps and distances of two models: the same ones, turned ones, unrelated ones."""

import numpy as np
import pytest
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr

from zatlas.errors import UsageError
from zatlas.trust.agreement import chance_overlap, distance_correlation, map_agreement, neighbour_overlap


def test_neighbours_are_common_in_a_turned_space_and_by_chance_in_another():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((300, 4))
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    assert neighbour_overlap(a, 3 * a @ turn, 10) == pytest.approx(1, abs=0.01)
    assert neighbour_overlap(a, rng.standard_normal((300, 7)), 10) == pytest.approx(10 / 299, abs=0.02)
    with pytest.raises(UsageError, match="300 and 299"):
        neighbour_overlap(a, a[:299])


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


def test_equal_maps_agree_after_turning_and_scaling():
    rng = np.random.default_rng(0)
    a = rng.standard_normal((100, 2))
    turn = np.array([[0.6, -0.8], [-0.8, -0.6]])
    assert map_agreement(a, 7 * a @ turn + 3) == pytest.approx(1)
    assert map_agreement(a, rng.standard_normal((100, 2))) < 0.1
    assert np.isnan(map_agreement(a, np.ones((100, 2))))
    assert distance_correlation(a, 7 * a @ turn) == pytest.approx(1)
    assert np.isnan(distance_correlation(a, np.ones((100, 2))))


def test_distances_are_ranked_as_by_scipy():
    rng = np.random.default_rng(2)
    a = rng.standard_normal((30, 3))
    b = a[:, :2] + 0.5 * rng.standard_normal((30, 2))
    assert distance_correlation(a, b) == pytest.approx(spearmanr(pdist(a), pdist(b)).statistic)


def test_agreement_of_maps_is_the_share_of_variance_that_a_turned_map_explains():
    rng = np.random.default_rng(3)
    a = rng.standard_normal((200, 2))
    b = 3 * a + rng.standard_normal((200, 2))
    a0, b0 = a - a.mean(axis=0), b - b.mean(axis=0)
    singular = np.linalg.svd(a0.T @ b0, compute_uv=False)
    expected = singular.sum() ** 2 / ((a0**2).sum() * (b0**2).sum())
    assert map_agreement(a, b) == pytest.approx(expected)
    assert np.isnan(map_agreement(np.ones((200, 2)), b))
    line = np.column_stack([a[:, 0], np.zeros(200)])
    assert map_agreement(line, 2 * line) == pytest.approx(1), "points on a line are a map"


def test_overlap_by_chance_is_that_of_unrelated_spaces():
    rng = np.random.default_rng(4)
    found = [neighbour_overlap(*rng.standard_normal((2, 40, 3)), 8) for _ in range(40)]
    assert np.mean(found) == pytest.approx(chance_overlap(40, 8), abs=0.01)
    assert (chance_overlap(31, 15), chance_overlap(1, 15), chance_overlap(10, 15)) == (0.5, 1, 1)
