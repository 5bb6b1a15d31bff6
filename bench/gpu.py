"""What a graphics card must show before zatlas chooses it by itself: in ten minutes, on one CUDA device.

    python bench/gpu.py                        # on the first CUDA device
    python bench/gpu.py --device cpu --quick   # the same lines on the processor, to see that they run

In this order, each part apart, so that one that fails leaves the others:

    greys       images of 8 bits scaled on the device: the bits of the processor? milliseconds per batch of 64
    gradients   one step in float32 (without TF32) and in bfloat16 against the processor in float32: relative distance,
                cosine
    bits        the same step twice: are all gradients the same to the last bit?
    graph       steps replayed as CUDA graphs against plain ones: the same losses, while images, size of the batch,
                weight of the rate and learning rate change?
    resume      a training stopped in the middle and resumed, against one that ran through: the same weights? Plain,
                and with graphs
    speed       images per second of a step (losses, gradients, Muon and Adam) at batches of 16, 64, 512 in both
                formats, plain and as graphs, and peak memory

Graphs are switched on in zatlas by ZATLAS_CUDA_GRAPH=1 alone, until "graph" has passed and "speed" shows a gain on a
device.

The network is W1 of speed.md with the default decoder: 128 px, 32-64-128-256 channels, 16 latent dimensions. With
--quick it is a small one, batches are of 4 and 8, and nothing that is printed says anything about speed.
"""

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import contest


def main() -> None:
    """Read the options, run the parts, print and save what they gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", help="name of the torch device (default: cuda)")
    parser.add_argument("--quick", action="store_true", help="a small network and few steps: does everything run?")
    parser.add_argument("--results", type=Path, default=contest.HERE / "results", help="folder of the JSON file")
    options = parser.parse_args()
    import torch

    if options.device.startswith("cuda") and not torch.cuda.is_available():
        raise SystemExit("torch finds no CUDA device; --device cpu --quick tries these lines on the processor")
    options.results.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"device": _device_facts(options.device), "quick": options.quick}
    for part in (greys, gradients, bits, graph, resume, speed):
        begin = time.monotonic()
        try:
            found[part.__name__] = part(options.device, quick=options.quick)
        except Exception as err:  # noqa: BLE001 - a part that breaks is a finding: the others go on
            traceback.print_exc()
            found[part.__name__] = {"failed": f"{type(err).__name__}: {err}"}
        print(f"{part.__name__} ({time.monotonic() - begin:.0f} s): {json.dumps(found[part.__name__])}", flush=True)
    contest.save(f"gpu-{options.device.replace(':', '')}", found, folder=options.results)
    failed = [name for name, value in found.items() if isinstance(value, dict) and "failed" in value]
    if failed:
        sys.exit(f"these parts failed: {', '.join(failed)}")


def _device_facts(device: str) -> dict[str, Any]:
    """Name, memory, and whether torch rounds float32 products to TF32."""
    import torch

    if not device.startswith("cuda"):
        return {"name": device}
    about = torch.cuda.get_device_properties(device)
    return {
        "name": about.name, "memory_gb": round(about.total_memory / 2**30, 1), "capability": [about.major, about.minor],
        "cuda": torch.version.cuda, "cudnn": torch.backends.cudnn.version(),
        "tf32_convolutions": torch.backends.cudnn.allow_tf32, "tf32_products": torch.backends.cuda.matmul.allow_tf32,
    }  # fmt: skip


def _network(quick: bool) -> Any:
    from zatlas.model.building import build
    from zatlas.model.network import NetworkConfig

    size, widths = (32, (4, 8)) if quick else (128, (32, 64, 128, 256))
    layers: dict[str, Any] = {"blocks": 0, "norm": "none", "decoder": "upsample", "likelihood": "bernoulli"}
    return build(NetworkConfig(latent_dim=16, channels=1, size=size, widths=widths, **layers), seed=0)


def _step(
    device: str, precision: str, n: int, *, quick: bool, as_graph: bool = False
) -> tuple[Any, Callable[..., Any]]:
    """Shards on the device, and a call that evaluates one batch there, which lies on the device already."""
    import torch

    from zatlas.training.shards import Shards, keyed_noise

    network = _network(quick)
    shards = Shards(network, precision=precision, device=device, graph=as_graph)
    size = network.config.size
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 1, size, size, generator=generator).to(device)
    mask = torch.ones(n, 1, size, size, device=device)
    noise = keyed_noise(n, 16, seed=0, stream="training noise", index=0).to(device)

    def evaluate(rate_weight: float = 1.0, images: slice = slice(None)) -> Any:
        return shards.evaluate(x[images], mask[images], noise[images], rate_weight=rate_weight)

    return shards, evaluate


def _tf32(allowed: bool) -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


def greys(device: str, *, quick: bool) -> dict[str, Any]:
    """Whether images of 8 bits and masks have the processor's bits on the device, for several grey scales."""
    import numpy as np
    import torch

    import zatlas as za
    from zatlas.training.sending import batches_on, placed

    size = 32 if quick else 128
    pixels = np.random.default_rng(0).integers(0, 256, (8, 4 * size, 4 * size)).astype(np.uint8)
    found: dict[str, Any] = {}
    scalings = (za.Scaling("minmax", 0, 255), za.Scaling("minmax", 13, 100.7), za.Scaling("standardise", 101.7, 33.3))
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", pixels)
        images, place = za.open_images(Path(folder) / "images.npy"), torch.device(device)
        for scaling in scalings:
            tiles = za.Tiles(images, size=size, scaling=scaling, augment=True)
            pairs = zip(tiles.batches(0, 64), batches_on(place, tiles, 0, 64), strict=True)
            same = [torch.equal(b.x.cpu(), a.x) and torch.equal(b.mask.cpu(), a.mask) for a, b in pairs]
            found[f"{scaling.kind} {scaling.offset:g} {scaling.factor:g}"] = all(same)
        found["passes"] = all(found.values())
        batch = tiles.batch(0, np.arange(64), as_stored=True)
        is_cuda = device.startswith("cuda")
        found["ms_per_batch_of_64"] = round(1000 * _seconds(lambda: placed(batch, place), is_cuda, least_s=0.5), 3)
    return found


def gradients(device: str, *, quick: bool) -> dict[str, Any]:
    """How far the gradients of one step lie from those of the processor in float32."""
    import torch

    n, found = (4 if quick else 64), {}
    wanted = _step("cpu", "float32", n, quick=quick)[1]().gradients.clone()
    for precision in ("float32", "bfloat16"):
        if device.startswith("cuda"):
            _tf32(False)
        try:
            got = _step(device, precision, n, quick=quick)[1]().gradients.cpu()
        finally:
            if device.startswith("cuda"):
                _tf32(True)
        cosine = float(torch.nn.functional.cosine_similarity(got, wanted, dim=0))
        found[precision] = {"distance": float((got - wanted).norm() / wanted.norm()), "cosine": cosine}
    found["passes"] = found["float32"]["distance"] < 1e-4 and found["bfloat16"]["cosine"] > 0.99
    return found


def bits(device: str, *, quick: bool) -> dict[str, Any]:
    """Whether a step repeats itself to the last bit, as it is and with torch's deterministic algorithms."""
    import torch

    found: dict[str, Any] = {}
    for precision in ("float32", "bfloat16"):
        for is_asked in (False, True):
            torch.use_deterministic_algorithms(is_asked, warn_only=True)
            try:
                evaluate = _step(device, precision, 4 if quick else 64, quick=quick)[1]
                first = evaluate().gradients.clone()
                same = all(torch.equal(first, evaluate().gradients) for _ in range(5))
            finally:
                torch.use_deterministic_algorithms(False)
            found[f"{precision}, {'deterministic' if is_asked else 'as it is'}"] = same
    return found


def graph(device: str, *, quick: bool) -> dict[str, Any]:
    """Losses of the same steps, plain and replayed."""
    n, found = (8 if quick else 16), {}
    for precision in ("float32", "bfloat16"):
        losses, graphs = [], (None, None)
        for as_graph in (False, True):
            shards, evaluate = _step(device, precision, n, quick=quick, as_graph=as_graph)
            optimizer, own = shards.optimizer(kind="muon", weight_decay=0.1), []
            for step in range(16):
                images = slice(step % 2, None) if step % 3 == 2 else slice(None)
                evaluated = evaluate(step / 16, images)
                own.append(float(evaluated.distortion.sum() + evaluated.rate.sum()))
                optimizer.step(evaluated.gradients, 1e-4 * (1 + step % 4))
                shards.weights.renew()
            losses.append(own)
            graphs = (shards.graphs, optimizer.graphs)
        largest = max(abs(a - b) / abs(b) for a, b in zip(*reversed(losses), strict=True))
        failure = next((one.failure for one in graphs if one is not None and one.failure), "")
        recorded = sum(len(one) for one in graphs if one is not None)
        found[precision] = {"recorded": recorded, "failure": failure, "largest_difference": largest}
    found["passes"] = all(f["recorded"] >= 2 and not f["failure"] and f["largest_difference"] < 1e-3
                          for f in list(found.values()))  # fmt: skip
    return found


def resume(device: str, *, quick: bool) -> dict[str, Any]:
    """Whether a training that was stopped and resumed ends with the weights of an undisturbed one."""
    import numpy as np

    import zatlas as za
    from zatlas.config import ModelConfig, TrainConfig

    size, widths, n = (32, (4, 8), 48) if quick else (128, (32, 64, 128, 256), 512)
    pixels = np.random.default_rng(0).integers(0, 256, (n, size, size)).astype(np.uint8)
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "images.npy", pixels)
        images, scaling = za.open_images(Path(folder) / "images.npy"), za.Scaling("minmax", 0, 255)
        tiles = za.Tiles(images, size=size, sampler="whole", scaling=scaling)
        some = za.Tiles(images.select(range(16)), size=size, sampler="grid", scaling=scaling)
        settings = TrainConfig(epochs=2, batch_size=16, device=device.split(":")[0], precision="float32")
        half = n // 16 + 1  # one step into the second epoch

        def fitted(name: str, stop_after: int) -> str:
            count = iter(range(1, 10**6))
            vae = za.VAE.from_model(ModelConfig(widths=widths, decoder="upsample"), 16, seed=0)
            vae.fit(
                tiles, validation=some, train=settings, run=Path(folder) / name,
                stop_requested=lambda: next(count) == stop_after,
            )  # fmt: skip
            values = b"".join(p.detach().cpu().contiguous().numpy().tobytes() for p in vae.network.parameters())
            return hashlib.sha256(values).hexdigest()

        kinds = {"plain": "0", "with graphs": "1"} if device.startswith("cuda") else {"plain": "0"}
        for words, switch in kinds.items():
            os.environ["ZATLAS_CUDA_GRAPH"] = switch
            whole = fitted(f"whole {words}", 0)
            fitted(f"halved {words}", half)
            found[words] = {"undisturbed": whole, "resumed": fitted(f"halved {words}", 0)}
    del os.environ["ZATLAS_CUDA_GRAPH"]
    found["passes"] = found["plain"]["undisturbed"] == found["plain"]["resumed"]
    return found


def speed(device: str, *, quick: bool) -> dict[str, Any]:
    """Images per second and peak memory of a step, plain and as graphs."""
    import torch

    is_cuda, found = device.startswith("cuda"), {}
    for precision in ("float32", "bfloat16"):
        for n in (4, 8) if quick else (16, 64, 512):
            for words in ("plain", "graphs") if is_cuda else ("plain",):
                shards, evaluate = _step(device, precision, n, quick=quick, as_graph=words == "graphs")
                optimizer = shards.optimizer(kind="muon", weight_decay=0.1)

                def step(shards: Any = shards, evaluate: Any = evaluate, optimizer: Any = optimizer) -> None:
                    optimizer.step(evaluate().gradients, 1e-4)
                    shards.weights.renew()

                if is_cuda:
                    torch.cuda.reset_peak_memory_stats()
                facts = {"images_per_s": round(n / _seconds(step, is_cuda, least_s=0.2 if quick else 5.0), 1)}
                if is_cuda:
                    facts["peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
                found[f"{precision}, {n}, {words}"] = facts
    return found


def _seconds(step: Callable[[], Any], is_cuda: bool, *, least_s: float) -> float:
    """Mean time of a step, over at least `least_s`; the device is waited for at the end alone."""
    import torch

    def steps(n: int) -> float:
        if is_cuda:
            torch.cuda.synchronize()
        begin = time.perf_counter()
        for _ in range(n):
            step()
        if is_cuda:
            torch.cuda.synchronize()
        return (time.perf_counter() - begin) / n

    steps(5)
    return steps(max(3, int(least_s / max(steps(3), 1e-6))))


if __name__ == "__main__":
    main()
