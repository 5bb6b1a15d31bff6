"""What the bundle says of the study as a whole, and what it does not give away."""

import numpy as np
import pytest
from example_results import example_results

from zatlas.explorer.bundle.facts import base_name, comparison, is_synthetic, privacy, run, title
from zatlas.explorer.bundle.writing import _measured_limits
from zatlas.tiles.greys import known_grey_limits
from zatlas.tiles.transforms import Scaling


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("zatlas", "zatlas"), ("/home/anna/data/cells/", "cells"), ("C:\\Users\\Anna\\x.h5", "x.h5"),
        ("-o=/srv/out", "-o=out"), ("--beta=0.5", "--beta=0.5"), ("/", "/"), ("", ""), ("../a=b/c.csv", "c.csv"),
    ],
)  # fmt: skip
def test_paths_are_reduced_to_their_last_part(word, expected):
    assert base_name(word) == expected


def test_run_does_not_name_the_home_folder(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    results = example_results()
    results.provenance = {
        "command": ["zatlas", "study", "/home/anna/x.h5"], "seed": 3,
        "training": {"z4": {"choices": {"device": {"reason": "found in /home/anna/cuda"}}}, "z99": {}},
    }  # fmt: skip
    results.config = {"data": {"input": "../../home/anna/x.h5", "labels": ""}, "title": "\ud800"}
    found = run(results, ["z4"])
    assert found["command"] == ["zatlas", "study", "x.h5"]
    assert found["config"]["data"] == {"input": "x.h5", "labels": ""}
    assert found["training"] == {"z4": {"choices": {"device": {"reason": "found in ~/cuda"}}}}
    assert "anna" not in str(found)
    assert results.config["data"]["input"] == "../../home/anna/x.h5", "the results themselves stay"


def test_synthetic_images_are_known_by_their_factors():
    factors = ["stain", "cell_density", "cell_size", "island_fraction", "fibres", "vessels", "tears"]
    assert is_synthetic([*factors, "mine"])
    assert not is_synthetic(factors[:-1])


def test_comparison_of_some_of_the_models():
    compared = example_results(n_models=3).comparison
    found = comparison(compared, ["z4", "z32"])
    assert found is not None
    assert [row["name"] for row in found["table"]] == ["z4", "z32"]
    assert {(pair["a"], pair["b"]) for pair in found["cluster_matches"]} == {("z4", "z32")}
    assert np.shape(found["neighbour_overlap"]["values"]) == (2, 2)
    assert comparison(compared, ["z4"]) is None


def test_title_of_the_study_or_of_its_data():
    results = example_results()
    results.config["title"] = ""
    assert title(results) == f"The latent space of {results.data.name}"
    results.config["title"] = "Mine"
    assert title(results) == "Mine"


@pytest.mark.parametrize(
    ("thumbnails", "originals", "level"), [(0, 0, "latents"), (1, 0, "thumbnails"), (0, 1, "originals")]
)
def test_privacy_in_words(thumbnails, originals, level):
    found = privacy(
        n=5, labels=["age"], has_thumbnails=bool(thumbnails), has_originals=bool(originals), side_px=128,
        thumbnail_px=64, has_decoder=True, has_encoder=False,
    )  # fmt: skip
    assert found["level"] == level
    assert any("thumbnail" in line for line in found["contains"]) == bool(thumbnails)
    assert any("original" in line for line in found["contains"]) == bool(originals)
    assert any("decoder" in line for line in found["contains"])
    assert not any("encoder" in line for line in found["contains"] if "decoder" not in line)


def test_display_limits_without_images():
    results = example_results()
    assert known_grey_limits(Scaling("minmax", 3, 7), {results.data.dtype}) == (0.0, 1.0)
    assert known_grey_limits(Scaling("standardise", 100, 50), {"uint8"}) == (-2.0, pytest.approx(3.1))
    assert known_grey_limits(Scaling("standardise", 100, 50), {"float32"}) is None
    results.data.statistics = {"min": -9, "max": 99, "training": {"min": 0.0, "max": 200.0}}
    assert _measured_limits(results, Scaling("standardise", 100, 50)) == (-2.0, 2.0)
