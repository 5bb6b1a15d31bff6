"""A study that 0.1.0 made is opened, drawn and explored, with the numbers that it had.

`study/` and `cell_data.h5` are what `make.py` wrote then, without figures, pages and caches, whose sha256 stand in the
manifest. `compare.py STUDY OTHER` holds any two studies against each other.
"""

import shutil
from pathlib import Path

import compare
import make
import numpy as np
import pandas as pd
import pytest

import zatlas as za
from zatlas import files
from zatlas.cli.main import main
from zatlas.explorer.bundle.writing import write_bundle
from zatlas.report.training import training_texts

GOLDEN = Path(__file__).parent / "study"


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> za.Study:
    """A copy of the golden study, with its images beside it."""
    folder = tmp_path_factory.mktemp("golden")
    shutil.copytree(GOLDEN, folder / "study")
    shutil.copy(GOLDEN.parent / "cell_data.h5", folder)
    return za.Study(folder / "study")


def test_models_atlases_and_results_are_read(study):
    assert (study.names, study.state) == (["z2", "z4"], "complete")
    for name in study.names:
        vae, atlas = study.vae(name), study.atlas(name)
        assert vae.model.beta == 2.0
        assert vae.decode(atlas.mean[:3]).shape == (3, 1, 32, 32)
        assert len(vae.history) == 3
    results = study.results()
    assert [model.latent_dim for model in results.models] == [2, 4]
    assert {axis for walk in results.models[1].walks for axis in [walk.axis_kind]} >= {"pca", "tsne", "latent", "label"}


def test_its_trainings_are_told_as_they_were(study):
    results = study.results()
    assert [model.kept_epoch for model in results.models] == [3, 3]
    text = " ".join(training_texts(results))
    assert "All parameters were moved by Adam (beta 0.9 and 0.999, no weight decay)." in text
    assert "over 5 epochs, and reached 60 % of it." in text, "warm-ups had no bounds then"
    assert "z2 ran 3 epochs and keeps epoch 3; z4 ran 3 epochs and keeps epoch 3." in text


def test_encoding_again_gives_the_stored_latents(study):
    data = study.data()
    for name in study.names:
        again, stored = study.vae(name).embed(data.atlas_tiles()), study.atlas(name)
        assert np.allclose(again.mean, stored.mean, atol=1e-4)
        assert np.allclose(again.log_var, stored.log_var, atol=1e-4)
        assert np.allclose(again.table["distortion_nats"], stored.table["distortion_nats"], rtol=1e-4)


@pytest.mark.slow
def test_figures_are_drawn_from_the_same_numbers(study, tmp_path):
    assert main(["report", str(study.folder), "-o", str(tmp_path / "drawn.html")]) == 0
    drawn = {path.name: path for path in (tmp_path / "drawn-figures").glob("*.csv")}
    stored = {path.name: path for path in (GOLDEN / "figures").glob("*.csv")}
    assert drawn.keys() == stored.keys()
    for name, path in stored.items():
        pd.testing.assert_frame_equal(pd.read_csv(drawn[name]), pd.read_csv(path), rtol=1e-6)
    listed = files.read_json(GOLDEN / "manifest.json")["files"]
    pictures = {name.removeprefix("figures/") for name in listed if name.endswith((".png", ".svg"))}
    folder = tmp_path / "drawn-figures"
    assert {path.name for path in folder.iterdir() if path.suffix in (".png", ".svg")} == pictures


def test_explorer_files_are_written(study):
    write_bundle(study, study.folder / "explorer")
    written = files.read_json(study.folder / "explorer" / "manifest.json")
    assert [model["name"] for model in written["models"]] == study.names


@pytest.mark.slow
def test_made_twice_it_is_the_same_file_by_file(tmp_path):
    """With the defaults of today, which train otherwise than those of 0.1.0."""
    one, two = (make.make(tmp_path / name) for name in ("one", "two"))
    assert {row.kind for row in compare.compare(one, two)} <= {"same", "clocks"}


def test_a_changed_weight_a_lost_file_and_another_word_are_seen(tmp_path):
    other = shutil.copytree(GOLDEN, tmp_path / "other")
    assert compare.differences(compare.compare(GOLDEN, other)) == []
    (other / "models/z2/history.csv").unlink()
    weights = other / "models/z4/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\x00\x00\x00\x40")
    text = (other / "study.toml").read_text(encoding="utf-8")
    (other / "study.toml").write_text(text.replace("beta = 2.0", "beta = 2.5"), encoding="utf-8")
    found = {row.name for row in compare.differences(compare.compare(GOLDEN, other), tolerance=1e-3)}
    assert found == {"models/z2/history.csv", "models/z4/weights.safetensors", "study.toml"}
