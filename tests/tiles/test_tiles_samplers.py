"""Where tiles lie: exact coverage, chi-square against the law, and draws that depend on nothing but their key."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from zatlas.errors import UsageError
from zatlas.tiles import samplers
from zatlas.tiles.samplers import Draws

RAGGED = np.array([[60, 80], [40, 33], [24, 24], [5, 70]])
image_sizes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=5).map(np.array)
seeds = st.integers(0, 2**63 - 1)


def visits(draws: Draws, sizes, tile: int) -> list[np.ndarray]:
    """How often each pixel of each image lies in a drawn tile."""
    counts = [np.zeros(tuple(size), dtype=np.int64) for size in sizes]
    for image, y, x in zip(draws.image, draws.y, draws.x, strict=True):
        counts[image][max(y, 0) : y + tile, max(x, 0) : x + tile] += 1
    return counts


def expected_visits(corner_probability: list[np.ndarray], tile: int, first: int) -> np.ndarray:
    """Exact expected visits of all pixels; corners run from `first` on, probabilities given for each corner."""
    result = []
    for probability in corner_probability:
        height, width = (np.array(probability.shape) + (tile - 1) + (2 * first if first < 0 else 0)).tolist()
        padded = np.zeros((height, width))
        for y, x in np.ndindex(probability.shape):
            padded[max(y + first, 0) : y + first + tile, max(x + first, 0) : x + first + tile] += probability[y, x]
        result.append(padded.ravel())
    return np.concatenate(result)


def valid_crops(sizes, tile: int, rng: np.random.Generator, n: int) -> Draws:
    """The naive sampler: images in proportion to their area, corners that keep the tile inside the image."""
    area = sizes.prod(axis=1)
    image = rng.choice(len(sizes), n, p=area / area.sum())
    corner = rng.integers(0, sizes[image] - tile + 1)
    return Draws(image, corner[:, 0], corner[:, 1])


def one_pixel_p_value(draws: Draws, sizes, tile: int, rng: np.random.Generator, block: int = 4) -> float:
    """Chi-square of ONE random pixel per tile, counted in blocks, against pixels that are all equally likely.

    Pixels of one tile are correlated, so that whole tiles would make the test invalid. Pixels in the padding count
    for nothing, as in the loss.
    """
    y, x = draws.y + rng.integers(0, tile, len(draws)), draws.x + rng.integers(0, tile, len(draws))
    size = sizes[draws.image]
    is_real = (y >= 0) & (x >= 0) & (y < size[:, 0]) & (x < size[:, 1])
    observed, expected = [], []
    for image, (height, width) in enumerate(sizes):
        chosen = is_real & (draws.image == image)
        shape = (-(-height // block), -(-width // block))
        cells = np.ravel_multi_index((y[chosen] // block, x[chosen] // block), shape)
        observed.append(np.bincount(cells, minlength=math.prod(shape)))
        rows = np.bincount(np.arange(height) // block)
        expected.append(np.outer(rows, np.bincount(np.arange(width) // block)).ravel())
    observed, expected = np.concatenate(observed), np.concatenate(expected)
    return float(chisquare(observed, expected * observed.sum() / expected.sum()).pvalue)


def all_words(*bounds: int) -> np.ndarray:
    """Every combination of random words below the bounds, each once."""
    return np.array(list(itertools.product(*map(range, bounds))), dtype=np.uint64)


class TestByPixel:
    def test_exact_coverage_is_flat_for_every_random_word(self):
        sizes, tile = np.array([[3, 4], [1, 1], [4, 2]]), 3
        extent = sizes + tile - 1
        bounds = [int(extent.prod(axis=1).sum()), 1, math.lcm(*extent[:, 0]), math.lcm(*extent[:, 1])]
        draws = samplers._placed_by_pixel(sizes, tile, all_words(*bounds))
        counts = np.concatenate([count.ravel() for count in visits(draws, sizes, tile)])
        assert counts.max() == counts.min() == tile**2 * math.prod(bounds) // bounds[0]

    def test_coverage_computed_from_the_law_is_one_and_that_of_valid_crops_is_not(self):
        tile = 16
        sizes = RAGGED[:3]
        corners = (sizes + tile - 1).prod(axis=1)
        law = [np.full(size + tile - 1, 1 / corners.sum()) for size in sizes]
        flat = expected_visits(law, tile, first=1 - tile)
        assert flat.size == sizes.prod(axis=1).sum()
        assert flat.max() / flat.min() == pytest.approx(1, abs=1e-12)
        area = sizes.prod(axis=1) / sizes.prod(axis=1).sum()
        naive = [np.full(size - tile + 1, p / (size - tile + 1).prod()) for p, size in zip(area, sizes, strict=True)]
        uneven = expected_visits(naive, tile, first=0)
        assert uneven.max() / uneven.min() > tile**2 / 2

    def test_one_pixel_per_tile_follows_the_law(self):
        p_values = []
        for seed in range(20):
            draws = samplers.by_pixel_independent(RAGGED, 16, seed, 0, np.arange(40_000))
            p_values.append(one_pixel_p_value(draws, RAGGED, 16, np.random.default_rng(seed)))
        assert min(p_values) > 0.001
        assert np.mean(np.array(p_values) < 0.05) <= 0.2

    def test_the_same_test_rejects_valid_crops_each_time(self):
        sizes = RAGGED[:3]
        for seed in range(20):
            rng = np.random.default_rng(seed)
            assert one_pixel_p_value(valid_crops(sizes, 16, rng, 40_000), sizes, 16, rng) < 1e-10
            ours = samplers.by_pixel_independent(sizes, 16, seed, 0, np.arange(40_000))
            assert one_pixel_p_value(ours, sizes, 16, rng) > 0.001

    def test_the_same_test_rejects_extended_corners_with_images_by_area(self):
        rng = np.random.default_rng(0)
        area = RAGGED.prod(axis=1)
        image = rng.choice(len(RAGGED), 40_000, p=area / area.sum())
        corner = rng.integers(-15, RAGGED[image])
        assert one_pixel_p_value(Draws(image, corner[:, 0], corner[:, 1]), RAGGED, 16, rng) < 1e-10

    @settings(deadline=None)
    @given(sizes=image_sizes, tile=st.integers(1, 50), seed=seeds, epoch=st.integers(0, 1000))
    def test_a_draw_depends_on_its_index_alone(self, sizes, tile, seed, epoch):
        together = samplers.by_pixel_independent(sizes, tile, seed, epoch, np.arange(30))
        alone = samplers.by_pixel_independent(sizes, tile, seed, epoch, np.array([17]))
        assert (together.image[17], together.y[17], together.x[17]) == (alone.image[0], alone.y[0], alone.x[0])


class TestByPixelEpoch:
    @settings(max_examples=60, deadline=None)
    @given(sizes=image_sizes, tile=st.integers(1, 50), seed=seeds, epoch=st.integers(0, 1000))
    def test_every_pixel_exactly_once(self, sizes, tile, seed, epoch):
        draws = samplers.by_pixel_epoch(sizes, tile, seed, epoch)
        assert all((count == 1).all() for count in visits(draws, sizes, tile))
        assert len(draws) == samplers.by_pixel_epoch_length(sizes, tile, seed, epoch)

    def test_over_all_phases_each_corner_is_used_once(self):
        sizes, tile = np.array([[3, 7]]), 4
        corners = []
        for phase in np.ndindex(tile, tile):
            first, counts = samplers._phased_grid(sizes, tile, np.array([phase]))
            rows, columns = (first[0, axis] + tile * np.arange(counts[0, axis]) for axis in (0, 1))
            corners += list(itertools.product(rows.tolist(), columns.tolist()))
        assert sorted(corners) == list(itertools.product(range(1 - tile, 3), range(1 - tile, 7)))

    def test_phases_are_uniform_and_new_in_each_epoch(self):
        tile = 4
        phases = np.concatenate([samplers._phases(50, tile, 3, epoch) for epoch in range(40)])
        observed = np.bincount(phases[:, 0] * tile + phases[:, 1], minlength=tile**2)
        assert chisquare(observed).pvalue > 0.001

    def test_one_pixel_per_tile_follows_the_law(self):
        epochs = [samplers.by_pixel_epoch(RAGGED, 16, 5, epoch) for epoch in range(600)]
        draws = Draws(*(np.concatenate([getattr(e, name) for e in epochs]) for name in ("image", "y", "x")))
        assert one_pixel_p_value(draws, RAGGED, 16, np.random.default_rng(0)) > 0.001

    def test_mean_length_is_that_of_tiles_covering(self):
        lengths = [samplers.by_pixel_epoch_length(RAGGED, 16, 0, epoch) for epoch in range(2000)]
        expected = (RAGGED + 15).prod(axis=1).sum() / 16**2
        assert np.mean(lengths) == pytest.approx(expected, abs=4 * np.std(lengths) / math.sqrt(2000))
        assert samplers.tiles_covering(RAGGED, 16) == math.ceil(expected)

    def test_is_shuffled_across_images_and_anew_in_each_epoch(self):
        sizes = np.array([[64, 64]] * 20)
        first, second = (samplers.by_pixel_epoch(sizes, 16, 0, epoch) for epoch in (0, 1))
        head = first.image[: len(first) // 4]
        assert len(np.unique(head)) == 20
        assert abs(np.corrcoef(np.arange(len(first)), first.image)[0, 1]) < 0.2
        n = min(len(first), len(second))
        assert not np.array_equal(first.image[:n], second.image[:n])


class TestEqual:
    groups = np.array(["B", "A", "B", "B"])

    def test_law_by_enumeration(self):
        sizes, tile = np.array([[2, 3], [1, 1], [3, 1], [2, 2]]), 2
        extent = sizes + tile - 1
        words = all_words(2, 3, math.lcm(*extent[:, 0]), math.lcm(*extent[:, 1]))
        draws = samplers._placed_equally(sizes, self.groups, tile, words)
        share = np.bincount(draws.image) / len(draws)
        assert share == pytest.approx([1 / 6, 1 / 2, 1 / 6, 1 / 6])
        for count in visits(draws, sizes, tile):
            assert count.max() == count.min() > 0

    def test_groups_then_images_are_drawn_equally(self):
        draws = samplers.equal(RAGGED, self.groups, 16, 1, 0, np.arange(30_000))
        is_a = np.bincount(draws.image == 1)
        assert chisquare(is_a).pvalue > 0.001
        assert chisquare(np.bincount(draws.image)[[0, 2, 3]]).pvalue > 0.001

    def test_rejects_draws_by_image(self):
        image = np.random.default_rng(0).integers(0, 4, 30_000)
        assert chisquare(np.bincount(image == 1)).pvalue < 1e-10

    def test_pixels_of_one_image_follow_the_law(self):
        draws = samplers.equal(RAGGED, self.groups, 16, 2, 0, np.arange(60_000))
        for image in range(4):
            part = draws.take(np.flatnonzero(draws.image == image))
            alone = Draws(np.zeros_like(part.image), part.y, part.x)
            sizes = RAGGED[[image]]
            assert one_pixel_p_value(alone, sizes, 16, np.random.default_rng(image)) > 0.001

    def test_without_groups_images_are_drawn_equally(self):
        draws = samplers.equal(RAGGED, np.array([""] * 4), 16, 1, 0, np.arange(20_000))
        assert chisquare(np.bincount(draws.image)).pvalue > 0.001


class TestWhole:
    @settings(deadline=None)
    @given(n=st.integers(1, 50), seed=seeds, epoch=st.integers(0, 1000))
    def test_each_image_once(self, n, seed, epoch):
        draws = samplers.whole(n, seed, epoch)
        assert sorted(draws.image) == list(range(n))
        assert not draws.y.any()
        assert not draws.x.any()

    def test_orders_are_equally_likely(self):
        orders = [tuple(samplers.whole(4, 9, epoch).image) for epoch in range(2400)]
        observed = [orders.count(order) for order in itertools.permutations(range(4))]
        assert sum(observed) == 2400
        assert chisquare(observed).pvalue > 0.001


class TestGrid:
    @settings(max_examples=60, deadline=None)
    @given(sizes=image_sizes, tile=st.integers(1, 50), stride=st.integers(1, 60))
    def test_runs_evenly_from_edge_to_edge(self, sizes, tile, stride):
        draws = samplers.grid(sizes, tile, stride)
        for image, size in enumerate(sizes):
            part = draws.image == image
            axes = [np.unique(corner[part]) for corner in (draws.y, draws.x)]
            assert part.sum() == axes[0].size * axes[1].size
            for corners, side in zip(axes, size, strict=True):
                if side <= tile:
                    assert corners.tolist() == [(side - tile) // 2]
                else:
                    assert corners[0] == 0
                    assert corners[-1] == side - tile
                    assert np.diff(corners).max() <= stride
                    assert np.ptp(np.diff(corners)) <= 1

    def test_order_is_image_by_image_and_row_by_row(self):
        draws = samplers.grid(np.array([[8, 8], [4, 6]]), 4, 4)
        assert draws.image.tolist() == [0, 0, 0, 0, 1, 1]
        assert draws.y.tolist() == [0, 0, 4, 4, 0, 0]
        assert draws.x.tolist() == [0, 4, 0, 4, 0, 2]


class TestCoverage:
    groups = np.array(["B", "A", "B", ""])

    def test_by_pixel_gives_each_group_its_share_of_the_pixels(self):
        draws = samplers.by_pixel_epoch(RAGGED, 16, 0, 0)
        table = samplers.coverage(RAGGED, self.groups, 16, "by_pixel", draws)
        assert table["group"].tolist() == ["", "A", "B"]
        assert table["images"].tolist() == [1, 1, 2]
        assert table["pixel_weight"].to_numpy() == pytest.approx(1)
        assert table["pixel_share"].to_numpy() == pytest.approx(table["realised_pixel_share"].to_numpy())
        assert samplers.effective_pixel_share(RAGGED, self.groups, 16, "by_pixel") == 1

    def test_equal_gives_each_group_the_same_share_of_the_tiles(self):
        draws = samplers.equal(RAGGED, self.groups, 16, 0, 0, np.arange(20_000))
        table = samplers.coverage(RAGGED, self.groups, 16, "equal", draws)
        assert table["tile_share"].to_numpy() == pytest.approx(1 / 3)
        assert table["realised_tile_share"].to_numpy() == pytest.approx(1 / 3, abs=0.02)
        assert table["realised_pixel_share"].to_numpy() == pytest.approx(table["pixel_share"].to_numpy(), abs=0.02)
        assert 0 < samplers.effective_pixel_share(RAGGED, self.groups, 16, "equal") < 0.9

    def test_whole_gives_each_group_its_share_of_the_images(self):
        sizes = np.array([[8, 8]] * 4)
        table = samplers.coverage(sizes, self.groups, 8, "whole", samplers.whole(4, 0, 0))
        for column in ("tile_share", "pixel_share", "realised_tile_share", "realised_pixel_share"):
            assert table[column].tolist() == [0.25, 0.25, 0.5]
        assert samplers.effective_pixel_share(sizes, self.groups, 8, "whole") == 1

    def test_shares_sum_to_one(self):
        for sampler in ("by_pixel", "equal", "whole"):
            table = samplers.coverage(RAGGED, self.groups, 16, sampler)
            assert table["tile_share"].sum() == pytest.approx(1)
            assert table["pixel_share"].sum() == pytest.approx(1)

    def test_unknown_sampler(self):
        with pytest.raises(UsageError, match="no law for the sampler 'grid'"):
            samplers.coverage(RAGGED, self.groups, 16, "grid")
