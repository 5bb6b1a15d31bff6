"""The gap is the gain; its interval counts units, not images."""

import numpy as np
import pytest
from scipy import stats

from zatlas.trust.amortisation import amortisation_gap, mean_interval, units_of


def test_of_units_of_one_image_it_is_the_interval_of_student():
    values = np.random.default_rng(0).normal(3.0, 2.0, 12)
    low, high = mean_interval(values, [f"i{row}" for row in range(12)])
    expected = stats.t.interval(0.95, 11, loc=values.mean(), scale=values.std(ddof=1) / np.sqrt(12))
    assert (low, high) == pytest.approx(expected)


def test_images_that_go_together_count_as_one():
    values = np.repeat(np.random.default_rng(0).normal(0.0, 1.0, 8), 5)
    apart = mean_interval(values, [str(row) for row in range(40)])
    together = mean_interval(values, np.repeat(np.arange(8), 5).astype(str).tolist())
    once = mean_interval(values[::5], [str(row) for row in range(8)])
    assert together == pytest.approx(once)
    assert together[1] - together[0] > 2 * (apart[1] - apart[0])


def test_its_interval_holds_the_truth_as_often_as_it_says():
    rng, held = np.random.default_rng(0), 0
    units = np.repeat(np.arange(10), 4).astype(str).tolist()
    for _ in range(400):
        low, high = mean_interval(np.repeat(rng.normal(size=10), 4) + rng.normal(size=40), units)
        held += low <= 0 <= high
    assert 0.92 < held / 400 < 0.98


def test_one_unit_has_no_interval():
    for units in ([], ["a"], ["a", "a"]):
        assert np.isnan(mean_interval(np.ones(len(units)), units)).all()


def test_the_gap_is_what_is_gained():
    before, after = np.array([10.0, 12.0, 14.0]), np.array([9.0, 11.5, 14.0])
    found = amortisation_gap((before, after), (np.array([20.0, 21.0, 22.0]), np.array([20.3, 21.0, 22.0])), list("abc"))
    assert found["nats"] == 0.5
    assert found["db"] == pytest.approx(0.1)
    assert found["nats_low"] < 0.5 < found["nats_high"]
    assert (found["loss_before"], found["psnr_before_db"], found["n"], found["n_units"]) == (12.0, 21.0, 3, 3)


def test_units_are_groups_where_there_are_several():
    assert units_of(["B1", "B2"], ["a", "b"]) == (["B1", "B2"], "group")
    assert units_of(["B1", "B1"], ["a", "b"]) == (["a", "b"], "image")
