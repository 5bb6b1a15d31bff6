"""What is minimised, in nats per image: distortion + beta * rate.

The distortion is the negative log-likelihood of an image, summed over its pixels (likelihoods); the rate is the KL
divergence from the posterior to the prior, summed over latent dimensions (priors.py). ELBO = -(distortion + rate).
`beta` multiplies the rate and is the only such knob; `effective_beta` says how strongly the rate is in truth weighted
against a calibrated noise.

Pixels of padding carry mask 0 and count nothing. Everything here is a pure function of tensors.
"""

from jaxtyping import Bool, Float
from torch import Tensor

from zatlas.model.likelihoods import Likelihood

__all__ = ["ACTIVE_VARIANCE", "active_dims", "effective_beta", "is_whole", "kl_weight"]

ACTIVE_VARIANCE = 0.01  # Burda et al. 2016, section 5.2, https://arxiv.org/abs/1509.00519


def is_whole(mask: Float[Tensor, "b 1 h w"]) -> Bool[Tensor, " b"]:
    """Which images have no padding."""
    return mask.mean(dim=(1, 2, 3)) >= 1


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
    params: Float[Tensor, "b p h w"],
    mask: Float[Tensor, "b 1 h w"],
    *,
    likelihood: Likelihood,
    beta: float,
) -> float:
    """How strongly the rate is weighted against a noise level that fits the residuals.

    A likelihood implies a noise variance at each pixel (`Likelihood.implied_variance`). If the residuals are smaller
    than implied by a factor k, then mean((x - x_hat)^2 / implied variance) = 1 / k and the rate weighs k times what a
    calibrated model would give it. With one variance this is beta * implied variance / mean squared residual.

    Args:
        x: Images on the network's grey scale.
        params: What the decoder returns for their posterior means.
        mask: 1 at real pixels, 0 at padding.
        likelihood: Of the network.
        beta: Weight of the rate in the objective.

    Source: linear analysis of posterior collapse, Lucas et al. 2019, https://arxiv.org/abs/1911.02469
    """
    x_hat, implied = likelihood.mean(params), likelihood.implied_variance(params)
    n_values = mask.sum() * x.shape[1]
    standardised = ((x - x_hat).square() / implied * mask).sum() / n_values.clamp(min=1)
    return beta / max(float(standardised), 1e-12)
