"""What `zatlas inspect` is made of."""

from pathlib import Path

import h5py
import numpy as np

from zatlas.config import SplitConfig
from zatlas.images.inspection import inspection
from zatlas.images.readers.opening import open_images
from zatlas.images.splits import split_collection

RNG = np.random.default_rng(8)


def made(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        for brain in ("B01", "B02", "B05"):
            for k in range(8):
                shape = (50 + int(RNG.integers(0, 50)), 60)
                file[f"{brain}/{k}"] = RNG.integers(0, 256, shape).astype(np.uint8)
        file["B01/copy"] = file["B05/3"][()]
        file["B02/flat"] = np.full((50, 50), 7, np.uint8)
        file["B02/nearly"] = np.full((50, 50), 7, np.uint8)
        file["B02/nearly"][0, 0] = 8
        file["B05/tiny"] = RNG.integers(0, 256, (10, 60)).astype(np.uint8)
    return path


def test_inspection(tmp_path: Path) -> None:
    images = open_images(made(tmp_path / "a.h5"))
    split = split_collection(images, SplitConfig(test_group=("B05",)), 0)
    found = inspection(images, split=split, n_shown=9)
    assert found.groups["images"].tolist() == [9, 10, 9] and found.groups["test"].tolist() == [0, 0, 9]
    assert found.groups["pixel_share"].sum() == 1
    assert found.sizes["group"].tolist() == ["B01", "B02", "B05", "all"]
    assert found.sizes["height_min"].iloc[2] == 10 and found.sizes["width_max"].iloc[3] == 60
    extremes = found.extremes.set_index(["group", "which"])
    assert extremes.loc[("B05", "smallest"), "image"] == "B05/tiny"
    assert images.table["image"][extremes.loc[("B05", "smallest"), "row"]] == "B05/tiny"
    np.testing.assert_allclose(found.histograms[["B01", "B02", "B05", "all"]].sum(), 1)
    shown = images.table["group"].iloc[found.contact_sheet].value_counts()
    assert shown.to_dict() == {"B01": 3, "B02": 3, "B05": 3}
    problems = found.suspicious.set_index("image")["problem"].to_dict()
    assert problems.pop("B05/3") in ("duplicate in train and test", "duplicate in validation and test")
    assert problems == {"B02/flat": "constant", "B02/nearly": "nearly constant", "B05/tiny": "tiny"}
    assert found.holdout in images.groups and found.holdout_why
    assert found.statistics.training is not None


def test_without_groups(tmp_path: Path) -> None:
    np.save(
        tmp_path / "a.npy", np.concatenate([stack := RNG.integers(0, 256, (6, 40, 40)).astype(np.uint8), stack[:1]])
    )
    images = open_images(tmp_path / "a.npy")
    found = inspection(images)
    assert found.groups["group"].tolist() == ["all"] and found.sizes["group"].tolist() == ["all"]
    assert found.contact_sheet.tolist() == list(range(7))
    assert found.suspicious.to_numpy().tolist() == [[6, "00006", "", "duplicate", "same pixels as 00000"]]
    assert found.holdout == "" and "by image" in found.holdout_why
    again = inspection(images, grey=found.statistics)
    assert again.statistics is found.statistics


def test_many_patients(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", RNG.integers(0, 256, (120, 40, 40)).astype(np.uint8))
    rows = "\n".join(f"{k},P{k // 2}" for k in range(120))
    (tmp_path / "l.csv").write_text(f"index,patient\n{rows}\n")
    found = inspection(open_images(tmp_path / "a.npy", labels=tmp_path / "l.csv", group="patient"))
    assert len(found.groups) == 60 and list(found.histograms.columns) == ["from", "to", "all"]
    assert len(found.contact_sheet) == 24
