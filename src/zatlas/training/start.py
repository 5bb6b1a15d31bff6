"""Where a network with a linear path begins: at PCA of the tiles that it will learn from."""

import contextlib

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.config import TrainConfig
from zatlas.model.network import Decoder, Encoder, Network
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import PixelPca
from zatlas.training.linear import fit_settled_pca

__all__ = ["start_from_pca", "start_from_tiles"]

_NOISE_IMAGES = 64


def start_from_tiles(
    network: Network, train: Tiles, validation: Tiles, config: TrainConfig, *, beta: float, seed: int
) -> None:
    """Fit PCA to what a network with a linear path will learn from, and let it begin there.

    Args:
        network: Of zatlas, with a linear path; changed in place.
        train: What it will learn from.
        validation: Fixed tiles that say when PCA has seen enough.
        config: How it will be trained: PCA sees no more images than that.
        beta: Weight of the rate in the objective.
        seed: From which shifts, zooms and bends derive.
    """
    draws = max(2, config.epochs * train.epoch_length(0))  # a variance takes two
    found = fit_settled_pca(
        train, validation, network.config.latent_dim, seed=seed, jitter=config.jitter, most_draws=draws, limits=None
    )
    with contextlib.closing(train.batches(0, _NOISE_IMAGES)) as batches:
        first = next(batches)
    start_from_pca(network, found.pca, first.x, first.mask, beta=beta)


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
    components = torch.from_numpy(pca.components[:n])
    mean = torch.from_numpy(pca.mean.reshape(-1))
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
