"""Where a network with a linear path begins: at PCA of the tiles that it will learn from."""

import contextlib
from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.config import TrainConfig
from zatlas.model.network import Decoder, Encoder, Network
from zatlas.model.priors import VampPrior
from zatlas.model.textured import TexturedNetwork
from zatlas.tiles.greys import known_grey_limits
from zatlas.tiles.loader import Batch, Tiles
from zatlas.tiles.pixel_pca import PixelPca
from zatlas.training.linear import fit_settled_pca

__all__ = ["on_scale_of_network", "start_from_images", "start_from_pca", "start_from_tiles"]

_NOISE_IMAGES = 64
_STATISTICS_IMAGES = 256


def start_from_images(network: Network, train: Tiles) -> None:
    """Give a vamp prior its first images, and the statistics of textures their units; nothing to other networks."""
    if isinstance(network.prior, VampPrior):
        network.prior.start_from(_first(train, len(network.prior.images)).x)
    if isinstance(network, TexturedNetwork) and network.statistics is not None:
        network.statistics.measure(_first(train, _STATISTICS_IMAGES).x)


def _first(train: Tiles, n: int) -> Batch:
    """At most n images, the first of the first epoch."""
    with contextlib.closing(train.batches(0, n)) as batches:
        return next(batches)


def start_from_tiles(
    network: Network,
    train: Tiles,
    validation: Tiles,
    config: TrainConfig,
    *,
    beta: float,
    seed: int,
    pca: Callable[[], PixelPca] | None = None,
) -> None:
    """Let a network with a linear path begin at PCA of what it will learn from.

    Args:
        network: Of zatlas, with a linear path; changed in place.
        train: What it will learn from.
        validation: Fixed tiles that say when PCA has seen enough.
        config: How it will be trained.
        beta: Weight of the rate in the objective.
        seed: From which shifts, zooms and bends derive.
        pca: Gives a PCA of these tiles, on their grey scale, that is there already; by default one is fitted.
    """
    found = pca() if pca is not None else _fitted(train, validation, network.config.latent_dim, config, seed)
    first = _first(train, _NOISE_IMAGES)
    start_from_pca(network, found, first.x, first.mask, beta=beta)


def _fitted(train: Tiles, validation: Tiles, n_components: int, config: TrainConfig, seed: int) -> PixelPca:
    """As the one beside the model is: however short the training, a start that has seen less would stay below it."""
    limits = known_grey_limits(train.scaling, set(train.images.table["dtype"]))
    found = fit_settled_pca(train, validation, n_components, seed=seed, jitter=config.jitter, limits=limits)
    return found.pca if limits is None else on_scale_of_network(found.pca, limits)


def on_scale_of_network(pca: PixelPca, limits: tuple[float, float]) -> PixelPca:
    """A PCA of images as they are shown, for a network: on its grey scale.

    Both scales differ by a factor and an offset, which move mean and variances and leave the components. So one fit is
    the start of a network and what it is compared with. Only clipping parts the scales: of standardised images that
    are not of 8 bits the few pixels beyond the darkest and brightest of 512 tiles. A second fit, to those as they are,
    would follow greys that no measure sees, and begin a little below what it is compared with.

    Args:
        pca: Of images from 0 to 1.
        limits: What is shown as black and as white on the scale of the network.
    """
    low, high = limits
    return pca.rescaled(high - low, low)


@torch.no_grad()
def start_from_pca(
    network: Network, pca: PixelPca, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"], *, beta: float
) -> None:
    """Fill the linear path of a network, and silence what its convolutions add to it.

    The posterior's mean is the score on each component divided by its standard deviation; decoded, it gives what PCA
    gives back, exactly. The posterior's variance is the best for a linear decoder: 1 / (1 + variance of the component
    / (beta * variance of the noise)). Components that the images do not have stay at 0.

    Args:
        network: Of zatlas, with a linear path; changed in place.
        pca: Of images on the network's grey scale; at least as many components as there are latent dimensions, or all.
        x: Some training images, from which the likelihood takes its noise.
        mask: 1 at real pixels, 0 at padding.
        beta: Weight of the rate in the objective.

    Source: probabilistic PCA, Tipping & Bishop 1999, equations 6 to 8, https://doi.org/10.1111/1467-9868.00196;
    the weight beta as in Lucas et al. 2019, https://arxiv.org/abs/1911.02469
    """
    encoder, decoder = network.encoder, network.decoder
    if not (isinstance(encoder, Encoder) and isinstance(decoder, Decoder) and encoder.linear and decoder.linear):
        raise TypeError("the network has no linear path")
    n = min(len(pca.components), network.config.latent_dim)
    # Copies in one layout: products of the same numbers, kept by rows or by columns, differ in their last bits.
    components = torch.tensor(np.ascontiguousarray(pca.components[:n]))
    mean = torch.tensor(pca.mean.reshape(-1))
    variance = torch.from_numpy(pca.variance[:n]).float()
    spread = variance.sqrt()[:, None]
    encoder.linear.weight[:n] = components / spread
    encoder.linear.bias[:n] = -(components / spread) @ mean
    decoder.linear.weight[:n] = components * spread
    decoder.linear.bias.copy_(mean)
    for layer in (encoder.to_posterior, decoder.to_params):
        _silence(layer)
    x, mask = x.to(network.device), mask.to(network.device)
    params = network.decode(network.encode(x).mean)
    network.likelihood.observe(network.likelihood.residuals(params, x, mask), step=0)
    noise = beta * float(network.likelihood.implied_variance(params).mean())
    encoder.linear.log_var[:n] = -torch.log1p(variance / max(noise, 1e-12))


def _silence(layer: nn.Module) -> None:
    for parameter in layer.parameters():
        parameter.zero_()
