"""One PCA for a study: fitted once, kept, the start of every linear path and what every model is compared with."""

import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
import torch

import zatlas as za
from zatlas import files
from zatlas.config import AtlasConfig, DataConfig, ModelConfig, StudyConfig, TilesConfig, TrainConfig
from zatlas.errors import Interrupted
from zatlas.model.building import build
from zatlas.model.likelihoods import Greys
from zatlas.model.network import NetworkConfig
from zatlas.progress import Talk
from zatlas.results.kinds import ModelResults
from zatlas.results.pictures import View
from zatlas.studies import pca as module
from zatlas.studies.data import PCA_TILES, VALIDATION_TILES
from zatlas.studies.pca import study_pca
from zatlas.studies.run import analyse, embed_model, study
from zatlas.studies.study import Study
from zatlas.training.linear import fit_settled_pca
from zatlas.training.start import start_from_pca

SIDE = 16


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    return za.phantom.radiographs(folder / "x_images.npz", images=80, size=32, seed=1)[0]


def config_of(
    images: Path, *, sizes: tuple[int, ...] = (2, 4), scaling: str = "minmax", **train: object
) -> StudyConfig:
    return StudyConfig(
        data=DataConfig(input=str(images)),
        tiles=TilesConfig(size=SIDE, scaling=scaling),
        model=ModelConfig(latent_dim=sizes, widths=(4, 8), linear_path="on"),
        train=TrainConfig(epochs=1, batch_size=16, threads=1, precision="float32", **train),
        atlas=AtlasConfig(points=3, samples=4, examples=4, clusters=2),
    )


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, ...]]:
    """The sizes of each fit that a study asks for."""
    asked: list[tuple[int, ...]] = []
    fit = module.fit_settled_pcas

    def counted(train, validation, sizes, **settings):
        asked.append(tuple(sizes))
        return fit(train, validation, sizes, **settings)

    monkeypatch.setattr(module, "fit_settled_pcas", counted)
    return asked


def test_a_study_fits_once_and_a_start_that_is_kept_gains_nothing(images, tmp_path, fits):
    """A learning rate that destroys the network, so that each model stays where it began: level with PCA, exactly."""
    config = config_of(images, learning_rate=0.5, ema_decay=0.0)
    said, progress = [], []
    talk = Talk(say=said.append, progress=lambda *one: progress.append(one))
    made = study(config, tmp_path / "study", until="train", talk=talk)
    assert fits == [(2, 4)]
    assert sum("fitting 4 principal components" in text for text in said) == 1
    own = [one for one in progress if one[0] == "fitting principal components"]
    assert len(own) > 3 and own[-1][1] == own[-1][2]
    kept = (made.folder / "pca.safetensors").read_bytes()
    data = made.data()
    for name in made.names:
        assert files.read_json(made.folder / "models" / name / "training.json")["best_epoch"] == 0
    embed_model(made, data, "z2", Talk())
    analyse(made, data, "z2", Talk())
    results = ModelResults.load(made.folder / "results" / "z2")
    for measure in ("gain_db", "content_gain_db", "pooled_gain_db"):
        assert results.metrics.loc["test", measure] == pytest.approx(0, abs=1e-3), measure
    assert results.metrics.loc["test", "pca_psnr_db"] > 15
    assert results.pca_facts["n_draws"] == results.pca_facts["draws"][-1]
    assert fits == [(2, 4)]
    assert (made.folder / "pca.safetensors").read_bytes() == kept


@pytest.mark.parametrize("scaling", ["minmax", "standardise"])
def test_a_network_at_its_start_gives_back_what_the_pca_beside_it_does(images, tmp_path, scaling):
    made = study(config_of(images, scaling=scaling), tmp_path / "study", until="train")
    data = made.data()
    pca, test = study_pca(data, made.folder, Talk()), data.fixed_tiles("test")
    for d in (2, 4):
        network = build(
            NetworkConfig(latent_dim=d, channels=1, size=SIDE, widths=(4, 8), linear_path="on"), seed=3
        ).eval()
        network.likelihood.set_greys(Greys(1, 0.0, 255.0, 0.0, 255.0, are_whole=True))
        batch = data.training_tiles().batch(0, np.arange(20))
        start_from_pca(network, pca.start(d), batch.x, batch.mask, beta=1.0)
        view, x = View(network, data.fixed_tiles("train", most=PCA_TILES)), test.take(np.arange(len(test)))
        assert pca.limits == (view.low, view.high)
        with torch.inference_mode():
            found = view.reconstruct(x)
        expected = pca.beside(d).pca.reconstruct(view.display(x))
        np.testing.assert_allclose(found, expected, atol=2e-5)
        assert np.abs(expected - expected.mean(axis=0)).mean() > 0.01


def test_the_baseline_of_each_size_is_fair(images, tmp_path):
    """As good on validation as a PCA that is fitted for this size alone."""
    made = study(config_of(images, sizes=(2, 24)), tmp_path / "study", until="train")
    data = made.data()
    pca = study_pca(data, made.folder, Talk()).beside(2)
    validation = data.fixed_tiles("validation", most=VALIDATION_TILES)
    alone = fit_settled_pca(data.training_tiles(), validation, 2, seed=0, jitter=data.config.train.jitter)
    assert pca.validation_db[-1] > alone.validation_db[-1] - 0.02
    assert len(pca.pca.components) == 2 and pca.pca.left_out == pytest.approx(alone.pca.left_out, rel=0.2)


def test_what_is_kept_serves_until_something_it_follows_from_changes(images, tmp_path, fits, caplog):
    made = study(config_of(images), tmp_path / "study", until="train")
    data, path = made.data(), made.folder / "pca.safetensors"
    before, first = path.read_bytes(), study_pca(data, made.folder, Talk())

    def asked(**changes: object) -> module.StudyPca:
        return study_pca(dataclasses.replace(data, **changes), made.folder, Talk())

    def with_sizes(*sizes: int) -> StudyConfig:
        return dataclasses.replace(data.config, model=dataclasses.replace(data.config.model, latent_dim=sizes))

    more = asked(config=with_sizes(2, 3, 4))
    assert len(fits) == 1, "a latent size below the largest takes no other fit"
    assert more.beside(3).validation_db[-1] > more.beside(2).validation_db[-1] == first.beside(2).validation_db[-1]
    np.testing.assert_array_equal(more.start(4).components, first.start(4).components)
    asked(config=with_sizes(2, 3))
    assert len(fits) == 2, "the largest size differs"
    train = dataclasses.replace(data.config.train, jitter=0.0)
    part = data.split.part.copy()
    part[np.flatnonzero(part == "train")[0]] = "validation"
    changed = (
        {"fingerprint": "other"}, {"config": dataclasses.replace(data.config, seed=5)},
        {"config": dataclasses.replace(data.config, train=train)},
        {"config": dataclasses.replace(data.config, tiles=dataclasses.replace(data.config.tiles, augment="on"))},
        {"split": dataclasses.replace(data.split, part=part)},
    )  # fmt: skip
    for n, change in enumerate(changed):
        asked(**change)
        assert len(fits) == 3 + n, list(change)
    for damaged in (before[:-40], before[:-400] + bytes(200) + before[-200:]):
        caplog.clear()
        path.write_bytes(damaged)
        with caplog.at_level(logging.WARNING):
            asked()
        assert "is damaged" in caplog.text and path.read_bytes() == before


def test_a_study_that_goes_on_has_the_same_bits(images, tmp_path):
    """Stopped while PCA is fitted; or at the first step, and begun anew with what was kept, or without."""

    def weights(made: Study) -> bytes:
        return (made.folder / "models" / "z2" / "weights.safetensors").read_bytes()

    def stopped(name: str, words: str, when: Callable[[], bool]) -> Path:
        with pytest.raises(Interrupted, match=words):
            study(config, tmp_path / name, until="train", talk=Talk(stop_requested=when))
        for state in (tmp_path / name / "models" / "z2" / "checkpoints").glob("*/state.json"):
            state.write_text("{")  # damaged: the training begins anew
        return tmp_path / name / "pca.safetensors"

    config = config_of(images, sizes=(2,))
    whole = study(config, tmp_path / "whole", until="train")
    assert not stopped("early", "fitting principal components", lambda: True).exists()
    kept = stopped("again", "training of z2", (tmp_path / "again" / "pca.safetensors").is_file)
    before = kept.stat().st_mtime_ns
    stopped("lost", "training of z2", (tmp_path / "lost" / "pca.safetensors").is_file).unlink()
    for name in ("early", "again", "lost"):
        assert weights(study(config, tmp_path / name, until="train")) == weights(whole), name
    assert kept.stat().st_mtime_ns == before
    tensors = safetensors.numpy.load_file(whole.folder / "pca.safetensors")
    assert tensors["0.components"].shape == (2, SIDE * SIDE)
