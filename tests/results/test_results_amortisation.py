"""The amortisation gap of networks whose gap is known."""

import numpy as np
import pytest
import torch
from own_parts import Residual, tiles_of
from torch import nn

import zatlas as za
from zatlas.config import TrainConfig
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import Shape
from zatlas.model.own import own_network
from zatlas.results.amortisation import STEPS, measured_amortisation
from zatlas.results.pictures import View
from zatlas.trust.evaluation import psnr

SHAPE = Shape(latent_dim=3, channels=1, size=16)


@pytest.fixture(scope="module")
def trained():
    train = TrainConfig(epochs=12, batch_size=16, learning_rate=5e-3, kl_warmup_epochs=0.0, threads=1)
    vae = za.VAE(3, network=Residual()).fit(tiles_of(64, 1, "whole"), validation=tiles_of(20, 2), train=train)
    return vae.network


def measured(network, tiles, **options):
    return measured_amortisation(View(network, tiles), tiles, **{"beta": 1.0, "part": "test", **options})


def test_a_confused_encoder_has_a_larger_gap(trained):
    tiles = tiles_of(24, 3)
    found = measured(trained, tiles)
    assert (found["steps"], found["part"], found["by"]) == (STEPS, "test", "image")
    assert found["n"] == found["n_units"] == 24
    assert found["nats"] >= 0
    x = torch.from_numpy(tiles.take(np.arange(24)))
    own = psnr(x.numpy(), trained.x_hat(trained.encode(x).mean).clamp(0, 1).detach().numpy())
    assert found["psnr_before_db"] == pytest.approx(own.mean(), abs=1e-3)
    confused = Confused(trained.module)
    other = measured(own_network(confused, SHAPE, trained.likelihood).eval(), tiles)
    assert other["nats"] > found["nats"] + 5
    assert other["db_low"] > 0
    assert other["loss_before"] > found["loss_before"]


class Confused(nn.Module):
    """Its latents are not where the decoder wants them."""

    def __init__(self, made):
        super().__init__()
        self.made = made

    def encode(self, x):
        mean, log_var = self.made.encode(x)
        return mean + 3 * torch.exp(0.5 * log_var), log_var

    def decode(self, z):
        return self.made.decode(z)


def test_it_is_the_same_however_it_is_called(trained, monkeypatch):
    tiles = tiles_of(40, 3)
    first = measured(trained, tiles)
    monkeypatch.setattr("zatlas.compute.cores", lambda: (3, "asked for"))
    with torch.inference_mode():  # as an analysis calls it
        assert measured(trained, tiles) == first


def test_it_is_bounded(trained):
    assert measured(trained, tiles_of(150, 3))["n"] == 64


class Silent(Residual):
    def encode(self, x):
        mean, log_var = super().encode(x)
        return mean.detach(), log_var.detach()

    def decode(self, z):
        with torch.no_grad():
            return super().decode(z)


def test_a_network_without_gradients_has_no_gap_but_results(trained):
    network = own_network(Silent(), SHAPE, Gaussian()).eval()
    network.prior.rate_per_dim = lambda posterior: posterior.mean.detach() ** 2
    assert measured(network, tiles_of(8, 3)) == {}
