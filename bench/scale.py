"""How the costs of zatlas grow: with the number of images, the side of a tile, the latent size.

    python bench/scale.py                                  small sizes, about five minutes on two cores
    python bench/scale.py --images 1000,10000,100000       the analysis at large sizes
    python bench/scale.py --only images,latent

Each measurement runs in a process of its own, so that its peak memory is its own. Training is that of a small network
on made-up tiles, seconds of one epoch after a first one; the analysis is every step after encoding: PCA, k-means with
its verdict, t-SNE, and the measurements and pictures of the report, of latents as in analysis_points.py and of tiles of
16 px. For each cost the exponent is fitted: the slope of log cost against log size, 1 when twice the size costs twice
as much; it is small where a constant part prevails. Everything is written to results/scale.json.

Not here: which of several ways is the best (analysis.py, train.py).
"""

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contest
import numpy as np
from analysis_points import latents, pictures

AXES = {
    "images": "number of images",
    "training": "number of images",
    "tile": "side of a tile [px]",
    "latent": "latent size",
}
TILE_PX = 16
ANALYSED_DIM = 16
LATENT_POINTS = 2000
TRAINED = 1024
Row = dict[str, Any]


def main() -> None:
    """Measure along the axes asked for; one table of costs and exponents."""
    options = _options()
    if options.worker:
        print(json.dumps(WORKERS[options.worker](options.size)))
        return
    sizes = {
        "images": options.images, "training": options.training, "tile": options.tiles, "latent": options.latents,
    }  # fmt: skip
    rows = [row for axis in options.only for row in along(axis, sizes[axis])]
    costs = [name for axis in options.only for name in costs_of(axis, rows)]
    columns = ("axis", "size", "cost", "measured")
    shown = [
        (row["axis"], str(row["size"]), name, row[name]) for name in dict.fromkeys(costs) for row in rows if name in row
    ]
    contest.show("Costs", columns, shown)
    exponents = [
        {"axis": axis, "cost": name, "exponent": exponent(axis, name, rows)}
        for axis in options.only
        for name in costs_of(axis, rows)
    ]
    contest.show(
        "Exponents (slope of log cost against log size)", ("axis", "what varies", "cost", "exponent"),
        [(e["axis"], AXES[e["axis"]], e["cost"], e["exponent"]) for e in exponents],
    )  # fmt: skip
    contest.save("scale", {"rows": rows, "exponents": exponents})


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(AXES), help="axes, by comma")
    parser.add_argument("--images", type=_numbers, default=[500, 2000, 8000], help="numbers of images analysed")
    parser.add_argument("--training", type=_numbers, default=[512, 1024, 2048], help="numbers of images trained on")
    parser.add_argument("--tiles", type=_numbers, default=[64, 128, 256], help="sides of tiles [px]")
    parser.add_argument("--latents", type=_numbers, default=[4, 16, 64, 256], help="latent sizes")
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, default=0, help=argparse.SUPPRESS)
    return parser.parse_args()


def _numbers(text: str) -> list[int]:
    return [int(float(word)) for word in text.split(",")]


def along(axis: str, sizes: list[int]) -> list[Row]:
    """One row of costs per size."""
    rows = []
    for size in sizes:
        done = contest.run([sys.executable, __file__, "--worker", axis, "--size", str(size)])
        rows.append({"axis": axis, "size": size, **done.report, "peak_mb": done.peak_mb})
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


def costs_of(axis: str, rows: list[Row]) -> list[str]:
    """Names of the costs measured along an axis."""
    names = [name for row in rows if row["axis"] == axis for name in row if name not in ("axis", "size")]
    return list(dict.fromkeys(names))


def exponent(axis: str, cost: str, rows: list[Row]) -> float:
    """Least-squares slope of log cost against log size; NaN for fewer than two sizes."""
    own = [(math.log(row["size"]), math.log(max(row[cost], 1e-9))) for row in rows if row["axis"] == axis]
    if len(own) < 2:
        return math.nan
    sizes, values = np.array(own).T
    return float(np.polyfit(sizes, values, 1)[0])


def analyse(n: int, d: int = ANALYSED_DIM) -> dict[str, float]:
    """Seconds of each step after encoding, for n images in d latent dimensions."""
    import pandas as pd

    from zatlas.atlas.atlas import Atlas
    from zatlas.config import ModelConfig, StudyConfig, TilesConfig
    from zatlas.model.building import build
    from zatlas.model.network import NetworkConfig
    from zatlas.results.analysis import analyse_model, compare_models

    tiles = _tiles(n, TILE_PX)
    model = ModelConfig(latent_dim=(d,), widths=(8, 16))
    network = build(NetworkConfig.from_model(model, d, channels=1, size=TILE_PX), seed=0)
    table = tiles.table().reset_index(drop=True)
    rng = np.random.default_rng(0)
    mean = latents(n, d)
    table = table.assign(size_px=TILE_PX, age=mean[:, 0] + rng.normal(size=n), half=np.where(mean[:, 1] > 0, "a", "b"))
    table["split"] = np.where(np.arange(n) % 5 == 0, "test", "train")
    for name in ("distortion_nats", "rate_nats", "psnr_db"):
        table[name] = rng.normal(size=n).astype(np.float32)
    atlas = Atlas(mean, np.full_like(mean, -3.0), pd.DataFrame(table))
    parts = {"train": tiles, "test": tiles.subset(np.arange(0, n, 5)), "atlas": tiles}
    config = StudyConfig(model=model, tiles=TilesConfig(size=TILE_PX))
    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        begin = time.perf_counter()
        made = step()
        seconds[f"{name}_s"] = time.perf_counter() - begin
        return made

    timed("pca", atlas.pca)
    timed("kmeans", lambda: atlas.kmeans())
    timed("tsne", lambda: atlas.tsne())
    found = timed("report", lambda: analyse_model(network, tiles.scaling, atlas, parts, config, 0))
    timed("comparison", lambda: compare_models([found, found], [atlas, atlas]))
    with tempfile.TemporaryDirectory() as folder:
        timed("writing", lambda: (found.save(Path(folder) / "results"), atlas.save(Path(folder) / "a.h5ad")))
    return seconds


def train(n: int, side: int = 64, d: int = ANALYSED_DIM) -> dict[str, float]:
    """Seconds per epoch of a small network on n tiles, after a first epoch and without evaluation."""
    from zatlas.config import ModelConfig, TrainConfig
    from zatlas.progress import Step
    from zatlas.vae import VAE

    tiles = _tiles(n, side)
    model = VAE.from_model(ModelConfig(latent_dim=(d,), widths=(16, 32, 64)), d, seed=0)
    ends: dict[int, list[float]] = {}

    def on_step(step: Step) -> None:
        ends.setdefault(step.epoch, []).append(time.perf_counter())

    settings = TrainConfig(epochs=2, batch_size=64)
    model.fit(tiles, validation=tiles.subset(np.arange(16)), train=settings, on_step=on_step)
    last = ends[max(ends)]
    epoch = (last[-1] - last[0]) / (len(last) - 1) * len(last)
    return {"epoch_s": epoch, "images_per_s": n / epoch}


def _tiles(n: int, side: int) -> Any:
    """Grid tiles of exactly n images of one side."""
    import pandas as pd

    from zatlas.images.collection import Collection
    from zatlas.images.source import ArraySource
    from zatlas.tiles.loader import Tiles
    from zatlas.tiles.transforms import Scaling

    different = (255 * pictures(min(n, 1000), side)[:, 0]).astype(np.uint8)
    sources = tuple(ArraySource(different[row % len(different)][None]) for row in range(n))
    table = pd.DataFrame({"image": [f"{row:06d}" for row in range(n)], "group": [f"g{row % 8}" for row in range(n)]})
    table = table.assign(height=side, width=side, channels=1, dtype="uint8")
    collection = Collection(table=table, sources=sources, path=Path("made-up.npz"))
    return Tiles(collection, size=side, sampler="grid", scaling=Scaling("minmax", 0.0, 255.0))


def _at_latent_size(d: int) -> dict[str, float]:
    return analyse(LATENT_POINTS, d) | train(TRAINED, d=d)


WORKERS: dict[str, Callable[[int], dict[str, float]]] = {
    "images": analyse,
    "training": train,
    "tile": lambda side: train(TRAINED // 2, side),
    "latent": _at_latent_size,
}

if __name__ == "__main__":
    main()
