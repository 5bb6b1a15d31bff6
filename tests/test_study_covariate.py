"""A study whose decoder is told the brain: refusals before it begins, reconstructions, and pictures as if."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

import zatlas as za
from zatlas.cli.main import main
from zatlas.progress import Talk
from zatlas.studies.run import embed_model

SMALL = ("--tile", 32, "--latent-dim", 2, "--widths", 4, 8, "--epochs", 1, "--tiles-per-epoch", 64, "--batch-size", 32)
FEW = ("--atlas-size", 40, "--clusters", 2)


def zatlas(*arguments):
    return main([str(a) for a in arguments])


@pytest.fixture(scope="module")
def sections(tmp_path_factory):
    path = tmp_path_factory.mktemp("sections") / "sections.h5"
    return za.phantom.sections(path, brains=4, images=4, min_px=64, max_px=80, compression=None)


@pytest.fixture(scope="module")
def made(sections, tmp_path_factory):
    out = tmp_path_factory.mktemp("study") / "told"
    given = ("--covariate", "group", "--test-group", "B07", *SMALL, *FEW)
    assert zatlas("train", sections, *given, "-q", "-o", out) == 0
    found = za.Study(out)
    embed_model(found, found.data(), "z2", Talk())
    return out


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (("--covariate", "brain"), "no column of these images"),
        (("--covariate", "stain"), "values among .* training images"),
        (("--covariate", "group", "--test-group", "B01", "B02", "B05"), "1 value, expected 2 to 64"),
        (("--covariate", "group", "--texture", "local"), "texture is local, expected off, beside --covariate"),
    ],
)
def test_what_cannot_be_told_is_refused_before_the_study_begins(sections, tmp_path, capsys, given, words):
    assert zatlas("study", sections, *given, *SMALL, "-o", tmp_path / "out") == 2
    assert pd.Series([capsys.readouterr().err]).str.contains(words).all()
    assert not (tmp_path / "out").exists()


def test_the_values_are_those_of_the_training_brains(made):
    vae = za.load(made / "models" / "z2")
    assert vae.covariate_values == ("B01", "B02", "B05")
    assert vae.model.covariate == "group"


def test_tiles_are_drawn_as_if_from_each_brain_and_the_sheet_says_so(made, tmp_path, capsys):
    assert zatlas("sample", made, "--as-if", "-n", 3, "-o", tmp_path / "all", "-q", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["values"] == ["B01", "B02", "B05"] and "drawn by the model, not observed" in found["text"]
    assert {f.suffix for f in (tmp_path / "all").iterdir()} == {".png", ".svg", ".csv"}
    svg = (tmp_path / "all" / "as-if.svg").read_text(encoding="utf-8")
    assert "Drawn by the model, not observed." in svg and "as if B05" in svg and "told the mean of all" in svg
    table = pd.read_csv(tmp_path / "all" / "as-if.csv", keep_default_na=False)
    assert set(table["own_value"]) == {""}  # the brain held out is not known
    assert list(table["picture"][:5]) == ["original", "reconstruction", "as if B01", "as if B02", "as if B05"]
    assert zatlas("sample", made, "--as-if", "B20", "-o", tmp_path / "none", "-q") == 2
    assert "never told B20" in capsys.readouterr().err


def test_atlases_give_each_image_back_as_told_its_own_brain(made):
    study, vae = za.Study(made), za.load(made / "models" / "z2")
    with torch.no_grad():  # brains that differ by far more than one epoch can have taught
        vae.network.covariate.tables[-1][1, 1:] += 0.3
    tiles = study.data().atlas_tiles()
    atlas = vae.embed(tiles)
    own = atlas.table["group"].astype(str).to_numpy()
    for brain, told in (("B01", "B01"), ("B02", "B02"), ("B07", None)):
        rows = np.flatnonzero(own == brain)[:4]
        made_of_z = torch.from_numpy(vae.scaling.apply(vae.decode(atlas.mean[rows], covariate=told)))
        error = (made_of_z.clamp(0, 1) - torch.from_numpy(tiles.take(rows))).square().mean(dim=(1, 2, 3))
        np.testing.assert_allclose(atlas.table["psnr_db"].to_numpy()[rows], -10 * error.log10(), atol=0.05)
