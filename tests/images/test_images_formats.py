"""Every file of the formats folder opens with right pixels or is refused with a true reason, and none hangs."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from zatlas.errors import DataError
from zatlas.images.readers.opening import open_images

REFUSED = {
    "Thumbs.db": "text file",
    "broken_PAR_without_REC.PAR": "PAR/REC, which is not read yet",
    "broken_text_named.png": "is a text file, not an image",
    "broken_truncated.h5": "truncated file",
    "broken_truncated.jpeg": "image file is truncated",
    "broken_truncated.png": "image file is truncated",
    "broken_zero_byte.png": r"is empty \(0 bytes\)",
    "derived_ragged_object_pickle.npy": "never unpickles",
    "derived_section_crop.jp2": "JPEG 2000, which is not read yet",
    "derived_section_crop.jxl": "JPEG XL, which is not read yet",
    "hang_tifffile_367B.tif": "compression 16, which is not known",
    ".dcm": "DICOM, which is not read yet",
    ".nii": "NIfTI, which is not read yet",
    ".gz": "NIfTI, which is not read yet",
    ".mgz": "MGH, which is not read yet",
    ".mnc": "MINC, which is not read yet",
}
ALPHA = {"mouse_DAB_RGBA.png", "nih_xray_RGBA.png"}


def expected(path: Path) -> np.ndarray:
    """Pixels (n, c, h, w) by another way than the product's."""
    if path.suffix == ".npz":
        with np.load(path, allow_pickle=False) as archive:
            keys = [key for key in archive if archive[key].ndim >= 3]
            stack = np.concatenate([archive[key] for key in sorted(keys, reverse=True)])
        stack = stack if stack.ndim == 4 else stack[:, None]
        return stack if stack.shape[1] <= 3 else np.moveaxis(stack, -1, 1)
    if path.suffix == ".tif":
        pixels = tifffile.imread(path)
        colour = {"rat_nissl_SLD404_rgb_512.tif": (2, 0, 1)}
        if path.name in colour:
            return pixels.transpose(colour[path.name])[None]
        return pixels.reshape(-1, 3 if pixels.ndim == 4 else 1, *pixels.shape[-2:])
    with Image.open(path) as image:
        if image.mode in ("P", "1", "CMYK"):
            image = image.convert({"P": "L", "1": "L", "CMYK": "RGB"}[image.mode])
        pixels = np.array(image)
    if path.name in ALPHA:
        share = pixels[..., 3:].astype(np.float64) / 255
        pixels = np.rint(pixels[..., :3] * share + 255 * (1 - share)).astype(np.uint8)
    return pixels[None, None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)[None]


def reason_against(path: Path) -> str | None:
    return REFUSED.get(path.name, REFUSED.get(path.suffix))


def test_every_file_that_can_be_read(real_data: Path, tmp_path: Path) -> None:
    opened = 0
    for path in sorted((real_data / "formats").iterdir()):
        is_large = path.stat().st_size > 3_900_000 and "her2st" in path.name  # these two have a test of their own
        if is_large or reason_against(path) is not None:
            continue
        images = open_images(path).packed(tmp_path / path.name)
        wanted = expected(path)
        assert len(images) == len(wanted), path.name
        for source, pixels in zip(images.sources, wanted, strict=True):
            np.testing.assert_allclose(source.read(), pixels, atol=1 if path.name.endswith("cmyk.jpg") else 0)
            assert source.dtype == pixels.dtype, path.name
        opened += 1
    assert opened >= 24


OPEN_EACH = """
import sys
from pathlib import Path
from zatlas.errors import DataError
from zatlas.images.readers.opening import open_images
for number, name in enumerate(sys.argv[2:]):
    try:
        open_images(name).packed(Path(sys.argv[1]) / str(number))
    except DataError as err:
        print(repr(str(err)), flush=True)
    else:
        print("opened", flush=True)
"""


def test_every_other_file_is_refused_and_none_hangs(real_data: Path, tmp_path: Path) -> None:
    """In a process of their own, because what hangs inside a decoder cannot be stopped in this one."""
    files = [path for path in sorted((real_data / "formats").iterdir()) if reason_against(path) is not None]
    assert len(files) >= 30
    words = [sys.executable, "-c", OPEN_EACH, str(tmp_path), *map(str, files)]
    found = subprocess.run(words, capture_output=True, text=True, timeout=120, check=False)
    lines = found.stdout.splitlines()
    assert len(lines) == len(files), f"{files[len(lines)].name}: {found.stderr}"
    for path, line in zip(files, lines, strict=True):
        assert re.search(reason_against(path), line), f"{path.name}: {line}"
        assert "Secret" not in line


def test_the_folder_as_a_whole(real_data: Path) -> None:
    with pytest.raises(DataError, match="images cannot be used, more than --max-rejected"):
        open_images(real_data / "formats")
    images = open_images(real_data / "formats", max_rejected=1)
    assert images.dtype == np.uint8 and images.channels in (1, 3)
    assert "Thumbs.db" not in images.rejected["file"].tolist()
    assert "Secret" not in images.rejected.to_csv()
    assert not images.rejected["reason"].str.contains("Traceback").any()


def test_large_sections_open_and_crop(real_data: Path) -> None:
    section = open_images(real_data / "formats" / "her2st_C3_section_9270x9936.jpg")
    assert section[0].shape == (3, 9936, 9270)
    pyramid = open_images(real_data / "formats" / "derived_her2st_C3_pyramid.ome.tif")
    assert pyramid[0].shape == (3, 9936, 9270)
    crop = pyramid[0].read(4000, 4000, 256, 256)
    with tifffile.TiffFile(real_data / "formats" / "derived_her2st_C3_pyramid.ome.tif") as file:
        wanted = file.pages[0].asarray()[4000:4256, 4000:4256]
    np.testing.assert_array_equal(crop, np.moveaxis(wanted, -1, 0))


def test_the_two_collections(real_data: Path) -> None:
    sections = open_images(real_data / "cell_data.h5")
    assert len(sections) == 55 and len(sections.groups) == 7
    assert sections.labels == ("patient", "stain", "tissue", "x", "y")
    radiographs = open_images(real_data / "xray_images.npz", labels=real_data / "xray_labels.csv", group="patient")
    assert len(radiographs) == 2402 and len(radiographs.groups) == 1463
    assert radiographs.is_uniform and not radiographs.is_mapped
