"""Histograms against numpy and sums by hand."""

import numpy as np
import pytest

from zatlas.trust.histograms import coarser, histogram, pooled


def test_histogram_runs_from_the_lowest_to_the_highest_value():
    values = np.random.default_rng(0).standard_normal(500)
    low, high, counts = histogram(values)
    expected, edges = np.histogram(values, bins=40)
    assert (low, high) == (edges[0], edges[-1]) and counts.tolist() == expected.tolist()


def test_histogram_of_one_value_is_one_wide_around_it():
    low, high, counts = histogram(np.full(7, 3.0), bins=3)
    assert (low, high, counts.tolist()) == (2.5, 3.5, [0, 7, 0])


def test_pooled_shares_are_those_of_all_pixels():
    a, b = np.random.default_rng(1).random(300), np.random.default_rng(2).random(100)
    shares = np.stack([np.histogram(x, 8, (0, 1))[0] / len(x) for x in (a, b)])
    expected = np.histogram(np.append(a, b), 8, (0, 1))[0] / 400
    np.testing.assert_allclose(pooled(shares, np.array([300.0, 100.0])), expected)


@pytest.mark.parametrize(("n", "expected"), [(256, 64), (128, 64), (64, 64), (100, 100), (32, 32)])
def test_joined_bins_keep_edges_and_sum(n, expected):
    shares, edges = np.random.default_rng(n).random(n), np.linspace(0, 255, n + 1)
    joined, kept = coarser(shares, edges)
    assert len(joined) == expected and len(kept) == expected + 1
    assert (kept[0], kept[-1]) == (0, 255) and joined.sum() == pytest.approx(shares.sum())
    assert joined[1] == pytest.approx(shares[(edges[:-1] >= kept[1]) & (edges[:-1] < kept[2])].sum())
