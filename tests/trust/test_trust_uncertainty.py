"""Errors and intervals against simulations and exact values."""

import math

import numpy as np
import pytest
from scipy.stats import norm

from zatlas.trust.associations import spearman
from zatlas.trust.uncertainty import difference_error, spearman_interval, standard_error

RNG = np.random.default_rng


def test_standard_error_is_the_spread_of_means():
    means = RNG(0).normal(3.0, 2.0, (20_000, 25)).mean(axis=1)
    assert standard_error(2.0, 25.0) == pytest.approx(means.std(), rel=0.02)
    assert standard_error(2.0, 0.0) == 2.0 and standard_error(2.0, 0.25) == 2.0
    assert math.isnan(standard_error(2.0, float("nan"))) and math.isnan(standard_error(float("nan"), 4.0))


def test_error_of_a_difference_is_the_spread_of_differences():
    a, b = RNG(1).normal(0, 3, 50_000), RNG(2).normal(0, 4, 50_000)
    assert difference_error(3.0, 4.0) == pytest.approx((a - b).std(), rel=0.02)


def test_interval_of_a_correlation_holds_the_truth_in_19_of_20_cases():
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of normal variables with correlation 0.6
    held = []
    for seed in range(300):
        points = RNG(seed).standard_normal((60, 2))
        (r,) = spearman(points[:, :1], points[:, 0] * 0.6 + points[:, 1] * 0.8)
        low, high = spearman_interval(float(r), 60)
        held.append(low <= truth <= high)
    assert 0.9 <= np.mean(held) <= 0.99


def test_interval_is_fisher_s_with_the_variance_of_fieller():
    low, high = spearman_interval(0.5, 28)
    half = norm.ppf(0.975) * math.sqrt(1.06 / 25)
    assert math.atanh(low) == pytest.approx(math.atanh(0.5) - half, abs=1e-6)
    assert math.atanh(high) == pytest.approx(math.atanh(0.5) + half, abs=1e-6)


def test_interval_needs_five_images_and_a_correlation():
    assert spearman_interval(0.5, 4) == (None, None) == spearman_interval(float("nan"), 50)
    assert None not in spearman_interval(0.5, 5)
    assert spearman_interval(1.0, 5) == (1.0, 1.0) and spearman_interval(-1.0, 5) == (-1.0, -1.0)
