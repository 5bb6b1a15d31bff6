"""How near a training step comes to the limit of this machine, and what shards of a fixed size cost.

    python bench/step.py [--rounds 3] [--decoder transposed|upsample] [--precision bfloat16|float32]

W1 of speed.md: 128 px, widths 32-64-128-256, 16 latent dimensions. In turn, each in a process of its own:

    shards, n threads      the step of zatlas: shards of 8 to 16 images, one thread each (batches of 64 and of 16)
    whole batch, n threads the same network and loss, the whole batch at once, n threads inside each operator
    best shape             the convolution that this machine computes fastest: 512 channels, 8 x 8, kernel 3

Figures: images per second; GFLOP/s of the step's convolutions (forward and both gradients), as a share of the best
shape's on as many threads; share of the step outside convolutions, by torch's profiler on one thread.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial

import contest

BATCHES = (64, 16)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--decoder", default="transposed", choices=("transposed", "upsample"))
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, threads, batch = options.one.split(":")
        print(json.dumps(measure(kind, int(threads), int(batch), options.decoder, options.precision)))
        return
    found = contest.interleaved(contestants(options), rounds=options.rounds)
    report(found, options)


def contestants(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, float]]]:
    """Every contestant by name; each call starts a process."""
    cores = len(os.sched_getaffinity(0))
    names = {}
    for threads in sorted({1, cores}):
        names[f"best shape, {threads} threads"] = f"best:{threads}:64"
        for batch in BATCHES:
            names[f"shards, {threads} threads, batch {batch}"] = f"shards:{threads}:{batch}"
            names[f"whole batch, {threads} threads, batch {batch}"] = f"whole:{threads}:{batch}"
    return {name: partial(_in_process, code, options) for name, code in names.items()}


def _in_process(code: str, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", code, "--decoder", options.decoder, "--precision", options.precision]
    return contest.run(command).report


def report(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """Print the table and write the record."""
    middle = contest.medians(found)
    rows = []
    for name, numbers in middle.items():
        threads = name.split(", ")[1]
        best = middle[f"best shape, {threads}"]["gflops"]
        outside = f"{100 * numbers['outside']:.0f} %" if "outside" in numbers else ""
        speed = f"{numbers['images_per_s']:.0f}" if "images_per_s" in numbers else ""
        rows.append([name, speed, numbers["gflops"], f"{100 * numbers['gflops'] / best:.0f} %", outside])
    title = f"W1, {options.decoder}, {options.precision}, medians of {options.rounds} rounds"
    contest.show(title, ["contestant", "images/s", "GFLOP/s", "of the best shape", "outside convolutions"], rows)
    ratios = {
        name: contest.ratios({k: v for k, v in found.items() if "best" not in k}, "images_per_s", of=name)
        for name in middle
        if name.startswith("shards")
    }
    contest.save(f"step-{options.decoder}-{options.precision}", {"found": found, "ratios": ratios})


def measure(kind: str, threads: int, batch: int, decoder: str, precision: str) -> dict[str, float]:
    """One contestant in this process."""
    import torch

    from zatlas.training.devices import raise_allocator_thresholds

    raise_allocator_thresholds()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    torch.set_num_threads(threads)
    if kind == "best":
        return {"gflops": _best_shape(getattr(torch, precision))}
    step, network = (_sharded if kind == "shards" else _whole)(threads, batch, decoder, precision)
    seconds = _seconds(step)
    answer = {"images_per_s": batch / seconds, "gflops": 3 * _forward_flop(network) * batch / seconds / 1e9}
    if threads == 1:
        answer["outside"] = _outside_convolutions(step, network, batch)
    return answer


def _seconds(step: Callable[[], object], *, least_s: float = 2.0) -> float:
    """Median time of a step, over at least `least_s`."""
    for _ in range(5):
        step()
    taken: list[float] = []
    while sum(taken) < least_s:
        begin = time.perf_counter()
        step()
        taken.append(time.perf_counter() - begin)
    return sorted(taken)[len(taken) // 2]


def _network(decoder: str):
    from zatlas.model.network import NetworkConfig, build

    shape = {"latent_dim": 16, "channels": 1, "size": 128, "widths": (32, 64, 128, 256), "blocks": 0, "norm": "none"}
    return build(NetworkConfig(**shape, decoder=decoder, likelihood="bernoulli"), seed=0)


def _sharded(threads: int, batch: int, decoder: str, precision: str):
    import torch

    from zatlas.training.shards import Shards, keyed_noise

    torch.set_num_threads(1)
    network = _network(decoder)
    shards = Shards(network, precision=precision, threads=threads)
    optimizer = torch.optim.AdamW([shards.weights.values], lr=1e-3, fused=True)
    x = torch.rand(batch, 1, 128, 128)
    mask, noise = torch.ones_like(x), keyed_noise(batch, 16, seed=0, stream="training noise", index=0)

    def step() -> None:
        found = shards.evaluate(x, mask, noise, rate_weight=1.0)
        shards.weights.values.grad = found.gradients
        optimizer.step()
        shards.weights.renew()

    return step, network


def _whole(threads: int, batch: int, decoder: str, precision: str):
    import torch

    from zatlas.training.weights import Weights

    network = _network(decoder)
    weights = Weights(network, getattr(torch, precision))
    computing = list(weights.computing.parameters())
    gradient = torch.zeros_like(weights.values, requires_grad=False)
    optimizer = torch.optim.AdamW([weights.values], lr=1e-3, fused=True)
    x = torch.rand(batch, 1, 128, 128)
    mask, noise = torch.ones_like(x), torch.randn(batch, 16)

    def step() -> None:
        params, posterior = weights.computing(x, noise)
        nats = network.likelihood.nll(params.float(), x, mask) + network.prior.rate(posterior, posterior.mean)
        for total, part in zip(
            weights.views(gradient).values(), torch.autograd.grad(nats.mean(), computing), strict=True
        ):  # fmt: skip
            total.copy_(part)
        weights.values.grad = gradient
        optimizer.step()
        weights.renew()

    return step, network


def _forward_flop(network) -> float:
    """Multiplications and additions of the convolutions for one image, forward, as the layers are defined."""
    import torch

    from zatlas.training.shards import keyed_noise

    total, hooks = 0.0, []

    def count(module, inputs, out) -> None:
        nonlocal total
        values = inputs[0] if isinstance(module, torch.nn.ConvTranspose2d) else out
        total += 2.0 * module.weight[0].numel() * values.numel()

    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(count))
    size = network.config.size
    with torch.no_grad():
        network(
            torch.zeros(1, 1, size, size),
            keyed_noise(1, network.config.latent_dim, seed=0, stream="training noise", index=0),
        )
    for hook in hooks:
        hook.remove()
    return total


def _outside_convolutions(step: Callable[[], object], network, batch: int) -> float:
    """Share of a step's time that is not spent in convolutions and their gradients."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], experimental_config=_all_threads()) as profiler:
        begin = time.perf_counter()
        for _ in range(10):
            step()
        wall = time.perf_counter() - begin
    spent = {event.key: event.cpu_time_total / 1e6 for event in profiler.key_averages()}
    convolutions = spent.get("aten::convolution_backward", 0.0) + spent.get("aten::convolution", 0.0)
    return 1 - convolutions / wall


def _all_threads():
    """Let the profiler see the threads of the pool as well."""
    from torch._C._profiler import _ExperimentalConfig

    return _ExperimentalConfig(profile_all_threads=True)


def _best_shape(dtype) -> float:
    """GFLOP/s of the convolution that runs fastest, forward."""
    import torch

    x = torch.randn(64, 512, 8, 8).to(dtype).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(512, 512, 3, 3).to(dtype).contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        seconds = _seconds(lambda: torch.nn.functional.conv2d(x, weight, padding=1))
    return 2 * 64 * 64 * 512 * 512 * 9 / seconds / 1e9


if __name__ == "__main__":
    main()
