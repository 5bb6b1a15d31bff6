"""Refined posteriors: exact where the best one is known, the same however they are computed, never worse."""

import numpy as np
import pytest
import torch
from own_parts import Residual, tiles_of
from torch import nn

from zatlas.atlas.encode import encode
from zatlas.atlas.refinement import expected_losses, filled, refined, refined_in_shards
from zatlas.config import ModelConfig
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.likelihoods import Gaussian
from zatlas.model.network import NetworkConfig, Shape
from zatlas.model.own import own_network
from zatlas.model.priors import Posterior, StandardNormal

SHAPE = Shape(latent_dim=3, channels=1, size=16)
NET = build(NetworkConfig.from_model(ModelConfig(widths=(4, 8)), 3, channels=1, size=16), 0).eval()
NET.likelihood.log_noise_var.fill_(-4.0)  # so that the distortion says where a latent should be


class Linear(nn.Module):
    """x = W z + noise of variance 1: the posterior is known. Its encoder knows nothing."""

    def __init__(self, d: int = 3) -> None:
        super().__init__()
        basis = torch.linalg.qr(torch.randn(256, d, generator=torch.Generator().manual_seed(0)))[0]
        self.weight = nn.Parameter(basis * torch.tensor([1.0, 2.0, 3.0]))

    def encode(self, x):
        return x.new_zeros(len(x), 3) + 0 * self.weight.sum(), x.new_full((len(x), 3), -1.0)

    def decode(self, z):
        return (z @ self.weight.T).unflatten(1, (1, 16, 16))


def of_linear(n=16):
    network = own_network(Linear(), SHAPE, Gaussian()).eval()
    z = torch.randn(n, 3, generator=torch.Generator().manual_seed(1))
    x = network.decode(z).detach() + torch.randn(n, 1, 16, 16, generator=torch.Generator().manual_seed(2))
    return network, x, torch.ones_like(x)


def posterior_of_linear(network, x, beta):
    """Prior N(0, I) of weight beta: precision beta + W'W on the diagonal, because the columns are orthogonal."""
    weight = network.module.weight.detach()
    precision = beta + weight.square().sum(dim=0)
    return x.flatten(1) @ weight / precision, torch.log(beta / precision).expand(len(x), -1)


@pytest.mark.parametrize("beta", [1.0, 4.0])
def test_the_posterior_of_a_linear_model_is_found(beta):
    network, x, mask = of_linear()
    found = refined(network, x, mask, network.encode(x), steps=100, beta=beta)
    mean, log_var = posterior_of_linear(network, x, beta)
    torch.testing.assert_close(found.mean, mean, atol=0.05, rtol=0)
    torch.testing.assert_close(found.log_var, log_var, atol=0.15, rtol=0)
    assert found.mean.dtype == torch.float32
    assert not found.mean.requires_grad


def test_pixels_of_padding_pull_at_nothing():
    network, x, mask = of_linear()
    mask[:, :, 8:] = 0
    first = refined(network, x, mask, network.encode(x), steps=5, beta=1.0)
    x[:, :, 8:] = 50
    second = refined(network, x, mask, network.encode(x), steps=5, beta=1.0)
    assert torch.equal(first.mean, second.mean)
    assert not torch.equal(first.mean, network.encode(x).mean)


def test_a_posterior_that_is_the_best_stays_as_it_is():
    network, x, mask = of_linear()
    best = Posterior(*posterior_of_linear(network, x, 1.0))
    found = refined(network, x, mask, best, steps=3, beta=1.0)
    assert float((found.mean == best.mean).float().mean()) > 0.6, "steps away from it are not taken"
    noise = torch.randn(32, 3, generator=torch.Generator().manual_seed(5))
    gain = expected_losses(network, x, mask, best, noise, beta=1.0) - expected_losses(
        network, x, mask, found, noise, beta=1.0
    )
    assert float(gain.detach().abs().max()) < 0.2


def test_the_expected_loss_is_that_of_the_linear_model():
    network, x, mask = of_linear()
    mean, log_var = torch.full((16, 3), 0.3), torch.full((16, 3), -2.0)
    noise = torch.randn(400, 3, generator=torch.Generator().manual_seed(3))
    found = expected_losses(network, x, mask, Posterior(mean, log_var), noise, beta=2.0).detach()
    weight = network.module.weight.detach()
    rest = (x.flatten(1) - mean @ weight.T).square().sum(dim=1) + (weight.square().sum(dim=0) * np.exp(-2)).sum()
    rate = 0.5 * 3 * (0.09 + np.exp(-2) - 1 + 2)
    torch.testing.assert_close(found, 0.5 * rest + 128 * np.log(2 * np.pi) + 2 * rate, atol=0.5, rtol=0)


def test_refined_latents_are_the_same_bits_with_any_batch_and_any_number_of_threads(monkeypatch):
    tiles = tiles_of(37, 2)
    one = encode(NET, tiles, refine=3, batch_size=37)
    again = encode(NET, tiles, refine=3, batch_size=16)
    monkeypatch.setattr("zatlas.compute.cores", lambda: (3, "asked for"))
    three = encode(NET, tiles, refine=3)
    x = torch.from_numpy(tiles.take(np.arange(37)))
    apart = refined_in_shards(NET, x, steps=3, beta=1.0)
    for other in (again.mean, three.mean, apart.mean.numpy()):
        assert np.array_equal(one.mean, other)
    assert np.array_equal(one.log_var, three.log_var)
    alone = refined_in_shards(NET, x[20:21], steps=3, beta=1.0)
    np.testing.assert_allclose(alone.mean[0], one.mean[20], atol=1e-5)


def test_an_atlas_of_refined_latents_says_so_and_costs_less():
    state = torch.random.get_rng_state()
    tiles = tiles_of(20, 2)
    plain, better = encode(NET, tiles), encode(NET, tiles, refine=10)
    assert torch.equal(state, torch.random.get_rng_state())
    assert "refine" not in plain.info
    assert better.info["refine"] == 10
    assert better.table["distortion_nats"].mean() < plain.table["distortion_nats"].mean() - 1
    assert better.table["psnr_db"].mean() > plain.table["psnr_db"].mean()
    with torch.inference_mode():  # as an analysis calls it
        np.testing.assert_array_equal(encode(NET, tiles, refine=10).mean, better.mean)
    assert all(parameter.grad is None for parameter in NET.parameters())
    assert encode(NET, tiles, refine=10, beta=50.0).table["rate_nats"].mean() < better.table["rate_nats"].mean()


class Detached(Residual):
    def encode(self, x):
        mean, log_var = super().encode(x)
        return mean.detach(), log_var.detach()

    def decode(self, z):
        with torch.no_grad():
            return super().decode(z)


class Blunt(StandardNormal):
    def rate_per_dim(self, posterior):
        return super().rate_per_dim(posterior).detach()


def test_what_cannot_be_refined_is_said():
    for steps in (-1, True, 10_001):
        with pytest.raises(UsageError, match=r"refine is .*, expected a whole number of steps"):
            encode(NET, tiles_of(4, 2), refine=steps)
    module = Detached()
    network = own_network(module, SHAPE)
    network.prior = Blunt()
    with pytest.raises(UsageError, match="latents cannot be refined, because the network gives no gradients") as caught:
        encode(network, tiles_of(4, 2), refine=2)
    assert "no_grad" in str(caught.value.hint)


def test_a_decoder_that_ignores_its_latents_takes_the_prior():
    class Deaf(Residual):
        def decode(self, z):
            return super().decode(torch.zeros_like(z))

    network = own_network(Deaf(), SHAPE).eval()
    x = torch.rand(16, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    found = refined(network, x, torch.ones_like(x), network.encode(x), steps=100, beta=1.0)
    assert float(StandardNormal().rate(found, found.mean).detach().max()) < 0.01


def test_a_shard_is_filled_with_zeros():
    rows = torch.ones(3, 2)
    assert filled(rows).sum(dim=1).tolist() == [2.0] * 3 + [0.0] * 13
    assert torch.equal(filled(torch.ones(16, 2)), torch.ones(16, 2))
