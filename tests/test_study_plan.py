"""The estimates of a dry run: what they count, with steps of a known time."""

import re

import numpy as np
import pytest

from zatlas.config import DataConfig, ModelConfig, StudyConfig, TilesConfig, TrainConfig
from zatlas.progress import Talk
from zatlas.studies import plan as planning

STEP_S, BATCH, EPOCHS = 2.0, 8, 5


@pytest.fixture
def planned(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "_step_seconds", lambda *arguments: STEP_S)
    monkeypatch.setattr(planning, "_peak_bytes", lambda: 0)
    monkeypatch.setattr(planning, "_pca_seconds", lambda *arguments: 0.0)

    def make(n=60, channels=1, latents=(2,), epochs=EPOCHS, until="", linear_path="auto"):
        path = tmp_path / f"{n}-{channels}.npz"
        shape = (n, 16, 16) if channels == 1 else (n, 16, 16, channels)
        np.savez(path, images=np.random.default_rng(0).integers(0, 255, shape).astype(np.uint8))
        config = StudyConfig(
            data=DataConfig(input=str(path)), tiles=TilesConfig(size=16),
            model=ModelConfig(latent_dim=latents, widths=(4, 8), linear_path=linear_path),
            train=TrainConfig(epochs=epochs, batch_size=BATCH, threads=1, precision="float32"),
        )  # fmt: skip
        return planning.plan(config, tmp_path / "study", Talk(), until=until)

    return make


def test_time_of_a_model_counts_its_steps_and_the_forward_passes_of_what_judges_it(planned):
    found = planned()
    judged = found.parts["validation"] + found.parts["test"]
    images = EPOCHS * (found.parts["train"] + judged / 3)
    assert found.models[0].minutes == pytest.approx(images * STEP_S / BATCH / 60)


def test_what_comes_after_training_grows_with_models_and_images(planned):
    def after(one):
        return one.minutes - sum(model.minutes for model in one.models)

    small, two, many = planned(20), planned(20, latents=(2, 3)), planned(200)
    assert after(small) < after(two) < 2 * after(small), "the study's own part is counted once"
    assert after(many) > after(small)


def test_memory_counts_the_images_that_are_looked_at_with_their_channels(planned):
    few, many, colour = planned(20), planned(60), planned(20, channels=3)
    assert many.peak_memory_bytes - few.peak_memory_bytes == 40 * 16 * 16 * 4
    assert colour.peak_memory_bytes - few.peak_memory_bytes == 2 * 20 * 16 * 16 * 4


def test_short_times_are_told_in_seconds(planned):
    assert re.search(r"time +about \d+0 s in all", planned(epochs=1).text())
    long = planned(epochs=100)
    assert re.search(rf"time +about {long.minutes:.0f} min in all", long.text())


def test_time_counts_the_pca_of_the_study_where_one_is_fitted(planned, monkeypatch):
    without = planned()
    assert without.pca_minutes == 0
    monkeypatch.setattr(planning, "_pca_seconds", lambda channels, side, components: float(components))
    found = planned(latents=(2, 3))
    draws = found.parts["train"] + 2 * 1024  # as they are, and two looks at those shifted and zoomed
    assert found.pca_minutes == pytest.approx(3.0 * 3 * draws / 60), "once, at the largest latent size"
    assert found.minutes - planned(latents=(2, 3), until="train", linear_path="off").minutes == found.pca_minutes
    assert re.search(r"PCA +about \d+ min", found.text())


def test_the_probe_of_a_pca_fills_what_a_fit_holds(planned, monkeypatch):
    taken = []
    add = planning.PcaStream.add
    monkeypatch.undo()
    monkeypatch.setattr(planning.PcaStream, "add", lambda self, x: (taken.append(x.shape), add(self, x))[1])
    assert planning._pca_seconds(3, 16, 2) > 0
    assert sum(shape[0] for shape in taken) == 2 * 1024
    assert {shape[1:] for shape in taken} == {(3, 16, 16)}
