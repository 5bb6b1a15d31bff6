"""Encoding speed: images per second of one trained encoder, by torch, zatlas, ONNX Runtime and OpenVINO; agreement.

    python bench/encode.py [--rounds 5] [--only plain zatlas]

The network (128 px, the stages of today's default, latent 16, no linear path) is trained shortly by zatlas on synthetic
sections. Every
contestant is a process of its own and encodes the same tiles; those named "embed" do the whole job of an atlas as well
(cutting, decoding, distortion, PSNR). "+ allocator" has the thresholds that the command line of zatlas sets; without it
the process is as a user finds it.

Agreement with plain float32 torch: the largest difference of a mean relative to the spread (standard deviation) of its
latent dimension, the smallest R2 of a dimension. Decoding one latent: median and 95th percentile.
"""

import argparse
import math
import sys
import tempfile
from functools import partial
from pathlib import Path

import contest
import numpy as np
from encode_worker import LATENT_DIM

WORKER = contest.HERE / "encode_worker.py"
REQUIREMENTS = ("torch==2.13.0", "numpy", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
ELSEWHERE = ("onnxruntime", "openvino", "openvino-bfloat16", "openvino-int8")
AS_FOUND = ("plain", "channels_last", "bfloat16-64", "zatlas", "zatlas-bfloat16", "embed", "embed-bfloat16")
WITH_ALLOCATOR = (*AS_FOUND, "bfloat16-128", "bfloat16-256", "compile", "compile-bfloat16")
FAILED: dict[str, str] = {}
"""Why a contestant does not run, by its name."""


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", nargs="+", default=[], help="contestants, as named in the table")
    options.add_argument("--folder", default="", help="keep network and images here and use them again")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as spare:
        folder = Path(chosen.folder or spare)
        if not (folder / "images.npy").is_file():
            prepare(folder)
        contestants = {
            name: call for name, call in _contestants(folder).items() if not chosen.only or name in chosen.only
        }
        found = contest.interleaved(contestants, rounds=chosen.rounds)
        decoded = contest.interleaved(
            {
                name: partial(_worker, sys.executable, "decode-one", folder, flags)
                for name, flags in (("as found", []), ("+ allocator", ["--allocator"]))
            },
            rounds=3,
        )
        agreement = {name: _agreement(folder, name.split()[0]) for name in contestants}
    middle, base = contest.medians(found), "plain" if "plain" in contestants else next(iter(contestants))
    against = {name: 1 / ratio[1] for name, ratio in contest.ratios(found, "images_per_s", of=base).items()}
    rows = [
        [name, numbers["images_per_s"], numbers["cpu_us_per_image"], against[name], *agreement[name].values()]
        for name, numbers in middle.items()
    ]
    columns = ["contestant", "images/s", "cpu us/image", f"times {base}", "largest error / spread", "least R2"]
    contest.show("Encoding (medians)", columns, rows)
    one = [
        [name, *(numbers[key] for key in ("median_ms", "p95_ms"))] for name, numbers in contest.medians(decoded).items()
    ]
    contest.show("Decoding one latent with VAE.decode", ["process", "median ms", "p95 ms"], one)
    record = {"turns": found, "medians": middle, "against": against, "agreement": agreement}
    contest.save("encode", {**record, "decoding": decoded, "failed": FAILED})


def prepare(folder: Path) -> None:
    """Draw sections, train the network, write its encoder and the tiles."""
    import zatlas
    from zatlas import phantom
    from zatlas.config import TrainConfig

    folder.mkdir(parents=True, exist_ok=True)
    phantom.sections(folder / "cells.h5", brains=5, images=12)
    images = zatlas.open_images(folder / "cells.h5").packed(folder / "packed")
    training = zatlas.Tiles(images, size=128, tiles_per_epoch=3072)
    settings = TrainConfig(epochs=3, batch_size=32, kl_warmup_epochs=1.0)
    vae = zatlas.VAE(latent_dim=LATENT_DIM, linear_path="off").fit(training, train=settings)
    vae.save(folder / "model")
    weights = {}
    convolutions = [layer for layer in vae.network.encoder.stages if hasattr(layer, "stride")]
    layers = {**{f"conv{i}": layer for i, layer in enumerate(convolutions)}, "linear": vae.network.encoder.to_posterior}
    for name, layer in layers.items():
        for part in ("weight", "bias"):
            weights[f"{name}.{part}"] = np.ascontiguousarray(getattr(layer, part).detach().numpy())
    np.savez(folder / "encoder.npz", **weights)
    grid = zatlas.Tiles(images, size=128, sampler="grid", stride=64, scaling=vae.scaling)
    np.save(folder / "images.npy", grid.take(np.arange(len(grid))))


def _contestants(folder: Path) -> dict[str, partial[dict[str, float]]]:
    other = contest.environment("onnx", REQUIREMENTS)
    if not (folder / "encoder.onnx").is_file():
        contest.run([other, WORKER, "export", folder])
    here = {name: partial(_worker, sys.executable, name, folder, []) for name in AS_FOUND}
    raised = {
        f"{name} + allocator": partial(_worker, sys.executable, name, folder, ["--allocator"])
        for name in WITH_ALLOCATOR
    }
    elsewhere = {name: partial(_worker, other, name, folder, []) for name in ELSEWHERE}
    return {**here, **raised, **elsewhere}


def _worker(python: str | Path, name: str, folder: Path, flags: list[str]) -> dict[str, float]:
    """What one process measured; not a number, and the reason in FAILED, where it does not run."""
    try:
        return contest.run([python, WORKER, name, folder, *flags]).report
    except SystemExit as err:
        FAILED[name] = str(err).strip().splitlines()[-1]
        print(f"{name} does not run: {FAILED[name]}", file=sys.stderr)
        return {"images_per_s": math.nan, "cpu_us_per_image": math.nan}


def _agreement(folder: Path, name: str) -> dict[str, float]:
    if not (folder / f"{name}.npy").is_file():
        return {"largest error / spread": math.nan, "least R2": math.nan}
    means, plain = np.load(folder / f"{name}.npy"), np.load(folder / "plain.npy")
    spread = plain.std(axis=0)
    return {
        "largest error / spread": float((np.abs(means - plain) / spread).max()),
        "least R2": float((1 - ((means - plain) ** 2).mean(axis=0) / spread**2).min()),
    }


if __name__ == "__main__":
    main()
