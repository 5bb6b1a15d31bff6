"""Batches: the right pixels, every pixel once, and the same bytes however an epoch is cut up."""

import logging
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.readers.opening import open_images
from zatlas.images.source import ArraySource, DecodedSource
from zatlas.tiles.loader import Tiles, _made_ahead, _reflected
from zatlas.tiles.samplers import Draws
from zatlas.tiles.transforms import Scaling, turned

PLAIN = Scaling("standardise", 0.0, 1.0)
"""A grey scale that leaves pixels as they are."""


def collection(arrays, groups=None) -> Collection:
    shapes = [array.shape for array in arrays]
    table = pd.DataFrame(shapes, columns=["channels", "height", "width"])
    table.insert(0, "image", [f"{row:05d}" for row in range(len(arrays))])
    table.insert(1, "group", groups if groups is not None else [""] * len(arrays))
    table["dtype"] = [array.dtype.name for array in arrays]
    return Collection(table, tuple(ArraySource(array) for array in arrays), Path("made-up"))


def numbered(sizes, channels: int = 1) -> list[np.ndarray]:
    """Images in which no two pixels of one channel have the same value."""
    first, arrays = 1, []
    for height, width in sizes:
        one = np.arange(first, first + height * width, dtype=np.int32).reshape(height, width)
        arrays.append(np.stack([one + 100_000 * channel for channel in range(channels)]))
        first += height * width
    return arrays


def noise(sizes, dtype="uint8", channels=1) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [(rng.random((channels, h, w)) * 250).astype(dtype) for h, w in sizes]


def bounced(position: int, n: int) -> int:
    """Where a walk ends that starts at 0, takes |position| steps and turns round at both ends of n pixels."""
    place, step = 0, 1
    for _ in range(abs(position)):
        if not 0 <= place + step < n:
            step = -step
        place += step if n > 1 else 0
    return place


def cut(array: np.ndarray, y: int, x: int, side: int) -> tuple[np.ndarray, np.ndarray]:
    """A tile and its mask, pixel by pixel."""
    _, height, width = array.shape
    rows, columns = [bounced(y + k, height) for k in range(side)], [bounced(x + k, width) for k in range(side)]
    inside = [[0 <= y + j < height and 0 <= x + k < width for k in range(side)] for j in range(side)]
    return array[:, rows][:, :, columns], np.array(inside, dtype=np.float32)


def epoch_of(tiles: Tiles, epoch: int, batch_size: int, **options) -> tuple[torch.Tensor, ...]:
    batches = list(tiles.batches(epoch, batch_size, **options))
    return tuple(torch.cat([getattr(b, name) for b in batches]) for name in ("x", "mask"))


image_sizes = st.lists(st.tuples(st.integers(1, 14), st.integers(1, 14)), min_size=1, max_size=4)


class TestPixels:
    @settings(deadline=None)
    @given(first=st.integers(-60, 60), side=st.integers(1, 40), n=st.integers(1, 15))
    def test_reflection_is_that_of_a_walk_between_mirrors(self, first, side, n):
        line, result = np.arange(n), np.full(side, -1)
        for place, source in _reflected(first, side, n):
            result[place] = line[source]
        assert result.tolist() == [bounced(first + k, n) for k in range(side)]

    def test_reflection_is_that_of_numpy(self):
        image = noise([(9, 11)])
        tiles = Tiles(collection(image), size=8, scaling=PLAIN)
        padded = np.pad(image[0], ((0, 0), (7, 7), (7, 7)), mode="reflect")
        for y, x in np.ndindex(16, 18):
            pixels = tiles._gathered(Draws(np.array([0]), np.array([y - 7]), np.array([x - 7])))[0]
            assert np.array_equal(pixels[0], padded[:, y : y + 8, x : x + 8])

    @settings(max_examples=40, deadline=None)
    @given(
        sizes=image_sizes,
        side=st.integers(1, 20),
        channels=st.integers(1, 3),
        sampler=st.sampled_from(["by_pixel", "equal", "grid"]),
        dtype=st.sampled_from(["uint8", "uint16", "int16", "float32", "float64", "bool"]),
    )
    def test_are_those_of_the_image_mirrored_at_its_borders(self, sizes, side, channels, sampler, dtype):
        images = noise(sizes, dtype, channels)
        tiles = Tiles(collection(images), size=side, sampler=sampler, scaling=PLAIN)
        batch = tiles.batch(0, np.arange(min(len(tiles), 20)))
        draws = batch.draws
        assert batch.x.shape == (len(batch), channels, side, side)
        assert batch.mask.shape == (len(batch), 1, side, side)
        assert batch.x.dtype == batch.mask.dtype == torch.float32
        for place, row in enumerate(batch.rows):
            pixels, mask = cut(images[row], int(draws.y[place]), int(draws.x[place]), side)
            assert np.array_equal(batch.x[place].numpy(), pixels.astype(np.float32))
            assert np.array_equal(batch.mask[place, 0].numpy(), mask)

    @settings(max_examples=40, deadline=None)
    @given(sizes=image_sizes, side=st.integers(1, 20), augment=st.booleans(), seed=st.integers(0, 2**63 - 1))
    def test_an_epoch_shows_each_pixel_once(self, sizes, side, augment, seed):
        images = numbered(sizes, channels=2)
        tiles = Tiles(collection(images), size=side, seed=seed, augment=augment, scaling=PLAIN)
        for epoch in (0, 1):
            x, mask = epoch_of(tiles, epoch, 7)
            assert len(x) == tiles.epoch_length(epoch)
            seen = x[:, :1][mask == 1]
            n_pixels = sum(height * width for height, width in sizes)
            assert sorted(seen.tolist()) == list(range(1, n_pixels + 1))

    def test_augmented_tiles_are_turned_with_their_mask(self):
        images = numbered([(10, 9), (7, 12)])
        straight = Tiles(collection(images), size=8, seed=3, scaling=PLAIN)
        turning = Tiles(collection(images), size=8, seed=3, scaling=PLAIN, augment=True)
        plain, augmented = (tiles.batch(2, np.arange(straight.epoch_length(2))) for tiles in (straight, turning))
        used = set()
        for place in range(len(plain)):
            matches = [s for s in range(8) if np.array_equal(turned(plain.x[place].numpy(), s), augmented.x[place])]
            matches = [
                s for s in matches if np.array_equal(turned(plain.mask[place].numpy(), s), augmented.mask[place])
            ]
            assert matches
            used.update(matches)
        assert len(used) > 4

    def test_mapped_files_in_either_byte_order_and_layout(self, tmp_path):
        stack = np.random.default_rng(0).integers(0, 60_000, (3, 12, 10, 2)).astype(">u2")
        np.save(tmp_path / "stack.npy", stack)
        mapped = np.load(tmp_path / "stack.npy", mmap_mode="r")
        images = [mapped[row].transpose(2, 0, 1) for row in range(3)]
        tiles = Tiles(collection(images), size=4, sampler="grid", scaling=PLAIN)
        place = tiles.table().query("image_row == 1 and y_px == 4 and x_px == 3").index
        expected = stack[1, 4:8, 3:7].transpose(2, 0, 1).astype(np.float32)
        assert np.array_equal(tiles.take(place)[0], expected)

    def test_images_of_different_number_types_keep_their_values(self):
        images = [np.full((1, 4, 4), 200, np.uint8), np.full((1, 4, 4), 60_000, np.uint16)]
        tiles = Tiles(collection(images), size=4, sampler="whole", scaling=PLAIN)
        batch = tiles.batch(0, np.arange(2))
        assert batch.x[:, 0, 0, 0].tolist() == [[200, 60_000][row] for row in batch.rows]


class TestReproducibility:
    sizes = ((30, 41), (17, 23), (5, 60), (16, 16))

    def tiles(self, sampler: str, **options) -> Tiles:
        sizes = [(16, 16)] * 9 if sampler == "whole" else self.sizes
        groups = ["a", "b", "b"] * 3 if sampler == "whole" else ["a", "b", "b", "c"]
        augment = sampler != "grid"
        return Tiles(collection(noise(sizes), groups), size=16, sampler=sampler, seed=5, augment=augment, **options)

    @pytest.mark.parametrize("sampler", ["whole", "by_pixel", "equal", "grid"])
    def test_batches_do_not_depend_on_size_prefetch_or_start(self, sampler):
        x, mask = epoch_of(self.tiles(sampler), 3, 4, prefetch=0)
        assert len(x) == self.tiles(sampler).epoch_length(3)
        for batch_size, start, prefetch in ((4, 0, 2), (1, 0, 1), (7, 0, 5), (1000, 0, 2), (3, 5, 2), (64, 7, 0)):
            again = epoch_of(self.tiles(sampler), 3, batch_size, start=start, prefetch=prefetch)
            assert torch.equal(again[0], x[start:])
            assert torch.equal(again[1], mask[start:])

    @pytest.mark.parametrize("sampler", ["whole", "by_pixel", "equal"])
    @pytest.mark.parametrize("tiles_per_epoch", [4, 25])
    def test_also_with_a_set_number_of_tiles(self, sampler, tiles_per_epoch):
        x, _ = epoch_of(self.tiles(sampler, tiles_per_epoch=tiles_per_epoch), 2, 3)
        again, _ = epoch_of(self.tiles(sampler, tiles_per_epoch=tiles_per_epoch), 2, 8, start=3)
        assert len(x) == tiles_per_epoch
        assert torch.equal(again, x[3:])

    @pytest.mark.parametrize("sampler", ["whole", "by_pixel", "equal"])
    def test_epochs_and_seeds_differ(self, sampler):
        tiles = self.tiles(sampler)
        other = Tiles(tiles.images, size=16, sampler=sampler, seed=6, augment=True)
        first, *others = (t.batch(e, np.arange(8)).x for t, e in ((tiles, 0), (tiles, 1), (other, 0)))
        assert all(not torch.equal(first, x) for x in others)

    def test_whole_images_are_passed_through_evenly_however_long_an_epoch_is(self):
        images = collection(noise([(8, 8)] * 5))
        tiles = Tiles(images, size=8, sampler="whole", tiles_per_epoch=3)
        rows = np.concatenate([tiles.draws(epoch).image for epoch in range(10)])
        assert all(sorted(rows[first : first + 5]) == list(range(5)) for first in range(0, 30, 5))
        long = Tiles(images, size=8, sampler="whole", tiles_per_epoch=12)
        assert np.array_equal(np.concatenate([long.draws(epoch).image for epoch in (0, 1)])[:20], rows[:20])

    def test_grid_ignores_the_epoch(self):
        tiles = self.tiles("grid")
        assert torch.equal(tiles.batch(0, np.arange(5)).x, tiles.batch(8, np.arange(5)).x)

    def test_no_global_random_state_is_used(self):
        before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
        list(self.tiles("by_pixel").batches(0, 4))
        assert torch.equal(before[0], torch.get_rng_state())
        assert np.array_equal(before[1], np.random.get_state()[1])  # noqa: NPY002


class TestGrid:
    images = collection(noise([(20, 33), (8, 8), (5, 50)]), ["a", "b", "b"])

    def test_table_says_where_tiles_lie(self):
        tiles = Tiles(self.images, size=8, sampler="grid", stride=6)
        table = tiles.table()
        assert table.columns.tolist() == ["image_row", "image", "group", "y_px", "x_px"]
        assert len(table) == len(tiles) == tiles.epoch_length(0)
        assert table.index.equals(pd.RangeIndex(len(tiles)))
        assert set(table["image"]) == set(self.images.table["image"])
        assert (self.images.table["group"].to_numpy()[table["image_row"]] == table["group"]).all()
        batch = tiles.batch(0, np.arange(len(tiles)))
        assert batch.draws.y.tolist() == table["y_px"].tolist()
        assert batch.rows.tolist() == table["image_row"].tolist()

    def test_pixels_are_those_of_the_batches(self):
        tiles = Tiles(collection(noise([(30, 41), (20, 20)])), size=8, augment=True, seed=2)
        assert np.array_equal(tiles.pixels(1, np.arange(9)), tiles.batch(1, np.arange(9)).x.numpy())

    def test_take_gives_the_pixels_of_the_batches(self):
        tiles = Tiles(self.images, size=8, sampler="grid", stride=1)
        assert len(tiles) > 128
        everything = epoch_of(tiles, 0, 50)[0].numpy()
        taken = tiles.take(range(len(tiles)))
        assert taken.dtype == np.float32
        assert np.array_equal(taken, everything)
        assert np.array_equal(tiles.take([5, 0, 5]), everything[[5, 0, 5]])
        assert tiles.take([]).shape == (0, 1, 8, 8)

    def test_subset_keeps_rows_order_and_scale(self):
        tiles = Tiles(self.images, size=8, sampler="grid", stride=4)
        part = tiles.subset([7, 2, 3])
        assert len(part) == 3
        assert len(tiles) > 3
        assert part.table()["x_px"].tolist() == tiles.table()["x_px"].iloc[[7, 2, 3]].tolist()
        assert np.array_equal(part.take([0, 1, 2]), tiles.take([7, 2, 3]))
        assert part.scaling == tiles.scaling
        is_b = (tiles.table()["group"] == "b").to_numpy()
        assert set(tiles.subset(is_b).table()["group"]) == {"b"}
        assert len(part.subset([1])) == 1

    def test_moved_tiles_are_cut_elsewhere_on_the_same_scale(self):
        tiles = Tiles(self.images, size=8, sampler="grid", stride=4)
        part = tiles.subset([0, 3]).moved(np.array([[0, 4], [3, 0]]))
        before, after = (one.table()[["image", "y_px", "x_px"]].to_numpy().tolist() for one in (tiles, part))
        assert after == [[before[0][0], before[0][1], before[0][2] + 4], [before[3][0], before[3][1] + 3, before[3][2]]]
        assert part.scaling == tiles.scaling
        assert tiles.table()[["image", "y_px", "x_px"]].to_numpy().tolist() == before
        assert np.array_equal(part.take([0]), tiles.take([before.index(after[0])]))

    def test_whole_images_are_a_grid_of_one_tile_each(self):
        tiles = Tiles(collection(noise([(8, 8)] * 4)), size=8, sampler="grid")
        assert tiles.table()["image_row"].tolist() == [0, 1, 2, 3]
        assert epoch_of(tiles, 0, 3)[1].min() == 1

    @pytest.mark.parametrize("method", ["table", "subset", "take", "moved"])
    def test_only_a_grid_is_fixed(self, method):
        tiles = Tiles(self.images, size=8)
        with pytest.raises(UsageError, match=f"{method} needs fixed tiles, but these are drawn by sampler 'by_pixel'"):
            given = {"table": [], "moved": [np.zeros((1, 2), np.int64)]}
            getattr(tiles, method)(*given.get(method, [[0]]))


class TestScale:
    def test_is_fitted_to_the_images_when_none_is_given(self):
        images = [np.full((1, 8, 8), value, dtype=np.uint16) for value in (300, 700, 500)]
        tiles = Tiles(collection(images), size=8, sampler="whole")
        assert tiles.scaling == Scaling("minmax", 300.0, 400.0)
        assert sorted(tiles.batch(0, np.arange(3)).x[:, 0, 0, 0].tolist()) == [0, 0.5, 1]

    def test_can_be_named_and_is_then_fitted_to_the_images(self):
        images = noise([(8, 9), (10, 8)], dtype="uint16")
        pixels = np.concatenate([image.ravel() for image in images]).astype(np.float64)
        named = Tiles(collection(images), size=8, scaling="standardise").scaling
        assert (named.kind, named.offset) == ("standardise", pytest.approx(pixels.mean(), rel=1e-12))
        assert named.factor == pytest.approx(pixels.std(), rel=1e-12)
        assert Tiles(collection(images), size=8, scaling="minmax").scaling == Tiles(collection(images), size=8).scaling

    def test_of_another_name_is_refused_in_a_sentence(self):
        """Other types than names: test_own_kinds.py, where annotations are not checked."""
        with pytest.raises(UsageError, match=r"scaling is 'standardize', expected 'minmax' or"):
            Tiles(collection(noise([(8, 8)])), size=8, scaling="standardize")

    def test_of_pixels_without_a_mean_is_refused_by_the_name_of_the_image(self):
        images = [np.ones((1, 8, 8), np.float32), np.full((1, 8, 8), np.nan, np.float32)]
        with pytest.raises(DataError, match="1 holds NaN or infinite pixels\nhint: replace these pixels"):
            Tiles(collection(images), size=8, scaling="standardise")

    def test_pixels_outside_it_are_clipped_with_one_warning(self, caplog):
        tiles = Tiles(collection(noise([(8, 8)] * 6)), size=8, sampler="grid", scaling=Scaling("minmax", 50.0, 100.0))
        with caplog.at_level(logging.WARNING):
            x, _ = epoch_of(tiles, 0, 2)
        assert (x.min(), x.max()) == (0, 1)
        assert [record.getMessage().startswith("grey scale: pixels from") for record in caplog.records] == [True]

    def test_images_of_one_grey_value_are_refused(self):
        with pytest.raises(DataError, match="all training pixels have the same value"):
            Tiles(collection([np.zeros((1, 8, 8), np.uint8)]), size=8)

    def test_share_of_padding_is_logged(self, caplog):
        with caplog.at_level(logging.INFO):
            Tiles(collection(noise([(8, 8)])), size=8, scaling=PLAIN)
        assert "71.6 % of their pixels overhang" in caplog.text


class TestThread:
    def names(self) -> list[str]:
        return [thread.name for thread in threading.enumerate() if thread.name.startswith("zatlas-tiles")]

    def test_ends_with_the_epoch(self):
        tiles = Tiles(collection(noise([(30, 30)])), size=4)
        running = []
        for _ in tiles.batches(0, 2):
            running.append(len(self.names()))
        assert max(running) == 1
        assert self.names() == []

    def test_ends_when_the_iterator_is_closed_early_or_forgotten(self):
        tiles = Tiles(collection(noise([(30, 30)])), size=4)
        batches = tiles.batches(0, 2)
        next(batches)
        assert len(self.names()) == 1
        batches.close()
        assert self.names() == []
        for _ in tiles.batches(0, 2):
            break
        assert self.names() == []

    def test_ends_when_the_consumer_fails(self):
        tiles = Tiles(collection(noise([(30, 30)])), size=4)

        def consume() -> None:
            for _ in tiles.batches(0, 2):
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            consume()
        assert self.names() == []

    @pytest.mark.parametrize("depth", [0, 1, 4])
    def test_exceptions_come_where_the_result_was_due(self, depth):
        def make(key: int) -> int:
            if key == 3:
                raise DataError("damaged")
            return 10 * key

        results = _made_ahead(make, range(6), depth)
        assert [next(results) for _ in range(3)] == [0, 10, 20]
        with pytest.raises(DataError, match="damaged"):
            next(results)
        assert self.names() == []
        assert list(results) == []

    def test_works_no_further_ahead_than_asked(self):
        made = []
        results = _made_ahead(made.append, range(100), 3)
        next(results)
        results.close()
        assert len(made) <= 4

    def test_starts_only_when_a_batch_is_asked_for(self):
        batches = Tiles(collection(noise([(30, 30)])), size=4).batches(0, 2)
        assert self.names() == []
        batches.close()


class TestErrors:
    def test_images_of_another_size_are_no_whole_images(self):
        images = collection(noise([(8, 8), (8, 9), (9, 9)]))
        expected = r"image 00001 is 8 x 9 px, but whole images of 8 x 8 px are expected \(2 of 3 differ\)"
        with pytest.raises(DataError, match=expected) as error:
            Tiles(images, size=8, sampler="whole")
        assert "resized(8, folder)" in error.value.hint

    def test_images_that_are_not_mapped(self):
        images = collection(noise([(8, 8), (8, 8)]))
        decoded = DecodedSource((1, 8, 8), np.dtype(np.uint8), lambda: np.zeros((1, 8, 8), np.uint8))
        mixed = Collection(images.table, (images.sources[0], decoded), Path("made-up"))
        with pytest.raises(DataError, match="1 of 2 images would have to be decoded for every tile") as error:
            Tiles(mixed, size=8)
        assert "packed" in error.value.hint

    def test_no_images(self):
        with pytest.raises(DataError, match="there are no images"):
            Tiles(collection(noise([(8, 8)])).select([]), size=8)

    def test_different_channels(self):
        with pytest.raises(DataError, match="different channels: 1, 3"):
            Tiles(collection(noise([(8, 8)]) + noise([(8, 8)], channels=3)), size=8)

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"size": 8, "sampler": "random"}, "unknown sampler 'random'"),
            ({"size": 0}, "impossible tiles: size 0"),
            ({"size": 8, "stride": -1}, "stride -1"),
            ({"size": 8, "seed": -1}, "seed -1"),
            ({"size": 8, "tiles_per_epoch": -1}, "tiles_per_epoch -1"),
            ({"size": 8, "sampler": "grid", "augment": True}, "neither augmented nor drawn"),
            ({"size": 8, "sampler": "grid", "tiles_per_epoch": 9}, "neither augmented nor drawn"),
        ],
    )
    def test_impossible_settings(self, options, expected):
        with pytest.raises(UsageError, match=expected):
            Tiles(collection(noise([(8, 8)])), **options)

    @pytest.mark.parametrize("options", [{"batch_size": 0}, {"start": -1}, {"prefetch": -1}])
    def test_impossible_batches(self, options):
        tiles = Tiles(collection(noise([(8, 8)])), size=8)
        with pytest.raises(UsageError, match="impossible batches"):
            tiles.batches(0, **{"batch_size": 4, **options})


def test_coverage_by_group():
    images = collection(noise([(20, 33), (8, 8), (15, 50)]), ["a", "b", "b"])
    by_pixel, equal = (Tiles(images, size=8, sampler=sampler) for sampler in ("by_pixel", "equal"))
    table = by_pixel.coverage(3)
    assert table["group"].tolist() == ["a", "b"]
    assert table["realised_pixel_share"].tolist() == pytest.approx(table["pixel_share"].tolist())
    assert by_pixel.effective_pixel_share == 1
    assert equal.coverage()["tile_share"].tolist() == pytest.approx([0.5, 0.5])
    assert equal.effective_pixel_share < 1
    with pytest.raises(UsageError, match="no law for the sampler 'grid'"):
        Tiles(images, size=8, sampler="grid").coverage()


def test_an_opened_file_is_read_where_it_lies(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 12, 20), dtype=np.uint8)
    np.save(tmp_path / "stack.npy", pixels)
    images = open_images(tmp_path / "stack.npy")
    tiles = Tiles(images.packed(tmp_path / "cache"), size=4, sampler="grid", scaling=PLAIN)
    assert not (tmp_path / "cache").exists()
    assert len(tiles) == 5 * 3 * 5
    assert np.array_equal(tiles.take([18])[0, 0], pixels[1, :4, 12:16])


def test_repr_says_what_they_are():
    tiles = Tiles(collection(noise([(8, 8)] * 3)), size=8, sampler="grid")
    assert repr(tiles) == "Tiles(3 images, 1 x 8 x 8 px, sampler grid, 3 tiles)"


def test_real_radiographs(real_data):
    with np.load(real_data / "xray_images.npz") as file:
        pixels = file["images"][:60]
    tiles = Tiles(collection(list(pixels[:, None])), size=128, sampler="whole")
    batch = tiles.batch(0, np.arange(60))
    assert np.array_equal(np.rint(tiles.scaling.invert(batch.x.numpy()))[:, 0], pixels[batch.rows])
    assert batch.mask.min() == 1
