"""Statistics against NumPy on all pixels at once, whatever the sizes, types and blocks."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.errors import DataError
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.images.statistics import Statistics, grey_level_outliers, statistics


def collection(images: list[np.ndarray], groups: list[str] | None = None) -> Collection:
    shapes = [image.shape for image in images]
    table = pd.DataFrame(
        {
            "image": [f"{k:05d}" for k in range(len(images))],
            "group": groups or [""] * len(images),
            "height": [shape[1] for shape in shapes],
            "width": [shape[2] for shape in shapes],
            "channels": [shape[0] for shape in shapes],
            "dtype": [image.dtype.name for image in images],
        }
    )
    return Collection(table, tuple(ArraySource(image) for image in images), Path("memory"))


def random_images(data: st.DataObject, dtype: str) -> list[np.ndarray]:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    images = []
    for _ in range(data.draw(st.integers(1, 6))):
        shape = (data.draw(st.integers(1, 3)), data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)))
        values = rng.normal(
            data.draw(st.floats(-1e4, 1e4)),
            data.draw(st.floats(0, 3e3).filter(lambda sd: sd == 0 or sd > 1e-100)),
            shape,
        )
        limits = np.iinfo(dtype) if dtype[0] in "ui" else None
        images.append((np.clip(values, limits.min, limits.max) if limits else values).astype(dtype))
    return images


@settings(max_examples=80, deadline=None)
@given(st.data(), st.sampled_from(["uint8", "uint16", "int16", "int32", "float32", "float64"]))
def test_pooled_numbers_are_those_of_numpy(data: st.DataObject, dtype: str) -> None:
    images = random_images(data, dtype)
    groups = [data.draw(st.sampled_from(["A", "B"])) for _ in images]
    training = [k for k in range(len(images)) if data.draw(st.booleans())]
    found = statistics(collection(images, groups), training)

    def check(summary: object, chosen: list[np.ndarray]) -> None:
        values = np.concatenate([image.ravel() for image in chosen]).astype(np.longdouble)
        assert isinstance(summary, dict)
        assert summary["min"] == values.min() and summary["max"] == values.max() and summary["count"] == values.size
        scale = float(np.abs(values).max()) + 1e-300
        assert summary["mean"] == pytest.approx(float(values.mean()), rel=1e-12, abs=1e-12 * scale)
        assert summary["std"] == pytest.approx(float(values.std()), rel=1e-9, abs=1e-9 * scale)
        counts, edges = np.array(summary["histogram"]["counts"]), np.array(summary["histogram"]["edges"])
        assert len(counts) <= 256 and len(edges) == len(counts) + 1 and (np.diff(edges) > 0).all()
        expected = [int(((values >= a) & (values < b)).sum()) for a, b in itertools.pairwise(edges)]
        np.testing.assert_array_equal(counts, expected)

    check(found.total, images)
    for name, summary in found.groups.items():
        check(summary, [image for image, group in zip(images, groups, strict=True) if group == name])
    if training:
        check(found.training, [images[k] for k in training])
    else:
        assert found.training is None
    np.testing.assert_allclose(found.images["mean"], [image.mean(dtype=np.float64) for image in images], rtol=1e-9)


def test_deviation_is_pooled_not_the_mean_of_deviations() -> None:
    rng = np.random.default_rng(0)
    images = [np.clip(rng.normal(level, 10, (1, 50, 50)), 0, 255).astype(np.uint8) for level in (60, 120, 200)]
    found = statistics(collection(images))
    assert found.total["std"] == pytest.approx(np.stack(images).std(), rel=1e-12)
    assert found.total["std"] > 5 * np.mean([image.std() for image in images])


def test_many_images_take_little_memory() -> None:
    rng = np.random.default_rng(0)
    images = collection([rng.integers(0, 256, (1, 16, 16)).astype(np.uint8) for _ in range(300)])
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        statistics(images)
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert peak / len(images) < 2000, "a histogram of each image would take ten times as much"


def test_eight_bits_have_a_bin_per_value() -> None:
    image = np.arange(10, 200, dtype=np.uint8).reshape(1, 10, 19)
    histogram = statistics(collection([image])).total["histogram"]
    assert histogram["edges"] == list(range(257))
    assert histogram["counts"] == [0] * 10 + [1] * 190 + [0] * 56


def test_whole_numbers_are_exact_and_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    images = [rng.integers(0, 65536, (2, 91, 53)).astype(np.uint16) for _ in range(4)]
    whole = statistics(collection(images))
    monkeypatch.setattr("zatlas.images.resizing._BLOCK_VALUES", 700)
    blocks = statistics(collection(images))
    for name in ("min", "max", "count", "histogram"):
        assert whole.total[name] == blocks.total[name]  # type: ignore[literal-required]
    values = np.stack(images).astype(object)
    n, total, squares = values.size, int(values.sum()), int((values * values).sum())
    assert blocks.total["mean"] == pytest.approx(total / n, rel=1e-15)
    assert blocks.total["std"] == pytest.approx(((n * squares - total**2) / n**2) ** 0.5, rel=1e-14)


@pytest.mark.parametrize(("scale", "level"), [(1e-30, 0.0), (1.0, 1e15), (1e12, -1e12), (0.0, 0.0), (0.0, 0.3)])
def test_extreme_ranges(scale: float, level: float) -> None:
    rng = np.random.default_rng(2)
    images = [(rng.random((1, 30, 30)) * scale + level).astype(np.float64) for _ in range(3)]
    found = statistics(collection(images)).total
    values = np.stack(images)
    assert found["min"] == values.min() and found["max"] == values.max()
    assert found["std"] == pytest.approx(values.std(), rel=1e-6, abs=1e-12 * abs(level))
    assert sum(found["histogram"]["counts"]) == values.size


def test_saved_and_loaded(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    images = [rng.integers(0, 256, (1, 9, 9)).astype(np.uint8) for _ in range(4)]
    found = statistics(collection(images, ["A", "A", "B", "B"]), np.array([True, True, False, False]))
    found.save(tmp_path / "stats.json")
    again = Statistics.load(tmp_path / "stats.json")
    assert (again.total, again.groups, again.training) == (found.total, found.groups, found.training)
    pd.testing.assert_frame_equal(again.images, found.images)
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(DataError, match=r"other.json is not a table of statistics"):
        Statistics.load(tmp_path / "other.json")


def test_not_finite_and_nothing() -> None:
    with pytest.raises(DataError, match="00001 holds NaN or infinite pixels"):
        statistics(collection([np.zeros((1, 3, 3)), np.full((1, 3, 3), np.nan)]))
    with pytest.raises(DataError, match="no images"):
        statistics(collection([np.zeros((1, 3, 3))]).select([]))


def test_grey_level_outliers() -> None:
    rng = np.random.default_rng(5)

    def brain(level: float) -> list[np.ndarray]:
        return [rng.normal(level + rng.normal(0, 5), 30, (1, 20, 20)).astype(np.float32) for _ in range(8)]

    images = [image for level in (150, 152, 200, 149) for image in brain(level)]
    groups = [name for name in ("B01", "B02", "B05", "B07") for _ in range(8)]
    assert grey_level_outliers(statistics(collection(images, groups))) == ["B05"]
    assert grey_level_outliers(statistics(collection(images))) == []


def test_many_groups_stay_small(tmp_path: Path) -> None:
    images = [np.full((1, 4, 4), k, np.uint8) for k in range(120)]
    found = statistics(collection(images, [f"P{k:03d}" for k in range(120)]))
    found.save(tmp_path / "stats.json")
    assert (tmp_path / "stats.json").stat().st_size < 200_000
    assert grey_level_outliers(found) == []


def test_published_convention(real_data: Path) -> None:
    from zatlas.images.readers.opening import open_images

    images = open_images(real_data / "xray_images.npz").select(np.arange(64))
    found = statistics(images).total
    with np.load(real_data / "xray_images.npz") as archive:
        values = archive["images"][:64]
    assert found["mean"] == pytest.approx(values.mean(dtype=np.float64), rel=1e-13)
    assert found["std"] == pytest.approx(values.std(dtype=np.float64), rel=1e-12)
