"""The images of train.py, in parts that no patient shares, as plain arrays that every library can read.

Either synthetic radiographs, drawn as many as are wanted, or a file of one's own: an NPZ of `images`, (n, h, w) uint8,
with a table of labels of which one column names the patient. The split is that of a study with seed 0: a fifth of the
patients for testing, a tenth of the others for validation.

Not here: other image formats, colours, tiles.
"""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["Source", "write_parts"]


@dataclass(frozen=True)
class Source:
    """Where images come from.

    Attributes:
        images: How many; 0 takes all of a file.
        input: NPZ file; "" draws synthetic ones.
        labels: CSV file with a row per image; "" without.
        group: Its column that names the patient; "" splits by image.
    """

    images: int
    input: str = ""
    labels: str = ""
    group: str = ""

    @property
    def words(self) -> str:
        """What they are, for titles."""
        return Path(self.input).name if self.input else "synthetic radiographs"


def write_parts(source: Source, folder: Path, *, size: int) -> dict[str, str]:
    """Files train.npy, validation.npy and test.npy in `folder`, (n, size, size) uint8, by the names of the parts.

    Raises:
        SystemExit: the file holds other than square grey images whose side is a multiple of `size`.
    """
    import zatlas as za
    from zatlas.config import SplitConfig
    from zatlas.images import phantom
    from zatlas.images.splits import split_collection

    if source.input:
        images = za.open_images(source.input, labels=source.labels, group=source.group)
        path = Path(source.input)
    else:
        print(f"drawing {source.images} images of {size} px", file=sys.stderr)
        path, labels = phantom.radiographs(folder / "drawn.npz", images=source.images, size=size)
        images = za.open_images(path, labels=labels, group="patient")
    pixels = np.load(path)["images"]
    if len(images) != len(pixels):
        raise SystemExit(f"{len(pixels) - len(images)} images of {path.name} are damaged, expected none")
    n = source.images or len(pixels)
    pixels = resized(pixels[:n], size)
    split = split_collection(images.select(range(len(pixels))), SplitConfig(), seed=0)
    files = {part: folder / f"{part}.npy" for part in ("train", "validation", "test")}
    for part, file in files.items():
        np.save(file, pixels[split.rows(part)])
    return {part: str(file) for part, file in files.items()}


def resized(pixels: np.ndarray, size: int) -> np.ndarray:
    """Images (n, h, w) uint8 of a smaller side, by the mean of whole blocks."""
    if pixels.ndim != 3 or pixels.dtype != np.uint8 or pixels.shape[1] != pixels.shape[2]:
        raise SystemExit(f"images are {pixels.dtype} {pixels.shape}, expected uint8 (n, h, w) with h = w")
    n, side, _ = pixels.shape
    if side % size:
        raise SystemExit(f"images of {side} px cannot become {size} px by the mean of whole blocks")
    blocks = pixels.reshape(n, size, side // size, size, side // size)
    return np.round(blocks.mean(axis=(2, 4), dtype=np.float32)).astype(np.uint8)
