"""Dataclasses of arrays, tables and plain values on disk: results.json and arrays.npz, without pickle.

`results.json` holds the structure; an array stands in it as the name of a member of `arrays.npz`, a table as its
columns with their dtypes (categories and their order too). Equal records give equal bytes. Which dataclasses may be
read back is said by the reader, so that a file can never name code to run.

By hand and not by anndata's write_elem: it knows neither lists of records, nor None, nor text with missing values, nor
keys that are numbers, so that all but `_encode_table` and `_encode_column` would stay; the results of a small study
took 5 times longer to write and to read and 2.6 times the space in HDF5 (a few thousand small datasets).
"""

import dataclasses
import math
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zatlas import files
from zatlas.errors import DataError

__all__ = ["read_record", "write_record"]

_RECORD, _ARRAY, _TABLE, _PAIRS, _NUMBER = "$record", "$array", "$table", "$pairs", "$number"


def write_record(record: Any, folder: Path) -> None:
    """Write a dataclass as `folder`/results.json and arrays.npz, whole or not at all.

    Args:
        record: A dataclass of plain values, lists, dictionaries, numpy arrays, DataFrames and further dataclasses.
        folder: Replaced when it exists.

    Raises:
        WriteError: the folder cannot be written.
        TypeError: a value is of another type (an error of zatlas itself).
    """
    arrays: dict[str, np.ndarray] = {}
    content = {"schema_version": files.SCHEMA_VERSION, "content": _encode(record, arrays, "")}
    with files.new_folder(folder) as temporary:
        files.write_json(temporary / "results.json", content)
        with (temporary / "arrays.npz").open("wb") as stream:
            np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]


def read_record(folder: Path, kinds: Mapping[str, type]) -> Any:
    """Read what `write_record` wrote.

    Args:
        folder: The folder.
        kinds: The dataclasses that may occur, by name.

    Raises:
        FileAccessError: results.json cannot be read.
        DataError: a file is damaged or was made by a newer zatlas.
    """
    content = files.read_json(folder / "results.json")
    hint = "remove the folder and run zatlas study again"
    if not isinstance(content, dict) or content.get("schema_version", 0) > files.SCHEMA_VERSION:
        raise DataError("results.json was written by a newer zatlas", where=str(folder), hint="update zatlas")
    try:
        with np.load(folder / "arrays.npz", allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        return _decode(content["content"], arrays, kinds)
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as err:
        raise DataError(f"the results are damaged or incomplete: {err}", where=str(folder), hint=hint) from err


def _encode(value: Any, arrays: dict[str, np.ndarray], path: str) -> Any:
    """The JSON form of a value; arrays are added to `arrays` under their path."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {
            f.name: _encode(getattr(value, f.name), arrays, _join(path, f.name)) for f in dataclasses.fields(value)
        }
        return {_RECORD: type(value).__name__, **fields}
    if isinstance(value, np.ndarray):
        return _encode_array(value, arrays, path)
    if isinstance(value, pd.DataFrame):
        return _encode_table(value, arrays, path)
    if isinstance(value, dict):
        return _encode_dict(value, arrays, path)
    if isinstance(value, list | tuple):
        return [_encode(item, arrays, _join(path, i)) for i, item in enumerate(value)]
    return _encode_plain(value, path)


def _join(path: str, name: object) -> str:
    return f"{path}.{name}" if path else str(name)


def _encode_plain(value: Any, path: str) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return {_NUMBER: repr(value)}
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"{path} is a {type(value).__name__}, which results cannot hold")


def _encode_array(value: np.ndarray, arrays: dict[str, np.ndarray], path: str) -> dict[str, str]:
    if value.dtype.hasobject:
        raise TypeError(f"{path} is an array of objects; use a list")
    arrays[path] = value
    return {_ARRAY: path}


def _encode_dict(value: dict[Any, Any], arrays: dict[str, np.ndarray], path: str) -> Any:
    if all(isinstance(key, str) and not key.startswith("$") for key in value):
        return {key: _encode(item, arrays, _join(path, key)) for key, item in value.items()}
    pairs = [
        [_encode_plain(key, path), _encode(item, arrays, _join(path, i))] for i, (key, item) in enumerate(value.items())
    ]
    return {_PAIRS: pairs}


def _encode_table(table: pd.DataFrame, arrays: dict[str, np.ndarray], path: str) -> dict[str, Any]:
    columns = [
        {"name": _encode_plain(name, path), **_encode_column(table.iloc[:, i], arrays, f"{path}[{i}]")}
        for i, name in enumerate(table.columns)
    ]
    index: dict[str, Any] = {"rows": len(table)}
    if not (isinstance(table.index, pd.RangeIndex) and table.index.start == 0 and table.index.step == 1):
        index |= _encode_column(table.index.to_series(), arrays, f"{path}[index]")
    names = {"index": _encode_plain(table.index.name, path), "columns": _encode_plain(table.columns.name, path)}
    return {_TABLE: columns, "index": index, "names": names}


def _encode_column(column: pd.Series, arrays: dict[str, np.ndarray], path: str) -> dict[str, Any]:
    if isinstance(column.dtype, pd.CategoricalDtype):
        categories = pd.Series(column.cat.categories)
        return {
            "dtype": "category",
            "ordered": bool(column.cat.ordered),
            "categories": _encode_column(categories, arrays, f"{path}.categories"),
            "values": [int(code) for code in column.cat.codes],
        }
    values = [None if _is_missing(value) else _encode_plain(value, path) for value in column.tolist()]
    return {"dtype": str(column.dtype), "values": values}


def _is_missing(value: Any) -> bool:
    return value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value))


def _decode(value: Any, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays, kinds) for item in value]
    if not isinstance(value, dict):
        return value
    if _ARRAY in value:
        return arrays[value[_ARRAY]]
    if _NUMBER in value:
        return float(value[_NUMBER])
    if _PAIRS in value:
        return {key: _decode(item, arrays, kinds) for key, item in value[_PAIRS]}
    if _TABLE in value:
        return _decode_table(value)
    if _RECORD in value:
        kind = kinds[value[_RECORD]]
        known = {field.name for field in dataclasses.fields(kind)}
        return kind(**{name: _decode(item, arrays, kinds) for name, item in value.items() if name in known})
    return {key: _decode(item, arrays, kinds) for key, item in value.items()}


def _decode_table(value: dict[str, Any]) -> pd.DataFrame:
    index = value["index"]
    rows = pd.RangeIndex(index["rows"]) if "dtype" not in index else pd.Index(_decode_column(index))
    columns = value[_TABLE]
    table = pd.DataFrame({i: _decode_column(column).set_axis(rows) for i, column in enumerate(columns)}, index=rows)
    if columns:
        table.columns = pd.Index([column["name"] for column in columns])
    return table.rename_axis(index=value["names"]["index"], columns=value["names"]["columns"])


def _decode_column(column: dict[str, Any]) -> Any:
    values = [float(v[_NUMBER]) if isinstance(v, dict) else v for v in column["values"]]
    if column["dtype"] == "category":
        categories = pd.Index(_decode_column(column["categories"]))
        codes = np.asarray(values, dtype=np.int64)
        return pd.Series(pd.Categorical.from_codes(codes, categories=categories, ordered=column["ordered"]))
    return pd.Series(values, dtype=column["dtype"])
