"""How good reconstructions are, in numbers: PSNR, SSIM, the fine texture that is kept, the best epoch.

All images here are on the grey scale 0..1, reconstructions clipped to it (those of PCA like those of the model).
Everything is a function of arrays; what reads tiles or runs the network is in `results.analysis`.
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float
from skimage.metrics import structural_similarity

from zatlas.tiles.greys import SMALLEST_ERROR

__all__ = ["best_epoch", "bits", "psnr", "relative_error", "squared_error", "ssim", "texture_kept"]

_WINDOW_PX = 7
_FINE = 1 / 16  # cycles per pixel: structures finer than 8 px from bright to dark
_LEAST_SIDE_PX = 16  # one period of that


def psnr(
    x: Float[np.ndarray, "n c h w"],
    x_hat: Float[np.ndarray, "n c h w"],
    mask: Float[np.ndarray, "n 1 h w"] | None = None,
    *,
    data_range: float = 1.0,
) -> Float[np.ndarray, " n"]:
    """Peak signal-to-noise ratio of each image [dB]: 10 log10(data_range^2 / mean squared error), at most 100.

    Args:
        x: Images.
        x_hat: Their reconstructions.
        mask: 1 at pixels that count, 0 at padding.
        data_range: From the darkest to the brightest possible value.

    Example:
        >>> psnr(np.zeros((1, 1, 2, 2)), np.full((1, 1, 2, 2), 0.1)).round(6)
        array([20.])
    """
    error = squared_error(x, x_hat, mask)
    return np.asarray(10 * np.log10(data_range**2 / np.maximum(error, SMALLEST_ERROR * data_range**2)))


def squared_error(
    x: Float[np.ndarray, "n c h w"],
    x_hat: Float[np.ndarray, "n c h w"],
    mask: Float[np.ndarray, "n 1 h w"] | None = None,
) -> Float[np.ndarray, " n"]:
    """Mean squared error of each image over its channels and pixels; 0 where no pixel counts.

    Args:
        x: Images.
        x_hat: Their reconstructions.
        mask: 1 at pixels that count, 0 at padding.
    """
    squared = (x.astype(np.float64) - x_hat) ** 2
    if mask is None:
        return np.asarray(squared.mean(axis=(1, 2, 3)))
    count = mask.sum(axis=(1, 2, 3)) * x.shape[1]
    return np.asarray((squared * mask).sum(axis=(1, 2, 3)) / np.maximum(count, 1))


def ssim(
    x: Float[np.ndarray, "n c h w"],
    x_hat: Float[np.ndarray, "n c h w"],
    mask: Float[np.ndarray, "n 1 h w"] | None = None,
    *,
    data_range: float = 1.0,
) -> Float[np.ndarray, " n"]:
    """Structural similarity of each image, mean over channels and pixels: 1 the same, about 0 nothing in common.

    Uniform window of 7 px, or the largest odd one that fits into a smaller image; images below 3 px have none (NaN).
    Windows that would leave the image are left out.

    Args:
        x: Images.
        x_hat: Their reconstructions.
        mask: 1 at pixels that count, 0 at padding.
        data_range: From the darkest to the brightest possible value.

    Source: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, as in scikit-image
    """
    side = min(x.shape[2:])
    window = min(_WINDOW_PX, side if side % 2 else side - 1)
    if window < 3:
        return np.full(len(x), np.nan)
    values = np.empty(len(x))
    edge = window // 2
    measure: Any = structural_similarity
    for i in range(len(x)):
        mean, full = measure(
            x[i].astype(np.float64),
            x_hat[i].astype(np.float64),
            channel_axis=0,
            data_range=data_range,
            win_size=window,
            full=True,
        )
        values[i] = mean
        if mask is not None and not mask[i].all():
            weight = mask[i][:, edge:-edge, edge:-edge]
            inner = full[:, edge:-edge, edge:-edge]
            values[i] = (inner * weight).sum() / max(float(weight.sum()) * len(inner), 1.0)
    return values


def texture_kept(originals: Float[np.ndarray, "n c h w"], reconstructions: Float[np.ndarray, "n c h w"]) -> float:
    """Fine texture of reconstructions relative to that of their originals: 0 none, 1 as much, above 1 more.

    Ratio of the spectral power above 1/16 cycles per pixel, summed over images and channels, each channel less its mean
    and windowed (Hann) against its edges. NaN without images, below 16 px, and for originals without fine texture.
    """
    if len(originals) == 0 or min(originals.shape[-2:]) < _LEAST_SIDE_PX:
        return float("nan")
    power = _fine_power(originals)
    return _fine_power(reconstructions) / power if power > 0 else float("nan")


def _fine_power(images: np.ndarray) -> float:
    array = np.asarray(images, dtype=np.float64)
    h, w = array.shape[-2:]
    array = (array - array.mean(axis=(-2, -1), keepdims=True)) * np.outer(np.hanning(h), np.hanning(w))
    radius = np.hypot(np.fft.fftfreq(h)[:, None], np.fft.rfftfreq(w)[None])
    power = np.abs(np.fft.rfft2(array)) ** 2
    return float(power[..., radius > _FINE].sum())


def relative_error(psnr_db: float) -> float:
    """Root mean squared error as a share of the grey range: 10^(-PSNR / 20).

    Example:
        >>> relative_error(20.0)
        0.1
    """
    return float(10 ** (-psnr_db / 20))


def bits(nats: float) -> float:
    """Information in bits: nats / ln 2."""
    return nats / math.log(2)


def best_epoch(epochs: Float[np.ndarray, " n"], objective: Float[np.ndarray, " n"]) -> float | None:
    """The epoch with the lowest objective, the first of equal ones; None when it was never measured.

    Args:
        epochs: Numbers of the epochs.
        objective: distortion + beta * rate of the validation part after each, at the noise that fits its residuals
            best [nats per image]; NaN where it was not measured.
    """
    if np.isnan(objective).all():
        return None
    return float(epochs[int(np.nanargmin(objective))])
