"""A study whose models are networks from outside: to the very end, again, and without them."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_parts import Laplace, Residual, blobs

import zatlas as za
from zatlas import files
from zatlas.cli.main import main
from zatlas.config import AtlasConfig, DataConfig, ModelConfig, NamedModel, StudyConfig, TilesConfig, TrainConfig
from zatlas.errors import UsageError
from zatlas.explorer.bundle.writing import bundle_of
from zatlas.model.own import OwnNetwork
from zatlas.progress import Talk

MODELS = (NamedModel("own", latent_dim=3, likelihood="laplace"), NamedModel("ours", widths=(4, 8)))


def networks(**options: Any) -> dict[str, torch.nn.Module]:
    return {"own": Residual(3, n_params=2, likelihood=Laplace(), **options)}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    """Of blobs, one model with a network and a likelihood from outside, one of zatlas."""
    path = tmp_path_factory.mktemp("blobs") / "blobs.npz"
    np.savez(path, images=(255 * blobs(60, 1)[:, 0]).astype(np.uint8))
    return StudyConfig(
        data=DataConfig(input=str(path)), tiles=TilesConfig(size=16), model=ModelConfig(latent_dim=(2,)), models=MODELS,
        train=TrainConfig(epochs=2, batch_size=16, learning_rate=3e-3, threads=1, precision="float32"),
        atlas=AtlasConfig(clusters=2, points=1, samples=4, examples=2),
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(config: StudyConfig, tmp_path_factory: pytest.TempPathFactory) -> za.Study:
    return za.study(config, tmp_path_factory.mktemp("own") / "study", networks=networks())


def test_a_study_of_own_networks_has_report_and_page(made: za.Study) -> None:
    assert made.state == "complete"
    assert isinstance(made.vae("own").network, OwnNetwork)
    assert not isinstance(made.vae("ours").network, OwnNetwork)
    assert made.results().models[0].likelihood == "laplace"
    page = (made.folder / "report.html").read_text(encoding="utf-8")
    assert "negative log-likelihood under laplace" in page
    manifest = files.read_json(bundle_of(made) / "manifest.json")
    assert [model["name"] for model in manifest["models"]] == ["own", "ours"]
    for model in manifest["models"]:
        assert model["decoder"]["max_abs_difference"] < 1e-4
        assert model["encoder"]["max_abs_difference"] < 1e-4


def test_a_finished_study_is_explored_without_its_networks_but_not_computed_with(
    made: za.Study, config: StudyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = bundle_of(made)
    alone = za.Study(made.folder)
    assert bundle_of(alone) == before, "the page of the study needs no network once it is there"
    with pytest.raises(UsageError, match="network of your own, Residual") as caught:
        alone.vae("own")
    assert "zatlas.Study(folder, networks={name: Residual(...)})" in str(caught.value.hint)
    assert main(["embed", str(made.folder), "--model", "own", "-o", str(tmp_path / "own.h5ad")]) == 2
    assert "network of your own, Residual" in capsys.readouterr().err
    assert main(["report", str(made.folder), "-o", str(tmp_path / "again.html")]) == 0
    again = za.study(config, made.folder, networks=networks())
    assert again.vae("own").latent_dim == 3


def test_a_stopped_study_of_own_networks_goes_on_to_the_same_bytes(
    made: za.Study, config: StudyConfig, tmp_path: Path
) -> None:
    steps: list[int] = []
    talk = Talk(step=lambda model, step: steps.append(step.step), stop_requested=lambda: len(steps) == 4)
    with pytest.raises(za.ZatlasError, match="training of own was stopped"):
        za.study(config, tmp_path / "study", networks=networks(), talk=talk)
    with pytest.raises(UsageError, match=r"network\.own: Residual"):
        za.study(dataclasses.replace(config), tmp_path / "study", networks={"own": Other(likelihood=Laplace())})
    again = za.study(config, tmp_path / "study", networks=networks(), until="train")
    for name in made.names:
        path = f"models/{name}/weights.safetensors"
        assert files.sha256(again.folder / path) == files.sha256(made.folder / path)


class Other(Residual):
    def __init__(self, **options: Any) -> None:
        super().__init__(3, n_params=2, **options)


def test_networks_that_the_study_does_not_ask_for_are_refused(config: StudyConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a network for the model z16, which the study does not have") as caught:
        za.study(config, tmp_path / "a", networks={**networks(), "z16": Residual()})
    assert caught.value.hint == "its models are own, ours"
    with pytest.raises(UsageError, match="the network has the likelihood laplace, the study gaussian") as caught:
        za.study(config, tmp_path / "b", networks={**networks(), "ours": Residual(2, n_params=2, likelihood=Laplace())})
    assert caught.value.hint == "set --likelihood to laplace"
    with pytest.raises(UsageError, match="--likelihood is laplace, expected bernoulli or "):
        za.study(config, tmp_path / "c")
    assert not list(tmp_path.iterdir())
