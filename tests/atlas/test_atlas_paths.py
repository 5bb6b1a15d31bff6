"""Paths: positions, straight and great-circle interpolation, ends of axis walks, distances, traversals."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from zatlas.atlas.atlas import Atlas
from zatlas.atlas.paths import (
    aggregate_sd,
    interpolate,
    nearest_distance,
    positions,
    relative_to_spacing,
    spacing,
    traversal,
    traversal_order,
)
from zatlas.errors import DataError, UsageError

NOTE = (
    "t-SNE has no inverse: the ends are the two images extreme on the t-SNE axis, the path between them runs in latent "
    "space"
)
VECTORS = arrays(np.float32, 5, elements=st.floats(-3, 3, width=32))


@pytest.fixture
def atlas():
    rng = np.random.default_rng(3)
    mean = rng.standard_normal((30, 3)) * [3.0, 1.0, 0.3]
    table = pd.DataFrame(
        {
            "image": [f"B01/{i:02d}" for i in range(30)],
            "group": "B01",
            "age": np.repeat([1.0, 2.0, 3.0], 10),
            "kind": ["a", "b"] * 15,
            "same": 1.0,
        }
    )
    return Atlas(mean, np.full((30, 3), -2.0), table, projections={"tsne": mean[:, ::-1][:, :2]})


def test_seven_interior_points_lie_at_eighths():
    np.testing.assert_allclose(positions(7), np.arange(1, 8) / 8)
    assert positions(1).tolist() == [0.5]
    with pytest.raises(UsageError, match="--points is 0"):
        positions(0)


@given(VECTORS, VECTORS, st.integers(1, 9), st.sampled_from(["straight", "spherical"]))
def test_both_ends_are_exact_and_all_points_finite(z0, z1, points, kind):
    z = interpolate(z0, z1, points, kind)
    assert z.shape == (points + 2, 5) and z.dtype == np.float32 and np.isfinite(z).all()
    np.testing.assert_array_equal(z[0], z0)
    np.testing.assert_array_equal(z[-1], z1)


def test_straight_points_are_evenly_spaced():
    z = interpolate(np.array([0.0, 8.0]), np.array([16.0, 0.0]), 7)
    np.testing.assert_allclose(z, np.stack([np.arange(9) * 2, 8 - np.arange(9)], axis=1))


@given(VECTORS, VECTORS)
def test_spherical_points_turn_evenly_and_lengths_go_evenly(z0, z1):
    z0, z1 = z0 + np.float32(4), z1 + np.float32([4, 4, 4, 4, -8])
    z = interpolate(z0, z1, 7, "spherical").astype(np.float64)
    lengths = np.linalg.norm(z, axis=1)
    np.testing.assert_allclose(lengths, np.linspace(lengths[0], lengths[-1], 9), rtol=1e-5)
    unit = z / lengths[:, None]
    angles = np.arccos(np.clip((unit[1:] * unit[:-1]).sum(axis=1), -1, 1))
    np.testing.assert_allclose(angles, angles.mean(), atol=2e-3)


def test_ends_of_equal_length_stay_on_their_sphere():
    z = interpolate(np.array([3.0, 0, 0]), np.array([0, 3.0, 0]), 3, "spherical")
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 3, rtol=1e-6)
    np.testing.assert_allclose(z[2], [3 / np.sqrt(2), 3 / np.sqrt(2), 0], rtol=1e-6)


def test_opposite_ends_go_round_not_through_the_origin():
    z = interpolate(np.array([2.0, 0, 0]), np.array([-2.0, 0, 0]), 7, "spherical")
    np.testing.assert_allclose(np.linalg.norm(z, axis=1), 2, rtol=1e-5)


def test_without_an_arc_the_spherical_walk_is_straight():
    for z0, z1 in ((np.zeros(2), np.ones(2)), (np.ones(2), 3 * np.ones(2)), (np.array([-1.0]), np.array([2.0]))):
        np.testing.assert_allclose(interpolate(z0, z1, 4, "spherical"), interpolate(z0, z1, 4), atol=1e-6)


def test_unknown_kind_is_refused():
    with pytest.raises(UsageError, match="a path cannot be 'curly'"):
        interpolate(np.zeros(2), np.ones(2), 3, "curly")


def test_walk_along_a_latent_dimension_joins_its_extremes(atlas):
    walk = atlas.path("z1", 7)
    assert (walk.start_row, walk.end_row) == (atlas.mean[:, 1].argmin(), atlas.mean[:, 1].argmax())
    assert walk.start_image == atlas.table["image"][walk.start_row]
    assert (walk.name, walk.axis_kind, walk.note, walk.kind) == ("z1", "latent", "", "straight")
    np.testing.assert_array_equal(walk.z[[0, -1]], atlas.mean[[walk.start_row, walk.end_row]])
    assert len(walk.t) == 7 and walk.z.shape == (9, 3)


def test_walk_along_pc1_makes_the_map_when_it_is_missing(atlas):
    walk = atlas.path("PC1")
    scores = atlas.projections["pca"][:, 0]
    assert (walk.start_row, walk.end_row) == (scores.argmin(), scores.argmax())


@pytest.mark.parametrize("axis", ["TSNE1", "t-SNE 1", "tsne1"])
def test_walk_along_tsne_says_that_it_runs_in_latent_space(atlas, axis):
    walk = atlas.path(axis)
    assert (walk.name, walk.axis_kind, walk.note) == ("t-SNE 1", "tsne", NOTE)
    assert walk.end_row == atlas.projections["tsne"][:, 0].argmax()


def test_of_many_images_at_an_extreme_the_most_typical_is_taken(atlas):
    walk = atlas.path("age")
    lowest = atlas.mean[:10]
    assert walk.start_row == np.linalg.norm(lowest - lowest.mean(axis=0), axis=1).argmin()
    assert walk.end_row >= 20 and walk.axis_kind == "label"


def test_walk_between_two_rows(atlas):
    walk = atlas.path((3, 12), 4, kind="spherical")
    assert (walk.start_row, walk.end_row, walk.name) == (3, 12, "B01/03 -> B01/12")
    assert walk.axis_kind == "pair" and walk.kind == "spherical"
    for rows in ((3, 3), (0, 30), (-1, 2)):
        with pytest.raises(UsageError, match="a path cannot go from row"):
            atlas.path(rows)


def test_missing_labels_are_never_ends(atlas):
    atlas.table["age"] = np.where(np.arange(30) < 10, np.nan, atlas.table["age"])
    assert atlas.path("age").start_row >= 10


def test_axes_that_do_not_exist_are_named_with_those_that_do(atlas):
    with pytest.raises(UsageError, match="no axis 'stain'") as error:
        atlas.path("stain")
    assert "age" in error.value.hint and "z0 to z2" in error.value.hint
    with pytest.raises(UsageError, match="no axis 'z3'"):
        atlas.path("z3")
    with pytest.raises(UsageError, match="no axis 'PC0'"):
        atlas.path("PC0")
    with pytest.raises(UsageError, match="holds text"):
        atlas.path("kind")
    with pytest.raises(UsageError, match="same value on same"):
        atlas.path("same")


def test_a_column_goes_before_an_axis_of_the_same_name(atlas):
    atlas.table["z0"] = np.arange(30.0)
    assert atlas.axis("z0")[1] == "label"


def test_distance_is_zero_at_images_and_counts_in_spacings():
    latents = np.arange(10.0)[:, None] * 2
    distance = nearest_distance(np.array([[4.0], [5.0], [-6.0]]), latents)
    np.testing.assert_allclose(distance, [0, 1, 6])
    np.testing.assert_allclose(relative_to_spacing(distance, latents), [0, 0.5, 3])
    np.testing.assert_allclose(relative_to_spacing(distance, latents, unit=spacing(latents)), [0, 0.5, 3])
    assert spacing(latents[:1]) == spacing(np.zeros((5, 2))) == 1


def test_walk_knows_how_far_from_images_it_runs(atlas):
    walk = atlas.path("z0", 7)
    assert walk.nearest_distance.shape == (9,)
    assert walk.nearest_distance[0] == 0 and walk.nearest_distance[-1] == 0 and walk.nearest_distance.max() > 0


def test_aggregate_deviation_has_both_parts():
    mean, log_var = np.array([[-1.0, 0], [1.0, 0]]), np.log(np.array([[3.0, 1], [3.0, 1]]))
    np.testing.assert_allclose(aggregate_sd(mean, log_var), [2, 1])


def test_traversal_moves_one_dimension_in_its_deviations():
    mean, log_var = np.array([[-1.0, 5], [1.0, 5]]), np.log(np.array([[3.0, 1], [3.0, 1]]))
    z = traversal(mean, log_var, 0, (-1.0, 0.0, 2.0))
    np.testing.assert_allclose(z, [[-2, 5], [0, 5], [4, 5]])
    with pytest.raises(DataError, match="no latent dimension 2"):
        traversal(mean, log_var, 2)


def test_traversals_are_the_active_dimensions_by_rate():
    rate = np.array([0.1, 3.0, 1.0, 2.0, 0.0])
    assert traversal_order(rate, np.array([True, True, True, False, False])) == [1, 2, 0]
    assert traversal_order(rate, np.zeros(5, bool)) == [1, 3, 2, 0]
    assert traversal_order(rate, np.ones(5, bool), most=2) == [1, 3]
