"""Grey scale and symmetries of tiles."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import chisquare

from zatlas.errors import DataError, UsageError
from zatlas.tiles.transforms import N_SYMMETRIES, Scaling, symmetries, turn_each, turned

NUMBERS = np.arange(12).reshape(1, 3, 4)


def measured(pixels: np.ndarray) -> dict[str, float]:
    wide = pixels.astype(np.float64)
    return {"min": wide.min(), "max": wide.max(), "mean": wide.mean(), "std": wide.std()}


def images(dtype: str):
    values = {"elements": {"min_value": -1e6, "max_value": 1e6}} if np.dtype(dtype).kind == "f" else {}
    arrays = hnp.arrays(dtype, hnp.array_shapes(min_dims=3, max_dims=3, max_side=6), **values)
    return arrays.filter(lambda pixels: float(np.ptp(pixels.astype(np.float64))) > 1e-3)


class TestScaling:
    @pytest.mark.parametrize("kind", ["minmax", "standardise"])
    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16"])
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_whole_numbers_come_back_exactly(self, kind, dtype, data):
        pixels = data.draw(images(dtype))
        scaling = Scaling.fit(kind, measured(pixels))
        scaled = scaling.apply(pixels)
        assert scaled.dtype == np.float32
        assert np.array_equal(np.rint(scaling.invert(scaled)), pixels)

    @pytest.mark.parametrize("kind", ["minmax", "standardise"])
    @pytest.mark.parametrize("dtype", ["float32", "float64", "int32"])
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_others_come_back_within_the_precision_of_float32(self, kind, dtype, data):
        pixels = data.draw(images(dtype))
        scaling = Scaling.fit(kind, measured(pixels))
        error = np.abs(scaling.invert(scaling.apply(pixels)).astype(np.float64) - pixels)
        largest = max(np.abs(pixels.astype(np.float64)).max(), scaling.factor * np.abs(scaling.apply(pixels)).max())
        assert error.max() <= 1e-6 * largest

    @pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
    @settings(max_examples=25, deadline=None)
    @given(data=st.data())
    def test_minmax_runs_from_0_to_1(self, dtype, data):
        pixels = data.draw(images(dtype))
        scaling = Scaling.fit("minmax", measured(pixels))
        scaled = scaling.apply(pixels)
        assert scaled.min() == 0
        assert 1 - 1e-6 < scaled.max() <= 1
        assert scaling.covers(pixels)

    def test_standardise_gives_mean_0_and_deviation_1(self):
        pixels = np.random.default_rng(0).integers(0, 256, (3, 50, 60), dtype=np.uint8)
        scaling = Scaling.fit("standardise", measured(pixels))
        scaled = scaling.apply(pixels)
        assert scaled.mean(dtype=np.float64) == pytest.approx(0, abs=1e-6)
        assert scaled.std(dtype=np.float64) == pytest.approx(1, abs=1e-6)
        assert scaling.limits == (-math.inf, math.inf)

    def test_applies_the_published_values_of_the_brain_project(self):
        scaling = Scaling.fit("standardise", {"min": 0, "max": 255, "mean": 152.5517, "std": 48.7407})
        scaled = scaling.apply(np.array([0, 255], dtype=np.uint8))
        assert scaled == pytest.approx([-152.5517 / 48.7407, (255 - 152.5517) / 48.7407])

    def test_minmax_clips_what_the_training_pixels_did_not_reach(self):
        scaling = Scaling("minmax", 10.0, 100.0)
        pixels = np.array([0, 10, 60, 110, 255], dtype=np.uint8)
        assert scaling.apply(pixels).tolist() == [0, 0, 0.5, 1, 1]
        assert not scaling.covers(pixels)
        assert scaling.covers(pixels[1:4])
        assert Scaling("standardise", 10.0, 100.0).apply(pixels)[4] == pytest.approx(2.45)

    def test_large_offsets_keep_their_digits(self):
        pixels = 1e9 + np.arange(5.0)
        assert Scaling.fit("minmax", measured(pixels)).apply(pixels).tolist() == [0, 0.25, 0.5, 0.75, 1]

    @settings(deadline=None)
    @given(
        kind=st.sampled_from(["minmax", "standardise"]),
        offset=st.floats(-1e6, 1e6),
        factor=st.floats(1e-6, 1e6),
    )
    def test_is_stored_with_every_digit(self, kind, offset, factor):
        scaling = Scaling(kind, offset, factor)
        assert Scaling.from_dict(scaling.to_dict()) == scaling

    @pytest.mark.parametrize("kind", ["minmax", "standardise"])
    def test_refuses_images_of_one_grey_value(self, kind):
        with pytest.raises(DataError, match="all training pixels have the same value") as error:
            Scaling.fit(kind, {"min": 7, "max": 7, "mean": 7, "std": 0})
        assert "zatlas inspect" in error.value.hint

    @pytest.mark.parametrize("kind", ["minmax", "standardise"])
    def test_refuses_nan(self, kind):
        with pytest.raises(DataError, match="NaN or infinite"):
            Scaling.fit(kind, {"min": math.nan, "max": 7, "mean": 7, "std": math.inf})

    def test_refuses_an_unknown_kind(self):
        with pytest.raises(UsageError, match="expected minmax or standardise"):
            Scaling.fit("log", {"min": 0, "max": 1})

    @pytest.mark.parametrize(
        "values", [{}, {"kind": "minmax", "offset": "x", "factor": 1}, {"kind": "minmax", "offset": None, "factor": 1}]
    )
    def test_refuses_an_incomplete_record(self, values):
        with pytest.raises(DataError, match="the grey scale is incomplete"):
            Scaling.from_dict(values)

    @pytest.mark.parametrize(
        "values", [("log", 0.0, 1.0), ("minmax", 0.0, 0.0), ("minmax", math.nan, 1.0), ("minmax", 0.0, -1.0)]
    )
    def test_refuses_an_impossible_record(self, values):
        with pytest.raises(DataError, match="impossible grey scale"):
            Scaling(*values)


class TestSymmetries:
    def test_are_the_eight_of_the_square(self):
        square = np.arange(9).reshape(3, 3)
        expected = {np.rot90(flipped, k).tobytes() for flipped in (square, square[:, ::-1]) for k in range(4)}
        assert {turned(square, number).tobytes() for number in range(N_SYMMETRIES)} == expected
        assert len(expected) == 8

    def test_form_a_group(self):
        square = np.arange(9).reshape(3, 3)
        views = [turned(square, number).tobytes() for number in range(N_SYMMETRIES)]
        for first, second in itertools.product(range(N_SYMMETRIES), repeat=2):
            assert turned(turned(square, first), second).tobytes() in views
        assert turned(square, 0).tobytes() == square.tobytes()

    def test_turn_rows_and_columns_but_not_channels(self):
        assert turned(NUMBERS, 5).shape == (1, 4, 3)
        assert np.array_equal(turned(NUMBERS, 5), np.rot90(NUMBERS, -1, axes=(1, 2)))

    def test_are_equally_likely(self):
        observed = np.bincount(symmetries(0, 0, np.arange(16_000)), minlength=N_SYMMETRIES)
        assert chisquare(observed).pvalue > 0.001

    @settings(deadline=None)
    @given(seed=st.integers(0, 2**63 - 1), epoch=st.integers(0, 1000), index=st.integers(0, 10**9))
    def test_depend_on_the_key_alone(self, seed, epoch, index):
        around = np.arange(max(0, index - 5), index + 5)
        together = symmetries(seed, epoch, around)
        assert together[around == index] == symmetries(seed, epoch, np.array([index]))

    def test_do_not_depend_on_where_tiles_lie(self):
        from zatlas.tiles.samplers import by_pixel_independent

        indices = np.arange(16_000)
        draws = by_pixel_independent(np.array([[8, 8]]), 1, 0, 0, indices)
        table = np.histogram2d(symmetries(0, 0, indices), draws.y, bins=(8, 8))[0]
        assert chisquare(table.ravel()).pvalue > 0.001

    @settings(deadline=None)
    @given(symmetry=hnp.arrays(np.int64, st.integers(0, 12), elements=st.integers(0, 7)))
    def test_of_a_batch_are_those_of_its_tiles(self, symmetry):
        tiles = np.random.default_rng(0).integers(0, 256, (len(symmetry), 2, 5, 5), dtype=np.uint8)
        expected = [turned(tile, int(number)) for tile, number in zip(tiles.copy(), symmetry, strict=True)]
        turn_each(tiles, symmetry)
        assert np.array_equal(tiles, np.array(expected).reshape(tiles.shape))
