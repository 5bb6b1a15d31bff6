"""PNG, JPEG, TIFF and folders: right pixels against an independent decoder, odd names, links, bombs, damage."""

import contextlib
import os
import struct
import zlib
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zatlas.errors import DataError, FileAccessError
from zatlas.images.readers.opening import open_images

RNG = np.random.default_rng(11)


def grey(h: int = 20, w: int = 30, dtype: str = "uint8") -> np.ndarray:
    return RNG.integers(0, np.iinfo(dtype).max, (h, w)).astype(dtype)


def only(path: Path) -> np.ndarray:
    images = open_images(path)
    assert len(images) == 1
    assert images[0].read().dtype == images.dtype
    return images[0].read()


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_png_keeps_its_bits(tmp_path: Path, dtype: str, channels: int) -> None:
    pixels = grey(dtype=dtype) if channels == 1 else np.stack([grey(dtype=dtype) for _ in range(3)], axis=-1)
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(pixels))
    expected = pixels[None] if channels == 1 else np.moveaxis(pixels, -1, 0)
    np.testing.assert_array_equal(only(tmp_path / "a.png"), expected)


def test_bilevel_palette_and_cmyk(tmp_path: Path) -> None:
    Image.fromarray(grey()).point(lambda v: 255 * (v > 99), "1").save(tmp_path / "bilevel.png")
    assert set(np.unique(only(tmp_path / "bilevel.png"))) == {0, 255}
    coloured = Image.fromarray(np.stack([grey(), grey(), grey()], axis=-1)).quantize(16)
    coloured.save(tmp_path / "palette.png")
    np.testing.assert_array_equal(only(tmp_path / "palette.png"), np.moveaxis(np.array(coloured.convert("RGB")), -1, 0))
    levels = Image.fromarray(grey() // 16)
    levels.putpalette([v for k in range(16) for v in (17 * k, 17 * k, 17 * k)])
    levels.save(tmp_path / "grey_palette.png")
    np.testing.assert_array_equal(only(tmp_path / "grey_palette.png")[0], np.array(levels) * 17)
    cmyk = Image.new("CMYK", (16, 16))
    cmyk.paste((200, 100, 50, 20), (0, 0, 16, 16))
    cmyk.save(tmp_path / "cmyk.jpg", quality=95)
    expected = np.array([(255 - ink) * (255 - 20) / 255 for ink in (200, 100, 50)])
    assert np.abs(only(tmp_path / "cmyk.jpg")[:, 8, 8] - expected).max() <= 3


@pytest.mark.parametrize("bits", [8, 16])
def test_transparency_is_laid_on_white(tmp_path: Path, bits: int, caplog: pytest.LogCaptureFixture) -> None:
    dtype, top = f"uint{bits}", 2**bits - 1
    rgb = np.stack([grey(dtype=dtype) for _ in range(3)], axis=-1)
    opaque = np.concatenate([rgb, np.full((20, 30, 1), top, dtype)], axis=-1)
    (tmp_path / "opaque.png").write_bytes(imagecodecs.png_encode(opaque))
    np.testing.assert_array_equal(only(tmp_path / "opaque.png"), np.moveaxis(rgb, -1, 0))
    glass = np.concatenate([rgb, grey(dtype=dtype)[..., None]], axis=-1)
    (tmp_path / "glass.png").write_bytes(imagecodecs.png_encode(glass))
    with caplog.at_level("INFO"):
        pixels = only(tmp_path / "glass.png")
    share = glass[..., 3:] / top
    expected = np.rint(rgb * share + top * (1 - share))
    assert np.abs(np.moveaxis(expected, -1, 0) - pixels).max() <= 1
    assert "transparency is dropped where an image is opaque, else laid on white" in caplog.text


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_upright(tmp_path: Path, orientation: int) -> None:
    from PIL import ImageOps

    image = Image.fromarray(grey())
    exif = image.getexif()
    exif[274] = orientation
    image.save(tmp_path / "a.png", exif=exif)
    with Image.open(tmp_path / "a.png") as stored:
        expected = np.array(ImageOps.exif_transpose(stored))
    np.testing.assert_array_equal(only(tmp_path / "a.png")[0], expected)
    assert open_images(tmp_path / "a.png")[0].shape[1:] == expected.shape


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64"])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "zstd"])
@pytest.mark.parametrize("bigtiff", [False, True])
def test_tiff_grey(tmp_path: Path, dtype: str, compression: str | None, bigtiff: bool) -> None:
    pixels = (RNG.random((40, 50)) * 200 - (50 if dtype[0] in "if" else 0)).astype(dtype)
    order = ">" if compression is None else "<"
    tifffile.imwrite(tmp_path / "a.tif", pixels, compression=compression, bigtiff=bigtiff, byteorder=order)
    found = only(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[0], pixels)
    assert found.dtype.isnative


@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
def test_tiff_colour(tmp_path: Path, planar: str, tile: tuple[int, int] | None) -> None:
    planes = np.stack([grey(40, 50) for _ in range(3)])
    data = planes if planar == "separate" else np.moveaxis(planes, 0, -1)
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", planarconfig=planar, tile=tile)
    np.testing.assert_array_equal(only(tmp_path / "a.tif"), planes)


def test_tiff_kinds_of_grey_and_colour(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "white.tif", pixels := grey(), photometric="miniswhite")
    np.testing.assert_array_equal(only(tmp_path / "white.tif")[0], 255 - pixels)
    Image.fromarray(grey()).point(lambda v: 255 * (v > 99), "1").save(tmp_path / "bilevel.tif", compression="group4")
    with Image.open(tmp_path / "bilevel.tif") as stored:
        np.testing.assert_array_equal(only(tmp_path / "bilevel.tif")[0], np.array(stored.convert("L")))
    table = RNG.integers(0, 256, (3, 256)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "palette.tif", pixels, photometric="palette", colormap=table * 257)
    np.testing.assert_array_equal(only(tmp_path / "palette.tif"), table[:, pixels])
    rgba = np.stack([grey() for _ in range(4)], axis=-1)
    tifffile.imwrite(tmp_path / "rgba.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    share = rgba[..., 3:] / 255
    expected = np.rint(rgba[..., :3] * share + 255 * (1 - share))
    assert np.abs(only(tmp_path / "rgba.tif") - np.moveaxis(expected, -1, 0)).max() <= 1


def test_pages_are_images_and_stay_in_one_group(tmp_path: Path) -> None:
    stack = np.stack([grey(24, 30) for _ in range(5)])
    tifffile.imwrite(tmp_path / "stack.tif", stack, imagej=True)
    tifffile.imwrite(tmp_path / "single.tif", grey(24, 30))
    images = open_images(tmp_path / "stack.tif")
    assert images.table["image"].tolist() == [f"stack.tif[{k}]" for k in range(5)]
    for k in range(5):
        np.testing.assert_array_equal(images[k].read()[0], stack[k])
    folder = open_images(tmp_path)
    assert folder.table["group"].tolist() == ["single.tif"] + ["stack.tif"] * 5


def test_pyramid_levels_are_left_out(tmp_path: Path) -> None:
    pixels = np.stack([grey(128, 160)] * 3, axis=-1)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb", tile=(32, 32))
        file.write(pixels[::2, ::2], photometric="rgb", tile=(32, 32), subfiletype=1)
        file.write(pixels[::4, ::4], photometric="rgb", tile=(32, 32))
    np.testing.assert_array_equal(only(tmp_path / "a.tif"), np.moveaxis(pixels, -1, 0))


def tiff(entries: list[tuple[int, int, int, int]], following: int = 0, body: bytes = bytes(400)) -> bytes:
    """A little-endian TIFF of one directory at byte 8; entries are (tag, type, count, value)."""
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHLL", *entry) for entry in entries)
    return b"II*\0\x08\0\0\0" + directory + struct.pack("<L", following) + body


GOOD = [
    (256, 4, 1, 16),
    (257, 4, 1, 16),
    (258, 3, 1, 8),
    (259, 3, 1, 1),
    (262, 3, 1, 1),
    (273, 4, 1, 134),
    (279, 4, 1, 256),
]


def changed(**values: tuple[int, int, int, int] | None) -> list[tuple[int, int, int, int]]:
    entries = {f"t{entry[0]}": entry for entry in GOOD}
    for name, entry in values.items():
        entries.pop(name, None)
        if entry is not None:
            entries[name] = entry
    return sorted(entries.values())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (tiff(GOOD, following=8), "directory that points back to itself"),
        (tiff(GOOD, following=10**6), "points beyond the end"),
        (tiff(changed(t273=None)), "has no pixels"),
        (tiff(changed(t273=(273, 4, 1, 10**6))), "pixels reach past the end"),
        (tiff(changed(t273=(273, 4, 2**31, 8))), "points beyond the end"),
        (tiff(changed(t256=(256, 4, 1, 2**32 - 1), t257=(257, 4, 1, 2**32 - 1))), "more than the limit"),
        (tiff(changed(t256=(256, 4, 1, 0))), "has no pixels: its header declares"),
        (
            tiff(changed(t257=(257, 4, 1, 40000), t256=(256, 4, 1, 40000))),
            "declares 1.6 GB of pixels, but only 256 bytes",
        ),
        (tiff(changed(t257=(257, 4, 1, 40000), t256=(256, 4, 1, 40000), t259=(259, 3, 1, 8))), "as no images do"),
        (tiff(changed(t278=(278, 4, 1, 1))), "1 of 16 strips"),
        (tiff(changed(t258=(258, 3, 1, 12))), "12-bit whole numbers"),
        (tiff(changed(t259=(259, 3, 1, 77))), "compression 77"),
        (tiff(changed(t262=(262, 3, 1, 8))), "colours of kind 8"),
        (tiff(changed(t262=(262, 3, 1, 3))), "damaged palette"),
        (b"II*\0\xff\xff\0\0", "points beyond the end"),
        (b"II*\0", "not a TIFF"),
        (b"II+\0\x08\0\0\0" + b"\xff" * 8, "points beyond the end"),
    ],
)
def test_malicious_tiff(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        open_images(tmp_path / "a.tif")


def test_the_good_tiff_of_these_tests_opens(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(GOOD))
    assert only(tmp_path / "a.tif").shape == (1, 16, 16)


@settings(max_examples=150, deadline=60_000)
@given(st.integers(0, 200), st.binary(min_size=1, max_size=4), st.sampled_from(["a.tif", "a.png", "a.jpg"]))
def test_mutated_files_end_in_time(
    tmp_path_factory: pytest.TempPathFactory, position: int, noise: bytes, name: str
) -> None:
    path = tmp_path_factory.mktemp("mutated") / name
    if name == "a.tif":
        path.write_bytes(tiff(GOOD))
    else:
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(path)
    content = bytearray(path.read_bytes())
    content[position : position + len(noise)] = noise
    path.write_bytes(content)
    with contextlib.suppress(DataError, FileAccessError):
        open_images(path)[0].read()


def png_of_side(side: int, data: bytes) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">L", len(body)) + kind + body + struct.pack(">L", zlib.crc32(kind + body))

    header = struct.pack(">LLBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def test_png_bomb(tmp_path: Path) -> None:
    """It is refused by what its header says: also where the pixels cannot be inflated at all, so nothing tries."""
    side, rows = 20_000, zlib.compressobj(9)
    bomb = b"".join(rows.compress(bytes(side + 1)) for _ in range(side)) + rows.flush()
    assert len(bomb) < 500_000
    for data in (bomb, b"no stream of zlib"):
        (tmp_path / "a.png").write_bytes(png_of_side(side, data))
        with pytest.raises(DataError, match="exceeds limit"):
            open_images(tmp_path / "a.png")
    (tmp_path / "a.png").write_bytes(png_of_side(20, b"no stream of zlib"))
    with pytest.raises(DataError, match=r"^(?!.*exceeds limit)"):
        open_images(tmp_path / "a.png")[0].read()


def save(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey() if pixels is None else pixels).save(path)


def test_folders_are_groups(tmp_path: Path) -> None:
    for name in ("data/B02/1.png", "data/B01/2.png", "data/B01/deep/3.jpg"):
        save(tmp_path / name)
    images = open_images(tmp_path)
    assert images.table[["image", "group"]].to_numpy().tolist() == [
        ["data/B01/2.png", "B01"],
        ["data/B01/deep/3.jpg", "B01"],
        ["data/B02/1.png", "B02"],
    ]
    assert images.format == "folder"
    save(tmp_path / "x" / "loose.png")
    assert open_images(tmp_path).groups == ("data", "x")
    flat = tmp_path / "data" / "B02"
    assert open_images(flat).groups == ()


def test_the_folder_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "set" / "1.png")
    monkeypatch.chdir(tmp_path / "set")
    assert repr(open_images(".")).startswith("Collection of 1 image from set (folder)")
    assert open_images(".").fingerprint() == open_images(tmp_path / "set").fingerprint()


def test_train_and_test_folders_are_no_groups(tmp_path: Path) -> None:
    for name in ("train/P1/1.png", "train/P2/1.png", "test/P1/2.png"):
        save(tmp_path / name)
    images = open_images(tmp_path)
    assert images.table["source_split"].tolist() == ["test", "train", "train"]
    assert images.table["group"].tolist() == ["P1", "P1", "P2"]


def test_what_is_passed_over_and_what_is_rejected(tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / f"{k}.png")
    for name in ("Thumbs.db", "labels.csv", "notes.txt", ".DS_Store", ".hidden.png", "__MACOSX/x.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert len(open_images(tmp_path)) == 4
    assert len(open_images(tmp_path).rejected) == 0
    (tmp_path / "scan.dcm").write_bytes(bytes(128) + b"DICM" + b"Test^Secret")
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    (tmp_path / "noise").write_bytes(bytes(range(256)))
    with pytest.raises(
        DataError, match=r"4 of 8 images cannot be used, more than --max-rejected 0.01 allows: empty.png"
    ):
        open_images(tmp_path)
    rejected = open_images(tmp_path, max_rejected=0.5).rejected
    assert dict(zip(rejected["file"], rejected["reason"], strict=True)) == {
        "empty.png": "is empty (0 bytes)",
        "noise": "is not an image of a known kind",
        "scan.dcm": "is DICOM, which is not read yet: save the images as 16-bit PNG or TIFF, for example with Fiji or "
        "dcmj2pnm of DCMTK",
        "text.png": "is a text file, not an image",
    }


def test_a_file_is_known_by_its_first_bytes(tmp_path: Path) -> None:
    pixels = grey()
    Image.fromarray(pixels).save(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(only(tmp_path / "a.jpg")[0], pixels)


def test_truncated_images_are_set_aside_when_packed(tmp_path: Path) -> None:
    for k in range(9):
        save(tmp_path / "in" / f"{k}.jpg", grey(200, 200))
    content = (tmp_path / "in" / "4.jpg").read_bytes()
    (tmp_path / "in" / "4.jpg").write_bytes(content[:3000])
    with pytest.raises(DataError, match=r"1 of 9 images .* 4.jpg is damaged: image file is truncated"):
        open_images(tmp_path / "in").packed(tmp_path / "cache")
    packed = open_images(tmp_path / "in", max_rejected=0.2).packed(tmp_path / "cache")
    assert len(packed) == 8
    assert packed.rejected["file"].tolist() == ["4.jpg"]
    assert list(packed.table.index) == list(range(8))


def test_odd_names(tmp_path: Path) -> None:
    names = ["ünï cödé (1).PNG", "a'b\"c.png", "<script>alert(1)<.png", "-rf.png", "line\nbreak\x1b[31m.png", "‮x.png"]
    for name in names:
        Image.fromarray(grey()).save(tmp_path / name, format="PNG")
    (tmp_path / os.fsdecode(b"\xff\xfe.png")).write_bytes((tmp_path / names[0]).read_bytes())
    images = open_images(tmp_path)
    assert len(images) == 7
    text = "".join(images.table["image"])
    assert "line\\nbreak\\x1b[31m.png" in text and "\\udcff\\udcfe.png" in text and "\\u202ex.png" in text
    assert text.isprintable()
    text.encode("utf-8")
    images.fingerprint()
    images.packed(tmp_path / "cache" / "x")


def test_links(tmp_path: Path) -> None:
    root = tmp_path / "in"
    save(root / "a" / "1.png")
    (root / "a" / "loop").symlink_to(root, target_is_directory=True)
    (root / "again.png").symlink_to(root / "a" / "1.png")
    assert open_images(root).table["image"].tolist() == ["a/1.png"]
    save(tmp_path / "outside.png")
    (root / "out.png").symlink_to(tmp_path / "outside.png")
    (root / "nowhere.png").symlink_to(tmp_path / "absent.png")
    (root / "self.png").symlink_to(root / "self.png")
    os.mkfifo(root / "pipe.png")
    reasons = open_images(root, max_rejected=1).rejected.set_index("file")["reason"]
    assert reasons["out.png"] == "is a link that leaves the folder, which is not followed"
    assert "leads nowhere" in reasons["nowhere.png"] and "leads nowhere" in reasons["self.png"]
    assert len(reasons) == 3


def test_grey_among_rgb_and_rgb_among_grey(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    level, colour = grey(), np.stack([grey(), grey(), grey()], axis=-1)
    for k in range(3):
        save(tmp_path / "rgb" / f"{k}.png", colour)
        save(tmp_path / "grey" / f"{k}.png", level)
    save(tmp_path / "rgb" / "odd.png", level)
    save(tmp_path / "grey" / "odd.png", np.stack([level] * 3, axis=-1))
    save(tmp_path / "grey" / "stained.png", colour)
    mixed = open_images(tmp_path / "rgb")
    assert mixed.channels == 3
    np.testing.assert_array_equal(mixed[3].read(), np.stack([level] * 3))
    assert "1 of 4 images are grey among RGB, repeated" in caplog.text
    mixed = open_images(tmp_path / "grey", max_rejected=0.3).packed(tmp_path / "cache")
    assert mixed.channels == 1 and len(mixed) == 4
    np.testing.assert_array_equal(mixed[3].read()[0], level)
    assert mixed.rejected.to_numpy().tolist() == [["stained.png", "is in colour, but most images are grey"]]


def test_number_types_are_not_mixed(tmp_path: Path) -> None:
    for k in range(3):
        save(tmp_path / f"{k}.png")
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(grey(dtype="uint16")))
    with pytest.raises(DataError, match=r"deep.png has uint16 pixels where most images have uint8"):
        open_images(tmp_path)


def test_not_finite(tmp_path: Path) -> None:
    for k in range(3):
        pixels = RNG.random((20, 20)).astype(np.float32)
        pixels[3, 3] = {0: 0.5, 1: np.nan, 2: np.inf}[k]
        tifffile.imwrite(tmp_path / f"{k}.tif", pixels)
    packed = open_images(tmp_path, max_rejected=0.7).packed(tmp_path / "cache")
    assert packed.table["image"].tolist() == ["0.tif"]
    assert set(packed.rejected["reason"]) == {"holds NaN or infinite pixels"}


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(FileAccessError, match="there is no file or folder"):
        open_images(tmp_path / "absent.npz")
    with pytest.raises(DataError, match="holds no images"):
        open_images(tmp_path)
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / ".zgroup").touch()
    with pytest.raises(DataError, match=r"a.zarr is Zarr, which is not read yet"):
        open_images(tmp_path / "a.zarr")


def test_small_images_are_left_out(tmp_path: Path) -> None:
    save(tmp_path / "large.png", grey(60, 70))
    save(tmp_path / "small.png", grey(60, 20))
    assert open_images(tmp_path, min_size=32).table["image"].tolist() == ["large.png"]
    with pytest.raises(DataError, match=r"no image of .* has both sides of at least 100 px") as caught:
        open_images(tmp_path, min_size=100)
    assert caught.value.hint == "set --min-size to 60 or less"
