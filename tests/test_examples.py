"""The two example configurations are the assignments, and run from the command line on synthetic images."""

from pathlib import Path

import pytest

from zatlas.cli.main import main
from zatlas.config import StudyConfig, from_toml

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
SMALL = ["--widths", "8", "16", "--epochs", "2", "--kl-warmup-epochs", "1", "--atlas-size", "120", "--examples", "4"]
SMALL += ["--samples", "6", "--quiet"]


def example(name: str) -> StudyConfig:
    config = from_toml(EXAMPLES / f"{name}.toml")
    assert isinstance(config, StudyConfig)
    return config


def test_chest_xrays_is_the_assignment() -> None:
    config = example("chest_xrays")
    assert config.model.latent_dim == (4, 16, 32)
    assert (config.model.likelihood, config.model.beta, config.model.decoder) == ("bernoulli", 1.0, "transposed")
    assert config.train.epochs == 100
    assert config.split.test_fraction == 0.2
    assert (config.tiles.scaling, config.tiles.tile, config.tiles.is_augmented) == ("minmax", 0, False)
    assert (config.atlas.atlas_size, config.atlas.points, config.atlas.examples) == (1000, 7, 10)


def test_brain_sections_is_the_project() -> None:
    config = example("brain_sections")
    assert config.split.test_group == ("B20",)
    assert (config.tiles.tile, config.tiles.sampler_name, config.tiles.scaling) == (128, "by_pixel", "standardise")
    assert config.model.beta != 1, "a beta-VAE"
    assert config.tiles.is_augmented


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.stem)
def test_every_value_has_a_comment(path: Path) -> None:
    for line in path.read_text().splitlines():
        if " = " in line and not line.startswith("#"):
            assert "  # " in line, line


@pytest.mark.slow
def test_chest_xrays_runs(tmp_path: Path) -> None:
    from zatlas.images import phantom

    images, labels = phantom.radiographs(tmp_path / "xray_images.npz", images=160, size=32)
    config = str(EXAMPLES / "chest_xrays.toml")
    study = tmp_path / "xray-study"
    command = ["study", str(images), "--config", config, "--labels", str(labels), "--group", "patient"]
    assert main([*command, "--size", "32", *SMALL, "-o", str(study)]) == 0
    assert_complete(study, ["z4", "z16", "z32"])


@pytest.mark.slow
def test_brain_sections_runs(tmp_path: Path) -> None:
    from zatlas.images import phantom

    images = phantom.sections(tmp_path / "cell_data.h5", brains=5, images=4, min_px=80, max_px=140)
    config = str(EXAMPLES / "brain_sections.toml")
    study = tmp_path / "brain-study"
    smaller = ["--tile", "32", "--stride", "32", "--tiles-per-epoch", "300", "--latent-dim", "8"]
    assert main(["study", str(images), "--config", config, *smaller, *SMALL, "-o", str(study)]) == 0
    assert_complete(study, ["z8"])
    split = (study / "data" / "split.csv").read_text().splitlines()[1:]
    parts = {(line.split(",")[1], line.split(",")[2]) for line in split}
    assert {group for group, part in parts if part == "test"} == {"B20"}
    assert ("B20", "train") not in parts
    assert ("B20", "validation") not in parts


def assert_complete(study: Path, models: list[str]) -> None:
    """A study is whole: report, figures, and for each model weights, history and atlas."""
    from zatlas import Study, files

    assert Study(study).state == "complete"
    assert files.verify(study) == []
    assert (study / "report.html").stat().st_size < 20_000_000
    assert list((study / "figures").glob("*.svg"))
    for name in models:
        assert (study / "models" / name / "weights.safetensors").is_file()
        assert (study / "atlases" / f"{name}.h5ad").is_file()
