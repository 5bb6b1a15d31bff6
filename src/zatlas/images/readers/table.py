"""The table of what zatlas reads: one row per format, one module per family of formats.

A new format is a module with a function (path, options) -> `Scan`, and a row here.
"""

from zatlas.images.readers.arrays import is_npz, read_npy, read_npz
from zatlas.images.readers.folder import read_folder
from zatlas.images.readers.hdf5 import read_hdf5
from zatlas.images.readers.pictures import read_bmp, read_jpeg, read_png, read_webp
from zatlas.images.readers.plugins import other_readers
from zatlas.images.readers.reader import Kinds, Reader
from zatlas.images.readers.refused import REFUSED
from zatlas.images.readers.tiff import TIFF_MAGIC, read_tiff

__all__ = ["READERS", "all_kinds"]

READERS = (
    Reader(name="PNG", open=read_png, magic=(b"\x89PNG\r\n\x1a\n",), is_image=True),
    Reader(name="JPEG", open=read_jpeg, magic=(b"\xff\xd8\xff",), is_image=True),
    Reader(
        name="WebP",
        open=read_webp,
        recognises=lambda _, start: start[:4] == b"RIFF" and start[8:12] == b"WEBP",
        is_image=True,
    ),
    Reader(name="BMP", open=read_bmp, magic=(b"BM",), is_image=True),
    Reader(name="TIFF", open=read_tiff, magic=TIFF_MAGIC, is_image=True),
    Reader(name="NPY", open=read_npy, magic=(b"\x93NUMPY",)),
    Reader(name="NPZ", open=read_npz, recognises=is_npz, has_keys=True),
    Reader(
        name="HDF5",
        open=read_hdf5,
        magic=(b"\x89HDF\r\n\x1a\n",),
        suffixes=(".h5", ".hdf5", ".hdf", ".mat"),  # a user block, such as that of MATLAB, may stand before it
        has_keys=True,
    ),
    Reader(name="folder", open=read_folder, recognises=lambda *_: True, is_folder=True),
)
"""Each format that is read, with its marks and the function that opens it."""


def all_kinds() -> Kinds:
    """What can be recognised: the readers here, what is refused, and the readers of other packages."""
    return Kinds((*READERS, *REFUSED), other_readers)
