"""Splits: no group in two parts, no part empty, same seed same parts, and leaks named."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.config import SplitConfig
from zatlas.errors import DataError, UsageError
from zatlas.images.collection import Collection
from zatlas.images.readers.opening import open_images
from zatlas.images.source import ArraySource
from zatlas.images.splits import PARTS, patient_like_columns, split_collection, suggest_holdout


def collection(groups: list[str], sizes: list[tuple[int, int]] | None = None, **labels: list[object]) -> Collection:
    n = len(groups)
    sizes = sizes or [(10, 10)] * n
    table = pd.DataFrame(
        {
            "image": [f"{k:05d}" for k in range(n)],
            "group": groups,
            "height": [size[0] for size in sizes],
            "width": [size[1] for size in sizes],
            "channels": 1,
            "dtype": "uint8",
            **labels,
        }
    )
    pixel = np.zeros((1, 1, 1), np.uint8)
    return Collection(table, tuple(ArraySource(pixel) for _ in range(n)), Path("memory"))


@settings(max_examples=120, deadline=None)
@given(st.data())
def test_laws(data: st.DataObject) -> None:
    n_groups = data.draw(st.integers(0, 30))
    names = [f"G{k}" for k in range(n_groups)] or [""]
    counts = [data.draw(st.integers(1, 12)) for _ in names]
    groups = [name for name, count in zip(names, counts, strict=True) for _ in range(count)]
    fraction, seed = data.draw(st.floats(0.05, 0.6)), data.draw(st.integers(0, 1000))
    if len(groups) < 4:
        groups += [groups[0]] * 4
    images, config = collection(groups), SplitConfig(test_fraction=fraction)
    try:
        split = split_collection(images, config, seed)
    except DataError as err:
        assert "only 1 image is left to train with" in str(err)
        return
    assert set(split.part) == set(PARTS)
    assert sorted(np.concatenate([split.rows(part) for part in PARTS])) == list(range(len(groups)))
    np.testing.assert_array_equal(split.part, split_collection(images, config, seed).part)
    group = np.array(groups)
    if split.by == "groups":
        assert not set(group[split.rows("test")]) & set(group[split.part != "test"])
        largest = max(np.unique(group, return_counts=True)[1])
        assert abs((split.part == "test").sum() - fraction * len(group)) <= largest
        if len(set(group[split.part != "test"])) >= 10:
            assert not set(group[split.rows("validation")]) & set(group[split.rows("train")])
            assert split.reason.endswith("(whole groups)")
    else:
        assert len(set(groups)) == 1 and abs((split.part == "test").sum() - fraction * len(group)) <= 1.5


def test_seeds_differ() -> None:
    images = collection([""] * 200)
    parts = [split_collection(images, SplitConfig(), seed).part for seed in (0, 1)]
    assert (parts[0] != parts[1]).any()
    assert [(parts[0] == part).sum() for part in PARTS] == [144, 16, 40]


def test_groups_by_name() -> None:
    images = collection([f"B0{k % 4}" for k in range(40)])
    split = split_collection(images, SplitConfig(test_group=("B02", "B01")), 0)
    assert split.by == "group names" and set(images.table["group"][split.rows("test")]) == {"B01", "B02"}
    assert split.reason == (
        "2 of 4 groups (B01, B02) held out for testing, as asked: 20 of 40 images (50%); "
        "2 images for choosing the epoch (images of the 2 training groups)"
    )


def test_errors() -> None:
    images = collection(["B01", "B02", "B20"] * 5)
    with pytest.raises(UsageError, match="no group 'B2' to hold out; the groups are B01, B02, B20") as caught:
        split_collection(images, SplitConfig(test_group=("B2",)), 0)
    assert caught.value.hint.startswith("did you mean --test-group B")
    with pytest.raises(UsageError, match="all 3 groups are held out"):
        split_collection(images, SplitConfig(test_group=("B01", "B02", "B20")), 0)
    with pytest.raises(UsageError, match="the images have no groups"):
        split_collection(collection([""] * 9), SplitConfig(test_group=("B01",)), 0)
    with pytest.raises(DataError, match="there are 2 images, but a split needs at least 3"):
        split_collection(collection([""] * 2), SplitConfig(), 0)
    with pytest.raises(DataError, match="there is 1 image, but"):
        split_collection(collection([""]), SplitConfig(), 0)
    with pytest.raises(DataError, match="only 1 image is left to train with"):
        split_collection(collection(["A", "B", "B"]), SplitConfig(test_group=("B",)), 0)
    with pytest.raises(UsageError, match="--test-fraction is 0"):
        split_collection(images, SplitConfig(test_fraction=0), 0)
    with pytest.raises(ValueError, match="part is 'dev'"):
        split_collection(images, SplitConfig(), 0).rows("dev")
    assert split_collection(images, SplitConfig(test_fraction=0, test_group=("B01",)), 0).by == "group names"


def test_fewest_images() -> None:
    split = split_collection(collection([""] * 3), SplitConfig(test_fraction=0.9), 0)
    assert sorted(split.part) == ["test", "train", "validation"]
    alone = split_collection(collection(["B01"] * 10), SplitConfig(), 0)
    assert alone.by == "images" and "there is only one group, B01" in alone.reason


def test_what_looks_like_patients() -> None:
    n = 600
    rng = np.random.default_rng(0)
    labels = {
        "patient": [f"P{k // 2}" for k in range(n)],
        "Subject ID": [k // 3 for k in range(n)],
        "caseNumber": [k // 3 for k in range(n)],
        "origin": [f"site {k // 4}" for k in range(n)],
        "label": ["ill", "well"] * (n // 2),
        "label_width": rng.integers(200, 500, n).tolist(),
        "age": rng.integers(1, 90, n).tolist(),
        "patient_age": rng.integers(1, 90, n).tolist(),
        "brain_area": ["cortex", "striatum"] * (n // 2),
        "file_name": [f"{k}.png" for k in range(n)],
        "serial": list(range(n)),
        "score": rng.random(n).tolist(),
    }
    images = collection([""] * n, **labels)
    assert patient_like_columns(images.table, images.labels) == ["patient", "Subject ID", "caseNumber", "origin"]


def test_leaks_are_named(caplog: pytest.LogCaptureFixture) -> None:
    images = collection([""] * 100, patient=[f"P{k // 4:02d}" for k in range(100)])
    split = split_collection(images, SplitConfig(), 0)
    assert len(split.warnings) == 1
    assert "column 'patient' looks like patients" in split.warnings[0]
    assert "--group patient keeps them apart" in split.warnings[0]
    assert "split: column 'patient' looks like patients" in caplog.text
    grouped = collection([f"P{k // 4:02d}" for k in range(100)], patient=[f"P{k // 4:02d}" for k in range(100)])
    assert split_collection(grouped, SplitConfig(), 0).warnings == ()


def test_suggestion_prefers_alike_and_cheap() -> None:
    rng = np.random.default_rng(0)
    groups, sizes = [], []
    for name, n, low, high in (
        ("B01", 60, 400, 900),
        ("B02", 20, 400, 900),
        ("B05", 20, 1500, 2000),
        ("B07", 2, 400, 900),
    ):
        groups += [name] * n
        sizes += [(int(a), int(b)) for a, b in rng.integers(low, high, (n, 2))]
    name, why, table = suggest_holdout(collection(groups, sizes))
    assert name == "B02"
    assert why.startswith("B02 costs ") and "20 of 102 images" in why and "Kolmogorov-Smirnov" in why
    assert table["group"].tolist()[0] == "B02" and not table.set_index("group").loc["B07", "is_eligible"]
    assert suggest_holdout(collection([""] * 5))[0] == ""
    assert "there are 60 groups" in suggest_holdout(collection([f"P{k}" for k in range(60)]))[1]


def test_distance_is_that_of_scipy() -> None:
    from scipy.stats import ks_2samp

    from zatlas.images.splits import _ks_distance

    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = rng.integers(0, 30, 25), rng.integers(5, 40, 40)
        assert _ks_distance(a, b) == pytest.approx(ks_2samp(a, b).statistic)


def test_real_radiographs(real_data: Path) -> None:
    path, labels = real_data / "xray_images.npz", real_data / "xray_labels.csv"
    images = open_images(path, labels=labels, group="patient")
    split = split_collection(images, SplitConfig(), 0)
    patients = [set(images.table["patient"].iloc[split.rows(part)]) for part in PARTS]
    assert not patients[0] & patients[1] and not patients[0] & patients[2] and not patients[1] & patients[2]
    assert split.warnings == ()
    shares = [len(split.rows(part)) / len(images) for part in PARTS]
    np.testing.assert_allclose(shares, [0.72, 0.08, 0.2], atol=0.002)
    by_image = split_collection(open_images(path, labels=labels), SplitConfig(), 0)
    assert len(by_image.warnings) == 1 and "column 'patient'" in by_image.warnings[0]


def test_real_sections(real_data: Path) -> None:
    images = open_images(real_data / "cell_data.h5")
    split = split_collection(images, SplitConfig(test_group=("HE_C4",)), 0)
    assert len(split.warnings) == 1
    assert "'patient' looks like patients, and 1 value of it (HER2_C) is in both" in split.warnings[0]
    assert "13 of 13 test images" in split.warnings[0]
    name, why, _ = suggest_holdout(images)
    assert name in images.groups and "shares a patient with" in why
    apart = split_collection(images, SplitConfig(test_group=("DAB_M2568",)), 0)
    assert apart.warnings == ()


def test_a_single_image_or_group_that_chooses_the_epoch_is_warned_about() -> None:
    def few(groups: list[str], fraction: float = 0.1) -> list[str]:
        split = split_collection(collection(groups), SplitConfig(validation_fraction=fraction), 0)
        return [text for text in split.warnings if "best epoch" in text]

    (single,) = few([""] * 10)
    assert "by a single image" in single
    assert few([""] * 40) == []
    groups = [f"G{k:02d}" for k in range(14) for _ in range(3)]
    (group,) = few(groups)
    assert "3 images of one group, G" in group and "--validation-fraction takes more" in group
    assert few(groups, 0.3) == []
    assert few(["the only one"] * 40) == [], "there is no other group that it could be unlike"
