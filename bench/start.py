"""Start-up: how long commands take before they do anything, and which heavy packages they import.

    python bench/start.py [--rounds 7]

Each contestant is a process of its own: `zatlas --help`, `zatlas --version`, `import zatlas`, `zatlas inspect` of an
NPZ and of an HDF5 file (its own work included: tables and figures), and `zatlas train` of a small collection, of which
the time to the end of the first training step counts. The images of that study are prepared, and the process is ended
after that step; once with --precision float32, once with the trial of both number formats that comes first by default.

Page caches are warm: the first round is not counted.
"""

import argparse
import shutil
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import contest

PACKAGES = ("torch", "sklearn", "scipy", "pandas", "matplotlib", "anndata", "skimage", "numpy")
_LISTED = f"print(json.dumps({{'imported': sorted(set({PACKAGES!r}) & set(sys.modules)), **found}}))"
_COMMAND = f"""
import json, sys, contextlib, io, time
found = {{}}
from zatlas.cli.main import main
with contextlib.redirect_stdout(io.StringIO()):
    try:
        main(sys.argv[1:])
    except SystemExit:
        pass
{_LISTED}
"""
_IMPORT = f"import json, sys, zatlas; found = {{}}; {_LISTED}"
_FIRST_STEP = f"""
import json, os, sys, time
from zatlas.cli.main import main
from zatlas.cli import screen
def stop(own, model, step):
    found = {{"first_step_s": time.time() - float(os.environ["STARTED"])}}
    {_LISTED}
    sys.stdout.flush()
    os._exit(0)
screen._Screen.step = stop
main(sys.argv[1:])
"""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=7)
    rounds = options.parse_args().rounds
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        images = _images(folder)
        imported: dict[str, list[str]] = {}
        contestants = {
            "zatlas --help": partial(_run, imported, "zatlas --help", _COMMAND, ["--help"]),
            "zatlas --version": partial(_run, imported, "zatlas --version", _COMMAND, ["--version"]),
            "import zatlas": partial(_run, imported, "import zatlas", _IMPORT, []),
            **{
                f"zatlas inspect {path.name}": partial(_inspect, imported, path, folder / "found") for path in images
            },
            "first step, float32": partial(_first_step, imported, "first step, float32", images[0], folder, "float32"),
            "first step, auto": partial(_first_step, imported, "first step, auto", images[0], folder, "auto"),
        }  # fmt: skip
        _first_step({}, "", images[0], folder, "float32")  # prepares the images
        _first_step({}, "", images[0], folder, "auto")
        found = contest.interleaved(contestants, rounds=rounds, warm_up=1)
    middle = contest.medians(found)
    rows = [
        [name, numbers["wall_s"], _slowest(found[name]), numbers["cpu_s"], " ".join(imported[name])]
        for name, numbers in middle.items()
    ]  # fmt: skip
    contest.show("Start-up (medians)", ["command", "wall s", "slowest s", "cpu s", "imported"], rows)
    contest.save("start", {"turns": found, "medians": middle, "imported": imported})


def _slowest(turns: list[dict[str, float]]) -> float:
    return max(turn["wall_s"] for turn in turns)


def _images(folder: Path) -> list[Path]:
    from zatlas import phantom

    phantom.radiographs(folder / "images.npz", images=120, size=128)
    return [folder / "images.npz", phantom.sections(folder / "cells.h5", brains=4, images=4)]


def _run(imported: dict[str, list[str]], name: str, code: str, arguments: list[str]) -> dict[str, float]:
    done = contest.run([sys.executable, "-c", code, *arguments])
    imported[name] = done.report["imported"]
    return {"wall_s": done.wall_s, "cpu_s": done.cpu_s}


def _inspect(imported: dict[str, list[str]], path: Path, out: Path) -> dict[str, float]:
    shutil.rmtree(out, ignore_errors=True)
    return _run(imported, f"zatlas inspect {path.name}", _COMMAND, ["inspect", str(path), "-o", str(out), "-q"])


def _first_step(
    imported: dict[str, list[str]], name: str, path: Path, folder: Path, precision: str
) -> dict[str, float]:
    """Seconds from the start of the process to the end of the first step; the study is as it was before training."""
    study = folder / f"study-{precision}"
    shutil.rmtree(study / "models", ignore_errors=True)
    command = ["train", str(path), "-o", str(study), "--latent-dim", "16", "--precision", precision, "-q"]
    done = contest.run([sys.executable, "-c", _FIRST_STEP, *command], env={"STARTED": str(time.time())})
    imported[name] = done.report["imported"]
    return {"wall_s": done.report["first_step_s"], "cpu_s": done.cpu_s}


if __name__ == "__main__":
    main()
