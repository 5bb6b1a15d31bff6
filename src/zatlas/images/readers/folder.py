"""Single image files (PNG, JPEG, WebP, BMP, TIFF) and folders of them.

A file is known by its first bytes, not by its name. Headers tell size and number type; pixels are decoded when they
are read. Files of kinds that zatlas does not read yet are refused with a way to convert them; files that are clearly no
images (tables, notes, hidden files) are passed over.
"""

import logging
import os
import stat
import struct
import warnings
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from PIL import Image, UnidentifiedImageError

from zatlas.errors import DataError
from zatlas.images.readers.colour import MODE_TEXT, flattened, from_cmyk, palette_channels, turned
from zatlas.images.readers.tiff import TIFF_MAGIC, read_tiff
from zatlas.images.source import (
    DamagedImage,
    DecodedSource,
    Found,
    ImageSource,
    Pixels,
    Scan,
    check_declared_size,
    printable,
)

__all__ = ["file_kind", "image_sources", "read_folder", "read_image", "refusal"]

log = logging.getLogger(__name__)

IMAGE_ERRORS = (
    OSError, ValueError, SyntaxError, TypeError, KeyError, IndexError, AttributeError, RuntimeError, ArithmeticError,
    MemoryError, EOFError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip
"""What Pillow and imagecodecs raise on damaged files."""
_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"\x93NUMPY", "NPY"),
    (b"PK\x03\x04", "ZIP"),
    (b"PK\x05\x06", "ZIP"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"GIF8", "GIF"),
    (b"\x1f\x8b", "gzip"),
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"CDF\x01", "MINC"),
    (b"CDF\x02", "MINC"),
    (b"%PDF", "PDF"),
    *((magic, "TIFF") for magic in TIFF_MAGIC),
)
_PILLOW = ("PNG", "JPEG", "WebP", "BMP")
_SUFFIX_KINDS = {
    ".dcm": "DICOM", ".dicom": "DICOM", ".ima": "DICOM", ".nii": "NIfTI", ".hdr": "NIfTI", ".nrrd": "NRRD",
    ".mnc": "MINC", ".mgz": "MGH", ".mgh": "MGH", ".par": "PAR/REC", ".rec": "PAR/REC", ".svs": "whole-slide",
    ".ndpi": "whole-slide", ".mrxs": "whole-slide", ".czi": "whole-slide", ".vsi": "whole-slide",
    ".scn": "whole-slide", ".lif": "whole-slide", ".zarr": "Zarr", ".jp2": "JPEG 2000", ".jxl": "JPEG XL",
    ".heic": "HEIC", ".avif": "AVIF", ".gif": "GIF", ".svg": "SVG",
}  # fmt: skip
_CONVERT = {
    "DICOM": "save the images as 16-bit PNG or TIFF, for example with Fiji or dcmj2pnm of DCMTK",
    "NIfTI": "save the slices as TIFF, for example with Fiji",
    "MINC": "save the slices as TIFF, for example with Fiji",
    "MGH": "convert it with mri_convert of FreeSurfer, then save the slices as TIFF with Fiji",
    "PAR/REC": "convert it with dcm2niix, then save the slices as TIFF with Fiji",
    "NRRD": "save the slices as TIFF, for example with Fiji",
    "whole-slide": "export regions as TIFF, for example with QuPath",
    "Zarr": "save the images as TIFF or in HDF5",
    "JPEG 2000": "convert it to PNG or TIFF, for example with opj_decompress",
    "JPEG XL": "convert it to PNG, for example with djxl",
    "GIF": "convert it to PNG, for example with ImageMagick",
    "ZIP": "unpack it into a folder and open that folder",
    "gzip": "unpack it first",
}
_NOT_IMAGES = (
    ".csv", ".tsv", ".txt", ".md", ".rst", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".log",
    ".html", ".htm", ".pdf", ".doc", ".docx", ".xls", ".xlsx", ".odt", ".ods", ".ppt", ".pptx", ".py", ".ipynb", ".r",
    ".m", ".sh", ".bat", ".db", ".lnk", ".url", ".sha256", ".md5", ".bib", ".tex",
)  # fmt: skip
_NOT_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN")
_SPLIT_FOLDERS = {
    "train": "train",
    "training": "train",
    "val": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}


def file_kind(path: Path) -> str:
    """What a file is by its first bytes: "PNG", "TIFF", "HDF5", "DICOM", ...; "" when that is not known."""
    with path.open("rb") as file:
        start = file.read(132)
    if start[128:132] == b"DICM" or path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return "DICOM"  # some begin like a TIFF: DICOM leaves the first 128 bytes to other uses
    if start[:4] == b"RIFF" and start[8:12] == b"WEBP":
        return "WebP"
    suffix = path.suffixes[-2:][0].lower() if path.suffix.lower() == ".gz" else path.suffix.lower()
    if suffix in _SUFFIX_KINDS and _SUFFIX_KINDS[suffix] in ("MINC", "whole-slide", "MGH", "NIfTI"):
        return _SUFFIX_KINDS[suffix]
    known = next((kind for magic, kind in _MAGIC if start.startswith(magic)), "")
    if not known and suffix in (".h5", ".hdf5", ".hdf", ".mat") and start:
        return "HDF5"  # a user block, such as that of MATLAB, may stand before its signature
    return known or _SUFFIX_KINDS.get(suffix, "")


def refusal(path: Path, kind: str) -> str:
    """Why a file that is no readable image is refused, as the end of a sentence that begins with its name."""
    if path.stat().st_size == 0:
        return "is empty (0 bytes)"
    if kind in _CONVERT:
        archive = kind in ("ZIP", "gzip")
        reason = f"is {'an archive' if archive else kind}, which is not read{'' if archive else ' yet'}"
        return f"{reason}: {_CONVERT[kind]}"
    if kind in ("NPY", "HDF5"):
        return f"is a collection of its own ({kind}): open it by itself"
    if kind:
        return f"is {kind}, which is not read: save it as PNG or TIFF"
    with path.open("rb") as file:
        start = file.read(512)
    if start.isascii() and b"\0" not in start:
        return "is a text file, not an image"
    return "is not an image of a known kind"


def image_sources(path: Path, kind: str) -> tuple[list[ImageSource], str]:
    """The images of one file, and what is done to their stored values.

    Raises:
        DamagedImage: the file is damaged or of a kind that is not read.
    """
    try:
        if kind == "TIFF":
            pages = read_tiff(path)
            return [page.source(path) for page in pages], "; ".join(sorted({p.note for p in pages} - {""}))
        if kind in _PILLOW:
            header = _Header.of(path, kind)
            return [DecodedSource(header.shape, header.dtype, lambda: _decoded(path, header))], header.note
        raise DamagedImage(refusal(path, kind))
    except IMAGE_ERRORS as err:
        raise DamagedImage(f"is damaged: {_plain(err)}") from err


def _plain(err: BaseException) -> str:
    if isinstance(err, UnidentifiedImageError):
        return "its header cannot be understood"
    if isinstance(err, OSError) and err.strerror:
        return err.strerror
    return printable(str(err) or type(err).__name__)


@dataclass(frozen=True)
class _Header:
    """What a PNG, JPEG, WebP or BMP file declares, and what decoding gives."""

    kind: str
    mode: str
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    orientation: int
    has_alpha: bool
    is_deep: bool
    note: str

    @classmethod
    def of(cls, path: Path, kind: str) -> "_Header":
        is_deep = kind == "PNG" and _png_is_deep_colour(path)
        with _open(path, kind) as image:
            mode, (width, height) = image.mode, image.size
            has_alpha = mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info
            orientation = image.getexif().get(274, 1)
            n_frames = getattr(image, "n_frames", 1)
            palette = bytes(image.getpalette("RGB") or ()) if mode in ("P", "PA") else b""
        channels = {"1": 1, "L": 1, "LA": 1, "La": 1, "I;16": 1, "I;16B": 1, "I": 1, "F": 1}.get(mode, 3)
        if mode in ("P", "PA"):
            channels = palette_channels(np.frombuffer(palette, np.uint8).reshape(-1, 3)) if palette else 3
        if is_deep:
            channels, has_alpha = _png_deep_channels(path)
        if not isinstance(orientation, int) or not 1 <= orientation <= 8:
            orientation = 1
        if orientation >= 5:
            width, height = height, width
        dtype = np.dtype(np.uint16 if is_deep or mode.startswith("I") else np.float32 if mode == "F" else np.uint8)
        check_declared_size((channels, height, width), dtype.itemsize)
        notes = {
            "palette": mode in ("P", "PA"),
            "alpha": has_alpha,
            "cmyk": mode == "CMYK",
            "bilevel": mode == "1",
            "turned": orientation > 1,
            "frames": n_frames > 1,
        }
        note = "; ".join(MODE_TEXT[name] for name, applies in notes.items() if applies)
        return cls(kind, mode, (channels, height, width), dtype, orientation, has_alpha, is_deep, note)


def _open(path: Path, kind: str) -> Image.Image:
    with warnings.catch_warnings():
        # Pillow warns from 89 Mpx and refuses from 179 Mpx. Large sections are ordinary here; the refusal stays.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        warnings.simplefilter("ignore", UserWarning)  # remarks on damaged EXIF and on palettes
        return Image.open(path, formats=[kind.upper()])


def _png_is_deep_colour(path: Path) -> bool:
    """Whether a PNG has 16 bits per channel and more than one channel: Pillow would cut it to 8."""
    with path.open("rb") as file:
        start = file.read(26)
    return len(start) == 26 and start[24] == 16 and start[25] in (2, 4, 6)


def _png_deep_channels(path: Path) -> tuple[int, bool]:
    with path.open("rb") as file:
        kind = file.read(26)[25]
    return (1 if kind == 4 else 3), kind in (4, 6)


def _decoded(path: Path, header: _Header) -> Pixels:
    """Pixels (c, h, w) of a file, grey or RGB."""
    try:
        if header.is_deep:
            pixels = imagecodecs.png_decode(path.read_bytes())
            pixels = flattened(pixels) if header.has_alpha else pixels[..., : header.shape[0]]
        else:
            with _open(path, header.kind) as image:
                pixels = _plain_pixels(image, header)
    except IMAGE_ERRORS as err:
        raise DamagedImage(f"is damaged: {_plain(err)}") from err
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    pixels = turned(pixels, header.orientation)
    return np.moveaxis(pixels.astype(header.dtype, copy=False), -1, 0)


def _plain_pixels(image: Image.Image, header: _Header) -> Pixels:
    """Pixels of an opened image as grey (h, w) or colours (h, w, c)."""
    if header.mode == "CMYK":
        return from_cmyk(np.asarray(image))
    if header.has_alpha and header.mode not in ("I;16", "I"):
        pixels = flattened(np.asarray(image.convert("RGBA")))
        return pixels[..., : header.shape[0]]
    if header.mode in ("P", "YCbCr", "LAB", "HSV"):
        return np.asarray(image.convert("RGB"))[..., : header.shape[0]]
    if header.mode == "1":
        return np.asarray(image.convert("L"))
    return np.asarray(image)


def read_image(path: Path, kind: str) -> Scan:
    """Find the images of a single file; the pages of a TIFF are images of their own.

    Raises:
        DamagedImage: the file is damaged or of a kind that is not read.
    """
    sources, note = image_sources(path, kind)
    if note:
        log.info("%s: %s", printable(path.name), note)
    pages = f" of {len(sources)} pages, each an image" if len(sources) > 1 else ""
    scan = Scan("image", f"{kind} file{pages}", files=[path])
    for k, source in enumerate(sources):
        name = printable(path.name) + (f"[{k}]" if len(sources) > 1 else "")
        scan.images.append(Found(name, k, source))
    return scan


def read_folder(root: Path) -> Scan:
    """Find the images of a folder and its sub-folders, which become groups.

    The group is the first folder in which the paths differ. Folders called train, val and test are no groups but
    become a label column `source_split`; the folders below them are the groups. Without sub-folders, the pages of
    multi-page files stay together: each file is a group.

    Raises:
        DataError: there are no images.
    """
    scan = Scan("folder", "")
    entries = list(_files(root.resolve(), scan))
    notes: dict[str, int] = {}
    has_pages = False
    relative = [path.relative_to(root.resolve()) for path in entries]
    paths: list[Path] = []
    position = 0
    for path, name in zip(entries, relative, strict=True):
        shown = printable(name.as_posix())
        try:
            kind = file_kind(path)
            if kind not in (*_PILLOW, "TIFF") and path.suffix.lower() in _NOT_IMAGES:
                continue
            sources, note = image_sources(path, kind)
        except DamagedImage as damage:
            scan.rejected.append((shown, damage.what))
            position += 1
            continue
        except OSError as err:
            scan.rejected.append((shown, f"cannot be opened: {err.strerror or err}"))
            position += 1
            continue
        scan.files.append(path)
        if note:
            notes[note] = notes.get(note, 0) + 1
        for k, source in enumerate(sources):
            suffix = f"[{k}]" if len(sources) > 1 else ""
            scan.images.append(Found(shown + suffix, position, source))
            paths.append(name)
            position += 1
        has_pages = has_pages or len(sources) > 1
    if not scan.images and not scan.rejected:
        raise DataError(
            f"{printable(root.name)} holds no images",
            hint="give a folder of PNG, JPEG or TIFF files, or an NPZ, NPY or HDF5 file",
        )
    for note, n in notes.items():
        log.info("%d files: %s", n, note)
    _set_groups(scan, paths, has_pages=has_pages)
    n_groups = len({found.group for found in scan.images} - {""})
    scan.why = f"folder of {len(scan.files)} image files" + (f" in {n_groups} groups" if n_groups else "")
    return scan


def _files(root: Path, scan: Scan) -> Iterator[Path]:
    """Files below a folder in order of their paths, each once; links that leave the folder are set aside."""
    seen: set[tuple[int, int]] = set()

    def below(folder: Path) -> Iterator[Path]:
        try:
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as err:
            scan.rejected.append((printable(folder.relative_to(root).as_posix()), f"cannot be opened: {err.strerror}"))
            return
        for entry in entries:
            path = Path(entry.path)
            shown = printable(path.relative_to(root).as_posix())
            if entry.name.startswith(".") or entry.name in _NOT_FOLDERS:
                continue
            try:
                if entry.is_symlink() and not path.resolve(strict=True).is_relative_to(root):
                    scan.rejected.append((shown, "is a link that leaves the folder, which is not followed"))
                    continue
                status = path.stat()
            except (OSError, RuntimeError) as err:
                scan.rejected.append((shown, f"is a link that leads nowhere: {getattr(err, 'strerror', None) or err}"))
                continue
            key = (status.st_dev, status.st_ino)
            if status.st_ino and key in seen:
                log.info("%s is a second name of a file or folder, read once", shown)
                continue
            seen.add(key)
            if stat.S_ISDIR(status.st_mode):
                if path.suffix.lower() == ".zarr" or (path / ".zgroup").exists() or (path / "zarr.json").exists():
                    scan.rejected.append((shown, f"is Zarr, which is not read yet: {_CONVERT['Zarr']}"))
                else:
                    yield from below(path)
            elif stat.S_ISREG(status.st_mode):
                yield path
            else:
                log.info("%s is neither a file nor a folder, passed over", shown)

    status = root.stat()
    seen.add((status.st_dev, status.st_ino))
    yield from below(root)


def _set_groups(scan: Scan, paths: list[Path], *, has_pages: bool) -> None:
    folders = [list(path.parts[:-1]) for path in paths]
    depth = _depth_of_difference(folders)
    first = {folder[depth].lower() for folder in folders if len(folder) > depth}
    if len(first) >= 2 and first <= set(_SPLIT_FOLDERS):
        for found, folder in zip(scan.images, folders, strict=True):
            if len(folder) > depth:
                found.labels["source_split"] = _SPLIT_FOLDERS[folder[depth].lower()]
        folders = [folder[depth + 1 :] for folder in folders]
        depth = _depth_of_difference(folders)
    has_folders = any(len(folder) > depth for folder in folders)
    for found, folder, path in zip(scan.images, folders, paths, strict=True):
        if has_folders:
            found.group = printable(folder[depth]) if len(folder) > depth else "."
        elif has_pages:
            found.group = printable(path.name)


def _depth_of_difference(folders: list[list[str]]) -> int:
    depth = 0
    while folders and all(len(f) > depth + 1 for f in folders) and len({f[depth] for f in folders}) == 1:
        depth += 1
    return depth
