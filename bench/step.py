"""How near a training step comes to the limit of this machine, and what shards of a fixed size cost.

    python bench/step.py [--network w1|w2|default] [--rounds 3] [--precision bfloat16|float32]
    python bench/step.py --only shards --against ../other/src     # the step of another checkout, in turn

w1 and w2 are the networks of train.py, with Adam: 128 px, widths 32-64-128-256, 16 latent dimensions, and 64 px,
32-64-128-256-512, 128 dimensions. default is what zatlas trains where nothing is asked for: 128 px,
24-48-96-192-256, upsampling, gaussian, Muon and the mean of the weights. In turn, each in a process of its own:

    shards, n threads      the step of zatlas: shards of 8 to 16 images (32 of 64 px), one thread each
    whole batch, n threads the same network, loss and optimizer, the whole batch at once, n threads in each operator
    best shape             the convolution that this machine computes fastest: 512 channels, 8 x 8, kernel 3

Figures: images per second; processor time per image, which another program changes less; that of the thread that calls,
while those of the pool wait; GFLOP/s of the step's
convolutions (forward and both gradients, as the layers are defined), as a share of the best shape's on as many threads;
share of the step outside convolutions, by torch's profiler on one thread.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import contest

BATCHES = (64, 16)
NETWORKS = {
    "w1": {"size": 128, "widths": (32, 64, 128, 256), "latent_dim": 16, "decoder": "transposed"},
    "w2": {"size": 64, "widths": (32, 64, 128, 256, 512), "latent_dim": 128, "decoder": "transposed"},
    "default": {"size": 128, "widths": (), "latent_dim": 16, "decoder": "upsample"},
}
CONVOLUTIONS = (
    "_Convolved", "_ConvolvedBackward", "_Transposed", "_TransposedBackward", "aten::conv2d", "aten::convolution",
    "aten::convolution_backward",
)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="w1", choices=tuple(NETWORKS))
    parser.add_argument("--decoder", default="", choices=("transposed", "upsample"), help="instead of the network's")
    parser.add_argument("--precision", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--batch", type=int, nargs="+", default=BATCHES, help="images per step (default: 64 16)")
    parser.add_argument("--only", nargs="+", default=("best", "shards", "whole"), choices=("best", "shards", "whole"))
    parser.add_argument("--against", type=Path, default=None, help="folder src of another checkout")
    parser.add_argument("--results", type=Path, default=contest.HERE / "results", help="folder of the files of results")
    parser.add_argument("--one", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        kind, threads, batch = options.one.split(":")
        print(json.dumps(measure(kind, int(threads), int(batch), options)))
        return
    contest.interleaved(contestants(options), rounds=options.rounds, after_round=partial(report, options=options))
    print((options.results / f"{file_name(options)}.md").read_text())


def contestants(options: argparse.Namespace) -> dict[str, Callable[[], dict[str, float]]]:
    """Every contestant by name; each call starts a process."""
    cores = len(os.sched_getaffinity(0))
    words = {"shards": "shards", "whole": "whole batch"}
    sources = {"": None, **({"other: ": options.against.resolve()} if options.against else {})}
    names = {}
    for threads in sorted({1, cores}):
        if "best" in options.only:
            names[f"best shape, {threads} threads"] = partial(_in_process, f"best:{threads}:64", None, options)
        for batch in options.batch:
            for kind in options.only:
                for whose, source in sources.items() if kind in words else ():
                    name = f"{whose}{words[kind]}, {threads} threads, batch {batch}"
                    names[name] = partial(_in_process, f"{kind}:{threads}:{batch}", source, options)
    return names


def _in_process(code: str, source: Path | None, options: argparse.Namespace) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", code, "--network", options.network, "--precision", options.precision]
    command += ["--decoder", options.decoder] if options.decoder else []
    return contest.run(command, env={"PYTHONPATH": str(source)} if source else None).report


def file_name(options: argparse.Namespace) -> str:
    """Of the results, without its ending."""
    words = [options.network, options.decoder, options.precision, "against" if options.against else ""]
    return "-".join(["step", *filter(None, words)])


def report(found: dict[str, list[dict[str, float]]], options: argparse.Namespace) -> None:
    """Write the record and the table of the rounds so far."""
    middle = contest.medians(found)
    rows = []
    for name, numbers in middle.items():
        best = middle.get(f"best shape, {name.split(', ')[1]}", {}).get("gflops", float("nan"))
        share = 100 * numbers["gflops"] / best
        rows.append([
            name, *(numbers.get(key, float("nan")) for key in ("images_per_s", "cpu_ms_per_image", "caller_ms")),
            numbers["gflops"], "-" if share != share else f"{share:.0f} %",
            f"{100 * numbers['outside']:.0f} %" if "outside" in numbers else "-",
        ])  # fmt: skip
    title = f"A step of {options.network}, {options.precision}, medians of {len(next(iter(found.values())))} rounds"
    columns = [
        "contestant", "images/s", "CPU ms/image", "caller ms/step", "GFLOP/s", "of the best shape",
        "outside convolutions",
    ]  # fmt: skip
    compared = {name: turns for name, turns in found.items() if "best" not in name}
    ratios = {
        key: {name: contest.ratios(compared, key, of=name) for name in compared if name.startswith("shards")}
        for key in ("images_per_s", "cpu_ms_per_image")
    }
    tables = [contest.Table(title, columns, rows)]
    if options.against:
        tables.append(_against(ratios))
    contest.save(file_name(options), {"found": found, "ratios": ratios}, folder=options.results, tables=tables)


def _against(ratios: dict[str, dict[str, dict[str, tuple[float, float, float]]]]) -> contest.Table:
    """How many times as fast as the other checkout, round by round."""
    rows = []
    for name, of_others in ratios["images_per_s"].items():
        low, middle, high = of_others[f"other: {name}"]
        cpu = 1 / ratios["cpu_ms_per_image"][name][f"other: {name}"][1]
        rows.append([name, f"{middle:.3f} ({low:.3f} to {high:.3f})", f"{cpu:.3f}"])
    return contest.Table("Times as fast as the other checkout", ["step", "images/s", "per processor time"], rows)


def measure(kind: str, threads: int, batch: int, options: argparse.Namespace) -> dict[str, float]:
    """One contestant in this process."""
    import torch

    from zatlas.training.devices import raise_allocator_thresholds

    raise_allocator_thresholds()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    torch.set_num_threads(threads)
    if kind == "best":
        return {"gflops": _best_shape(getattr(torch, options.precision))}
    step, network = (_sharded if kind == "shards" else _whole)(threads, batch, options)
    seconds, cpu_seconds, caller_seconds = _seconds(step)
    flop = 3 * _forward_flop(network) * batch
    answer = {"images_per_s": batch / seconds, "cpu_ms_per_image": 1e3 * cpu_seconds / batch}
    answer |= {"caller_ms": 1e3 * caller_seconds} if kind == "shards" else {}
    answer["gflops"] = flop / seconds / 1e9
    if threads == 1:
        answer["outside"] = _outside_convolutions(step)
    return answer


def _seconds(step: Callable[[], object], *, least_s: float = 2.0) -> tuple[float, float, float]:
    """Medians over at least `least_s` of the time of a step, its processor time, and that of this thread alone."""
    for _ in range(5):
        step()
    clocks = (time.perf_counter, time.process_time, time.thread_time)
    taken: list[list[float]] = []
    while sum(wall for wall, *_ in taken) < least_s:
        begin = [clock() for clock in clocks]
        step()
        taken.append([clock() - before for clock, before in zip(clocks, begin, strict=True)])
    wall, cpu, caller = (sorted(column)[len(taken) // 2] for column in zip(*taken, strict=True))
    return wall, cpu, caller


def _network(options: argparse.Namespace):
    from zatlas.model.building import build
    from zatlas.model.network import NetworkConfig

    shape = dict(NETWORKS[options.network])
    shape["decoder"] = options.decoder or shape["decoder"]
    likelihood = "gaussian" if options.network == "default" else "bernoulli"
    return build(NetworkConfig(channels=1, blocks=0, norm="none", likelihood=likelihood, **shape), seed=0)


def _moving(weights, options: argparse.Namespace, new_optimizer):
    """What happens after the gradients: optimizer, copy that computes, mean of the weights; a function of gradients."""
    from zatlas.training.average import Average

    is_default = options.network == "default"
    optimizer = new_optimizer(kind="muon" if is_default else "adam", weight_decay=0.1 if is_default else 0.0)
    average = Average(weights, 0.998 if is_default else 0.0)

    def move(gradients) -> None:
        optimizer.step(gradients, 1e-3)
        weights.renew()
        average.update(1000)

    return move


def _images(network, batch: int):
    """Images, mask, noise."""
    import torch

    from zatlas.training.shards import keyed_noise

    x = torch.rand(batch, 1, network.config.size, network.config.size)
    noise = keyed_noise(batch, network.config.latent_dim, seed=0, stream="training noise", index=0)
    return x, torch.ones_like(x), noise


def _sharded(threads: int, batch: int, options: argparse.Namespace):
    import torch

    from zatlas.training.shards import Shards

    torch.set_num_threads(1)
    network = _network(options)
    shards = Shards(network, precision=options.precision, threads=threads)
    move = _moving(shards.weights, options, shards.optimizer)
    x, mask, noise = _images(network, batch)

    def step() -> None:
        move(shards.evaluate(x, mask, noise, rate_weight=1.0).gradients)

    return step, network


def _whole(threads: int, batch: int, options: argparse.Namespace):
    import torch

    from zatlas.training.optimizer import Optimizer
    from zatlas.training.weights import Weights

    network = _network(options)
    weights = Weights(network, getattr(torch, options.precision))
    computing = [parameter for _, parameter in weights.trained()]
    gradients = torch.zeros_like(weights.values, requires_grad=False)
    move = _moving(weights, options, partial(Optimizer, weights))
    x, mask, noise = _images(network, batch)

    def step() -> None:
        params, posterior = weights.computing(x, noise)
        nats = network.likelihood.nll(params.float(), x, mask) + network.prior.rate(posterior, posterior.mean)
        parts = torch.autograd.grad(nats.mean(), computing, materialize_grads=True)
        for total, part in zip(weights.views(gradients).values(), parts, strict=True):
            total.copy_(part)
        move(gradients)

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


def _outside_convolutions(step: Callable[[], object]) -> float:
    """Share of a step's time that is not spent in convolutions and their gradients, however they are computed."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], experimental_config=_all_threads()) as profiler:
        begin = time.perf_counter()  # as the profiler does
        for _ in range(10):
            step()
        spent = time.perf_counter() - begin
    convolutions = [event for event in profiler.events() if event.name in CONVOLUTIONS and not _is_inside(event)]
    return 1 - sum(event.cpu_time_total for event in convolutions) / 1e6 / spent


def _is_inside(event) -> bool:
    """Whether it is a part of a convolution that is counted already."""
    while event.cpu_parent is not None:
        event = event.cpu_parent
        if event.name in CONVOLUTIONS:
            return True
    return False


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
        seconds, *_ = _seconds(lambda: torch.nn.functional.conv2d(x, weight, padding=1))
    return 2 * 64 * 64 * 512 * 512 * 9 / seconds / 1e9


if __name__ == "__main__":
    main()
