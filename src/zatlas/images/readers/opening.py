"""Open a collection of images, whatever it is stored in.

`open_images` picks the reader from the table by the first bytes of a file, and says why. It reads headers only: a
collection of any size opens in seconds. What the readers leave to decide is decided here: damaged files are set aside,
numbers of channels and number types are made one, and a labels table is joined.
"""

import dataclasses
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from zatlas.errors import DataError, FileAccessError, UsageError
from zatlas.images.collection import Collection, check_rejected, join_labels
from zatlas.images.labels import with_free_names
from zatlas.images.readers.reader import Reader, ReadOptions
from zatlas.images.readers.refused import refusal
from zatlas.images.readers.table import all_kinds
from zatlas.images.source import DamagedImage, DecodedSource, Found, ImageSource, Pixels, Scan, printable

__all__ = ["open_images"]

log = logging.getLogger(__name__)


def open_images(
    path: Path | str,
    *,
    key: str = "",
    labels: Path | str = "",
    group: str = "",
    max_rejected: float = 0.01,
    min_size: int = 0,
) -> Collection:
    """Open images for reading; only headers are read.

    Args:
        path: An NPZ, NPY or HDF5 file, a folder of PNG, JPEG, WebP, BMP or TIFF images (sub-folders are groups), or
            one such image; or what a reader of another package knows.
        key: The array of an NPZ file, or the dataset or group of an HDF5 file; "" finds it.
        labels: CSV with a row per image, joined by a column called index, or by name or path.
        group: Label column, from the table or the file's own attributes, whose values become the groups.
        max_rejected: Share of damaged images, 0 to 1, above which nothing is opened.
        min_size: Leave out images with a side shorter than this [px].

    Images of one collection have the same number of channels and the same number type. Where grey and RGB images are
    mixed, the more frequent kind decides: grey images among RGB ones are repeated in three channels; RGB images among
    grey ones are taken as grey when their three channels are equal, and rejected otherwise. Images of another number
    type or channel number than most are rejected, because their grey values cannot be compared.

    Raises:
        FileAccessError: there is no such file or folder, or it cannot be opened.
        DataError: it holds no images, too many are damaged, or the labels do not fit.
        UsageError: `key` or `group` names nothing that is there.

    Example:
        >>> open_images("cell_data.h5")  # doctest: +SKIP
        Collection of 55 images from cell_data.h5 (hdf5)
          size: 512 x 512 to 3990 x 3010 px, 1 channel, uint8
          7 groups: DAB_M2568 9, HE_C2 13, HE_C3 15, HE_C4 13, Nissl_R404 1, Nissl_R406 3, Nissl_R512 1
          labels: patient, stain, tissue, x, y
    """
    path = Path(path)
    path = path if path.name not in ("", "..") else path.resolve()
    scan = _scan(path, key)
    log.info("images: %s: %s", printable(path.name), scan.why)
    _make_alike(scan)
    rejected = pd.DataFrame(scan.rejected, columns=["file", "reason"], dtype=object)
    for file, reason in scan.rejected[:20]:
        log.warning("rejected: %s %s", file, reason)
    check_rejected(rejected, len(scan.images), max_rejected, printable(path.name))
    _leave_out_small(scan, min_size, path)
    _name_uniquely(scan.images)
    collection = Collection(
        table=_table(scan.images),
        sources=tuple(found.source for found in scan.images),
        path=path,
        format=scan.format,
        why=scan.why,
        rejected=rejected,
        positions=tuple(found.position for found in scan.images),
        files=tuple(scan.files),
        max_rejected=max_rejected,
    )
    return join_labels(collection, labels, group) if labels or group else collection


def _scan(path: Path, key: str) -> Scan:
    """Pick the reader by what the path is."""
    try:
        if not path.exists():
            raise FileAccessError(
                f"there is no file or folder {printable(str(path))}", hint="check the path and where you are"
            )
        kinds = all_kinds()
        kind = kinds.of(path)
        if not isinstance(kind, Reader):
            raise DamagedImage(refusal(path, kind))
        if key and not kind.has_keys:
            what = "a folder" if kind.is_folder else "this file"
            raise UsageError(f"--key is {key!r}, but {what} has no named arrays", hint="leave --key out")
        scan = kind.open(path, ReadOptions(key, kinds))
    except DamagedImage as damage:
        raise DataError(f"{printable(path.name)} {damage.what}", where=printable(str(path.parent))) from damage
    except OSError as err:
        raise FileAccessError(
            f"{printable(path.name)} cannot be opened: {err.strerror or err}", where=printable(str(path.parent))
        ) from err
    if scan.note:
        log.info("%s: %s", printable(path.name), scan.note)
    return scan


def _make_alike(scan: Scan) -> None:
    """Bring all images to one number of channels and one number type, or reject those that cannot be."""
    if not scan.images:
        return
    channels = Counter(found.source.shape[0] for found in scan.images)
    most = max(channels, key=lambda c: (channels[c], c))
    dtypes = Counter(found.source.dtype for found in scan.images)
    usual = max(dtypes, key=lambda dtype: (dtypes[dtype], dtype.str))
    kept: list[Found] = []
    converted = 0
    for found in scan.images:
        c, dtype = found.source.shape[0], found.source.dtype
        if dtype != usual:
            scan.rejected.append(
                (found.name, f"has {dtype} pixels where most images have {usual}: grey values cannot be compared")
            )
        elif c != most and {c, most} == {1, 3}:
            converted += 1
            kept.append(
                dataclasses.replace(found, source=_as_grey(found.source) if most == 1 else _as_rgb(found.source))
            )
        elif c != most:
            scan.rejected.append((found.name, f"has {c} channels where most images have {most}"))
        else:
            kept.append(found)
    if converted:
        how = "RGB among grey, taken as grey where the channels are equal" if most == 1 else "grey among RGB, repeated"
        log.warning("channels: %d of %d images are %s", converted, len(scan.images), how)
    scan.images = kept


def _as_rgb(source: ImageSource) -> ImageSource:
    _, h, w = source.shape
    return DecodedSource(
        (3, h, w), source.dtype, lambda: np.repeat(source.read(), 3, axis=0), pixel_size_um=source.pixel_size_um
    )


def _as_grey(source: ImageSource) -> ImageSource:
    def decode() -> Pixels:
        pixels = source.read()
        if not (pixels[:1] == pixels).all():
            raise DamagedImage("is in colour, but most images are grey")
        return pixels[:1]

    return DecodedSource((1, *source.shape[1:]), source.dtype, decode, pixel_size_um=source.pixel_size_um)


def _leave_out_small(scan: Scan, min_size: int, path: Path) -> None:
    small = [found.name for found in scan.images if min(found.source.shape[1:]) < min_size]
    if not small:
        return
    if len(small) == len(scan.images):
        largest = max(min(found.source.shape[1:]) for found in scan.images)
        raise DataError(
            f"no image of {printable(path.name)} has both sides of at least {min_size} px",
            hint=f"set --min-size to {largest} or less",
        )
    log.info("images: %d are left out by --min-size %d: %s", len(small), min_size, ", ".join(small[:5]))
    scan.images = [found for found in scan.images if min(found.source.shape[1:]) >= min_size]


def _name_uniquely(images: list[Found]) -> None:
    """Names that became equal when control characters were made visible get a number."""
    seen: Counter[str] = Counter()
    for found in images:
        seen[found.name] += 1
        if seen[found.name] > 1:
            found.name = f"{found.name}#{seen[found.name]}"


def _table(images: list[Found]) -> pd.DataFrame:
    shapes = np.array([found.source.shape for found in images], dtype=np.int64).reshape(-1, 3)
    own = pd.DataFrame(
        {
            "image": [found.name for found in images],
            "group": [found.group for found in images],
            "height": shapes[:, 1],
            "width": shapes[:, 2],
            "channels": shapes[:, 0],
            "dtype": [found.source.dtype.name for found in images],
        }
    )
    names = list(dict.fromkeys(name for found in images for name in found.labels))
    columns: dict[str, Any] = {name: pd.Series([found.labels.get(name) for found in images]) for name in names}
    extra = with_free_names(pd.DataFrame(columns).map(_printable_cell)) if names else pd.DataFrame(index=own.index)
    return pd.concat([own, extra], axis=1)


def _printable_cell(value: Any) -> Any:
    return printable(value) if isinstance(value, str) else value
