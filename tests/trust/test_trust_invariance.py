"""The share of variance that shifts make, where it is known by construction."""

import numpy as np
import pytest

from zatlas.trust.invariance import shift_share


def latents(n, s, within, between, seed=0):
    """Latents of n tiles and of their shifts: a part that stays, with variance `between`, one drawn anew each time."""
    rng = np.random.default_rng(seed)
    stays = rng.normal(size=(n, len(between))) * np.sqrt(between)
    views = stays + rng.normal(size=(s + 1, n, len(within))) * np.sqrt(within)
    return views[0], views[1:]


def units(n):
    return [str(row) for row in range(n)]


def test_each_dimension_has_the_share_it_was_made_with():
    """Variance within over all variance, in units of a pair: 2 w / (2 (w + b))."""
    found = shift_share(*latents(4000, 3, [1.0, 1.0, 9.0], [9.0, 0.0, 1.0]), units(4000))
    assert found.per_dim == pytest.approx([0.1, 1.0, 0.9], abs=0.05)
    assert found.share == pytest.approx(11 / 21, abs=0.02)


def test_the_number_of_shifts_does_not_change_it():
    few, many = (shift_share(*latents(3000, s, [1.0], [3.0]), units(3000)) for s in (1, 6))
    assert few.share == pytest.approx(many.share, abs=0.03)
    assert many.share == pytest.approx(0.25, abs=0.03)


def test_rows_are_tiles_and_columns_are_dimensions():
    """Dimensions of very different means must not pass for spread between tiles."""
    z, shifted = latents(500, 2, [1.0, 1.0], [1.0, 1.0])
    far = np.array([0.0, 1e3])
    found = shift_share(z + far, shifted + far, units(500))
    assert found.share == pytest.approx(shift_share(z, shifted, units(500)).share)
    assert found.per_dim.shape == (2,)
    assert found.share == pytest.approx(0.5, abs=0.08)


def test_a_drift_common_to_all_tiles_counts_as_moved():
    z = np.random.default_rng(0).normal(size=(200, 1))
    assert shift_share(z, (z + 3.0)[None], units(200)).share > 1
    assert shift_share(z, -(z - z.mean())[None] + z.mean(), units(200)).share == pytest.approx(2.0)


def test_both_views_count_for_the_spread():
    """Shifted latents of half the size: (1 / 2)^2 over 1 + (1 / 2)^2."""
    z = np.random.default_rng(0).normal(size=(50, 2))
    z -= z.mean(axis=0)
    assert shift_share(z, 0.5 * z[None], units(50)).share == pytest.approx(0.2)


def test_what_stays_has_none_and_what_does_not_vary_has_no_share():
    z = np.random.default_rng(0).normal(size=(20, 2))
    z[:, 1] = 4.0
    found = shift_share(z, np.stack([z, z]), units(20))
    assert (found.share, found.low, found.high, found.per_dim[0]) == (0.0, 0.0, 0.0, 0.0)
    assert np.isnan(found.per_dim[1])
    assert np.isnan(shift_share(z[:, 1:], z[None, :, 1:], units(20)).share)


def test_tiles_of_a_unit_count_as_one_for_the_interval():
    rng = np.random.default_rng(0)
    z, noise = np.repeat(rng.normal(size=(12, 1)), 6, axis=0), np.repeat(rng.normal(size=(12, 1)), 6, axis=0)
    brains = np.repeat(np.arange(12), 6).astype(str).tolist()
    apart, together = shift_share(z, (z + noise)[None], units(72)), shift_share(z, (z + noise)[None], brains)
    assert apart.share == together.share
    assert together.low < together.share < together.high
    assert together.high - together.low > 2 * (apart.high - apart.low)
    assert np.isnan(shift_share(z, (z + noise)[None], ["a"] * 72).low)


def test_the_interval_holds_the_truth_as_often_as_it_says():
    held = 0
    for seed in range(300):
        z, shifted = latents(30, 2, [1.0, 1.0], [3.0, 1.0], seed)
        found = shift_share(z, shifted, units(30))
        held += found.low <= 1 / 3 <= found.high
    assert 0.9 < held / 300 < 0.98
