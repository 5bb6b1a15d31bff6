"""The variational autoencoder as a torch module, from images (b c h w) to latents (b d) and back.

Notable:
    - The encoder halves the image in each stage by a strided convolution; the decoder mirrors it, by strided transposed
      convolutions ("transposed") or by a convolution at the low resolution followed by nearest upsampling ("upsample").
    - One linear layer gives the posterior's mean and log-variance. No activation acts on input, latent or output: the
      decoder returns the parameters of the likelihood (logits or means).
    - `Network` puts an encoder, a decoder, a likelihood and a prior together; building.py makes the one of zatlas, and
      own.py takes a torch module made elsewhere.
    - Any square size: images are padded inside by reflection to a multiple of 2**stages, and cropped on the way out.
    - No batch statistics, so that a batch may be computed in shards (see zatlas.training.fit).

Not here: likelihoods, priors, the objective, precision and threads (zatlas.training).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import safetensors
import safetensors.torch
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.config import LayersConfig, to_dict
from zatlas.errors import DataError, FileAccessError, UsageError
from zatlas.model.automatic import automatic_widths
from zatlas.model.consistency import moved_share, shifted
from zatlas.model.layers import Convolution, EnlargingConvolution, PixelConvolution, TransposedConvolution
from zatlas.model.likelihoods import Likelihood, soft_bound
from zatlas.model.linear_path import LinearDecoder, LinearEncoder
from zatlas.model.objective import is_whole
from zatlas.model.priors import Posterior, Prior

__all__ = [
    "Decoder",
    "Encoder",
    "Network",
    "NetworkConfig",
    "Passed",
    "Posterior",
    "Shape",
    "enlargement",
    "load_weights",
    "soft_bound",
]

LOG_VAR_MIN, LOG_VAR_MAX = -12.0, 8.0
_GROUPS = 8  # of GroupNorm, at most


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What goes into a network and what comes out, whatever lies between.

    Attributes:
        latent_dim: Number of latent dimensions d.
        channels: Channels c of the images.
        size: Side h = w of the square images [px].
    """

    latent_dim: int
    channels: int
    size: int


@dataclass(frozen=True, kw_only=True)
class NetworkConfig(LayersConfig, Shape):
    """The network of zatlas: the layers that a ModelConfig asks for, for one latent size and one kind of image.

    Where no widths are asked for, they are those of `automatic_widths`; where the linear path is left open, there is
    none.

    Attributes:
        covariate_values: Values of the covariate among the training images; without them the decoder is told nothing.
    """

    covariate_values: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.widths:
            object.__setattr__(self, "widths", automatic_widths(self.size))
        if self.linear_path == "auto":
            object.__setattr__(self, "linear_path", "off")
        if self.texture != "off" and len(self.widths) <= 2:
            raise UsageError(
                f"images of {self.size} px have {len(self.widths)} stages, too few for local latents",
                hint="use larger images, or leave --texture out",
            )
        if self.size < 2 << len(self.widths):
            fitting = max(1, int(math.log2(max(self.size, 4))) - 1)
            raise UsageError(
                f"images of {self.size} px are too small for {len(self.widths)} stages, each of which halves them: "
                f"at least {2 << len(self.widths)} px are needed",
                hint=f"use fewer stages: --widths {' '.join(map(str, self.widths[:fitting]))}",
            )

    @classmethod
    def from_model(
        cls, model: LayersConfig, latent_dim: int, *, channels: int, size: int, covariate_values: tuple[str, ...] = ()
    ) -> "NetworkConfig":
        """The network of one latent size for images of `channels` x `size` x `size`.

        Raises:
            UsageError: the images are too small for the number of stages.
        """
        layers = {field.name: getattr(model, field.name) for field in fields(LayersConfig)}
        return cls(latent_dim=latent_dim, channels=channels, size=size, covariate_values=covariate_values, **layers)

    @property
    def padded_size(self) -> int:
        """Side after padding: the next multiple of 2**stages [px]."""
        step = 1 << len(self.widths)
        return -(-self.size // step) * step

    @property
    def coarse_size(self) -> int:
        """Side of the innermost feature map."""
        return self.padded_size >> len(self.widths)


class Passed(NamedTuple):
    """What images gave on their way through a network: parameters of the likelihood, the posterior of z, z as drawn,
    and the KL divergence of each map of local latents from its prior [nats] (no columns without local latents)."""

    params: Float[Tensor, "b p h w"]
    posterior: Posterior
    z: Float[Tensor, "b d"]
    local_rates: Float[Tensor, "b l"]


class Network(nn.Module):
    """An encoder, a decoder, the likelihood of what it returns, and the prior over latents.

    Args:
        encoder: Called with images (b, c, h, w) on the network's grey scale; gives a `Posterior`.
        decoder: Called with latents (b, d); gives the parameters of the likelihood, (b, n_params * c, h, w).
        likelihood: What these parameters mean.
        prior: Against which the rate of a posterior counts.
        config: Latent size, channels and side of the images.
    """

    def __init__(
        self, encoder: nn.Module, decoder: nn.Module, likelihood: Likelihood, prior: Prior, config: Shape
    ) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = encoder, decoder
        self.likelihood, self.prior = likelihood, prior
        self._register_state_dict_hook(_with_stored_names)  # type: ignore[no-untyped-call, unused-ignore]

    def forward(
        self, x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b d"]
    ) -> tuple[Float[Tensor, "b p h w"], Posterior]:
        """Encode, draw z = mean + exp(log_var / 2) * noise, decode."""
        posterior = self.encode(x)
        return self.decode(posterior.draw(noise)), posterior

    @property
    def n_noise(self) -> int:
        """Standard normal numbers that an image needs in training: one for each latent, local ones too, those of what
        else is drawn for it, and last two for its shift where z is kept still."""
        return self.config.latent_dim + self._n_of_shift

    @property
    def consistency(self) -> float:
        """How strongly z is kept still where an image is shifted [nats]."""
        return float(getattr(self.config, "consistency", 0.0))

    @property
    def _n_of_shift(self) -> int:
        return 2 if self.consistency else 0

    @property
    def local_sides(self) -> tuple[int, ...]:
        """Sides of the maps of local latents, coarse first; none in most networks."""
        return ()

    @property
    def n_local(self) -> int:
        """Local latents of an image, on all maps."""
        return 0

    @property
    def kept_noise(self) -> Float[Tensor, " n"]:
        """The noise of local latents with which `decode` draws; nothing without local latents."""
        return torch.zeros(self.n_local, device=self.device)

    def decode_with(self, z: Float[Tensor, "b d"], noise: Float[Tensor, "b n"]) -> Float[Tensor, "b p h w"]:
        """`decode`, with local latents drawn from their priors by this noise instead of the one that is kept.

        Args:
            z: Latents.
            noise: Standard normal, `n_local` numbers for each image.
        """
        return self.decode(z)

    def passed(self, x: Float[Tensor, "b c h w"], noise: Float[Tensor, "b n"]) -> Passed:
        """Encode, draw all latents, decode.

        Args:
            x: Images on the network's grey scale.
            noise: Standard normal, `n_noise` numbers for each image.
        """
        own = noise[:, : self.config.latent_dim]
        params, posterior = self(x, own)
        return Passed(params, posterior, posterior.draw(own), noise.new_zeros((len(x), 0)))

    def guided(
        self, passed: Passed, x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"], noise: Float[Tensor, "b n"]
    ) -> Float[Tensor, " b"] | None:
        """What training adds to the loss of each image [nats], beside distortion and rate; None for nothing.

        Args:
            passed: What `passed` gave for them.
            x: Images on the network's grey scale.
            mask: 1 at real pixels, 0 at padding.
            noise: The same as for `passed`.
        """
        if not self.consistency:
            return None
        other = self.encode(shifted(x, noise[0, -2:])).mean
        return (self.consistency * moved_share(passed.posterior.mean, other, is_whole(mask))).expand(len(x))

    @property
    def late_from(self) -> float:
        """Share of the training after which the whole loss counts: 0, but for networks that learn something last."""
        return 0.0

    def train_at(self, share_done: float) -> None:
        """Told before each step how much of the training is done, from 0 to 1."""

    @property
    def covariate_values(self) -> tuple[str, ...]:
        """Values of the covariate that the decoder can be told; none where it is told nothing."""
        return ()

    @property
    def covariate_column(self) -> str:
        """Column of the images' table that the decoder is told; "" where it is told nothing."""
        return ""

    def told_of(self, names: Sequence[str]) -> Float[Tensor, "n v"] | None:
        """What the decoder is told of images with these values of the covariate; None where it is told nothing."""
        return None

    def told(self, told: Float[Tensor, "n v"] | None) -> "Network":
        """The same network, sharing all parts, whose decoder is told this.

        Args:
            told: Of `told_of`, a row for each image or one for all.
        """
        return self

    def parted(self, z: Float[Tensor, "b d"], told: Float[Tensor, "b v"]) -> Float[Tensor, ""] | None:
        """What training adds to the loss of a batch [nats for each image] for what z says about the covariate."""
        return None

    def inferred(
        self, z: Float[Tensor, "b d"], x: Float[Tensor, "b c h w"]
    ) -> tuple[Float[Tensor, "b p h w"], Float[Tensor, "b l"]]:
        """Parameters of the likelihood for latents z of images x, with the posterior means of local latents, and the
        rate of each map of these [nats]. Without local latents the images are not looked at."""
        return self.decode(z), z.new_zeros((len(z), 0))

    def reconstruction(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b p h w"]:
        """Parameters of the likelihood for images given back by the posterior means of all their latents."""
        return self.inferred(self.encode(x).mean, x)[0]

    def encode(self, x: Float[Tensor, "b c h w"]) -> Posterior:
        """Posterior of images on the network's grey scale; log_var of the network of zatlas lies in [-12, 8]."""
        posterior: Posterior = self.encoder(x)
        return posterior

    def decode(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b p h w"]:
        """Parameters of the likelihood, such as logits (bernoulli) or means (gaussian)."""
        return self._with_path(self.decoder(z), z)

    def _with_path(self, params: Tensor, z: Tensor) -> Tensor:
        path = self.decoder.linear if isinstance(self.decoder, Decoder) else None
        return params if path is None else params + self.likelihood.params_of(path(z))

    def x_hat(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b c h w"]:
        """Decoder mean on the network's grey scale."""
        return self.likelihood.mean(self.decode(z))

    def reconstructed(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b c h w"]:
        """Decoder mean of `reconstruction`, on the network's grey scale."""
        return self.likelihood.mean(self.reconstruction(x))

    @property
    def device(self) -> torch.device:
        """Where the parameters lie."""
        return next((parameter.device for parameter in self.parameters()), torch.device("cpu"))

    @property
    def log_noise_var(self) -> Tensor:
        """Log of the shared noise variance, which the likelihoods of zatlas hold."""
        shared: Tensor = self.likelihood.get_buffer("log_noise_var")
        return shared

    def record(self) -> dict[str, Any]:
        """What config.toml says about the network: enough to build it again, or to know that it is not of zatlas."""
        return to_dict(self.config)

    def inner_matrices(self) -> list[str]:
        """Names of the weights between two feature maps of the network of zatlas, channels last in memory.

        Those of the first and last layer, linear ones, and all of a network made elsewhere are none.
        """
        if not isinstance(self.encoder, Encoder):
            return []
        return [
            f"{name}.weight"
            for name, module in self.named_modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
            and name not in ("encoder.stages.0", "decoder.to_params")
        ]

    def compute_copy(self, dtype: torch.dtype) -> "Network":
        """A copy that computes convolutions in another number format, with the same likelihood and prior.

        The linear path and the layer that gives the posterior stay as they are: latents, their rate and all losses are
        float32.

        Raises:
            UsageError: it can compute in float32 alone.
        """
        if not isinstance(self.encoder, Encoder):
            raise UsageError(
                f"an encoder of class {type(self.encoder).__name__} computes in float32 alone",
                hint="leave the precision out",
            )
        other = copy.deepcopy(self)
        other.likelihood, other.prior = self.likelihood, self.prior.beside(other.encoder)
        for mine, copied in ((self.encoder, other.encoder), (self.decoder, other.decoder)):
            for name, part in mine.named_children():
                if name == "linear":
                    copied.add_module(name, part)  # shared, because weights are loaded into it after the copy is made
                elif name != "to_posterior":
                    copied.get_submodule(name).to(dtype)
        return other

    def save_weights(self, path: Path) -> None:
        """Write the weights as safetensors; equal weights give equal bytes."""
        tensors = {
            name: value.detach().cpu().clone(memory_format=torch.contiguous_format)  # tied weights share their memory
            for name, value in self.state_dict().items()
        }
        safetensors.torch.save_file(tensors, path)
        path.chmod(0o644)  # safetensors leaves a file that nobody else can read

    def stored_name(self, name: str) -> str:
        """How a parameter or buffer is called in state dictionaries and weights.safetensors."""
        return "log_noise_var" if name == "likelihood.log_noise_var" else name

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        names = [name for place, child in self.named_children() for name in child.state_dict(prefix=f"{place}.")]
        stored = {name: prefix + self.stored_name(name) for name in names}
        values = {prefix + name: state_dict[old] for name, old in stored.items() if old in state_dict}
        for old in set(stored.values()):
            state_dict.pop(old, None)
        state_dict.update(values)
        super()._load_from_state_dict(state_dict, prefix, *args)


def _with_stored_names(network: Network, found: dict[str, Any], prefix: str, _: Any) -> None:
    """Called by `Network.state_dict` with what it found."""
    for name in [name for name in found if name.startswith(prefix)]:
        found[prefix + network.stored_name(name[len(prefix) :])] = found.pop(name)


class Encoder(nn.Module):
    """Strided convolutions, then one linear layer to mean and log-variance."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.pad = config.padded_size - config.size
        stages: list[nn.Module] = []
        for before, after in zip((config.channels, *config.widths), config.widths, strict=False):
            stages += [Convolution(before, after, stride=2), *_after_convolution(config, after)]
        self.stages = nn.Sequential(*stages)
        self.to_posterior = nn.Linear(config.widths[-1] * config.coarse_size**2, 2 * config.latent_dim)
        n_values = config.channels * config.size**2
        self.linear = LinearEncoder(n_values, config.latent_dim) if config.linear_path == "on" else None

    def forward(self, x: Float[Tensor, "b c h w"]) -> Posterior:
        return self.with_features(x)[0]

    def with_features(
        self, x: Float[Tensor, "b c h w"], sides: Sequence[int] = ()
    ) -> tuple[Posterior, dict[int, Tensor]]:
        """The posterior, and the last feature maps of these sides."""
        whole, found = x, {}
        if self.pad:
            x = F.pad(x, (self.pad // 2, self.pad - self.pad // 2) * 2, mode="reflect")
        x = _channels_last(x.to(next(self.stages.parameters()).dtype))
        for module in self.stages:
            x = module(x)
            if x.shape[-1] in sides:
                found[x.shape[-1]] = x
        features = x.flatten(1)
        with torch.autocast(features.device.type, enabled=False):  # latents in the precision of the weights
            mean, log_var = self.to_posterior(features.to(self.to_posterior.weight.dtype)).chunk(2, dim=1)
            if self.linear is not None:
                mean, log_var = mean + self.linear(whole), log_var + self.linear.log_var
        return Posterior(mean, soft_bound(log_var, LOG_VAR_MIN, LOG_VAR_MAX)), found


class Decoder(nn.Module):
    """One linear layer, then the encoder's stages backwards; `n_params` numbers for each channel of a pixel.

    Attributes:
        linear: The linear path, whose images `Network.decode` adds as parameters of its likelihood; None without one.
    """

    def __init__(self, config: NetworkConfig, n_params: int = 1) -> None:
        super().__init__()
        out, self.size, self.start = n_params * config.channels, config.size, (config.padded_size - config.size) // 2
        self.shape = (config.widths[-1], config.coarse_size, config.coarse_size)
        self.from_latent = nn.Linear(config.latent_dim, math.prod(self.shape))
        narrowing = list(zip(config.widths[:0:-1], config.widths[-2::-1], strict=True))
        stages: list[nn.Module] = [*_after_convolution(config, config.widths[-1])]
        for place, (before, after) in enumerate(narrowing):
            stages += _enlarge(config, before, after, is_first=place == 0)
        self.stages = nn.Sequential(*stages)
        self.to_params: nn.Conv2d | nn.ConvTranspose2d
        if config.decoder == "transposed":
            self.to_params = TransposedConvolution(config.widths[0], out)
        else:
            self.to_params = PixelConvolution(config.widths[0], out, enlarges=_is_folded(config) and bool(narrowing))
        shape = (config.channels, config.size, config.size)
        self.linear = LinearDecoder(shape, config.latent_dim) if config.linear_path == "on" else None

    def forward(self, z: Float[Tensor, "b d"]) -> Float[Tensor, "b p h w"]:
        return self.through(z)

    def through(
        self, z: Float[Tensor, "b d"], sides: Sequence[int] = (), change: Callable[[int, Tensor], Tensor] | None = None
    ) -> Float[Tensor, "b p h w"]:
        """The same, with the feature map of each of these sides changed before it is enlarged.

        Args:
            z: Latents.
            sides: Of maps.
            change: Called with the place of the side in `sides` and the map; gives another of the same shape.
        """
        coarse = self.from_latent(z.to(self.from_latent.weight.dtype)).unflatten(1, self.shape)
        features = coarse.contiguous(memory_format=torch.channels_last)
        for module in (*self.stages, self.to_params):
            side = features.shape[-1]
            if change is not None and side in sides and (enlargement(module) > 1 or module is self.to_params):
                features = change(sides.index(side), features)
            features = module(features)
        params: Tensor = features
        kept = slice(self.start, self.start + self.size)
        return params[:, :, kept, kept]

    def widths_by_side(self) -> dict[int, int]:
        """Channels of the last feature map of each side [cells], the innermost one first."""
        found: dict[int, int] = {}
        side = self.shape[1]
        for module in self.stages:
            side *= enlargement(module)
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                found[side] = module.out_channels
        return found


class ResidualBlock(nn.Module):
    """x + convolution(activation(convolution(activation(x))))."""

    def __init__(self, config: NetworkConfig, width: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            Convolution(width, width),
            *_norm(config, width),
            nn.ReLU(inplace=True),
            Convolution(width, width),
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


def _is_folded(config: NetworkConfig) -> bool:
    """Whether upsampling is a part of the convolution after it: no residual block lies between them."""
    return config.decoder == "upsample" and config.blocks == 0


def _enlarge(config: NetworkConfig, before: int, after: int, *, is_first: bool) -> list[nn.Module]:
    """Layers that double height and width.

    Convolution first, then nearest upsampling: as fast as a transposed convolution of kernel 3, with a fifth of its
    checkerboard energy (defaults.md). The activation comes before the upsampling, where it has a quarter of the values
    to look at and the same effect. Where nothing lies between upsampling and the next convolution, that one does both.
    """
    if config.decoder == "transposed":
        return [TransposedConvolution(before, after), *_after_convolution(config, after)]
    if _is_folded(config):  # the place of the upsampling is kept: it numbers the layers after it
        convolution = Convolution(before, after) if is_first else EnlargingConvolution(before, after)
        return [convolution, *_activated(config, after), nn.Identity()]
    upsample = nn.Upsample(scale_factor=2, mode="nearest")
    return [Convolution(before, after), *_activated(config, after), upsample, *_blocks(config, after)]


def enlargement(module: nn.Module) -> int:
    """By what a layer of the decoder multiplies height and width."""
    return 2 if isinstance(module, TransposedConvolution | EnlargingConvolution | nn.Upsample) else 1


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
