"""The variational autoencoder as a torch module, from images (b c h w) to latents (b d) and back.

Notable:
    - The encoder halves the image in each stage by a strided convolution; the decoder mirrors it, by strided transposed
      convolutions ("transposed") or by a convolution at the low resolution followed by nearest upsampling ("upsample").
    - One linear layer gives the posterior's mean and log-variance. No activation acts on input, latent or output: the
      decoder returns the parameters of the likelihood (logits or means).
    - Any square size: images are padded inside by reflection to a multiple of 2**stages, and cropped on the way out.
    - No batch statistics, so that a batch may be computed in shards (see zatlas.training.fit).

Not here: losses (objective.py), precision and threads (zatlas.training).
"""

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.config import ModelConfig
from zatlas.errors import DataError, FileAccessError, UsageError

__all__ = [
    "Decoder",
    "Encoder",
    "Network",
    "NetworkConfig",
    "Posterior",
    "build",
    "compute_copy",
    "load_weights",
    "soft_bound",
]

LOG_VAR_MIN, LOG_VAR_MAX = -12.0, 8.0
_GROUPS = 8  # of GroupNorm, at most


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """The shape of one network: what ModelConfig asks for, for one latent size and one kind of image.

    Attributes:
        latent_dim: Number of latent dimensions d.
        channels: Channels c of the images.
        size: Side h = w of the square images [px].
        widths: Channels of the stages; each stage halves the image.
        blocks: Residual blocks after each stage.
        norm: "none" or "group".
        decoder: "transposed" or "upsample".
        likelihood: "bernoulli" (the decoder returns logits) or "gaussian" (means).
    """

    latent_dim: int
    channels: int
    size: int
    widths: tuple[int, ...]
    blocks: int
    norm: str
    decoder: str
    likelihood: str

    def __post_init__(self) -> None:
        if self.size < 2 << len(self.widths):
            fitting = max(1, int(math.log2(max(self.size, 4))) - 1)
            raise UsageError(
                f"images of {self.size} px are too small for {len(self.widths)} stages, each of which halves them: "
                f"at least {2 << len(self.widths)} px are needed",
                hint=f"use fewer stages: --widths {' '.join(map(str, self.widths[:fitting]))}",
            )

    @classmethod
    def from_model(cls, model: ModelConfig, latent_dim: int, *, channels: int, size: int) -> "NetworkConfig":
        """The network of one latent size for images of `channels` x `size` x `size`.

        Raises:
            UsageError: the images are too small for the number of stages.
        """
        return cls(
            latent_dim=latent_dim, channels=channels, size=size, widths=tuple(model.widths), blocks=model.blocks,
            norm=model.norm, decoder=model.decoder, likelihood=model.likelihood,
        )  # fmt: skip

    @property
    def padded_size(self) -> int:
        """Side after padding: the next multiple of 2**stages [px]."""
        step = 1 << len(self.widths)
        return -(-self.size // step) * step

    @property
    def coarse_size(self) -> int:
        """Side of the innermost feature map."""
        return self.padded_size >> len(self.widths)


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x)."""

    mean: Float[Tensor, "b d"]
    log_var: Float[Tensor, "b d"]


class Network(nn.Module):
    """Encoder, decoder and, for the gaussian likelihood, the shared noise variance."""

    log_noise_var: Float[Tensor, ""]

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.register_buffer("log_noise_var", torch.zeros(()))

    def forward(
        self, x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b c h w"], Posterior]:
        """Encode, draw z = mean + exp(log_var / 2) * noise, decode.

        Source: reparameterisation, Kingma & Welling 2014, section 2.4, https://arxiv.org/abs/1312.6114
        """
        posterior = self.encode(x)
        return self.decode(posterior.mean + torch.exp(0.5 * posterior.log_var) * noise), posterior

    def encode(self, x: Float[Tensor, "b c h w"]) -> Posterior:
        """Posterior of images on the network's grey scale; log_var lies in [-12, 8]."""
        pad = self.config.padded_size - self.config.size
        if pad:
            x = F.pad(x, (pad // 2, pad - pad // 2) * 2, mode="reflect")
        posterior: Posterior = self.encoder(x)
        return posterior

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """Parameters of the likelihood: logits (bernoulli) or means (gaussian)."""
        start, size = (self.config.padded_size - self.config.size) // 2, self.config.size
        params: Tensor = self.decoder(z)
        return params[:, :, start : start + size, start : start + size]

    def x_hat(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """Decoder mean on the network's grey scale."""
        params = self.decode(z)
        return torch.sigmoid(params) if self.config.likelihood == "bernoulli" else params

    def save_weights(self, path: Path) -> None:
        """Write the weights as safetensors; equal weights give equal bytes."""
        tensors = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        safetensors.torch.save_file(tensors, path)
        path.chmod(0o644)  # safetensors leaves a file that nobody else can read

    def init_weights(self, generator: torch.Generator) -> None:
        """Draw all weights from `generator`: He initialisation, biases 0, a quiet posterior and output layer."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.kaiming_uniform_(module.weight, nonlinearity="relu", generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.GroupNorm):
                module.reset_parameters()
        with torch.no_grad():
            self.encoder.to_posterior.weight.mul_(0.1)
            self.decoder.to_params.weight.mul_(0.1)
            self.log_noise_var.zero_()


class Encoder(nn.Module):
    """Strided convolutions, then one linear layer to mean and log-variance."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        stages: list[nn.Module] = []
        for before, after in zip((config.channels, *config.widths), config.widths, strict=False):
            stages += [nn.Conv2d(before, after, 3, stride=2, padding=1), *_after_convolution(config, after)]
        self.stages = nn.Sequential(*stages)
        self.to_posterior = nn.Linear(config.widths[-1] * config.coarse_size**2, 2 * config.latent_dim)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Posterior:
        features = self.stages(_channels_last(x.to(next(self.stages.parameters()).dtype))).flatten(1)
        with torch.autocast(features.device.type, enabled=False):  # latents in the precision of the weights
            mean, log_var = self.to_posterior(features.to(self.to_posterior.weight.dtype)).chunk(2, dim=1)
        return Posterior(mean, soft_bound(log_var, LOG_VAR_MIN, LOG_VAR_MAX))


class Decoder(nn.Module):
    """One linear layer, then the encoder's stages backwards."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.shape = (config.widths[-1], config.coarse_size, config.coarse_size)
        self.from_latent = nn.Linear(config.latent_dim, math.prod(self.shape))
        narrowing = list(zip(config.widths[:0:-1], config.widths[-2::-1], strict=True))
        stages: list[nn.Module] = [*_after_convolution(config, config.widths[-1])]
        for before, after in narrowing:
            stages += _enlarge(config, before, after)
        self.stages = nn.Sequential(*stages)
        self.to_params: nn.Conv2d | nn.ConvTranspose2d
        if config.decoder == "transposed":
            self.to_params = TransposedConvolution(config.widths[0], config.channels)
            self.arrange: nn.Module = nn.Identity()
        else:
            self.to_params = nn.Conv2d(config.widths[0], 4 * config.channels, 3, padding=1)
            self.arrange = nn.PixelShuffle(2)

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        coarse = self.from_latent(z.to(self.from_latent.weight.dtype)).unflatten(1, self.shape)
        features = coarse.contiguous(memory_format=torch.channels_last)
        params: Tensor = self.arrange(self.to_params(self.stages(features)))
        return params


class TransposedConvolution(nn.ConvTranspose2d):
    """A transposed convolution of kernel 3 that doubles height and width.

    The bias is added apart: asked for the gradients of weight and bias at once, oneDNN takes two to five times as long
    as for that of the weight (speed.md).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Float[Tensor, "b c h w"], output_size: list[int] | None = None) -> Float[Tensor, "b k y x"]:
        out = F.conv_transpose2d(x, self.weight, None, stride=2, padding=1, output_padding=1)
        return out if self.bias is None else out + self.bias[:, None, None]


class ResidualBlock(nn.Module):
    """x + convolution(activation(convolution(activation(x))))."""

    def __init__(self, config: NetworkConfig, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(width, width, 3, padding=1),
            *_norm(config, width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 3, padding=1),
            *_norm(config, width),
        )

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        return F.relu(x + self.body(x))


def _channels_last(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
    """The same images, channels innermost in memory.

    torch takes an image of one channel for either order and goes on in the other one, which makes the gradient of the
    first activation 30 times slower (speed.md). So its strides are said here.
    """
    if x.shape[1] == 1:
        return x.squeeze(1).unsqueeze(-1).permute(0, 3, 1, 2)
    return x.contiguous(memory_format=torch.channels_last)


def _after_convolution(config: NetworkConfig, width: int) -> list[nn.Module]:
    return [*_activated(config, width), *_blocks(config, width)]


def _activated(config: NetworkConfig, width: int) -> list[nn.Module]:
    return [*_norm(config, width), nn.ReLU(inplace=True)]


def _blocks(config: NetworkConfig, width: int) -> list[nn.Module]:
    return [ResidualBlock(config, width) for _ in range(config.blocks)]


def _norm(config: NetworkConfig, width: int) -> list[nn.Module]:
    return [nn.GroupNorm(math.gcd(_GROUPS, width), width)] if config.norm == "group" else []


def _enlarge(config: NetworkConfig, before: int, after: int) -> list[nn.Module]:
    """Layers that double height and width.

    Convolution first, then nearest upsampling: as fast as a transposed convolution of kernel 3, with a fifth of its
    checkerboard energy (defaults.md). The activation comes before the upsampling, where it has a quarter of the values
    to look at and the same effect.
    """
    if config.decoder == "transposed":
        return [TransposedConvolution(before, after), *_after_convolution(config, after)]
    convolution, upsample = nn.Conv2d(before, after, 3, padding=1), nn.Upsample(scale_factor=2, mode="nearest")
    return [convolution, *_activated(config, after), upsample, *_blocks(config, after)]


def soft_bound(value: Float[Tensor, "*shape"], low: float, high: float) -> Float[Tensor, "*shape"]:
    """Smooth bound: almost the identity between `low` and `high`, level outside, with a gradient everywhere.

    Source: Chua et al. 2018, appendix A.1, https://arxiv.org/abs/1805.12114

    Example:
        >>> soft_bound(torch.tensor([-100.0, 0.0, 100.0]), -12.0, 8.0).round(decimals=2)
        tensor([-12.,  -0.,   8.])
    """
    return low + F.softplus(high - F.softplus(high - value) - low)


def compute_copy(network: Network, dtype: torch.dtype) -> Network:
    """A copy that computes convolutions in another number format.

    The layer that gives the posterior stays as it is: latents, their rate and all losses are float32.
    """
    other = copy.deepcopy(network)
    other.encoder.stages.to(dtype)
    other.decoder.to(dtype)
    return other


def build(config: NetworkConfig, seed: int) -> Network:
    """A network with initial weights that depend on `seed` alone; the global random state is not used."""
    with torch.device("meta"):
        network = Network(config)
    network.to_empty(device="cpu")
    network.init_weights(torch.Generator().manual_seed(seed))
    for parameter in network.parameters():
        if parameter.dim() == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return network


def load_weights(network: Network, path: Path) -> None:
    """Fill a network with weights that `save_weights` wrote.

    Raises:
        FileAccessError: the file cannot be read.
        DataError: it is damaged, or belongs to a network of another shape.
    """
    try:
        tensors = safetensors.torch.load_file(path)
        network.load_state_dict(tensors)
    except OSError as err:
        raise FileAccessError(f"cannot read {path.name}: {err.strerror or err}", where=str(path.parent)) from err
    except safetensors.SafetensorError as err:
        raise DataError(f"{path.name} is damaged: {err}", where=str(path.parent), hint="train the model again") from err
    except RuntimeError as err:
        raise DataError(
            f"{path.name} belongs to a network of another shape: {str(err).splitlines()[-1].strip()}",
            where=str(path.parent),
            hint="open it with the config.toml that was written beside it",
        ) from err
