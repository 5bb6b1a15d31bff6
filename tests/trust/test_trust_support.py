"""Distances, correlations and facts of the bundle, against slow and plain ways to the same numbers."""

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from example_results import example_results
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.atlas.encode import known_grey_limits
from zatlas.explorer.bundle.dimensions import Described, _correlations, _reason, eta, spearman
from zatlas.explorer.bundle.facts import base_name, comparison, is_synthetic, privacy, run, title
from zatlas.explorer.bundle.model_part import _counts
from zatlas.explorer.bundle.writing import _measured_limits
from zatlas.tiles.transforms import Scaling
from zatlas.trust import support

RNG = np.random.default_rng


def slow_reference(points, k):
    far = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(far, np.inf)
    return np.sort(far, axis=1)[:, k - 1]


def test_support_is_measured_among_training_images_in_active_dimensions():
    mean = RNG(0).standard_normal((80, 4))
    is_training, is_active = np.arange(80) < 60, np.array([True, False, True, True])
    mean[:, 1] = 1000 * RNG(1).standard_normal(80)
    found = support.support(mean, is_training, is_active)
    reference = slow_reference(mean[:60][:, [0, 2, 3]], 5)
    assert found["dims"] == [0, 2, 3]
    assert found["within"] == pytest.approx(np.quantile(reference, 0.95))
    assert found["near"] == pytest.approx(np.quantile(reference, 0.995))
    assert np.allclose(found["quantiles"], np.quantile(reference, np.arange(101) / 100))
    assert "60 training images" in found["words"]
    assert "3 active dimensions" in found["words"]


def test_support_of_many_images_asks_some_of_them(monkeypatch):
    mean = RNG(0).standard_normal((300, 3))
    everything = support.support(mean, np.ones(300, bool), np.ones(3, bool))
    monkeypatch.setattr(support, "_MOST_ASKED", 299)
    monkeypatch.setattr(support, "_ASKED", 300)
    assert np.allclose(
        support.support(mean, np.ones(300, bool), np.ones(3, bool))["quantiles"], everything["quantiles"]
    )
    monkeypatch.setattr(support, "_ASKED", 100)
    some = support.support(mean, np.ones(300, bool), np.ones(3, bool))
    assert "asked of 100" in some["words"]
    assert some["within"] == pytest.approx(everything["within"], rel=0.2)


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_support_of_a_few_images(n):
    found = support.support(RNG(0).standard_normal((n, 2)), np.zeros(n, bool), np.zeros(2, bool))
    assert found["dims"] == [0, 1]
    assert 0 <= found["within"] <= found["near"]
    assert len(found["quantiles"]) == 101


def test_images_that_coincide_have_distance_zero():
    found = support.neighbours(np.zeros((12, 3)))
    assert (found.rows != np.arange(12)[:, None]).all()
    assert (found.distances == 0).all()


def test_a_map_that_is_the_latent_space_keeps_all_neighbours():
    points = RNG(0).standard_normal((50, 2))
    near = support.neighbours(points)
    assert (support.kept_share(near, points) == 1).all()
    assert support.kept_share(near, RNG(1).standard_normal((50, 2))).mean() == pytest.approx(10 / 49, abs=0.1)
    alone = support.neighbours(points[:1])
    assert np.isnan([*support.kept_share(alone, points[:1]), *support.neighbour_distance(alone)]).all()


@settings(max_examples=40, deadline=None)
@given(st.integers(4, 40), st.integers(0, 10_000))
def test_rank_correlations_are_those_of_scipy(n, seed):
    points, values = RNG(seed).integers(0, 6, (n, 2)).astype(float), RNG(seed + 1).integers(0, 4, n).astype(float)
    if np.ptp(values) == 0 or (np.ptp(points, axis=0) == 0).any():
        return
    expected = [scipy.stats.spearmanr(points[:, j], values).statistic for j in range(2)]
    assert np.allclose(spearman(points, values), expected)


def test_interval_of_a_correlation_holds_the_truth_in_19_of_20_cases():
    entries = []
    for seed in range(300):
        points = RNG(seed).standard_normal((60, 2))
        column = Described("a", points[:, 0] * 0.6 + points[:, 1] * 0.8, np.zeros(0, np.int64), [])
        entries += [_correlations(points[:, :1], [column])[0][0]]
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of normal variables with correlation 0.6
    held = np.mean([entry["low"] <= truth <= entry["high"] for entry in entries])
    assert 0.9 <= held <= 0.99
    assert all(entry["n"] == 60 and entry["kind"] == "spearman" for entry in entries)


def test_correlation_ratio_is_the_root_of_the_variance_between():
    codes = RNG(0).integers(0, 4, 200)
    points = RNG(1).standard_normal((200, 2)) + np.outer(codes, [1.0, 0.0])
    table = pd.DataFrame(points).groupby(codes).transform("mean").to_numpy()
    expected = np.sqrt(table.var(axis=0) / points.var(axis=0))
    assert np.allclose(eta(points, codes), expected)
    assert np.isnan(eta(points, np.zeros(200, int))).all(), "one category"
    assert np.isnan(eta(points, np.arange(200))).all(), "each image its own"


def test_missing_values_and_constant_columns_are_left_out():
    points = np.column_stack([np.arange(10.0), np.ones(10)])
    numbers = np.array([np.nan, *range(9)])
    columns = [
        Described("a", numbers, np.zeros(0, np.int64), []), Described("b", np.ones(10), np.zeros(0, np.int64), []),
        Described("c", None, np.array([-1, *[0, 1] * 4, 0]), ["x", "y"]),
        Described("few", numbers * np.nan, np.zeros(0, np.int64), []),
    ]  # fmt: skip
    first, second = _correlations(points, columns)
    assert [(entry["column"], entry["n"]) for entry in first] == [("a", 9), ("c", 9)]
    assert (first[0]["r"], first[0]["low"], first[0]["high"]) == (1.0, 1.0, 1.0)
    assert (first[1]["kind"], first[1]["low"]) == ("eta", None)
    assert second == [], "a dimension that does not vary goes with nothing"


def test_why_a_dimension_is_folded_away():
    assert _reason(0.0031, False) == "its rate is 0.003 nats per image: the model does not use it"
    assert _reason(1.2, True) == ""


def test_counts_in_a_cluster_beside_what_chance_would_give():
    column = Described("kind", None, np.array([0, 0, 1, 1, -1, 0]), ["x", "y", "never"])
    found = _counts(column, np.array([True, True, True, False, True, False]))
    assert found == [{"value": "x", "n": 2, "expected": 1.8}, {"value": "y", "n": 1, "expected": 1.2}]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("zatlas", "zatlas"), ("/home/anna/data/cells/", "cells"), ("C:\\Users\\Anna\\x.h5", "x.h5"),
        ("-o=/srv/out", "-o=out"), ("--beta=0.5", "--beta=0.5"), ("/", "/"), ("", ""), ("../a=b/c.csv", "c.csv"),
    ],
)  # fmt: skip
def test_paths_are_reduced_to_their_last_part(word, expected):
    assert base_name(word) == expected


def test_run_does_not_name_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    results = example_results()
    results.provenance = {
        "command": ["zatlas", "study", "/home/anna/x.h5"], "seed": 3,
        "training": {"z4": {"choices": {"device": {"reason": "found in /home/anna/cuda"}}}, "z99": {}},
    }  # fmt: skip
    results.config = {"data": {"input": "../../home/anna/x.h5", "labels": ""}, "title": "\ud800"}
    found = run(results, ["z4"])
    assert found["command"] == ["zatlas", "study", "x.h5"]
    assert found["config"]["data"] == {"input": "x.h5", "labels": ""}
    assert found["training"] == {"z4": {"choices": {"device": {"reason": "found in ~/cuda"}}}}
    assert "anna" not in str(found)
    assert results.config["data"]["input"] == "../../home/anna/x.h5", "the results themselves stay"


def test_synthetic_images_are_known_by_their_factors():
    factors = ["stain", "cell_density", "cell_size", "island_fraction", "fibres", "vessels", "tears"]
    assert is_synthetic([*factors, "mine"])
    assert not is_synthetic(factors[:-1])


def test_comparison_of_some_of_the_models():
    compared = example_results(n_models=3).comparison
    found = comparison(compared, ["z4", "z32"])
    assert found is not None
    assert [row["name"] for row in found["table"]] == ["z4", "z32"]
    assert {(pair["a"], pair["b"]) for pair in found["cluster_matches"]} == {("z4", "z32")}
    assert np.shape(found["neighbour_overlap"]["values"]) == (2, 2)
    assert comparison(compared, ["z4"]) is None


def test_title_of_the_study_or_of_its_data():
    results = example_results()
    results.config["title"] = ""
    assert title(results) == f"The latent space of {results.data.name}"
    results.config["title"] = "Mine"
    assert title(results) == "Mine"


@pytest.mark.parametrize(
    ("thumbnails", "originals", "level"), [(0, 0, "latents"), (1, 0, "thumbnails"), (0, 1, "originals")]
)
def test_privacy_in_words(thumbnails, originals, level):
    found = privacy(
        n=5, labels=["age"], has_thumbnails=bool(thumbnails), has_originals=bool(originals), side_px=128,
        thumbnail_px=64, has_decoder=True, has_encoder=False,
    )  # fmt: skip
    assert found["level"] == level
    assert any("thumbnail" in line for line in found["contains"]) == bool(thumbnails)
    assert any("original" in line for line in found["contains"]) == bool(originals)
    assert any("decoder" in line for line in found["contains"])
    assert not any("encoder" in line for line in found["contains"] if "decoder" not in line)


def test_display_limits_without_images():
    results = example_results()
    assert known_grey_limits(Scaling("minmax", 3, 7), {results.data.dtype}) == (0.0, 1.0)
    assert known_grey_limits(Scaling("standardise", 100, 50), {"uint8"}) == (-2.0, pytest.approx(3.1))
    assert known_grey_limits(Scaling("standardise", 100, 50), {"float32"}) is None
    results.data.statistics = {"min": -9, "max": 99, "training": {"min": 0.0, "max": 200.0}}
    assert _measured_limits(results, Scaling("standardise", 100, 50)) == (-2.0, 2.0)
