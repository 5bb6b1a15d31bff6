"""Steps replayed as CUDA graphs, on a pretended device whose recorder repeats operations as a graph does: on the same
memory, with the same plain numbers."""

import contextlib
import dataclasses
import logging
import sys
from pathlib import Path

import pytest
import torch

from zatlas.model.building import build
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import NetworkConfig
from zatlas.training import graphs
from zatlas.training.graphs import Graphs
from zatlas.training.jitter import keyed_jitter
from zatlas.training.shards import Shards, keyed_noise

sys.path.insert(0, str(Path(__file__).parent))
from pretended import DEVICE, PretendedDevice, Recorder, There

SMALL = NetworkConfig(
    latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample", likelihood="gaussian"
)


@pytest.fixture
def device(monkeypatch):
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    with PretendedDevice() as pretended:
        monkeypatch.setattr(graphs, "recorded", Recorder.on(pretended))
        monkeypatch.setattr(graphs, "_PLAIN_STEPS", 1)
        yield pretended


def losses(config, *, graph, steps=5, optimizer="muon", disturb=None):
    """Distortion, rate and length of the gradient in each step of a training whose images, sizes of batches, weights of
    the rate, learning rates and noise all change."""
    network, found = build(config, seed=0), []
    x = torch.rand((6, 1, 16, 16), generator=torch.Generator().manual_seed(0))
    with Shards(network, device=str(DEVICE), graph=graph) as shards:
        moving = shards.optimizer(kind=optimizer, weight_decay=0.1)
        for step in range(steps):
            n = 4 if step % 3 == 2 else 6
            noise = keyed_noise(n, 3, seed=0, stream="training noise", index=step)
            moves = keyed_jitter(n, amount=0.1, seed=0, stream="jitter", index=step)
            shown = x.roll(step, dims=0)[:n]
            evaluated = shards.evaluate(shown, torch.ones(n, 1, 16, 16), noise, rate_weight=500.0 * step, jitter=moves)
            found.append([float(evaluated.distortion.sum()), float(evaluated.rate.sum()), float(evaluated.norm)])
            moving.step(evaluated.gradients, (1e-3, 4e-3)[step % 2])
            shards.weights.renew()
            network.likelihood.observe(evaluated.residuals, step=step)
            if disturb is not None and step == disturb:
                network.likelihood.log_noise_var = network.likelihood.log_noise_var + 0.3
        return torch.tensor(found)


@pytest.mark.parametrize(
    "changes",
    [{}, {"likelihood": "gaussian_per_channel"}, {"likelihood": "student_t"}, {"prior": "vamp"}, {"linear_path": "on"}],
    ids=lambda changes: "_".join(changes.values()),
)
def test_replayed_steps_are_the_plain_ones(device, changes, caplog):
    caplog.set_level(logging.INFO)
    config = dataclasses.replace(SMALL, **changes)
    plain, replayed = (losses(config, graph=graph) for graph in (False, True))
    assert caplog.text.count("recorded a CUDA graph") == 2, "of the evaluation of six images and of the optimizer"
    torch.testing.assert_close(replayed, plain, rtol=1e-4, atol=1e-4)


def test_adam_is_replayed_too(device):
    plain, replayed = (losses(SMALL, graph=graph, optimizer="adam") for graph in (False, True))
    torch.testing.assert_close(replayed, plain, rtol=1e-4, atol=1e-4)


def test_a_replayed_step_waits_once(device):
    waits = []
    for steps in (4, 5):
        device.forget()
        losses(SMALL, graph=True, steps=steps)
        waits.append(device.waits.count("to the host"))
    assert waits[1] - waits[0] == 1


def test_what_moves_in_memory_is_recorded_anew(device, caplog):
    caplog.set_level(logging.INFO)
    plain, replayed = (losses(SMALL, graph=graph, steps=6, disturb=2) for graph in (False, True))
    torch.testing.assert_close(replayed, plain, rtol=1e-4, atol=1e-4)
    assert caplog.text.count("recorded a CUDA graph") == 3


def test_a_step_that_asks_the_device_is_computed_plainly(device, monkeypatch, caplog):
    original = Gaussian.nll
    monkeypatch.setattr(Gaussian, "nll", lambda self, *args: original(self, *args) * float(args[2].max()))
    plain, replayed = (losses(SMALL, graph=graph) for graph in (False, True))
    torch.testing.assert_close(replayed, plain, rtol=1e-4, atol=1e-4)
    lines = [line for line in caplog.text.splitlines() if "no CUDA graph" in line]
    assert len(lines) == 1
    assert lines[0].endswith("not permitted when stream is capturing; training goes on without")


def test_graphs_are_for_networks_of_zatlas_on_a_device_that_were_asked_for(device, monkeypatch):
    class Own(Gaussian):
        name = "own"

    monkeypatch.setattr(Graphs, "run", lambda *_: pytest.fail("a graph was used"))
    losses(SMALL, graph=False, steps=1)
    x, mask, noise = torch.rand(2, 1, 16, 16), torch.ones(2, 1, 16, 16), torch.zeros(2, 3)
    for network, place in ((build(SMALL, 0, Own()), str(DEVICE)), (build(SMALL, 0), "cpu")):
        with Shards(network, device=place, graph=True) as shards:
            found = shards.evaluate(x, mask, noise, rate_weight=1.0)
            shards.optimizer(kind="muon", weight_decay=0.0).step(found.gradients, 1e-3)


def test_an_evaluation_without_gradients_is_not_replayed(device, monkeypatch):
    """Its sums are kept over batches; a graph would write over them."""
    monkeypatch.setattr(Graphs, "run", lambda *_: pytest.fail("a graph was used"))
    with Shards(build(SMALL, 0), device=str(DEVICE), graph=True) as shards:
        found = shards.evaluate(torch.rand(2, 1, 16, 16), torch.ones(2, 1, 16, 16), torch.zeros(2, 3))
    assert isinstance(found.residuals[0], There)
