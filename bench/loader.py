"""Loading tiles: tiles per second and processor microseconds per tile, zatlas against the loaders that people use.

    python bench/loader.py [--rounds 5]

Synthetic sections as in cell_data.h5 (groups of uint8 images of 500 to 3000 px, uncompressed; and 2000 whole images of
128 px), cut into 128 px tiles, given out as float32 batches of 64. A PyTorch DataLoader over h5py with no and two
workers, TorchIO's Queue with its UniformSampler, MONAI's CacheDataset with RandSpatialCropSamplesd. All are in steady
state; what is done once (packing, caching) is not counted.

Not equal: TorchIO and MONAI draw images alike and take eight crops of each; DataLoader draws in proportion to pixels,
with crops inside the image; zatlas lets each pixel be seen equally often, with a mask of what overhangs.
"""

import argparse
import sys
import tempfile
from functools import partial
from pathlib import Path

import contest
import h5py
import numpy as np

WORKER = contest.HERE / "loader_worker.py"
TORCH = "torch==2.13.0"
ZATLAS = {
    f"zatlas-{name}{end}": 30_000 for name in ("by_pixel", "equal", "whole") for end in ("", "-augmented")
}  # fmt: skip
TILES = {**ZATLAS, "DataLoader-0": 10_000, "DataLoader-2": 10_000, "torchio": 5_000, "monai": 3_000}


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    pythons = {
        "torchio": contest.environment("torchio", (TORCH, "torchio", "h5py")),
        "monai": contest.environment("monai", (TORCH, "monai", "h5py")),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = draw(folder)
        contestants = {
            contestant: partial(_worker, pythons.get(contestant, sys.executable), contestant, path, folder, n)
            for contestant, n in TILES.items()
        }
        found = contest.interleaved(contestants, rounds=rounds)
    middle = contest.medians(found)
    times = contest.ratios(found, "cpu_us_per_tile", of="zatlas-by_pixel")
    rows = [
        [name, numbers["tiles_per_s"], numbers["cpu_us_per_tile"], 1 / times[name][1]]
        for name, numbers in middle.items()
    ]
    contest.show("Loading (medians)", ["loader", "tiles/s", "cpu us/tile", "times by_pixel"], rows)
    contest.save("loader", {"turns": found, "medians": middle, "times_by_pixel": times})


def draw(folder: Path, *, groups: int = 5, images: int = 12) -> Path:
    """Write sections.h5 and squares.npz: noise, whose content no loader looks at."""
    rng = np.random.default_rng(0)
    with h5py.File(folder / "sections.h5", "w") as file:
        for group in range(groups):
            for image in range(images):
                height, width = rng.integers(500, 3000, 2)
                pixels = rng.integers(0, 256, (height, width), dtype=np.uint8)
                file.create_dataset(f"B{group:02d}/{image:04d}", data=pixels)
    np.savez(folder / "squares.npz", images=rng.integers(0, 256, (2000, 128, 128), dtype=np.uint8))
    return folder / "sections.h5"


def _worker(python: Path | str, name: str, path: Path, folder: Path, n_tiles: int) -> dict[str, float]:
    return contest.run([python, WORKER, name, path, folder, n_tiles]).report


if __name__ == "__main__":
    main()
