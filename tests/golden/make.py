"""Makes the golden study anew: `python tests/golden/make.py FOLDER` writes FOLDER/cell_data.h5 and FOLDER/study.

Small on purpose: twelve synthetic sections of three brains (B05 held out), two latent sizes, three epochs, a beta other
than 1. One thread and float32, so that two machines of a kind give the same bytes. `compare.py` holds two studies
against each other, file by file.
"""

import contextlib
import sys
from pathlib import Path

import zatlas as za
from zatlas.cli.main import main

STUDY = [
    *("study", "cell_data.h5", "--test-group", "B05", "--tile", "32", "--latent-dim", "2", "4", "--beta", "2"),
    *("--atlas-size", "60", "--widths", "8", "16", "--epochs", "3", "--batch-size", "32", "--samples", "4"),
    *("--examples", "4", "--points", "3", "--threads", "1", "--precision", "float32", "-q", "-o", "study"),
]


def make(folder: Path) -> Path:
    """Draw the images and run the study in `folder`; returns the study."""
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.chdir(folder):
        za.phantom.sections(Path("cell_data.h5"), brains=3, images=4, min_px=64, max_px=96, seed=1)
        code = main(STUDY)
    if code:
        raise SystemExit(code)
    return folder / "study"


if __name__ == "__main__":
    make(Path(sys.argv[1]))
