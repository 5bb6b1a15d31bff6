"""Invariance to shifts of networks that are known to have it, or not."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import Shape
from zatlas.model.own import own_network
from zatlas.results.invariance import measured_invariance, shifted_tiles
from zatlas.results.pictures import View
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import fit_pixel_pca
from zatlas.tiles.transforms import Scaling

SIDE = 16


def ramps(sizes=((40, 60),) * 6, turned=False):
    """Images whose grey says where a pixel lies: brighter downwards, with a level of the image."""
    rng, n = np.random.default_rng(0), len(sizes)
    images = []
    for h, w in sizes:
        level, noise = 0.3 * rng.uniform(), 0.01 * rng.normal(size=(h, w))
        image = 0.2 + level + 0.4 * np.mgrid[:h, :w][0] / 60 + noise
        images.append(image.T if turned else image)
    table = pd.DataFrame({"image": [f"i{k}" for k in range(n)], "group": [f"g{k // 2}" for k in range(n)]})
    table = table.assign(height=[h for h, _ in sizes], width=[w for _, w in sizes], channels=1, dtype="float32")
    sources = tuple(ArraySource(image[None].astype(np.float32)) for image in images)
    collection = Collection(table=table, sources=sources, path=Path("ramps"))
    return Tiles(collection, size=SIDE, sampler="grid", scaling=Scaling("minmax", 0.0, 1.0))


class Reads(nn.Module):
    """Latents that are two pixels of the tile, or twice its mean."""

    def __init__(self, reads_place):
        super().__init__()
        self.reads_place, self.weight = reads_place, nn.Parameter(torch.zeros(1))

    def encode(self, x):
        mean = x[:, 0, 0, :2] if self.reads_place else x.mean(dim=(1, 2, 3))[:, None].expand(-1, 2)
        return mean + self.weight, torch.zeros_like(mean) - 2 + self.weight

    def decode(self, z):
        return z[:, :1, None, None].expand(-1, 1, SIDE, SIDE) + self.weight


def measured(tiles, reads_place):
    network = own_network(Reads(reads_place), Shape(latent_dim=2, channels=1, size=SIDE), Gaussian()).eval()
    pca = fit_pixel_pca(tiles.take(np.arange(len(tiles))), 2)
    return measured_invariance(View(network, tiles), tiles, pca, part="test")


@pytest.fixture(scope="module")
def whole():
    return measured(ramps(), reads_place=False)


def test_a_latent_of_one_pixel_moves_more_than_a_mean(whole):
    one = measured(ramps(), reads_place=True)
    assert [row["px"] for row in whole["shifts"]] == [1, 2, 4]
    for a, b in zip(one["shifts"], whole["shifts"], strict=True):
        assert a["latents"] > b["latents"] > 0
        assert a["pca"] == b["pca"]
        assert len(a["per_dim"]) == 2
        assert b["latents_low"] < b["latents"] < b["latents_high"]


def test_further_shifts_move_further(whole):
    for name in ("latents", "histogram"):
        shares = [row[name] for row in whole["shifts"]]
        assert shares == sorted(shares)
        assert shares[0] < shares[-1]


def test_each_principal_component_weighs_the_same():
    """Without it the first one, the level of an image, would stand for all."""
    tiles = ramps()
    scores = fit_pixel_pca(tiles.take(np.arange(len(tiles))), 6)
    network = own_network(Reads(reads_place=False), Shape(latent_dim=2, channels=1, size=SIDE), Gaussian()).eval()
    one, six = (
        [row["pca"] for row in measured_invariance(View(network, tiles), tiles, pca, part="test")["shifts"]]
        for pca in (scores.first(1), scores)
    )
    assert six[0] > 2 * one[0]


def test_both_axes_count_alike():
    """Of square images that are turned over their diagonal, down is right and right is down."""
    upright, lying = (measured(ramps(((40, 40),) * 6, turned), reads_place=False)["shifts"] for turned in (False, True))
    assert [row["latents"] for row in upright] == pytest.approx([row["latents"] for row in lying], rel=1e-3)


def test_it_says_what_was_measured(whole):
    assert (whole["part"], whole["by"], whole["n_units"], whole["size_px"]) == ("test", "group", 3, SIDE)
    assert whole["n"] <= 128


def test_shifted_tiles_stay_in_their_image_and_move_as_said():
    tiles = ramps(((40, 60), (16, 60), (19, 21), (20, 20), (50, 17)))
    fixed, steps = shifted_tiles(tiles, 4, 100)
    table = fixed.table()
    assert set(table["image"]) == {"i0", "i3"}
    for axis in np.eye(2, dtype=int):
        moved = fixed.moved(4 * steps * axis)
        there = moved.table()
        assert (there[["y_px", "x_px"]].to_numpy() - table[["y_px", "x_px"]].to_numpy() == 4 * steps * axis).all()
        for pixels, row in zip(moved.take(np.arange(len(moved))), there.itertuples(), strict=True):
            cut = np.asarray(tiles.images[row.image_row].read(row.y_px, row.x_px, SIDE, SIDE))
            np.testing.assert_allclose(pixels, cut, atol=1e-6)
    assert {-1, 1} == set(steps.ravel())


def test_tiles_are_bounded_and_spread_over_images():
    fixed, steps = shifted_tiles(ramps(), 4, 10)
    assert len(fixed) == len(steps) == 10
    assert set(fixed.table()["image"]) == {f"i{k}" for k in range(6)}


def test_whole_images_have_no_room():
    assert measured(ramps(((SIDE, SIDE),) * 12), reads_place=False) == {}
