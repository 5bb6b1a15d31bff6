"""Training on another device than the processor, which is a pretended one: nothing lies on the wrong one, the host
waits once a step, and what is learned is the same."""

import contextlib
import dataclasses
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from zatlas import files
from zatlas.images.collection import Collection
from zatlas.images.source import ArraySource
from zatlas.model.building import build
from zatlas.model.likelihoods import LIKELIHOODS, Greys
from zatlas.model.network import NetworkConfig
from zatlas.model.priors import PRIORS
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import PcaStream
from zatlas.tiles.transforms import Scaling
from zatlas.training import fit as fit_module
from zatlas.training.average import Average
from zatlas.training.devices import Devices
from zatlas.training.jitter import keyed_jitter
from zatlas.training.sending import batches_on, placed
from zatlas.training.shards import Shards, keyed_noise
from zatlas.training.start import start_from_pca

sys.path.insert(0, str(Path(__file__).parent))
from pretended import DEVICE, PretendedDevice, There
from tiny_training import blobs, train

SMALL = NetworkConfig(
    latent_dim=3, channels=1, size=16, widths=(4, 8), blocks=0, norm="none", decoder="upsample", likelihood="gaussian"
)
CPU = torch.device("cpu")


@pytest.fixture
def device(monkeypatch):
    """The pretended device, which autocast does not know."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    with PretendedDevice() as pretended:
        yield pretended


@pytest.fixture
def trains_there(device, monkeypatch):
    """Whatever `train` is asked for, it computes on the pretended device."""
    chosen = Devices(str(DEVICE), "float32", 1, True, {"threads": "as asked for"})
    monkeypatch.setattr(fit_module, "choose", lambda *_, **__: chosen)
    return device


def outcome(run):
    history = pd.read_csv(run / "history.csv").drop(columns=["seconds", "images_per_s", "data_wait"])
    return files.sha256(run / "weights.safetensors"), history.to_csv()


no_warning = pytest.mark.filterwarnings("ignore:for .* copying from a non-meta parameter")


@no_warning
@pytest.mark.parametrize("likelihood", ["gaussian", "student_t"])
def test_each_step_waits_once_for_the_device(tmp_path, trains_there, likelihood):
    """Losses, means and the length of the gradient come in one piece; clipping, noise and the mean of the weights are
    done without a look at them."""
    waits = []

    def on_step(_):
        waits.append(list(trains_there.waits))
        trains_there.forget()

    train(tmp_path, likelihood=likelihood, epochs=2, batch_size=50, clip_norm=0.5, on_step=on_step)
    assert waits[1] == waits[3] == ["to the host"], "and those of an epoch, or of the beginning, in the first and third"


@no_warning
def test_a_training_learns_there_what_it_learns_here(tmp_path, trains_there, monkeypatch):
    _, there = train(tmp_path / "there", epochs=2)
    monkeypatch.undo()
    _, here = train(tmp_path / "here", epochs=2, precision="float32")
    columns = [name for name in here if name.endswith("_nats")]
    np.testing.assert_allclose(there[columns], here[columns], rtol=1e-4)


@no_warning
def test_a_training_there_goes_on_with_the_same_bytes(tmp_path, trains_there):
    train(tmp_path / "whole", epochs=2)
    stopped = iter([False] * 3 + [True])
    train(tmp_path / "halved", epochs=2, stop_requested=lambda: next(stopped))
    train(tmp_path / "halved", epochs=2)
    assert outcome(tmp_path / "halved") == outcome(tmp_path / "whole")


def stepped(config, device, *, optimizer="muon"):
    """What two steps on a device give: losses, gradient and weights, in the processor's memory."""
    network = build(config, seed=0)
    network.likelihood.set_greys(Greys(config.channels, 0.0, 255.0, 0.0, 255.0, are_whole=True))
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (6, config.channels, 16, 16), generator=generator) / 255
    mask = (torch.rand((6, 1, 16, 16), generator=generator) < 0.8).float()
    with Shards(network, device=str(device)) as shards:
        moving, average = shards.optimizer(kind=optimizer, weight_decay=0.1), Average(shards.weights, 0.9)
        for step in range(2):
            noise = keyed_noise(6, 3, seed=0, stream="training noise", index=step)
            moves = keyed_jitter(6, amount=0.1, seed=0, stream="jitter", index=step)
            found = shards.evaluate(x, mask, noise, rate_weight=0.5, jitter=moves)
            gradient = found.gradients.cpu().clone()
            moving.step(found.gradients, 1e-3)
            shards.weights.renew()
            average.update(step)
            network.likelihood.observe(found.residuals, step=step)
        state = {**moving.tensors(), **average.tensors()}
        return found, gradient, network.cpu().state_dict(), state


@pytest.mark.parametrize(
    "changes",
    [
        *({"likelihood": name} for name in LIKELIHOODS),
        *({"prior": name} for name in PRIORS if name != "standard"),
        {"linear_path": "on", "blocks": 1, "channels": 2, "decoder": "transposed"},
    ],
    ids=lambda changes: next(iter(changes.values())),
)
def test_every_part_of_a_network_lies_on_the_device(device, changes):
    """The pretended device refuses whatever lies elsewhere, and gives what the processor gives."""
    config = dataclasses.replace(SMALL, **changes)
    there, here = stepped(config, DEVICE), stepped(config, CPU)
    assert all(isinstance(one, There) for name, one in there[3].items()), "the state of the optimizer stays there"
    for name in ("distortion", "rate", "means", "norm"):
        torch.testing.assert_close(getattr(there[0], name), getattr(here[0], name), rtol=1e-3, atol=1e-4)
    longest = float(here[1].abs().max())
    torch.testing.assert_close(there[1], here[1], rtol=1e-3, atol=1e-4 * longest)
    for name, value in here[2].items():
        torch.testing.assert_close(there[2][name].cpu(), value, rtol=1e-3, atol=1e-4)


def test_principal_components_start_a_network_there(device):
    config = dataclasses.replace(SMALL, linear_path="on")
    x, mask = torch.from_numpy(blobs(40, seed=0)), torch.ones(40, 1, 16, 16)
    stream = PcaStream(3)
    stream.add(x.numpy())
    weights = []
    for place in (DEVICE, CPU):
        network = build(config, seed=0).to(place)
        start_from_pca(network, stream.result(), x, mask, beta=1.0)
        weights.append(network.state_dict())
    for name, value in weights[1].items():
        torch.testing.assert_close(weights[0][name].cpu(), value, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("likelihood", ["gaussian", "gaussian_per_channel", "student_t"])
def test_noise_is_fitted_there(device, likelihood):
    values, noise = [], []
    for place in (DEVICE, CPU):
        network = build(dataclasses.replace(SMALL, likelihood=likelihood), seed=0).to(place)
        x = torch.from_numpy(blobs(10, seed=0)).to(place)
        residuals = network.likelihood.residuals(0.5 * x, x, torch.ones_like(x))
        values.append(network.likelihood.calibrate(tuple(one.double() for one in residuals)))
        noise.append(network.log_noise_var.cpu())
    assert values[0] == pytest.approx(values[1], rel=1e-6)
    torch.testing.assert_close(*noise)


@pytest.mark.parametrize("name", LIKELIHOODS)
def test_images_are_drawn_there_as_here(device, name):
    drawn = []
    for place in (DEVICE, CPU):
        likelihood = LIKELIHOODS[name]().to(place)
        params = torch.rand((2, likelihood.n_params, 4, 4), generator=torch.Generator().manual_seed(0)).to(place)
        drawn.append(likelihood.sample(params, torch.Generator().manual_seed(1)))
    assert isinstance(drawn[0], There)
    torch.testing.assert_close(drawn[0].cpu(), drawn[1])


def tiles_of_type(dtype, scaling, **options):
    rng = np.random.default_rng(0)
    most = 1.0 if dtype == "float32" else np.iinfo(dtype).max
    x = (rng.random((6, 2, 20, 20)) * most).astype(dtype)
    columns = {"height": 20, "width": 20, "channels": 2, "dtype": dtype}
    table = pd.DataFrame({"image": list("abcdef"), "group": ""}).assign(**columns)
    images = Collection(table=table, sources=tuple(map(ArraySource, x)), path=Path("noise"))
    return Tiles(images, scaling=scaling, **options)


SCALINGS = {
    "all greys": Scaling("minmax", 0.0, 255.0), "clipped": Scaling("minmax", 13.0, 100.0),
    "dark ones clipped": Scaling("minmax", 10.5, 255.3), "standardised": Scaling("standardise", 101.7, 33.3),
    "around 0": Scaling("standardise", 0.0, 7.1),
}  # fmt: skip


@pytest.mark.parametrize("scaling", SCALINGS.values(), ids=SCALINGS)
@pytest.mark.parametrize(
    "options",
    [{"size": 20, "sampler": "whole"}, {"size": 16, "augment": True}, {"size": 16, "sampler": "grid", "stride": 7}],
    ids=["whole", "tiles", "grid"],
)
def test_images_of_8_bits_are_scaled_there_to_the_same_bits(device, scaling, options):
    tiles = tiles_of_type("uint8", scaling, **options)
    batches = zip(tiles.batches(1, 4), batches_on(DEVICE, tiles, 1, 4), strict=True)
    for here, there in batches:
        assert here.x.dtype == here.mask.dtype == torch.float32
        assert torch.equal(there.x.cpu(), here.x) and torch.equal(there.mask.cpu(), here.mask)
        assert isinstance(there.x, There) and isinstance(there.mask, There)
        assert np.array_equal(there.rows, here.rows) and np.array_equal(there.indices, here.indices)


@pytest.mark.parametrize(("dtype", "bytes_per_value"), [("uint8", 1), ("uint16", 4), ("float32", 4)])
def test_images_of_8_bits_travel_as_bytes_and_others_as_float32(device, dtype, bytes_per_value):
    tiles = tiles_of_type(dtype, Scaling("minmax", 0.0, 1000.0), size=20, sampler="whole")
    (here,), (there,) = tiles.batches(0, 6), batches_on(DEVICE, tiles, 0, 6)
    assert torch.equal(there.x.cpu(), here.x)
    values, greys = 6 * 2 * 20 * 20, [256 * 4] if dtype == "uint8" else []
    assert device.bytes_sent == [bytes_per_value * values, values // 2, *greys]
    assert device.waits == ["to the host"], "this test alone asked for numbers"


def test_clipped_greys_are_warned_about_there_too(caplog):
    tiles = tiles_of_type("uint8", SCALINGS["clipped"], size=20, sampler="whole")
    assert len(list(batches_on(CPU, tiles, 0, 4, start=4))) == 1
    (tiles._has_warned, before) = False, caplog.text
    placed(tiles.batch(0, np.arange(2), as_stored=True), CPU)
    assert "are clipped to it" in caplog.text.removeprefix(before)


def test_a_device_computes_in_the_thread_that_asks(device, monkeypatch):
    """A CUDA graph records the stream of one thread."""
    monkeypatch.setattr(ThreadPoolExecutor, "submit", lambda *_: pytest.fail("another thread was asked"))
    stepped(SMALL, DEVICE)
