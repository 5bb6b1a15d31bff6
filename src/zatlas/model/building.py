"""The network of zatlas with its initial weights."""

from collections.abc import Sequence

import torch
from torch import nn

from zatlas.model.likelihoods import Likelihood, likelihood
from zatlas.model.matching import Statistics
from zatlas.model.network import Decoder, Encoder, Network, NetworkConfig
from zatlas.model.priors import Prior, new_prior
from zatlas.model.texture import Guide
from zatlas.model.textured import TexturedNetwork, local_latents
from zatlas.model.told import ToldNetwork

__all__ = ["build"]


def build(config: NetworkConfig, seed: int, chosen: Likelihood | None = None) -> Network:
    """A network with initial weights that depend on `seed` alone; the global random state is not used.

    Args:
        config: Its layers and shape.
        seed: The one seed.
        chosen: The likelihood itself, which becomes a part of the network; by default the one that `config` names.

    Raises:
        UsageError: zatlas has no likelihood or no prior of this name.
    """
    own = chosen or likelihood(config.likelihood)
    with torch.device("meta"):
        encoder, decoder = Encoder(config), Decoder(config, own.n_params)
    encoder, decoder, generator = encoder.to_empty(device="cpu"), decoder.to_empty(device="cpu"), torch.Generator()
    _draw_weights(encoder, decoder, generator.manual_seed(seed))
    d, channels, size = config.latent_dim, config.channels, config.size
    prior = new_prior(config.prior, encoder, d=d, channels=channels, size=size, generator=generator)
    if config.texture != "off":
        network: Network = _textured(encoder, decoder, own, prior, config, generator)
    elif config.covariate_values:
        network = ToldNetwork(encoder, decoder, own, prior, config)
    else:
        network = Network(encoder, decoder, own, prior, config)
    for part in network.children():
        if part is not own and part is not prior:
            _channels_last(part)
    return network


def _textured(
    encoder: Encoder, decoder: Decoder, own: Likelihood, prior: Prior, config: NetworkConfig, generator: torch.Generator
) -> TexturedNetwork:
    with torch.device("meta"):
        local = local_latents(decoder, config)
        guide = Guide(config.latent_dim, config.channels, config.coarse_size << 2)
    local, guide = local.to_empty(device="cpu"), guide.to_empty(device="cpu")
    _draw_layers((local, guide), generator)
    local.start(generator)
    guide.start()
    statistics = Statistics(config.size) if config.texture == "matched" else None
    return TexturedNetwork(encoder, decoder, own, prior, config, local, guide, statistics)


def _channels_last(part: nn.Module) -> None:
    for parameter in part.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def _draw_weights(encoder: Encoder, decoder: Decoder, generator: torch.Generator) -> None:
    """Draw all weights from `generator`: He initialisation, biases 0, a quiet posterior and output layer."""
    _draw_layers((encoder, decoder), generator)
    with torch.no_grad():
        encoder.to_posterior.weight.mul_(0.1)
        decoder.to_params.weight.mul_(0.1)


def _draw_layers(parts: Sequence[nn.Module], generator: torch.Generator) -> None:
    """He initialisation, biases and buffers 0."""
    for module in (module for part in parts for module in part.modules()):
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.GroupNorm):
            module.reset_parameters()
    for buffer in (buffer for part in parts for buffer in part.buffers()):
        buffer.zero_()
