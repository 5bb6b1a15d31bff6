"""NPY and NPZ: right pixels for every layout, truthful refusals, nothing allocated that a header merely declares."""

import io
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.errors import DataError, UsageError
from zatlas.images.readers.arrays import image_layout
from zatlas.images.readers.opening import open_images
from zatlas.images.source import ArraySource


def stack(n: int = 5, h: int = 20, w: int = 24, dtype: str = "uint8") -> np.ndarray:
    rng = np.random.default_rng(3)
    return (rng.random((n, h, w)) * 200).astype(dtype)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", "float64", "int64"])
@pytest.mark.parametrize("layout", ["NHW", "NHW1", "N1HW", "NHW3"])
@pytest.mark.parametrize("kind", ["npy", "stored", "deflated"])
def test_pixels_of_every_layout(tmp_path: Path, dtype: str, layout: str, kind: str) -> None:
    grey = stack(dtype=dtype)
    array = {
        "NHW": grey,
        "NHW1": grey[..., None],
        "N1HW": grey[:, None],
        "NHW3": np.stack([grey, grey // 2, grey // 3], axis=-1),
    }[layout]
    expected = np.moveaxis(array, -1, 1) if layout in ("NHW1", "NHW3") else array.reshape(5, 1, 20, 24)
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    if kind == "npy":
        np.save(path, array)
    elif kind == "stored":
        np.savez(path, images=array)
    else:
        np.savez_compressed(path, images=array)
    images = open_images(path)
    assert images.is_mapped == (kind != "deflated")
    assert images.dtype == np.dtype(dtype)
    assert images.table["image"].tolist() == ["00000", "00001", "00002", "00003", "00004"]
    for found in (images, images.packed(tmp_path / "cache")):
        for k, source in enumerate(found.sources):
            np.testing.assert_array_equal(source.read(), expected[k])


@pytest.mark.parametrize("kind", ["npy", "stored", "deflated"])
@pytest.mark.parametrize("how", ["big-endian", "Fortran", "bool"])
def test_unusual_arrays(tmp_path: Path, kind: str, how: str) -> None:
    array = {"big-endian": stack().astype(">u2"), "Fortran": np.asfortranarray(stack()), "bool": stack() > 100}[how]
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    if kind == "npy":
        np.save(path, array)
    else:
        {"stored": np.savez, "deflated": np.savez_compressed}[kind](path, images=array)
    images = open_images(path).packed(tmp_path / "cache")
    expected = array.astype(np.uint8) * 255 if how == "bool" else array
    assert images.is_mapped and images.dtype.isnative
    for k, source in enumerate(images.sources):
        np.testing.assert_array_equal(source.read()[0], expected[k])


def test_deflated_images_in_any_order(tmp_path: Path) -> None:
    array = stack(9)
    np.savez_compressed(tmp_path / "a.npz", images=array)
    images = open_images(tmp_path / "a.npz")
    for k in (4, 2, 8, 8, 0, 5):
        np.testing.assert_array_equal(images[k].read()[0], array[k])


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_any_crop_has_the_same_pixels(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.mktemp("crops")
    array = stack(2, 17, 23)
    np.save(folder / "a.npy", array)
    np.savez_compressed(folder / "a.npz", images=array)
    y, x = data.draw(st.integers(0, 16)), data.draw(st.integers(0, 22))
    h, w = data.draw(st.integers(1, 17 - y)), data.draw(st.integers(1, 23 - x))
    for name in ("a.npy", "a.npz"):
        crop = open_images(folder / name)[1].read(y, x, h, w)
        np.testing.assert_array_equal(crop[0], array[1, y : y + h, x : x + w])


def test_window_outside_the_image() -> None:
    source = ArraySource(np.zeros((1, 4, 4)))
    with pytest.raises(ValueError, match="leaves the image of 4 x 4 px"):
        source.read(2, 0, 3, 4)


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((40, 50), "HW"),
        ((7, 40, 50), "NHW"),
        ((40, 50, 3), "HW3"),
        ((3, 40, 50), "NHW"),
        ((7, 40, 50, 3), "NHW3"),
        ((7, 3, 40, 50), "N3HW"),
        ((7, 40, 50, 5), "NHW5"),
        ((7, 40, 40, 40), None),
        ((7, 0, 40), None),
        ((7,), None),
    ],
)
def test_layout(shape: tuple[int, ...], text: str | None) -> None:
    layout = image_layout(shape)
    assert (layout.text if layout else None) == text


def test_single_images(tmp_path: Path) -> None:
    grey = stack(1)[0]
    np.save(tmp_path / "grey.npy", grey)
    assert open_images(tmp_path / "grey.npy")[0].shape == (1, 20, 24)
    np.save(tmp_path / "rgb.npy", np.stack([grey] * 3, axis=-1))
    assert open_images(tmp_path / "rgb.npy")[0].shape == (3, 20, 24)


def test_key_is_found_or_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, first=stack(4), second=stack(6), ids=np.arange(4))
    with pytest.raises(DataError, match=r"several arrays.*first \(4 x 20 x 24 uint8\), second \(6 x") as caught:
        open_images(path)
    assert "--key first" in caught.value.hint
    assert len(open_images(path, key="second")) == 6
    with pytest.raises(UsageError, match=r"no array called 'third'; it holds first \(4 x 20 x 24 uint8\)"):
        open_images(path, key="third")
    np.savez(tmp_path / "b.npz", images=stack(3), masks=stack(3))
    assert len(open_images(tmp_path / "b.npz")) == 3
    with pytest.raises(UsageError, match="no named arrays"):
        np.save(tmp_path / "c.npy", stack())
        open_images(tmp_path / "c.npy", key="images")


def test_labels_beside_the_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=stack(3), labels=np.array([[1], [0], [2]]), patient=np.array(["a", "b", "a"]))
    images = open_images(tmp_path / "a.npz", group="patient")
    assert images.table["label"].tolist() == [1, 0, 2]
    assert images.groups == ("a", "b")


def test_medmnist_keys(tmp_path: Path) -> None:
    train, val, test = stack(4), stack(2), stack(3)
    np.savez_compressed(
        tmp_path / "a.npz",
        train_images=train, val_images=val, test_images=test,
        train_labels=np.arange(4)[:, None], val_labels=np.arange(2)[:, None], test_labels=np.arange(3)[:, None],
    )  # fmt: skip
    images = open_images(tmp_path / "a.npz")
    assert images.table["source_split"].tolist() == ["train"] * 4 + ["val"] * 2 + ["test"] * 3
    assert images.table["label"].tolist() == [0, 1, 2, 3, 0, 1, 0, 1, 2]
    assert images.table["image"].iloc[6] == "test/00000"
    np.testing.assert_array_equal(images[8].read()[0], test[2])


@pytest.mark.parametrize("names", [("x_train", "x_test"), ("train", "test"), ("X_train", "X_test")])
def test_other_names_of_parts(tmp_path: Path, names: tuple[str, str]) -> None:
    np.savez(tmp_path / "a.npz", **{names[0]: stack(4), names[1]: stack(2)})
    assert open_images(tmp_path / "a.npz").table["source_split"].value_counts().to_dict() == {"train": 4, "test": 2}


def test_an_array_per_image(tmp_path: Path) -> None:
    ragged = [stack(1, 10, 12)[0], stack(1, 30, 9)[0]]
    np.savez_compressed(tmp_path / "a.npz", *ragged)
    images = open_images(tmp_path / "a.npz")
    assert images.table[["height", "width"]].to_numpy().tolist() == [[10, 12], [30, 9]]
    np.testing.assert_array_equal(images[1].read()[0], ragged[1])


def npy(descr: str, shape: tuple[int, ...], data: bytes = b"") -> bytes:
    header = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape!r}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy("|u1", (10**13,)), "holds no images"),
        (npy("|u1", (10, 1000, 1000)), "truncated: its header declares 10.0 MB, but 0 bytes"),
        (npy("<f8", (1, 10**6, 10**6)), "more than the limit of 2.1 GB per image"),
        (npy("|O", (3, 8, 8)), "holds Python objects .* never unpickles"),
        (npy("<c8", (3, 8, 8), bytes(3 * 64 * 8)), "holds no images: it is 3 x 8 x 8 complex64"),
        (npy("|u1", (-1, 8, 8)), "damaged NumPy header"),
        (b"\x93NUMPY\x02\x00" + b"\xff" * 4, "damaged NumPy header"),
        (b"\x93NUMPY\x01\x00\xff\xff" + b"(" * 70000, "damaged NumPy header"),
        (b"\x93NUMPY", "not an array in NumPy format"),
    ],
)
def test_malicious_npy(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=reason):
        open_images(tmp_path / "a.npy")


def test_no_pickle_runs(tmp_path: Path) -> None:
    class Touch:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return (Path.touch, (tmp_path / "touched",))  # type: ignore[return-value]

    np.save(tmp_path / "a.npy", np.array([Touch(), Touch()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "a.npz", images=np.array([Touch(), Touch()], dtype=object))
    with pytest.raises(DataError, match="never unpickles"):
        open_images(tmp_path / "a.npy")
    with pytest.raises(DataError, match=r"images \(refused: it holds Python objects"):
        open_images(tmp_path / "a.npz")
    with pytest.raises(DataError, match="holds images, which holds Python objects"):
        open_images(tmp_path / "a.npz", key="images")
    assert not (tmp_path / "touched").exists()


def test_bomb_is_refused_from_its_directory(tmp_path: Path) -> None:
    n = 300 * 1024 * 1024
    with (
        zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("images.npy", "w") as f,
    ):
        f.write(npy("|u1", (300, 1024, 1024)))
        block = bytes(1 << 20)
        for _ in range(n >> 20):
            f.write(block)
    assert (tmp_path / "a.npz").stat().st_size < 400_000
    with pytest.raises(DataError, match=r"unpacks to \d+ times its size"):
        open_images(tmp_path / "a.npz", key="images")


def test_header_and_directory_disagree(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("images.npy", npy("|u1", (10**6, 100, 100), bytes(1000)))
    with pytest.raises(DataError, match=r"declares 10.0 GB of pixels, but"):
        open_images(tmp_path / "a.npz", key="images")


def test_damaged_archives(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, images=stack(40, 64, 64))
    content = buffer.getvalue()
    path = tmp_path / "a.npz"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="damaged NPZ archive"):
        open_images(path)
    flipped = bytearray(content)
    for k in range(len(content) // 2, len(content) // 2 + 40):
        flipped[k] ^= 0xFF
    path.write_bytes(flipped)
    with pytest.raises(DataError, match=r"cannot be decompressed|cannot be used"):
        open_images(path).packed(tmp_path / "cache")


@settings(max_examples=60, deadline=None)
@given(st.binary(min_size=1, max_size=6), st.integers(0, 400))
def test_mutated_files_open_or_are_refused(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, position: int
) -> None:
    folder = tmp_path_factory.mktemp("mutated")
    buffer = io.BytesIO()
    np.savez(buffer, images=stack(2, 8, 8))
    content = bytearray(buffer.getvalue())
    content[position : position + len(noise)] = noise
    (folder / "a.npz").write_bytes(content)
    np.save(folder / "a.npy", stack(2, 8, 8))
    content = bytearray((folder / "a.npy").read_bytes())
    content[position : position + len(noise)] = noise
    (folder / "a.npy").write_bytes(content)
    for name in ("a.npz", "a.npy"):
        try:
            images = open_images(folder / name)
            for source in images.sources:
                source.read()
        except (DataError, UsageError):
            pass
