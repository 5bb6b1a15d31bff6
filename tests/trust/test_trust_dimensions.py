"""Dimensions in use and forecast, against values by hand."""

import numpy as np

from zatlas.trust.dimensions import (
    active_units,
    forecast_active_dims,
)


def test_forecast_counts_what_exceeds_the_noise():
    spectrum = np.array([10.0, 4, 1, 0.2, 0.1, 0.1])
    assert forecast_active_dims(spectrum, 4, beta=1.0, n_values=6, noise_variance=0.5) == 3
    assert forecast_active_dims(spectrum, 2, beta=1.0, n_values=6, noise_variance=0.5) == 2
    assert forecast_active_dims(spectrum, 4, beta=10.0, n_values=6, noise_variance=0.5) == 1
    # Shared optimal variance: with q dimensions the noise is the mean variance of the others.
    assert forecast_active_dims(spectrum, 4, beta=1.0, n_values=6, noise_variance=None) == 4
    assert forecast_active_dims(spectrum, 4, beta=10.0, n_values=6, noise_variance=None) == 2
    assert forecast_active_dims(np.ones(6), 4, beta=2.0, n_values=6, noise_variance=None) == 0


def test_active_units_are_those_whose_mean_varies():
    means = np.zeros((100, 3))
    means[:, 0], means[:, 1] = np.linspace(-1, 1, 100), 0.05 * np.linspace(-1, 1, 100)
    assert active_units(means).tolist() == [True, False, False]
    assert not active_units(means[:1]).any()
