"""From images to latents: a network and grid tiles in, an atlas out, one batch in memory at a time.

The atlas holds the posterior mean, never a sample of it, and beside each latent what it costs (rate) and how well the
image comes back from it (distortion, PSNR). Pixels of padding count in none of them.

Notable:
    - Images are computed in shards of 16, each by one thread of a small pool with one thread per operator. Batches are
      whole shards, and the last one is filled up: a row has other last bits among fewer rows (matrix products take
      other kernels) and at another place (exponentials of the last numbers of a tensor are not computed by the vector
      unit). So an atlas has the same bits on any number of threads and with any batch size, and a busy neighbour costs
      its share of a core and no more (measured in speed.md).
    - float32 by default, although bfloat16 is 1.7 times faster: it moves latents by 1 to 4 % of their spread.
"""

import contextlib
import logging
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.atlas.atlas import OWN_COLUMNS, Atlas
from zatlas.atlas.refinement import check_steps, filled, refined
from zatlas.compute import SHARD_IMAGES, operator_pool, shards_of
from zatlas.errors import DataError, UsageError
from zatlas.model.network import Network
from zatlas.model.priors import Posterior
from zatlas.model.told import told_in, told_shards
from zatlas.randomness import torch_seed
from zatlas.tiles.greys import HIGHEST_PSNR_DB, grey_limits
from zatlas.tiles.loader import Tiles

__all__ = ["PRECISIONS", "encode"]

log = logging.getLogger(__name__)

PRECISIONS = ("float32", "bfloat16")
_RATE_DRAWS = 64


class _Encoded(NamedTuple):
    """What one shard gave, one row per image."""

    mean: np.ndarray
    log_var: np.ndarray
    numbers: dict[str, np.ndarray]


def encode(
    network: Network,
    tiles: Tiles,
    *,
    batch_size: int = 128,
    precision: str = "float32",
    refine: int = 0,
    beta: float = 1.0,
    table_extra: pd.DataFrame | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Encode every tile by the posterior mean and decode it again.

    Args:
        network: The trained network; its mode (train or eval) is what it was afterwards.
        tiles: Tiles with sampler "grid", on the grey scale that the network was trained on.
        batch_size: Tiles per step, rounded up to whole shards of 16; changes memory and how often progress is told,
            never a bit of the atlas.
        precision: "float32", or "bfloat16" for the convolutions: on processors that compute in it 1.7 times as fast,
            with latents that differ by 1 to 4 % of their spread (speed.md). The atlas says so in `info`.
        refine: Gradient steps by which the posterior of each tile is refined on its own ELBO (refinement.py), in
            float32; 0 takes the encoder's. The atlas says so in `info`.
        beta: Weight of the rate in what refining lowers.
        table_extra: Columns added to the table, one row per tile: split, labels. Labels of the collection are taken
            over without being asked; a column here of the same name comes first.
        on_progress: Called with (tiles done, tiles in all).

    Returns:
        An atlas whose table has image, image_row, group, split (when known), y_px, x_px, size_px, distortion_nats,
        rate_nats and psnr_db, and the labels.

    Raises:
        UsageError: the tiles are not grid tiles, do not fit the network, `table_extra` has another length, or
            `precision` is unknown, `refine` is no number of steps, or the network computes in float32 alone or gives
            no gradients.
        DataError: there are no tiles, or the network returns values that are not finite.
    """
    _check(network, tiles, table_extra)
    if precision not in PRECISIONS:
        raise UsageError(f"unknown precision {precision!r}", hint=f"use {' or '.join(PRECISIONS)}")
    check_steps(refine)
    n, d = len(tiles), network.config.latent_dim
    mean, log_var = np.empty((n, d), np.float32), np.empty((n, d), np.float32)
    names = ["distortion_nats", "rate_nats", "psnr_db", *(["local_rate_nats"] if network.local_sides else [])]
    numbers = {name: np.empty(n, np.float32) for name in names}
    computing = network if precision == "float32" else network.compute_copy(torch.bfloat16)
    modes, done = {module: module.training for module in network.modules()}, 0
    network.eval()
    computing.eval()
    refining = partial(refined, steps=refine, beta=beta)
    compute = partial(_encode_shard, computing, network, grey_limits(tiles), _rate_noise(d), refining)
    whole_shards = -(-batch_size // SHARD_IMAGES) * SHARD_IMAGES
    try:
        with operator_pool() as pool, contextlib.closing(tiles.batches(0, whole_shards)) as batches:
            for batch in batches:
                told = told_in(network, tiles, batch.rows)
                for part in pool.map(compute, shards_of(batch.x), shards_of(batch.mask), told_shards(told)):
                    rows = slice(done, done + len(part.mean))
                    mean[rows], log_var[rows] = part.mean, part.log_var
                    for name, column in part.numbers.items():
                        numbers[name][rows] = column
                    done = rows.stop
                if on_progress is not None:
                    on_progress(done, n)
    finally:
        for module, is_training in modes.items():
            module.training = is_training
    if not np.isfinite(mean).all() or not np.isfinite(log_var).all():
        raise DataError("the network returns latents that are not finite numbers", hint="train the model again")
    info = {"likelihood": network.likelihood.name, "size_px": tiles.size}
    if precision != "float32":
        info["precision"] = precision
    if refine:
        info["refine"] = refine
    return Atlas(mean, log_var, _table(tiles, numbers, table_extra), info=info)


def _rate_noise(d: int) -> Float[Tensor, "s d"]:
    """The draws over which a rate without closed form is averaged: always the same ones, shared by all images.

    So an error of theirs would be one of all images. Each stands beside its mirror image, and each dimension has a mean
    square of 1: means and spreads along the dimensions are then exact.
    """
    noise = torch.randn((_RATE_DRAWS // 2, d), generator=torch.Generator().manual_seed(torch_seed(0, "rate noise", 0)))
    noise = noise / noise.square().mean(dim=0).sqrt()
    return torch.cat([noise, -noise])


def _check(network: Network, tiles: Tiles, table_extra: pd.DataFrame | None) -> None:
    if tiles.sampler != "grid":
        raise UsageError(f"an atlas needs grid tiles, found sampler {tiles.sampler}", hint='use sampler="grid"')
    if len(tiles) == 0:
        raise DataError("there are no tiles to encode", hint="check the split and the size of the images")
    found, expected = (tiles.channels, tiles.size), (network.config.channels, network.config.size)
    if found != expected:
        raise UsageError(
            f"the tiles have {found[0]} channels and {found[1]} px, the network takes {expected[0]} and {expected[1]}",
            hint=f"cut tiles of {expected[1]} px",
        )
    if table_extra is not None and len(table_extra) != len(tiles):
        raise UsageError(f"table_extra has {len(table_extra)} rows, expected one for each of the {len(tiles)} tiles")


def _encode_shard(
    network: Network,
    exact: Network,
    limits: tuple[float, float],
    noise: Float[Tensor, "s d"],
    refining: Callable[[Network, Tensor, Tensor, Posterior], Posterior],
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    told: Float[Tensor, "b v"] | None,
) -> _Encoded:
    """Means, log-variances and the numbers of at most 16 images; `exact` is the network in float32, which refines, and
    `noise` is for rates without closed form."""
    device, n = network.device, len(x)
    told = None if told is None else filled(told).to(device)
    network, exact = network.told(told), exact.told(told)
    full, full_mask = filled(x).to(device), filled(mask).to(device)
    x, mask = full[:n], full_mask[:n]
    with torch.inference_mode():
        posterior = refining(exact, full, full_mask, network.encode(full))
        found, local_rates = network.inferred(posterior.mean, full)
        params, local_rates = found[:n].float(), local_rates[:n]
        mean, log_var = posterior.mean[:n], posterior.log_var[:n]
        numbers = {
            "distortion_nats": network.likelihood.nll(params, x, mask),
            "rate_nats": network.prior.mean_rate(posterior, noise)[:n] + local_rates.sum(dim=1),
            "psnr_db": _psnr_db(x, network.likelihood.mean(params), mask, limits),
        }
        if network.local_sides:
            numbers["local_rate_nats"] = local_rates.sum(dim=1)
    # Detached, because a network may return a parameter itself, which wants gradients even here.
    columns = {name: column.detach().cpu().numpy() for name, column in numbers.items()}
    return _Encoded(mean.detach().cpu().numpy(), log_var.detach().cpu().numpy(), columns)


def _psnr_db(
    x: Float[Tensor, "b c h w"], x_hat: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"],
    limits: tuple[float, float],
) -> Float[Tensor, " b"]:  # fmt: skip
    """Peak signal-to-noise ratio over unmasked pixels and all channels, at most 100 [dB].

    The reconstruction is clipped to the limits, as a viewer would.
    """
    low, high = limits
    squared = ((x_hat.clamp(low, high) - x).square() * mask).sum(dim=(1, 2, 3))
    mse = squared / (mask.sum(dim=(1, 2, 3)) * x.shape[1]).clamp(min=1)
    return (10 * torch.log10((high - low) ** 2 / mse.clamp(min=1e-30))).clamp(max=HIGHEST_PSNR_DB)


def _table(tiles: Tiles, numbers: dict[str, np.ndarray], extra: pd.DataFrame | None) -> pd.DataFrame:
    """Where each tile lies, its numbers, and what is known about its image."""
    table = tiles.table().reset_index(drop=True)
    image_row = table["image_row"].to_numpy()
    split = {} if extra is None or "split" not in extra else {"split": extra["split"].to_numpy()}
    own = {
        "image": table["image"].to_numpy(), "image_row": image_row, "group": table["group"].to_numpy(), **split,
        "y_px": table["y_px"].to_numpy(), "x_px": table["x_px"].to_numpy(), "size_px": np.full(len(table), tiles.size),
        **numbers,
    }  # fmt: skip
    labels = tiles.images.table[list(tiles.images.labels)].iloc[image_row].reset_index(drop=True)
    if extra is not None:
        added = extra.drop(columns=["split"], errors="ignore").reset_index(drop=True)
        labels = pd.concat([added, labels.drop(columns=list(added.columns), errors="ignore")], axis=1)
    renamed = {name: f"label_{name}" for name in labels.columns if name in OWN_COLUMNS}
    if renamed:
        log.warning("labels renamed, because the atlas has columns of these names: %s", ", ".join(renamed))
    return pd.concat([pd.DataFrame(own), labels.rename(columns=renamed)], axis=1)
