"""The prior over latents, and what a posterior costs against it: the rate.

The network holds its prior, and the objective asks it alone. Everything here is a pure function of its arguments.
"""

import abc
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["Posterior", "Prior", "StandardNormal"]


class Posterior(NamedTuple):
    """The diagonal Gaussian q(z|x)."""

    mean: Float[Tensor, "b d"]
    log_var: Float[Tensor, "b d"]


class Prior(nn.Module, abc.ABC):
    """A distribution of latents. A module, so that one with parameters is trained and saved with the network."""

    @abc.abstractmethod
    def rate_per_dim(self, posterior: Posterior) -> Float[Tensor, "b d"]:
        """KL divergence from q(z|x) to the prior, by latent dimension [nats]."""

    @abc.abstractmethod
    def sample(self, n: int, d: int, generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """Latents drawn from the prior."""

    def rate(self, posterior: Posterior) -> Float[Tensor, " b"]:
        """KL divergence from q(z|x) to the prior, summed over latent dimensions [nats]."""
        return self.rate_per_dim(posterior).sum(dim=1)


class StandardNormal(Prior):
    """N(0, I).

    Example:
        >>> StandardNormal().rate(Posterior(torch.ones(3, 2), torch.zeros(3, 2)))
        tensor([1., 1., 1.])
    """

    def rate_per_dim(self, posterior: Posterior) -> Float[Tensor, "b d"]:
        """KL divergence from q(z|x), by latent dimension [nats]: 0.5 * (mean^2 + exp(log_var) - 1 - log_var).

        Source: Kingma & Welling 2014, appendix B, https://arxiv.org/abs/1312.6114
        """
        mean, log_var = posterior
        return 0.5 * (mean.square() + torch.exp(log_var) - 1 - log_var)

    def sample(self, n: int, d: int, generator: np.random.Generator) -> Float[np.ndarray, "n d"]:
        """Standard normal draws."""
        return generator.standard_normal((n, d))
