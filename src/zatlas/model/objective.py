"""What is minimised, in nats per image: distortion + beta * rate.

The distortion is the negative log-likelihood of an image, summed over its pixels; the rate is the KL divergence from
the posterior to the prior, summed over latent dimensions. ELBO = -(distortion + rate). `beta` multiplies the rate and
is the only such knob; `effective_beta` says how strongly the rate is in truth weighted against a calibrated noise.

Pixels of padding carry mask 0 and count nothing. Everything here is a pure function of tensors.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

__all__ = [
    "ACTIVE_VARIANCE",
    "NOISE_FLOOR_VAR",
    "active_dims",
    "distortion",
    "effective_beta",
    "kl_weight",
    "rate",
    "rate_per_dim",
    "squared_error",
    "updated_log_noise_var",
]

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, section 5.2, https://arxiv.org/abs/1509.00519
NOISE_FLOOR_VAR = (1 / 255) ** 2 / 12  # variance of rounding to 8 bits, on the grey scale 0..1
_SLOWEST_NOISE_UPDATE = 0.05  # share of a new batch in the running noise variance


def rate_per_dim(mean: Float[Tensor, "b d"], log_var: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """KL divergence from q(z|x) to the standard normal prior, by latent dimension [nats].

    Example:
        >>> rate_per_dim(torch.ones(1, 2), torch.zeros(1, 2))
        tensor([[0.5000, 0.5000]])
    """
    return 0.5 * (mean.square() + torch.exp(log_var) - 1 - log_var)


def rate(mean: Float[Tensor, "b d"], log_var: Float[Tensor, "b d"]) -> Float[Tensor, " b"]:
    """KL divergence from q(z|x) to the standard normal prior, summed over latent dimensions [nats].

    0.5 * sum_d (mean^2 + exp(log_var) - 1 - log_var)

    Source: Kingma & Welling 2014, appendix B, https://arxiv.org/abs/1312.6114

    Example:
        >>> rate(torch.zeros(3, 2), torch.zeros(3, 2))
        tensor([0., 0., 0.])
    """
    return rate_per_dim(mean, log_var).sum(dim=1)


def distortion(
    params: Float[Tensor, "b c h w"],
    x: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    *,
    likelihood: str,
    log_noise_var: Float[Tensor, ""],
) -> Float[Tensor, " b"]:
    """Negative log-likelihood of each image, summed over its unmasked pixels [nats].

    bernoulli: binary cross-entropy with logits; on greys between 0 and 1 it is no likelihood of grey values.
    gaussian: 0.5 * (log(2 pi var) + (x - mean)^2 / var) with one variance shared by all pixels and images.

    Args:
        params: Logits (bernoulli) or means (gaussian).
        x: Images; from 0 to 1 for bernoulli.
        mask: 1 at real pixels, 0 at padding.
        likelihood: "bernoulli" or "gaussian".
        log_noise_var: Log of the shared variance; read by "gaussian" alone.

    Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4, https://arxiv.org/abs/2006.13202
    """
    if likelihood == "bernoulli":
        per_pixel = F.binary_cross_entropy_with_logits(params, x, reduction="none")
    else:
        per_pixel = 0.5 * ((x - params).square() * torch.exp(-log_noise_var) + log_noise_var + math.log(2 * math.pi))
    return (per_pixel * mask).sum(dim=(1, 2, 3))


def squared_error(
    params: Float[Tensor, "b c h w"], x: Float[Tensor, "b c h w"], mask: Float[Tensor, "b 1 h w"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Sum of squared residuals over unmasked pixels, and how many values that are."""
    return ((x - params).square() * mask).sum(), mask.sum() * x.shape[1]


def updated_log_noise_var(
    log_noise_var: Float[Tensor, ""], squared: Float[Tensor, ""], n_values: Float[Tensor, ""], *, step: int
) -> Float[Tensor, ""]:
    """Running estimate of the optimal shared variance, after one more batch.

    The optimum for a batch is its mean squared residual; the running mean weighs the batch of step s (from 0) by
    1 / (s + 1), later by a constant, and never falls below the rounding of 8 bits.

    Source: sigma-VAE, Rybkin, Daniilidis & Levine 2021, section 4.1, https://arxiv.org/abs/2006.13202
    """
    share = max(1 / (step + 1), _SLOWEST_NOISE_UPDATE)
    variance = (1 - share) * torch.exp(log_noise_var) + share * squared / n_values.clamp(min=1)
    return torch.log(variance.clamp(min=NOISE_FLOOR_VAR))


def kl_weight(epochs_done: float, *, warmup_epochs: float) -> float:
    """Weight of the rate relative to beta: rises linearly from 0 to 1 over `warmup_epochs`, then stays 1.

    Source: Bowman et al. 2016, section 3.1, https://arxiv.org/abs/1511.06349

    Example:
        >>> kl_weight(2.5, warmup_epochs=10), kl_weight(0, warmup_epochs=0)
        (0.25, 1.0)
    """
    return 1.0 if warmup_epochs <= 0 else min(1.0, epochs_done / warmup_epochs)


def active_dims(means: Float[Tensor, "n d"], *, threshold: float = ACTIVE_VARIANCE) -> int:
    """Number of latent dimensions whose posterior mean varies between images by more than `threshold`.

    Source: Burda et al. 2016, section 5.2, https://arxiv.org/abs/1509.00519
    """
    if len(means) < 2:
        return 0
    return int((means.var(dim=0) > threshold).sum())


def effective_beta(
    x: Float[Tensor, "b c h w"],
    x_hat: Float[Tensor, "b c h w"],
    mask: Float[Tensor, "b 1 h w"],
    *,
    likelihood: str,
    log_noise_var: Float[Tensor, ""],
    beta: float,
) -> float:
    """How strongly the rate is weighted against a noise level that fits the residuals.

    A loss implies a noise variance at each pixel: the shared one (gaussian), or x_hat * (1 - x_hat), the inverse
    curvature of the cross-entropy (bernoulli). If the residuals are smaller than implied by a factor k, then
    mean((x - x_hat)^2 / implied variance) = 1 / k and the rate weighs k times what a calibrated model would give it.
    With one variance this is beta * implied variance / mean squared residual.

    Args:
        x: Images on the network's grey scale.
        x_hat: Their reconstructions from the posterior mean.
        mask: 1 at real pixels, 0 at padding.
        likelihood: "bernoulli" or "gaussian".
        log_noise_var: Log of the shared variance; read by "gaussian" alone.
        beta: Weight of the rate in the objective.

    Source: linear analysis of posterior collapse, Lucas et al. 2019, https://arxiv.org/abs/1911.02469
    """
    if likelihood == "bernoulli":
        implied = (x_hat * (1 - x_hat)).clamp(min=1 / 255)
    else:
        implied = torch.exp(log_noise_var).expand_as(x_hat)
    n_values = mask.sum() * x.shape[1]
    standardised = ((x - x_hat).square() / implied * mask).sum() / n_values.clamp(min=1)
    return beta / max(float(standardised), 1e-12)
