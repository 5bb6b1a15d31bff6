"""The entries of dimensions, clusters and support in the manifest."""

import numpy as np

from zatlas.explorer.bundle.dimensions import Described, _correlations, _reason, support_entry
from zatlas.explorer.bundle.model_part import _counts
from zatlas.trust.support import Support


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
    for unit in ("image", "tile"):
        assert _reason(0.0031, False, unit) == f"its rate is 0.003 nats per {unit}: the model does not use it"
    assert _reason(1.2, True, "tile") == ""


def test_counts_in_a_cluster_beside_what_chance_would_give():
    column = Described("kind", None, np.array([0, 0, 1, 1, -1, 0]), ["x", "y", "never"])
    found = _counts(column, np.array([True, True, True, False, True, False]))
    assert found == [{"value": "x", "n": 2, "expected": 1.8}, {"value": "y", "n": 1, "expected": 1.2}]


def test_correlations_are_sorted_and_have_their_interval():
    rng = np.random.default_rng(0)
    points = rng.standard_normal((60, 1))
    columns = [Described("weak", points[:, 0] + 3 * rng.standard_normal(60), np.zeros(0, np.int64), [])]
    columns += [Described("strong", -points[:, 0] + 0.3 * rng.standard_normal(60), np.zeros(0, np.int64), [])]
    (found,) = _correlations(points, columns)
    assert [entry["column"] for entry in found] == ["strong", "weak"] and found[0]["r"] < -0.8
    assert all(entry["low"] < entry["r"] < entry["high"] for entry in found)
    assert all(entry["n"] == 60 and entry["kind"] == "spearman" for entry in found)


def test_support_in_words():
    found = Support(5, np.array([0, 2, 3]), 1.2345, 2.0, np.linspace(0, 2, 101), 60, 60, True)
    entry = support_entry(found)
    assert (entry["k"], entry["dims"], entry["within"], entry["near"], len(entry["quantiles"])) == (
        5, [0, 2, 3], 1.2345, 2.0, 101,
    )  # fmt: skip
    assert entry["words"].startswith(
        "Measured against the 60 training images: the distance to the 5th nearest one in 3 active dimensions. "
        "Up to 1.23, as for 95 % of them, is within the data; up to 2,"
    )
    alone = support_entry(found._replace(k=0, dims=np.array([1]), n=2, n_asked=1, is_of_training=False))
    assert alone["k"] == 1
    assert "the 2 images, asked of 1: the distance to the very nearest one in 1 active dimension." in alone["words"]
