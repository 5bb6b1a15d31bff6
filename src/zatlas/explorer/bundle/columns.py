"""Files of a bundle and the columns in them: one value per image, as codes of categories or as numbers.

Every array is little-endian and row-major, and row i is atlas row i. File names are numbers, never a name from the
data, which may hold anything; such names stand in the manifest as JSON text.
"""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zatlas.atlas.atlas import OWN_COLUMNS, Atlas

__all__ = [
    "Files",
    "category_column",
    "clean",
    "codes_of",
    "label_names",
    "number_column",
    "numbers_of",
    "plain",
    "row_names",
    "shared_columns",
]

_DTYPES = {"f32": "<f4", "u8": "|u1", "u16": "<u2", "u32": "<u4"}

_SHARED = ("image", "group", "split", "y_px", "x_px", "size_px")
_TITLES: Mapping[str, tuple[str, str, str]] = {
    "image": ("Image", "", "name of the image that this picture is, or was cut from"),
    "group": ("Group", "", "images that belong together, such as those of one animal or patient"),
    "split": ("Split", "", "train: the model learned from it; validation: chose the best epoch; test: never seen"),
    "y_px": ("Top edge", "px", "distance of the tile from the top of its image"),
    "x_px": ("Left edge", "px", "distance of the tile from the left of its image"),
    "size_px": ("Tile size", "px", "side of the tile in its image"),
    "cluster": ("Cluster", "", "region of the latent space by k-means, 0 the largest"),
    "distortion_nats": ("Distortion", "nats", "how badly the model reconstructs the image; lower is better"),
    "rate_nats": ("Rate", "nats", "how much the model says about the image"),
    "local_rate_nats": ("Rate of local latents", "nats", "how much of the rate is that of local latents"),
    "psnr_db": ("PSNR", "dB", "how well the model reconstructs the image; higher is better"),
}


class Files:
    """Writes the files of a bundle and keeps what the manifest says of each.

    Args:
        folder: Where they go; folders inside are made as needed.

    Attributes:
        records: Size and sha256 of every file by its path in the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.records: dict[str, dict[str, Any]] = {}

    def array(self, stem: str, values: np.ndarray, dtype: str) -> dict[str, Any]:
        """Write an array as f32, u8, u16 or u32, named `stem`.`dtype`."""
        content = np.ascontiguousarray(values, _DTYPES[dtype])
        return self.raw(f"{stem}.{dtype}", content.tobytes(), dtype, content.shape)

    def json(self, stem: str, values: Sequence[Any]) -> dict[str, Any]:
        """Write a list as JSON in ASCII."""
        content = json.dumps(plain(list(values)), allow_nan=False, separators=(",", ":"))
        return self.raw(f"{stem}.json", content.encode("ascii"), "json", (len(values),))

    def raw(self, path: str, content: bytes, dtype: str, shape: Sequence[int]) -> dict[str, Any]:
        """Write bytes; returns the entry of the manifest."""
        target = self.folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        record = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        self.records[path] = record
        return {"path": path, "dtype": dtype, "shape": [int(size) for size in shape], **record}


def clean(text: Any) -> str:
    """Text that every JSON reader takes: halves of characters that stand alone become the replacement character.

    Example:
        >>> clean("B07" + chr(0xD800))
        'B07\N{REPLACEMENT CHARACTER}'
    """
    # Decoding what was encoded with its surrogates joins pairs of them and replaces those that stand alone.
    return str(text).encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def plain(value: Any) -> Any:
    """Plain Python for JSON: numpy unpacked, numbers that are not finite as null, keys and texts clean."""
    if isinstance(value, Mapping):
        return {clean(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value if isinstance(value, bool | int | float) else clean(value)


def row_names(atlas: Atlas) -> list[str]:
    """A unique name for each row: those that the atlas has as AnnData, made fit for JSON."""
    names = [clean(name) for name in atlas.to_anndata().obs_names]
    if len(set(names)) < len(names):
        names = [f"{name}_{row}" for row, name in enumerate(names)]
    return names


def shared_columns(files: Files, atlas: Atlas) -> list[dict[str, Any]]:
    """Write what is known about the images whatever the model: where they come from, and the user's labels.

    A column of groups that are all empty is left out. Labels named like a column of zatlas get "label_" before it.
    """
    table = atlas.table
    columns: list[dict[str, Any]] = []
    for name in (name for name in _SHARED if name in table):
        if name != "group" or atlas.groups:
            columns.append(_column(files, f"columns/{len(columns):03d}", name, table[name]))
    for label, name in label_names(atlas).items():
        columns.append(_column(files, f"columns/{len(columns):03d}", name, table[label], title=clean(label)))
    return columns


def label_names(atlas: Atlas) -> dict[Any, str]:
    """The name in the bundle of each label: unique, clean, and unlike the columns of zatlas."""
    taken = {"neighbour_distance", *OWN_COLUMNS}
    names = {}
    for label in (label for label in atlas.table.columns if label not in OWN_COLUMNS):
        name = clean(label)
        if name in taken or name.endswith("_kept"):
            name = f"label_{name}"
        while name in taken:
            name += "_"
        taken.add(name)
        names[label] = name
    return names


def _column(files: Files, stem: str, name: str, values: Any, *, title: str = "") -> dict[str, Any]:
    """A column of a table: numbers where float32 holds them, otherwise categories."""
    numbers = None if name in ("image", "group", "split") else numbers_of(values)
    if numbers is not None:
        return number_column(files, stem, name, numbers, title=title)
    return category_column(files, stem, name, values, title=title)


def numbers_of(values: Any) -> np.ndarray | None:
    """The values as float32 with NaN for missing ones, or None when they are no numbers or too long for it."""
    if isinstance(values.dtype, pd.CategoricalDtype) or pd.api.types.is_bool_dtype(values.dtype):
        return None
    if not pd.api.types.is_numeric_dtype(values.dtype):
        known = values[values.notna()]
        inferred = pd.api.types.infer_dtype(known)
        if not len(known) or inferred not in ("integer", "floating", "mixed-integer-float", "decimal"):
            return None
    if pd.api.types.is_complex_dtype(values.dtype):
        return None
    exact = pd.to_numeric(values).to_numpy(np.float64, na_value=np.nan)
    with np.errstate(over="ignore"):
        short = exact.astype(np.float32)
    known = exact[np.isfinite(exact)]
    is_number_of_a_thing = bool(len(known)) and bool((known == np.rint(known)).all())
    if is_number_of_a_thing and (known.astype(np.float32) != known).any() and np.abs(known).max() < 2**63:
        return None  # such as a patient's number of ten digits
    short[~np.isfinite(short)] = np.nan
    return np.asarray(short, np.float32)


def number_column(
    files: Files, stem: str, name: str, values: np.ndarray, *, title: str = "", description: str = ""
) -> dict[str, Any]:
    """Write numbers, (n,); NaN stands for missing ones.

    Args:
        files: Where to.
        stem: Path without its ending.
        name: Of the column.
        values: The numbers.
        title: As shown; by default that of a column of zatlas, or the name.
        description: One sentence; by default that of a column of zatlas.
    """
    known_title, unit, known_description = _TITLES.get(name, (name, "", ""))
    column = {"name": name, "title": title or known_title, "kind": "number", "file": files.array(stem, values, "f32")}
    described = {"unit": unit, "description": description or known_description} if not title or description else {}
    return column | {key: text for key, text in described.items() if text}


def category_column(files: Files, stem: str, name: str, values: Any, *, title: str = "") -> dict[str, Any]:
    """Write a column as codes of its categories, all bits set for missing ones.

    Categories keep their order where they have one; others are sorted as text, numbers by value.
    """
    codes, categories = codes_of(values, is_group=name == "group")
    dtype = next(d for d, most in (("u8", 2**8 - 1), ("u16", 2**16 - 1), ("u32", 2**32 - 1)) if len(categories) <= most)
    missing = np.iinfo(_DTYPES[dtype]).max
    stored = np.where(codes < 0, missing, codes)
    known_title, _, description = _TITLES.get(name, (name, "", ""))
    column = {
        "name": name, "title": title or known_title, "kind": "category", "file": files.array(stem, stored, dtype),
        "categories": categories,
    }  # fmt: skip
    return column | ({"description": description} if description and not title else {})


def codes_of(values: Any, *, is_group: bool = False) -> tuple[np.ndarray, list[str]]:
    """Code of each value of a column, -1 where it is missing, and the names of the categories."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return values.cat.codes.to_numpy().astype(np.int64), [clean(c) for c in values.cat.categories]
    is_known = values.notna().to_numpy()
    if pd.api.types.is_numeric_dtype(values.dtype) and not pd.api.types.is_bool_dtype(values.dtype):
        order = sorted(set(values[is_known]))
        codes = np.full(len(values), -1, np.int64)
        codes[is_known] = pd.Index(order).get_indexer(values[is_known])
        return codes, [_whole(number) for number in order]
    texts = np.array([clean(value) if known else "" for value, known in zip(values, is_known, strict=True)], object)
    if is_group:
        is_known &= texts != ""
    categories = sorted(set(texts[is_known]))
    place = {text: code for code, text in enumerate(categories)}
    return np.array([place[t] if known else -1 for t, known in zip(texts, is_known, strict=True)], np.int64), categories


def _whole(number: Any) -> str:
    return str(int(number)) if float(number).is_integer() else str(number)
