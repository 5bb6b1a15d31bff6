"""PCA of images as vectors of pixels, in bounded memory: the linear model that a VAE has to beat, or to start from.

    fit_pixel_pca          exact, of images that are all in memory
    PcaStream              of any number of images that come batch by batch, each seen once
    fit_pixel_pca_stream   the same for an iterable of batches

Pixels of the images count as they are, reflected ones of tiles that overhang their image too.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from zatlas.compute import one_thread
from zatlas.errors import DataError

__all__ = ["PcaStream", "PixelPca", "fit_pixel_pca", "fit_pixel_pca_stream", "most_pca_rows"]

_MOST_ROWS = 3000
_MOST_VALUES = 64_000_000  # float32 values of the tiles that PCA is fitted to: 256 MB
_CHUNK_COLUMNS = 2048
_LEAST_SHARE = 1e-6  # of the largest variance: below it lies the rounding of float32
_MOST_SQUARED = 1024  # values of an image up to which a stream keeps their whole covariance, 8 MB
_STREAM_VALUES = 80_000_000  # float32 values that a stream holds: 320 MB
_STREAM_BATCH = 512
_LEAST_STREAM_BATCH = 64
_SPARE = 32


@dataclass(frozen=True)
class PixelPca:
    """Principal components of images as vectors of pixels: the linear model that a VAE has to beat.

    Attributes:
        mean: Mean image, (c, h, w) float32.
        components: Unit vectors by falling variance, (k, c * h * w) float32; the loading largest in size is positive.
        variance: Variances of the spectrum as far as it is known, falling, divisor n - 1, (r,): all
            min(n - 1, c * h * w) of an exact fit; those that a stream kept, more than k of them, are a little too small
            at the end.
        left_out: Variance outside the k components, summed over all values of an image.
        n: Images fitted.
    """

    mean: Float[np.ndarray, "c h w"]
    components: Float[np.ndarray, "k p"]
    variance: Float[np.ndarray, " r"]
    left_out: float
    n: int

    @property
    def noise_variance(self) -> float:
        """Variance of each value around its reconstruction, sigma^2 of probabilistic PCA: left_out / (c * h * w - k).

        Source: Tipping & Bishop 1999, equation 8
        """
        return self.left_out / max(self.mean.size - len(self.components), 1)

    @property
    def beyond(self) -> float:
        """Variance outside the listed spectrum, summed over all values of an image."""
        return max(self.left_out - float(self.variance[len(self.components) :].sum()), 0.0)

    def first(self, n_components: int) -> "PixelPca":
        """The PCA of the same images with fewer components: the first ones; itself where it has no more."""
        n = len(self.components)
        if n_components >= n:
            return self
        left_out = self.left_out + float(self.variance[n_components:n].sum())
        return PixelPca(self.mean, self.components[:n_components], self.variance, left_out, self.n)

    def rescaled(self, factor: float, offset: float) -> "PixelPca":
        """The PCA of the images times `factor`, above 0, plus `offset`."""
        return PixelPca(
            np.asarray(self.mean * factor + offset, np.float32), self.components, self.variance * factor**2,
            self.left_out * factor**2, self.n,
        )  # fmt: skip

    def transform(self, images: Float[np.ndarray, "n c h w"]) -> Float[np.ndarray, "n k"]:
        """Scores of images on the components."""
        with one_thread():
            flat = (images - self.mean).reshape(len(images), -1).astype(np.float32)
            return np.asarray(flat @ self.components.T)

    def reconstruct(
        self, images: Float[np.ndarray, "n c h w"], *, is_clipped: bool = True
    ) -> Float[np.ndarray, "n c h w"]:
        """Images through the k components and back, float32, clipped to 0..1 as the model's are."""
        with one_thread():
            flat = self.transform(images) @ self.components
        made = flat.reshape(images.shape) + self.mean
        return np.asarray(np.clip(made, 0, 1) if is_clipped else made, np.float32)


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
    variance = np.maximum(values[: min(n - 1, flat.shape[1])], 0) / (n - 1)
    left_out = float(variance[kept:].sum())
    return PixelPca(mean.reshape(images.shape[1:]), _with_signs(components), variance, left_out, n)


def _with_signs(components: np.ndarray) -> np.ndarray:
    """Components with their largest loading positive: the same ones however they were found."""
    largest = np.abs(components).argmax(axis=1)
    signs = np.where(components[np.arange(len(components)), largest] < 0, -1, 1)
    return components * signs.astype(np.float32)[:, None]


def _gram(flat: np.ndarray) -> np.ndarray:
    """flat @ flat.T; chunks of columns in the precision of `flat`, their sum in float64."""
    gram = np.zeros((len(flat), len(flat)))
    for start in range(0, flat.shape[1], _CHUNK_COLUMNS):
        chunk = flat[:, start : start + _CHUNK_COLUMNS]
        gram += chunk @ chunk.T
    return gram


class PcaStream:
    """PCA of images that come batch by batch, each seen once, in memory that does not grow with them.

    Images of at most 1024 values: their covariance, which is exact. Larger ones: what is known of those seen, k and as
    many spare components again, scaled by their spread, takes the place of these images beside the next ones, and the
    largest components of both are kept. The first few hundred images are exact in this way, too.

    Memory is at most about 400 MB, unless the components alone take more.

    Args:
        n_components: k.

    Source: Ross et al. 2008, section 3.1, https://doi.org/10.1007/s11263-007-0075-7 (merging with a change of the mean)
    Example:
        >>> stream = PcaStream(1)
        >>> for shift in (0.0, 0.5):
        ...     stream.add(np.stack([np.full((1, 2, 2), 0.1 + shift), np.full((1, 2, 2), 0.2 + shift)]))
        >>> stream.result().components.round(3)
        array([[0.5, 0.5, 0.5, 0.5]], dtype=float32)
    """

    def __init__(self, n_components: int) -> None:
        self.n_components, self._n_merged = n_components, 0
        self._shape: tuple[int, ...] = ()
        self._mean, self._total = np.zeros(0), 0.0
        self._covers_all = False  # whether _squares is kept, in place of components
        self._squares = np.zeros((0, 0))
        self._n_kept, self._n_most_kept, self._n_waiting = 0, 0, 0
        self._rows = np.zeros((0, 0), np.float32)  # those kept, then images that wait; the last one stays free

    @property
    def n(self) -> int:
        """Images taken in."""
        return self._n_merged + self._n_waiting

    def add(self, images: Float[np.ndarray, "b c h w"]) -> None:
        """Take more images in; they are not changed."""
        flat = images.reshape(len(images), -1)
        if not self._shape:
            self._begin(images.shape[1:])
        done = 0
        while done < len(flat):
            first = self._n_kept + self._n_waiting
            n = min(len(flat) - done, len(self._rows) - 1 - first)
            self._rows[first : first + n] = flat[done : done + n]
            self._n_waiting, done = self._n_waiting + n, done + n
            if first + n == len(self._rows) - 1:
                self._merge()

    def result(self) -> PixelPca:
        """The components of all images so far; more may be added afterwards.

        Raises:
            DataError: there were fewer than 2 images.
        """
        self._merge()
        if self.n < 2:
            raise DataError(f"PCA needs at least 2 training images, found {self.n}", hint="train on more images")
        if self._covers_all:
            with one_thread():
                values, vectors = np.linalg.eigh(self._squares)
            values, rows = np.maximum(values[::-1], 0), vectors.T[::-1]
        else:
            rows = self._rows[: self._n_kept]
            lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64, casting="same_kind"))
            values, rows = lengths**2, rows / np.maximum(lengths, 1e-30)[:, None]
        kept = min(self.n_components, self.n - 1, _n_above_rounding(values))
        left_out = max(self._total - float(values[:kept].sum()), 0.0) / (self.n - 1)
        mean = self._mean.reshape(self._shape).astype(np.float32)
        components = _with_signs(np.ascontiguousarray(rows[:kept], np.float32))
        return PixelPca(mean, components, values / (self.n - 1), left_out, self.n)

    def _begin(self, shape: tuple[int, ...]) -> None:
        n_values = int(np.prod(shape))
        self._shape, self._mean = tuple(shape), np.zeros(n_values)
        self._covers_all = n_values <= _MOST_SQUARED
        most = _STREAM_VALUES // n_values
        if self._covers_all:
            self._squares = np.zeros((n_values, n_values))
        else:
            spare = max(_SPARE, self.n_components)
            self._n_most_kept = max(self.n_components, min(self.n_components + spare, most - _LEAST_STREAM_BATCH))
        batch = max(_LEAST_STREAM_BATCH, min(_STREAM_BATCH, most - self._n_most_kept))
        self._rows = np.empty((self._n_most_kept + batch + 1, n_values), np.float32)

    def _merge(self) -> None:
        """Images that wait, less their mean, and the way between both means join what is known."""
        kept, new, n = self._n_kept, self._n_waiting, self._n_merged
        if not new:
            return
        waiting = self._rows[kept : kept + new]
        mean = waiting.mean(axis=0, dtype=np.float64)
        waiting -= mean.astype(np.float32)
        self._rows[kept + new] = np.sqrt(n * new / (n + new)) * (mean - self._mean)
        self._mean += (mean - self._mean) * new / (n + new)
        self._n_merged, self._n_waiting = n + new, 0
        with one_thread():
            if self._covers_all:
                rows = self._rows[: new + 1]
                self._squares += rows.T @ rows
                self._total = float(np.trace(self._squares))
            else:
                self._compress(kept + new + 1)

    def _compress(self, n_rows: int) -> None:
        """Rows, those kept among them, become fewer orthogonal ones that spread most nearly as they did."""
        rows = self._rows[:n_rows]
        squares = _gram(rows)
        self._total += float(np.trace(squares[self._n_kept :, self._n_kept :]))
        values, vectors = np.linalg.eigh(squares)
        self._n_kept = min(self._n_most_kept, _n_above_rounding(values[::-1]))
        turn = vectors[:, ::-1][:, : self._n_kept].T.astype(np.float32)
        for start in range(0, rows.shape[1], _CHUNK_COLUMNS):
            columns = slice(start, start + _CHUNK_COLUMNS)
            rows[: self._n_kept, columns] = turn @ rows[:, columns]


def _n_above_rounding(values: np.ndarray) -> int:
    """How many of some falling variances are more than rounding."""
    return int((values > max(float(values[0]), 0.0) * _LEAST_SHARE).sum()) if len(values) else 0


def fit_pixel_pca_stream(batches: Iterable[Float[np.ndarray, "_ c h w"]], n_components: int) -> PixelPca:
    """PCA of images that come in batches, by `PcaStream`.

    Args:
        batches: Images, float32, all of one shape.
        n_components: k; at most the rank of the data can be found.

    Raises:
        DataError: there are fewer than 2 images.
    """
    stream = PcaStream(n_components)
    for images in batches:
        stream.add(images)
    return stream.result()
