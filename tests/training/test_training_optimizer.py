"""Muon and the optimizer that holds it: orthogonal steps, the right parameters, the same bits on any threads."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from zatlas.model.building import build
from zatlas.model.network import NetworkConfig
from zatlas.training.average import Average
from zatlas.training.muon import Muon, orthogonalised
from zatlas.training.optimizer import Optimizer
from zatlas.training.weights import Weights

CONFIG = NetworkConfig(latent_dim=3, channels=1, size=16, widths=(8, 16, 24))


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(24, 144), (144, 24), (16, 16), (1, 40)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_orthogonalised_keeps_singular_vectors_and_evens_out_singular_values(shape, dtype):
    matrix = drawn(*shape) * 37.0
    found = orthogonalised(matrix, dtype)
    assert found.dtype == torch.float32
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    turned = left.T @ found @ right.T
    evened = turned.diagonal()
    large = values > 0.2 * values[0]
    assert float(evened[large].min()) > 0.6
    assert float(evened.max()) < 1.25
    assert float((turned - torch.diag(evened)).abs().max()) < (1e-3 if dtype == torch.float32 else 0.2)


def test_orthogonalised_of_nothing_is_nothing_and_length_has_no_effect():
    assert torch.equal(orthogonalised(torch.zeros(4, 9)), torch.zeros(4, 9))
    matrix = drawn(6, 20)
    for factor in (1e-8, 1e6):
        torch.testing.assert_close(orthogonalised(matrix * factor), orthogonalised(matrix), rtol=1e-4, atol=1e-5)


def test_a_step_of_muon_goes_along_the_matrix_of_the_momentum():
    values, (first, second) = torch.zeros(60), (drawn(60, seed=1), drawn(60, seed=2))
    muon = Muon(values, lambda vector: [vector[:20].view(4, 5), vector[20:].view(5, 8)])
    muon.step(first.clone(), 0.5)
    torch.testing.assert_close(values[:20].view(4, 5), -0.5 * orthogonalised(first[:20].view(4, 5)))
    before = values.clone()
    muon.step(second.clone(), 0.25)
    ahead = second + 0.95 * (second + 0.95 * first)
    torch.testing.assert_close(
        values[20:].view(5, 8), before[20:].view(5, 8) - 0.25 * orthogonalised(ahead[20:].view(5, 8))
    )


@pytest.mark.parametrize("decoder", ["upsample", "transposed"])
@pytest.mark.parametrize("blocks", [0, 1])
def test_muon_takes_the_inner_convolutions_and_adam_the_rest(decoder, blocks):
    config = dataclasses.replace(CONFIG, decoder=decoder, blocks=blocks)
    network = build(config, seed=0)
    weights = Weights(network, torch.float32)
    inner = list(weights.matrix_views(weights.values.detach()[weights.n_plain :]))
    expected = [name for name, one in network.named_parameters() if one.dim() == 4]
    expected = [name for name in expected if name not in ("encoder.stages.0.weight", "decoder.to_params.weight")]
    assert sorted(inner) == sorted(expected)
    assert len(inner) == 4 + 2 * blocks * 6
    gradient = drawn(len(weights.values))
    before, alone = weights.values.detach().clone(), weights.values.detach().clone()
    Optimizer(weights, kind="muon").step(gradient.clone(), 1e-3)
    moved = weights.values.detach() - before
    plain = nn.Parameter(alone)
    plain.grad = gradient
    torch.optim.AdamW([plain], lr=1e-3, weight_decay=0.0, fused=True).step()
    assert torch.equal(weights.values.detach()[: weights.n_plain], plain.detach()[: weights.n_plain])
    parameters = dict(network.named_parameters())
    for name, view in weights.views(moved).items():
        assert float(view.abs().max()) > 0, name  # the parameters themselves moved, not copies of them
        assert parameters[name].data_ptr() == weights.views(weights.values.detach())[name].data_ptr()
    for name, matrix in weights.matrix_views(moved[weights.n_plain :]).items():
        direction = weights.matrix_views(gradient[weights.n_plain :])[name]
        torch.testing.assert_close(matrix, -0.01 * orthogonalised(direction), rtol=1e-3, atol=1e-5)


def test_a_network_made_elsewhere_is_moved_by_adam_alone():
    network = build(CONFIG, seed=0)
    network.encoder = nn.Sequential(network.encoder)  # no longer the encoder of zatlas
    assert network.inner_matrices() == []
    weights = Weights(network, torch.float32)
    optimizer = Optimizer(weights, kind="muon")
    optimizer.step(drawn(len(weights.values)), 1e-3)
    assert {name.split(":")[1] for name in optimizer.tensors() if ":" in name} == {"exp_avg", "exp_avg_sq"}


@pytest.mark.parametrize("kind", ["muon", "adam"])
def test_the_state_of_an_optimizer_comes_back_from_its_tensors(kind):
    def steps(weights, optimizer, seeds):
        for seed in seeds:
            optimizer.step(drawn(len(weights.values), seed=seed), 1e-3)
        return torch.cat([view.flatten() for view in weights.views(weights.values.detach()).values()])

    whole = Weights(build(CONFIG, seed=0), torch.float32)
    end = steps(whole, Optimizer(whole, kind=kind), range(4))
    first = Weights(build(CONFIG, seed=0), torch.float32)
    early = Optimizer(first, kind=kind)
    assert not any(tensor.any() for tensor in early.tensors().values())
    steps(first, early, range(2))
    late = Optimizer(first, kind=kind)
    late.fill({name: tensor.clone() for name, tensor in early.tensors().items()})
    assert torch.equal(steps(first, late, range(2, 4)), end)
    if kind == "muon":
        for tensor in early.tensors().values():
            tensor.zero_()  # are copies: the optimizer lives on
        assert float(early.tensors()["encoder.stages.2.weight:momentum"].abs().max()) > 0


def test_matrices_have_the_same_bits_on_any_number_of_threads():
    ends = []
    for threads in (0, 1, 3):
        weights = Weights(build(CONFIG, seed=0), torch.float32)
        with ThreadPoolExecutor(max(threads, 1)) as pool:
            optimizer = Optimizer(weights, kind="muon", each=pool.map if threads else map)
            for seed in range(3):
                optimizer.step(drawn(len(weights.values), seed=seed), 1e-3)
        ends.append(weights.values.detach().clone())
    assert torch.equal(ends[0], ends[1])
    assert torch.equal(ends[0], ends[2])


def test_weight_decay_shrinks_the_matrices_and_with_adam_alone_all_parameters():
    weights = Weights(build(CONFIG, seed=0), torch.float32)
    before, n = weights.values.detach().clone(), weights.n_plain
    Optimizer(weights, kind="muon", weight_decay=0.5).step(torch.zeros(len(before)), 0.01)
    after = weights.values.detach()
    assert torch.equal(after[:n], before[:n])
    torch.testing.assert_close(after[n:], before[n:] * (1 - 0.1 * 0.5))
    Optimizer(weights, kind="adam", weight_decay=0.5).step(torch.zeros(len(before)), 0.1)
    torch.testing.assert_close(weights.values.detach()[:n], before[:n] * (1 - 0.1 * 0.5))


def moved(weights, amount):
    with torch.no_grad():
        weights.values.add_(amount)
    weights.renew()


def test_the_mean_of_the_weights_forgets_the_start_and_then_reaches_back_as_far_as_asked():
    weights = Weights(build(CONFIG, seed=0), torch.float32)
    for decay, expected in ((0.2, [0.9, 1.8, 2.76]), (0.0, [1.0, 2.0, 3.0])):
        average, found = Average(weights, decay), []
        with torch.no_grad():
            weights.values.fill_(0.0)
        average.restart()
        for step in range(3):
            moved(weights, 1.0)
            average.update(step)
            with average.in_place():
                found.append(float(weights.values.detach()[0]))
        assert found == pytest.approx(expected), decay
    steady = Average(weights, 0.9)
    moved(weights, 1.0)
    steady.update(10_000)
    with steady.in_place():
        assert float(weights.values.detach()[0]) == pytest.approx(3.1)


def test_a_mean_that_reaches_back_nowhere_is_that_of_the_last_step_in_checkpoints_too():
    weights = Weights(build(CONFIG, seed=0), torch.float32)
    average = Average(weights, 0.0)
    moved(weights, 1.0)
    average.update(0)
    expected = weights.views(weights.values.detach())
    found = average.tensors()
    assert all(torch.equal(found[f"{name}:average"], view) for name, view in expected.items())


def test_the_mean_is_in_place_within_its_block_alone_and_computes():
    network = build(CONFIG, seed=0)
    weights = Weights(network, torch.bfloat16)
    before = weights.values.detach().clone()
    average = Average(weights, 0.9)
    moved(weights, 1.0)
    with average.in_place():
        assert torch.equal(weights.values.detach(), before)
        for (_, own), (_, copied) in zip(network.named_parameters(), weights.computing.named_parameters(), strict=True):
            torch.testing.assert_close(copied.float(), own, rtol=0.01, atol=1e-6)
    assert torch.equal(weights.values.detach(), before + 1.0)
    copied = dict(weights.computing.named_parameters())["encoder.stages.0.weight"]
    assert float(copied.detach().float().mean()) == pytest.approx(1.0, abs=0.1)


def test_weights_that_come_back_while_the_mean_is_in_place_stay():
    weights = Weights(build(CONFIG, seed=0), torch.float32)
    average = Average(weights, 0.9)
    moved(weights, float("nan"))
    with average.in_place():
        with torch.no_grad():
            weights.values.fill_(7.0)
        average.restart()
    assert torch.equal(weights.values.detach(), torch.full_like(weights.values.detach(), 7.0))


def test_the_mean_comes_back_from_its_tensors():
    weights = Weights(build(CONFIG, seed=0), torch.float32)
    average = Average(weights, 0.9)
    for step in range(3):
        moved(weights, 1.0)
        average.update(step)
    other = Average(weights, 0.9)
    other.fill(average.tensors())
    with average.in_place():
        expected = [view.clone() for view in weights.views(weights.values.detach()).values()]
    with other.in_place():
        found = [view.clone() for view in weights.views(weights.values.detach()).values()]
    assert all(torch.equal(one, two) for one, two in zip(found, expected, strict=True))
