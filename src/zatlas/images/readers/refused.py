"""Kinds of file that are known but not read, each with a way to convert it; and the words of a refusal."""

from pathlib import Path

from zatlas.images.readers.reader import Kind, Reader, Refused

__all__ = ["REFUSED", "refusal"]

_SLICES = "save the slices as TIFF, for example with Fiji"
_ZARR_FILES = (".zgroup", ".zarray", "zarr.json")

REFUSED = (
    Refused(
        name="DICOM",
        suffixes=(".dcm", ".dicom", ".ima"),
        recognises=lambda _, start: start[128:132] == b"DICM",
        is_decisive=True,  # some begin like a TIFF: DICOM leaves the first 128 bytes to other uses
        advice="save the images as 16-bit PNG or TIFF, for example with Fiji or dcmj2pnm of DCMTK",
    ),
    Refused(name="MINC", magic=(b"CDF\x01", b"CDF\x02"), suffixes=(".mnc",), is_decisive=True, advice=_SLICES),
    Refused(name="NIfTI", suffixes=(".nii", ".hdr"), is_decisive=True, advice=_SLICES),
    Refused(
        name="MGH",
        suffixes=(".mgz", ".mgh"),
        is_decisive=True,
        advice="convert it with mri_convert of FreeSurfer, then save the slices as TIFF with Fiji",
    ),
    Refused(
        name="whole-slide",
        suffixes=(".svs", ".ndpi", ".mrxs", ".czi", ".vsi", ".scn", ".lif"),
        is_decisive=True,
        advice="export regions as TIFF, for example with QuPath",
    ),
    Refused(
        name="PAR/REC",
        suffixes=(".par", ".rec"),
        advice="convert it with dcm2niix, then save the slices as TIFF with Fiji",
    ),
    Refused(name="NRRD", suffixes=(".nrrd",), advice=_SLICES),
    Refused(
        name="Zarr",
        is_folder=True,
        suffixes=(".zarr",),
        recognises=lambda path, _: any((path / name).exists() for name in _ZARR_FILES),
        is_decisive=True,
        advice="save the images as TIFF or in HDF5",
    ),
    Refused(name="Zarr", suffixes=(".zarr",), advice="save the images as TIFF or in HDF5"),
    Refused(
        name="JPEG 2000",
        magic=(b"\x00\x00\x00\x0cjP  ", b"\xff\x4f\xff\x51"),
        suffixes=(".jp2",),
        advice="convert it to PNG or TIFF, for example with opj_decompress",
    ),
    Refused(
        name="JPEG XL",
        magic=(b"\x00\x00\x00\x0cJXL ", b"\xff\x0a"),
        suffixes=(".jxl",),
        advice="convert it to PNG, for example with djxl",
    ),
    Refused(name="GIF", magic=(b"GIF8",), suffixes=(".gif",), advice="convert it to PNG, for example with ImageMagick"),
    Refused(
        name="ZIP",
        magic=(b"PK\x03\x04", b"PK\x05\x06"),
        is_archive=True,
        advice="unpack it into a folder and open that folder",
    ),
    Refused(name="gzip", magic=(b"\x1f\x8b",), is_archive=True, advice="unpack it first"),
    Refused(name="PDF", magic=(b"%PDF",)),
    Refused(name="HEIC", suffixes=(".heic",)),
    Refused(name="AVIF", suffixes=(".avif",)),
    Refused(name="SVG", suffixes=(".svg",)),
)
"""The table of what is not read."""


def refusal(path: Path, kind: Kind | None) -> str:
    """Why a path that is no readable image is refused, as the end of a sentence that begins with its name."""
    if path.is_file() and path.stat().st_size == 0:
        return "is empty (0 bytes)"
    if isinstance(kind, Refused) and kind.advice:
        what = "is an archive, which is not read" if kind.is_archive else f"is {kind.name}, which is not read yet"
        return f"{what}: {kind.advice}"
    if isinstance(kind, Reader):
        return f"is a collection of its own ({kind.name}): open it by itself"
    if kind is not None:
        return f"is {kind.name}, which is not read: save it as PNG or TIFF"
    with path.open("rb") as file:
        start = file.read(512)
    if start.isascii() and b"\0" not in start:
        return "is a text file, not an image"
    return "is not an image of a known kind"
