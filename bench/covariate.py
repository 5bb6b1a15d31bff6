"""What a covariate decoder takes from the latents, on phantoms whose stain differs between brains.

Five brains of 300 sections of 64 px; the stain of a brain is one of five levels, that of a section lies within 12 % of
it. One brain (B20) is held out. For each weight one network is trained; then, cross-validated over five folds of
sections, the brain is read from the posterior means (logistic regression; balanced accuracy, chance 0.25) and the known
factors are (ridge regression; R2). A random forest reads the brain, too: what a linear probe cannot see.

    python bench/covariate.py --weights off 0.1 0.2 0.3
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import recall_score
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import zatlas as za
from zatlas.config import TrainConfig
from zatlas.images.collection import Collection
from zatlas.images.phantom import section
from zatlas.images.source import ArraySource
from zatlas.tiles.loader import Tiles

STAIN = {"B01": 0.55, "B02": 0.8, "B05": 1.1, "B07": 1.45, "B20": 0.95}
SPREAD, SECTIONS, SIDE = 0.12, 300, 64
FACTORS = ("stain", "cell_density", "cell_size", "island_fraction", "fibres")


def sections(n: int) -> Collection:
    """n sections of each brain, with the stain of their brain instead of that of the phantoms."""
    level = list(STAIN.values())
    section._stain = lambda seed, brain, chance: level[brain] * float(np.exp(SPREAD * (2 * chance - 1)))
    pixels, rows = [], []
    for brain, name in enumerate(STAIN):
        for image in range(n):
            drawn, factors = section.draw_section(1, brain, image, min_px=SIDE, max_px=SIDE)
            pixels.append(drawn[None])
            rows.append({"image": f"{name}/{image:04d}", "group": name, **factors})
    table = pd.DataFrame(rows).assign(height=SIDE, width=SIDE, channels=1, dtype="uint8")
    return Collection(table=table, sources=tuple(map(ArraySource, pixels)), path=Path("phantom"))


def probes(vae: za.VAE, images: Collection) -> dict[str, float]:
    """Scores of what is read from the posterior means."""
    atlas = vae.embed(images, stride=SIDE)
    z, table = atlas.mean, atlas.table
    found = {name: float(table[name].mean()) for name in ("psnr_db", "rate_nats")}
    brains = table["group"].astype(str).to_numpy()
    if len(set(brains)) > 1:
        readers = {
            "brain": LogisticRegression(class_weight="balanced", max_iter=500),
            "brain_forest": RandomForestClassifier(150, min_samples_leaf=4, class_weight="balanced", random_state=0),
        }
        for name, reader in readers.items():
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            read = cross_val_predict(make_pipeline(StandardScaler(), reader), z, brains, cv=folds)
            found[name] = float(recall_score(brains, read, average="macro"))
    for factor in FACTORS:
        y = table[factor].to_numpy(float)
        ridge = make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 5, 17)))
        read = cross_val_predict(ridge, z, y, cv=KFold(5, shuffle=True, random_state=0))
        found[factor] = float(1 - np.square(y - read).sum() / np.square(y - y.mean()).sum())
    return found


def measured(images: Collection, weight: str, epochs: int, batch_size: int) -> dict[str, object]:
    """One training, and the scores on its brains and on the one held out."""
    is_held_out = (images.table["group"] == "B20").to_numpy()
    known = images.select(~is_held_out)
    is_validation = np.arange(len(known)) % 8 == 3
    train = Tiles(known.select(~is_validation), size=SIDE, sampler="whole", seed=0)
    validation = Tiles(known.select(is_validation), size=SIDE, sampler="grid", scaling=train.scaling)
    told = {"covariate": "group", "covariate_weight": float(weight)} if weight != "off" else {"linear_path": "off"}
    settings = TrainConfig(epochs=epochs, batch_size=batch_size, threads=1, precision="float32", patience=0)
    begin = time.perf_counter()
    vae = za.VAE(16, widths=(16, 32, 64, 128), **told)
    vae.fit(train, validation=validation, train=settings, keep_freed_memory=True)
    seconds = time.perf_counter() - begin
    parts = {"validation": known.select(is_validation), "brains": known, "held_out": images.select(is_held_out)}
    return {"weight": weight, "seconds": round(seconds), **{name: probes(vae, part) for name, part in parts.items()}}


def main() -> None:
    """Measure, print a line for each weight, keep them in bench/results/covariate.json."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", nargs="+", default=["off", "0.1", "0.2", "0.3"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--sections", type=int, default=SECTIONS, help="of each brain")
    options = parser.parse_args()
    images, rows = sections(options.sections), []
    for weight in options.weights:
        rows.append(measured(images, weight, options.epochs, options.batch_size))
        print(json.dumps(rows[-1]), flush=True)
        folder = Path(__file__).parent / "results"
        folder.mkdir(exist_ok=True)
        (folder / "covariate.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
