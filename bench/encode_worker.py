"""One contestant of `encode.py`, in a process of its own: encodes the images of a folder and says how fast.

    python encode_worker.py CONTESTANT FOLDER [--allocator]

FOLDER holds images.npy (n 1 128 128, float32), encoder.npz (weights of the convolutions and of the linear layer) and,
for the contestants of zatlas, model/ and packed/. Where zatlas is not installed, nothing here imports it.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LATENT_DIM = 16
REPEATS = 3


def plain_encoder(folder: Path) -> Any:
    """The encoder as a notebook would write it, with the trained weights."""
    import torch
    from torch import nn

    weights = {name: torch.from_numpy(value) for name, value in np.load(folder / "encoder.npz").items()}
    n = sum(name.startswith("conv") and name.endswith("weight") for name in weights)
    layers: list[nn.Module] = []
    for i in range(n):
        after, before = weights[f"conv{i}.weight"].shape[:2]
        layer = nn.Conv2d(before, after, 3, stride=2, padding=1)
        layer.load_state_dict({"weight": weights[f"conv{i}.weight"], "bias": weights[f"conv{i}.bias"]})
        layers += [layer, nn.ReLU()]
    linear = nn.Linear(weights["linear.weight"].shape[1], 2 * LATENT_DIM)
    linear.load_state_dict({"weight": weights["linear.weight"], "bias": weights["linear.bias"]})
    return nn.Sequential(*layers, nn.Flatten(), linear).eval()


def in_torch(folder: Path, *, batch: int, precision: str = "float32", form: str = "plain") -> Callable[[Any], Any]:
    """Encoding with torch: plain, channels_last or compiled, in either number format."""
    import torch

    network: Any = plain_encoder(folder)
    if form == "channels_last":
        network = network.to(memory_format=torch.channels_last)
    if form == "compile":
        import torch._inductor.config as settings

        settings.freezing = True
        network = torch.compile(network, dynamic=False)  # with a free number of images inductor fails here
    without_gradients = torch.inference_mode if form == "channels_last" else torch.no_grad

    def encode(images: np.ndarray) -> np.ndarray:
        x, parts = torch.from_numpy(images), []
        if form == "compile":
            x = torch.cat([x, x[: -len(x) % batch]])
        with without_gradients(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            for start in range(0, len(x), batch):
                part = x[start : start + batch]
                if form == "channels_last":
                    part = part.to(memory_format=torch.channels_last)
                parts.append(network(part)[:, :LATENT_DIM].float())
        return torch.cat(parts)[: len(images)].numpy()

    return encode


def in_zatlas(folder: Path, *, precision: str = "float32") -> Callable[[Any], Any]:
    """The encoder alone, by the shards in which zatlas computes."""
    import torch

    import zatlas
    from zatlas.compute import in_shards

    network = zatlas.load(folder / "model").network

    def one(part: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16", cache_enabled=False):
            return network.encode(part).mean.float()

    return lambda images: torch.cat(in_shards(one, torch.from_numpy(images))).numpy()


def embed(folder: Path, *, precision: str = "float32") -> Callable[[Any], Any]:
    """`VAE.embed` as users call it: cutting tiles, encoding, decoding, distortion and PSNR."""
    import zatlas

    vae = zatlas.load(folder / "model")
    images = zatlas.open_images(folder / "cells.h5").packed(folder / "packed")
    return lambda _: vae.embed(images, stride=64, precision=precision).mean


def in_onnxruntime(folder: Path) -> Callable[[Any], Any]:
    """ONNX Runtime in float32, batches of 64."""
    import onnxruntime

    session = onnxruntime.InferenceSession(folder / "encoder.onnx", providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda images: np.concatenate([session.run(None, {name: part})[0] for part in _batches(images)])[
        :, :LATENT_DIM
    ]


def in_openvino(folder: Path, *, precision: str) -> Callable[[Any], Any]:
    """OpenVINO in float32, bfloat16, or quantised to 8 bits with 256 of the images."""
    import openvino

    model = openvino.Core().read_model(folder / "encoder.onnx")
    if precision == "int8":
        import nncf

        images = np.load(folder / "images.npy", mmap_mode="r")
        model = nncf.quantize(model, nncf.Dataset(list(images[:: len(images) // 256][:256, None])), subset_size=256)
    hint = {"bfloat16": "bf16"}.get(precision, "f32")
    settings = {"INFERENCE_PRECISION_HINT": hint, "PERFORMANCE_HINT": "THROUGHPUT"}
    compiled = openvino.Core().compile_model(model, "CPU", settings)

    def encode(images: np.ndarray) -> np.ndarray:
        answers: dict[int, np.ndarray] = {}
        queue = openvino.AsyncInferQueue(compiled)
        queue.set_callback(lambda request, index: answers.__setitem__(index, request.get_output_tensor(0).data.copy()))
        for index, part in enumerate(_batches(images)):
            queue.start_async({0: part}, index)
        queue.wait_all()
        return np.concatenate([answers[index] for index in sorted(answers)])[:, :LATENT_DIM]

    return encode


def _batches(images: np.ndarray) -> list[np.ndarray]:
    return [images[start : start + 64] for start in range(0, len(images), 64)]


def export(folder: Path) -> None:
    """Write encoder.onnx with a free number of images."""
    import torch

    batch = torch.export.Dim("batch")
    example = torch.zeros(64, 1, 128, 128)
    torch.onnx.export(
        plain_encoder(folder), (example,), folder / "encoder.onnx", dynamo=True, dynamic_shapes=({0: batch},)
    )


def decode_once(folder: Path) -> dict[str, float]:
    """Milliseconds to decode one latent into an image in pixel units."""
    import zatlas

    vae = zatlas.load(folder / "model")
    latents = np.random.default_rng(0).standard_normal((320, LATENT_DIM))
    times = []
    for z in latents:
        begin = time.perf_counter()
        vae.decode(z)
        times.append(1e3 * (time.perf_counter() - begin))
    return {"median_ms": float(np.median(times[20:])), "p95_ms": float(np.quantile(times[20:], 0.95))}


CONTESTANTS: dict[str, Callable[[Path], Callable[[Any], Any]]] = {
    "plain": lambda folder: in_torch(folder, batch=64),
    "channels_last": lambda folder: in_torch(folder, batch=64, form="channels_last"),
    **{
        f"bfloat16-{batch}": lambda folder, batch=batch: in_torch(
            folder, batch=batch, precision="bfloat16", form="channels_last"
        )
        for batch in (64, 128, 256)
    },
    "compile": lambda folder: in_torch(folder, batch=64, form="compile"),
    "compile-bfloat16": lambda folder: in_torch(folder, batch=64, precision="bfloat16", form="compile"),
    "zatlas": in_zatlas,
    "zatlas-bfloat16": lambda folder: in_zatlas(folder, precision="bfloat16"),
    "embed": embed,
    "embed-bfloat16": lambda folder: embed(folder, precision="bfloat16"),
    "onnxruntime": in_onnxruntime,
    "openvino": lambda folder: in_openvino(folder, precision="float32"),
    "openvino-bfloat16": lambda folder: in_openvino(folder, precision="bfloat16"),
    "openvino-int8": lambda folder: in_openvino(folder, precision="int8"),
}


def main() -> None:
    name, folder = sys.argv[1], Path(sys.argv[2])
    if name == "export":
        export(folder)
        return
    if "--allocator" in sys.argv:
        from zatlas.training.devices import raise_allocator_thresholds

        raise_allocator_thresholds()
    if name == "decode-one":
        print(json.dumps(decode_once(folder)))
        return
    images = np.load(folder / "images.npy")
    encode = CONTESTANTS[name](folder)
    means = encode(images)
    np.save(folder / f"{name}.npy", means)
    rates, cpu = [], []
    for _ in range(REPEATS):
        begin, used = time.perf_counter(), time.process_time()
        encode(images)
        rates.append(len(means) / (time.perf_counter() - begin))
        cpu.append(1e6 * (time.process_time() - used) / len(means))
    print(json.dumps({"images_per_s": float(np.median(rates)), "cpu_us_per_image": float(np.median(cpu))}))


if __name__ == "__main__":
    main()
