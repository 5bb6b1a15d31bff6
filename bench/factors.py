"""What a linear rule reads of the known factors of phantoms from the global latents, and how far shifts move these.

python bench/factors.py [--kind radiographs] [--latent-dim 16 32] [--texture off local] [--brains 4] [--images 12] ...

Phantoms of `--brains` brains train the model (the settings of `zatlas demo`); `--held-out` further brains, drawn by the
same law, are only encoded. For each factor R2, the share of its variance that a ridge regression explains, from the
latents z (posterior means), from as many PCA scores, and from grey histograms of 16 bins:

- `sections`: means over the tiles of a section. Rule fitted on the training sections, judged on the held-out brains.
- `sections, many`: fitted and judged on the held-out brains alone, cross-validated by brain: what z holds, where the
  rule does not suffer from few sections.
- `tiles`: single tiles, fitted on training brains and judged on held-out ones. Factors are those of the whole section,
  which a tile of glass, or without islands, cannot know.

Then the PSNR of held-out tiles and the share of the variance of z that shifts of 1/16, 1/8 and 1/4 of a tile make
(`zatlas.trust.invariance`), over held-out brains. Radiographs are whole images: of them `--images` train and as many as
`--held-out` brains of so many images would have are held out by patient; they have no shifts.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from contest import Table, save
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import zatlas as za
from zatlas.compute import one_thread
from zatlas.config import TrainConfig
from zatlas.images.collection import Collection
from zatlas.images.phantom import factor_names, radiographs, sections
from zatlas.model.texture import details
from zatlas.results.invariance import measured_invariance
from zatlas.results.pictures import View
from zatlas.tiles.pixel_pca import PixelPca, fit_pixel_pca
from zatlas.trust.probes import grey_histogram, linear_probe, means_by

_ALPHAS = np.logspace(-3, 5, 17)  # those of zatlas.trust.probes
_SOURCES = ("z", "pca", "histogram", "details")
_BATCH = 256


def main() -> None:
    """Train, read, print and keep the tables."""
    asked = _arguments()
    with tempfile.TemporaryDirectory() as folder:
        train, held = _phantoms(asked, Path(folder))
        found: list[dict[str, Any]] = []
        for latent_dim, texture in itertools.product(asked.latent_dim, asked.texture):
            found.append(measured(train, held, asked, latent_dim, texture))
            for table in _tables(found[-1]):
                print(table.plain(), flush=True)
            tables = [table for one in found for table in _tables(one)]
            save(f"factors_{asked.name or asked.kind}", {"settings": vars(asked), "models": found}, tables=tables)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kind", choices=("sections", "radiographs"), default="sections")
    parser.add_argument("--latent-dim", type=int, nargs="+", default=[16])
    parser.add_argument("--texture", choices=("off", "local", "matched"), nargs="+", default=["off"])
    parser.add_argument("--consistency", type=float, default=0.0, help="how strongly z is kept still under shifts")
    parser.add_argument("--brains", type=int, default=4, help="brains that train")
    parser.add_argument("--images", type=int, default=0, help="of each brain (12), or radiographs that train (600)")
    parser.add_argument("--held-out", type=int, default=16, help="further brains that are only encoded")
    parser.add_argument("--tile", type=int, default=64, help="side of tiles, or of radiographs [px]")
    parser.add_argument("--stride", type=int, default=0, help="between tiles that are read (default: the tile)")
    parser.add_argument("--epochs", type=int, default=25)
    parser.add_argument("--widths", type=int, nargs="*", default=[16, 32, 64], help="empty: those of the size")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--beta", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--name", default="", help="of the file of results")
    asked = parser.parse_args()
    asked.images = asked.images or (12 if asked.kind == "sections" else 600)
    return asked


def _phantoms(asked: argparse.Namespace, folder: Path) -> tuple[Collection, Collection]:
    """Images that train, and those held out: other brains or patients."""
    if asked.kind == "sections":
        n_brains = asked.brains + asked.held_out
        path = sections(folder / "x.h5", brains=n_brains, images=asked.images, seed=asked.seed, compression=None)
        images = za.open_images(path)
        is_training = np.isin(images.table["group"], images.groups[: asked.brains])
    else:
        n = asked.images + 12 * asked.held_out
        path, labels = radiographs(folder / "x_images.npz", images=n, size=asked.tile, seed=asked.seed)
        images = za.open_images(path, labels=labels, group="patient")
        training_patients = set(images.table["group"][: asked.images])
        is_training = images.table["group"].isin(training_patients).to_numpy()
    return images.select(is_training), images.select(~is_training)


def measured(
    train: Collection, held: Collection, asked: argparse.Namespace, latent_dim: int, texture: str
) -> dict[str, Any]:
    """Train one model and read it."""
    vae = za.VAE(
        latent_dim,
        widths=tuple(asked.widths),
        decoder="upsample",
        texture=texture,
        beta=asked.beta,
        seed=asked.seed,
        consistency=asked.consistency,
    )
    is_cut = asked.kind == "sections"
    tiles = za.Tiles(train, size=asked.tile, sampler="by_pixel" if is_cut else "whole", augment=is_cut, seed=asked.seed)
    begin = time.monotonic()
    settings = TrainConfig(epochs=asked.epochs, batch_size=asked.batch_size, kl_warmup_epochs=4.0)
    vae.fit(tiles, train=settings, keep_freed_memory=True)
    seconds = time.monotonic() - begin
    grids = [
        za.Tiles(one, size=asked.tile, sampler="grid", stride=asked.stride, scaling=vae.scaling)
        for one in (train, held)
    ]
    view = View(vae.network, grids[0])
    pca = _pca(view, grids[0], latent_dim)
    tables, features = zip(*(_read(vae, view, grid, pca) for grid in grids), strict=True)
    rows = [
        {"factor": name, "by": by, **scores}
        for name in factor_names(asked.kind)
        for by, scores in _scores(name, tables, features).items()
    ]
    return {
        "model": f"z{latent_dim}" + {"off": "", "local": " with local latents"}.get(texture, " with matched draws"),
        "seconds": seconds, "steps": asked.epochs * -(-len(tiles) // asked.batch_size),
        "n_train": len(train), "n_held": len(held), "n_tiles": [len(grid) for grid in grids],
        "psnr_db": float(tables[1]["psnr_db"].mean()), "rate_nats": float(tables[1]["rate_nats"].mean()),
        "scores": rows, "invariance": measured_invariance(view, grids[1], pca, part="test") if is_cut else {},
    }  # fmt: skip


def _pca(view: View, tiles: za.Tiles, n_components: int) -> PixelPca:
    rows = np.unique(np.linspace(0, len(tiles) - 1, min(len(tiles), 3000)).astype(np.int64))
    return fit_pixel_pca(view.take(tiles, rows), n_components)


def _read(vae: za.VAE, view: View, tiles: za.Tiles, pca: PixelPca) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """The table of an atlas, and the features of each tile by source."""
    atlas, scores, histograms, octaves = vae.embed(tiles), [], [], []
    for start in range(0, len(tiles), _BATCH):
        shown = view.take(tiles, np.arange(start, min(start + _BATCH, len(tiles))))
        scores.append(pca.transform(shown))
        histograms.append(grey_histogram(shown))
        octaves.append(details(torch.from_numpy(shown)).numpy())
    names = ("pca", "histogram", "details")
    features = {"z": atlas.mean, **dict(zip(names, map(np.concatenate, (scores, histograms, octaves)), strict=True))}
    return atlas.table, features


def _scores(
    name: str, tables: Sequence[pd.DataFrame], features: Sequence[Mapping[str, np.ndarray]]
) -> dict[str, dict[str, float]]:
    """R2 of a factor by what is judged and by source."""
    truths = [table[name].to_numpy(np.float64) for table in tables]
    has_tiles = any(table["image"].duplicated().any() for table in tables)
    codes = [pd.factorize(table["group"].astype(str) + "/" + table["image"].astype(str))[0] for table in tables]
    firsts = [np.unique(code, return_index=True)[1] for code in codes]
    groups = tables[1]["group"].to_numpy(dtype=str)[firsts[1]]
    found: dict[str, dict[str, float]] = {"sections": {}, "sections, many": {}, "tiles": {}}
    for source in _SOURCES:
        means = [means_by(code, one[source]) for code, one in zip(codes, features, strict=True)]
        values = [truth[first] for truth, first in zip(truths, firsts, strict=True)]
        found["sections"][source] = r2_between(means[0], values[0], means[1], values[1])
        probe = linear_probe(means[1], pd.Series(values[1]), groups, kind="quantity")
        found["sections, many"][source] = probe.score if probe is not None else float("nan")
        if has_tiles:
            found["tiles"][source] = r2_between(features[0][source], truths[0], features[1][source], truths[1])
    return found if has_tiles else {"images": found["sections"], "images, many": found["sections, many"]}


def r2_between(fitted_x: np.ndarray, fitted_y: np.ndarray, x: np.ndarray, y: np.ndarray) -> float:
    """1 - squared error of a ridge regression fitted elsewhere / squared error of the mean of what is judged.

    The penalty is chosen where it is fitted, by leave-one-out.
    """
    with one_thread():
        reader = make_pipeline(StandardScaler(), RidgeCV(alphas=_ALPHAS)).fit(fitted_x, fitted_y)
        error = ((reader.predict(x) - y) ** 2).sum()
    return float(1 - error / ((y - y.mean()) ** 2).sum())


def _tables(found: Mapping[str, Any]) -> list[Table]:
    about = (
        f"{found['model']}: {found['n_train']} images train, {found['n_held']} held out, {found['steps']} steps, "
        f"{found['seconds']:.0f} s, {found['psnr_db']:.2f} dB, {found['rate_nats']:.0f} nats"
    )
    rows = [[f"{row['factor']}, {row['by']}", *(row[source] for source in _SOURCES)] for row in found["scores"]]
    tables = [Table(f"R2, {about}", ["factor", *_SOURCES], rows)]
    if found["invariance"]:
        tables.append(_shift_table(found["invariance"]))
    return tables


def _shift_table(found: Mapping[str, Any]) -> Table:
    """Shares with their intervals."""
    names = {"z": "latents", "pca": "pca", "histogram": "histogram"}
    rows = [
        [
            f"{shift['px']} px",
            *(f"{shift[key]:.3f} [{shift[f'{key}_low']:.3f}, {shift[f'{key}_high']:.3f}]" for key in names.values()),
        ]
        for shift in found["shifts"]
    ]
    title = f"Share of the variance that shifts make, {found['n']} tiles of {found['n_units']} brains"
    return Table(title, ["shift", *names], rows)


if __name__ == "__main__":
    main()
