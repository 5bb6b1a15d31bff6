"""Which latent dimensions a model uses, and how many PCA had forecast."""

import numpy as np
from jaxtyping import Bool, Float

__all__ = [
    "ACTIVE_VARIANCE",
    "active_units",
    "forecast_active_dims",
    "information_per_dim",
]

ACTIVE_VARIANCE = 0.01


def active_units(means: Float[np.ndarray, "n d"], *, threshold: float = ACTIVE_VARIANCE) -> Bool[np.ndarray, " d"]:
    """Whether each latent dimension is used: its posterior mean varies between images by more than `threshold`.

    Source: Burda et al. 2016, section 5.2, https://arxiv.org/abs/1509.00519
    """
    if len(means) < 2:
        return np.zeros(means.shape[1], dtype=bool)
    return np.asarray(means.astype(np.float64).var(axis=0, ddof=1) > threshold)


def forecast_active_dims(
    variance: Float[np.ndarray, " r"],
    latent_dim: int,
    *,
    beta: float,
    n_values: int,
    noise_variance: float | None,
    beyond: float = 0.0,
) -> int:
    """How many latent dimensions a *linear* VAE keeps active: those whose PCA variance exceeds beta * noise variance.

    Known before any training; a guide, not a bound, for a deep decoder.

    Args:
        variance: PCA spectrum of the training images, falling.
        latent_dim: d, the most that can be active.
        beta: Weight of the rate.
        n_values: Values per image (c * h * w).
        noise_variance: What the loss implies; None for a shared optimal variance, which is then found with the
            number of dimensions: the mean of the variance that they leave out.
        beyond: Variance that the spectrum does not list, summed over all values.

    Source: Lucas et al. 2019, section 4, https://arxiv.org/abs/1911.02469; Tipping & Bishop 1999 (probabilistic PCA)
    """
    if noise_variance is not None:
        return min(latent_dim, int((variance > beta * noise_variance).sum()))
    active = min(latent_dim, len(variance))
    while active:
        left_out = max(float(variance[active:].sum()) + beyond, 0.0) / max(n_values - active, 1)
        if variance[active - 1] > beta * left_out:
            break
        active -= 1
    return active


def information_per_dim(means: Float[np.ndarray, "n d"], log_vars: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " d"]:
    """Mean KL divergence of the posteriors from the Gaussian with the moments of all latents, by dimension [nats].

    It asks no prior: 0.5 * (log S - mean log_var), S being the variance of all latents along the dimension. Never below
    what the dimension says about the image (the mutual information), and never above the rate against N(0, 1).

    Source: Hoffman & Johnson 2016, ELBO surgery, with a Gaussian for the aggregate posterior
    """
    means, log_vars = means.astype(np.float64), log_vars.astype(np.float64)
    variance = means.var(axis=0) + np.exp(log_vars).mean(axis=0)
    return np.asarray(0.5 * (np.log(variance) - log_vars.mean(axis=0)))
