"""The benchmarks: their arithmetic, what they do when a contestant fails, and that each of them answers --help.

The scripts are no part of the package; they are loaded from their folder. What they measure is not tested here.
"""

import ctypes
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from zatlas.model.network import NetworkConfig, build
from zatlas.training.devices import raise_allocator_thresholds

BENCH = Path(__file__).resolve().parents[1] / "bench"
SCRIPTS = sorted(path for path in BENCH.glob("*.py") if "ArgumentParser(" in path.read_text(encoding="utf-8"))


def loaded(path: Path) -> ModuleType:
    """A script as a module under a name of its own, because several folders have a common.py."""
    name = f"bench_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def contest() -> ModuleType:
    return loaded(BENCH / "contest.py")


@pytest.fixture(scope="module")
def common() -> ModuleType:
    return loaded(BENCH / "train_peers" / "common.py")


FOUND = {
    "ours": [{"images_per_s": 400.0}, {"images_per_s": 300.0}, {"images_per_s": 600.0}],
    "theirs": [{"images_per_s": 100.0}, {"images_per_s": 150.0}, {"images_per_s": 200.0}],
}


def test_the_median_is_taken_by_contestant_and_number(contest: ModuleType) -> None:
    assert contest.medians(FOUND) == {"ours": {"images_per_s": 400.0}, "theirs": {"images_per_s": 150.0}}


def test_ratios_are_formed_within_a_round(contest: ModuleType) -> None:
    """4, 2 and 3; the ratio of the medians would be 2.67."""
    ratios = contest.ratios(FOUND, "images_per_s", of="ours")
    assert ratios == {"ours": (1.0, 1.0, 1.0), "theirs": (2.0, 3.0, 4.0)}


def test_contestants_take_turns_and_warm_up_does_not_count(contest: ModuleType) -> None:
    order: list[str] = []

    def contestant(name: str) -> dict[str, float]:
        order.append(name)
        return {"turn": float(len(order))}

    found = contest.interleaved({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=2, warm_up=1)
    assert order == ["a", "b"] * 3
    assert [turn["turn"] for turn in found["a"]] == [3.0, 5.0]


def test_the_last_line_of_a_process_is_its_report(contest: ModuleType) -> None:
    done = contest.run([sys.executable, "-c", "print('epoch 1'); print('{\"images_per_s\": 7.5}')"])
    assert done.report == {"images_per_s": 7.5}
    assert done.wall_s > 0 and done.cpu_s > 0 and done.peak_mb > 1


def test_a_process_that_fails_says_so(contest: ModuleType) -> None:
    with pytest.raises(SystemExit, match=r"ended with 3:\n.*no such library"):
        contest.run([sys.executable, "-c", "import sys; print('no such library', file=sys.stderr); sys.exit(3)"])


def test_the_clock_leaves_the_first_epoch_out(common: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([100.0, 102.0, 103.0, 107.0])  # epochs of ?, 2, 1 and 4 s
    monkeypatch.setattr(common.time, "perf_counter", lambda: next(times))
    clock = common.Clock()
    for _ in range(4):
        clock.epoch_ended()
    assert clock.numbers(50)["images_per_s"] == 25.0


def test_one_epoch_is_too_few(common: ModuleType) -> None:
    clock = common.Clock()
    clock.epoch_ended()
    with pytest.raises(SystemExit, match="at least two epochs"):
        clock.numbers(50)


def test_the_test_loss_is_that_of_torch(common: ModuleType, tmp_path: Path) -> None:
    import torch
    import torch.nn.functional as F

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 8, 8), dtype=np.uint8)
    logits = rng.normal(0, 10, (5, 1, 8, 8)).astype(np.float32)
    mean, log_var = rng.normal(0, 1, (2, 5, 3)).astype(np.float32)
    np.save(tmp_path / "test.npy", images)
    task = common.Task(
        train="", test=str(tmp_path / "test.npy"), folder="", epochs=2, seed=0, size=8, widths=(4,), latent_dim=3
    )
    x = torch.from_numpy(images[:, None]).double() / 255
    expected = F.binary_cross_entropy_with_logits(torch.from_numpy(logits).double(), x, reduction="sum")
    posterior = torch.distributions.Normal(torch.from_numpy(mean), torch.from_numpy(np.exp(log_var / 2)))
    prior = torch.distributions.Normal(torch.zeros(()), torch.ones(()))
    expected += torch.distributions.kl_divergence(posterior, prior).double().sum()
    found = common.test_loss(task, lambda _: (logits, mean, log_var))
    assert found == pytest.approx(float(expected) / 5, rel=1e-6)


def test_the_network_of_the_torch_peers_is_that_of_zatlas(common: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the same weights both return the same logits and the same posterior."""
    import torch

    monkeypatch.setitem(sys.modules, "common", common)  # as the peers import it
    network = loaded(BENCH / "train_peers" / "torch_network.py")
    task = common.Task(train="", test="", folder="", epochs=2, seed=0, size=32, widths=(4, 8, 16), latent_dim=3)
    shape = NetworkConfig(
        latent_dim=3, channels=1, size=32, widths=(4, 8, 16), blocks=0, norm="none", decoder="transposed",
        likelihood="bernoulli",
    )  # fmt: skip
    ours, theirs = build(shape, seed=0), network.VAE(task)
    weights: list[torch.Tensor] = []
    for module in ours.modules():
        if module is ours.encoder.to_posterior:
            (mean, log_var), (mean_bias, log_var_bias) = module.weight.chunk(2), module.bias.chunk(2)
            weights += [mean, mean_bias, log_var, log_var_bias]
        else:
            weights += list(module.parameters(recurse=False))
    with torch.no_grad():
        for mine, yours in zip(weights, theirs.parameters(), strict=True):
            yours.copy_(mine)
        x = torch.rand(2, 1, 32, 32, generator=torch.Generator().manual_seed(0))
        posterior = ours.encode(x)
        expected = [ours.decode(posterior.mean), posterior.mean, posterior.log_var]
    found = network.pass_through(theirs.encoder, theirs.decoder, x.numpy())
    for mine, yours in zip(expected, found, strict=True):
        np.testing.assert_allclose(yours, mine, atol=1e-3)  # log_var is bounded smoothly in zatlas alone


def test_peers_get_the_allocator_settings_of_zatlas(common: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[int, int]] = []

    class Library:
        def mallopt(self, parameter: int, value: int) -> int:
            calls.append((parameter, value))
            return int(value < 1 << 30)  # some versions of glibc refuse the highest threshold

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Library())
    monkeypatch.setattr("zatlas.training.devices.platform.libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setattr("zatlas.training.devices.sys.platform", "linux")
    raise_allocator_thresholds()
    of_zatlas = calls.copy()
    calls.clear()
    common.raise_allocator_thresholds()
    assert len(calls) >= 4 and calls == of_zatlas


def test_looks_at_the_test_images_stop_the_clock(common: ModuleType, tmp_path: Path, monkeypatch) -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 4, 4)).astype(np.uint8)
    np.save(tmp_path / "test.npy", images)
    now = [0.0]
    monkeypatch.setattr(common, "_now", lambda: (now[0], 2 * now[0], 0))
    task = common.Task("", str(tmp_path / "test.npy"), "", 2, 0, 4, (4,), 2, watches_quality=True)
    clock = common.Clock()

    def shown(x: np.ndarray) -> np.ndarray:
        now[0] += 100.0
        return x + 0.1

    now[0] = 7.0
    clock.watch(task, shown)
    for _ in range(3):
        now[0] += 2.0
        clock.epoch_ended()
    assert clock.numbers(50)["images_per_s"] == 25.0
    assert [round(seconds, 6) for seconds, _ in clock.quality] == [4.0, 8.0, 12.0]
    assert [round(quality, 4) for _, quality in clock.quality] == [20.0] * 3


def test_quality_after_a_time_and_time_to_a_quality(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    train, curve = loaded(BENCH / "train.py"), [(10.0, 15.0), (20.0, 19.0), (40.0, 18.0)]
    assert [train.quality_after(curve, seconds) for seconds in (15.0, 30.0, 99.0)] == [17.0, 18.5, 18.0]
    assert np.isnan(train.quality_after(curve, 9.0))
    assert [train.time_to(curve, quality) for quality in (14.0, 16.0, 19.5)] == [10.0, 12.5, np.inf]


def test_every_benchmark_answers_help() -> None:
    """All at once, because most of the time is the start of Python."""
    assert BENCH / "train.py" in SCRIPTS
    running = {
        path.name: subprocess.Popen(
            [sys.executable, path, "--help"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for path in SCRIPTS
    }
    for name, process in running.items():
        out, _ = process.communicate(timeout=60)
        assert process.returncode == 0, f"{name}:\n{out}"
        assert "usage:" in out, name


def test_the_checks_of_a_graphics_card_run_on_the_processor(tmp_path: Path) -> None:
    command = [sys.executable, BENCH / "gpu.py", "--device", "cpu", "--quick", "--results", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert record["gradients"]["passes"] and record["resume"]["passes"]
    assert record["gradients"]["float32"]["distance"] == 0 < record["gradients"]["bfloat16"]["distance"]
    assert set(record["bits"].values()) == {True}
    assert record["speed"]["bfloat16, 8"]["images_per_s"] > 0


def test_a_part_that_breaks_stops_no_other_and_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    gpu = loaded(BENCH / "gpu.py")
    for name in ("gradients", "resume", "speed"):
        part = lambda device, quick: {"passes": True}  # noqa: E731
        part.__name__ = name
        monkeypatch.setattr(gpu, name, part)

    def bits(device: str, *, quick: bool) -> dict[str, bool]:
        raise RuntimeError("no such kernel")

    monkeypatch.setattr(gpu, "bits", bits)
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--device", "cpu", "--quick", "--results", str(tmp_path)])
    with pytest.raises(SystemExit, match="bits"):
        gpu.main()
    record = json.loads((tmp_path / "gpu-cpu.json").read_text())
    assert record["bits"] == {"failed": "RuntimeError: no such kernel"} and record["speed"] == {"passes": True}


@pytest.mark.slow
def test_a_peer_without_its_library_is_named_and_stops_nobody(tmp_path: Path) -> None:
    """A tiny run in the Python at hand, which has no pythae."""
    command = [sys.executable, BENCH / "train.py", "--here", "--results", tmp_path, "--only", "zatlas", "pythae"]
    command += ["--rounds", "1", "--epochs", "2", "--images", "64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert "pythae (did not run): " in done.stdout and "No module named 'pythae'" in done.stdout
    record = json.loads((tmp_path / "train.json").read_text())
    assert list(record["found"]) == ["zatlas"] and list(record["failed"]) == ["pythae"]
    assert record["found"]["zatlas"][0]["images_per_s"] > 0
