"""One contestant of `loader.py`, in a process of its own: 128 px tiles as float32 batches of 64, on 0 to 1.

    python loader_worker.py CONTESTANT SECTIONS.h5 FOLDER TILES

Prints tiles per second and processor microseconds per tile (with those of worker processes), from steady state. What
each library needs before its first batch (opening, caching, packing) is not counted. Where zatlas is not installed,
nothing here imports it.
"""

import json
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np

SIZE, BATCH = 128, 64
CROPS_PER_IMAGE = 8  # TorchIO and MONAI take several crops of an image at a time


def zatlas_tiles(path: Path, folder: Path, *, sampler: str, augment: bool) -> Iterator[Any]:
    """Batches of zatlas, one epoch after the other."""
    import zatlas

    if sampler == "whole":
        images = zatlas.open_images(folder / "squares.npz").packed(folder / "packed-squares")
    else:
        images = zatlas.open_images(path).packed(folder / "packed")
    tiles = zatlas.Tiles(images, size=SIZE, sampler=sampler, augment=augment)
    epoch = 0
    while True:
        for batch in tiles.batches(epoch, BATCH):
            if len(batch) == BATCH:
                yield batch.x
        epoch += 1


def data_loader(path: Path, folder: Path, *, workers: int) -> Iterator[Any]:
    """A notebook's dataset: h5py, an image drawn in proportion to its pixels, a random crop inside it."""
    import torch
    from torch.utils.data import DataLoader, Dataset

    class Crops(Dataset):  # type: ignore[type-arg]
        def __init__(self) -> None:
            self.file: h5py.File | None = None
            with h5py.File(path) as file:
                self.names = [f"{group}/{name}" for group in file for name in file[group]]
                areas = np.array([np.prod(file[name].shape) for name in self.names], float)
            self.probability = areas / areas.sum()

        def __len__(self) -> int:
            return 1_000_000

        def __getitem__(self, index: int) -> Any:
            if self.file is None:  # opened in the worker, as h5py needs it
                self.file = h5py.File(path)
                self.rng = np.random.default_rng(index)
            image = self.file[self.names[self.rng.choice(len(self.names), p=self.probability)]]
            y, x = (self.rng.integers(0, side - SIZE + 1) for side in image.shape)
            tile = image[y : y + SIZE, x : x + SIZE]
            return torch.from_numpy(tile.astype(np.float32) / 255)[None]

    yield from DataLoader(Crops(), batch_size=BATCH, num_workers=workers)


def torchio_queue(path: Path, folder: Path) -> Iterator[Any]:
    """TorchIO: subjects in memory, a queue of 512 patches, uniform sampler."""
    import torch
    import torchio

    subjects = []
    with h5py.File(path) as file:
        for group in file.values():
            for image in group.values():
                pixels = torch.from_numpy(image[()])[None, :, :, None].float() / 255
                subjects.append(torchio.Subject(image=torchio.ScalarImage(tensor=pixels)))
    dataset = torchio.SubjectsDataset(subjects)
    queue = torchio.Queue(
        dataset, max_length=512, samples_per_volume=CROPS_PER_IMAGE,
        sampler=torchio.data.UniformSampler((SIZE, SIZE, 1)), num_workers=0,
    )  # fmt: skip
    loader = torchio.SubjectsLoader if hasattr(torchio, "SubjectsLoader") else torch.utils.data.DataLoader
    while True:
        for batch in loader(queue, batch_size=BATCH, num_workers=0):
            tiles = batch["image"][torchio.DATA][..., 0]
            if len(tiles) == BATCH:
                yield tiles


def monai_crops(path: Path, folder: Path) -> Iterator[Any]:
    """MONAI: sections cached in memory, eight random crops of each."""
    from monai.data import CacheDataset, DataLoader
    from monai.transforms import Compose, EnsureChannelFirstd, RandSpatialCropSamplesd, ScaleIntensityRanged

    with h5py.File(path) as file:
        sections = [{"image": image[()]} for group in file.values() for image in group.values()]
    crop = RandSpatialCropSamplesd("image", (SIZE, SIZE), CROPS_PER_IMAGE, random_size=False)
    scale = ScaleIntensityRanged("image", 0, 255, 0, 1)
    steps = Compose([EnsureChannelFirstd("image", channel_dim="no_channel"), crop, scale])
    dataset = CacheDataset(sections, steps, cache_rate=1.0, progress=False)
    while True:
        for batch in DataLoader(dataset, batch_size=BATCH // CROPS_PER_IMAGE, shuffle=True, num_workers=0):
            if len(batch["image"]) == BATCH:
                yield batch["image"]


CONTESTANTS: dict[str, Callable[[Path, Path], Iterator[Any]]] = {
    **{
        f"zatlas-{sampler}{'-augmented' if augment else ''}": lambda path, folder, sampler=sampler, augment=augment: (
            zatlas_tiles(path, folder, sampler=sampler, augment=augment)
        )
        for sampler in ("by_pixel", "equal", "whole")
        for augment in (False, True)
    },
    "DataLoader-0": lambda path, folder: data_loader(path, folder, workers=0),
    "DataLoader-2": lambda path, folder: data_loader(path, folder, workers=2),
    "torchio": torchio_queue,
    "monai": monai_crops,
}


def _cpu_seconds() -> float:
    """Of this process and of its workers that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def _worker_cpu_seconds() -> float:
    """Of worker processes that still run, by the kernel's account."""
    import os

    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    name, path, folder, n_tiles = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4])
    batches = CONTESTANTS[name](path, folder)
    for _ in range(16):
        first = next(batches)
        assert tuple(first.shape) == (BATCH, 1, SIZE, SIZE) and str(first.dtype) == "torch.float32"
    done, begin, cpu = 0, time.perf_counter(), _cpu_seconds() + _worker_cpu_seconds()
    while done < n_tiles:
        done += len(next(batches))
    wall, used = time.perf_counter() - begin, _cpu_seconds() + _worker_cpu_seconds() - cpu
    print(json.dumps({"tiles_per_s": done / wall, "cpu_us_per_tile": 1e6 * used / done}), flush=True)
    batches.close()  # type: ignore[attr-defined]


if __name__ == "__main__":
    main()
