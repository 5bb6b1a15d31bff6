"""Shifts, zooms and bends of training images: the right map, the right size, and a pure function of their key."""

import math

import pytest
import torch
import torch.nn.functional as F

from zatlas.training.jitter import Moves, jittered, keyed_jitter


def drawn(n=64, *, amount=0.1, seed=0, index=0):
    return keyed_jitter(n, amount=amount, seed=seed, stream="jitter", index=index)


def images(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def still(moves, *parts):
    """The same moves, without those named."""
    nothing = Moves(torch.ones_like(moves.scales), torch.zeros_like(moves.shifts), torch.zeros_like(moves.bends))
    return moves._replace(**{part: getattr(nothing, part) for part in parts})


def test_no_amount_moves_nothing():
    x = images(64, 1, 32, 32)
    torch.testing.assert_close(jittered(x, drawn(amount=0.0)), x, atol=1e-5, rtol=0)


def test_moves_are_a_function_of_their_key():
    for part, again, step, seed in zip(drawn(), drawn(), drawn(index=1), drawn(seed=1), strict=True):
        assert torch.equal(part, again)
        assert not torch.equal(part, step)
        assert not torch.equal(part, seed)


def test_moves_stay_within_their_amount():
    moves = drawn(2000)
    shifts = moves.shifts / 2
    assert 0.099 < float(shifts.abs().max()) <= 0.1
    assert 1.1 < float(moves.scales.max()) <= math.exp(0.1)
    assert math.exp(-0.1) <= float(moves.scales.min()) < 0.91
    bends = moves.bends / 2
    assert float(bends.std()) == pytest.approx(0.1 / 6, rel=0.02)
    assert abs(float(bends.mean())) < 0.001


def test_height_and_width_move_apart():
    moves = drawn(2000)
    for part in (moves.scales, moves.shifts, moves.bends.flatten(2).mean(dim=2)):
        assert abs(float(torch.corrcoef(part.T)[0, 1])) < 0.1


def test_shifts_and_zooms_are_the_affine_map_of_torch():
    x, moves = images(5, 2, 16, 24), still(drawn(5, amount=0.2), "bends")
    matrices = torch.zeros(5, 2, 3)
    matrices[:, [0, 1], [0, 1]], matrices[:, :, 2] = moves.scales, moves.shifts
    grid = F.affine_grid(matrices, list(x.shape), align_corners=False)
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(jittered(x, moves), expected, atol=1e-5, rtol=0)


def test_whole_pixels_are_a_shift():
    x = images(1, 2, 16, 16)
    move = still(drawn(1), "scales", "bends")._replace(shifts=torch.tensor([[2 * 3 / 16, 2 * 1 / 16]]))
    torch.testing.assert_close(jittered(x, move)[:, :, :15, :13], x[:, :, 1:, 3:], atol=1e-5, rtol=0)
    torch.testing.assert_close(jittered(x, move)[:, :, 3, 15], x[:, :, 4, 15], atol=1e-5, rtol=0)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_bend_displaces_its_own_corner_along_its_own_axis(axis):
    """The point in the first row and last column of the displaced ones is the upper right of the image."""
    ramp = torch.linspace(0, 1, 32)
    x = (ramp.expand(32, 32) if axis == 0 else ramp[:, None].expand(32, 32))[None, None]
    moves = still(drawn(1), "scales", "shifts", "bends")
    moves.bends[0, axis, 0, -1] = -0.25 if axis == 0 else 0.25  # towards the middle
    moved = (jittered(x, moves) - x)[0, 0]
    assert abs(float(moved[1, -2])) > 0.07
    far = moved[20:, :12]
    assert float(far.abs().max()) < 0.005


def test_bends_are_the_bicubic_interpolation_of_torch():
    x, moves = images(3, 1, 20, 28), still(drawn(3, amount=0.4), "scales", "shifts")
    bends = F.interpolate(moves.bends, size=(20, 28), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
    grid = F.affine_grid(torch.eye(2, 3).expand(3, 2, 3), list(x.shape), align_corners=False) + bends
    expected = F.grid_sample(x, grid, padding_mode="border", align_corners=False)
    torch.testing.assert_close(jittered(x, moves), expected, atol=1e-5, rtol=0)


def test_moves_go_with_their_images():
    x, moves = images(8, 1, 16, 16), drawn(8)
    torch.testing.assert_close(jittered(x, moves)[3:6], jittered(x[3:6], moves.of(slice(3, 6))))
