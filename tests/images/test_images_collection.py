"""Collections: selecting, packing once, resizing by area, fingerprints, and labels joined to images."""

import dataclasses
import json
import os
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zatlas.errors import DataError, FileAccessError, UsageError, WriteError
from zatlas.images.collection import Collection, join_labels
from zatlas.images.readers.opening import open_images
from zatlas.images.resizing import area_resized
from zatlas.images.source import ArraySource, printable

RNG = np.random.default_rng(2)


def sections(path: Path, n: int = 6, **options: object) -> Path:
    with h5py.File(path, "w") as file:
        for k in range(n):
            pixels = RNG.integers(0, 256, (20 + k, 33 - k)).astype(np.uint8)
            file.create_dataset(f"B{k % 2}/{k}", data=pixels, **({"compression": "gzip"} | options))
    return path


def test_repr_select_and_properties(tmp_path: Path) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    assert repr(images).splitlines() == [
        "Collection of 6 images from a.h5 (hdf5)",
        "  size: 20 x 28 to 25 x 33 px, 1 channel, uint8",
        "  2 groups: B0 3, B1 3",
    ]
    chosen = images.select([4, 0])
    assert chosen.table["image"].tolist() == [images.table["image"][4], images.table["image"][0]]
    assert list(chosen.table.index) == [0, 1] and chosen[0] is images[4]
    assert chosen.positions == (4, 0)
    np.testing.assert_array_equal(images.select(images.table["group"] == "B1").table["group"], ["B1"] * 3)
    assert not images.is_uniform and images.select([0]).is_uniform
    assert len(images.select([])) == 0 and "no images" in repr(images.select([]))
    train, test = images.split(test_groups=["B1"])
    assert (len(train), len(test)) == (3, 3) and test.groups == ("B1",)


def test_packed_once_and_whole(tmp_path: Path) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    calls: list[tuple[int, int]] = []
    packed = images.packed(tmp_path / "cache", lambda done, total: calls.append((done, total)))
    assert calls == [(k + 1, 6) for k in range(6)]
    index = json.loads((tmp_path / "cache" / "index.json").read_text())
    assert all(entry["offset"] % 4096 == 0 for entry in index["images"])
    for source, copied in zip(images.sources, packed.sources, strict=True):
        np.testing.assert_array_equal(source.read(), copied.read())
        assert isinstance(copied, ArraySource) and not copied.array.flags.writeable
    written = (tmp_path / "cache" / "pixels.bin").stat().st_mtime_ns
    again = open_images(tmp_path / "a.h5").packed(tmp_path / "cache", lambda done, total: calls.append((done, total)))
    assert len(calls) == 6 and (tmp_path / "cache" / "pixels.bin").stat().st_mtime_ns == written
    np.testing.assert_array_equal(again[3].read(), images[3].read())
    assert packed.packed(tmp_path / "other") is packed
    assert not (tmp_path / "other").exists()


def test_folders_may_be_strings(tmp_path: Path) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    np.testing.assert_array_equal(images.packed(str(tmp_path / "cache"))[1].read(), images[1].read())
    assert images.resized(16, str(tmp_path / "small")).is_uniform


@pytest.mark.parametrize("damage", ["other images", "no index", "torn index", "short pixels"])
def test_packed_again_when_it_must(tmp_path: Path, damage: str) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    images.packed(tmp_path / "cache")
    index, pixels = tmp_path / "cache" / "index.json", tmp_path / "cache" / "pixels.bin"
    if damage == "other images":
        images = open_images(sections(tmp_path / "a.h5"))
    elif damage == "no index":
        index.unlink()
    elif damage == "torn index":
        index.write_text(index.read_text()[:50])
    else:
        os.truncate(pixels, 100)
    for source, copied in zip(images.sources, images.packed(tmp_path / "cache").sources, strict=True):
        np.testing.assert_array_equal(source.read(), copied.read())


def test_disk_too_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    full = type("Usage", (), {"free": 100})
    monkeypatch.setattr("zatlas.images.packing.shutil.disk_usage", lambda folder: full)
    with pytest.raises(WriteError, match=r"unpacked pixels need 24.6 kB, but only 100 bytes are free"):
        images.packed(tmp_path / "cache")


def test_float_images_in_place_are_checked(tmp_path: Path) -> None:
    stack = RNG.random((200, 8, 8)).astype(np.float32)
    np.save(tmp_path / "good.npy", stack)
    stack[17, 2, 3] = np.nan
    np.save(tmp_path / "bad.npy", stack)
    good = open_images(tmp_path / "good.npy").packed(tmp_path / "cache")
    assert len(good) == 200 and len(good.rejected) == 0
    bad = open_images(tmp_path / "bad.npy").packed(tmp_path / "cache")
    assert bad.rejected.to_numpy().tolist() == [["00017", "holds NaN or infinite pixels"]]
    assert len(bad) == 199 and bad.positions[17] == 18
    assert not (tmp_path / "cache").exists()


def test_fingerprint(tmp_path: Path) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    same = open_images(tmp_path / "a.h5")
    assert images.fingerprint() == same.fingerprint() and len(images.fingerprint()) == 64
    assert images.select([0, 1]).fingerprint() != images.fingerprint()
    first = images.fingerprint()
    assert images.packed(tmp_path / "cache").fingerprint() == first
    content = bytearray((tmp_path / "a.h5").read_bytes())
    content[-1] ^= 1
    (tmp_path / "a.h5").write_bytes(content)
    assert open_images(tmp_path / "a.h5").fingerprint() != first
    labelled = dataclasses.replace(images, table=images.table.assign(kind=1))
    assert labelled.fingerprint() != images.fingerprint()
    in_memory = [Collection(images.table, (ArraySource(np.full((1, 2, 2), k)),), Path("m")) for k in (1, 2)]
    assert in_memory[0].fingerprint() != in_memory[1].fingerprint()


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(1, 40))
def test_resizing_is_the_mean_over_areas(h: int, w: int, side: int) -> None:
    pixels = RNG.random((h, w)).astype(np.float32)
    found = area_resized(ArraySource(pixels[None]), side)[0]
    if h >= side and w >= side:
        wide = np.repeat(np.repeat(pixels.astype(np.float64), side, axis=0), side, axis=1)
        expected = wide.reshape(side, h, side, w).mean(axis=(1, 3))
        np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.shape == (side, side) and found.dtype == np.float32
    assert found.min() >= pixels.min() - 1e-6 and found.max() <= pixels.max() + 1e-6
    flat = area_resized(ArraySource(np.full((1, h, w), 7, np.uint8)), side)
    assert (flat == 7).all()


def test_growing_is_linear() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    grown = area_resized(ArraySource(ramp[None]), 16)[0]
    expected = np.array(Image.fromarray(ramp).resize((16, 16), Image.Resampling.BILINEAR))
    np.testing.assert_allclose(grown, expected, atol=1e-6)


def test_resized_collection(tmp_path: Path) -> None:
    images = open_images(sections(tmp_path / "a.h5"))
    small = images.resized(16, tmp_path / "r16")
    assert small.is_mapped and small.is_uniform and small.dtype == np.uint8
    assert (
        small.table["height"].tolist() == [16] * 6 and small.table["group"].tolist() == images.table["group"].tolist()
    )
    pixels = images[2].read()[0].astype(np.float64)
    h, w = pixels.shape
    expected = np.repeat(np.repeat(pixels, 16, axis=0), 16, axis=1).reshape(16, h, 16, w).mean(axis=(1, 3))
    np.testing.assert_allclose(small[2].read()[0], expected, atol=0.5 + 1e-9)
    assert images.resized(12, tmp_path / "r16")[0].shape == (1, 12, 12)
    np.save(tmp_path / "b.npy", RNG.integers(0, 255, (5, 16, 16)).astype(np.uint8))
    square = open_images(tmp_path / "b.npy")
    assert square.resized(16, tmp_path / "none") is square


def test_large_images_are_resized_in_blocks() -> None:
    pixels = RNG.integers(0, 256, (3000, 3000)).astype(np.uint8)
    found = area_resized(ArraySource(pixels[None]), 30)[0]
    np.testing.assert_array_equal(found, np.rint(pixels.reshape(30, 100, 30, 100).mean(axis=(1, 3))))


def stack(path: Path, n: int = 5) -> Path:
    np.save(path, RNG.integers(0, 255, (n, 8, 8)).astype(np.uint8))
    return path


def table(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_labels_by_index(tmp_path: Path, separator: str, caplog: pytest.LogCaptureFixture) -> None:
    lines = ["index,patient,age,width", *(f"{k},P{k // 2:02d},{20 + k},{100 + k}" for k in (4, 0, 1, 2, 3, 9))]
    labels = table(tmp_path / "l.csv", "\n".join(lines).replace(",", separator))
    with caplog.at_level("INFO"):
        images = open_images(stack(tmp_path / "a.npy"), labels=labels, group="patient")
    assert images.labels == ("patient", "age", "label_width")
    assert images.table["age"].tolist() == [20, 21, 22, 23, 24]
    assert images.table["group"].tolist() == ["P00", "P00", "P01", "P01", "P02"]
    assert "joined by index (column index); rows without an image: 1" in caplog.text
    assert "width is called label_width" in caplog.text
    assert open_images(tmp_path / "a.npy", labels=labels, group="age").groups == ("20", "21", "22", "23", "24")


@pytest.mark.parametrize(
    ("column", "names"),
    [
        ("path", ["a/1.png", "a/2.png", "b/3.png"]),
        ("file", ["./a/1.png", "a\\2.png", "b/3.png"]),
        ("Image Index", ["1.png", "2.png", "3.png"]),
        ("id", ["1", "2", "3"]),
    ],
)
def test_labels_by_name_or_path(tmp_path: Path, column: str, names: list[str]) -> None:
    for name in ("a/1.png", "a/2.png", "b/3.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 255, (8, 8)).astype(np.uint8)).save(tmp_path / "in" / name)
    lines = [f"{column},side", *(f"{name},{side}" for name, side in zip(names, ("left", "right", ""), strict=True))]
    images = open_images(tmp_path / "in", labels=table(tmp_path / "l.csv", "\n".join(lines)))
    assert images.labels == ("side",)
    assert images.table["side"].iloc[:2].tolist() == ["left", "right"] and pd.isna(images.table["side"].iloc[2])


def test_ambiguous_names(tmp_path: Path) -> None:
    for name in ("a/1.png", "b/1.png"):
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RNG.integers(0, 255, (8, 8)).astype(np.uint8)).save(tmp_path / "in" / name)
    with pytest.raises(DataError, match="names images by file name, but several images share one") as caught:
        open_images(tmp_path / "in", labels=table(tmp_path / "l.csv", "name,side\n1.png,left\n"))
    assert caught.value.hint == "name images by their path, such as a/1.png"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("index,x\n0,1\n1,1\n2,1\n", r"of 5 images, 2 have no row in l.csv: 00003, 00004 \(joined by index"),
        ("index,x\n0,1\n1,1\n2,1\n3,1\n4,1\n4,2\n", r"1 image has more than one row in l.csv: 4"),
        ("who,x\na,1\nb,2\n", "no column of l.csv names the images; its columns are who, x"),
        ("index,x\n0,1,7\n1,1\n", "row 2 of l.csv has 3 cells, expected 2"),
        ("index,index\n0,1\n", "column 'index' occurs twice"),
        ("", "is not a table of labels"),
        ("index\n", "is not a table of labels"),
    ],
)
def test_labels_that_do_not_fit(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        open_images(stack(tmp_path / "a.npy"), labels=table(tmp_path / "l.csv", text))


def test_more_about_labels(tmp_path: Path) -> None:
    path = stack(tmp_path / "a.npy", 3)
    with pytest.raises(FileAccessError, match=r"labels table absent.csv cannot be read"):
        open_images(path, labels=tmp_path / "absent.csv")
    labels = table(tmp_path / "l.csv", "\ufeffindex,code,name,score,mixed\n0,007,x,1.5,1\n1,010,y,,a\n2,3,z,2,2\n")
    images = open_images(path, labels=labels)
    assert images.table["code"].tolist() == ["007", "010", "3"]
    assert images.table["score"].dtype == np.float64 and images.table["mixed"].tolist() == ["1", "a", "2"]
    with pytest.raises(DataError, match=r"1 image has no value in column 'score'"):
        open_images(path, labels=labels, group="score")
    with pytest.raises(UsageError, match=r"images have no label columns") as caught:
        open_images(path, group="patient")
    assert caught.value.hint == "give a table that has it with --labels"
    (tmp_path / "latin.csv").write_bytes("index,städte\n0,Köln\n1,Bonn\n2,Jülich\n".encode("cp1252"))
    assert join_labels(open_images(path), tmp_path / "latin.csv").table["städte"][0] == "Köln"


def test_printable() -> None:
    assert printable("a b\u00fc\U0001f9e0") == "a b\u00fc\U0001f9e0"
    assert printable("\x1b[2J\udcff\u202e") == "\\x1b[2J\\udcff\\u202e"
