"""Consistency of z under shifts: the shifts, the share, what it moves, and that it is off by default."""

import numpy as np
import pytest
import torch

from zatlas.model.building import build
from zatlas.model.consistency import moved_share, shifted
from zatlas.model.network import NetworkConfig
from zatlas.trust.invariance import shift_share


def made(**asked):
    return build(NetworkConfig(**{"latent_dim": 3, "channels": 1, "size": 32, "widths": (4, 6, 8), **asked}), 0)


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def test_images_move_by_whole_pixels_down_and_right_and_at_most_a_quarter():
    x = normal(2, 1, 32, 32)
    torch.testing.assert_close(shifted(x, torch.zeros(2)), x)
    far = shifted(x, torch.tensor([9.0, -9.0]))
    torch.testing.assert_close(far[:, :, :24, 8:], x[:, :, 8:, :24])
    near = shifted(x, torch.tensor([0.0, 0.6744898]))  # the upper quartile: half of a quarter
    torch.testing.assert_close(near[:, :, :, :28], x[:, :, :, 4:])


def test_the_share_is_that_which_reports_measure_and_leaves_out_what_does_not_count():
    z, other = normal(40, 2), normal(40, 2) + 0.3 * normal(40, 2, seed=1)
    expected = np.nanmean(shift_share(z.numpy(), other.numpy()[None], ["a"] * 40).per_dim)
    all_count = torch.ones(40, dtype=torch.bool)
    assert moved_share(z, other, all_count).item() == pytest.approx(expected, rel=1e-4)
    padded, of_padded = torch.cat([z, 50 + z[:1]]), torch.cat([other, z[:1]])
    counts = torch.cat([all_count, torch.tensor([False])])
    assert moved_share(padded, of_padded, counts).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("texture", ["off", "local", "matched"])
def test_training_keeps_z_still_and_leaves_all_else(texture):
    plain, still = made(texture=texture), made(texture=texture, consistency=50.0)
    assert still.n_noise == plain.n_noise + 2
    assert still.n_local == plain.n_local
    x, mask, noise = torch.rand((4, 1, 32, 32)), torch.ones((4, 1, 32, 32)), normal(4, still.n_noise)
    found = still.passed(x, noise)
    torch.testing.assert_close(found.params, plain.passed(x, noise[:, : plain.n_noise]).params)
    loss = still.guided(found, x, mask, noise).sum()
    before = plain.guided(found, x, mask, noise[:, : plain.n_noise])
    share = moved_share(found.posterior.mean, still.encode(shifted(x, noise[0, -2:])).mean, torch.ones(4) > 0)
    expected = 4 * 50.0 * share + (0.0 if before is None else before.sum())
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-3)
    assert (before is None) == (texture == "off")
    (gradient,) = torch.autograd.grad(4 * 50.0 * share, [next(still.encoder.parameters())])
    assert gradient.abs().max() > 0
