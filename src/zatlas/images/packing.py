"""Pixels in one file that can be mapped: each image raw, row-major (c, h, w), starting at a multiple of 4096 bytes.

A collection that cannot be mapped where it lies is converted once, image by image, in bounded memory.
`pixels.bin` is written first; `index.json`, which describes it, is the commit point: without it, or with another
fingerprint in it, the pixels are converted again.
"""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from zatlas.errors import DataError, WriteError
from zatlas.files import SCHEMA_VERSION, make_folder, new_file, read_json, write_json
from zatlas.images.resizing import area_resized
from zatlas.images.source import ArraySource, DamagedImage, ImageSource, Pixels, map_array, map_file, size_text

__all__ = ["Packed", "pack"]

log = logging.getLogger(__name__)

ALIGNMENT = 4096


@dataclass(frozen=True)
class Packed:
    """What packing gave.

    Attributes:
        sources: One per image that could be read, in order.
        kept: Rows of the collection that they belong to.
        rejected: Row and reason of each image that could not be decoded.
    """

    sources: list[ImageSource]
    kept: list[int]
    rejected: list[tuple[int, str]]


def pack(
    sources: Sequence[ImageSource],
    folder: Path,
    fingerprint: str,
    *,
    side_px: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> Packed:
    """Convert images to a packed file, or take the one that is there when it was made from the same images.

    Args:
        sources: Images to convert.
        folder: Where `pixels.bin` and `index.json` go; created when absent.
        fingerprint: Of the images and of how they are converted; a packed file with another one is replaced.
        side_px: Resize each image to this height and width; 0 keeps it as it is [px].
        on_progress: Called with images done and images in all.

    Raises:
        WriteError: the folder cannot be written or the disk is too full.
    """
    existing = _opened(folder, fingerprint, sources, keeps_size=not side_px)
    if existing is not None:
        log.info("pixels: taken from %s, converted earlier from the same images", folder.name)
        return existing
    make_folder(folder)
    _check_space(sources, folder, side_px)
    (folder / "index.json").unlink(missing_ok=True)
    index: list[dict[str, Any]] = []
    rejected: list[tuple[int, str]] = []
    with new_file(folder / "pixels.bin") as temporary, temporary.open("wb") as file:
        for row, source in enumerate(sources):
            try:
                pixels = area_resized(source, side_px) if side_px else source.read()
                _check_finite(pixels)
            except DamagedImage as damage:
                rejected.append((row, damage.what))
            else:
                file.write(b"\0" * (-file.tell() % ALIGNMENT))
                entry = {"row": row, "offset": file.tell(), "shape": list(pixels.shape), "dtype": pixels.dtype.str}
                index.append(entry)
                for channel in pixels:
                    file.write(np.ascontiguousarray(channel).data)
            if on_progress is not None:
                on_progress(row + 1, len(sources))
        n_bytes = file.tell()
    write_json(
        folder / "index.json",
        {
            "schema_version": SCHEMA_VERSION,
            "fingerprint": fingerprint,
            "bytes": n_bytes,
            "images": index,
            "rejected": [{"row": row, "reason": reason} for row, reason in rejected],
        },
    )
    packed = _opened(folder, fingerprint, sources, keeps_size=not side_px)
    if packed is None:
        raise WriteError(f"{folder.name}/pixels.bin changed while it was written", where=str(folder))
    return packed


def _check_finite(pixels: Pixels) -> None:
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        raise DamagedImage("holds NaN or infinite pixels")


def _check_space(sources: Sequence[ImageSource], folder: Path, side_px: int) -> None:
    needed = 0
    for source in sources:
        c, h, w = source.shape
        n_pixels = side_px * side_px if side_px else h * w
        needed += -(-c * n_pixels * source.dtype.itemsize // ALIGNMENT) * ALIGNMENT
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise WriteError(
            f"the unpacked pixels need {size_text(needed)}, but only {size_text(free)} are free",
            where=str(folder),
            hint="free some space or choose another folder with -o",
        )


def _opened(folder: Path, fingerprint: str, originals: Sequence[ImageSource], *, keeps_size: bool) -> Packed | None:
    """The packed file in a folder, or None when it is absent, unfinished or made from other images."""
    index_path, pixels_path = folder / "index.json", folder / "pixels.bin"
    if not (index_path.is_file() and pixels_path.is_file()):
        return None
    try:
        index = read_json(index_path)
    except DataError:
        return None
    known = {"fingerprint": fingerprint, "schema_version": SCHEMA_VERSION, "bytes": pixels_path.stat().st_size}
    if not isinstance(index, dict) or any(index.get(name) != value for name, value in known.items()):
        return None
    rejected = [(int(entry["row"]), str(entry["reason"])) for entry in index["rejected"]]
    if not index["images"]:
        return Packed([], [], rejected)
    buffer = map_file(pixels_path)
    sources: list[ImageSource] = []
    for entry in index["images"]:
        original = originals[entry["row"]]
        array = map_array(buffer, entry["offset"], entry["shape"], np.dtype(entry["dtype"]))
        size = original.pixel_size_um if keeps_size else None
        sources.append(ArraySource(array, pixel_size_um=size, channel_names=original.channel_names))
    return Packed(sources, [int(entry["row"]) for entry in index["images"]], rejected)
