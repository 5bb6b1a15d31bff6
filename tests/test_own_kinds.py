"""Modules of many kinds from outside: each goes all the way, or is refused in a sentence with a hint."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from own_parts import Laplace, Residual, blobs, tiles_of
from torch import nn

import zatlas as za
from zatlas.config import TrainConfig
from zatlas.errors import UsageError
from zatlas.explorer.bundle.columns import Files
from zatlas.explorer.bundle.model_part import networks
from zatlas.explorer.bundle.onnx_export import ExportError, check_latents, export_decoder
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import Shape
from zatlas.model.own import own_network

TRAIN = TrainConfig(epochs=1, batch_size=16, learning_rate=3e-3, kl_warmup_epochs=0.0, threads=1)
SHAPE = Shape(latent_dim=3, channels=1, size=16)
X = blobs(4, seed=9)


class Normed(Residual):
    """Looks at the rest of the batch, and draws, unless it is in evaluation mode."""

    def __init__(self):
        super().__init__()
        self.norm, self.drop = nn.BatchNorm2d(1), nn.Dropout(0.2)
        self.norm.running_mean.fill_(0.3)

    def encode(self, x):
        return super().encode(self.drop(self.norm(x)))


class Deaf(Residual):
    def decode(self, z):
        return super().decode(torch.zeros_like(z))


class HalfFrozen(Residual):
    def __init__(self):
        super().__init__()
        self.body.requires_grad_(False)


class Spread(nn.Module):
    """Its layers were spread over devices."""

    def __init__(self):
        super().__init__()
        self.spread = nn.DataParallel(Residual())

    def encode(self, x):
        return self.spread.module.encode(x)

    def decode(self, z):
        return self.spread.module.decode(z)


class Looping(Residual):
    def decode(self, z):
        for _ in range(3):
            z = z + torch.tanh(z)
        return super().decode(z)


KINDS = {
    "frozen statistics": lambda: Normed().eval(),
    "a decoder that ignores z": Deaf,
    "frozen parts": HalfFrozen,
    "data parallel inside": Spread,
    "a loop": Looping,
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_goes_all_the_way(kind, tmp_path):
    make = KINDS[kind]
    before = {name: value.clone() for name, value in make().state_dict().items()}
    vae = za.VAE(3, network=make()).fit(
        tiles_of(24, 1, "whole"), validation=tiles_of(8, 2), train=TRAIN, run=tmp_path / "run"
    )
    after = vae.network.module.state_dict()
    kept = {name for name, value in before.items() if torch.equal(value, after[name])}
    assert kept < set(before), "something was learned"
    if kind in ("frozen statistics", "frozen parts"):
        assert {"norm.running_mean" if kind == "frozen statistics" else "body.0.first.weight"} <= kept
    z = vae.encode(X).mean.numpy()
    again = za.load(tmp_path / "run", network=make())
    np.testing.assert_array_equal(again.decode(z), vae.decode(z))
    atlas = vae.embed(tiles_of(20, 3), refine=2)
    assert np.isfinite(atlas.mean).all()
    told = []
    made = networks(
        Files(tmp_path / "page"), "own", vae.network, atlas.mean, (0.0, 1.0), seed=0, with_encoder=True, say=told.append
    )
    assert told == []
    assert made["decoder"]["n_checked"] == made["encoder"]["n_checked"] == 64


class Lazy(nn.Module):
    def __init__(self):
        super().__init__()
        self.into = nn.Sequential(nn.Flatten(), nn.LazyLinear(6))
        self.out = nn.Sequential(nn.Linear(3, 256), nn.Unflatten(1, (1, 16, 16)))

    def encode(self, x):
        return self.into(x).chunk(2, dim=1)

    def decode(self, z):
        return self.out(z)


@pytest.mark.parametrize(
    ("make", "words", "hint"),
    [
        (Normed, "other latents", "eval"),
        (lambda: Residual().double(), "cannot encode images", r"call \.float\(\)"),
        (lambda: Residual().to(torch.bfloat16), "cannot encode images", r"call \.float\(\)"),
        (Lazy, r"into\.1\.weight of Lazy has no shape yet", "call it once on images"),
        (lambda: Residual().to("meta"), "the weights of Residual have no values.*'meta'", r"to_empty\(device='cpu'\)"),
        (lambda: nn.DataParallel(Residual()), "DataParallel has no method encode and no decode", "write encode"),
        (lambda: Residual(n_params=2), r"of shape \(2, 2, 16, 16\), expected \(2, 1, 16, 16\)", "let decode return"),
    ],
)
def test_it_is_refused_with_a_hint(make, words, hint):
    with pytest.raises(UsageError) as caught:
        own_network(make(), SHAPE)
    assert re.search(words, caught.value.what), caught.value.what
    assert re.search(hint, str(caught.value.hint)), caught.value.hint
    assert "\n" not in caught.value.what


def test_a_lazy_module_that_was_called_is_like_any_other():
    module = Lazy()
    module.encode(torch.zeros(2, 1, 16, 16))
    assert own_network(module, SHAPE).decode(torch.zeros(1, 3)).shape == (1, 1, 16, 16)


class Branching(Residual):
    """What it computes depends on the values, which no file for the browser can say."""

    def decode(self, z):
        return torch.stack([one * 0.5 if float(one.mean()) > 0.1 else one for one in super().decode(z)])


def test_a_network_that_a_page_cannot_hold_is_told_in_a_sentence_and_the_rest_is_there(tmp_path):
    network, told = own_network(Branching(), SHAPE, Gaussian()).eval(), []
    made = networks(
        Files(tmp_path), "own", network, np.zeros((4, 3), np.float32), (0.0, 1.0), seed=0, with_encoder=True,
        say=told.append,
    )  # fmt: skip
    assert made["decoder"] is None
    assert made["encoder"] is not None
    assert len(told) == 1
    start = "warning: the decoder of own is not in the explorer: the network cannot be written as ONNX: "
    assert told[0].startswith(start)
    assert not re.search(r"[\n\x1b]|step 1/3", told[0]), told[0]
    assert len(told[0]) > len(start)
    assert Path(tmp_path / "own" / "encoder.onnx").is_file()


class Constant(Residual):
    def __init__(self):
        super().__init__()
        self.image = nn.Parameter(torch.zeros(1, 1, 16, 16))

    def decode(self, z):
        return self.image.expand(len(z), -1, -1, -1)


def test_a_decoder_of_one_image_is_no_reason_to_fail(tmp_path):
    network = own_network(Constant(), SHAPE, Gaussian()).eval()
    z = check_latents(np.zeros((4, 3), np.float32), 0)
    try:
        made = export_decoder(network, z, (0.0, 1.0))
    except ExportError as err:
        assert "the same numbers whatever it is given" in err.what
    else:
        assert made.max_abs_difference == 0


def test_a_likelihood_of_two_numbers_is_decoded_by_the_page():
    network = own_network(Residual(n_params=2), SHAPE, Laplace()).eval()
    made = export_decoder(network, check_latents(np.zeros((4, 3), np.float32), 0), (0.0, 1.0))
    assert made.max_abs_difference < 1e-4


@pytest.mark.parametrize("wrong", [1.0, {"kind": "minmax"}, np.ones(2)])
def test_a_grey_scale_that_is_none_is_refused_in_a_sentence(wrong):
    images = tiles_of(2, 1).images
    with pytest.raises(UsageError, match=r"scaling is .*, expected 'minmax' or 'standardise', or the Scaling of"):
        za.Tiles(images, size=16, scaling=wrong)
