"""HDF5: groups, labels from attributes, mapping where pixels lie, and files that point elsewhere."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from zatlas.errors import DataError, UsageError
from zatlas.images.readers.opening import open_images

RNG = np.random.default_rng(5)


def section(h: int, w: int) -> np.ndarray:
    return RNG.integers(0, 256, (h, w)).astype(np.uint8)


def brains(path: Path, **options: object) -> dict[str, np.ndarray]:
    pixels = {f"{brain}/{k:04d}": section(20 + k, 30 + k) for brain in ("B01", "B02") for k in range(3)}
    with h5py.File(path, "w") as file:
        for name, image in pixels.items():
            data = file.create_dataset(name, data=image, **options)
            data.attrs["stain"] = "Nissl"
            data.attrs["density"] = np.float64(image.mean())
            data.attrs["box"] = [1, 2, 3]
        file["B01"].attrs["animal"] = "rat 1"
        file["B02"].attrs["animal"] = b"rat 2"
    return pixels


@pytest.mark.parametrize("options", [{}, {"compression": "gzip"}, {"chunks": (8, 8), "compression": "lzf"}])
def test_groups_labels_and_pixels(tmp_path: Path, options: dict[str, object]) -> None:
    pixels = brains(tmp_path / "a.h5", **options)
    images = open_images(tmp_path / "a.h5")
    assert images.table["image"].tolist() == list(pixels)
    assert images.groups == ("B01", "B02")
    assert images.labels == ("animal", "density", "stain")
    assert images.table["animal"].tolist() == ["rat 1"] * 3 + ["rat 2"] * 3
    assert images.table["density"].dtype == np.float64
    assert images.is_mapped == (not options)
    packed = images.packed(tmp_path / "cache")
    assert packed.is_mapped and (packed is images) == (not options)
    for source, copied, expected in zip(images.sources, packed.sources, pixels.values(), strict=True):
        np.testing.assert_array_equal(source.read()[0], expected)
        np.testing.assert_array_equal(copied.read()[0], expected)
        np.testing.assert_array_equal(source.read(3, 4, 5, 6)[0], expected[3:8, 4:10])


@pytest.mark.parametrize("dtype", ["uint16", "int16", "float32", ">u2", ">f8"])
def test_number_types(tmp_path: Path, dtype: str) -> None:
    image = section(20, 30).astype(dtype)
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["image"] = image
    images = open_images(tmp_path / "a.h5")
    assert images.is_mapped == np.dtype(dtype).isnative
    np.testing.assert_array_equal(images[0].read()[0], image)
    assert images.dtype.isnative


def test_group_from_an_attribute(tmp_path: Path) -> None:
    brains(tmp_path / "a.h5")
    assert open_images(tmp_path / "a.h5", group="animal").groups == ("rat 1", "rat 2")
    with pytest.raises(UsageError, match=r"no column 'animals'.*label columns are animal, density, stain") as caught:
        open_images(tmp_path / "a.h5", group="animals")
    assert caught.value.hint == "did you mean --group animal?"


@pytest.mark.parametrize("chunks", [None, (4, 8, 8)])
def test_a_stack_with_labels(tmp_path: Path, chunks: tuple[int, ...] | None) -> None:
    stack = RNG.integers(0, 256, (9, 24, 20)).astype(np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("images", data=stack, chunks=chunks)
        file["labels"] = np.arange(9)
        file["features"] = RNG.random((9, 30))
    images = open_images(tmp_path / "a.h5")
    assert images.table["label"].tolist() == list(range(9))
    assert images.table["image"].iloc[3] == "00003"
    for k in (3, 8, 0, 5):
        np.testing.assert_array_equal(images[k].read()[0], stack[k])


def test_colour_and_four_dimensions(tmp_path: Path) -> None:
    colour, stack = RNG.integers(0, 256, (24, 20, 3)), RNG.integers(0, 256, (4, 3, 24, 20))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["one"] = colour.astype(np.uint8)
        file["more"] = stack.astype(np.uint8)
    images = open_images(tmp_path / "a.h5")
    assert images.table["image"].tolist() == ["more/00000", "more/00001", "more/00002", "more/00003", "one"]
    assert images.channels == 3
    np.testing.assert_array_equal(images[4].read(), np.moveaxis(colour, -1, 0))
    np.testing.assert_array_equal(images[2].read(), stack[2])
    assert len(open_images(tmp_path / "a.h5", key="one")) == 1
    with pytest.raises(UsageError, match="nothing called 'two'; it holds more, one"):
        open_images(tmp_path / "a.h5", key="two")


def test_flat_and_deep_files(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["a"], file["b"] = section(20, 20), section(20, 20)
    assert open_images(tmp_path / "flat.h5").groups == ()
    with h5py.File(tmp_path / "deep.h5", "w") as file:
        file["data/B01/left/1"], file["data/B02/left/1"] = section(20, 20), section(20, 20)
    assert open_images(tmp_path / "deep.h5").groups == ("B01", "B02")


def test_nothing_in_it(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["names"] = np.arange(3)
    with pytest.raises(DataError, match=r"holds no images; it holds /names \(3 int64\)"):
        open_images(tmp_path / "a.h5")
    with h5py.File(tmp_path / "b.h5", "w"):
        pass
    with pytest.raises(DataError, match=r"holds no datasets|no images; it holds no datasets"):
        open_images(tmp_path / "b.h5")


def evil(path: Path, how: str) -> None:
    secret = path.parent / "secret.bin"
    secret.write_bytes(b"password" * 200)
    with h5py.File(path.parent / "other.h5", "w") as other:
        other["image"] = section(20, 20)
    with h5py.File(path, "w") as file:
        file["good/1"] = section(20, 20)
        if how == "external storage":
            file.create_dataset("bad", (40, 40), "uint8", external=[(str(secret), 0, 1600)])
        elif how == "external link":
            file["bad"] = h5py.ExternalLink("other.h5", "/image")
        elif how == "virtual":
            layout = h5py.VirtualLayout((20, 20), "uint8")
            layout[:] = h5py.VirtualSource("other.h5", "image", (20, 20))
            file.create_virtual_dataset("bad", layout)
        elif how == "shape":
            file.create_dataset("bad", (10**6, 1000, 1000), "uint8", chunks=(1, 1000, 1000), compression="gzip")
        elif how == "huge image":
            file.create_dataset("bad", (10**6, 10**6), "uint8", chunks=(1000, 1000))
        elif how == "missing blocks":
            bad = file.create_dataset("bad", (64, 64), "uint8", chunks=(16, 16))
            bad[:16, :16] = 1


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("external storage", "keeps its pixels in another file"),
        ("external link", r"lies in another file \(other.h5\), which is not opened"),
        ("virtual", "is a virtual dataset"),
        ("shape", "declares 1000 GB of pixels, but none were ever written|declares 1.0 TB of pixels, but none"),
        ("huge image", "more than the limit of 2.1 GB"),
        ("missing blocks", "only 1 of its 16 blocks were written"),
    ],
)
def test_files_that_point_elsewhere_or_lie(tmp_path: Path, how: str, reason: str) -> None:
    evil(tmp_path / "a.h5", how)
    with pytest.raises(DataError, match=reason):
        open_images(tmp_path / "a.h5")
    images = open_images(tmp_path / "a.h5", max_rejected=0.5)
    assert images.table["image"].tolist() == ["good/1"]
    assert images.rejected["file"].tolist() == ["bad"]


def test_links_inside_and_in_circles(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["B01/1"] = section(20, 20)
        file["B01/again"] = file["B01/1"]
        file["B01/soft"] = h5py.SoftLink("/B01/1")
        file["B01/self"] = file["B01"]
        file["dangling"] = h5py.SoftLink("/nowhere")
    assert open_images(tmp_path / "a.h5").table["image"].tolist() == ["B01/1"]


def test_damaged_block_is_found_when_packing(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for k in range(4):
            data = file.create_dataset(f"{k}", data=section(64, 64), chunks=(64, 64), compression="gzip")
        offset = data.id.get_chunk_info(0).byte_offset
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[offset + 20 : offset + 60] = bytes(40)
    (tmp_path / "a.h5").write_bytes(content)
    images = open_images(tmp_path / "a.h5", max_rejected=0.3)
    assert len(images) == 4
    for _ in range(2):  # converted, then taken from the cache
        packed = images.packed(tmp_path / "cache")
        assert packed.table["image"].tolist() == ["0", "1", "2"]
        assert packed.rejected["file"].tolist() == ["3"]
        assert "cannot be decoded" in packed.rejected["reason"].iloc[0]
    with pytest.raises(
        DataError, match=r"1 of 4 images cannot be used, more than --max-rejected 0.01 allows: 3 cannot"
    ):
        open_images(tmp_path / "a.h5").packed(tmp_path / "cache")


def test_truncated_file(tmp_path: Path) -> None:
    brains(tmp_path / "a.h5")
    content = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"a.h5 is a damaged HDF5 file: truncated file"):
        open_images(tmp_path / "a.h5")


def test_labels_by_index_count_damaged_images(tmp_path: Path) -> None:
    evil(tmp_path / "a.h5", "external storage")
    (tmp_path / "labels.csv").write_text("index,kind\n0,of the bad one\n1,of the good one\n")
    images = open_images(tmp_path / "a.h5", labels=tmp_path / "labels.csv", max_rejected=0.5)
    assert images.table["kind"].tolist() == ["of the good one"]
