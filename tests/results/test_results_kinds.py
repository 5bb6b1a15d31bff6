"""Results go to disk and come back the same; what is damaged is refused."""

import numpy as np
import pandas as pd
import pytest
from example_results import example_results

from zatlas import files
from zatlas.errors import DataError, FileAccessError
from zatlas.results.kinds import Comparison, Finding, ModelResults, Traversal
from zatlas.results.records import read_record, write_record


def assert_same(a, b, path=""):
    """Deep equality of results."""
    if isinstance(a, pd.DataFrame):
        pd.testing.assert_frame_equal(a, b, check_exact=True)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype, path
        np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert set(a) == set(b), path
        for key in a:
            assert_same(a[key], b[key], f"{path}.{key}")
    elif isinstance(a, list | tuple):
        assert len(a) == len(b), path
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            assert_same(x, y, f"{path}[{i}]")
    elif hasattr(a, "__dataclass_fields__"):
        assert type(a) is type(b)
        assert_same(vars(a), vars(b), path)
    else:
        assert a == b or (a != a and b != b), path


def test_study_results_come_back_the_same(tmp_path):
    results = example_results(seed=1, n_models=2)
    for i, part in enumerate([results.data, results.comparison, *results.models]):
        part.save(tmp_path / str(i))
        assert_same(part, type(part).load(tmp_path / str(i)))


def test_one_model_comes_back_the_same(tmp_path):
    model = example_results(n_models=1).models[0]
    model.save(tmp_path / "z4")
    assert sorted(p.name for p in (tmp_path / "z4").iterdir()) == ["arrays.npz", "results.json"]
    assert_same(model, ModelResults.load(tmp_path / "z4"))


def test_a_field_that_an_older_zatlas_wrote_is_passed_over(tmp_path):
    model = example_results(n_models=1).models[0]
    model.save(tmp_path / "z4")
    content = files.read_json(tmp_path / "z4" / "results.json")
    content["content"]["latents"] = {"mean_norm": 1.0}
    files.write_json(tmp_path / "z4" / "results.json", content)
    assert_same(model, ModelResults.load(tmp_path / "z4"))


def test_equal_results_are_equal_bytes(tmp_path):
    for name in "ab":
        example_results(n_models=1).models[0].save(tmp_path / name)
    for file in ("results.json", "arrays.npz"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_tables_keep_dtypes_index_and_missing_values(tmp_path):
    table = pd.DataFrame(
        {
            "f4": np.array([1.5, np.nan, np.inf], np.float32),
            "f8": [0.1, -np.inf, np.nan],
            "i": np.array([1, 2, 3], np.int32),
            "flag": [True, False, True],
            "text": ["=1+1", None, "β"],
            "kind": pd.Categorical(["b", None, "a"], categories=["b", "a", "unused"], ordered=True),
            "number": pd.Categorical([3, 1, 3]),
            "whole": pd.array([1, None, 3], dtype="Int64"),
        },
        index=pd.Index(["train", "validation", "test"], name="part"),
    )
    crosstab = pd.crosstab(pd.Series([0, 0, 1], name="cluster"), pd.Series(["x", "y", "x"], name="group"))
    empty = pd.DataFrame({"a": np.zeros(0, np.float32), "b": pd.Series([], dtype=object)})
    record = Comparison(
        table=table, cluster_matches=[{"mapping": {0: 2, 1: 0}}], neighbour_overlap=crosstab, map_similarity=empty
    )
    record.save(tmp_path / "r")
    back = Comparison.load(tmp_path / "r")
    pd.testing.assert_frame_equal(back.table, table, check_exact=True)
    pd.testing.assert_frame_equal(back.neighbour_overlap, crosstab)
    pd.testing.assert_frame_equal(back.map_similarity, empty, check_exact=True)
    assert back.cluster_matches == [{"mapping": {0: 2, 1: 0}}]


def test_plain_values_keep_their_types(tmp_path):
    numbers = {"nan": float("nan"), "inf": -np.inf, "n": np.int64(3), "x": np.float32(0.5), "none": None, "yes": True}
    Finding(section="s", question="q?", text="t", numbers=numbers).save(tmp_path / "f")
    back = Finding.load(tmp_path / "f").numbers
    assert np.isnan(back["nan"]) and back["inf"] == -np.inf
    assert back["n"] == 3 and type(back["n"]) is int and back["x"] == 0.5 and back["none"] is None
    assert back["yes"] is True


def test_saving_again_replaces(tmp_path):
    for text in ("first", "second"):
        Finding(section="s", question="q", text=text).save(tmp_path / "f")
    assert Finding.load(tmp_path / "f").text == "second"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match=r"numbers\.x"):
        Finding(section="", question="", text="", numbers={"x": object()}).save(tmp_path / "f")
    with pytest.raises(TypeError, match="array of objects"):
        Finding(section="", question="", text="", numbers={"x": np.array([None])}).save(tmp_path / "f")
    assert not list(tmp_path.iterdir())


def test_damage_is_named(tmp_path):
    with pytest.raises(FileAccessError, match=r"cannot read results\.json"):
        Finding.load(tmp_path / "nothing")
    Traversal(dim=0, rate_nats=1.0, values=np.zeros(3), frames=np.zeros((3, 1, 2, 2), np.float32)).save(tmp_path / "t")
    with pytest.raises(DataError, match="holds Traversal, expected Finding"):
        Finding.load(tmp_path / "t")
    (tmp_path / "t" / "arrays.npz").write_bytes(b"PK damaged")
    with pytest.raises(DataError, match="damaged or incomplete"):
        Traversal.load(tmp_path / "t")
    write_record(Finding(section="", question="", text=""), tmp_path / "g")
    with pytest.raises(DataError, match="damaged or incomplete"):
        read_record(tmp_path / "g", {})
