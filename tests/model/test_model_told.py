"""A covariate that the decoder is told: what it changes, what it leaves alone, and the distance that frees z of it."""

import numpy as np
import pandas as pd
import pytest
import torch

from zatlas.errors import UsageError
from zatlas.model.building import build
from zatlas.model.covariate import energy_distance, standardised, told_of
from zatlas.model.network import NetworkConfig
from zatlas.model.told import covariate_values, told_value

VALUES = ("B01", "B02", "B05")


def made(values=VALUES, seed=0, **asked):
    own = {"latent_dim": 3, "channels": 1, "size": 32, "widths": (4, 6, 8), "covariate": "group", **asked}
    return build(NetworkConfig(**own, covariate_values=values), seed).eval()


def learned(network, seed=1):
    """Scales and shifts as after some training."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for table in network.covariate.tables:
            table.add_(0.3 * torch.randn(table.shape, generator=draw))
    return network


@pytest.mark.parametrize("asked", [{}, {"decoder": "transposed", "blocks": 1}, {"size": 30, "channels": 3}])
def test_before_training_nothing_is_told(asked):
    network, plain = made(**asked), made(values=(), **asked)
    x = torch.rand(
        (2, network.config.channels, *2 * (network.config.size,)), generator=torch.Generator().manual_seed(0)
    )
    z = torch.randn((2, 3), generator=torch.Generator().manual_seed(0))
    for told in (None, told_of(["B01", "B20"], VALUES)):
        assert torch.equal(network.told(told).decode(z), plain.decode(z))
    assert torch.equal(network.reconstruction(x), plain.reconstruction(x))


def test_each_image_is_told_its_own_value_and_an_unknown_one_the_mean_of_all():
    network = learned(made())
    z = torch.randn((4, 3), generator=torch.Generator().manual_seed(0))
    found = network.told(network.told_of(["B05", "B01", "B20", ""])).decode(z)
    for row, value in enumerate(["B05", "B01"]):
        alone = told_value(network, value).decode(z)
        torch.testing.assert_close(found[row], alone[row])
        assert (alone - network.decode(z)).abs().amax(dim=(1, 2, 3)).min() > 1e-3
    torch.testing.assert_close(found[2:], network.decode(z)[2:])
    with torch.no_grad():
        for table in network.covariate.tables:
            table.copy_(table.mean(dim=0).expand_as(table))
    torch.testing.assert_close(told_value(network, "B01").decode(z), network.decode(z))


def test_telling_one_leaves_the_network_as_it_was_and_shares_its_weights():
    network = learned(made())
    z = torch.ones((1, 3))
    before, told = network.decode(z), told_value(network, "B02")
    assert torch.equal(network.decode(z), before)
    with torch.no_grad():
        network.decoder.from_latent.bias.add_(0.5)
    assert not torch.equal(network.decode(z), before)
    assert torch.equal(told.encode(torch.ones(1, 1, 32, 32)).mean, network.encode(torch.ones(1, 1, 32, 32)).mean)
    assert told.decoder is network.decoder


def test_each_stage_and_the_output_hear_what_is_told():
    network = made()
    z = torch.randn((1, 3), generator=torch.Generator().manual_seed(0))
    silent = network.decode(z)
    assert len(network.covariate.tables) == len(network.sides) + 1
    for table in network.covariate.tables:
        with torch.no_grad():
            table[0] += 1.0
            assert not torch.equal(told_value(network, "B01").decode(z), silent)
            assert torch.equal(told_value(network, "B02").decode(z), silent)
            table.zero_()


def pairs(z, names):
    """The energy distance by loops: over pairs of values met twice, weighted by how often both are met."""
    groups = {name: [i for i, one in enumerate(names) if one == name] for name in set(names) - {"?"}}
    groups = {name: rows for name, rows in groups.items() if len(rows) > 1}
    n = sum(map(len, groups.values()))

    def mean(a, b):
        return np.mean([np.linalg.norm(z[i] - z[j]) for i in a for j in b if i != j])

    return sum(
        len(a) * len(b) / n**2 * (2 * mean(a, b) - mean(a, a) - mean(b, b))
        for one, a in groups.items() for other, b in groups.items() if one != other
    )  # fmt: skip


def test_the_energy_distance_is_that_of_its_definition():
    names = ["B01", "B02", "B01", "B05", "B02", "?", "B01", "?"]
    z = torch.randn((8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = energy_distance(z, told_of(names, VALUES).double())
    assert float(found) == pytest.approx(pairs(z.numpy(), names))


def test_the_energy_distance_is_unbiased_and_sees_a_spread_as_well_as_a_mean():
    draw = torch.Generator().manual_seed(0)
    told = told_of(["B01", "B02"] * 4, VALUES)
    is_first = told[:, :1]

    def mean_of(change):
        found = [energy_distance(change(torch.randn((8, 2), generator=draw)), told) for _ in range(400)]
        return float(torch.stack(found).mean()), float(torch.stack(found).std()) / 20

    alike, error = mean_of(lambda z: z)
    assert abs(alike) < 4 * error
    for change in (lambda z: z + is_first, lambda z: z * (1 + 2 * is_first)):
        apart, error = mean_of(change)
        assert apart > 8 * error


@pytest.mark.parametrize("names", [["B01"] * 4, ["B01", "B02", "B05", "?"], ["?", "?", "?", "?"]])
def test_images_of_which_nothing_can_be_compared_add_nothing(names):
    z = torch.randn((4, 3), generator=torch.Generator().manual_seed(0), requires_grad=True)
    found = energy_distance(z, told_of(names, VALUES))
    found.backward()
    assert float(found.detach()) == pytest.approx(0, abs=1e-6)
    assert float(z.grad.abs().max()) == pytest.approx(0, abs=1e-6)


def test_what_z_says_weighs_by_the_values_of_an_image():
    z, told = torch.arange(12.0).reshape(4, 3), told_of(["B01", "B01", "B02", "B02"], VALUES)
    small, large = made(covariate_weight=0.5), made(size=64, channels=3, covariate_weight=0.5)
    expected = 0.5 * 32 * 32 * energy_distance(standardised(z), told)
    torch.testing.assert_close(small.parted(z, told), expected)
    torch.testing.assert_close(large.parted(z, told), 12 * expected)


def test_latents_that_shrink_are_as_far_apart_as_before():
    z, told = torch.randn((8, 3), generator=torch.Generator().manual_seed(0)), told_of(["B01", "B02"] * 4, VALUES)
    shrunken = z * torch.tensor([0.5, 5.0, 0.05]) + 2.0
    torch.testing.assert_close(made().parted(shrunken, told), made().parted(z, told), rtol=0.05, atol=0.0)


def test_values_are_those_of_the_training_images_and_few():
    table = pd.DataFrame({"group": ["B02", "B01", "B02", "", "B01"], "site": [1, 2, None, 1, 2], "one": ["a"] * 5})
    table["image"], table["depth"] = range(5), np.arange(5) / 7
    assert covariate_values(table, "group") == ("B01", "B02")
    assert covariate_values(table, "site") == ("1.0", "2.0")
    with pytest.raises(UsageError, match="no column") as failed:
        covariate_values(table, "brain")
    assert "group, site, one, depth" in failed.value.hint and "image" not in failed.value.hint
    with pytest.raises(UsageError, match="1 value, expected 2 to 64"):
        covariate_values(table, "one")
    with pytest.raises(UsageError, match="5 values among 5 training images"):
        covariate_values(table, "depth")
    with pytest.raises(UsageError, match="65 values"):
        covariate_values(pd.DataFrame({"name": [f"P{i}" for i in range(65)]}), "name")


def test_a_value_that_was_never_told_is_refused():
    with pytest.raises(UsageError, match="never told B20"):
        told_value(made(), "B20")
    with pytest.raises(UsageError, match="without a covariate"):
        told_value(made(values=()), "B01")


@pytest.mark.parametrize("asked", [{"texture": "local"}, {"linear_path": "on"}, {"covariate_weight": -1.0}])
def test_what_does_not_go_together_is_refused(asked):
    with pytest.raises(UsageError, match=next(iter(asked)).replace("_", "-")):
        made(**asked)


def test_half_the_digits_compute_the_same_picture():
    network = learned(made())
    z = torch.randn((2, 3), generator=torch.Generator().manual_seed(0))
    told = network.told_of(["B01", "B05"])
    half = network.compute_copy(torch.bfloat16).told(told).decode(z)
    torch.testing.assert_close(half.float(), network.told(told).decode(z), rtol=0.1, atol=0.05)
