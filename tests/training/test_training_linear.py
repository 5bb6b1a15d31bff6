"""PCA of what a network is shown: variations, the stopping rule, the choice between both kinds."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling
from zatlas.training import linear
from zatlas.training.linear import PcaTrail, SettledPcas, fit_settled_pca, fit_settled_pcas
from zatlas.trust.evaluation import psnr

N, SIDE = 300, 16


def blobs(n: int, seed: int, spread: float) -> np.ndarray:
    """Bright spots near the middle, (n, 1, 16, 16)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE]
    centre = SIDE / 2 + spread * rng.standard_normal((n, 2, 1, 1))
    image = np.exp(-((y - centre[:, 0]) ** 2 + (x - centre[:, 1]) ** 2) / 12)
    return (200 * image[:, None] + 30 * rng.random((n, 1, SIDE, SIDE))).astype(np.uint8)


def tiles_of(arrays: np.ndarray, sampler: str, **settings) -> Tiles:
    names = [str(i) for i in range(len(arrays))]
    h, w = arrays.shape[2:]
    table = pd.DataFrame({"image": names, "group": names, "height": h, "width": w, "channels": 1, "dtype": "uint8"})
    images = Collection(table=table, sources=tuple(map(ArraySource, arrays)), path=Path("blobs"))
    return Tiles(images, size=SIDE, sampler=sampler, **settings)


@pytest.fixture
def still():
    train = tiles_of(blobs(N, 0, 0.3), "whole")
    return train, tiles_of(blobs(100, 1, 0.3), "grid", scaling=train.scaling)


def test_images_that_lie_alike_are_not_moved(still):
    found = fit_settled_pca(*still, 2, seed=0, jitter=0.3)
    assert not found.is_augmented and found.is_settled and found.n_draws == N == found.draws[-1]
    assert found.other_db < found.validation_db[-1]


def test_images_that_lie_anywhere_gain_by_being_moved():
    train = tiles_of(blobs(12, 0, 1.5), "whole")
    validation = tiles_of(blobs(100, 1, 1.5), "grid", scaling=train.scaling)
    found = fit_settled_pca(train, validation, 6, seed=0, jitter=0.2)
    assert found.is_augmented and found.other_db < found.validation_db[-1] - 0.5
    assert found.draws[:2] == (1024, 2048)
    gains = np.diff(found.validation_db)
    assert (gains[:-1] >= 0.02).all() and found.is_settled == (gains[-1] < 0.02)
    first, again, other = (fit_settled_pca(train, None, 6, seed=s, jitter=0.2, most_draws=200) for s in (0, 0, 1))
    np.testing.assert_array_equal(again.pca.components, first.pca.components)
    assert not np.array_equal(other.pca.components, first.pca.components)


def test_draws_end_at_the_most_allowed(still):
    train, validation = still
    found = fit_settled_pca(train, validation, 2, seed=0, jitter=0.3, most_draws=100)
    assert found.n_draws == 100 and not found.is_settled
    found = fit_settled_pca(train, None, 2, seed=0, jitter=0.3, most_draws=1500)
    assert found.n_draws == 1500 and found.is_augmented and np.isnan(found.validation_db).all()
    assert np.isnan(found.other_db)


def test_several_sizes_take_one_fit_that_goes_on_until_none_gains():
    train = tiles_of(blobs(60, 0, 3.0), "whole")
    validation = tiles_of(blobs(100, 1, 3.0), "grid", scaling=train.scaling)
    settings = {"seed": 0, "jitter": 0.2, "most_draws": 10_000}
    found = fit_settled_pcas(train, validation, (100, 2, 6), **settings)
    assert found.sizes == (2, 6, 100)
    trail = found.trails[0]
    assert trail.draws == (1024, 2048, 4096, 8192, 10_000)
    is_settled = np.diff(trail.validation_db, axis=0) < 0.02
    assert is_settled[0].tolist() == [True, False, True], "6 alone went on"
    assert is_settled[2].tolist() == [False, True, True], "2 alone went on"
    x = validation.take(np.arange(100))
    for n in (2, 6, 100):
        one = trail.at(n)
        np.testing.assert_array_equal(one.pca.components, trail.pca.components[:n])
        assert one.validation_db[-1] == pytest.approx(psnr(x, one.pca.reconstruct(x)).mean(), abs=1e-4)
    fewer = fit_settled_pcas(train, validation, (6,), **settings | {"most_draws": 1100})
    more = fewer.looked_at((2, 6), validation, (0.0, 1.0))
    assert more.sizes == (2, 6) and fewer.looked_at((6,), validation, None) is fewer
    before, after = fewer.trails[0].validation_db, more.trails[0].validation_db
    np.testing.assert_array_equal(after[:, 1], before[:, 0])
    assert after[-1, 0] < after[-1, 1] and np.isnan(after[:-1, 0]).all()


def test_each_size_has_the_kind_that_validation_favours(still):
    pca = fit_settled_pca(*still, 2, seed=0).pca
    moved = PcaTrail(pca, True, True, (1, 2), (8, 16), np.array([[1.0, 2.0], [3.0, 6.0]]))
    as_is = PcaTrail(pca, False, True, (1, 2), (9,), np.array([[4.0, 5.0]]))
    found = SettledPcas((moved, as_is))
    assert [found.at(n).is_augmented for n in (1, 2)] == [False, True]
    assert [(found.at(n).validation_db, found.at(n).other_db) for n in (1, 2)] == [((4.0,), 3.0), ((2.0, 6.0), 5.0)]
    assert SettledPcas((moved,)).at(1).n_draws == 16 and np.isnan(SettledPcas((moved,)).at(1).other_db)


def test_progress_rises_to_its_end(still):
    told: list[tuple[int, int]] = []
    train, validation = still
    fit_settled_pcas(
        train, validation, (2,), seed=0, jitter=0.3, most_draws=2000, on_progress=lambda *n: told.append(n)
    )
    done = [n for n, _ in told]
    assert {total for _, total in told} == {2000 + N} and done == sorted(done)
    assert done[-1] == 2000 + N and 64 in done and 2064 in done


def test_tiles_are_turned_and_never_moved(monkeypatch):
    image = np.zeros((1, 1, 60, 60), np.uint8)
    image[0, 0] = np.linspace(0, 255, 60).astype(np.uint8)[:, None]  # brighter downwards, never sideways
    train = tiles_of(image, "by_pixel", augment=True, tiles_per_epoch=500)
    validation = tiles_of(image, "grid", scaling=train.scaling)
    monkeypatch.setattr(linear, "keyed_jitter", None)
    found = fit_settled_pca(train, validation, 3, seed=0, jitter=0.3)
    assert found.is_augmented and found.n_draws >= 2048
    sideways, down = (np.abs(np.diff(found.pca.components.reshape(3, SIDE, SIDE), axis=axis)).sum() for axis in (2, 1))
    assert sideways > 0.5 * down


def test_padding_of_validation_does_not_count(still):
    train, validation = still
    found = fit_settled_pca(train, validation, 2, seed=0)
    small = tiles_of(blobs(100, 1, 0.3)[:, :, :8], "grid", scaling=train.scaling)  # half of each tile is reflected
    batch = small.batch(0, np.arange(100))
    x, mask = batch.x.numpy(), batch.mask.numpy()
    assert mask.mean() == 0.5
    expected = [psnr(x, found.pca.first(n).reconstruct(x), mask).mean() for n in (1, 2)]
    assert linear._validation_db(found.pca, (1, 2), small, (0.0, 1.0)) == pytest.approx(expected, abs=1e-4)


def test_images_on_another_scale_give_the_same_pca():
    arrays = blobs(N, 0, 1.0)
    plain, moved = tiles_of(arrays, "whole"), tiles_of(arrays, "whole", scaling=Scaling("standardise", 40.0, 25.0))
    low, factor = plain.scaling.offset, plain.scaling.factor
    shown = fit_settled_pca(plain, None, 3, seed=0, jitter=0.1, most_draws=1100)
    limits = ((low - 40.0) / 25.0, (low + factor - 40.0) / 25.0)
    found = fit_settled_pca(moved, None, 3, seed=0, jitter=0.1, most_draws=1100, limits=limits)
    np.testing.assert_allclose(np.abs(found.pca.components @ shown.pca.components.T), np.eye(3), atol=1e-2)
    raw = fit_settled_pca(moved, None, 3, seed=0, jitter=0.1, most_draws=1100, limits=None)
    np.testing.assert_allclose(raw.pca.mean * 25 + 40, shown.pca.mean * factor + low, atol=0.1)
