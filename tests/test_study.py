"""The whole job on phantom data, as a user runs it: complete, continued, refused, moved, killed."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import pytest
import safetensors.numpy

import zatlas as za
from zatlas import files
from zatlas.cli.main import main
from zatlas.config import DataConfig, ModelConfig, StudyConfig, TrainConfig
from zatlas.errors import DataError, UsageError

SMALL = [
    *("--widths", "8", "16", "--latent-dim", "2", "4", "--epochs", "3", "--batch-size", "32"),
    *("--samples", "4", "--examples", "4", "--points", "3"),
]
XRAY = [*SMALL, "--likelihood", "bernoulli"]


def zatlas(*arguments):
    return main([str(a) for a in arguments])


def tree_hashes(folder: Path) -> dict[str, str]:
    return {
        f.relative_to(folder).as_posix(): hashlib.sha256(f.read_bytes()).hexdigest()
        for f in sorted(folder.rglob("*"))
        if f.is_file()
    }


@pytest.fixture(scope="module")
def radiographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("radiographs")
    return za.phantom.radiographs(folder / "x_images.npz", images=150, size=32, seed=1)


@pytest.fixture(scope="module")
def xray_study(radiographs, tmp_path_factory):
    images, labels = radiographs
    out = tmp_path_factory.mktemp("study") / "xray"
    assert zatlas("study", images, "--labels", labels, "--group", "patient", *XRAY, "-q", "-o", out) == 0
    return out


@pytest.fixture(scope="module")
def section_study(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sections")
    images = za.phantom.sections(folder / "cell_data.h5", brains=3, images=5, min_px=80, max_px=120, seed=1)
    out = folder / "brain"
    small = [*SMALL, "--likelihood", "gaussian", "--scaling", "standardise", "--atlas-size", 100]
    assert zatlas("study", images, "--test-group", "B05", "--tile", 32, *small, "-q", "-o", out) == 0
    return out


@pytest.mark.parametrize("which", ["xray_study", "section_study"])
def test_everything_is_there_and_verified(which, request):
    out = request.getfixturevalue(which)
    for name in ("study.toml", "manifest.json", "report.html", "data/stats.json", "data/split.csv", "data/images.csv",
                 "data/rejected.csv", "models/z2/weights.safetensors", "models/z2/history.csv", "models/z2/config.toml",
                 "atlases/z4.h5ad"):  # fmt: skip
        assert (out / name).is_file(), name
    assert files.verify(out) == []
    assert files.read_json(out / "manifest.json")["state"] == "complete"
    assert (out / "report.html").stat().st_size < 20_000_000
    kinds = {suffix: len(list((out / "figures").glob(f"*.{suffix}"))) for suffix in ("png", "svg", "csv")}
    assert kinds["png"] == kinds["svg"] == kinds["csv"] > 20


def test_no_patient_is_in_two_parts(xray_study):
    parts = pd.read_csv(xray_study / "data" / "split.csv").groupby("group")["part"].nunique()
    assert (parts == 1).all()


def test_held_out_brain_is_nowhere_in_training(section_study):
    table = pd.read_csv(section_study / "data" / "split.csv")
    assert set(table[table["group"] == "B05"]["part"]) == {"test"}
    assert "B05" not in set(table[table["part"] != "test"]["group"])


def test_statistics_are_pooled_over_the_training_part(section_study):
    study = za.Study(section_study)
    data = study.data()
    pixels = np.concatenate([data.originals[int(r)].read().ravel() for r in np.flatnonzero(data.split.part != "test")])
    stored = files.read_json(section_study / "data" / "stats.json")["training"]
    assert stored["mean"] == pytest.approx(pixels.mean(dtype=np.float64), rel=1e-12)
    assert stored["std"] == pytest.approx(pixels.std(dtype=np.float64), rel=1e-9)
    assert (stored["min"], stored["max"], stored["count"]) == (pixels.min(), pixels.max(), pixels.size)
    assert study.vae("z4").scaling.factor == pytest.approx(stored["std"])


def test_history_has_train_validation_and_test(xray_study):
    history = pd.read_csv(xray_study / "models" / "z4" / "history.csv")
    assert len(history) == 3
    for part in ("train", "validation", "test"):
        total = history[f"{part}_distortion_nats"] + history[f"{part}_rate_nats"]
        assert np.allclose(history[f"{part}_elbo_nats"], -total)


def test_same_command_again_redoes_nothing(xray_study, radiographs, capsys):
    before = {f: f.stat().st_mtime_ns for f in xray_study.rglob("*") if f.is_file()}
    images, labels = radiographs
    assert zatlas("study", images, "--labels", labels, "--group", "patient", *XRAY, "-o", xray_study) == 0
    assert {f: f.stat().st_mtime_ns for f in xray_study.rglob("*") if f.is_file()} == before
    assert "nothing to do" in capsys.readouterr().err


def test_other_settings_are_refused_with_the_difference(xray_study, radiographs, capsys):
    images, labels = radiographs
    before = tree_hashes(xray_study)
    arguments = [*XRAY, "--epochs", "5"]
    code = zatlas("study", images, "--labels", labels, "--group", "patient", *arguments, "-o", xray_study)
    assert code == 2
    err = capsys.readouterr().err
    assert "train.epochs: 3 -> 5" in err
    assert "--force" in err
    assert tree_hashes(xray_study) == before


def test_going_on_with_a_study_by_its_folder(xray_study, capsys):
    before = tree_hashes(xray_study)
    assert zatlas("study", xray_study) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert zatlas("study", xray_study, "--beta", "2") == 2
    assert "model.beta: 1.0 -> 2.0" in capsys.readouterr().err
    assert tree_hashes(xray_study) == before


def test_other_images_are_refused(xray_study, radiographs, tmp_path, capsys):
    images, labels = radiographs
    other = dict(np.load(images))
    other["images"] = 255 - other["images"]
    np.savez_compressed(tmp_path / "x_images.npz", **other)
    code = zatlas(
        "study", tmp_path / "x_images.npz", "--labels", labels, "--group", "patient", *SMALL, "-o", xray_study
    )
    assert code == 2
    assert "their content differs" in capsys.readouterr().err


def test_report_again_from_a_moved_study_without_its_images(xray_study, tmp_path):
    moved = shutil.copytree(xray_study, tmp_path / "elsewhere" / "moved")
    shutil.rmtree(moved / "cache", ignore_errors=True)
    before = tree_hashes(moved)
    assert zatlas("report", moved, "-q", "-o", tmp_path / "page.html") == 0
    assert tree_hashes(moved) == before, "the study itself is only read"
    assert (tmp_path / "page.html").read_bytes().startswith(b"<!doctype html>")


def test_report_of_a_read_only_study_goes_to_the_working_folder(xray_study, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("zatlas.files.is_writable", lambda folder: False)
    before = tree_hashes(xray_study)
    assert zatlas("report", xray_study) == 0
    assert "is read-only" in capsys.readouterr().err
    assert (tmp_path / "xray-report.html").is_file()
    assert tree_hashes(xray_study) == before


def test_atlas_opens_as_anndata(xray_study):
    adata = anndata.read_h5ad(xray_study / "atlases" / "z4.h5ad")
    assert adata.X.shape == adata.layers["log_var"].shape == (150, 4)
    assert {"image", "group", "split", "distortion_nats", "rate_nats", "cluster", "exposure"} <= set(adata.obs)
    assert {"X_pca", "X_tsne", "spatial"} <= set(adata.obsm)


def test_weights_open_without_zatlas(xray_study):
    weights = safetensors.numpy.load_file(xray_study / "models" / "z4" / "weights.safetensors")
    assert sum(w.size for w in weights.values()) > 1000
    assert not [f for f in xray_study.rglob("*") if f.suffix in (".pkl", ".pt", ".pth", ".pickle")]


def test_api_opens_what_the_command_line_wrote(xray_study):
    study = za.Study(xray_study)
    vae, atlas = study.vae("z4"), study.atlas("z4")
    path = atlas.path("PC1", points=7)
    frames = vae.decode(path.z)
    assert frames.shape == (9, 1, 32, 32)
    assert 0 <= frames.min() <= frames.max() <= 255
    assert vae.sample(3, like=atlas).shape == (3, 1, 32, 32)
    assert za.load(xray_study / "models" / "z4").latent_dim == 4
    with pytest.raises(UsageError, match="no model z9"):
        study.vae("z9")


def test_walk_sample_and_embed_write_beside_the_study(xray_study, tmp_path, capsys):
    before = tree_hashes(xray_study)
    assert zatlas("walk", xray_study, "--axis", "exposure", "-o", tmp_path / "walk", "-q", "--json") == 0
    assert json.loads(capsys.readouterr().out)["walk"] == "exposure"
    assert zatlas("sample", xray_study, "-n", 5, "-o", tmp_path / "samples", "-q", "--json") == 0
    n_train = (pd.read_csv(xray_study / "data" / "split.csv")["part"] == "train").sum()
    assert f"a density fitted to {n_train} training latents" in json.loads(capsys.readouterr().out)["text"]
    for source, words in (
        ("gaussian", "a Gaussian with mean and covariance"),
        ("prior", "the standard normal N(0, I)"),
    ):
        folder = tmp_path / f"samples-{source}"
        assert zatlas("sample", xray_study, "-n", 5, "--from", source, "-o", folder, "-q", "--json") == 0
        assert words in json.loads(capsys.readouterr().out)["from"]
        assert (folder / f"samples-{source}.png").is_file()
    assert zatlas("embed", xray_study, "--model", 2, "-o", tmp_path / "all.h5ad", "-q") == 0
    for folder in ("walk", "samples"):
        assert {f.suffix for f in (tmp_path / folder).iterdir()} == {".png", ".svg", ".csv"}
    assert anndata.read_h5ad(tmp_path / "all.h5ad").shape == (150, 2)
    assert tree_hashes(xray_study) == before


def test_folder_that_is_not_a_study_is_left_alone(radiographs, tmp_path, capsys):
    (tmp_path / "mine.txt").write_text("precious")
    assert zatlas("study", radiographs[0], *SMALL, "-o", tmp_path) == 2
    assert "holds no study" in capsys.readouterr().err
    with pytest.raises(DataError, match="is not a study"):
        za.Study(tmp_path)


def test_a_complete_study_that_lost_a_file_is_completed_again(tmp_path):
    """The manifest says complete; only its sums tell that something is missing."""
    images = np.random.default_rng(0).integers(0, 255, (24, 16, 16), dtype=np.uint8)
    np.savez(tmp_path / "a_images.npz", images=images)
    config = StudyConfig(
        data=DataConfig(input=str(tmp_path / "a_images.npz")),
        model=ModelConfig(latent_dim=(2, 3), widths=(4, 8)),
        train=TrainConfig(epochs=1, batch_size=8, threads=1, precision="float32"),
    )
    made = za.study(config, tmp_path / "study", until="train")
    files.write_manifest(made.folder, {"state": "complete"})
    before = (made.folder / "manifest.json").read_bytes()
    assert za.study(config, made.folder, until="train").state == "complete"
    assert (made.folder / "manifest.json").read_bytes() == before, "nothing was lost, so nothing is done"
    weights = made.folder / "models" / "z3" / "weights.safetensors"
    trained = files.sha256(weights)
    shutil.rmtree(weights.parent)
    assert za.study(config, made.folder, until="train").state == "running"
    assert files.sha256(weights) == trained


def test_inspect_tells_what_is_there(tmp_path, capsys):
    images = za.phantom.sections(tmp_path / "cells.h5", brains=3, images=3, min_px=64, max_px=90)
    assert zatlas("inspect", images, "-o", tmp_path / "found", "-q") == 0
    out = capsys.readouterr().out
    assert "9 images" in out
    assert "suggested hold-out: B0" in out
    stored = files.read_json(tmp_path / "found" / "stats.json")
    assert {"min", "max", "mean", "std", "count", "groups", "training"} <= set(stored)
    assert (tmp_path / "found" / "figures" / "data-contact-sheet.png").is_file()


@pytest.mark.slow
def test_killed_at_random_moments_ends_with_the_same_weights(radiographs, tmp_path):
    images, labels = radiographs
    command = [sys.executable, "-m", "zatlas", "study", str(images), "--labels", str(labels), "--group", "patient",
               *SMALL, "--epochs", "12", "--checkpoint-minutes", "0.01", "-q"]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, "-o", str(tmp_path / "calm")], check=True, env=environment)
    rng, kills = random.Random(0), 0
    while kills < 4:
        process = subprocess.Popen([*command, "-o", str(tmp_path / "killed")], env=environment)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(timeout=rng.uniform(4, 9))
            break
        process.send_signal(signal.SIGKILL)
        process.wait()
        kills += 1
    subprocess.run([*command, "-o", str(tmp_path / "killed")], check=True, env=environment)
    assert kills > 0
    for name in ("z2", "z4"):
        weights = [tmp_path / which / "models" / name / "weights.safetensors" for which in ("calm", "killed")]
        assert files.sha256(weights[0]) == files.sha256(weights[1])
    assert files.verify(tmp_path / "killed") == []


def test_a_training_that_ended_early_goes_on_with_more_patience(radiographs, tmp_path, capsys):
    images, labels = radiographs
    out = tmp_path / "study"
    few = ("--latent-dim", 2, "--widths", 8, 16, "--epochs", 6, "--learning-rate", 0.2, "--optimizer", "adam")
    command = ("study", images, "--labels", labels, "--group", "patient", *few, "--atlas-size", 60, "-o", out)
    assert zatlas(*command, "--patience", 1) == 0
    told = capsys.readouterr().err
    record = files.read_json(out / "models" / "z2" / "training.json")
    assert record["epochs"] == record["best_epoch"] + 1 < 6
    assert f"training of z2 stopped after epoch {record['epochs']}: no gain on validation for 1 epochs" in told
    assert zatlas(*command, "--patience", 1) == 0
    assert "nothing to do" in capsys.readouterr().err
    assert zatlas(*command, "--patience", 0) == 0
    record = files.read_json(out / "models" / "z2" / "training.json")
    assert (record["epochs"], record["stopped"], record["state"]) == (6, "", "complete")
    assert tomllib.loads((out / "models" / "z2" / "config.toml").read_text())["train"]["patience"] == 0
    assert files.verify(out) == []
    assert len(za.Study(out).results().models[0].history) == 6
