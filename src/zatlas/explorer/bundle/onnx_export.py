"""The decoder and the encoder as ONNX files that run in a browser, each compared with torch before it is kept.

Notable:
    - Equal weights give equal bytes: names inside the graph are numbered in order, and everything that torch writes
      beside it (stack traces with paths of this machine) is taken out.
    - The decoder returns its mean on the network's grey scale, padding cropped; the encoder takes images on that scale.
    - Multiply-adds of convolutions and linear layers say whether a decoder is light enough to follow a slider.
"""

import contextlib
import functools
import logging
import math
import re
import warnings
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.atlas.drawing import noise_of_draw
from zatlas.compute import one_thread_per_operator
from zatlas.errors import ZatlasError
from zatlas.explorer.bundle.columns import Files
from zatlas.model.network import Network
from zatlas.randomness import generator

__all__ = ["ExportError", "Exported", "check_latents", "export_decoder", "export_encoder", "multiply_adds", "write_net"]

log = logging.getLogger(__name__)

OPSET = 18
TOLERANCE = 1e-4
N_CHECKED = 64
_LIVE, _ON_RELEASE = 300_000_000, 2_000_000_000  # measured: about 0.1 ms per million in a browser
_CHECK_BATCH = 16
_TROUBLES = (RuntimeError, ValueError, TypeError, AttributeError, KeyError, IndexError, AssertionError)
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class ExportError(ZatlasError):
    """A network cannot be written as ONNX, or gives other numbers there than here (exit code 1)."""


class Exported(NamedTuple):
    """A network as ONNX.

    Attributes:
        content: The file.
        inputs: Names of the inputs.
        outputs: Names of the outputs.
        multiply_adds: Per image.
        max_abs_difference: From torch; in shares of the display range for a decoder.
        n_checked: Latents or images that were compared.
    """

    content: bytes
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    multiply_adds: int
    max_abs_difference: float
    n_checked: int

    @property
    def live(self) -> str:
        """Where it runs quickly enough: "live", "on release" (of a slider) or "server"."""
        return live(self.multiply_adds)


class _Decode(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor) -> Tensor:
        return self.network.x_hat(z)


class _Draw(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        return self.network.likelihood.mean(self.network.decode_with(z, noise))


class _Encode(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        posterior = self.network.encode(image)
        return posterior.mean, posterior.log_var


def check_latents(mean: Float[np.ndarray, "n d"], seed: int) -> Float[np.ndarray, "m d"]:
    """64 latents to compare the networks on: half are those of images, the others drawn from the prior."""
    rng = generator(seed, "onnx check")
    drawn = rng.standard_normal((N_CHECKED, mean.shape[1])).astype(np.float32)
    known = mean[rng.permutation(len(mean))[: N_CHECKED // 2]]
    drawn[: len(known)] = known
    return drawn


def export_decoder(network: Network, z: Float[np.ndarray, "m d"], limits: tuple[float, float]) -> Exported:
    """Input "z" (n, d), output "image" (n, c, h, w): the decoder's mean on the network's grey scale.

    A network with local latents has a second input "noise" (n, l), from which they are drawn.

    Args:
        network: In evaluation mode, on the CPU.
        z: Latents to compare on.
        limits: Greys shown as black and white, in whose distance differences are measured.

    Raises:
        ExportError: it cannot be exported, or differs from torch by 1e-4 of the display range or more.
    """
    names: tuple[str, ...] = ("z",)
    rows: tuple[np.ndarray, ...] = (z,)
    module: nn.Module = _Decode(network)
    if network.n_local:
        noises = torch.stack([noise_of_draw(network, 1 + row % 2) for row in range(len(z))])
        names, rows, module = ("z", "noise"), (z, noises.numpy()), _Draw(network)
    content = _exported(module, rows, names, ("image",))
    difference = _difference(content, module, rows, scale=limits[1] - limits[0])
    adds = multiply_adds(module, *(torch.from_numpy(values[:1]) for values in rows))
    return _checked(Exported(content, names, ("image",), adds, difference, len(z)), "decoder")


def export_encoder(network: Network, images: Float[np.ndarray, "m c h w"]) -> Exported:
    """Input "image" (n, c, h, w) on the network's grey scale, outputs "mean" and "log_var" (n, d).

    Args:
        network: In evaluation mode, on the CPU.
        images: Images to compare on.

    Raises:
        ExportError: it cannot be exported, or differs from torch by 1e-4 or more (of the largest value above 1).
    """
    content = _exported(_Encode(network), (images,), ("image",), ("mean", "log_var"))
    difference = _difference(content, _Encode(network), (images,), scale=0.0)
    adds = multiply_adds(_Encode(network), torch.from_numpy(images[:1]))
    return _checked(Exported(content, ("image",), ("mean", "log_var"), adds, difference, len(images)), "encoder")


def _checked(made: Exported, what: str) -> Exported:
    if not made.max_abs_difference < TOLERANCE:
        raise ExportError(
            f"the {what} gives other numbers as ONNX than in torch: they differ by {made.max_abs_difference:.2g}, "
            f"at most {TOLERANCE:g} is allowed",
            hint="open the study with zatlas explore, which decodes with torch",
        )
    log.info("%s as ONNX: %d bytes, differs from torch by %.1e", what, len(made.content), made.max_abs_difference)
    return made


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's remarks, which are about torch and nothing that a person can change."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


@contextlib.contextmanager
def _one_table() -> Iterator[None]:
    """Let torch make its table of ONNX operators once, and not for each network anew: half of the time of an export.

    Where torch keeps the table elsewhere than version 2.13 does, it is made each time.
    """
    try:
        from torch.onnx._internal.exporter import _registration

        registry: Any = _registration.ONNXRegistry
        before = vars(registry)["from_torchlib"]
    except (ImportError, AttributeError, KeyError):
        yield
        return
    registry.from_torchlib = classmethod(lambda cls, *args, **options: _table(before.__func__, cls, *args, **options))
    try:
        yield
    finally:
        registry.from_torchlib = before


@functools.lru_cache(maxsize=1)
def _table(make: Callable[..., Any], *args: Any, **options: Any) -> Any:
    return make(*args, **options)


def _exported(
    module: nn.Module, examples: tuple[np.ndarray, ...], inputs: tuple[str, ...], outputs: tuple[str, ...]
) -> bytes:
    try:
        with _quiet(), _one_table(), torch.no_grad():
            # Two rows, so that torch does not take their number for a constant 1.
            rows = tuple(torch.from_numpy(np.concatenate([example[:2], example[:2]])[:2]) for example in examples)
            n_rows = torch.export.Dim("n")
            program = torch.onnx.export(
                module.eval(), rows, dynamo=True, opset_version=OPSET, input_names=inputs, output_names=outputs,
                dynamic_shapes=tuple({0: n_rows} for _ in rows), verbose=False,
            )  # fmt: skip
            if program is None:
                raise ExportError("torch gave no ONNX program")
            model = program.model_proto
    except (torch.onnx.OnnxExporterError, *_TROUBLES) as err:
        raise ExportError(
            f"the network cannot be written as ONNX: {_cause(err)}", hint="open the study with zatlas explore"
        ) from err
    stored = {tensor.name for tensor in model.graph.initializer}
    if any(value.name in stored for value in model.graph.output):
        raise ExportError("the network gives the same numbers whatever it is given", hint="train it anew")
    _strip(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _cause(err: BaseException) -> str:
    """The first line of what made an export fail, without colours: torch wraps it in advice."""
    while err.__cause__ is not None:
        err = err.__cause__
    lines = [line.strip() for line in _COLOURS.sub("", str(err)).splitlines() if line.strip()]
    return (lines or [type(err).__name__])[0].rstrip(".")


def _strip(model: Any) -> None:
    """Keep what computes: names become numbers, texts about the export go."""
    graph = model.graph
    renamed = {value.name: value.name for value in (*graph.input, *graph.output)}
    renamed[""] = ""  # an optional input that is left out
    order = [name for node in graph.node for name in node.input]
    stored = {tensor.name for tensor in graph.initializer}
    for name in (name for name in order if name in stored):
        renamed.setdefault(name, f"w{len(renamed)}")
    kept = sorted((t for t in graph.initializer if t.name in renamed), key=lambda t: order.index(t.name))
    kept = [type(t).FromString(t.SerializeToString()) for t in kept]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for number, node in enumerate(graph.node):
        for name in node.output:
            renamed.setdefault(name, f"v{len(renamed)}")
        node.input[:] = [renamed[name] for name in node.input]
        node.output[:] = [renamed[name] for name in node.output]
        node.name = f"n{number}"
        node.doc_string = ""
        del node.metadata_props[:]
    for tensor in graph.initializer:
        tensor.name, tensor.doc_string = renamed[tensor.name], ""
        del tensor.metadata_props[:]
    for value in (*graph.input, *graph.output):
        value.doc_string = ""
        del value.metadata_props[:]
    del graph.value_info[:], graph.metadata_props[:], model.metadata_props[:]
    graph.name, graph.doc_string, model.doc_string = "zatlas", "", ""


def _difference(content: bytes, module: nn.Module, rows: tuple[np.ndarray, ...], *, scale: float) -> float:
    """Largest absolute difference between onnxruntime and torch, on one thread each.

    Args:
        content: The ONNX file.
        module: What it was made from.
        rows: Of each input.
        scale: What differences are divided by; 0 takes the largest value of each output, at least 1.

    Raises:
        ExportError: onnxruntime cannot run the file, or not with another number of rows than it was made from.
    """
    from onnxruntime.capi import onnxruntime_pybind11_state as runtime

    troubles = tuple(one for one in vars(runtime).values() if isinstance(one, type) and issubclass(one, Exception))
    try:
        return _largest_difference(_session(content), module, rows, scale=scale)
    except troubles as err:
        words = (str(err).strip().splitlines() or [type(err).__name__])[0]
        raise ExportError(
            f"the network cannot be run as ONNX: {words}", hint="open the study with zatlas explore"
        ) from err


def _largest_difference(session: Any, module: nn.Module, rows: tuple[np.ndarray, ...], *, scale: float) -> float:
    largest = 0.0
    names = [one.name for one in session.get_inputs()]
    for start in range(0, len(rows[0]), _CHECK_BATCH):
        parts = [np.ascontiguousarray(values[start : start + _CHECK_BATCH]) for values in rows]
        with one_thread_per_operator(), torch.inference_mode():
            expected = module.eval()(*map(torch.from_numpy, parts))
        found_here = session.run(None, dict(zip(names, parts, strict=True)))
        both = zip(found_here, expected if isinstance(expected, tuple) else (expected,), strict=True)
        for found, tensor in both:
            wanted = tensor.numpy()
            unit = scale or max(1.0, float(np.abs(wanted).max()))
            difference = float(np.abs(found - wanted).max()) / unit
            largest = max(largest, difference if math.isfinite(difference) else math.inf)
    return float(f"{largest:.2g}")


def _session(content: bytes) -> Any:
    """An onnxruntime session on one thread of the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def multiply_adds(module: nn.Module, *one: Float[Tensor, "..."]) -> int:
    """Multiply-adds of the convolutions and linear layers of a module for one row of its inputs (of a batch).

    A convolution has one per output value, input channel of its group and pixel of its kernel; a transposed one per
    input value instead.

    Example:
        >>> multiply_adds(nn.Conv2d(2, 3, 3, padding=1), torch.zeros(1, 2, 4, 4))  # 3 * 4 * 4 values of 2 * 3 * 3
        864
    """
    counts: list[int] = []

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, nn.ConvTranspose2d):
            counts.append(inputs[0].numel() * layer.weight[0].numel())
        elif isinstance(layer, nn.Conv2d | nn.Linear):
            counts.append(output.numel() * layer.weight[0].numel())

    counted = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear)]
    handles = [layer.register_forward_hook(count) for layer in counted]
    try:
        with torch.inference_mode():
            module.eval()(*one)
    finally:
        for handle in handles:
            handle.remove()
    return sum(counts) // len(one[0])


def live(adds: int) -> str:
    """Whether a network of so many multiply-adds follows a slider: "live", "on release" or "server"."""
    return "live" if adds <= _LIVE else "on release" if adds <= _ON_RELEASE else "server"


def words(adds: int, *, is_encoder: bool = False) -> str:
    """The same as a sentence."""
    size = f"{adds / 1e6:.0f} million" if adds >= 1e7 else f"{adds / 1e6:.1f} million"
    if is_encoder:
        fits = "light enough for the browser" if live(adds) != "server" else "too heavy for a browser"
        return f"{size} multiply-adds per image: {fits}."
    return {
        "live": f"{size} multiply-adds per image: light enough to follow a slider in the browser.",
        "on release": f"{size} multiply-adds per image: the browser computes the image when the slider is let go.",
        "server": f"{size} multiply-adds per image: too heavy for a browser; zatlas explore computes it with torch.",
    }[live(adds)]


def write_net(files: Files, path: str, made: Exported) -> dict[str, Any]:
    """Write the file; returns the manifest's entry of the network."""
    file = files.raw(path, made.content, "onnx", (len(made.content),))
    said = words(made.multiply_adds, is_encoder="image" in made.inputs)
    return {
        "file": file, "sha256": file["sha256"], "inputs": list(made.inputs), "outputs": list(made.outputs),
        "multiply_adds": made.multiply_adds, "live": made.live, "words": said,
        "max_abs_difference": made.max_abs_difference, "n_checked": made.n_checked,
    }  # fmt: skip
