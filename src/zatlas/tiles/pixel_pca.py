"""PCA of images as vectors of pixels, exact and in bounded memory: the linear model that a VAE has to beat."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from zatlas.compute import one_thread
from zatlas.errors import DataError

__all__ = ["PixelPca", "fit_pixel_pca", "most_pca_rows"]

_MOST_ROWS = 3000
_MOST_VALUES = 64_000_000  # float32 values of the tiles that PCA is fitted to: 256 MB
_CHUNK_COLUMNS = 2048


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
