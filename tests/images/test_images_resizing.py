"""Means over areas, by hand."""

import numpy as np
import pytest

from zatlas.images.resizing import area_mean, block_mean


def test_area_means_by_hand() -> None:
    image = np.arange(9, dtype=np.float32).reshape(1, 1, 3, 3)
    # A new pixel covers 1.5 x 1.5 old ones: one whole, two halves, one quarter.
    first = (0 + 0.5 * 1 + 0.5 * 3 + 0.25 * 4) / 2.25
    assert area_mean(image, 2, 2)[0, 0, 0, 0] == pytest.approx(first)
    assert area_mean(image, 3, 3) is image
    # Height and width have sizes of their own, and what grows repeats the pixel below.
    assert area_mean(image, 1, 3).tolist() == [[[[3, 4, 5]]]]
    assert area_mean(image, 3, 6)[0, 0, 0].tolist() == [0, 0, 1, 1, 2, 2]
    large = np.random.default_rng(0).random((2, 3, 100, 100), dtype=np.float32)
    assert area_mean(large, 64, 64).mean() == pytest.approx(large.mean(), abs=1e-5)
    assert np.allclose(area_mean(large, 50, 50), large.reshape(2, 3, 50, 2, 50, 2).mean(axis=(3, 5)), atol=1e-6)
    assert area_mean(large, 64, 50).dtype == np.float32


def test_block_means_by_hand() -> None:
    image = np.arange(15, dtype=np.float32).reshape(1, 3, 5)
    assert block_mean(image, 1) is image
    # The last column and the last row of blocks are filled up with the outermost pixels.
    assert block_mean(image, 2).tolist() == [[[3, 5, 6.5], [10.5, 12.5, 14]]]
