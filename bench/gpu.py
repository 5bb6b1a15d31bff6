"""What a graphics card must show before zatlas chooses it by itself: in ten minutes, on one CUDA device.

    python bench/gpu.py                        # on the first CUDA device
    python bench/gpu.py --device cpu --quick   # the same lines on the processor, to see that they run

In this order, each part apart, so that one that fails leaves the others:

    gradients   one step in float32 (without TF32) and in bfloat16 against the processor in float32: relative distance,
                cosine
    bits        the same step twice: are all gradients the same to the last bit?
    resume      a training stopped in the middle and resumed, against one that ran through: the same weights?
    speed       images per second of a step (losses, gradients, AdamW) at batches of 16, 64, 512 in both formats, peak
                memory, and on CUDA the same step captured as one graph, whose gradients must be those of the plain step

The network is W1 of speed.md with the default decoder: 128 px, 32-64-128-256 channels, 16 latent dimensions. With
--quick it is a small one, batches are of 4 and 8, and nothing that is printed says anything about speed.
"""

import argparse
import hashlib
import json
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
    for part in (gradients, bits, resume, speed):
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
    from zatlas.model.network import NetworkConfig, build

    size, widths = (32, (4, 8)) if quick else (128, (32, 64, 128, 256))
    layers: dict[str, Any] = {"blocks": 0, "norm": "none", "decoder": "upsample", "likelihood": "bernoulli"}
    return build(NetworkConfig(latent_dim=16, channels=1, size=size, widths=widths, **layers), seed=0)


def _step(device: str, precision: str, n: int, *, quick: bool) -> tuple[Any, Callable[[], Any]]:
    """Shards on the device, and a call that evaluates one batch there, which lies on the device already."""
    import torch

    from zatlas.training.shards import Shards, keyed_noise

    network = _network(quick)
    shards = Shards(network, precision=precision, device=device)
    size = network.config.size
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(n, 1, size, size, generator=generator).to(device)
    mask = torch.ones(n, 1, size, size, device=device)
    noise = keyed_noise(n, 16, seed=0, stream="training noise", index=0).to(device)
    return shards, lambda: shards.evaluate(x, mask, noise, rate_weight=1.0)


def _tf32(allowed: bool) -> None:
    import torch

    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed


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

        found["undisturbed"] = fitted("whole", 0)
        fitted("halved", half)
        found["resumed"] = fitted("halved", 0)
    found["passes"] = found["undisturbed"] == found["resumed"]
    return found


def speed(device: str, *, quick: bool) -> dict[str, Any]:
    """Images per second and peak memory of a step."""
    import torch

    is_cuda, found = device.startswith("cuda"), {}
    for precision in ("float32", "bfloat16"):
        for n in (4, 8) if quick else (16, 64, 512):
            shards, evaluate = _step(device, precision, n, quick=quick)
            optimizer = torch.optim.AdamW([shards.weights.values], lr=1e-4, fused=True)

            def step(shards: Any = shards, evaluate: Any = evaluate, optimizer: Any = optimizer) -> Any:
                shards.weights.values.grad = (found := evaluate()).gradients
                optimizer.step()
                shards.weights.renew()
                return found

            if is_cuda:
                torch.cuda.reset_peak_memory_stats()
            facts = {"images_per_s": round(n / _seconds(step, is_cuda, least_s=0.2 if quick else 5.0), 1)}
            if is_cuda:
                facts["peak_mb"] = round(torch.cuda.max_memory_allocated() / 2**20)
                facts |= _as_graph(evaluate, n)
            found[f"{precision}, {n}"] = facts
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


def _as_graph(evaluate: Callable[[], Any], n: int) -> dict[str, Any]:
    """The same evaluation captured as a CUDA graph: its speed, and whether its gradients are those of the plain one."""
    import torch

    try:
        expected = evaluate().gradients.clone()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                evaluate()
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        # The pool of zatlas computes in a thread of its own, which a strict capture refuses.
        with torch.cuda.graph(graph, capture_error_mode="relaxed"):
            captured = evaluate().gradients
        graph.replay()
        torch.cuda.synchronize()
        distance = float((captured - expected).norm() / expected.norm())
        images_per_s = round(n / _seconds(graph.replay, True, least_s=2.0), 1)
    except Exception as err:  # noqa: BLE001 - that it cannot be captured is a finding
        return {"graph_failed": f"{type(err).__name__}: {str(err).splitlines()[0] if str(err) else ''}"}
    return {"graph_images_per_s": images_per_s, "graph_distance": distance}


if __name__ == "__main__":
    main()
