"""Images in HDF5 files: a group per brain, or flat; each dataset an image or a stack of images.

An HDF5 file can point to other files (external links, external storage, virtual datasets): such datasets are set
aside, never followed. Contiguous uncompressed datasets are mapped where they lie; compressed ones are decoded by h5py.
Scalar attributes of a dataset, and of the groups around it, become labels of its images.
"""

import logging
import math
import mmap
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from zatlas.errors import DataError, UsageError
from zatlas.images.readers.arrays import (
    Layout,
    add_label_columns,
    image_layout,
    is_mappable,
    native,
    native_dtype,
    shape_text,
    stack_sources,
)
from zatlas.images.readers.reader import ReadOptions
from zatlas.images.source import (
    ArraySource,
    DamagedImage,
    DecodedSource,
    Found,
    ImageSource,
    Pixels,
    Scan,
    check_declared_size,
    is_readable_dtype,
    map_array,
    map_file,
    printable,
    size_text,
)

__all__ = ["read_hdf5"]

log = logging.getLogger(__name__)

HDF5_ERRORS = (OSError, RuntimeError, ValueError, KeyError, TypeError)
"""What h5py raises on damaged files and on types that NumPy does not have."""
_BOMB_RATIO = 1000
_BOMB_BYTES = 64 * 1024**2
_BLOCK_BYTES = 256 * 1024**2
_MAX_DEPTH = 32
_MAX_LABEL_BYTES = 64 * 1024**2


@dataclass(frozen=True)
class _Dataset:
    """What is needed of a dataset after the file has been closed."""

    path: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    chunks: tuple[int, ...] | None
    offset: int | None
    labels: dict[str, Any]
    n_rejected_before: int = 0


def read_hdf5(path: Path, options: ReadOptions) -> Scan:
    """Find the images of an HDF5 file.

    Every dataset of two dimensions is an image, of three or four a colour image or a stack (`image_layout`). The first
    part of a dataset's path is its group, where there is more than one path to choose from.

    Args:
        path: The file.
        options: The key is the only dataset or group that is read; "" takes all.

    Raises:
        DamagedImage: the file is truncated or damaged, or of a format that builds on HDF5 and is not read.
        UsageError: there is nothing called as the key.
        DataError: the file holds no images.
    """
    scan = Scan("hdf5", "", files=[path])
    datasets: list[_Dataset] = []
    try:
        with h5py.File(path, "r") as file:
            _refuse_other_formats(file)
            start = _start(file, options.key, path)
            for dataset in _walk(start, scan.rejected):
                try:
                    datasets.append(_checked(dataset, len(scan.rejected)))
                except DamagedImage as damage:
                    scan.rejected.append((printable(str(dataset.name).strip("/")), damage.what))
            _choose(scan, datasets, path, file)
    except HDF5_ERRORS as err:
        raise DamagedImage(f"is a damaged HDF5 file: {_first_line(err)}") from err
    return scan


def _first_line(err: BaseException) -> str:
    """What HDF5 says, without the preamble of h5py."""
    text = str(err.args[0] if err.args else err) or type(err).__name__
    found = re.search(r"\((.+)\)$", text.splitlines()[0])
    return printable(found.group(1) if found else text.splitlines()[0])


def _refuse_other_formats(file: h5py.File) -> None:
    if "minc-2.0" in file:
        raise DamagedImage("is MINC, which is not read yet: save its slices as TIFF, for example with Fiji")
    if file.attrs.get("encoding-type") == "anndata":
        raise DamagedImage("is an AnnData table (h5ad), not a collection of images")


def _start(file: h5py.File, key: str, path: Path) -> h5py.Group | h5py.Dataset:
    """The group or dataset to read, reached over hard links only."""
    node = file
    for part in [part for part in key.split("/") if part]:
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            names = ", ".join(printable(name) for name in list(file)[:20])
            raise UsageError(f"{printable(path.name)} has nothing called {key!r}; it holds {names}", hint="set --key")
        if not isinstance(link, h5py.HardLink):
            raise DamagedImage(f"holds {printable(key)} only as a link, which is not followed")
        node = node[part]
    return node


def _walk(node: h5py.Group | h5py.Dataset, rejected: list[tuple[str, str]]) -> Iterator[h5py.Dataset]:
    """Datasets below a node in order of their names, each once; links out of the file are set aside."""
    seen: set[Any] = set()

    def below(group: h5py.Group, depth: int) -> Iterator[h5py.Dataset]:
        for name in sorted(group):
            link = group.get(name, getlink=True)
            shown = printable(f"{group.name}/{name}".strip("/"))
            if isinstance(link, h5py.ExternalLink):
                rejected.append((shown, f"lies in another file ({printable(link.filename)}), which is not opened"))
                continue
            if isinstance(link, h5py.SoftLink):
                log.info("%s is a soft link to %s, passed over", shown, printable(link.path))
                continue
            child = group[name]
            address = h5py.h5o.get_info(child.id).addr if hasattr(child, "id") else None
            if address in seen:
                log.info("%s is stored under two names, read once", shown)
            elif isinstance(child, h5py.Dataset):
                seen.add(address)
                yield child
            elif isinstance(child, h5py.Group) and depth < _MAX_DEPTH:
                seen.add(address)
                yield from below(child, depth + 1)

    if isinstance(node, h5py.Dataset):
        yield node
    else:
        seen.add(h5py.h5o.get_info(node.id).addr)
        yield from below(node, 0)


def _checked(dataset: h5py.Dataset, n_rejected_before: int) -> _Dataset:
    """Refuse a dataset whose pixels are elsewhere, absent or a bomb.

    Raises:
        DamagedImage: with the reason.
    """
    if dataset.is_virtual:
        raise DamagedImage("is a virtual dataset, whose pixels lie in other datasets; copy it into a plain one")
    if dataset.external:
        raise DamagedImage("keeps its pixels in another file (external storage), which is not opened")
    shape = dataset.shape or ()
    n_bytes = math.prod(shape) * dataset.dtype.itemsize
    layout = image_layout(shape) if is_readable_dtype(dataset.dtype) else None
    labels = _labels(dataset)
    if layout is None:
        return _Dataset(str(dataset.name), shape, dataset.dtype, None, None, labels)
    check_declared_size(layout.item, dataset.dtype.itemsize)
    stored = dataset.id.get_storage_size()
    if stored == 0:
        raise DamagedImage(f"declares {size_text(n_bytes)} of pixels, but none were ever written")
    if n_bytes > _BOMB_BYTES and n_bytes / stored > _BOMB_RATIO:
        raise DamagedImage(f"declares {size_text(n_bytes)} of pixels, but stores {size_text(stored)}, as no images do")
    if dataset.chunks:
        expected = math.prod(-(-side // chunk) for side, chunk in zip(shape, dataset.chunks, strict=True))
        written = dataset.id.get_num_chunks()
        if written < expected:
            raise DamagedImage(f"is incomplete: only {written} of its {expected} blocks were written")
    offset = dataset.id.get_offset() if is_mappable(dataset.dtype) and not dataset.chunks else None
    return _Dataset(str(dataset.name), shape, dataset.dtype, dataset.chunks, offset, labels, n_rejected_before)


def _labels(dataset: h5py.Dataset) -> dict[str, Any]:
    """Scalar attributes of the dataset and of the groups around it; the nearest wins."""
    labels: dict[str, Any] = {}
    node = dataset.parent
    chain = [dataset]
    while node.name not in ("/", None):
        chain.append(node)
        node = node.parent
    for owner in reversed(chain):
        for name in owner.attrs:
            value = _scalar(owner.attrs, name)
            if value is not None:
                labels[printable(name)] = value
    return labels


def _scalar(attributes: h5py.AttributeManager, name: str) -> Any:
    if name.isupper() and name.startswith(("CLASS", "DIMENSION", "REFERENCE", "IMAGE_", "PALETTE", "TITLE", "VERSION")):
        return None  # bookkeeping of HDF5 image and table tools
    try:
        value = attributes[name]
    except HDF5_ERRORS:
        return None
    if isinstance(value, np.ndarray) and value.size == 1:
        value = value.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, np.generic):
        value = value.item()
    return value if isinstance(value, str | bool | int | float) else None


def _choose(scan: Scan, datasets: list[_Dataset], path: Path, file: h5py.File) -> None:
    """Decide which datasets are images, and fill the scan."""
    layouts = {dataset.path: image_layout(dataset.shape) for dataset in datasets if is_readable_dtype(dataset.dtype)}
    stacks = [dataset for dataset in datasets if (layout := layouts.get(dataset.path)) and layout.is_stack]
    beside = {(_folder(stack), stack.shape[0]) for stack in stacks}  # tables (n, k) there are features, not images
    usable: list[_Dataset] = []
    passed: list[_Dataset] = []
    for dataset in datasets:
        layout = layouts.get(dataset.path)
        is_image = layout and (layout.is_stack or (_folder(dataset), dataset.shape[0]) not in beside)
        (usable if is_image else passed).append(dataset)
    if passed:
        shown = ", ".join(f"{printable(d.path)} ({shape_text(d.shape, d.dtype)})" for d in passed[:5])
        log.info("%d datasets are not images and are passed over: %s", len(passed), shown)
    if not usable and not scan.rejected:
        names = ", ".join(f"{printable(d.path)} ({shape_text(d.shape, d.dtype)})" for d in datasets[:10])
        raise DataError(
            f"{printable(path.name)} holds no images; it holds {names or 'no datasets'}",
            hint="expected datasets of two dimensions, one per image, or a stack of images",
        )
    opener = _Opener(path)
    groups = _groups([dataset.path for dataset in usable])
    for dataset, group in zip(usable, groups, strict=True):
        layout = layouts[dataset.path]
        assert layout is not None
        _add(scan, dataset, layout, group, opener, n_usable=len(usable))
    if len(usable) == 1 and stacks:
        small = {
            d.path.rsplit("/", 1)[-1]: d for d in passed if math.prod(d.shape) * d.dtype.itemsize <= _MAX_LABEL_BYTES
        }
        readable = {name: d.shape for name, d in small.items() if is_readable_dtype(d.dtype) or d.dtype.kind in "SO"}
        add_label_columns(scan.images, readable, lambda name: _values(file[small[name].path]))
    n_mapped = sum(isinstance(found.source, ArraySource) for found in scan.images)
    how = "mapped" if n_mapped == len(scan.images) else "compressed or in blocks"
    scan.why = f"HDF5 with {len(usable)} datasets of images in {len(set(groups) - {''}) or 'no'} groups, {how}"


def _values(dataset: h5py.Dataset) -> Pixels:
    is_text = h5py.check_string_dtype(dataset.dtype) is not None
    return np.asarray(dataset.asstr("utf-8", "replace")[()] if is_text else dataset[()])


def _folder(dataset: _Dataset) -> str:
    return dataset.path.rsplit("/", 1)[0]


def _groups(paths: list[str]) -> list[str]:
    """The group of each dataset: the first part of its path in which the paths differ, or the last that all share."""
    folders = [path.strip("/").split("/")[:-1] for path in paths]
    depth = 0
    while all(len(folder) > depth + 1 for folder in folders) and len({folder[depth] for folder in folders}) == 1:
        depth += 1
    outside = "." if any(len(folder) > depth for folder in folders) else ""
    return [printable(folder[depth]) if len(folder) > depth else outside for folder in folders]


def _add(scan: Scan, dataset: _Dataset, layout: Layout, group: str, opener: "_Opener", n_usable: int) -> None:
    name = printable(dataset.path.strip("/"))
    first = len(scan.images) + dataset.n_rejected_before
    sources = opener.sources(dataset, layout)
    if not layout.is_stack:
        scan.images.append(Found(name, first, sources[0], group, dict(dataset.labels)))
        return
    prefix = "" if n_usable == 1 else f"{name}/"
    width = max(5, len(str(layout.n - 1)))
    for k, source in enumerate(sources):
        scan.images.append(Found(f"{prefix}{k:0{width}d}", first + k, source, group, dict(dataset.labels)))


class _Opener:
    """Opens the file when pixels are asked for: mapped once, or through h5py, which must not be shared over a fork."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mapped: mmap.mmap | None = None
        self._lock = threading.Lock()
        self._block: tuple[str, int, Pixels] | None = None

    def sources(self, dataset: _Dataset, layout: Layout) -> list[ImageSource]:
        """A source per image of a dataset."""
        if dataset.offset is not None:
            n_bytes = math.prod(dataset.shape) * dataset.dtype.itemsize
            if dataset.offset + n_bytes > self._path.stat().st_size:
                raise DamagedImage("is truncated: pixels reach past the end of the file")
            self._mapped = self._mapped or map_file(self._path)
            array = map_array(self._mapped, dataset.offset, dataset.shape, dataset.dtype)
            items = array if layout.is_stack else array[None]
            return stack_sources(layout, dataset.dtype, lambda k: items[k], is_mapped=True)
        dtype = native_dtype(dataset.dtype)

        def decoder(k: int) -> Callable[[], Pixels]:
            return lambda: native(layout.channels_first(self._item(dataset, layout, k)))

        return [DecodedSource(layout.shape, dtype, decoder(k)) for k in range(layout.n)]

    def _item(self, dataset: _Dataset, layout: Layout, k: int) -> Pixels:
        """Image k of a dataset; images that share compressed blocks are decoded together and the last block is kept."""
        if not layout.is_stack:
            return self._decode(dataset.path, ())
        n_together = dataset.chunks[0] if dataset.chunks else 1
        if n_together * math.prod(layout.item) * dataset.dtype.itemsize > _BLOCK_BYTES:
            n_together = 1
        first = k - k % n_together
        with self._lock:
            if self._block is None or self._block[:2] != (dataset.path, first):
                pixels = self._decode(dataset.path, slice(first, min(first + n_together, layout.n)))
                self._block = (dataset.path, first, pixels)
            return np.array(self._block[2][k - first])

    def _decode(self, name: str, selection: Any) -> Pixels:
        try:
            with h5py.File(self._path, "r", rdcc_nbytes=_BLOCK_BYTES // 8) as file:
                return np.asarray(file[name][selection])
        except HDF5_ERRORS as err:
            raise DamagedImage(f"cannot be decoded: {_first_line(err)}") from err
