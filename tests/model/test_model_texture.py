"""Local latents: shapes, rates, the noise that is kept, and that z alone leads the decoder."""

import numpy as np
import pytest
import torch
from torch.distributions import Normal, kl_divergence

from zatlas.atlas.drawing import drawn_images
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.model.texture import details, maps_of


def made(seed=0, **asked):
    values = {"latent_dim": 3, "channels": 1, "size": 32, "widths": (4, 6, 8), "texture": "local", **asked}
    return build(NetworkConfig(**values), seed)


def moved(network, seed=1):
    """Weights as after some training: priors and posteriors differ."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.local.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=draw))
    return network


def images(network, n=2, seed=0):
    shape = network.config
    return torch.rand((n, shape.channels, shape.size, shape.size), generator=torch.Generator().manual_seed(seed))


def noise(network, n=2, seed=0):
    return torch.randn((n, network.n_noise), generator=torch.Generator().manual_seed(seed))


def passed_with(network, x, z):
    """What images give on their way, with this z instead of that which was drawn."""
    return network.passed(x, noise(network))._replace(z=z)


@pytest.mark.parametrize(
    ("asked", "sides"),
    [
        ({}, (8,)),
        ({"size": 64, "widths": (4, 4, 4, 4)}, (8, 16)),
        ({"size": 100, "widths": (), "channels": 3}, (14, 28)),
        ({"decoder": "transposed"}, (8, 16)),
        ({"decoder": "upsample", "blocks": 1, "norm": "group"}, (8,)),
        ({"likelihood": "discretised_logistic"}, (8,)),
    ],
)
def test_local_latents_lie_on_maps_inside_any_network(asked, sides):
    network = made(**asked)
    x, found = images(network), network.passed(images(network), noise(network))
    assert network.local_sides == sides
    assert found.local_rates.shape == (2, len(sides))
    assert found.params.shape[-2:] == x.shape[-2:] == network.decode(found.z).shape[-2:]
    assert found.params.shape[1] == network.likelihood.n_params * network.config.channels


def test_the_rate_of_a_map_is_the_divergence_of_its_posterior_from_its_prior():
    block = moved(made()).local.blocks[0]
    features, image = torch.randn((2, 4, 8, 8)), torch.randn((2, 6, 8, 8))
    _, rate = block.inferred(features, image, None)
    mean, log_var = block.prior(features).chunk(2, dim=1)
    shift, change = block.posterior(torch.cat([features, image], dim=1)).chunk(2, dim=1)
    bounded = [4 * torch.tanh(value / 4) for value in (log_var, change)]
    prior = Normal(mean, (0.5 * bounded[0]).exp())
    posterior = Normal(mean + shift * (0.5 * bounded[0]).exp(), (0.5 * sum(bounded)).exp())
    torch.testing.assert_close(rate, kl_divergence(posterior, prior).sum(dim=(1, 2, 3)))
    assert (rate > 0.1).all()


def test_an_image_of_z_is_always_the_same_and_another_noise_gives_another():
    network = moved(made())
    z = torch.randn((3, 3))
    first = network.decode(z)
    assert torch.equal(first, network.decode(z))
    torch.testing.assert_close(network.decode(z[1:2]), first[1:2])  # whatever stands beside it
    kept = network.local.kept_noise
    torch.testing.assert_close(network.decode_with(z, kept.expand(3, -1)), first)
    assert not torch.allclose(network.decode_with(z, kept.flip(0).expand(3, -1)), first)


def test_the_kept_noise_is_normal_and_lies_with_the_weights(tmp_path):
    network = made(size=64, widths=(4, 4, 4, 4))
    kept = network.local.kept_noise
    assert len(kept) == sum(one.n_values for one in maps_of(4))
    assert abs(kept.mean()) < 0.1
    assert 0.9 < kept.std() < 1.1
    assert torch.equal(kept, network.state_dict()["local.kept_noise"])
    assert not torch.equal(kept, made(seed=1, size=64, widths=(4, 4, 4, 4)).local.kept_noise)


def test_initial_weights_follow_from_the_seed_and_those_around_local_latents_are_as_without():
    state, again, plain = made().state_dict(), made().state_dict(), made(texture="off").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in state.items())
    assert all(torch.equal(value, state[name]) for name, value in plain.items())


def test_a_reconstruction_is_that_of_the_posterior_means():
    network = moved(made())
    x = images(network)
    params, rates = network.inferred(network.encode(x).mean, x)
    torch.testing.assert_close(network.reconstruction(x), params)
    assert rates.shape == (2, 1)
    assert not torch.allclose(network.decode(network.encode(x).mean), params)


def test_the_loss_of_training_has_the_guide_and_the_bound_has_not():
    network = made()
    x, mask = images(network), torch.ones((2, 1, 32, 32))
    z = torch.randn((2, 3), requires_grad=True)
    guided = network.guided(passed_with(network, x, z), x, mask, noise(network))
    (gradient,) = torch.autograd.grad(guided.sum(), z)
    assert (gradient.abs().sum(dim=1) > 0).all()
    plain = made(texture="off")
    assert plain.guided(passed_with(plain, x, z), x, mask, noise(plain)) is None
    assert plain.passed(x, noise(plain)).local_rates.shape == (2, 0)


def test_the_guide_looks_at_real_pixels_alone():
    network = made()
    x, mask, z = images(network), torch.ones((2, 1, 32, 32)), torch.randn((2, 3))
    mask[:, :, 16:] = 0
    other = torch.where(mask > 0, x, 7.0)
    found, of_other, of_rolled = (
        network.guided(passed_with(network, of, z), of, mask, noise(network)) for of in (x, other, x.roll(3, 2))
    )
    torch.testing.assert_close(found, of_other)
    assert not torch.allclose(found, of_rolled)


def test_details_tell_how_fine_a_texture_is_and_not_where_it_lies():
    x = torch.rand((1, 1, 64, 64), generator=torch.Generator().manual_seed(0))
    coarse = torch.nn.functional.interpolate(x[:, :, ::4, ::4], scale_factor=4.0)
    fine, rough = details(x)[0], details(coarse)[0]
    assert fine[0] > rough[0] + 1  # energy of the finest octave
    torch.testing.assert_close(details(x.roll((16, 16), (2, 3)))[0, :2], fine[:2], rtol=0, atol=1e-4)
    assert torch.isfinite(details(torch.zeros((1, 3, 50, 50)))).all()


def test_networks_without_room_for_local_latents_are_refused():
    with pytest.raises(UsageError, match="stages"):
        made(widths=(4, 4))
    with pytest.raises(UsageError, match="too few for local latents"):
        made(widths=(), size=8)
    with pytest.raises(UsageError, match="off, local or matched"):
        made(texture="fine")
    with pytest.raises(UsageError, match="float32 alone"):
        made().compute_copy(torch.bfloat16)


def test_each_sample_has_a_texture_of_its_own_and_the_seed_decides_it():
    network = moved(made())
    z = np.zeros((3, 3), np.float32)
    frames = drawn_images(network, z, seed=0)
    assert torch.equal(frames, drawn_images(network, z, seed=0))
    assert not torch.allclose(frames[0], frames[1])
    assert not torch.allclose(frames, drawn_images(network, z, seed=1))
    plain = made(texture="off")
    torch.testing.assert_close(drawn_images(plain, z, seed=0), plain.x_hat(torch.from_numpy(z)).detach())
