"""Formats from outside: another package reads what zatlas does not read itself, and is named when it fails."""

import importlib.metadata
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import zatlas as za
from zatlas.errors import DataError
from zatlas.images.readers import plugins
from zatlas.images.readers.reader import Reader, ReadOptions, image_scan
from zatlas.images.source import ArraySource, DamagedImage, Found, ImageSource, Pixels, Scan

MAGIC = b"PYRAMID!"


class Pyramid(ImageSource):
    """An array with copies of half and a quarter of its sides, as a slide has them; counts the pixels read."""

    levels = (1, 2, 4)
    pixel_size_um = 0.5
    channel_names = ("haematoxylin",)
    reads_windows = True

    def __init__(self, array: Pixels) -> None:
        self.arrays = [array[:, ::factor, ::factor] for factor in (1, 2, 4)]
        self.shape, self.dtype = array.shape, array.dtype
        self.n_read = 0

    def read(
        self, y: int = 0, x: int = 0, height: int | None = None, width: int | None = None, level: int = 0
    ) -> Pixels:
        height, width = self.checked_window(y, x, height, width, level)
        self.n_read += height * width
        return self.arrays[level][:, y : y + height, x : x + width]


def read_pyramid(path: Path, options: ReadOptions) -> Scan:
    stored = np.frombuffer(path.read_bytes()[len(MAGIC) :], np.uint8)
    side = int(len(stored) ** 0.5)
    if side * side != len(stored):
        raise DamagedImage("is no square")
    return image_scan(path, "pyramid", [Pyramid(stored.reshape(1, side, side))])


PYRAMID = Reader(name="pyramid", open=read_pyramid, magic=(MAGIC,), suffixes=(".pyr",), is_image=True)


def pixels_of(seed: int, side: int = 90) -> np.ndarray:
    """Noise whose darkest and brightest pixels are at level 0 alone."""
    pixels = np.random.default_rng(seed).integers(10, 246, (side, side), dtype=np.uint8)
    pixels[1, 1], pixels[3, 3] = 0, 255
    return pixels


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + pixels_of(seed).tobytes())
    return path


class Installed:
    """Packages that bring readers, as `importlib.metadata` lists them; counts how often it is asked."""

    def __init__(self) -> None:
        self.entries: list[Any] = []
        self.n_asked = 0

    def add(self, name: str, load: Any, dist: str = "zatlas-pyramid") -> None:
        about = SimpleNamespace(name=dist, version="1.2")
        self.entries.append(SimpleNamespace(name=name, value=f"{name}:READER", dist=about, load=load))

    def entry_points(self, *, group: str) -> list[Any]:
        if group != "zatlas.readers":
            return []
        self.n_asked += 1
        return self.entries


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Installed:
    packages = Installed()
    monkeypatch.setattr(importlib.metadata, "entry_points", packages.entry_points)
    return packages


def test_a_format_of_another_package_opens_and_gives_tiles(tmp_path: Path, installed: Installed) -> None:
    write(tmp_path / "a.pyr")
    with pytest.raises(DataError, match=r"a.pyr is not an image of a known kind"):
        za.open_images(tmp_path / "a.pyr")
    installed.add("pyramid", lambda: PYRAMID)
    images = za.open_images(tmp_path / "a.pyr")
    assert images[0].levels == (1, 2, 4) and images[0].pixel_size_um == 0.5
    assert images[0].channel_names == ("haematoxylin",) and images[0].shape_at(2) == (1, 23, 23)
    np.testing.assert_array_equal(images[0].read(3, 4, 5, 6, level=1)[0], pixels_of(0)[::2, ::2][3:8, 4:10])
    assert images.files == (tmp_path / "a.pyr",) and not images.is_mapped


@pytest.mark.parametrize("level", [0, 1, 2])
@pytest.mark.parametrize("sampler", ["by_pixel", "grid"])
def test_tiles_of_a_pyramid_are_those_of_the_level(
    tmp_path: Path, installed: Installed, level: int, sampler: str
) -> None:
    """Every tile, also where it overhangs and is mirrored, has the pixels that a mapped copy of the level gives."""
    installed.add("pyramid", lambda: PYRAMID)
    for seed in range(3):
        write(tmp_path / "in" / f"{seed}.pyr", seed)
    images = za.open_images(tmp_path / "in")
    np.save(tmp_path / "level.npy", np.stack([pixels_of(seed)[:: 2**level, :: 2**level] for seed in range(3)]))
    mapped = za.open_images(tmp_path / "level.npy")
    found = za.Tiles(images, size=16, sampler=sampler, seed=3, level=level)
    expected = za.Tiles(mapped, size=16, sampler=sampler, seed=3)
    assert found.scaling == expected.scaling and len(found) == len(expected)
    indices = np.arange(len(found))
    np.testing.assert_array_equal(found.pixels(0, indices), expected.pixels(0, indices))


def test_only_the_windows_of_tiles_are_read(tmp_path: Path, installed: Installed) -> None:
    installed.add("pyramid", lambda: PYRAMID)
    images = za.open_images(write(tmp_path / "a.pyr"))
    tiles = za.Tiles(images, size=9, sampler="grid", scaling=za.Scaling("minmax", 0.0, 255.0))
    source = images[0].source  # type: ignore[attr-defined]
    before = source.n_read
    tiles.take([0, 11])
    assert source.n_read - before == 2 * 9 * 9


def test_a_model_learns_from_a_level_of_a_pyramid(tmp_path: Path, installed: Installed) -> None:
    installed.add("pyramid", lambda: PYRAMID)
    for seed in range(4):
        write(tmp_path / f"{seed}.pyr", seed)
    images = za.open_images(tmp_path)
    tiles = za.Tiles(images, size=16, sampler="by_pixel", seed=1, level=1, tiles_per_epoch=32)
    vae = za.VAE(latent_dim=2, widths=(4, 4), seed=1)
    vae.fit(tiles, epochs=1)
    seen = za.Tiles(images, size=16, sampler="grid", scaling=tiles.scaling, level=1)
    encoded = vae.encode(tiles.scaling.invert(seen.take(np.arange(len(seen)))))
    assert encoded.mean.shape == (4 * 9, 2) and bool(encoded.mean.isfinite().all())


def test_no_such_level_and_what_must_be_packed(tmp_path: Path, installed: Installed) -> None:
    installed.add("pyramid", lambda: PYRAMID)
    images = za.open_images(write(tmp_path / "a.pyr"))
    with pytest.raises(DataError, match=r"image a.pyr has no level 3, only 3"):
        za.Tiles(images, size=8, level=3)
    packed = images.packed(tmp_path / "cache")
    assert packed.is_mapped and packed[0].pixel_size_um == 0.5 and packed[0].channel_names == ("haematoxylin",)
    assert images.resized(30, tmp_path / "small")[0].pixel_size_um is None
    with pytest.raises(DataError, match="has no level 1, only 1"):
        za.Tiles(packed, size=8, level=1)
    with pytest.raises(ValueError, match="no level 1"):
        packed[0].read(level=1)


def test_what_zatlas_reads_itself_is_never_offered(tmp_path: Path, installed: Installed) -> None:
    """Neither a known format nor a folder of one asks for other packages, so that they cannot change or slow it."""
    everything = Reader(name="all", open=read_pyramid, recognises=lambda *_: True, is_image=True)
    installed.add("all", lambda: everything)
    (tmp_path / "in").mkdir()
    Image.fromarray(pixels_of(0)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "notes.csv").write_text("a,b\n")
    np.save(tmp_path / "b.npy", pixels_of(1))
    assert za.open_images(tmp_path / "in").format == "folder"
    assert za.open_images(tmp_path / "in" / "a.png").format == "image"
    assert za.open_images(tmp_path / "b.npy").format == "npy"
    assert installed.n_asked == 0


def test_what_zatlas_refuses_is_offered(tmp_path: Path, installed: Installed) -> None:
    """Also where a file begins like a known format (a slide is a TIFF) or is a folder with an ending."""
    for name in ("a.svs", "b.nii.gz"):
        (tmp_path / name).write_bytes(b"II*\0" + bytes(200))
    (tmp_path / "c.zarr").mkdir()
    (tmp_path / "d.n5").mkdir()

    def read(path: Path, options: ReadOptions) -> Scan:
        return Scan("mine", "", [Found(path.name, 0, ArraySource(pixels_of(0)[None]))])

    installed.add("files", lambda: Reader(name="files", open=read, suffixes=(".svs", ".nii"), is_image=True))
    folders = Reader(name="folders", open=read, suffixes=(".zarr", ".n5"), is_folder=True, is_image=True)
    installed.add("folders", lambda: folders)
    for name in ("a.svs", "b.nii.gz", "c.zarr", "d.n5"):
        assert za.open_images(tmp_path / name).format == "mine", name
    installed.n_asked = 0
    together = za.open_images(tmp_path)
    assert list(together.table["image"]) == ["a.svs", "b.nii.gz", "c.zarr", "d.n5"] and installed.n_asked == 1


def broken() -> Reader:
    raise ImportError("no module named openslide")


def test_a_reader_that_cannot_be_loaded_is_named_and_left_out(
    tmp_path: Path, installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    installed.add("broken", broken, dist="zatlas-slides")
    installed.add("nothing", lambda: "a text", dist="zatlas-words")
    installed.add("pyramid", lambda: PYRAMID)
    assert len(za.open_images(write(tmp_path / "a.pyr"))) == 1
    first, second = caplog.messages[:2]
    assert "reader broken of zatlas-slides 1.2 cannot be loaded" in first and "no module named openslide" in first
    assert "reader nothing of zatlas-words 1.2 is left out, because it is a str" in second


def test_a_reader_that_takes_long_to_load_is_named(
    tmp_path: Path, installed: Installed, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed.add("pyramid", lambda: PYRAMID)
    clock = iter([0.0, 12.3])
    monkeypatch.setattr(plugins, "perf_counter", lambda: next(clock))
    with caplog.at_level(logging.WARNING):
        za.open_images(write(tmp_path / "a.pyr"))
    assert "reader pyramid of zatlas-pyramid 1.2 took 12.3 s to load" in caplog.text


class Odd(Pyramid):
    """A source that gives more than it is asked for, or fails."""

    fails = False

    def read(self, *window: Any, **more: Any) -> Pixels:
        if self.fails:
            raise KeyError("tile 7")
        return self.arrays[0]


def fails_on_opening(path: Path, options: ReadOptions) -> Scan:
    raise KeyError("offset")


def gives_no_scan(path: Path, options: ReadOptions) -> Any:
    return [pixels_of(0)]


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (fails_on_opening, r"reader odd of zatlas-odd 1.2 fails with KeyError: 'offset'"),
        (gives_no_scan, r"reader odd of zatlas-odd 1.2 gives no Scan"),
        (lambda path, options: Scan("odd", "", [Found("a", 0, "x")]), "gives no Scan of images"),  # type: ignore
        (lambda path, options: image_scan(path, "odd", [ImageSource()]), "AttributeError"),
    ],
)
def test_a_reader_that_fails_is_named(tmp_path: Path, installed: Installed, read: Any, reason: str) -> None:
    installed.add("odd", lambda: Reader(name="odd", open=read, magic=(MAGIC,)), dist="zatlas-odd")
    with pytest.raises(DataError, match=r"a.pyr cannot be read: .*" + reason):
        za.open_images(write(tmp_path / "a.pyr"))


def test_pixels_that_fail_are_set_aside_with_the_name_of_the_package(tmp_path: Path, installed: Installed) -> None:
    def read(path: Path, options: ReadOptions) -> Scan:
        sources = [Pyramid(pixels_of(0)[None]), Odd(pixels_of(1)[None]), Odd(pixels_of(2)[None])]
        sources[2].fails = True  # type: ignore[attr-defined]
        return image_scan(path, "odd", sources)

    installed.add("odd", lambda: Reader(name="odd", open=read, magic=(MAGIC,)), dist="zatlas-odd")
    images = za.open_images(write(tmp_path / "a.pyr"), max_rejected=0.9)
    packed = images.packed(tmp_path / "cache")
    assert len(packed) == 2 and "zatlas-odd 1.2 fails with KeyError" in packed.rejected["reason"].iloc[0]
    with pytest.raises(DamagedImage, match=r"zatlas-odd 1.2 gives \(1, 90, 90\) uint8 where \(1, 4, 5\) uint8 is due"):
        images[1].read(0, 0, 4, 5)


def test_a_refusal_in_words_is_passed_on(tmp_path: Path, installed: Installed) -> None:
    installed.add("pyramid", lambda: PYRAMID)
    (tmp_path / "a.pyr").write_bytes(MAGIC + bytes(7))
    with pytest.raises(DataError, match=r"^a.pyr is no square"):
        za.open_images(tmp_path / "a.pyr")


def test_a_reader_that_ends_python_is_left_out(
    tmp_path: Path, installed: Installed, caplog: pytest.LogCaptureFixture
) -> None:
    def ending() -> Reader:
        raise SystemExit(3)

    installed.add("ending", ending, dist="zatlas-ending")
    installed.add("pyramid", lambda: PYRAMID)
    assert len(za.open_images(write(tmp_path / "a.pyr"))) == 1
    assert "reader ending of zatlas-ending 1.2 cannot be loaded" in caplog.messages[0]


def test_a_folder_may_be_read_as_one_image_file_is(tmp_path: Path, installed: Installed) -> None:
    def read_folder(path: Path, options: ReadOptions) -> Scan:
        return image_scan(path, "slide", [Pyramid(pixels_of(0)[None])])

    write(tmp_path / "one.slide" / "level0")
    reader = Reader(name="slide", open=read_folder, suffixes=(".slide",), is_folder=True)
    installed.add("slide", lambda: reader)
    images = za.open_images(tmp_path / "one.slide")
    assert len(images) == 1
    assert images.fingerprint(), "of the files in the folder"
