"""Layers computed in another order give what torch's own layers give, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from zatlas.model import layers
from zatlas.model.layers import Convolution, EnlargingConvolution, PixelConvolution, TransposedConvolution


def upsampled(x):
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


def plain(layer, x, weight, bias):
    """What the layer is defined to give."""
    if isinstance(layer, TransposedConvolution):
        return F.conv_transpose2d(x, weight, bias, stride=2, padding=1, output_padding=1)
    if isinstance(layer, PixelConvolution):
        return F.pixel_shuffle(F.conv2d(upsampled(x) if layer.enlarges else x, weight, bias, padding=1), 2)
    x = upsampled(x) if isinstance(layer, EnlargingConvolution) else x
    return F.conv2d(x, weight, bias, layer.stride, padding=1)


LAYERS = {
    "kept": lambda: Convolution(6, 5),
    "halved": lambda: Convolution(6, 5, stride=2),
    "transposed": lambda: TransposedConvolution(6, 5),
    "enlarging": lambda: EnlargingConvolution(6, 5),
    "pixels": lambda: PixelConvolution(6, 3, enlarges=True),
    "pixels-alone": lambda: PixelConvolution(6, 3, enlarges=False),
}
PRODUCTS = {"everywhere": lambda *_: True, "weights": lambda _, __, largest: largest > 2, "nowhere": lambda *_: False}


def made(kind, shape, dtype=torch.float64):
    torch.manual_seed(0)
    layer = LAYERS[kind]().to(dtype).to(memory_format=torch.channels_last)
    x = torch.randn(shape, dtype=dtype).contiguous(memory_format=torch.channels_last)
    return layer, x.requires_grad_()


@pytest.mark.parametrize("products", PRODUCTS)
@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("sides", [(4, 4), (2, 6), (1, 1), (5, 3)])
def test_values_and_gradients_are_those_of_the_plain_layer(kind, sides, products, monkeypatch):
    monkeypatch.setattr(layers, "_as_products", PRODUCTS[products])
    layer, x = made(kind, (3, 6, *sides))
    inputs = (x, layer.weight, layer.bias)
    expected = plain(layer, *inputs)
    pull = torch.randn_like(expected)
    out = F.relu_(layer(x))  # in place, as the network does it
    assert out.shape == expected.shape
    wanted = torch.autograd.grad(F.relu(expected), inputs, pull)
    found = torch.autograd.grad(out, inputs, pull)
    torch.testing.assert_close(out, F.relu(expected), atol=1e-12, rtol=1e-12)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("kind", LAYERS)
def test_a_layer_without_bias_and_an_input_without_gradient(kind):
    layer, x = made(kind, (2, 6, 4, 4))
    layer.bias = None
    (found,) = torch.autograd.grad(layer(x.detach()).sum(), [layer.weight])
    (wanted,) = torch.autograd.grad(plain(layer, x.detach(), layer.weight, None).sum(), [layer.weight])
    torch.testing.assert_close(found, wanted, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("side", [2, 8])
@pytest.mark.parametrize("kind", LAYERS)
def test_bfloat16_is_as_near_as_the_plain_layer(kind, side):
    layer, x = made(kind, (3, 6, side, side), torch.bfloat16)
    exact = [value.detach().double().requires_grad_() for value in (x, layer.weight, layer.bias)]
    found = torch.autograd.grad(layer(x).sum(), (x, layer.weight, layer.bias))
    wanted = torch.autograd.grad(plain(layer, *exact).sum(), exact)
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == torch.bfloat16
        assert float((one.double() - other).norm() / other.norm()) < 0.006


def test_autocast_and_exports_get_the_plain_layers():
    layer = EnlargingConvolution(2, 3)
    x = torch.rand(1, 2, 4, 4)
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    names = [str(node.target) for node in torch.export.export(nn.Sequential(layer), (x,)).graph.nodes]
    assert any("upsample_nearest2d" in name for name in names)
    assert not any("transpose" in name for name in names)
