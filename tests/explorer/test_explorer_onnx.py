"""Networks as ONNX: the same numbers as in torch for every kind of network, the same bytes each time, counted work."""

import logging
import sys

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from zatlas.atlas.drawing import images_of_draw, noise_of_draw
from zatlas.explorer.bundle import onnx_export
from zatlas.explorer.bundle.columns import Files
from zatlas.explorer.bundle.model_part import networks
from zatlas.explorer.bundle.onnx_export import (
    ExportError,
    check_latents,
    export_decoder,
    export_encoder,
    live,
    multiply_adds,
    words,
)
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig, Shape
from zatlas.model.own import own_network

PLAIN = {
    "latent_dim": 3, "channels": 1, "size": 32, "widths": (4, 8), "blocks": 0, "norm": "none", "decoder": "upsample",
    "likelihood": "bernoulli",
}  # fmt: skip


def network(**changes):
    made = build(NetworkConfig(**{**PLAIN, **changes}), seed=1).eval()
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():  # biases and norms start at 0 and 1, where an error in them would not show
        for name, parameter in made.named_parameters():
            if parameter.dim() == 1 or name.startswith("covariate."):
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
    return made


def latents(made, n=64):
    return check_latents(np.random.default_rng(0).standard_normal((n, made.config.latent_dim)).astype(np.float32), 0)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"decoder": "transposed", "likelihood": "gaussian"},
        {"norm": "group", "blocks": 1, "channels": 3},
        {"decoder": "transposed", "norm": "group", "blocks": 1, "likelihood": "gaussian", "channels": 3, "size": 36,
         "widths": (4, 8, 8)},
        {"size": 100, "widths": (2, 4, 4, 4), "latent_dim": 1},
        {"covariate": "group", "covariate_values": ("B01", "B02")},
    ],
    ids=["upsample", "transposed", "group norm", "all together, padded", "100 px of 4 stages", "told a covariate"],
)  # fmt: skip
def test_networks_give_what_torch_gives(changes):
    made = network(**changes)
    z = latents(made)
    decoder = export_decoder(made, z, (0.0, 1.0))
    assert (decoder.inputs, decoder.outputs, decoder.n_checked) == (("z",), ("image",), 64)
    assert decoder.max_abs_difference < 1e-4
    with torch.inference_mode():
        images = made.x_hat(torch.from_numpy(z)).numpy()
    encoder = export_encoder(made, images)
    assert encoder.max_abs_difference < 1e-4
    side, channels = made.config.size, made.config.channels
    for n in (1, 5, 64):
        (found,) = onnx_export._session(decoder.content).run(["image"], {"z": z[:n]})
        assert found.shape == (n, channels, side, side)
        assert found.dtype == np.float32
        assert np.abs(found - images[:n]).max() < 1e-4


def test_a_decoder_of_local_latents_takes_their_noise():
    made = network(texture="local", widths=(4, 6, 8))
    z = latents(made)
    decoder = export_decoder(made, z, (0.0, 1.0))
    assert decoder.inputs == ("z", "noise")
    assert decoder.max_abs_difference < 1e-4
    session = onnx_export._session(decoder.content)
    for n, draw in ((1, 1), (5, 3)):
        noise = noise_of_draw(made, draw).expand(n, -1).numpy()
        (found,) = session.run(["image"], {"z": z[:n], "noise": noise})
        assert np.abs(found - images_of_draw(made, z[:n], draw).numpy()).max() < 1e-4
    both = np.stack([noise_of_draw(made, 1), noise_of_draw(made, 2)])
    (found,) = session.run(["image"], {"z": z[[0, 0]], "noise": both})
    assert np.abs(found[0] - found[1]).max() > 1e-3, "each row has its own noise"


def test_bytes_are_the_same_each_time_and_hold_no_path():
    made = network()
    z = latents(made)
    first, second = (export_decoder(made, z, (0.0, 1.0)).content for _ in range(2))
    assert first == second
    images = np.random.default_rng(0).random((8, 1, 32, 32), dtype=np.float32)
    assert export_encoder(made, images).content == export_encoder(made, images).content
    model = onnx.load_model_from_string(first)
    onnx.checker.check_model(model, full_check=True)
    assert model.opset_import[0].version == 18
    assert not model.metadata_props
    assert not any(node.doc_string or node.metadata_props for node in model.graph.node)
    for place in (sys.prefix, "site-packages", "/zatlas/", "network.py"):
        assert place.encode() not in first


def test_the_table_of_operators_is_made_once_and_torch_is_left_as_it_was(monkeypatch):
    from torch.onnx._internal.exporter._registration import ONNXRegistry

    before, made = vars(ONNXRegistry)["from_torchlib"], []

    def counted(cls, *args, **options):
        made.append(cls)
        return before.__func__(cls, *args, **options)

    counting = classmethod(counted)
    monkeypatch.setattr(ONNXRegistry, "from_torchlib", counting)
    onnx_export._table.cache_clear()
    one = network()
    contents = [export_decoder(one, latents(one), (0.0, 1.0)).content for _ in range(2)]
    assert len(made) == 1
    assert contents[0] == contents[1]
    assert vars(ONNXRegistry)["from_torchlib"] is counting


def test_the_export_says_nothing(capfd, caplog):
    caplog.set_level(logging.WARNING)
    made = network()
    export_decoder(made, latents(made), (0.0, 1.0))
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


def test_multiply_adds_by_hand():
    upsample = network(channels=1, size=8, widths=(2,), latent_dim=3)
    # linear 3 -> 2 * 4 * 4; convolution of 3 x 3 from 2 to 4 channels at 4 x 4, arranged to one of 8 x 8
    assert multiply_adds(onnx_export._Decode(upsample), torch.zeros(1, 3)) == 3 * 32 + 4 * 4 * 4 * 2 * 9
    # convolution of 3 x 3 from 1 to 2 channels, 4 x 4 values; linear 32 -> 2 * 3
    assert multiply_adds(onnx_export._Encode(upsample), torch.zeros(1, 1, 8, 8)) == 2 * 4 * 4 * 9 + 32 * 6
    transposed = network(channels=1, size=8, widths=(2,), latent_dim=3, decoder="transposed")
    assert multiply_adds(onnx_export._Decode(transposed), torch.zeros(1, 3)) == 3 * 32 + 4 * 4 * 2 * 9
    grouped = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    assert multiply_adds(grouped, torch.zeros(5, 4, 2, 2)) == 6 * 2 * 2 * 2 * 9, "per image, whatever the batch"


@pytest.mark.parametrize(
    ("adds", "expected"),
    [(300_000_000, "live"), (300_000_001, "on release"), (2_000_000_000, "on release"), (2_000_000_001, "server")],
)
def test_how_heavy_a_decoder_may_be(adds, expected):
    assert live(adds) == expected
    assert "million multiply-adds per image" in words(adds)
    assert ("too heavy" in words(adds, is_encoder=True)) == (expected == "server")


def test_latents_to_compare_on():
    mean = np.full((100, 2), 7, np.float32)
    z = check_latents(mean, 0)
    assert z.shape == (64, 2)
    assert (z[:32] == 7).all()
    assert np.abs(z[32:]).max() < 6
    assert np.array_equal(z, check_latents(mean, 0))
    assert (check_latents(mean[:3], 0) == 7).all(axis=1).sum() == 3


def test_a_network_that_differs_is_refused_and_left_out(monkeypatch, tmp_path):
    made = network()
    monkeypatch.setattr(onnx_export, "TOLERANCE", 0.0)
    with pytest.raises(ExportError, match="other numbers as ONNX than in torch"):
        export_decoder(made, latents(made), (0.0, 1.0))
    said: list[str] = []
    found = networks(
        Files(tmp_path), "z3", made, latents(made), (0.0, 1.0), seed=0, with_encoder=False, say=said.append
    )
    assert found == {"decoder": None, "encoder": None}
    assert len(said) == 1
    assert "decoder of z3 is not in the explorer" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_weights_that_are_not_finite_are_refused():
    made = network()
    with torch.no_grad():
        made.decoder.from_latent.weight[0, 0] = torch.nan
    with pytest.raises(ExportError):
        export_decoder(made, latents(made), (0.0, 1.0))


def test_what_cannot_be_exported_is_said_in_words(monkeypatch):
    class Odd(nn.Module):
        def forward(self, z):
            return z if float(z.sum()) > 0 else -z

    with pytest.raises(ExportError, match="cannot be written as ONNX"):
        onnx_export._exported(Odd(), np.zeros((2, 3), np.float32), ("z",), ("image",))


class Outside(nn.Module):
    """A network from outside zatlas; its decoder can be written as ONNX, its encoder when it is not odd."""

    def __init__(self, odd: str = "") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.into, self.out, self.odd = nn.Linear(256, 6), nn.Linear(3, 256), odd

    def encode(self, x):
        if self.odd == "numpy":
            x = torch.from_numpy(np.sort(x.numpy(), axis=3))
        return self.into(x.flatten(1)).chunk(2, dim=1)

    def decode(self, z):
        return self.out(z).reshape(-1, 1, 16, 16)


@pytest.mark.parametrize("odd", ["", "numpy"])
def test_a_network_from_outside_is_exported_or_it_is_said_why_not(odd, tmp_path):
    made = own_network(Outside(odd), Shape(latent_dim=3, channels=1, size=16))
    said: list[str] = []
    z = np.random.default_rng(0).standard_normal((64, 3)).astype(np.float32)
    found = networks(Files(tmp_path), "z3", made, z, (0.0, 1.0), seed=0, with_encoder=True, say=said.append)
    assert found["decoder"]["multiply_adds"] == 3 * 256
    if odd:
        assert found["encoder"] is None
        assert len(said) == 1
        assert "the encoder of z3 is not in the explorer: the network cannot be written as ONNX" in said[0]
    else:
        assert found["encoder"]["max_abs_difference"] < 1e-4
        assert said == []


def test_what_onnxruntime_refuses_is_said_in_words():
    with pytest.raises(ExportError, match="the network cannot be run as ONNX"):
        onnx_export._difference(b"no network", network(), np.zeros((5, 3), np.float32), scale=1.0)
