"""Nothing of the test part reaches what is learned: everything twice, once with a test part that was poisoned."""

import dataclasses
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from zatlas import files
from zatlas.config import (
    AtlasConfig,
    DataConfig,
    ModelConfig,
    SplitConfig,
    StudyConfig,
    TilesConfig,
    TrainConfig,
)
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.progress import Talk
from zatlas.results.kinds import ModelResults
from zatlas.studies.run import analyse, embed_model, study
from zatlas.studies.study import Study
from zatlas.tiles.loader import Tiles
from zatlas.tiles.transforms import Scaling
from zatlas.vae import VAE

N, N_TEST, SIDE = 72, 18, 16
IS_TEST = np.arange(N) >= N - N_TEST
CLOCKS = ["seconds", "images_per_s", "data_wait"]


def discs() -> np.ndarray:
    """Images (n, h, w) of one soft disc each, of 16 bits but of greys from 600 to 2000 only."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIDE, :SIDE]
    centre, radius = rng.uniform(5, 11, (N, 2, 1, 1)), rng.uniform(2, 5, (N, 1, 1))
    disc = 1 / (1 + np.exp(np.hypot(y - centre[:, 0], x - centre[:, 1]) - radius))
    return (600 + 1300 * disc + rng.uniform(0, 100, (N, SIDE, SIDE))).astype(np.uint16)


def poisoned(images: np.ndarray, poison: str) -> np.ndarray:
    """The same images, those of the test part replaced."""
    garbage = np.random.default_rng(1).integers(0, 4096, images.shape, dtype=np.uint16)
    replacement = {"noise": garbage, "constant": np.full_like(images, 65535)}.get(poison, images)
    return np.where(IS_TEST[:, None, None], replacement, images)


def run_study(folder: Path, poison: str) -> Study:
    """A small study of images in patients, of whom the last ones are the test part, up to its analysis."""
    np.savez(folder / "discs.npz", images=poisoned(discs(), poison))
    patient, size = [f"P{row // 6:02d}" for row in range(N)], np.random.default_rng(2).normal(size=N)
    if poison == "labels":
        size[IS_TEST] = 1e9
    pd.DataFrame({"index": np.arange(N), "patient": patient, "size": size}).to_csv(folder / "labels.csv", index=False)
    config = StudyConfig(
        data=DataConfig(input=str(folder / "discs.npz"), labels=str(folder / "labels.csv"), group="patient"),
        split=SplitConfig(test_group=tuple(sorted(set(np.array(patient)[IS_TEST])))),
        tiles=TilesConfig(size=SIDE, scaling="standardise"),
        model=ModelConfig(latent_dim=(2,), widths=(4, 8), likelihood="gaussian", beta=0.1),
        train=TrainConfig(epochs=4, batch_size=16, learning_rate=1e-2, threads=1, precision="float32"),
        atlas=AtlasConfig(points=3, samples=4, examples=4, clusters=2),
    )
    made = study(config, folder / "study", until="train")
    data = made.data()
    embed_model(made, data, "z2", Talk())
    analyse(made, data, "z2", Talk())
    return made


def results_of(made: Study) -> ModelResults:
    return ModelResults.load(made.folder / "results" / "z2")


def learned(made: Study) -> dict[str, object]:
    """Everything that only images which are not of the test part may decide; exact."""
    model = made.folder / "models" / "z2"
    history = pd.read_csv(model / "history.csv").drop(columns=CLOCKS)
    atlas, results = made.atlas("z2"), results_of(made)
    own = (atlas.table["split"] != "test").to_numpy()
    samples = dataclasses.asdict(results.samples)
    trials = samples["density"].pop("trials")
    return {
        "split": (made.folder / "data" / "split.csv").read_text(),
        "statistics": files.read_json(made.folder / "data" / "stats.json")["training"],
        "network and grey scale": (model / "config.toml").read_text(),
        "weights": files.sha256(model / "weights.safetensors"),
        "last weights": [files.sha256(file) for file in model.glob("checkpoints/*/weights.safetensors")],
        "best epoch": files.read_json(model / "training.json")["best_epoch"],
        "history": history.drop(columns=[name for name in history if name.startswith("test_")]).to_csv(),
        "latents": (atlas.mean[own].tobytes(), atlas.log_var[own].tobytes()),
        "numbers of model and PCA": results.metrics.drop(index="test").to_dict(),
        "rates": (results.rate_per_dim.tobytes(), results.is_active.tolist(), results.forecast_active_dims),
        "density": (samples.pop("density"), trials.to_csv(), samples.pop("mismatch")),
        "priors": samples.pop("priors").drop(columns=["rate_nats", "auc", "n"], errors="ignore").to_csv(),
        "images of priors": {name: frames.tobytes() for name, frames in samples.pop("strips").items()},
        "samples": {name: np.asarray(values).tobytes() for name, values in samples.items()},
        "samples of the model": made.vae("z2").sample(3, like=atlas).tobytes(),
    }


def seen_of_test(made: Study) -> dict[str, object]:
    """What must differ where the poison is in the images, or else these tests see nothing."""
    atlas, results = made.atlas("z2"), results_of(made)
    history = pd.read_csv(made.folder / "models" / "z2" / "history.csv")
    return {
        "latents": atlas.mean[(atlas.table["split"] == "test").to_numpy()].tobytes(),
        "numbers": results.metrics.loc["test"].to_dict(),
        "history": history[[name for name in history if name.startswith("test_")]].to_csv(),
    }


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    return run_study(tmp_path_factory.mktemp("clean"), "")


@pytest.mark.parametrize("poison", ["noise", "constant", "labels"])
def test_what_a_study_learns_does_not_depend_on_its_test_part(clean, tmp_path, poison):
    made = run_study(tmp_path, poison)
    expected, found = learned(clean), learned(made)
    assert [name for name in expected if found[name] != expected[name]] == []
    before, after = seen_of_test(clean), seen_of_test(made)
    assert {name for name in before if after[name] != before[name]} == (set() if poison == "labels" else set(before))
    assert made.data().fingerprint != clean.data().fingerprint, "the poison was taken"


def tiles_of(pixels: np.ndarray, sampler: str) -> Tiles:
    """Images (n, h, w) in memory as tiles on a fixed scale of greys."""
    columns = {"height": SIDE, "width": SIDE, "channels": 1, "dtype": str(pixels.dtype)}
    table = pd.DataFrame({"image": [f"{row:03d}" for row in range(len(pixels))], "group": ""}).assign(**columns)
    images = Collection(table=table, sources=tuple(ArraySource(one[None]) for one in pixels), path=Path("discs"))
    return Tiles(images, size=SIDE, sampler=sampler, scaling=Scaling("standardise", 1000.0, 400.0))


def test_what_a_vae_learns_does_not_depend_on_its_test_tiles(tmp_path):
    pixels = discs().astype(np.float32)
    own, test = pixels[~IS_TEST], pixels[IS_TEST]
    tests = {"given": test, "noise": poisoned(discs(), "noise")[IS_TEST], "nan": np.full_like(test, np.nan)}
    outcomes, histories = {}, {}
    for name, given in {**tests, "absent": None}.items():
        vae = VAE(2, widths=(4, 8), likelihood="gaussian", beta=0.1).fit(
            tiles_of(own[10:], "whole"),
            validation=tiles_of(own[:10], "grid"),
            test=None if given is None else tiles_of(given.astype(np.float32), "grid"),
            train=TrainConfig(epochs=4, batch_size=16, learning_rate=1e-2, threads=1, precision="float32"),
            run=tmp_path / name,
        )
        history = vae.history.drop(columns=CLOCKS)
        of_test = [column for column in history if column.startswith("test_")]
        best = files.read_json(tmp_path / name / "training.json")["best_epoch"]
        weights = files.sha256(tmp_path / name / "weights.safetensors")
        outcomes[name] = (
            weights,
            best,
            history.drop(columns=of_test).to_csv(),
            vae.reconstruct(own[:3, None]).tobytes(),
        )
        histories[name] = history[of_test].to_csv()
    assert len(set(outcomes.values())) == 1
    assert len(set(histories.values())) == 3, "NaN and no test tiles leave the same gap; the others differ"
