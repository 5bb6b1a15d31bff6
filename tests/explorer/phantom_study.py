"""A small finished study of synthetic radiographs, with hostile labels, for tests of the page."""

import csv
from pathlib import Path

from zatlas import files, phantom
from zatlas.config import AtlasConfig, DataConfig, ModelConfig, StudyConfig, TilesConfig, TrainConfig
from zatlas.progress import Talk
from zatlas.studies.run import analyse, compare, embed_model, study
from zatlas.studies.study import Study

HOSTILE = ("<img src=x onerror=alert(1)>", '"><script>alert(2)</script>', "plain")


def phantom_study(folder: Path, *, images: int = 160, size: int = 32) -> Study:
    """Models z2 and z6, trained for three epochs; the report is left out, which takes longer than all the rest."""
    npz, labels = phantom.radiographs(folder / "x_images.npz", images=images, size=size, seed=1)
    _add_hostile_column(labels)
    config = StudyConfig(
        title="Phantom <b>radiographs</b>",
        data=DataConfig(input=str(npz), labels=str(labels), group="patient"),
        tiles=TilesConfig(size=size),
        model=ModelConfig(latent_dim=(2, 6), widths=(8, 16), likelihood="bernoulli"),
        train=TrainConfig(epochs=3, batch_size=16, threads=1, learning_rate=3e-3, kl_warmup_epochs=0),
        atlas=AtlasConfig(points=7, samples=4, examples=4, clusters=3),
    )
    made = study(config, folder / "phantom-study", until="train", command=["zatlas", "study", "x_images.npz"])
    data = made.data()
    for name in made.names:
        embed_model(made, data, name, Talk())
        analyse(made, data, name, Talk())
    facts = {"command": ["zatlas", "study"], "seed": 0, "environment": files.environment()}
    compare(made, data, {**facts, "fingerprint": data.fingerprint}, Talk())
    return made


def _add_hostile_column(labels: Path) -> None:
    rows = list(csv.reader(labels.read_text(encoding="utf-8").splitlines()))
    with labels.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow([*rows[0], "<b>note</b>"])
        writer.writerows([*row, HOSTILE[i % len(HOSTILE)]] for i, row in enumerate(rows[1:]))
