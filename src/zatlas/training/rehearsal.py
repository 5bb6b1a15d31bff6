"""One step in float32 and in bfloat16: is bfloat16 faster on this machine, and do its gradients agree?

Processors that list bfloat16 among their instructions do not always gain by it: some versions of torch run its
convolutions many times slower than those of float32 (pytorch issue 183815). So the format is tried before it is used.
"""

import functools
import time
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F

from zatlas.compute import one_thread_per_operator
from zatlas.config import LayersConfig
from zatlas.model.building import build
from zatlas.model.likelihoods import LIKELIHOODS
from zatlas.model.network import NetworkConfig
from zatlas.training.shards import Shards, keyed_noise

__all__ = ["Rehearsal", "rehearse"]

_IMAGES, _REPEATS, _LARGEST_PX, _LATENT_DIM = 8, 5, 128, 16


@dataclass(frozen=True)
class Rehearsal:
    """What a step of 8 images showed.

    Attributes:
        speedup: Processor time of float32 divided by that of bfloat16.
        cosine: Cosine of the angle between both gradients; 1 when they point the same way.
    """

    speedup: float
    cosine: float


def rehearse(config: NetworkConfig) -> Rehearsal:
    """Take both formats through a few steps of a network like this one, of images of at most 128 px; about 0.5 s.

    The least processor time of five steps is taken, not the time on the wall, so that busy neighbours decide nothing.

    Done once for all latent sizes, of which the convolutions know nothing, and with a likelihood of zatlas.
    """
    largest = max(_LARGEST_PX, 2 << len(config.widths))
    known = config.likelihood if config.likelihood in LIKELIHOODS else LayersConfig.likelihood
    return _rehearsed(replace(config, latent_dim=_LATENT_DIM, size=min(config.size, largest), likelihood=known))


@functools.lru_cache(maxsize=8)
def _rehearsed(config: NetworkConfig) -> Rehearsal:
    x = torch.rand((_IMAGES, config.channels, config.size, config.size), generator=torch.Generator().manual_seed(0))
    mask, noise = (
        torch.ones_like(x[:, :1]),
        keyed_noise(_IMAGES, config.latent_dim, seed=0, stream="training noise", index=0),
    )
    times, gradients = {}, []
    for precision in ("float32", "bfloat16"):
        with one_thread_per_operator(), Shards(build(config, seed=0), precision=precision) as shards:
            taken = []
            for _ in range(1 + _REPEATS):
                begin = time.process_time()
                found = shards.evaluate(x, mask, noise, rate_weight=1.0)
                taken.append(time.process_time() - begin)
            times[precision] = min(taken[1:])
            gradients.append(found.gradients)
    cosine = float(F.cosine_similarity(gradients[0], gradients[1], dim=0))
    return Rehearsal(speedup=times["float32"] / times["bfloat16"], cosine=cosine)
