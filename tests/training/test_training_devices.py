"""Choices of threads and number format, and the shards they feed."""

import logging
import math
import sys

import pytest
import torch

from zatlas.model.network import NetworkConfig, build
from zatlas.model.objective import distortion, rate
from zatlas.training import devices
from zatlas.training.devices import Devices, choose, one_thread_per_operator, raise_allocator_thresholds
from zatlas.training.shards import Shards, jittered, keyed_jitter, keyed_noise


def test_choices_carry_their_reasons(caplog):
    caplog.set_level(logging.INFO)
    chosen = choose(threads=3, precision="float32")
    assert (chosen.device, chosen.threads, chosen.precision) == ("cpu", 3, "float32")
    assert chosen.to_dict()["threads"] == {"value": 3, "reason": "as asked for"}
    assert "threads: 3 (as asked for)" in caplog.text


def test_automatic_threads_heed_the_environment(monkeypatch):
    monkeypatch.setattr(devices.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(devices, "_container_quota", lambda: 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert choose().threads == 8
    monkeypatch.setattr(devices, "_container_quota", lambda: 3)
    assert (choose().threads, choose().reasons["threads"]) == (3, "this container may use 3 of 8 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert (choose().threads, choose().reasons["threads"]) == (2, "OMP_NUM_THREADS is 2")


@pytest.mark.parametrize(
    ("flags", "expected"), [({"avx2"}, "float32"), ({"avx512_bf16"}, "bfloat16"), ({"amx_bf16"}, "bfloat16")]
)
def test_bfloat16_only_where_the_processor_computes_in_it(monkeypatch, flags, expected):
    monkeypatch.setattr(devices, "_processor_flags", lambda: flags)
    assert choose().precision == expected


def test_threads_per_operator_are_restored():
    before = torch.get_num_threads()
    with one_thread_per_operator():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_allocator_thresholds_are_accepted():
    assert "allocator" in raise_allocator_thresholds()


def test_sharded_gradients_are_the_gradients_of_the_whole_batch():
    config = NetworkConfig(
        latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="group", decoder="transposed",
        likelihood="bernoulli",
    )  # fmt: skip
    network = build(config, seed=0)
    x, mask = torch.rand((37, 1, 16, 16), generator=torch.Generator().manual_seed(0)), torch.ones(37, 1, 16, 16)
    noise = keyed_noise(37, 3, seed=0, stream=1, index=2)
    with Shards(network, Devices("cpu", "float32", 2, {})) as shards:
        found = shards.evaluate(x, mask, noise, rate_weight=0.5)
        assert shards.evaluate(x, mask, noise).gradients == []
    params, posterior = network(x, noise)
    nats = distortion(params, x, mask, likelihood="bernoulli", log_noise_var=network.log_noise_var)
    kl = rate(posterior.mean, posterior.log_var)
    torch.testing.assert_close(found.distortion, nats)
    torch.testing.assert_close(found.rate, kl)
    torch.testing.assert_close(found.means, posterior.mean)
    expected = torch.autograd.grad((nats + 0.5 * kl).mean(), list(network.parameters()))
    for gradient, whole in zip(found.gradients, expected, strict=True):
        torch.testing.assert_close(gradient, whole, rtol=1e-4, atol=1e-4)


def test_noise_is_a_function_of_its_key():
    first = keyed_noise(5, 2, seed=0, stream=1, index=2)
    assert torch.equal(first, keyed_noise(5, 2, seed=0, stream=1, index=2))
    for other in ((1, 1, 2), (0, 2, 2), (0, 1, 3)):
        assert not torch.equal(first, keyed_noise(5, 2, seed=other[0], stream=other[1], index=other[2]))
    many = keyed_noise(20_000, 2, seed=0, stream=1, index=3)
    assert abs(float(many.mean())) < 0.02
    assert abs(float(many.std()) - 1) < 0.02


def test_jitter_moves_and_zooms_within_its_amount():
    x = torch.rand((64, 1, 32, 32), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(jittered(x, keyed_jitter(64, amount=0.0, seed=0, stream=1, index=0)), x)
    matrices = keyed_jitter(64, amount=0.1, seed=0, stream=1, index=0)
    assert torch.equal(matrices, keyed_jitter(64, amount=0.1, seed=0, stream=1, index=0))
    assert not torch.equal(matrices, keyed_jitter(64, amount=0.1, seed=0, stream=1, index=1))
    scales, shifts = matrices[:, [0, 1], [0, 1]], matrices[:, :, 2] / 2
    assert 0.08 < float(shifts.abs().max()) <= 0.1
    assert 1.08 < float(scales.max()) <= math.exp(0.1)
    assert math.exp(-0.1) <= float(scales.min()) < 0.93


def test_jitter_of_whole_pixels_is_a_shift():
    x = torch.rand((1, 2, 16, 16), generator=torch.Generator().manual_seed(0))
    matrix = torch.tensor([[[1.0, 0.0, 2 * 3 / 16], [0.0, 1.0, 2 * 1 / 16]]])  # 3 px along x, 1 px along y
    torch.testing.assert_close(jittered(x, matrix)[:, :, :15, :13], x[:, :, 1:, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(jittered(x, matrix)[:, :, 3, 15], x[:, :, 4, 15], atol=1e-5, rtol=0)
