"""The network: shapes, bounds, padding, determinism, weights on disk."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from zatlas.config import ModelConfig
from zatlas.errors import DataError, FileAccessError, UsageError
from zatlas.model import layers
from zatlas.model.building import build
from zatlas.model.layers import EnlargingConvolution, PixelConvolution
from zatlas.model.network import LOG_VAR_MAX, LOG_VAR_MIN, NetworkConfig, load_weights, soft_bound

SMALL = NetworkConfig(
    latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="transposed", likelihood="gaussian"
)


def images(config, n=2):
    shape = (n, config.channels, config.size, config.size)
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


@settings(max_examples=25, deadline=None)
@given(
    size=st.integers(8, 37),
    channels=st.integers(1, 4),
    blocks=st.integers(0, 1),
    norm=st.sampled_from(["none", "group"]),
    decoder=st.sampled_from(["transposed", "upsample"]),
    likelihood=st.sampled_from(["bernoulli", "gaussian"]),
)
def test_shapes_for_any_size_and_channel_number(size, channels, blocks, norm, decoder, likelihood):
    config = dataclasses.replace(
        SMALL, size=size, channels=channels, blocks=blocks, norm=norm, decoder=decoder, likelihood=likelihood
    )
    network = build(config, seed=0)
    x = images(config)
    params, posterior = network(x, torch.zeros(2, 3))
    assert params.shape == x.shape
    assert posterior.mean.shape == posterior.log_var.shape == (2, 3)
    x_hat = network.x_hat(posterior.mean)
    assert x_hat.shape == x.shape
    if likelihood == "bernoulli":
        assert x_hat.min() >= 0
        assert x_hat.max() <= 1


def test_padding_is_reflection_and_the_crop_undoes_it():
    odd = build(dataclasses.replace(SMALL, size=13), seed=0)
    even = build(SMALL, seed=0)
    x = images(odd.config)
    padded = torch.from_numpy(np.pad(x.numpy(), ((0, 0), (0, 0), (1, 2), (1, 2)), mode="reflect"))
    torch.testing.assert_close(odd.encode(x).mean, even.encode(padded).mean)
    z = torch.ones(2, 3)
    torch.testing.assert_close(odd.decode(z), even.decode(z)[:, :, 1:14, 1:14])


def test_from_model_takes_every_value():
    model = ModelConfig(widths=(8, 16), blocks=2, norm="group", decoder="upsample", likelihood="gaussian")
    config = NetworkConfig.from_model(model, 5, channels=3, size=20)
    assert config == NetworkConfig(
        latent_dim=5, channels=3, size=20, widths=(8, 16), blocks=2, norm="group", decoder="upsample",
        likelihood="gaussian",
    )  # fmt: skip
    assert (config.padded_size, config.coarse_size) == (20, 5)


@pytest.mark.parametrize("size", [8, 15])
def test_too_small_images_are_refused_with_widths_that_fit(size):
    with pytest.raises(UsageError, match=f"images of {size} px are too small for 3 stages.*at least 16 px") as caught:
        dataclasses.replace(SMALL, size=size, widths=(4, 8, 16))
    assert caught.value.hint == "use fewer stages: --widths 4 8"
    dataclasses.replace(SMALL, size=size, widths=(4, 8))


def test_log_var_is_bounded_smoothly():
    network = build(SMALL, seed=0)
    with torch.no_grad():
        network.encoder.to_posterior.weight.mul_(1e6)
    log_var = network.encode(images(SMALL, 8)).log_var
    assert log_var.min() >= LOG_VAR_MIN - 1e-5
    assert log_var.max() <= LOG_VAR_MAX + 1e-5
    value = torch.linspace(-30, 30, 61, dtype=torch.float64, requires_grad=True)
    bounded = soft_bound(value, LOG_VAR_MIN, LOG_VAR_MAX)
    (slope,) = torch.autograd.grad(bounded.sum(), value)
    assert (slope > 0).all()
    assert (slope <= 1).all()
    inside = (value > -8) & (value < 4)
    torch.testing.assert_close(bounded[inside], value[inside], atol=0.02, rtol=0)


def test_gradients_agree_with_finite_differences():
    # An odd size and every kind of layer; float64 with a tiny network, activations away from their kinks.
    config = dataclasses.replace(
        SMALL, size=9, latent_dim=2, widths=(2, 3), blocks=1, norm="group", decoder="upsample", channels=2
    )
    network = build(config, seed=3).double()
    x = images(config, 1).double().requires_grad_()
    noise = torch.full((1, 2), 0.3, dtype=torch.float64)

    def loss(inputs):
        params, posterior = network(inputs, noise)
        return params, posterior.mean, posterior.log_var

    assert torch.autograd.gradcheck(loss, (x,), eps=1e-7, atol=1e-5)


def test_weights_depend_on_the_seed_alone_and_leave_the_global_state():
    before = torch.random.get_rng_state()
    first, again, other = build(SMALL, seed=1), build(SMALL, seed=1), build(SMALL, seed=2)
    assert torch.equal(before, torch.random.get_rng_state())
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.encoder.to_posterior.weight, other.encoder.to_posterior.weight)


def test_there_are_no_batch_statistics():
    network = build(dataclasses.replace(SMALL, norm="group"), seed=0)
    x = images(SMALL, 4)
    together, alone = network.encode(x).mean, torch.cat([network.encode(image[None]).mean for image in x])
    torch.testing.assert_close(together, alone)
    assert network.train().encode(x).mean.equal(network.eval().encode(x).mean)


def test_weights_survive_the_disk_and_give_equal_bytes(tmp_path):
    network = build(SMALL, seed=1)
    network.save_weights(tmp_path / "a.safetensors")
    copy = build(SMALL, seed=2)
    load_weights(copy, tmp_path / "a.safetensors")
    copy.save_weights(tmp_path / "b.safetensors")
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()
    x = images(SMALL)
    assert torch.equal(network.encode(x).mean, copy.encode(x).mean)


def test_foreign_damaged_and_missing_weights_are_named(tmp_path):
    network = build(SMALL, seed=1)
    path = tmp_path / "weights.safetensors"
    with pytest.raises(FileAccessError, match=r"cannot read weights\.safetensors"):
        load_weights(network, path)
    build(dataclasses.replace(SMALL, latent_dim=4), seed=1).save_weights(path)
    with pytest.raises(DataError, match="another shape"):
        load_weights(network, path)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match=r"weights\.safetensors is damaged"):
        load_weights(network, path)


def test_latents_stay_float32_under_autocast_and_in_a_low_precision_copy():
    network, x = build(SMALL, seed=0), images(SMALL)
    with torch.autocast("cpu", torch.bfloat16):
        assert network.encode(x).mean.dtype == torch.float32
    copied = network.compute_copy(torch.bfloat16)
    posterior = copied.encode(x)
    assert (posterior.mean.dtype, copied.decode(posterior.mean).dtype) == (torch.float32, torch.bfloat16)
    torch.testing.assert_close(posterior.mean, network.encode(x).mean, atol=0.01, rtol=0.05)
    assert network.decoder.from_latent.weight.dtype == torch.float32
    assert copied.likelihood is network.likelihood, "the noise that is observed is that of both"


def kinds(network, kind):
    return [module for module in network.modules() if isinstance(module, kind)]


@pytest.mark.parametrize(("decoder", "blocks", "transposed", "upsampled", "folded"),
                         [("transposed", 0, 3, 0, 0), ("upsample", 0, 0, 0, 1), ("upsample", 1, 0, 2, 0)])  # fmt: skip
def test_each_decoder_is_made_of_its_own_layers(decoder, blocks, transposed, upsampled, folded):
    network = build(dataclasses.replace(SMALL, widths=(4, 4, 8), decoder=decoder, blocks=blocks), seed=0)
    assert len(kinds(network, nn.ConvTranspose2d)) == transposed
    assert len(kinds(network, nn.Upsample)) == upsampled
    assert len(kinds(network, EnlargingConvolution)) == folded
    assert [layer.enlarges for layer in kinds(network, PixelConvolution)] == [blocks == 0] * (decoder == "upsample")


def test_layers_are_called_as_before_upsampling_was_folded():
    names = set(build(dataclasses.replace(SMALL, widths=(4, 4, 8), decoder="upsample"), seed=0).state_dict())
    assert {name for name in names if name.startswith("decoder") and "weight" in name} == {
        "decoder.from_latent.weight", "decoder.stages.1.weight", "decoder.stages.4.weight", "decoder.to_params.weight",
    }  # fmt: skip


@pytest.mark.parametrize("decoder", ["transposed", "upsample"])
@pytest.mark.parametrize("size", [13, 16])
def test_the_decoder_itself_gives_images_of_their_own_size(decoder, size):
    network = build(dataclasses.replace(SMALL, decoder=decoder, size=size), seed=0)
    assert network.decoder(torch.zeros(1, 3)).shape == (1, 1, size, size)


def test_norms_are_there_when_asked_for():
    assert not kinds(build(SMALL, seed=0), nn.GroupNorm)
    assert len(kinds(build(dataclasses.replace(SMALL, norm="group"), seed=0), nn.GroupNorm)) == 4


def test_a_bias_added_apart_is_that_of_torch():
    for layer in kinds(build(SMALL, seed=0), nn.ConvTranspose2d):
        nn.init.uniform_(layer.bias, 0.5, 1.0, generator=torch.Generator().manual_seed(2))
        x = torch.rand(2, layer.in_channels, 5, 5, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(layer(x), nn.ConvTranspose2d.forward(layer, x))


def test_filters_lie_channels_innermost():
    # Laid out in torch's own order the first layers are many times slower (speed.md).
    filters = [value for value in build(SMALL, seed=0).parameters() if value.dim() == 4]
    assert filters and all(value.is_contiguous(memory_format=torch.channels_last) for value in filters)


@pytest.mark.parametrize("decoder", ["upsample", "transposed"])
def test_a_network_in_float32_is_equal_to_a_millionth(decoder, monkeypatch):
    network = build(dataclasses.replace(SMALL, size=32, widths=(8, 16, 32), latent_dim=4, decoder=decoder), seed=0)
    generator = torch.Generator().manual_seed(1)
    x, noise = torch.rand(3, 1, 32, 32, generator=generator), torch.randn(3, 4, generator=generator)

    def found():
        params, posterior = network(x, noise)
        loss = F.softplus(params).mean() + posterior.mean.square().mean()
        return params.detach(), torch.autograd.grad(loss, list(network.parameters()))

    params, gradients = found()
    monkeypatch.setattr(layers, "_is_plain", lambda *_: True)
    expected, wanted = found()
    length = torch.cat([one.flatten() for one in wanted]).norm()
    difference = torch.cat([(a - b).flatten() for a, b in zip(gradients, wanted, strict=True)]).norm()
    assert float((params - expected).abs().max() / expected.abs().max()) < 2e-6
    assert 0 < float(difference / length) < 2e-6, "the plain layers have other last bits"


@given(size=st.integers(8, 1100))
def test_stages_follow_from_the_size_of_the_images(size):
    config = NetworkConfig(latent_dim=2, channels=1, size=size)
    assert 4 <= config.coarse_size <= 8 or size > 1023
    assert list(config.widths) == sorted(config.widths)
    assert config.widths[0] >= 24
    assert config.widths[-1] == 256
    assert NetworkConfig(latent_dim=2, channels=1, size=size, widths=(4,)).widths == (4,)
