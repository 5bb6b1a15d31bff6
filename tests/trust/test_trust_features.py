"""Features of images made to have them, and which changes along a sequence are named."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import gaussian_filter

from zatlas.trust.features import (
    FEATURES,
    WORDS,
    changes,
    feature_spread,
    image_features,
    monotonicity,
    named_changes,
)

Y, X = np.mgrid[0:32, 0:32] / 31


def blob(y=0.5, x=0.5, size=0.15, height=0.5, ground=0.2):
    return ground + height * np.exp(-((Y - y) ** 2 + (X - x) ** 2) / size**2)


def stack(images):
    return np.stack(images)[:, None].astype(np.float32)


@pytest.fixture
def spread():
    rng = np.random.default_rng(0)
    real = [
        blob(*rng.uniform(0.35, 0.65, 2), rng.uniform(0.1, 0.25), rng.uniform(0.3, 0.6), rng.uniform(0.1, 0.3))
        for _ in range(200)
    ]
    return feature_spread(image_features(stack(real)))


def names(images, spread):
    return [change["feature"] for change in named_changes(image_features(stack(images)), spread)]


def test_numbers_by_hand():
    image = np.zeros((1, 1, 4, 4), np.float32)
    image[0, 0, 0, 3] = 1.0
    found = image_features(image).iloc[0]
    assert found["brightness"] == pytest.approx(1 / 16)
    assert found["contrast"] == pytest.approx(np.sqrt(1 / 16 - 1 / 256))
    assert found["centre_of_mass_y"] == pytest.approx(0.125) and found["centre_of_mass_x"] == pytest.approx(0.875)
    flat, mirrored = image.ravel(), image[..., ::-1].ravel()
    assert found["left_right_symmetry"] == pytest.approx(np.corrcoef(flat, mirrored)[0, 1], abs=1e-6)


def test_edge_density_counts_the_pixels_at_a_step():
    image = np.where(X < 0.5, 0.0, 1.0)
    assert image_features(stack([image]))["edge_density"][0] == pytest.approx(2 / 32)


def test_a_mirrored_image_is_symmetric_and_an_odd_one_is_not():
    found = image_features(stack([blob(x=0.5), X - 0.5, blob(y=0.2)]))["left_right_symmetry"]
    np.testing.assert_allclose(found, [1, -1, 1], atol=1e-6)


@pytest.mark.parametrize("grey", [0.0, 0.3, 1.0])
def test_constant_images_have_finite_features(grey):
    found = image_features(np.full((2, 3, 16, 16), grey, np.float32))
    expected = {"brightness": grey, "contrast": 0, "sharpness": 0, "left_right_symmetry": 1, "edge_density": 0}
    expected |= {"centre_of_mass_y": 0.5, "centre_of_mass_x": 0.5}
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, atol=1e-6)


@given(arrays(np.float32, (2, 1, 8, 8), elements=st.floats(0, 1, width=32)))
def test_every_image_has_finite_features_in_their_ranges(images):
    found = image_features(images)
    assert np.isfinite(found.to_numpy()).all() and tuple(found.columns) == FEATURES
    assert found["left_right_symmetry"].abs().max() <= 1 + 1e-9
    assert found[["centre_of_mass_y", "centre_of_mass_x", "edge_density"]].stack().between(0, 1).all()


def test_channels_are_averaged_and_chunks_do_not_matter():
    rng = np.random.default_rng(1)
    images = rng.random((5, 3, 16, 16), dtype=np.float32)
    one_by_one = [image_features(images[i : i + 1]).to_numpy()[0] for i in range(5)]
    np.testing.assert_allclose(image_features(images), one_by_one)
    grey = images.mean(axis=1, keepdims=True)
    np.testing.assert_allclose(image_features(images), image_features(grey), atol=1e-6)


def test_no_image_gives_an_empty_table():
    assert image_features(np.zeros((0, 1, 8, 8))).shape == (0, len(FEATURES))


def test_an_added_grey_is_named_brightness_only(spread):
    frames = [blob(ground=0.05 + 0.05 * k) for k in range(9)]
    found = named_changes(image_features(stack(frames)), spread)
    assert [change["feature"] for change in found] == ["brightness"]
    first = found[0]
    assert first["change"] == pytest.approx(0.4, abs=1e-5) and first["monotone"] == 1.0
    assert first["ratio"] == pytest.approx(0.4 / spread["brightness"], rel=1e-4)
    assert first["text"] == f"brightness rises by {first['ratio']:.1f} standard deviations of the images"


@pytest.mark.parametrize(
    ("frames", "expected", "direction"),
    [
        ([blob(y=0.3 + 0.05 * k) for k in range(9)], "centre_of_mass_y", "moves down"),
        ([blob(x=0.7 - 0.05 * k) for k in range(9)], "centre_of_mass_x", "moves left"),
    ],
)
def test_a_moving_blob_is_named_by_its_centre_of_mass(spread, frames, expected, direction):
    found = named_changes(image_features(stack(frames)), spread)
    assert found[0]["feature"] == expected and found[0]["direction"] == direction
    assert WORDS[expected] == found[0]["words"]


def test_blurring_is_named_sharpness(spread):
    rng = np.random.default_rng(2)
    texture = rng.random((32, 32))
    frames = [gaussian_filter(texture, 0.5 + 0.4 * k, mode="wrap") for k in range(9)]
    frames = [0.5 + 0.2 * (f - f.mean()) / f.std() for f in frames]
    found = named_changes(image_features(np.clip(stack(frames), 0, 1)), spread)
    assert "sharpness" in [change["feature"] for change in found]
    assert next(c for c in found if c["feature"] == "sharpness")["direction"] == "falls"


def test_stretching_the_greys_changes_contrast(spread):
    frames = [0.4 + (0.3 + 0.1 * k) * (blob() - blob().mean()) for k in range(9)]
    assert names(frames, spread)[0] in ("contrast", "edge_density") and "contrast" in names(frames, spread)
    assert "brightness" not in names(frames, spread) and "sharpness" not in names(frames, spread)


def test_small_changes_and_changes_to_and_fro_are_not_named(spread):
    assert names([blob(ground=0.2 + 0.001 * k) for k in range(9)], spread) == []
    to_and_fro = [0.1, 0.4, 0.1, 0.4, 0.1, 0.4, 0.1, 0.4, 0.3]
    assert names([blob(ground=g) for g in to_and_fro], spread) == []
    assert names([blob()] * 9, spread) == []


def test_named_changes_come_by_falling_ratio(spread):
    frames = [blob(y=0.3 + 0.04 * k, ground=0.1 + 0.06 * k) for k in range(9)]
    ratios = [c["ratio"] for c in named_changes(image_features(stack(frames)), spread)]
    assert len(ratios) >= 2 and ratios == sorted(ratios, reverse=True)


def test_the_decoders_error_counts_into_the_spread():
    rng = np.random.default_rng(0)
    real = image_features(stack([blob(ground=g) for g in rng.uniform(0, 0.4, 50)]))
    wrong = real + 0.3
    assert feature_spread(real, wrong) == pytest.approx(feature_spread(real))
    wrong["contrast"] += rng.normal(0, 0.1, 50)
    assert feature_spread(real, wrong)["contrast"] == pytest.approx(0.1, rel=0.3)
    assert feature_spread(real, wrong)["brightness"] == pytest.approx(real["brightness"].std(ddof=0))


def test_data_without_spread_give_finite_ratios():
    features = image_features(stack([blob(ground=0.2), blob(ground=0.3)]))
    assert np.isfinite(changes(features, dict.fromkeys(FEATURES, 0.0))["ratio"]).all()


def test_monotonicity_is_the_rank_correlation_with_order():
    assert monotonicity(np.array([1.0, 2, 400, 3])) == 0.8
    assert monotonicity(np.array([1.0, 1, 2, 2])) == pytest.approx(0.8**0.5)
    assert monotonicity(0.5 + 1e-11 * np.arange(4)) == 0
    assert monotonicity(np.array([3.0, 2, 1])) == -1 and monotonicity(np.array([5.0])) == 0
