"""Associations against scipy, pandas and tables with known answers."""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.trust.associations import (
    between_share,
    correlation_ratio,
    cramers_v,
    expected_counts,
    largest_excess,
    spearman,
)

RNG = np.random.default_rng


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(0, 10_000))
def test_rank_correlations_are_those_of_scipy(n, seed):
    points, values = RNG(seed).integers(0, 6, (n, 2)).astype(float), RNG(seed + 1).integers(0, 4, n).astype(float)
    if np.ptp(values) == 0 or (np.ptp(points, axis=0) == 0).any():
        return
    expected = [scipy.stats.spearmanr(points[:, j], values).statistic for j in range(2)]
    assert np.allclose(spearman(points, values), expected)


def test_rank_correlation_needs_four_images_and_variation():
    points = np.column_stack([np.arange(4.0), np.ones(4)])
    assert spearman(points, np.array([1.0, 0, 2, 3]))[0] == pytest.approx(0.8)
    assert np.isnan(spearman(points, np.arange(4.0))).tolist() == [False, True]
    assert np.isnan(spearman(points[:3], np.arange(3.0))).all()


def test_correlation_ratio_is_the_root_of_the_variance_between():
    codes = RNG(0).integers(0, 4, 200)
    points = RNG(1).standard_normal((200, 2)) + np.outer(codes, [1.0, 0.0])
    table = pd.DataFrame(points).groupby(codes).transform("mean").to_numpy()
    expected = np.sqrt(table.var(axis=0) / points.var(axis=0))
    assert np.allclose(correlation_ratio(points, codes), expected)
    assert np.isnan(correlation_ratio(points, np.zeros(200, int))).all(), "one category"
    assert np.isnan(correlation_ratio(points, np.arange(200))).all(), "each image its own"


def test_correlation_ratio_takes_2_to_50_categories_of_4_images():
    codes = np.repeat(np.arange(50), 2)
    points = RNG(0).standard_normal((102, 1))
    assert np.isfinite(correlation_ratio(points[:100], codes)).all()
    assert np.isnan(correlation_ratio(points, np.append(codes, [50, 50]))).all()
    assert correlation_ratio(np.array([[0.0, 7], [0, 7], [1, 7], [1, 7]]), np.array([3, 3, 9, 9])).tolist()[0] == 1
    assert np.isnan(correlation_ratio(np.ones((4, 1)), np.array([0, 0, 1, 1]))).all()
    assert np.isnan(correlation_ratio(points[:3], np.array([0, 0, 1]))).all()


def test_between_share_is_eta_squared():
    values, labels = np.array([1.0, 3, 5, 7]), np.array(["a", "a", "b", "b"])
    assert between_share(values, labels) == pytest.approx(16 / 20)
    assert between_share(np.ones(4), labels) == 0


def test_the_share_between_classes_is_the_square_of_the_correlation_ratio():
    codes = RNG(1).integers(0, 3, 90)
    values = RNG(2).standard_normal(90) + codes
    assert between_share(values, codes) == pytest.approx(correlation_ratio(values[:, None], codes)[0] ** 2)


def test_association_is_zero_for_independent_and_one_for_equal_labels():
    assert cramers_v(np.array([[50, 50], [50, 50]])) == 0
    assert cramers_v(np.array([[50, 0], [0, 50]])) == pytest.approx(1.0, abs=0.02)
    assert math.isnan(cramers_v(np.array([[5, 5]])))
    assert math.isnan(cramers_v(np.array([[1, 0], [0, 0]])))


def test_association_is_that_of_scipy_less_its_bias():
    counts = RNG(3).integers(5, 40, (3, 4)) + np.array([[30, 0, 0, 0], [0, 30, 0, 0], [0, 0, 30, 0]])
    n, (r, c) = counts.sum(), counts.shape
    chi2 = scipy.stats.chi2_contingency(counts, correction=False).statistic
    plain = scipy.stats.contingency.association(counts, method="cramer")
    assert math.sqrt(chi2 / n / (min(r, c) - 1)) == pytest.approx(plain)
    rows, columns = r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)
    expected = math.sqrt((chi2 / n - (r - 1) * (c - 1) / (n - 1)) / (min(rows, columns) - 1))
    assert cramers_v(counts) == pytest.approx(expected) and cramers_v(counts) < plain
    assert cramers_v(counts.T) == pytest.approx(expected)
    assert cramers_v(np.pad(counts, 1)) == pytest.approx(expected), "empty rows and columns do not count"


def test_the_most_telling_cell_is_farthest_above_the_share_in_all():
    counts = np.array([[90, 10], [5, 15], [0, 0]])
    row, column, share, overall = largest_excess(counts)
    assert (row, column, share) == (1, 1, 0.75) and overall == pytest.approx(25 / 120)


def test_counts_by_chance_are_those_of_a_table_without_association():
    codes = np.array([0, 0, 1, 1, -1, 0, 2, 2])
    is_inside = np.array([True, True, True, False, True, False, False, True])
    overall, inside, expected = expected_counts(codes, is_inside, 4)
    table = np.array([inside[:3], (overall - inside)[:3]])
    np.testing.assert_allclose(expected[:3], scipy.stats.contingency.expected_freq(table)[0])
    assert overall.tolist() == [3, 2, 2, 0] and inside.tolist() == [2, 1, 1, 0] and expected[3] == 0
    assert expected_counts(np.array([-1]), np.array([True]), 1)[2].tolist() == [0]
