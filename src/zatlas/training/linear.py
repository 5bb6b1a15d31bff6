"""PCA of what a network learns from: the same tiles, flipped, turned and moved as its own, until it has seen enough.

A linear model that has seen fewer images than the network, or none of their variations, would be too easy to beat. No
number of draws is set: they double until the validation part gains nothing any more. Shifts and zooms cost a small PCA
components that images as they are do not need: on 724 radiographs of 128 px 0.10 dB at 4 and 16 components, while 32
gain 0.08 dB by them. So whole images are tried without, too, and the validation part chooses.

The components of a smaller PCA are the first ones of a larger. So several numbers of components take one fit, which
goes on until none of them gains any more.
"""

import contextlib
import copy
import dataclasses
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from zatlas.compute import one_thread_per_operator
from zatlas.tiles.greys import SMALLEST_ERROR
from zatlas.tiles.loader import Tiles
from zatlas.tiles.pixel_pca import PcaStream, PixelPca
from zatlas.tiles.samplers import evenly
from zatlas.tiles.transforms import as_shown
from zatlas.training.jitter import jittered, keyed_jitter

__all__ = ["PcaTrail", "SettledPca", "SettledPcas", "expected_draws", "fit_settled_pca", "fit_settled_pcas"]

log = logging.getLogger(__name__)

_BATCH = 64
_FIRST_DRAWS = 1024
_MOST_DRAWS = 65_536
_SETTLED_DB = 0.02
_MOST_VALIDATION = 1000


class SettledPca(NamedTuple):
    """A PCA of one number of components, and how it came about.

    Attributes:
        pca: The components.
        n_draws: Images drawn, repeats and variations counted.
        is_augmented: Whether images were flipped, turned, shifted or zoomed.
        is_settled: Whether more draws would hardly help: the last doubling gained less than 0.02 dB on the validation
            part at every number of components that was fitted with it, or each image was seen as it is. Otherwise the
            most draws allowed came first.
        draws: Numbers of draws at which the validation part was looked at.
        validation_db: Its mean PSNR there [dB]; NaN without a validation part.
        other_db: That of the one not taken, with or without variations; NaN where there was none.
    """

    pca: PixelPca
    n_draws: int
    is_augmented: bool
    is_settled: bool
    draws: tuple[int, ...]
    validation_db: tuple[float, ...]
    other_db: float = float("nan")


@dataclass(frozen=True)
class PcaTrail:
    """PCA of one kind of images, with or without variations, and what the validation part said on the way.

    Attributes:
        pca: Of the largest number of components.
        is_augmented: Whether images were flipped, turned, shifted or zoomed.
        is_settled: As in `SettledPca`.
        sizes: Numbers of components that were looked at, rising.
        draws: Numbers of draws at which they were.
        validation_db: Mean PSNR of the validation part there [dB]; NaN where it is not known.
    """

    pca: PixelPca
    is_augmented: bool
    is_settled: bool
    sizes: tuple[int, ...]
    draws: tuple[int, ...]
    validation_db: Float[np.ndarray, "looks sizes"]

    def at(self, n_components: int) -> SettledPca:
        """The one of so many components, one of `sizes`."""
        found = self.validation_db[:, self.sizes.index(n_components)]
        return SettledPca(
            self.pca.first(n_components), self.draws[-1], self.is_augmented, self.is_settled, self.draws,
            tuple(found.tolist()),
        )  # fmt: skip


@dataclass(frozen=True)
class SettledPcas:
    """PCA for several numbers of components, from one fit; from two where whole images were tried without variations.

    Attributes:
        trails: The fits; both have looked at the same numbers of components.
    """

    trails: tuple[PcaTrail, ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """Numbers of components that were looked at, rising."""
        return self.trails[0].sizes

    def at(self, n_components: int) -> SettledPca:
        """The one of so many components, one of `sizes`, with or without variations as the validation part favours."""
        found = [trail.at(n_components) for trail in self.trails]
        found.sort(key=lambda one: -one.validation_db[-1])  # keeps the order where they are equal, or one is alone
        return found[0]._replace(other_db=found[1].validation_db[-1]) if len(found) > 1 else found[0]

    def looked_at(
        self, sizes: Sequence[int], validation: Tiles | None, limits: tuple[float, float] | None
    ) -> "SettledPcas":
        """The same fits, looked at for other numbers of components, none larger; nothing is fitted again.

        Args:
            sizes: Numbers of components.
            validation: As for the fit, like `limits`.
            limits: What is shown as black and as white.
        """
        new = sorted(set(sizes) - set(self.sizes))
        if not new:
            return self
        return SettledPcas(tuple(_looked_at(trail, new, validation, limits) for trail in self.trails))


def _looked_at(
    trail: PcaTrail, new: Sequence[int], validation: Tiles | None, limits: tuple[float, float] | None
) -> PcaTrail:
    columns = np.full((len(trail.draws), len(new)), np.nan)
    columns[-1] = _validation_db(trail.pca, new, validation, limits)
    order = np.argsort([*trail.sizes, *new])
    sizes = tuple(np.array([*trail.sizes, *new])[order].tolist())
    return dataclasses.replace(trail, sizes=sizes, validation_db=np.hstack([trail.validation_db, columns])[:, order])


def fit_settled_pca(
    train: Tiles,
    validation: Tiles | None,
    n_components: int,
    *,
    seed: int,
    jitter: float = 0.0,
    most_draws: int = _MOST_DRAWS,
    limits: tuple[float, float] | None = (0.0, 1.0),
) -> SettledPca:
    """`fit_settled_pcas` for one number of components."""
    found = fit_settled_pcas(
        train, validation, (n_components,), seed=seed, jitter=jitter, most_draws=most_draws, limits=limits
    )
    return found.at(n_components)


def fit_settled_pcas(
    train: Tiles,
    validation: Tiles | None,
    sizes: Sequence[int],
    *,
    seed: int,
    jitter: float = 0.0,
    most_draws: int = _MOST_DRAWS,
    limits: tuple[float, float] | None = (0.0, 1.0),
    on_progress: Callable[[int, int], None] | None = None,
) -> SettledPcas:
    """PCA of the images of `train` in the order and with the variations in which a network is shown them.

    Of whole images that and the PCA of the images as they are, between which the validation part chooses for each
    number of components. Memory is that of `PcaStream`, however many images there are.

    Args:
        train: What the network learns from.
        validation: Fixed tiles, of which at most 1000 evenly spaced ones say when to stop; without them all
            `most_draws` are made.
        sizes: Numbers of components; the largest one is fitted, until the last doubling of the draws gained less than
            0.02 dB at each of them.
        seed: From which shifts, zooms and bends derive.
        jitter: Their largest amount as a share of the side, for whole images; tiles, cut anywhere, are not moved.
        most_draws: After so many draws it ends in any case; at most 65 536.
        limits: What is shown as black and as white on the scale of the tiles; images are put on 0..1 and clipped to it
            as they are in reports. None leaves them as they are.
        on_progress: Called with (draws made, draws at most) after each batch, and once more at the end.

    Raises:
        DataError: fewer than 2 images were drawn.
    """
    wanted, most = sorted(set(sizes)), min(most_draws, _MOST_DRAWS)
    plan = [(train, jitter if train.sampler == "whole" else 0.0)]
    has_validation = validation is not None and len(validation) > 0
    is_whole = train.sampler == "whole"
    if is_whole and has_validation and len(train.images) > 1 and _is_augmented(*plan[0]):
        still = copy.copy(train)
        still.augment = False
        plan.append((still, 0.0))
    ends = [_most_of(*shown, most) for shown in plan]
    trails: list[PcaTrail] = []
    for shown, end in zip(plan, ends, strict=True):
        tell = _teller(on_progress, sum(ends[: len(trails)]), sum(ends))
        trails.append(_settled(*shown, validation, wanted, seed, end, limits, tell))
    if on_progress:
        on_progress(sum(ends), sum(ends))
    return SettledPcas(tuple(trails))


def _teller(on_progress: Callable[[int, int], None] | None, before: int, total: int) -> Callable[[int], None]:
    """What a fit tells its draws to, when others were planned before it."""

    def tell(n: int) -> None:
        if on_progress:
            on_progress(before + n, total)

    return tell


def _is_augmented(train: Tiles, amount: float) -> bool:
    return train.augment or amount > 0


def _most_of(train: Tiles, amount: float, most: int) -> int:
    """Draws at most; of whole images as they are a second look shows nothing new."""
    is_still = train.sampler == "whole" and not _is_augmented(train, amount)
    return min(most, len(train.images)) if is_still else most


def expected_draws(sampler: str, n_images: int, n_components: int, *, is_varied: bool) -> int:
    """How many images a fit draws: of tiles at most, of whole images when two looks at those varied settle it.

    Args:
        sampler: Of the training tiles.
        n_images: How many training images there are.
        n_components: The largest number of components.
        is_varied: Whether images are flipped, turned, shifted or zoomed.
    """
    if sampler != "whole":
        return _MOST_DRAWS
    varied = 2 * max(_FIRST_DRAWS, 8 * n_components) if is_varied else 0
    return min(n_images, _MOST_DRAWS) + min(varied, _MOST_DRAWS)


def _settled(
    train: Tiles, amount: float, validation: Tiles | None, sizes: Sequence[int], seed: int, most: int,
    limits: tuple[float, float] | None, tell: Callable[[int], None],
) -> PcaTrail:  # fmt: skip
    stream = PcaStream(sizes[-1])
    due = min(max(_FIRST_DRAWS, 8 * sizes[-1]), most)
    draws: list[int] = []
    found: list[Float[np.ndarray, " sizes"]] = []
    with one_thread_per_operator(), contextlib.closing(_drawn(train, amount, seed, limits)) as images:
        while True:
            _take(images, stream, due, tell)
            pca = stream.result()
            draws.append(stream.n)
            found.append(_validation_db(pca, sizes, validation, limits))
            log.info("PCA of the pixels: %s dB on validation after %d draws", found[-1].round(3), draws[-1])
            has_doubled = len(found) > 1 and draws[-1] >= 2 * draws[-2]
            is_settled = has_doubled and bool((found[-1] - found[-2] < _SETTLED_DB).all())
            if is_settled or due >= most:
                break
            due = min(2 * due, most)
    is_augmented = _is_augmented(train, amount)
    has_seen_all = not is_augmented and train.sampler == "whole" and stream.n >= len(train.images)
    return PcaTrail(pca, is_augmented, is_settled or has_seen_all, tuple(sizes), tuple(draws), np.array(found))


def _drawn(
    train: Tiles, amount: float, seed: int, limits: tuple[float, float] | None
) -> Generator[Float[np.ndarray, "_ c h w"], None, None]:
    """Images without end, epoch after epoch, as the network is shown them."""
    epoch = index = 0
    while True:
        ahead = 2 if train.epoch_length(epoch) > _BATCH else 0  # a thread for a single batch costs more than the batch
        with contextlib.closing(train.batches(epoch, _BATCH, prefetch=ahead)) as batches:
            for batch in batches:
                x = batch.x
                if amount:
                    moves = keyed_jitter(len(x), amount=amount, seed=seed, stream="jitter of PCA", index=index)
                    x = jittered(x, moves)
                index += 1
                yield x.numpy() if limits is None else as_shown(x.numpy(), limits)
        epoch += 1


def _take(
    images: Generator[Float[np.ndarray, "_ c h w"], None, None], stream: PcaStream, due: int,
    tell: Callable[[int], None],
) -> None:  # fmt: skip
    """Feed the stream until it has seen `due` images; the rest of a batch is lost."""
    while stream.n < due:
        some = next(images)
        stream.add(some[: due - stream.n])
        tell(stream.n)


def _validation_db(
    pca: PixelPca, sizes: Sequence[int], validation: Tiles | None, limits: tuple[float, float] | None
) -> Float[np.ndarray, " sizes"]:
    """Mean PSNR of the validation part for each number of components, padding left out; of the range 1 [dB]."""
    if validation is None or len(validation) == 0:
        return np.full(len(sizes), np.nan)
    rows = evenly(len(validation), _MOST_VALIDATION)
    smaller = [pca.first(n) for n in sizes]
    values = []
    with contextlib.closing(validation.subset(rows).batches(0, _BATCH)) as batches:
        for batch in batches:
            x = batch.x.numpy() if limits is None else as_shown(batch.x.numpy(), limits)
            mask = batch.mask.numpy()
            n_values = np.maximum(mask.sum(axis=(1, 2, 3)) * x.shape[1], 1)
            made = (one.reconstruct(x, is_clipped=limits is not None) for one in smaller)
            squared = [(((some - x) ** 2) * mask).sum(axis=(1, 2, 3), dtype=np.float64) for some in made]
            values.append(np.stack(squared) / n_values)
    error = np.concatenate(values, axis=1)
    return np.asarray(-10 * np.log10(np.maximum(error, SMALLEST_ERROR)).mean(axis=1))
