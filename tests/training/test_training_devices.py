"""Choices of threads and number format, and the shards they feed."""

import dataclasses
import logging
import re
import sys

import pytest
import torch
import torch.nn.functional as F

from zatlas import compute
from zatlas.compute import shard_images
from zatlas.config import TrainConfig
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.training import devices
from zatlas.training.devices import choose, raise_allocator_thresholds
from zatlas.training.jitter import jittered, keyed_jitter
from zatlas.training.rehearsal import Rehearsal, rehearse
from zatlas.training.sending import brought
from zatlas.training.shards import Shards, keyed_noise
from zatlas.training.weights import Weights

SMALL = NetworkConfig(
    latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample", likelihood="bernoulli"
)


def test_choices_carry_their_reasons(caplog):
    caplog.set_level(logging.INFO)
    chosen = choose(TrainConfig(threads=3, precision="float32"), SMALL)
    assert (chosen.device, chosen.threads, chosen.is_threads_fixed, chosen.precision) == ("cpu", 3, True, "float32")
    assert chosen.to_dict()["threads"] == {"value": 3, "reason": "as asked for"}
    assert "threads: 3 (as asked for)" in caplog.text
    for name in ("device", "precision", "memory format", "allocator", "compile"):
        assert f"{name}: " in caplog.text


def test_automatic_threads_heed_environment_and_batch(monkeypatch):
    def threads(batch_size=256):
        chosen = choose(TrainConfig(batch_size=batch_size, precision="float32"), SMALL)
        return chosen.threads, chosen.reasons["threads"]

    monkeypatch.setattr(compute.os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    monkeypatch.setattr(compute, "_container_quota", lambda: 0)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert threads() == (8, "8 cores are at hand")
    assert threads(16) == (2, "8 cores are at hand, and a batch of 16 images has 2 shards")
    monkeypatch.setattr(compute, "_container_quota", lambda: 3)
    assert threads() == (3, "this container may use 3 of 8 cores")
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert threads() == (2, "OMP_NUM_THREADS is 2")


class OfAnotherDevice(torch.Tensor):
    """A tensor that says that it lies on another device, and counts when it is fetched from there."""

    fetched = 0
    device = torch.device("cuda")

    def cpu(self):
        type(self).fetched += 1
        return self.as_subclass(torch.Tensor)


def test_numbers_of_a_device_come_in_one_piece():
    wanted = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0, 4.0], [5.0, 6.0]]), torch.tensor(7.0)]
    found = brought([tensor.as_subclass(OfAnotherDevice) for tensor in wanted])
    assert OfAnotherDevice.fetched == 1
    for one, other in zip(found, wanted, strict=True):
        assert type(one) is torch.Tensor
        assert torch.equal(one, other) and one.shape == other.shape
    assert brought(wanted) is wanted


@pytest.mark.parametrize(("has_bfloat16", "precision"), [(True, "bfloat16"), (False, "float32")])
def test_a_cuda_device_is_asked_and_not_the_processor(has_bfloat16, precision, monkeypatch):
    monkeypatch.delenv("ZATLAS_CUDA_GRAPH", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: has_bfloat16)
    monkeypatch.setattr(devices, "_processor_flags", lambda: pytest.fail("the processor was asked"))
    chosen = choose(TrainConfig(device="cuda", threads=3), SMALL)
    assert (chosen.precision, chosen.threads) == (precision, 1)
    assert "CUDA device" in chosen.reasons["precision"]
    assert chosen.to_dict()["tf32"]["value"] == "in convolutions"
    assert chosen.to_dict()["cuda_graph"]["value"] == "off"
    monkeypatch.setenv("ZATLAS_CUDA_GRAPH", "1")
    assert chosen.to_dict()["cuda_graph"]["value"] == "on"
    assert not {"tf32", "cuda_graph"} & set(choose(TrainConfig(device="cpu", precision="float32"), SMALL).to_dict())


@pytest.mark.parametrize(
    ("flags", "found", "expected", "words"),
    [
        ({"avx2"}, Rehearsal(1.6, 0.9999), "float32", "no bfloat16 arithmetic"),
        ({"avx512_bf16"}, Rehearsal(1.6, 0.9999), "bfloat16", "avx512_bf16.*1.6 times as fast"),
        ({"amx_bf16"}, Rehearsal(0.9, 0.9999), "bfloat16", "amx_bf16"),
        ({"amx_bf16"}, Rehearsal(0.25, 0.9999), "float32", "take 4.0 times as long"),
        ({"amx_bf16"}, Rehearsal(1.6, 0.7), "float32", "cosine 0.700"),
    ],
)
def test_bfloat16_only_where_it_is_faster_and_agrees(monkeypatch, flags, found, expected, words):
    monkeypatch.setattr(devices, "_processor_flags", lambda: flags)
    monkeypatch.setattr(devices, "rehearse", lambda network: found)
    chosen = choose(TrainConfig(), SMALL)
    assert chosen.precision == expected
    assert re.search(words, chosen.reasons["precision"])


def test_deterministic_choices_do_not_depend_on_time(monkeypatch):
    monkeypatch.setattr(devices, "_processor_flags", lambda: {"avx512_bf16"})
    monkeypatch.setattr(devices, "rehearse", lambda network: Rehearsal(0.25, 0.9999))
    assert choose(TrainConfig(deterministic=True), SMALL).precision == "bfloat16"


def test_a_training_keeps_the_number_format_it_was_begun_with():
    chosen = choose(TrainConfig(precision="bfloat16"), SMALL, stored_precision="float32")
    assert (chosen.precision, chosen.reasons["precision"]) == ("float32", "this training was begun with it")


def test_a_device_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UsageError, match="torch finds no CUDA device"):
        choose(TrainConfig(device="cuda"), SMALL)


def test_a_rehearsal_measures_both_formats():
    found = rehearse(SMALL)
    assert found.cosine > 0.99
    assert found.speedup > 0


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_allocator_thresholds_are_accepted():
    assert raise_allocator_thresholds() == "keeps freed blocks"


@pytest.mark.parametrize(
    ("likelihood", "prior"),
    [("bernoulli", "standard"), ("gaussian", "standard"), ("gaussian", "mixture"), ("gaussian", "vamp")],
)
@pytest.mark.parametrize(("n", "shards"), [(37, (19, 18)), (70, (32, 32, 6))])
def test_sharded_gradients_are_the_gradients_of_the_whole_batch(likelihood, prior, n, shards):
    """Padding, jitter and noise go with their images into the shards, of which the last is smaller."""
    config = NetworkConfig(
        latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="group", decoder="transposed",
        likelihood=likelihood, prior=prior,
    )  # fmt: skip
    network = build(config, seed=0)
    network.log_noise_var.fill_(-3.0)
    generator = torch.Generator().manual_seed(0)
    x, mask = torch.rand((n, 1, 16, 16), generator=generator), torch.ones(n, 1, 16, 16)
    mask[::3, :, :, 11:] = 0
    noise = keyed_noise(n, 3, seed=0, stream="training noise", index=2)
    moves = keyed_jitter(n, amount=0.1, seed=0, stream="jitter", index=2)
    size = shard_images(n, 16)
    assert tuple(len(part) for part in x.split(size)) == shards
    with Shards(network, threads=2) as parts:
        found = parts.evaluate(x, mask, noise, rate_weight=0.5, jitter=moves)
        gradients = {name: view.clone() for name, view in parts.weights.views(found.gradients).items()}
        assert len(parts.evaluate(x, mask, noise).gradients) == 0
    x = jittered(x, moves)
    params, posterior = network(x, noise)
    nats, kl = network.likelihood.nll(params, x, mask), network.prior.rate(posterior, posterior.draw(noise))
    torch.testing.assert_close(found.distortion, nats)
    torch.testing.assert_close(found.rate, kl)
    torch.testing.assert_close(found.means, posterior.mean)
    if likelihood == "gaussian":
        squared, n_values = found.residuals
        torch.testing.assert_close(squared, ((x - params).square() * mask).sum())
        assert float(n_values) == float(mask.sum())
    expected = torch.autograd.grad((nats + 0.5 * kl).mean(), list(network.parameters()))
    for (name, _), whole in zip(network.named_parameters(), expected, strict=True):
        longest = float(whole.abs().max())
        torch.testing.assert_close(gradients[name], whole, rtol=1e-4, atol=max(1e-4, 1e-5 * longest))


def test_noise_is_a_function_of_its_key():
    first = keyed_noise(5, 2, seed=0, stream="jitter", index=2)
    assert torch.equal(first, keyed_noise(5, 2, seed=0, stream="jitter", index=2))
    for other in ((1, "jitter", 2), (0, "training noise", 2), (0, "jitter", 3)):
        assert not torch.equal(first, keyed_noise(5, 2, seed=other[0], stream=other[1], index=other[2]))
    many = keyed_noise(20_000, 2, seed=0, stream="jitter", index=3)
    assert abs(float(many.mean())) < 0.02
    assert abs(float(many.std()) - 1) < 0.02


@pytest.mark.parametrize("decoder", ["transposed", "upsample"])
def test_parameters_are_parts_of_one_vector(decoder):
    network = small(decoder=decoder)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    weights = Weights(network, torch.bfloat16)
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    with torch.no_grad():
        weights.values.add_(1.0)
    weights.renew()
    for (name, own), (_, copied) in zip(
        network.named_parameters(), weights.computing.named_parameters(), strict=True
    ):  # fmt: skip
        torch.testing.assert_close(own, before[name] + 1.0)
        torch.testing.assert_close(copied.float(), own, rtol=0.01, atol=0.0)
        assert copied.dtype == (torch.float32 if "to_posterior" in name else torch.bfloat16)
        assert copied.stride() == own.stride()


def test_bfloat16_gradients_point_where_those_of_float32_point():
    x, mask = torch.rand((16, 1, 16, 16), generator=torch.Generator().manual_seed(0)), torch.ones(16, 1, 16, 16)
    noise, gradients = keyed_noise(16, 3, seed=0, stream="jitter", index=2), []
    for precision in ("float32", "bfloat16"):
        with Shards(small(), precision=precision) as shards:
            gradients.append(shards.evaluate(x, mask, noise, rate_weight=1.0).gradients)
    assert float(F.cosine_similarity(*gradients, dim=0)) > 0.999


def test_no_activation_meets_a_gradient_in_another_memory_format():
    """torch's backward pass of ReLU is 30 times slower when its two inputs differ in memory format."""
    network, found = small(), []
    for module in network.modules():
        if isinstance(module, torch.nn.ReLU):
            module.register_forward_hook(
                lambda _, __, out: found.append(out.is_contiguous(memory_format=torch.channels_last))
            )
    network(torch.rand(4, 1, 16, 16), torch.zeros(4, 3))
    assert found
    assert all(found)


def small(decoder="upsample"):
    return build(dataclasses.replace(SMALL, decoder=decoder), seed=0)


def test_a_batch_is_computed_in_shards():
    config = NetworkConfig(
        latent_dim=2, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample",
        likelihood="bernoulli",
    )  # fmt: skip
    seen = []
    with Shards(build(config, seed=0), threads=1) as parts:
        parts.weights.computing.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
        parts.evaluate(torch.rand(70, 1, 16, 16), torch.ones(70, 1, 16, 16), torch.zeros(70, 2))
    assert sorted(seen) == [6, 32, 32]
