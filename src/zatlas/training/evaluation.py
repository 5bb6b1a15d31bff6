"""Distortion, rate and ELBO of fixed tiles, with the same noise each time."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from zatlas.compute import one_thread_per_operator
from zatlas.model.likelihoods import Likelihood, Residuals
from zatlas.model.network import Network
from zatlas.model.objective import active_dims
from zatlas.model.told import told_in
from zatlas.tiles.greys import SMALLEST_ERROR
from zatlas.tiles.loader import Tiles
from zatlas.training.sending import batches_on
from zatlas.training.shards import Shards, keyed_noise

__all__ = ["Evaluation", "calibrated", "evaluate", "evaluation", "reconstruction_db"]

_ACTIVE_SAMPLE = 4096  # posterior means looked at for active dimensions
_PARTED_SAMPLE = 1024  # of them between which distances are taken
_BATCH = 64  # images; the noise of an evaluation depends on it


def evaluate(network: Network, tiles: Tiles, *, seed: int) -> dict[str, float]:
    """Distortion, rate and ELBO of fixed tiles [mean nats per image], with one noise draw per tile that depends on
    `seed` alone, in float32 on one thread of the processor. Computed on a copy: nothing of `network` changes, not even
    where its parameters lie in memory.

    Returns:
        {"distortion_nats", "rate_nats", "elbo_nats", "active_dims", "n"}
    """
    with one_thread_per_operator(), Shards(copy.deepcopy(network)) as shards:
        found = evaluation(shards, tiles, seed=seed).numbers
    return {name: found[name] for name in ("distortion_nats", "rate_nats", "elbo_nats", "active_dims", "n")}


class Evaluation(NamedTuple):
    """Numbers of a split, and the sums of its residuals."""

    numbers: dict[str, float]
    residuals: Residuals


def evaluation(shards: Shards, tiles: Tiles, *, seed: int) -> Evaluation:
    """What `evaluate` gives and more, by shards that exist already.

    Args:
        shards: Of the network.
        tiles: Fixed ones.
        seed: From which the noise derives.
    """
    network = shards.weights.computing
    sums, local, n = np.zeros(2), np.zeros(len(network.local_sides)), 0
    means: list[torch.Tensor] = []
    heard: list[torch.Tensor] = []
    residuals: Residuals = ()
    for index, batch in enumerate(batches_on(shards.device, tiles, 0, _BATCH)):
        noise = keyed_noise(len(batch.x), network.n_noise, seed=seed, stream="evaluation noise", index=index)
        told = told_in(network, tiles, batch.rows)
        found = shards.evaluate(batch.x, batch.mask, noise, told=told)
        sums += [float(found.distortion.double().sum()), float(found.rate.double().sum())]
        local += found.local_rates.double().sum(dim=0).numpy()
        n += len(batch.x)
        own = [total.double() for total in found.residuals]
        residuals = tuple(a + b for a, b in zip(residuals, own, strict=True)) if residuals else tuple(own)
        if n <= _ACTIVE_SAMPLE or not means:
            means.append(found.means)
            heard += [] if told is None else [told]
    (distortion, rate), local = sums / max(n, 1), local / max(n, 1)
    with calibrated(network.likelihood, residuals) as nats:
        fitted = distortion if nats is None else nats / max(n, 1)
    numbers = {
        "distortion_nats": float(distortion),
        "rate_nats": float(rate),
        "elbo_nats": float(-distortion - rate),
        "fitted_distortion_nats": float(fitted),
        "active_dims": active_dims(torch.cat(means)) if means else 0,
        "n": n,
        **_parted(network, means, heard),
        **{f"rate_{side}px_nats": float(rate) for side, rate in zip(network.local_sides, local, strict=True)},
    }
    return Evaluation(numbers, residuals)


def _parted(network: Network, means: list[torch.Tensor], told: list[torch.Tensor]) -> dict[str, float]:
    """What z says about the covariate, as it counts in training, of the first images; {} without one."""
    found = network.parted(torch.cat(means)[:_PARTED_SAMPLE], torch.cat(told)[:_PARTED_SAMPLE]) if told else None
    return {} if found is None else {"covariate_nats": float(found)}


@contextmanager
def calibrated(likelihood: Likelihood, residuals: Residuals) -> Iterator[float | None]:
    """The likelihood with the noise that fits these residuals best; its own comes back afterwards.

    Yields:
        What `Likelihood.calibrate` says; None without residuals.
    """
    kept = {name: value.clone() for name, value in likelihood.state_dict().items()}
    try:
        yield likelihood.calibrate(residuals) if residuals else None
    finally:
        likelihood.load_state_dict(kept)


@torch.no_grad()
def reconstruction_db(network: Network, tiles: Tiles) -> tuple[float, float]:
    """How well posterior means give fixed tiles back, in float32 on the network's grey scale.

    Args:
        network: On any device; nothing of it changes.
        tiles: Fixed ones.

    Returns:
        PSNR for a range of 1 [dB], of values at real pixels: its mean over tiles, of at most 100 dB each, and that of
        the squared error pooled over all of them.
    """
    errors, weights = [], []
    for batch in batches_on(network.device, tiles, 0, _BATCH):
        squared = (network.reconstructed(batch.x) - batch.x).square() * batch.mask
        n_values = (batch.mask.sum(dim=(1, 2, 3)) * batch.x.shape[1]).clamp(min=1)
        errors.append((squared.sum(dim=(1, 2, 3)) / n_values).double().cpu())
        weights.append(n_values.double().cpu())
    error, weight = torch.cat(errors), torch.cat(weights)
    pooled = (error * weight).sum() / weight.sum()
    return float(_decibel(error).mean()), float(_decibel(pooled))


def _decibel(error: torch.Tensor) -> torch.Tensor:
    return -10 * error.clamp(min=SMALLEST_ERROR).log10()
