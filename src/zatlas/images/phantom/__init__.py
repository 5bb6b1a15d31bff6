"""Synthetic images with known factors: brain sections and chest radiographs for the demo, the tests and the docs.

Each picture is drawn from factors that are written beside it, so that one can ask what a model has found. A picture is
a pure function of (seed, index): number 7 is the same whether 10 or 10 000 are drawn. Nothing is taken from
real images.

`sections` writes an HDF5 file with one group per brain and the factors as attributes of each picture:

| factor            | unit                       | range        | what it changes in the picture                  |
|-------------------|----------------------------|--------------|-------------------------------------------------|
| `stain`           | multiple of the usual dye  | 0.4 to 1.8   | darkness of all tissue; glass stays bright      |
| `cell_density`    | soma share of layer III    | 0.04 to 0.34 | cover by cells; layer II holds about twice this |
| `cell_size`       | multiple of a 3.6 px radius| 0.75 to 1.35 | larger neurons, fewer of them: cover is kept    |
| `island_fraction` | share of the tissue        | 0 to 0.10    | islands of Calleja: round groups of small cells |
| `fibres`          | share of the tissue        | 0 to 0.15    | pale streaked bundles with rows of glia         |
| `vessels`         | lumens per 100 000 px      | 0 to 12      | bright holes with flat dark nuclei in the wall  |
| `tears`           | share of the picture       | 0 to 0.05    | bright ragged gaps                              |

Stain has a level per brain and a variation per picture; the others are drawn anew for each picture. Shares are measured
in the finished picture, so that they may pass the wanted range a little.

`radiographs` writes an NPZ file and a table of labels:

| factor        | unit                           | range        | what it changes in the picture                     |
|---------------|--------------------------------|--------------|----------------------------------------------------|
| `lung_size`   | multiple of the usual width    | 0.80 to 1.15 | width of thorax and lungs, height of apex (patient)|
| `heart_size`  | heart width / thoracic width   | 0.34 to 0.66 | silhouette of the heart (patient)                  |
| `rotation`    | degrees about the body's axis  | -15 to 15    | heart and spine move apart; one lung is darker     |
| `exposure`    | stops                          | -1 to 1      | brightness: more exposure, darker picture          |
| `ribs`        | multiple of the usual contrast | 0.3 to 1.7   | contrast of ribs (patient)                         |
| `opacity`     | density of the consolidation   | 0; 0.3 to 1  | cloudy patch; side and place stay with the patient |
| `marker`      | 0 or 1                         | 0 or 1       | burnt-in L or R in an upper corner                 |
| `inspiration` | share of a full breath         | 0 to 1       | height of the diaphragm                            |
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

from zatlas.errors import UsageError
from zatlas.files import new_file, write_csv

__all__ = ["factor_names", "factor_ranges", "radiographs", "sections"]

_FIRST_BRAINS = ("B01", "B02", "B05", "B07", "B20")


def factor_names(kind: Literal["sections", "radiographs"]) -> tuple[str, ...]:
    """Names of the known factors, in the order of the columns.

    Raises:
        UsageError: `kind` is neither "sections" nor "radiographs".

    Example:
        >>> factor_names("sections")[:2]
        ('stain', 'cell_density')
    """
    return tuple(factor_ranges(kind))


def factor_ranges(kind: Literal["sections", "radiographs"]) -> dict[str, tuple[float, float]]:
    """Lowest and highest possible value of each factor; units in the tables above.

    Raises:
        UsageError: `kind` is neither "sections" nor "radiographs".

    Example:
        >>> factor_ranges("radiographs")["rotation"]
        (-15.0, 15.0)
    """
    if kind == "sections":
        from zatlas.images.phantom.section import FACTOR_RANGES as ranges
    elif kind == "radiographs":
        from zatlas.images.phantom.radiograph import FACTOR_RANGES as ranges
    else:
        raise UsageError(f"there is no phantom of kind {kind!r}", hint="choose sections or radiographs")
    return dict(ranges)


def sections(
    path: Path | str,
    *,
    brains: int = 5,
    images: int = 12,
    min_px: int = 200,
    max_px: int = 420,
    seed: int = 0,
    compression: str | None = "gzip",
    on_progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write synthetic sections of cell-body-stained olfactory tubercle, laid out like `cell_data.h5`.

    One group per brain (B01, B02, B05, B07, B20, B21, ...), in it uint8 data sets "0000", "0001", ... of ragged size,
    each with its factors as scalar attributes.

    Args:
        path: The HDF5 file to write; replaced if it exists.
        brains: Number of groups, 1 to 99.
        images: Pictures per brain, 1 to 9999.
        min_px: Shortest side [px], at least 64.
        max_px: Longest side [px].
        seed: Same seed, same bytes.
        compression: "gzip" in 256 px chunks, or None for contiguous data that can be mapped.
        on_progress: Called with (done, total) after each picture.

    Returns:
        `path`.

    Raises:
        UsageError: a number is out of its range.
        WriteError: the file cannot be written.
    """
    path = Path(path)
    _check("brains", brains, 1, 99)
    _check("images", images, 1, 9999)
    _check("min_px", min_px, 64, 100_000)
    _check("max_px", max_px, min_px, 100_000)
    _check("seed", seed, 0, 2**63 - 1)
    if compression not in ("gzip", None):
        raise UsageError(f"compression is {compression!r}, expected 'gzip' or None", hint="use compression='gzip'")
    import h5py

    from zatlas.images.phantom.section import draw_section

    with new_file(path) as temporary, h5py.File(temporary, "w") as file:
        for brain in range(brains):
            group = file.create_group(_brain_name(brain))
            for image in range(images):
                pixels, factors = draw_section(seed, brain, image, min_px=min_px, max_px=max_px)
                chunks = tuple(min(side, 256) for side in pixels.shape) if compression else None
                dataset = group.create_dataset(f"{image:04d}", data=pixels, compression=compression, chunks=chunks)
                for name, value in factors.items():
                    dataset.attrs[name] = value
                if on_progress is not None:
                    on_progress(brain * images + image + 1, brains * images)
    return path


def radiographs(
    path: Path | str,
    *,
    images: int = 600,
    size: int = 64,
    patients: int = 0,
    seed: int = 0,
    on_progress: Callable[[int, int], None] | None = None,
) -> tuple[Path, Path]:
    """Write synthetic frontal chest radiographs, laid out like `xray_images.npz`, and their labels.

    The NPZ file holds `images`, (n, size, size) uint8, stored so that it can be mapped. The table has one row per
    picture: index, patient, label ("normal" or "opacity") and one column per factor. Images of one patient share the
    anatomy (lungs, heart, ribs, disease), not exposure, rotation, breath or marker.

    Args:
        path: The NPZ file to write; replaced if it exists. `x_images.npz` has its labels in `x_labels.csv`, any other
            `x.npz` in `x_labels.csv` too.
        images: Number of pictures, 1 or more.
        size: Side [px], 32 to 256.
        patients: Number of patients, at most `images`; 0 means about 0.7 per picture.
        seed: Same seed, same bytes.
        on_progress: Called with (done, total) after each picture.

    Returns:
        The paths of the pictures and of the labels.

    Raises:
        UsageError: a number is out of its range, or `path` does not end in .npz.
        WriteError: a file cannot be written.
    """
    path = Path(path)
    if path.suffix != ".npz":
        raise UsageError(f"{path.name} does not end in .npz", hint=f"name it {path.stem}.npz")
    _check("images", images, 1, 10_000_000)
    _check("size", size, 32, 256)
    _check("patients", patients, 0, images)
    _check("seed", seed, 0, 2**63 - 1)
    import numpy as np

    from zatlas.images.phantom.radiograph import draw_radiograph, patient_of

    names = factor_names("radiographs")
    pixels = np.empty((images, size, size), np.uint8)
    rows: list[list[object]] = []
    for i in range(images):
        patient = patient_of(seed, i, patients=patients)
        pixels[i], factors, label = draw_radiograph(seed, i, patient, size=size)
        rows.append([i, f"P{patient:05d}", label, *(factors[name] for name in names)])
        if on_progress is not None:
            on_progress(i + 1, images)
    labels = path.with_name(path.stem.removesuffix("_images") + "_labels.csv")
    with new_file(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, images=pixels)
    write_csv(labels, ["index", "patient", "label", *names], rows)
    return path, labels


def _brain_name(brain: int) -> str:
    return _FIRST_BRAINS[brain] if brain < len(_FIRST_BRAINS) else f"B{16 + brain:02d}"


def _check(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is {value}, expected {low} to {high}", hint=f"choose {name} between {low} and {high}")
