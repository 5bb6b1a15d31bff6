"""Columns of the bundle: what goes in comes out, whatever the names are."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.atlas.atlas import Atlas
from zatlas.explorer.bundle.columns import Files, category_column, clean, label_names, plain, row_names, shared_columns

HOSTILE = [
    "<img src=x onerror=alert(1)>", "'\"`${1+1}", "\u202egnp.exe", "\U0001f9e0\U0001f468\u200d\U0001f469",
    "half \ud83d", "\udc00 other half", "a\x00b", "../../etc/passwd", "=1+1", "", " ", "line\nline", "NaN", "null",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("columns")


def atlas_of(**columns):
    n = len(next(iter(columns.values())))
    return Atlas(np.zeros((n, 2)), np.zeros((n, 2)), pd.DataFrame(columns))


def read(folder, column):
    """The values of a column, None where missing."""
    file = column["file"]
    values = np.fromfile(folder / file["path"], {"f32": "<f4", "u8": "|u1", "u16": "<u2", "u32": "<u4"}[file["dtype"]])
    assert list(values.shape) == file["shape"]
    if column["kind"] == "number":
        return [None if np.isnan(value) else float(value) for value in values]
    missing = np.iinfo(values.dtype).max
    return [None if code == missing else column["categories"][code] for code in values]


def written(folder, values):
    (column,) = [c for c in shared_columns(Files(folder), atlas_of(label=values)) if c["name"] == "label"]
    return column, read(folder, column)


@given(st.lists(st.one_of(st.none(), st.text(st.characters(), max_size=8), st.sampled_from(HOSTILE)), min_size=1))
def test_text_comes_back(folder, values):
    column, found = written(folder, pd.Series(values, dtype=object))
    assert found == [None if value is None else clean(value) for value in values]
    assert json.loads(json.dumps(column, allow_nan=False)) == column
    json.dumps(column, ensure_ascii=False).encode("utf-8")


@given(st.lists(st.one_of(st.none(), st.floats(width=32)), min_size=1))
def test_numbers_come_back(folder, values):
    column, found = written(folder, pd.Series(values, dtype=np.float64))
    expected = [None if value is None or not np.isfinite(value) else value for value in values]
    assert found == expected or (column["kind"] == "category" and all(
        (a is None and b is None) or float(a) == b for a, b in zip(found, expected, strict=True)
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        ([True, False, True], "category", ["True", "False", "True"]),
        (pd.array([True, None, False], "boolean"), "category", ["True", None, "False"]),
        (pd.array([1, None, 3], "Int64"), "number", [1.0, None, 3.0]),
        ([1, None, 3.5], "number", [1.0, None, 3.5]),
        (pd.Series([1, np.nan, 2.5], dtype=object), "number", [1.0, None, 2.5]),
        ([1234567891, 1234567892, 3], "category", ["1234567891", "1234567892", "3"]),
        ([1e300, -np.inf, 1.5], "number", [None, None, 1.5]),
        (pd.Series(["00012", "7", None]), "category", ["00012", "7", None]),
        (pd.to_datetime(["2020-01-02", None, "2021-01-01"]), "category",
         ["2020-01-02 00:00:00", None, "2021-01-01 00:00:00"]),
        (pd.Categorical(["b", "a", None], ["b", "a"], ordered=True), "category", ["b", "a", None]),
        (pd.Series([None, None, None], dtype=object), "category", [None, None, None]),
        (pd.Series([("a", 1), 2, "x"], dtype=object), "category", ["('a', 1)", "2", "x"]),
    ],
)  # fmt: skip
def test_kinds_of_columns(folder, values, kind, expected):
    column, found = written(folder, values)
    assert (column["kind"], found) == (kind, expected)


def test_ordered_categories_keep_their_order(folder):
    column, _ = written(folder, pd.Categorical(["mild", "severe"], ["none", "mild", "severe"], ordered=True))
    assert column["categories"] == ["none", "mild", "severe"]


@pytest.mark.parametrize(("n", "dtype"), [(254, "u8"), (255, "u8"), (256, "u16"), (65535, "u16"), (65536, "u32")])
def test_many_values_take_wider_codes(folder, n, dtype):
    texts = [f"v{i}" for i in range(n)]
    column = category_column(Files(folder), "many", "many", pd.Series([*texts, None]))
    assert column["file"]["dtype"] == dtype
    assert read(folder, column) == [*texts, None]


def test_an_empty_group_is_no_group(folder):
    columns = shared_columns(Files(folder), atlas_of(image=["a", "b"], group=["", ""]))
    assert [column["name"] for column in columns] == ["image"]
    columns = shared_columns(Files(folder), atlas_of(image=["a", "b"], group=["", "B07"]))
    assert read(folder, columns[1]) == [None, "B07"]


def test_labels_named_like_our_columns_are_renamed():
    names = {"cluster ": "x", "neighbour_distance": "x", "umap_kept": "x", "age": "x", 7: "x"}
    atlas = Atlas(np.zeros((1, 1)), np.zeros((1, 1)), pd.DataFrame({key: [1] for key in names}))
    assert label_names(atlas) == {
        "cluster ": "cluster ", "neighbour_distance": "label_neighbour_distance", "umap_kept": "label_umap_kept",
        "age": "age", 7: "7",
    }  # fmt: skip
    clash = Atlas(
        np.zeros((1, 1)), np.zeros((1, 1)), pd.DataFrame({7: [1], "7": [2], chr(0xD800): [1], chr(0xDFFF): [1]})
    )
    assert len(set(label_names(clash).values())) == 4


def test_file_names_never_come_from_the_data(folder):
    table = {"image": HOSTILE, **{name: list(range(len(HOSTILE))) for name in HOSTILE if "\x00" not in name}}
    columns = shared_columns(Files(folder), atlas_of(**table))
    assert all(column["file"]["path"].removeprefix("columns/").split(".")[0].isdigit() for column in columns)
    text = json.dumps(columns, allow_nan=False)
    assert text.isascii()
    assert json.loads(text)[0]["categories"] == sorted({clean(name) for name in HOSTILE})


def test_row_names_are_unique_and_clean():
    assert row_names(atlas_of(image=["a", "a"], y_px=[0, 8], x_px=[0, 0])) == ["a_y0_x0", "a_y8_x0"]
    names = row_names(atlas_of(image=["x\ud800", "x\udfff", "x"]))
    assert len(set(names)) == 3
    json.dumps(names, ensure_ascii=False).encode("utf-8")


@settings(max_examples=50)
@given(st.recursive(st.one_of(st.none(), st.booleans(), st.floats(), st.text()), lambda inner: st.lists(inner)))
def test_plain_values_are_json(value):
    json.dumps(plain({"a": value, "b": np.float32(np.nan), "c": np.arange(2), 3: pd.NA}), allow_nan=False)
