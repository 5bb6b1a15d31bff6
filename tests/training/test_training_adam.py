"""AdamW without torch.optim: the same bits, and no torch._dynamo."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from zatlas.training.adam import AdamW


def gradients(n, steps):
    generator = torch.Generator().manual_seed(3)
    return [torch.randn(n, generator=generator) * 10.0 ** (step % 5 - 3) for step in range(steps)]


@pytest.mark.parametrize("weight_decay", [0.0, 0.03])
def test_the_same_bits_as_torch(weight_decay):
    start = torch.linspace(-1, 1, 1003)
    reference = torch.nn.Parameter(start.clone())
    wanted = torch.optim.AdamW([reference], lr=0.0, weight_decay=weight_decay, fused=True)
    values = start.clone()
    found = AdamW(values, weight_decay=weight_decay)
    for step, gradient in enumerate(gradients(1003, 40)):
        found.learning_rate = wanted.param_groups[0]["lr"] = 1e-2 / (step + 1)
        reference.grad = gradient.clone()
        wanted.step()
        found.step(gradient)
    assert torch.equal(values, reference.detach())
    for name, tensor in wanted.state[reference].items():
        assert torch.equal(found.state[name], tensor), name
    assert found.state["step"] == 40


def test_slices_in_threads_give_the_same_bits_as_torch():
    n = 2 * 2**18 + 1003
    start, pulls = torch.linspace(-1, 1, n), gradients(n, 3)
    reference, values = torch.nn.Parameter(start.clone()), start.clone()
    wanted, found = (
        torch.optim.AdamW([reference], lr=0.01, weight_decay=0.03, fused=True),
        AdamW(values, weight_decay=0.03),
    )
    found.learning_rate = 0.01
    taken = []

    def each(function, things):
        with ThreadPoolExecutor(2) as pool:
            taken.append(len(things))
            return pool.map(function, things)

    for pull in pulls:
        reference.grad = pull.clone()
        wanted.step()
        found.step(pull, each)
    assert taken == [3, 3, 3]
    assert torch.equal(values, reference.detach())
    assert torch.equal(found.state["exp_avg_sq"], wanted.state[reference]["exp_avg_sq"])


def test_copied_state_goes_on_with_the_same_bits():
    start, pulls = torch.ones(50), gradients(50, 6)
    values, later = start.clone(), start.clone()
    one, other = AdamW(values), AdamW(later)
    for place, pull in enumerate(pulls):
        one.learning_rate = other.learning_rate = 0.1
        if place == 3:
            later.copy_(values)
            for name, tensor in one.state.items():
                other.state[name].copy_(tensor)
        if place >= 3:
            other.step(pull)
        one.step(pull)
    assert torch.equal(values, later)


def test_parameters_of_a_network_may_want_gradients():
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = AdamW(parameter)
    optimizer.learning_rate = 0.5
    optimizer.step(torch.tensor([1.0, -1.0, 0.0]))
    torch.testing.assert_close(parameter.detach(), torch.tensor([0.5, 1.5, 1.0]))


def test_dynamo_is_not_imported():
    lines = (
        "import sys, torch; from zatlas.training.adam import AdamW; AdamW(torch.ones(2)).step(torch.ones(2)); "
        "print('torch._dynamo' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", lines], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"
