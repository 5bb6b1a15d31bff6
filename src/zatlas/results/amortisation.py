"""The amortisation gap of a network, measured on a few fixed images: tiles in, the numbers of trust/amortisation out.

Bounded: at most 64 images of at most 64 px, or as many as have as many pixels, but 16; 20 steps each.
"""

import logging
from functools import partial
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.atlas.refinement import expected_losses, filled, refined
from zatlas.compute import operator_pool, shards_of
from zatlas.errors import UsageError
from zatlas.model.network import Network
from zatlas.model.told import told_in, told_shards
from zatlas.results.pictures import View
from zatlas.tiles.loader import Tiles
from zatlas.tiles.samplers import evenly
from zatlas.training.shards import keyed_noise
from zatlas.trust.amortisation import amortisation_gap, units_of
from zatlas.trust.evaluation import psnr

__all__ = ["measured_amortisation"]

log = logging.getLogger(__name__)

STEPS = 20
_MOST_IMAGES, _LEAST_IMAGES, _PX = 64, 16, 64
_DRAWS = 8  # each with its opposite, over which an ELBO is averaged


def measured_amortisation(view: View, tiles: Tiles, *, beta: float, part: str) -> dict[str, Any]:
    """What `STEPS` steps of refining gain on a few tiles, evenly spaced; {} where the network gives no gradients.

    Args:
        view: The network, in evaluation mode, and the greys as shown.
        tiles: Grid tiles, best those of the test part.
        beta: Weight of the rate in the objective.
        part: Of which part of the split the tiles are; noted in the result.

    Returns:
        See `amortisation_gap`; with `steps`, `part` and `by`, the name of the units.
    """
    wanted = min(max(_MOST_IMAGES * _PX**2 // tiles.size**2, _LEAST_IMAGES), _MOST_IMAGES)
    rows = evenly(len(tiles), wanted)
    batch, table = tiles.batch(0, rows), tiles.table().iloc[rows]
    compute = partial(_before_and_after, view.network, beta)
    try:
        with operator_pool() as pool:
            told = told_in(view.network, tiles, batch.rows)
            parts = list(pool.map(compute, shards_of(batch.x), shards_of(batch.mask), told_shards(told)))
    except UsageError as err:
        log.info("the amortisation gap is not measured: %s", err.what)
        return {}
    losses, pictures = (np.concatenate([part[i] for part in parts], axis=1) for i in (0, 1))
    x, mask = view.display(batch.x.numpy()), batch.mask.numpy()
    before, after = (psnr(x, view.display(picture), mask) for picture in pictures)
    units, by = units_of(table["group"].astype(str).tolist(), table["image"].astype(str).tolist())
    found = amortisation_gap((losses[0], losses[1]), (before, after), units)
    return {**found, "steps": STEPS, "by": by, "part": part}


def _before_and_after(
    network: Network,
    beta: float,
    x: Float[Tensor, "n c h w"],
    mask: Float[Tensor, "n 1 h w"],
    told: Float[Tensor, "n v"] | None,
) -> tuple[Float[np.ndarray, "2 n"], Float[np.ndarray, "2 n c h w"]]:
    """Losses and reconstructions of one shard, before refining and after."""
    n = len(x)
    with torch.inference_mode(False), torch.no_grad():
        full, full_mask = filled(x.clone()).to(network.device), filled(mask.clone()).to(network.device)
        network = network.told(None if told is None else filled(told).to(network.device))
        before = network.encode(full)
        after = refined(network, full, full_mask, before, steps=STEPS, beta=beta)
        noise = keyed_noise(_DRAWS, before.mean.shape[1], seed=0, stream="amortisation noise", index=0).to(full.device)
        losses = [expected_losses(network, full, full_mask, one, noise, beta=beta)[:n] for one in (before, after)]
        pictures = [network.likelihood.mean(network.inferred(one.mean, full)[0])[:n].float() for one in (before, after)]
    return torch.stack(losses).double().cpu().numpy(), torch.stack(pictures).cpu().numpy()
