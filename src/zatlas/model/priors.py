"""The prior over latents, and what a posterior costs against it: the rate.

The network holds its prior, and the objective asks it alone. A prior has a density, `log_prob`, and draws, `sample`.
Its rate is the KL divergence from the posterior to it: in closed form for N(0, I), else with the latent that was drawn
anyway, `rate(posterior, z)`. A new one is one class here, in `PRIORS`.

    standard   N(0, I)
    mixture    Gaussians whose weights, means and variances are trained
    vamp       the posteriors of a few learned images
    flow       N(0, I), bent by invertible layers

Priors that were trained with a model are for that model alone. Densities that are fitted to the latents of a finished
model are in zatlas.atlas.
"""

import abc
import copy
import math
from typing import ClassVar, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.errors import UsageError
from zatlas.model.prior_words import FLOW, MIXTURE, STANDARD, VAMP, WORDS

__all__ = [
    "PRIORS",
    "Coupling",
    "Flow",
    "GaussianMixture",
    "Posterior",
    "Prior",
    "StandardNormal",
    "VampPrior",
    "new_prior",
]

_LOG_2PI = math.log(2 * math.pi)
_LOG_VAR_MIN, _LOG_VAR_MAX = -12.0, 8.0  # of components, as of posteriors
_COMPONENTS = 32  # of the mixture
_PSEUDO_IMAGES = 8  # each is encoded once in every shard of 8 to 32 images
_COUPLINGS, _HIDDEN = 6, 64
_LARGEST_LOG_SCALE = 2.0  # of one coupling


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x)."""

    mean: Float[Tensor, "b d"]
    log_var: Float[Tensor, "b d"]

    def draw(self, noise: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """z = mean + exp(log_var / 2) * noise.

        Source: reparameterisation, Kingma & Welling 2014, section 2.4, https://arxiv.org/abs/1312.6114
        """
        return self.mean + torch.exp(0.5 * self.log_var) * noise


class Prior(nn.Module, abc.ABC):
    """A distribution of latents. A module, so that one with parameters is trained and saved with the network.

    Attributes:
        name: As it stands in configurations and results.
        words: What it is, after "the prior, " in a report.
    """

    name: ClassVar[str]
    words: ClassVar[str]

    @abc.abstractmethod
    def log_prob(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Log of the density at latents [nats]."""

    @abc.abstractmethod
    def sample(self, n: int, d: int, generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """Latents drawn from the prior; the first ones do not depend on how many are asked for."""

    def rate(self, posterior: Posterior, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """KL divergence from q(z|x) to the prior, estimated without bias from one draw z of q [nats].

        The entropy of q is known and not drawn: -entropy - log p(z). One estimate may be negative; their mean is not.

        Source: Tomczak & Welling 2018, equation 4, https://arxiv.org/abs/1705.07120
        """
        entropy = 0.5 * (posterior.log_var + 1 + _LOG_2PI).sum(dim=1)
        return -entropy - self.log_prob(z)

    def mean_rate(self, posterior: Posterior, noise: Float[Tensor, "s d"]) -> Float[Tensor, " b"]:
        """The rate as the mean over s draws, which all images share [nats]; exact where there is a closed form.

        Args:
            posterior: Of b images.
            noise: Standard normal.
        """
        b = len(posterior.mean)
        many = Posterior(*(part.repeat(len(noise), 1) for part in posterior))
        draws = many.draw(noise.to(posterior.mean).repeat_interleave(b, dim=0))
        return self.rate(many, draws).view(len(noise), b).mean(dim=0)

    def rate_per_dim(self, posterior: Posterior) -> Float[Tensor, "b d"] | None:
        """The rate by latent dimension [nats]; None where dimensions of the prior depend on each other (default)."""
        return None

    def beside(self, encoder: nn.Module) -> "Prior":
        """The same prior, parameters shared, for a network that computes with `encoder`; most do not need one."""
        return self


class StandardNormal(Prior):
    """N(0, I).

    Example:
        >>> StandardNormal().rate(Posterior(torch.ones(3, 2), torch.zeros(3, 2)), torch.zeros(3, 2))
        tensor([1., 1., 1.])
    """

    name = STANDARD
    words = WORDS[name]

    def log_prob(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """-0.5 * (z^2 + log 2 pi), summed over dimensions [nats]."""
        return -0.5 * (z.square() + _LOG_2PI).sum(dim=1)

    def sample(self, n: int, d: int, generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """Standard normal draws."""
        return generator.standard_normal((n, d))

    def rate(self, posterior: Posterior, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """KL divergence from q(z|x), exactly, whatever was drawn [nats]."""
        return self.rate_per_dim(posterior).sum(dim=1)

    def mean_rate(self, posterior: Posterior, noise: Float[Tensor, "s d"]) -> Float[Tensor, " b"]:
        """The same."""
        return self.rate_per_dim(posterior).sum(dim=1)

    def rate_per_dim(self, posterior: Posterior) -> Float[Tensor, "b d"]:
        """KL divergence from q(z|x), by latent dimension [nats]: 0.5 * (mean^2 + exp(log_var) - 1 - log_var).

        Source: Kingma & Welling 2014, appendix B, https://arxiv.org/abs/1312.6114
        """
        mean, log_var = posterior
        return 0.5 * (mean.square() + torch.exp(log_var) - 1 - log_var)


class _Mixture(Prior):
    """A mixture of diagonal Gaussians."""

    @abc.abstractmethod
    def components(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k d"]]:
        """Log-weights (whose exponentials sum to 1), means and log-variances."""

    def log_prob(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """Log of the sum over components of weight * N(z; mean, variance) [nats]."""
        log_weights, means, log_vars = self.components()
        squares = (z[:, None] - means).square() * torch.exp(-log_vars)
        return torch.logsumexp(log_weights - 0.5 * (squares + log_vars + _LOG_2PI).sum(dim=2), dim=1)

    @torch.no_grad()
    def sample(self, n: int, d: int, generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """A component for each by its weight, then a draw of it."""
        log_weights, means, log_vars = (part.double().cpu() for part in self.components())
        drawn = torch.from_numpy(generator.standard_normal((n, d + 1)))
        chosen = torch.searchsorted(torch.exp(log_weights).cumsum(0), torch.special.ndtr(drawn[:, 0]))
        chosen = chosen.clamp(max=len(means) - 1)
        return np.asarray((means[chosen] + torch.exp(0.5 * log_vars[chosen]) * drawn[:, 1:]).numpy())


class GaussianMixture(_Mixture):
    """Diagonal Gaussians with trained weights, means and variances.

    Args:
        d: Latent dimensions.
        generator: Of the first means, which are drawn from N(0, I); weights begin equal, variances at 1.
        k: Number of components.

    Source: the prior "MoG" of Tomczak & Welling 2018, section 4, https://arxiv.org/abs/1705.07120
    """

    name = MIXTURE
    words = WORDS[name]

    def __init__(self, d: int, generator: torch.Generator, k: int = _COMPONENTS) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(k))
        self.means = nn.Parameter(torch.randn((k, d), generator=generator))
        self.log_vars = nn.Parameter(torch.zeros(k, d))

    def components(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k d"]]:
        """The parameters, the weights made to sum to 1 and the log-variances kept in -12 to 8."""
        return F.log_softmax(self.logits, dim=0), self.means, self.log_vars.clamp(_LOG_VAR_MIN, _LOG_VAR_MAX)


class VampPrior(_Mixture):
    """The mixture, with trained weights, of the posteriors of a few learned images ("pseudo-inputs").

    These images go through the encoder in each shard of a batch: 8 of them beside 8 images of 128 px make a step 1.5
    times as long. `start_from` sets them to real images, from which gradients move them; do not show them as images.

    Args:
        encoder: Whose posteriors they are; that of the network, of which the prior takes no copy.
        channels: Of the images.
        size: Their side [px].
        generator: Of the grey noise that they begin with.
        k: Their number.

    Source: Tomczak & Welling 2018, section 3, https://arxiv.org/abs/1705.07120
    """

    name = VAMP
    words = WORDS[name]

    def __init__(
        self, encoder: nn.Module, channels: int, size: int, generator: torch.Generator, k: int = _PSEUDO_IMAGES
    ) -> None:
        super().__init__()
        self.images = nn.Parameter(0.5 + 0.1 * torch.randn((k, channels, size, size), generator=generator))
        self.logits = nn.Parameter(torch.zeros(k))
        self._encoder = (encoder,)  # in a tuple, so that its parameters are not counted among those of the prior

    @torch.no_grad()
    def start_from(self, images: Float[Tensor, "n c h w"]) -> None:
        """Set the learned images to real ones on the network's grey scale; the first k are used, in turn."""
        self.images.copy_(images[torch.arange(len(self.images)) % len(images)])

    def components(self) -> tuple[Float[Tensor, " k"], Float[Tensor, "k d"], Float[Tensor, "k d"]]:
        """The posteriors of the learned images under the encoder as it is now."""
        means, log_vars = self._encoder[0](self.images)
        return F.log_softmax(self.logits, dim=0), means, log_vars

    def beside(self, encoder: nn.Module) -> "VampPrior":
        """The same learned images, encoded by another copy of the encoder."""
        other = copy.copy(self)
        other._encoder = (encoder,)
        return other


class Coupling(nn.Module):
    """Shifts and scales some dimensions by functions of the others, which it leaves as they are.

    Args:
        moved: 1 for dimensions that are moved, 0 for those that say how, (d,).
        generator: Of the first weights; the last layer begins at 0, so that nothing is moved at first.

    Source: affine coupling, Dinh et al. 2017, section 3.2, https://arxiv.org/abs/1605.08803
    """

    moved: Tensor

    def __init__(self, moved: Float[Tensor, " d"], generator: torch.Generator, hidden: int = _HIDDEN) -> None:
        super().__init__()
        d = len(moved)
        self.register_buffer("moved", moved, persistent=False)
        shapes = ((d, hidden), (hidden, hidden), (hidden, 2 * d))
        make = nn.utils.skip_init  # drawing nothing from the global random state
        layers = [make(nn.Linear, *shape) for shape in shapes]  # type: ignore[no-untyped-call, unused-ignore]
        for layer in layers:
            nn.init.zeros_(layer.bias)
        for layer in layers[:2]:
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layers[2].weight)
        self.layers = nn.Sequential(layers[0], nn.SiLU(), layers[1], nn.SiLU(), layers[2])

    def forward(self, z: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, " b"]]:
        """From latents towards N(0, I), with the log-determinant of the Jacobian."""
        shift, log_scale = self._by(z)
        return (z - shift) * torch.exp(-log_scale), -log_scale.sum(dim=1)

    def back(self, u: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """The inverse: the dimensions that say how are the same before and after."""
        shift, log_scale = self._by(u)
        return u * torch.exp(log_scale) + shift

    def _by(self, z: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
        shift, raw = self.layers(z * (1 - self.moved)).chunk(2, dim=1)
        return shift * self.moved, _LARGEST_LOG_SCALE * torch.tanh(raw / _LARGEST_LOG_SCALE) * self.moved


class Flow(Prior):
    """N(0, I) seen through affine couplings; each dimension is moved by every second one of them.

    Args:
        d: Latent dimensions. A single one has nothing that it could depend on: the flow is then a Gaussian.
        generator: Of the first weights.

    Source: Dinh et al. 2017, https://arxiv.org/abs/1605.08803; as a prior: Chen et al. 2017, section 3.2,
        https://arxiv.org/abs/1611.02731
    """

    name = FLOW
    words = WORDS[name]

    def __init__(self, d: int, generator: torch.Generator) -> None:
        super().__init__()
        self.couplings = nn.ModuleList(Coupling(_moved(d, place), generator) for place in range(_COUPLINGS))

    def towards_normal(self, z: Float[Tensor, "b d"]) -> tuple[Float[Tensor, "b d"], Float[Tensor, " b"]]:
        """Latents to draws of N(0, I), with the log-determinant of the Jacobian."""
        total = z.new_zeros(len(z))
        for coupling in self.couplings:
            z, log_det = coupling(z)
            total = total + log_det
        return z, total

    def from_normal(self, u: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
        """Draws of N(0, I) to latents: the inverse."""
        for coupling in reversed(self.couplings):
            u = coupling.back(u)  # type: ignore[operator]
        return u

    def log_prob(self, z: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
        """log N(u; 0, I) + log ``|du / dz|`` [nats]."""
        u, log_det = self.towards_normal(z)
        return log_det - 0.5 * (u.square() + _LOG_2PI).sum(dim=1)

    @torch.no_grad()
    def sample(self, n: int, d: int, generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """Standard normal draws through the layers backwards."""
        like = next(self.parameters())
        u = torch.from_numpy(generator.standard_normal((n, d))).to(like)
        return np.asarray(self.from_normal(u).double().cpu().numpy())


def _moved(d: int, place: int) -> Float[Tensor, " d"]:
    """Which dimensions the coupling at a place moves: every second one, the others; one half, the other; again."""
    if d == 1:
        return torch.ones(1)
    numbers = torch.arange(d)
    chosen = numbers % 2 == 0 if place % 4 < 2 else numbers < d // 2
    return (chosen if place % 2 == 0 else ~chosen).float()


PRIORS: dict[str, type[Prior]] = {one.name: one for one in (StandardNormal, GaussianMixture, VampPrior, Flow)}
"""The priors of zatlas by name."""


def new_prior(name: str, encoder: nn.Module, *, d: int, channels: int, size: int, generator: torch.Generator) -> Prior:
    """A prior of zatlas before training.

    Args:
        name: In `PRIORS`.
        encoder: Of the network.
        d: Latent dimensions.
        channels: Of the images.
        size: Their side [px].
        generator: Of its first parameters; N(0, I) draws none.

    Raises:
        UsageError: zatlas has no prior of this name.
    """
    if name == StandardNormal.name:
        return StandardNormal()
    if name == GaussianMixture.name:
        return GaussianMixture(d, generator)
    if name == VampPrior.name:
        return VampPrior(encoder, channels, size, generator)
    if name == Flow.name:
        return Flow(d, generator)
    raise UsageError(f"--prior is {name}, expected {' or '.join(PRIORS)}", hint="leave --prior out for N(0, I)")
