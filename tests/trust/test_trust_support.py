"""Support, neighbours kept by a map, and how near samples lie to data: against plain ways to the same numbers."""

import numpy as np
import pytest

from zatlas.trust import support

RNG = np.random.default_rng


def slow_reference(points, k):
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return np.sort(far, axis=1)[:, k - 1]


def test_support_is_measured_among_training_images_in_active_dimensions():
    mean = RNG(0).standard_normal((80, 4))
    is_training, is_active = np.arange(80) < 60, np.array([True, False, True, True])
    mean[:, 1] = 1000 * RNG(1).standard_normal(80)
    found = support.support(mean, is_training, is_active)
    reference = slow_reference(mean[:60][:, [0, 2, 3]], 5)
    assert found.dims.tolist() == [0, 2, 3]
    assert found.within == pytest.approx(np.quantile(reference, 0.95))
    assert found.near == pytest.approx(np.quantile(reference, 0.995))
    assert np.allclose(found.quantiles, np.quantile(reference, np.arange(101) / 100))
    assert (found.k, found.n, found.n_asked, found.is_of_training) == (5, 60, 60, True)


def test_support_of_many_images_asks_some_of_them(monkeypatch):
    mean = RNG(0).standard_normal((300, 3))
    everything = support.support(mean, np.ones(300, bool), np.ones(3, bool))
    monkeypatch.setattr(support, "_MOST_ASKED", 299)
    monkeypatch.setattr(support, "_ASKED", 300)
    assert np.allclose(support.support(mean, np.ones(300, bool), np.ones(3, bool)).quantiles, everything.quantiles)
    monkeypatch.setattr(support, "_ASKED", 100)
    some = support.support(mean, np.ones(300, bool), np.ones(3, bool))
    assert (some.n, some.n_asked) == (300, 100)
    assert some.within == pytest.approx(everything.within, rel=0.2)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_support_of_a_few_images(n):
    found = support.support(RNG(0).standard_normal((n, 2)), np.zeros(n, bool), np.zeros(2, bool))
    assert found.dims.tolist() == [0, 1]
    assert 0 <= found.within <= found.near and not found.is_of_training
    assert len(found.quantiles) == 101


def test_images_that_coincide_have_distance_zero():
    found = support.neighbours(np.zeros((12, 3)))
    assert (found.rows != np.arange(12)[:, None]).all()
    assert (found.distances == 0).all()


def test_a_map_that_is_the_latent_space_keeps_all_neighbours():
    points = RNG(0).standard_normal((50, 2))
    near = support.neighbours(points)
    assert (support.kept_share(near, points) == 1).all()
    assert support.kept_share(near, RNG(1).standard_normal((50, 2))).mean() == pytest.approx(10 / 49, abs=0.1)
    alone = support.neighbours(points[:1])
    assert np.isnan([*support.kept_share(alone, points[:1]), *support.neighbour_distance(alone)]).all()


def test_one_training_image_has_no_neighbour_and_two_have():
    mean = np.array([[0.0], [1.0], [5.0]])
    alone = support.support(mean, np.array([True, False, False]), np.ones(1, bool))
    assert (alone.n, alone.k, alone.is_of_training) == (3, 2, False)
    pair = support.support(mean, np.array([True, False, True]), np.ones(1, bool))
    assert (pair.n, pair.k, pair.is_of_training, pair.within) == (2, 1, True, 5.0)


def test_the_distance_of_a_rare_image_is_to_its_5th_neighbour():
    mean = np.array([0.0, 1, 2, 3, 4, 6, 100])[:, None]
    assert support.neighbour_distance(support.neighbours(mean)).tolist() == [6, 5, 4, 3, 4, 6, 99]
    assert support.neighbour_distance(support.neighbours(mean[:4])).tolist() == [3, 2, 2, 3]


def test_samples_are_as_far_as_data_or_near_copies():
    far = np.array([2.0, 4, 9])
    assert support.nearest_ratio(far, far) == 1
    assert support.nearest_ratio(0.1 * far, np.array([1.0, 2, 3, 4])) == pytest.approx(0.16)
    assert np.isnan([support.nearest_ratio(far[:0], far), support.nearest_ratio(far, far[:0])]).all()
    assert np.isnan(support.nearest_ratio(far, np.zeros(3)))
