"""Losses and gradients of a batch, computed in shards of a fixed number of images.

A batch is always cut into shards of 8 images. Each shard is computed by one thread of a small pool, with one thread
per operator, and the gradients are added in the order of the shards. So the result has the same bits on any number of
cores, and a busy neighbour costs its share of a core and no more (measured in defaults.md).

The noise of the reparameterisation and the jitter of the images are pure functions of their keys, drawn for the whole
batch before it is cut.
"""

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from zatlas.model.network import Network
from zatlas.model.objective import distortion, rate, squared_error
from zatlas.training.devices import Devices

__all__ = ["SHARD_IMAGES", "Evaluated", "Shards", "jittered", "keyed_jitter", "keyed_noise"]

SHARD_IMAGES = 8


class Evaluated(NamedTuple):
    """What one batch gave; `gradients` in the order of `network.parameters()`, empty without a weight of the rate."""

    distortion: Float[Tensor, " b"]
    rate: Float[Tensor, " b"]
    means: Float[Tensor, "b d"]
    squared: Float[Tensor, ""]
    n_values: Float[Tensor, ""]
    gradients: list[Tensor]


def keyed_noise(n: int, d: int, *, seed: int, stream: int, index: int) -> Float[Tensor, "n d"]:
    """Standard normal noise as a pure function of (seed, stream, index); the global random state is not used."""
    return torch.randn((n, d), generator=_generator(seed, stream, index))


def keyed_jitter(n: int, *, amount: float, seed: int, stream: int, index: int) -> Float[Tensor, "n 2 3"]:
    """Small shifts and zooms, as a pure function of (seed, stream, index).

    Args:
        n: Number of images.
        amount: Largest shift as a share of the side, and largest change of each side's scale; height and width are
            drawn apart.
        seed: The one seed.
        stream: Number of the purpose.
        index: Number of the step.

    Returns:
        One affine matrix per image, as `jittered` takes them.
    """
    draws = amount * (2 * torch.rand((4, n), generator=_generator(seed, stream, index)) - 1)
    matrices = torch.zeros(n, 2, 3)
    matrices[:, 0, 0], matrices[:, 1, 1] = torch.exp(draws[0]), torch.exp(draws[1])
    matrices[:, 0, 2], matrices[:, 1, 2] = 2 * draws[2], 2 * draws[3]  # the side is 2 long in torch's coordinates
    return matrices


def jittered(x: Float[Tensor, "b c h w"], matrices: Float[Tensor, "b 2 3"]) -> Float[Tensor, "b c h w"]:
    """Images under affine maps, by bilinear interpolation; pixels beyond the border repeat it."""
    grid = F.affine_grid(matrices, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def _generator(seed: int, stream: int, index: int) -> torch.Generator:
    key = np.random.SeedSequence([seed, stream, index]).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(key >> np.uint64(1)))


class Shards:
    """A pool of threads that evaluates batches on one network. Use as a context manager."""

    def __init__(self, network: Network, devices: Devices) -> None:
        self._network = network
        self._parameters = list(network.parameters())
        self._is_bfloat16 = devices.precision == "bfloat16"
        self._pool = ThreadPoolExecutor(devices.threads, initializer=torch.set_num_threads, initargs=(1,))

    def __enter__(self) -> "Shards":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown()

    def evaluate(
        self,
        x: Float[Tensor, "b c h w"],
        mask: Float[Tensor, "b 1 h w"],
        noise: Float[Tensor, "b d"],
        *,
        rate_weight: float | None = None,
        jitter: Float[Tensor, "b 2 3"] | None = None,
    ) -> Evaluated:
        """Distortion and rate of a batch, of which each image may first be moved by an affine map.

        With `rate_weight` also the gradients of mean(distortion + rate_weight * rate).
        """
        n = len(x)
        cuts = [slice(start, start + SHARD_IMAGES) for start in range(0, n, SHARD_IMAGES)]
        moves = [None if jitter is None else jitter[cut] for cut in cuts]
        jobs = [
            self._pool.submit(self._one, x[cut], mask[cut], noise[cut], n, rate_weight, move)
            for cut, move in zip(cuts, moves, strict=True)
        ]
        parts = [job.result() for job in jobs]
        gradients = parts[0].gradients
        for part in parts[1:]:
            for total, gradient in zip(gradients, part.gradients, strict=True):
                total.add_(gradient)
        return Evaluated(
            torch.cat([part.distortion for part in parts]),
            torch.cat([part.rate for part in parts]),
            torch.cat([part.means for part in parts]),
            torch.stack([part.squared for part in parts]).sum(),
            torch.stack([part.n_values for part in parts]).sum(),
            gradients,
        )

    def _one(
        self, x: Tensor, mask: Tensor, noise: Tensor, n: int, rate_weight: float | None, jitter: Tensor | None
    ) -> Evaluated:
        network = self._network
        x = x if jitter is None else jittered(x, jitter)
        with torch.set_grad_enabled(rate_weight is not None):
            with torch.autocast("cpu", torch.bfloat16, enabled=self._is_bfloat16, cache_enabled=False):
                params, posterior = network(x, noise)
            params = params.float()
            distortions = distortion(
                params, x, mask, likelihood=network.config.likelihood, log_noise_var=network.log_noise_var
            )
            rates = rate(posterior.mean, posterior.log_var)
            gradients: list[Tensor] = []
            if rate_weight is not None:
                loss = (distortions + rate_weight * rates).sum() / n
                gradients = list(torch.autograd.grad(loss, self._parameters))
        squared, n_values = squared_error(params.detach(), x, mask)
        return Evaluated(distortions.detach(), rates.detach(), posterior.mean.detach(), squared, n_values, gradients)
