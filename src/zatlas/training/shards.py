"""Losses and gradients of a batch, computed in shards of a fixed number of images.

A batch is cut into shards whose size depends on the batch alone. Each shard is computed by one thread of a small pool,
with one thread per operator, and the gradients are added in the order of the shards. So the result has the same bits on
any number of cores, and a busy neighbour costs its share of a core and no more (measured in speed.md).

The noise of the reparameterisation and the jitter of the images are pure functions of their keys, drawn for the whole
batch before it is cut.
"""

from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.compute import pool_of, shard_images
from zatlas.model.likelihoods import LIKELIHOODS, Residuals
from zatlas.model.network import Network, NetworkConfig
from zatlas.randomness import torch_seed
from zatlas.training.graphs import Graphs
from zatlas.training.jitter import Moves, jittered
from zatlas.training.optimizer import Optimizer
from zatlas.training.sending import brought, sent
from zatlas.training.weights import Weights

__all__ = ["Evaluated", "Shards", "keyed_noise"]

_GROUPS = 4  # of parameters, whose gradients are added at a time


class Evaluated(NamedTuple):
    """What one batch gave, with the sums of `Likelihood.residuals`; `gradients`, a vector like `Weights.values`, is
    empty without a weight of the rate, and `norm` is their length.

    `rate` is that of all latents; `local_rates` are the shares of the maps of local latents in it.

    What is looked at in each step (all but residuals and gradients) lies in the processor's memory.
    """

    distortion: Float[Tensor, " b"]
    rate: Float[Tensor, " b"]
    local_rates: Float[Tensor, "b l"]
    means: Float[Tensor, "b d"]
    residuals: Residuals
    gradients: Float[Tensor, " p"]
    norm: Float[Tensor, ""]


def keyed_noise(n: int, d: int, *, seed: int, stream: str, index: int) -> Float[Tensor, "n d"]:
    """Standard normal noise as a pure function of (seed, stream, index); the global random state is not used."""
    return torch.randn((n, d), generator=torch.Generator().manual_seed(torch_seed(seed, stream, index)))


class Shards:
    """A pool of threads that evaluates batches on one network. Use as a context manager.

    Args:
        network: Its parameters become views of one vector (`weights`), on `device`.
        precision: Number format of convolutions, "float32" or "bfloat16"; losses and gradients are float32.
        threads: Worker threads, each computing one shard at a time with one thread per operator.
        device: Name of the torch device. Another one than the processor computes each batch in one piece, in the thread
            that asks for it.
        graph: Replay steps there as CUDA graphs (graphs.py); those of a network of zatlas alone.

    Attributes:
        device: The torch device.
        graphs: Those of the evaluation; None where each step is computed.
        weights: The parameters; whoever changes them calls `weights.renew()`.
    """

    def __init__(
        self,
        network: Network,
        *,
        precision: str = "float32",
        threads: int = 1,
        device: str = "cpu",
        graph: bool = False,
    ) -> None:
        self.device = torch.device(device)
        network.to(self.device)
        self.weights = Weights(network, getattr(torch, precision))
        self._computing = [parameter for _, parameter in self.weights.trained()]
        self._gradients = torch.zeros_like(self.weights.values, requires_grad=False)
        self._gradient_views = list(self.weights.views(self._gradients).values())
        self._groups = _balanced([view.numel() for view in self._gradient_views])
        self._pool = pool_of(threads)
        has_graphs = graph and self.device.type != "cpu" and _is_replayable(network)
        self.graphs = Graphs(self._memory) if has_graphs else None

    def _memory(self) -> list[Tensor]:
        """What a step reads and others change."""
        network = self.weights.computing
        return [*network.parameters(), *network.buffers(), self._gradients]

    def optimizer(self, *, kind: str, weight_decay: float) -> Optimizer:
        """A fresh optimizer of `weights`, which computes on this pool; arguments as in `Optimizer`."""
        each = self._each if self.device.type == "cpu" else map
        graphs = None if self.graphs is None else Graphs()
        return Optimizer(self.weights, kind=kind, weight_decay=weight_decay, each=each, graphs=graphs)

    def _each(self, function: Callable[[Any], None], things: Iterable[Any]) -> Iterable[None]:
        return self._pool.map(function, things)

    def resize(self, threads: int) -> None:
        """Use another number of threads from the next batch on."""
        self._pool.shutdown()
        self._pool = pool_of(threads)

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
        jitter: Moves | None = None,
        told: Float[Tensor, "b v"] | None = None,
    ) -> Evaluated:
        """Distortion and rate of a batch, of which each image may first be moved and the decoder may be told something.

        With `rate_weight` also the gradients of mean(distortion + rate_weight * rate), in a vector that the next call
        writes over.
        """
        if self.device.type == "cpu":
            return self._in_shards(x, mask, noise, rate_weight, jitter, told)
        x, mask, noise = (sent(tensor, self.device) for tensor in (x, mask, noise))
        moves = () if jitter is None else jitter.to(self.device)
        told = None if told is None else sent(told, self.device)
        if self.graphs is None or rate_weight is None:
            found = self._in_one_piece(x, mask, noise, rate_weight, told, *moves)
        else:
            weight = sent(torch.tensor(rate_weight), self.device)
            found = self.graphs.run(self._in_one_piece, x, mask, noise, weight, told, *moves)
        distortion, rate, local_rates, means, norm = brought(
            [found.distortion, found.rate, found.local_rates, found.means, found.norm]
        )
        return found._replace(distortion=distortion, rate=rate, local_rates=local_rates, means=means, norm=norm)

    def _in_shards(
        self, x: Tensor, mask: Tensor, noise: Tensor, rate_weight: float | None, jitter: Moves | None,
        told: Tensor | None,
    ) -> Evaluated:  # fmt: skip
        n = len(x)
        size = shard_images(n, x.shape[-1])
        cuts = [slice(start, start + size) for start in range(0, n, size)]
        moves = [None if jitter is None else jitter.of(cut) for cut in cuts]
        jobs = [
            self._pool.submit(
                self._one, x[cut], mask[cut], noise[cut], n, rate_weight, move, None if told is None else told[cut]
            )
            for cut, move in zip(cuts, moves, strict=True)
        ]
        return self._joined([self._collected(job.result(), is_first=place == 0) for place, job in enumerate(jobs)])

    def _in_one_piece(
        self, x: Tensor, mask: Tensor, noise: Tensor, rate_weight: float | Tensor | None, told: Tensor | None,
        *moves: Tensor,
    ) -> Evaluated:  # fmt: skip
        jitter = Moves(*moves) if moves else None
        part = self._one(x, mask, noise, len(x), rate_weight, jitter, told)
        return self._joined([self._collected(part, is_first=True)])

    def _joined(self, parts: list["_Part"]) -> Evaluated:
        gradients = self._gradients if parts[0].gradients else self._gradients[:0]
        distortion, rate, local_rates, means = (
            torch.cat([getattr(part, name) for part in parts])
            for name in ("distortion", "rate", "local_rates", "means")
        )
        residuals = zip(*(part.residuals for part in parts), strict=True)
        sums = tuple(torch.stack(each).sum(dim=0) for each in residuals)
        return Evaluated(distortion, rate, local_rates, means, sums, gradients, gradients.norm())

    def _collected(self, part: "_Part", *, is_first: bool) -> "_Part":
        """The same part, after its gradients were added to those of the parts before it, several at a time."""

        def add(places: list[int]) -> None:
            for place in places:
                total, gradient = self._gradient_views[place], part.gradients[place]
                total.copy_(gradient) if is_first else total.add_(gradient)

        if part.gradients:
            each = self._each if self.device.type == "cpu" else map
            for _ in each(add, self._groups):
                pass
        return part

    def _one(
        self, x: Tensor, mask: Tensor, noise: Tensor, n: int, rate_weight: float | Tensor | None,
        jitter: Moves | None, told: Tensor | None,
    ) -> "_Part":  # fmt: skip
        network = self.weights.computing.told(told)
        x = x if jitter is None else jittered(x, jitter)
        with torch.set_grad_enabled(rate_weight is not None):
            passed = network.passed(x, noise)
            posterior, local_rates = passed.posterior, passed.local_rates
            params = passed.params.float()
            distortions = network.likelihood.nll(params, x, mask)
            rates = network.prior.rate(posterior, passed.z) + local_rates.sum(dim=1)
            gradients: tuple[Tensor, ...] = ()
            if rate_weight is not None:
                losses = distortions + rate_weight * rates
                guided = network.guided(passed, x, mask, noise)
                loss = (losses if guided is None else losses + guided).sum() / n
                parted = None if told is None else network.parted(posterior.mean, told)
                loss = loss if parted is None else loss + parted * (len(x) / n)
                gradients = torch.autograd.grad(loss, self._computing, materialize_grads=True)  # of unused ones: zeros
        residuals = network.likelihood.residuals(params.detach(), x, mask)
        return _Part(
            distortions.detach(), rates.detach(), local_rates.detach(), posterior.mean.detach(), residuals, gradients
        )


def _balanced(sizes: Sequence[int]) -> list[list[int]]:
    """Places of `sizes` in groups whose sums are as alike as may be, for threads to take: a job for each place would
    cost more than it does."""
    groups: list[list[int]] = [[] for _ in range(_GROUPS)]
    sums = [0] * _GROUPS
    for place in sorted(range(len(sizes)), key=lambda place: -sizes[place]):
        smallest = sums.index(min(sums))
        groups[smallest].append(place)
        sums[smallest] += sizes[place]
    return [group for group in groups if group]


def _is_replayable(network: Network) -> bool:
    """Whether all that changes in it from step to step is known to lie in parameters and buffers."""
    is_of_zatlas = isinstance(network.config, NetworkConfig) and type(network.likelihood) in LIKELIHOODS.values()
    return is_of_zatlas and not (network.late_from or network.consistency)


class _Part(NamedTuple):
    """What one shard gave."""

    distortion: Tensor
    rate: Tensor
    local_rates: Tensor
    means: Tensor
    residuals: Residuals
    gradients: tuple[Tensor, ...]
