"""Statistics of textures: what they see, that the score is proper, and what it moves."""

import pytest
import torch

from zatlas.model.building import build
from zatlas.model.matching import Statistics, energy_score, statistics_of
from zatlas.model.network import NetworkConfig


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("wrong", [0.3, 2.0])
def test_the_score_is_least_for_draws_that_vary_as_the_images_do(wrong):
    x, one, other = (normal(20_000, 3, seed=seed) for seed in range(3))
    as_it_is = energy_score(x, one, other).mean()
    assert energy_score(x, wrong * one, wrong * other).mean() > as_it_is + 0.02
    assert energy_score(x, one + 0.7, other + 0.7).mean() > as_it_is + 0.02


def test_the_score_is_that_of_its_formula():
    x, one, other = torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 0.0]])
    expected = (0.5 * (5 + 3) - 0.5 * 4) / 2**0.5
    torch.testing.assert_close(energy_score(x, one, other), torch.tensor([expected]))


def test_statistics_see_direction_contrast_and_greys_and_not_the_place():
    line = (torch.arange(32) % 8 < 4).float()
    across, along = line.repeat(32, 1)[None, None], line.repeat(32, 1).T[None, None]
    details, spectrum, grids, quantiles, contrasts, filtered = range(6)
    one, other = statistics_of(across), statistics_of(along)
    torch.testing.assert_close(one[details][:, 0], other[details][:, 0])
    torch.testing.assert_close(one[quantiles], other[quantiles])
    assert (one[spectrum] - other[spectrum]).abs().max() > 1
    assert (one[filtered] - other[filtered]).abs().max() > 0.1
    fainter = statistics_of(0.5 + 0.5 * (across - 0.5))
    assert all((a - b).abs().max() > 0.1 for a, b in zip(one, fainter, strict=True))
    faint_grid = normal(1, 1, 64, 64) + 0.3 * (torch.arange(64) % 8 < 1).float()
    change = [
        (a - b).abs() for a, b in zip(statistics_of(faint_grid), statistics_of(normal(1, 1, 64, 64)), strict=True)
    ]
    assert change[grids].topk(3).values.min() > 2 * change[spectrum].max()
    grain = normal(1, 1, 64, 64)
    strength = torch.zeros(64, 64)
    strength[:32, :32] = 2.0  # the same power in a quarter of the image
    apart = [(a - b).abs().max() for a, b in zip(statistics_of(strength * grain), statistics_of(grain), strict=True)]
    assert apart[contrasts] > 2 * apart[spectrum]
    for a, b in zip(statistics_of(grain)[1:], statistics_of(grain.roll((8, 8), (2, 3)))[1:], strict=True):
        assert (a - b).abs().mean() < 0.25 * statistics_of(2 * grain)[1].sub(statistics_of(grain)[1]).abs().mean()


@pytest.mark.parametrize("size", [8, 20, 48])
def test_statistics_of_any_size_have_gradients_even_of_flat_images(size):
    x = torch.full((2, 3, size, size), 0.4, requires_grad=True)
    found = statistics_of(x)
    (gradient,) = torch.autograd.grad(sum(each.sum() for each in found), x)
    assert torch.isfinite(gradient).all()
    assert all(torch.isfinite(each).all() for each in found)


def test_the_score_counts_whole_images_that_are_drawn_in_units_of_their_spread():
    score = Statistics(16)
    x, mask = torch.rand((6, 1, 16, 16), generator=torch.Generator().manual_seed(1)), torch.ones((6, 1, 16, 16))
    draws = normal(2, 6, 1, 16, 16)

    def draw(rows, which):
        return draws[which][rows]

    raw = score(x, mask, draw)
    assert (raw[:2] > 0).all()
    assert (raw[2:] == 0).all()
    score.measure(x)
    assert not torch.allclose(score(x, mask, draw), raw)
    mask[1, :, :2] = 0
    padded = score(x, mask, draw)
    assert padded[1] == 0
    assert padded[0] > 0
    torch.testing.assert_close(score(x, mask, lambda rows, which: x[rows])[:2], torch.zeros(2), atol=0.1, rtol=0)


def test_matched_draws_move_decoder_and_priors_and_leave_z():
    shape = {"latent_dim": 3, "channels": 1, "size": 32, "widths": (4, 6, 8)}
    local, matched = (build(NetworkConfig(**shape, texture=texture), 0) for texture in ("local", "matched"))
    assert matched.n_local == local.n_local == local.n_noise - 3
    assert matched.n_noise == 3 + 3 * matched.n_local
    x, mask, noise = torch.rand((4, 1, 32, 32)), torch.ones((4, 1, 32, 32)), normal(4, matched.n_noise)
    passed = matched.passed(x, noise)
    torch.testing.assert_close(passed.params, local.passed(x, noise[:, : local.n_noise]).params)
    z = passed.z.detach().requires_grad_()
    passed = passed._replace(z=z)
    score = matched.guided(passed, x, mask, noise) - local.guided(passed, x, mask, noise)
    assert (score[:1] > 0).all()
    moved = [matched.local.blocks[0].prior[-1].weight, next(matched.decoder.parameters())]
    to_z, *to_weights = torch.autograd.grad(score.sum(), [z, *moved], materialize_grads=True)
    torch.testing.assert_close(to_z, torch.zeros_like(to_z), atol=1e-3, rtol=0)
    assert all(gradient.abs().max() > 0 for gradient in to_weights)
    again = matched.guided(passed, x, mask, noise.roll(1, 1))
    assert not torch.allclose(again, matched.guided(passed, x, mask, noise))
