"""Sheets of pictures: picture i lies where the layout says, on the right sheet, with the right pixels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from zatlas import phantom
from zatlas.explorer.bundle import sheets
from zatlas.explorer.bundle.columns import Files
from zatlas.explorer.bundle.sheets import Layout, Sheet, layout, write_sheets
from zatlas.explorer.greys import shown
from zatlas.images.readers.opening import open_images
from zatlas.tiles.loader import Tiles


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("sheets")


@given(st.integers(1, 5000), st.integers(0, 2_000_000))
def test_cells_are_in_reading_order_and_never_overlap(size_px, row):
    where = layout(size_px)
    sheet, top, left = where.place(row)
    assert row == sheet * where.per_sheet + top // size_px * where.columns + left // size_px
    assert top % size_px == left % size_px == 0
    height, width = where.shape(where.per_sheet)
    assert top + size_px <= height
    assert left + size_px <= width
    assert max(height, width) <= max(4096, size_px)


def test_the_layout_of_thumbnails():
    assert layout(64) == Layout(64, 64, 4096)
    assert layout(64).shape(65) == (128, 4096)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 30), st.integers(1, 7), st.sampled_from([1, 3]), st.randoms(use_true_random=False))
def test_every_picture_is_found_again(folder, n, batch, channels, random):
    pictures = np.random.default_rng(random.randrange(1000)).integers(0, 256, (n, 4, 4, channels), dtype=np.uint8)
    files = Files(folder)
    made = Sheet(files, "test", 4, n, is_lossless=True)
    made.layout = Layout(4, 3, 9)  # many small sheets
    for start in range(0, n, batch):
        made.add(pictures[start : start + batch])
    info = made.info()
    opened = [np.asarray(Image.open(folder / file["path"])) for file in info["files"]]
    assert len(opened) == -(-n // 9)
    for row in range(n):
        sheet, top, left = made.layout.place(row)
        assert (opened[sheet][top : top + 4, left : left + 4] == pictures[row]).all()
    assert opened[-1].shape[:2] == made.layout.shape(n - 9 * (len(opened) - 1))


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sheet-images")
    path = phantom.sections(folder / "cell_data.h5", brains=1, images=2, min_px=90, max_px=100, seed=1)
    return Tiles(open_images(path).packed(folder / "packed"), size=32, sampler="grid", stride=16)


def test_tiles_become_pictures_whatever_the_batch(tiles, folder, monkeypatch):
    done: list[tuple[int, int]] = []
    limits = (0.2, 0.9)
    monkeypatch.setattr(sheets, "_BATCH_VALUES", 7 * 32 * 32)
    small, full = write_sheets(
        Files(folder), tiles, limits, with_thumbnails=True, with_originals=True,
        on_progress=lambda *step: done.append(step),
    )  # fmt: skip
    shown = (tiles.take(np.arange(len(tiles))) - 0.2) / 0.7
    expected = np.rint(np.clip(shown, 0, 1) * 255)[:, 0]
    where = Layout(full["size_px"], full["columns"], full["per_sheet"])
    pixels = np.asarray(Image.open(folder / full["files"][0]["path"]))
    for row in range(len(tiles)):
        _, top, left = where.place(row)
        assert np.abs(pixels[top : top + 32, left : left + 32, 0] - expected[row]).max() <= 1
    assert done[-1] == (len(tiles), len(tiles))
    assert len(done) == -(-len(tiles) // 7)
    blurred = np.asarray(Image.open(folder / small["files"][0]["path"])).astype(float)
    assert np.abs(blurred[:, :, 0] - pixels[:, :, 0]).mean() < 6, "WebP of quality 80 is not far from the original"


def test_nothing_is_written_when_nothing_is_wanted(tiles, tmp_path):
    asked = write_sheets(Files(tmp_path), tiles, (0.0, 1.0), with_thumbnails=False, with_originals=False)
    assert asked == (None, None)
    assert list(tmp_path.iterdir()) == []


def test_images_of_two_channels_are_shown_by_their_mean():
    scaled = np.stack([np.zeros((1, 2, 2)), np.ones((1, 2, 2))], axis=1).astype(np.float32)
    assert (shown(scaled, (0.0, 1.0)) == 0.5).all()
