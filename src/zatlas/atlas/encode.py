"""From images to latents: a network and grid tiles in, an atlas out, one batch in memory at a time.

The atlas holds the posterior mean, never a sample of it, and beside each latent what it costs (rate) and how well the
image comes back from it (distortion, PSNR). Pixels of padding count in none of them.
"""

import contextlib
import logging
from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.atlas.atlas import OWN_COLUMNS, Atlas
from zatlas.errors import DataError, UsageError
from zatlas.model.network import Network
from zatlas.model.objective import distortion, rate
from zatlas.tiles.loader import Tiles

__all__ = ["encode", "grey_limits"]

log = logging.getLogger(__name__)

_HIGHEST_PSNR_DB = 100.0  # an exact copy, whose PSNR would be infinite


def encode(
    network: Network,
    tiles: Tiles,
    *,
    batch_size: int = 128,
    table_extra: pd.DataFrame | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Atlas:
    """Encode every tile by the posterior mean and decode it again.

    Args:
        network: The trained network; its mode (train or eval) is what it was afterwards.
        tiles: Tiles with sampler "grid", on the grey scale that the network was trained on.
        batch_size: Tiles per step; changes speed and memory alone.
        table_extra: Columns added to the table, one row per tile: split, labels. Labels of the collection are taken
            over without being asked; a column here of the same name comes first.
        on_progress: Called with (tiles done, tiles in all).

    Returns:
        An atlas whose table has image, image_row, group, split (when known), y_px, x_px, size_px, distortion_nats,
        rate_nats and psnr_db, and the labels.

    Raises:
        UsageError: the tiles are not grid tiles, do not fit the network, or `table_extra` has another length.
        DataError: there are no tiles, or the network returns values that are not finite.
    """
    _check(network, tiles, table_extra)
    n, d, limits = len(tiles), network.config.latent_dim, grey_limits(tiles)
    mean, log_var = np.empty((n, d), np.float32), np.empty((n, d), np.float32)
    numbers = {name: np.empty(n, np.float32) for name in ("distortion_nats", "rate_nats", "psnr_db")}
    was_training, done = network.training, 0
    network.eval()
    try:
        with contextlib.closing(tiles.batches(0, batch_size)) as batches:
            for batch in batches:
                rows = slice(done, done + len(batch))
                mean[rows], log_var[rows], values = _encode_batch(network, batch.x, batch.mask, limits)
                for name, column in values.items():
                    numbers[name][rows] = column
                done = rows.stop
                if on_progress is not None:
                    on_progress(done, n)
    finally:
        network.train(was_training)
    if not np.isfinite(mean).all() or not np.isfinite(log_var).all():
        raise DataError("the network returns latents that are not finite numbers", hint="train the model again")
    table = _table(tiles, numbers, table_extra)
    return Atlas(mean, log_var, table, info={"likelihood": network.config.likelihood, "size_px": tiles.size})


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


def grey_limits(tiles: Tiles, *, most: int = 512) -> tuple[float, float]:
    """Darkest and brightest grey on the network's scale; their difference is the peak of PSNR.

    0 and 1 for minmax scaling. For standardised 8-bit images what 0 and 255 become; for other standardised ones the
    extremes of at most `most` tiles spread evenly.
    """
    low, high = tiles.scaling.limits
    if np.isfinite([low, high]).all():
        return low, high
    if set(tiles.images.table["dtype"]) == {"uint8"}:
        low, high = tiles.scaling.apply(np.array([0, 255], np.uint8)).tolist()
        return low, high
    rows = np.unique(np.linspace(0, len(tiles) - 1, min(most, len(tiles))).astype(np.int64))
    extremes = [_extremes(tiles.take(part)) for part in np.array_split(rows, -(-len(rows) // 64))]
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def _extremes(pixels: np.ndarray) -> tuple[float, float]:
    return float(pixels.min()), float(pixels.max())


def _encode_batch(
    network: Network, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"], limits: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
    """Means, log-variances and the numbers of one batch."""
    with torch.inference_mode():
        x, mask = x.to(network.log_noise_var.device), mask.to(network.log_noise_var.device)
        posterior = network.encode(x)
        params = network.decode(posterior.mean)
        likelihood = network.config.likelihood
        x_hat = torch.sigmoid(params) if likelihood == "bernoulli" else params
        values = {
            "distortion_nats": distortion(params, x, mask, likelihood=likelihood, log_noise_var=network.log_noise_var),
            "rate_nats": rate(posterior.mean, posterior.log_var),
            "psnr_db": _psnr_db(x, x_hat, mask, limits),
        }
    return (
        posterior.mean.float().cpu().numpy(),
        posterior.log_var.float().cpu().numpy(),
        {name: column.float().cpu().numpy() for name, column in values.items()},
    )


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
    return (10 * torch.log10((high - low) ** 2 / mse.clamp(min=1e-30))).clamp(max=_HIGHEST_PSNR_DB)


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
