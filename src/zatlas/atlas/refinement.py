"""Posteriors of single images, refined by gradient steps on their own ELBO where the encoder's are not the best.

An encoder gives every image a posterior in one go, for which the decoder may know a better one; the difference between
both ELBOs is the amortisation gap (Cremer et al. 2018). From the encoder's mean and log-variance a few steps of Adam
lower distortion + beta * rate of each image by itself, the network staying as it is (Kim et al. 2018; Marino et al.
2018 learn such steps).

Notable:
    - A step is measured in standard deviations of the encoder's posterior, which is what a gradient step needs to know
      of the curvature: where the posterior is narrow, small steps matter.
    - Noise is a function of the step alone, the same for every image and call, and images do not meet: so a refined
      posterior depends neither on the batch nor on the number of threads.
    - The noise of a step is a sign for each dimension, and its opposite. Signs have the first three moments of normal
      draws, and squares that do not vary: with normal draws log-variances ended 0.4 too high in a linear model.
    - An image whose ELBO, over other noise, is not better at the end keeps the posterior of the encoder.

Source: Kim et al. 2018, section 3, https://arxiv.org/abs/1802.02550; Cremer et al. 2018, section 3,
https://arxiv.org/abs/1801.03558; Marino et al. 2018, https://arxiv.org/abs/1807.09356
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.compute import SHARD_IMAGES, operator_pool, shards_of
from zatlas.errors import UsageError
from zatlas.model.network import Network
from zatlas.model.priors import Posterior
from zatlas.training.shards import keyed_noise

__all__ = ["check_steps", "expected_losses", "filled", "refined", "refined_in_shards"]

_MOST_STEPS = 10_000
_RATES = (1.2, 0.4)  # first step of Adam: of means [standard deviations of the encoder], of their logarithms
_LAST = 0.05  # share of it that the last step is
_DECAY, _DECAY_OF_SQUARES, _TINY = 0.9, 0.99, 1e-8
_CHECKED = 4  # draws, each with its opposite, over which the ends are compared


def check_steps(steps: int) -> None:
    """Refuse a number of steps that is none.

    Raises:
        UsageError: it is not a whole number from 0 to 10 000.
    """
    if not hasattr(steps, "__index__") or isinstance(steps, bool) or not 0 <= steps <= _MOST_STEPS:
        raise UsageError(
            f"refine is {steps}, expected a whole number of steps from 0 to {_MOST_STEPS}",
            hint="0 takes the encoder as it is; 40 is usually enough",
        )


def refined(
    network: Network,
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    posterior: Posterior,
    *,
    steps: int,
    beta: float,
) -> Posterior:
    """Posteriors after `steps` steps from those given, each image by itself; to be called with one shard.

    Args:
        network: In evaluation mode; its parameters stay as they are.
        x: Images on the network's grey scale.
        mask: 1 at real pixels, 0 at padding.
        posterior: Where to begin.
        steps: Steps of Adam; 0 changes nothing.
        beta: Weight of the rate, as in training.

    Raises:
        UsageError: the decoder gives no gradients.
    """
    if steps == 0:
        return posterior
    with torch.inference_mode(False), torch.enable_grad():
        # Copies, because tensors made for inference take no part in gradients.
        x, mask = x.clone(), mask.clone()
        start = Posterior(posterior.mean.detach().clone(), posterior.log_var.detach().clone())
        moves = torch.zeros(2, *start.mean.shape, device=x.device)
        rates = torch.tensor(_RATES, device=x.device)[:, None, None]
        first, second = torch.zeros_like(moves), torch.zeros_like(moves)
        for step in range(steps):
            gradient = _gradient(network, x, mask, start, moves, beta, step)
            first = _DECAY * first + (1 - _DECAY) * gradient
            second = _DECAY_OF_SQUARES * second + (1 - _DECAY_OF_SQUARES) * gradient.square()
            direction = first / (1 - _DECAY ** (step + 1))
            scale = (second / (1 - _DECAY_OF_SQUARES ** (step + 1))).sqrt() + _TINY
            moves = moves - rates * (1 - (1 - _LAST) * step / steps) * direction / scale
        end = _moved(start, moves)
    with torch.no_grad():
        noise = _noise("refinement check", 0, _CHECKED, start)
        before, after = (expected_losses(network, x, mask, one, noise, beta=beta) for one in (start, end))
        is_better = (after < before)[:, None]  # no for a loss that is not a number
        return Posterior(*(torch.where(is_better, new, old) for old, new in zip(start, end, strict=True)))


def expected_losses(
    network: Network,
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    posterior: Posterior,
    noise: Float[Tensor, "k d"],
    *,
    beta: float,
) -> Float[Tensor, " b"]:
    """distortion + beta * rate of each image [nats], the distortion averaged over the draws `noise` and -`noise`.

    Args:
        network: The network.
        x: Images on its grey scale.
        mask: 1 at real pixels, 0 at padding.
        posterior: Of each image.
        noise: Standard normal draws, the same for each image.
        beta: Weight of the rate; with 1 these are negative ELBOs.
    """
    mean, spread = posterior.mean, torch.exp(0.5 * posterior.log_var)
    draws = [mean + sign * one * spread for one in noise for sign in (1, -1)]
    found = [network.inferred(z, x) for z in draws]
    distortion = torch.stack([network.likelihood.nll(params.float(), x, mask) for params, _ in found]).mean(dim=0)
    local_rate = torch.stack([rates.sum(dim=1) for _, rates in found]).mean(dim=0)
    return distortion + beta * (network.prior.mean_rate(posterior, torch.cat([noise, -noise])) + local_rate)


def _gradient(
    network: Network, x: Tensor, mask: Tensor, start: Posterior, moves: Float[Tensor, "2 b d"], beta: float, step: int
) -> Float[Tensor, "2 b d"]:
    """Of the loss by the moves of mean and log-variance."""
    moves = moves.detach().requires_grad_()
    noise = _noise("refinement noise", step, 1, start).sign()
    losses = expected_losses(network, x, mask, _moved(start, moves), noise, beta=beta)
    try:
        (gradient,) = torch.autograd.grad(losses.sum(), moves)
    except RuntimeError as err:
        raise UsageError(
            f"latents cannot be refined, because the network gives no gradients: {str(err).splitlines()[0]}",
            hint="leave refine out, or let decode compute without torch.no_grad() and detach()",
        ) from err
    return gradient


def _moved(start: Posterior, moves: Float[Tensor, "2 b d"]) -> Posterior:
    """Means moved by standard deviations of the start, standard deviations by factors."""
    spread = torch.exp(0.5 * start.log_var)
    return Posterior(start.mean + spread * moves[0], start.log_var + 2 * moves[1])


def _noise(stream: str, index: int, n: int, like: Posterior) -> Float[Tensor, "n d"]:
    return keyed_noise(n, like.mean.shape[1], seed=0, stream=stream, index=index).to(like.mean.device)


def refined_in_shards(network: Network, x: Float[Tensor, "n c h w"], *, steps: int, beta: float) -> Posterior:
    """Posteriors of images without padding, refined; several shards at a time, each filled up to 16 images.

    Arguments as for `refined`.
    """
    with operator_pool() as pool:
        parts = list(pool.map(partial(_refined_shard, network, steps=steps, beta=beta), shards_of(x)))
    means, log_vars = zip(*parts, strict=True)
    return Posterior(torch.cat(means), torch.cat(log_vars))


def _refined_shard(network: Network, x: Float[Tensor, "n c h w"], *, steps: int, beta: float) -> Posterior:
    full = filled(x).to(network.device)
    with torch.no_grad():
        posterior = network.encode(full)
    found = refined(network, full, torch.ones_like(full[:, :1]), posterior, steps=steps, beta=beta)
    return Posterior(found.mean[: len(x)].detach().cpu(), found.log_var[: len(x)].detach().cpu())


def filled(rows: Float[Tensor, "n ..."]) -> Float[Tensor, "m ..."]:
    """A shard filled up with zeros: matrix products of fewer rows take other kernels, with other last bits."""
    return torch.cat([rows, rows.new_zeros(SHARD_IMAGES - len(rows), *rows.shape[1:])])
