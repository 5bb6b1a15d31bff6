"""Numbered draws of a texture: the first is the model's own, each is one noise for all latents."""

import numpy as np
import pytest
import torch

from zatlas.atlas.drawing import images_of_draw, noise_of_draw
from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.randomness import MOST_DRAWS, page_normal

PLAIN = {"latent_dim": 3, "channels": 1, "size": 32, "widths": (4, 6, 8)}


def network(texture="local"):
    return build(NetworkConfig(**PLAIN, texture=texture), 0).eval()


def latents(n=5):
    return np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)


def test_draw_1_is_what_decode_gives():
    made = network()
    torch.testing.assert_close(images_of_draw(made, latents(), 1), made.x_hat(torch.from_numpy(latents())).detach())
    assert torch.equal(noise_of_draw(made, 1), made.local.kept_noise)


def test_a_draw_is_one_noise_for_all_latents_and_each_draw_another():
    made = network()
    found = images_of_draw(made, latents(), 2)
    torch.testing.assert_close(images_of_draw(made, latents()[3:], 2), found[3:])
    same = images_of_draw(made, latents()[[0, 0, 1]], 2)
    torch.testing.assert_close(same[0], same[1])
    for other in (1, 3):
        assert (images_of_draw(made, latents(), other) - found).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    noise = noise_of_draw(made, 2)
    assert noise.shape == (made.n_local,)
    assert 0.9 < noise.std() < 1.1


def test_a_network_without_local_latents_has_one_picture():
    made = network("off")
    torch.testing.assert_close(images_of_draw(made, latents(), 2), made.x_hat(torch.from_numpy(latents())).detach())
    assert noise_of_draw(made, 1).shape == noise_of_draw(made, 2).shape == (0,)


@pytest.mark.parametrize("draw", [0, -1, MOST_DRAWS + 1])
def test_draws_that_there_are_not_are_refused(draw):
    with pytest.raises(UsageError, match=f"there is no draw {draw}"):
        images_of_draw(network(), latents(), draw)


def test_streams_are_drawn_from_by_their_own_way_alone():
    with pytest.raises(ValueError, match="by way of derived"):
        page_normal("tsne", 0, 1)
