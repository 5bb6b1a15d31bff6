"""How good a model is, in numbers, beside what needs no model: PSNR, SSIM, PCA of the same size, active dimensions.

All images here are on the grey scale 0..1, reconstructions clipped to it (those of PCA like those of the model).
Everything is a function of arrays; what reads tiles or runs the network is in `analysis.py`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from skimage.metrics import structural_similarity

from zatlas.atlas.neighbours import nearest_neighbours
from zatlas.compute import one_thread
from zatlas.errors import DataError, UsageError

__all__ = [
    "ACTIVE_VARIANCE",
    "MOST_ASKED",
    "PixelPca",
    "active_units",
    "fit_pixel_pca",
    "forecast_active_dims",
    "implied_noise_variance",
    "most_pca_rows",
    "neighbour_overlap",
    "psnr",
    "ssim",
]

ACTIVE_VARIANCE = 0.01
MOST_ASKED = 5000  # images whose neighbours are compared: the standard error of their share is below 0.005
_SMALLEST_MSE = 1e-10  # 100 dB: far below the rounding of 8 bits (59 dB), keeps the mean over images finite
_WINDOW_PX = 7
_MOST_ROWS = 3000
_MOST_VALUES = 64_000_000  # float32 values of the tiles that PCA is fitted to: 256 MB
_CHUNK_COLUMNS = 2048


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
    squared = (x.astype(np.float64) - x_hat) ** 2
    if mask is None:
        error = squared.mean(axis=(1, 2, 3))
    else:
        count = mask.sum(axis=(1, 2, 3)) * x.shape[1]
        error = (squared * mask).sum(axis=(1, 2, 3)) / np.maximum(count, 1)
    return np.asarray(10 * np.log10(data_range**2 / np.maximum(error, _SMALLEST_MSE * data_range**2)))


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


@dataclass(frozen=True)
class PixelPca:
    """Principal components of images as vectors of pixels: the linear model that a VAE has to beat.

    Attributes:
        mean: Mean image, (c, h, w) float32.
        components: Unit vectors by falling variance, (k, c * h * w) float32; the loading largest in size is positive.
        variance: Variance along each component of the whole spectrum, divisor n - 1, (min(n - 1, c * h * w),).
        n: Images fitted.
    """

    mean: Float[np.ndarray, "c h w"]
    components: Float[np.ndarray, "k p"]
    variance: Float[np.ndarray, " r"]
    n: int

    def transform(self, images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """Scores of images on the components."""
        with one_thread():
            flat = (images - self.mean).reshape(len(images), -1).astype(np.float32)
            return np.asarray(flat @ self.components.T)

    def reconstruct(self, images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n c h w"]:
        """Images through the k components and back, clipped to 0..1 as the model's are, float32."""
        with one_thread():
            flat = self.transform(images) @ self.components
        return np.asarray(np.clip(flat.reshape(images.shape) + self.mean, 0, 1), np.float32)


def most_pca_rows(n_values: int) -> int:
    """To how many images of `n_values` values (c * h * w) PCA is fitted at most, so that it stays below 600 MB."""
    return max(2, min(_MOST_ROWS, _MOST_VALUES // max(n_values, 1)))


def fit_pixel_pca(images: Float[np.ndarray, "n c h w"], n_components: int) -> PixelPca:
    """Exact PCA of images by the eigenvectors of their Gram matrix (n x n), which is small where pixels are many.

    Where values are fewer than images, their covariance matrix takes its place. The images are centred in place of a
    copy: `images` is changed. Memory is that of `images`, of a few such matrices, and of a chunk.

    By hand, because scikit-learn's ways to the whole spectrum cost more: for 3000 images of 128 x 128 px 6 s here, 34 s
    and a copy by its full SVD, 1 GB for a covariance of pixels; its IncrementalPCA takes 14 s and keeps k variances.

    Args:
        images: Training images, float32, C-contiguous; at most `most_pca_rows` of them for bounded memory.
        n_components: k; at most the rank of the data can be found.

    Raises:
        DataError: there are fewer than 2 images.

    Source: Turk & Pentland 1991, Eigenfaces for recognition, section on computing eigenfaces
    """
    n = len(images)
    if n < 2:
        raise DataError(f"PCA needs at least 2 training images, found {n}", hint="train on more images")
    flat = images.reshape(n, -1)
    mean = flat.mean(axis=0, dtype=np.float64).astype(np.float32)
    flat -= mean
    with one_thread():
        is_gram = n <= flat.shape[1]
        values, vectors = np.linalg.eigh(_gram(flat if is_gram else flat.T))
        values, vectors = values[::-1], vectors[:, ::-1]
        rank = min(n - 1, flat.shape[1], int((values > max(float(values[0]), 0.0) * 1e-7).sum()))
        kept = min(n_components, rank)
        scaled = vectors[:, :kept] / np.sqrt(values[:kept]) if is_gram else vectors[:, :kept]
        components = np.ascontiguousarray(scaled.T.astype(np.float32))
        components = components @ flat if is_gram else components
    signs = np.sign(components[np.arange(kept), np.abs(components).argmax(axis=1)]) if kept else np.ones(0)
    components *= signs.astype(np.float32)[:, None]
    variance = np.maximum(values[: min(n - 1, flat.shape[1])], 0) / (n - 1)
    return PixelPca(mean.reshape(images.shape[1:]), components, variance, n)


def _gram(flat: np.ndarray) -> np.ndarray:
    """flat @ flat.T; chunks of columns in the precision of `flat`, their sum in float64."""
    gram = np.zeros((len(flat), len(flat)))
    for start in range(0, flat.shape[1], _CHUNK_COLUMNS):
        chunk = flat[:, start : start + _CHUNK_COLUMNS]
        gram += chunk @ chunk.T
    return gram


def implied_noise_variance(mean_image: Float[np.ndarray, "*shape"]) -> float:
    """Noise variance that binary cross-entropy implies around a mean image on 0..1: the mean of x (1 - x) in harmony.

    1 / mean(1 / (x (1 - x))): the curvature of the loss, averaged over pixels.

    Source: second derivative of the Bernoulli log-likelihood at its optimum; effective beta in `model.objective`
    """
    x = np.clip(mean_image.astype(np.float64), 1 / 255, 1 - 1 / 255)
    return float(1 / np.mean(1 / (x * (1 - x))))


def forecast_active_dims(
    variance: Float[np.ndarray, " r"], latent_dim: int, *, beta: float, n_values: int, noise_variance: float | None
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

    Source: Lucas et al. 2019, section 4, https://arxiv.org/abs/1911.02469; Tipping & Bishop 1999 (probabilistic PCA)
    """
    if noise_variance is not None:
        return min(latent_dim, int((variance > beta * noise_variance).sum()))
    active = min(latent_dim, len(variance))
    while active:
        left_out = max(float(variance[active:].sum()), 0.0) / max(n_values - active, 1)
        if variance[active - 1] > beta * left_out:
            break
        active -= 1
    return active


def active_units(means: Float[np.ndarray, "n d"], *, threshold: float = ACTIVE_VARIANCE) -> Bool[np.ndarray, " d"]:
    """Whether each latent dimension is used: its posterior mean varies between images by more than `threshold`.

    Source: Burda et al. 2016, section 5.2, https://arxiv.org/abs/1509.00519
    """
    if len(means) < 2:
        return np.zeros(means.shape[1], dtype=bool)
    return np.asarray(means.astype(np.float64).var(axis=0, ddof=1) > threshold)


def neighbour_overlap(
    a: Float[np.ndarray, "n d"], b: Float[np.ndarray, "m e"], k: int = 15, *, most: int = MOST_ASKED
) -> float:
    """Mean share of the k nearest neighbours of each image that two latent spaces have in common, 0 to 1.

    By chance it is about k / (n - 1). With more than `most` images, evenly spaced ones are asked for their neighbours
    among all.

    Args:
        a: Latents of the images in one model.
        b: Latents of the same images in another.
        k: Neighbours; n - 1 when there are fewer.
        most: Images asked.

    Raises:
        UsageError: the two hold different numbers of images.
    """
    if len(a) != len(b):
        raise UsageError(f"the two models have {len(a)} and {len(b)} latents, expected the same images")
    asked = np.unique(np.linspace(0, len(a) - 1, min(len(a), most)).astype(np.int64))
    rows_a, rows_b = _nearest_others(a, asked, k), _nearest_others(b, asked, k)
    if rows_a.shape[1] == 0:
        return 1.0
    is_common = (rows_a[:, :, None] == rows_b[:, None, :]).any(axis=2)
    return float(is_common.mean())


def _nearest_others(points: np.ndarray, asked: np.ndarray, k: int) -> np.ndarray:
    """Nearest neighbours of some of the points, each without itself, (m, k)."""
    if len(asked) == len(points):
        return nearest_neighbours(points, k)[0]
    rows = nearest_neighbours(points, k + 1, queries=points[asked])[0]
    is_itself = rows == asked[:, None]
    is_itself[~is_itself.any(axis=1), -1] = True  # hidden behind many equal points
    return np.asarray(rows[~is_itself].reshape(len(asked), -1))
