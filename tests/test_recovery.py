"""What the phantoms were drawn from is found again in the latents, and the walks say what changes."""

import pytest

import zatlas as za
from zatlas.cli.main import main

pytestmark = pytest.mark.slow


def run_study(out, *arguments):
    assert main(["study", *map(str, arguments), "-q", "-o", str(out)]) == 0
    return za.Study(out).results().models[0]


def test_strong_factors_of_radiographs_are_read_from_the_latents(tmp_path):
    images, labels = za.phantom.radiographs(tmp_path / "x_images.npz", images=600, size=64, seed=3)
    model = run_study(
        tmp_path / "study", images, "--labels", labels, "--group", "patient", "--latent-dim", 16,
        "--widths", 16, 32, 64, "--epochs", 60, "--likelihood", "bernoulli", "--jitter", 0,
    )  # fmt: skip
    score = model.probes.set_index("label")["score_latents"]
    for factor in ("exposure", "lung_size"):
        assert score[factor] >= 0.9, f"{factor}: R2 {score[factor]:.3f}"
    walk = next(walk for walk in model.walks if walk.name == "exposure")
    assert "brightness" in {change["feature"] for change in walk.changes}


def test_walk_along_stain_is_named_brightness(tmp_path):
    images = za.phantom.sections(tmp_path / "cell_data.h5", brains=5, images=12, seed=3)
    model = run_study(
        tmp_path / "study", images, "--test-group", "B20", "--tile", 64, "--latent-dim", 16,
        "--widths", 16, 32, 64, "--epochs", 20, "--likelihood", "gaussian", "--atlas-size", 1500,
    )  # fmt: skip
    walk = next(walk for walk in model.walks if walk.name == "stain")
    assert walk.changes[0]["feature"] == "brightness"
    score = model.probes.set_index("label")["score_latents"]
    assert score["stain"] > 0.7
