"""All chance in zatlas: every draw is a function of the seed and of what it is for, looked up in one table.

No generator is passed around and none has a state that outlives its purpose, so that batch size, prefetching, resuming
and the number of threads never change a draw, and a new purpose never shifts those of the others. A stream that is not
in `STREAMS` cannot be drawn from.

Some ways lead from (seed, stream) to numbers; which one a stream takes is part of the table, because another would
give other bits:

    "philox"   a numpy generator of its own (`generator`)
    "pcg64"    numpy's default generator, keyed (`generator`)
    "derived"  a seed below 2**32 (`derived_seed`), for libraries that ask for one, or for numpy's default generator
    "words"    four words for each index by Philox4x64, in any order and any part (`random_words`)
    "torch"    a seed below 2**63 for a torch generator (`torch_seed`)
    "page"     normal numbers that the explorer's page draws too, in a browser (`page_normal`)
"""

import zlib
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt64

__all__ = [
    "MOST_DRAWS",
    "STREAMS",
    "Stream",
    "derived_seed",
    "generator",
    "page_normal",
    "random_words",
    "shuffled",
    "torch_seed",
]


class Stream(NamedTuple):
    """One purpose of chance.

    Attributes:
        way: How numbers come from it, see above.
        number: What keys it beside the seed; None takes the checksum (CRC-32) of its name.
    """

    way: Literal["philox", "pcg64", "derived", "words", "torch", "page"]
    number: int | None = None


STREAMS = {
    # images
    "test groups": Stream("philox"),
    "test images": Stream("philox"),
    "validation groups": Stream("philox"),
    "validation images": Stream("philox"),
    "contact sheet": Stream("philox"),
    "phantom section": Stream("philox", 0x5EC7),
    "phantom patient": Stream("philox", 0x9A71),
    "phantom radiograph": Stream("philox", 0x1A6E),
    "phantom order": Stream("philox", 0x08DE),
    # tiles
    "tile phase": Stream("words", 1),
    "tile shuffle": Stream("words", 2),
    "tile position": Stream("words", 3),
    "tile symmetry": Stream("words", 4),
    "fixed tiles of validation": Stream("pcg64", 11),
    "fixed tiles of test": Stream("pcg64", 12),
    "fixed tiles of train": Stream("pcg64", 13),
    "fixed tiles of atlas": Stream("pcg64", 14),
    # training; the numbers 11 to 13 stand above too, for another kind of generator
    "validation of fit": Stream("pcg64", 7),
    "training noise": Stream("torch", 11),
    "evaluation noise": Stream("torch", 12),
    "jitter": Stream("torch", 13),
    "jitter of PCA": Stream("torch"),
    "rate noise": Stream("torch"),
    "texture of samples": Stream("torch"),
    "filters of textures": Stream("torch"),
    "another texture": Stream("page", 0x7E37),
    "importance noise": Stream("torch"),
    # atlas and trust
    "refinement noise": Stream("torch", 14),
    "refinement check": Stream("torch", 15),
    "amortisation noise": Stream("torch", 16),
    "tsne": Stream("derived"),
    "tsne start": Stream("derived"),
    "projection": Stream("derived"),  # keyed by the name of the map
    "trust": Stream("derived"),
    "kmeans": Stream("derived"),
    "clusters sample": Stream("derived"),
    "reference": Stream("derived"),
    "halves": Stream("derived"),
    "null": Stream("derived"),
    "members": Stream("derived"),
    "density": Stream("derived"),
    "density rows": Stream("derived"),
    "density trial": Stream("derived"),
    "density folds": Stream("derived"),
    "density component": Stream("derived"),
    "density noise": Stream("derived"),
    "mismatch kl": Stream("derived"),
    "mismatch auc": Stream("derived"),
    "mismatch folds": Stream("derived"),
    "probe": Stream("derived"),
    "prior samples": Stream("derived"),
    "prior draws": Stream("derived"),
    "prior rows": Stream("derived"),
    "prior validation": Stream("derived"),
    "prior flow": Stream("derived"),
    "prior judged": Stream("derived"),
    "prior apart": Stream("derived"),
    "prior repeat": Stream("derived"),
    "prior split": Stream("derived"),
    "prior strip": Stream("derived"),
    "neighbour queries": Stream("derived"),
    "onnx check": Stream("derived"),
}
"""Every purpose for which zatlas draws random numbers."""

_WORDS = 4
_LARGEST_GAP = 64
"""Up to so many unused indices are drawn rather than starting Philox anew."""


def derived_seed(seed: int, name: str, *keys: int) -> int:
    """A seed of its own for a stream, from the one seed of a study; below 2**32.

    Args:
        seed: The one seed.
        name: A stream of `STREAMS` with the way "derived".
        keys: Numbers that part draws of one purpose (a fold, a number of clusters).

    Example:
        >>> derived_seed(0, "tsne") == derived_seed(0, "tsne"), derived_seed(0, "tsne") == derived_seed(0, "kmeans")
        (True, False)
    """
    return int(_sequence(seed, name, keys, "derived").generate_state(1)[0])


def generator(seed: int, name: str, *keys: int) -> np.random.Generator:
    """The random numbers of one purpose, from their beginning.

    Args:
        seed: The one seed.
        name: A stream of `STREAMS` with the way "philox", "pcg64" or "derived".
        keys: Numbers that part draws of one purpose.

    Example:
        >>> bool(generator(0, "contact sheet").integers(100) == generator(0, "contact sheet").integers(100))
        True
    """
    way = STREAMS[name].way
    if way == "derived":
        return np.random.default_rng(derived_seed(seed, name, *keys))
    sequence = _sequence(seed, name, keys, "philox", "pcg64")
    return np.random.Generator(np.random.Philox(sequence) if way == "philox" else np.random.PCG64(sequence))


def torch_seed(seed: int, name: str, index: int) -> int:
    """A seed below 2**63 for a torch generator: that of one step or batch of a purpose.

    Args:
        seed: The one seed.
        name: A stream of `STREAMS` with the way "torch".
        index: Number of the step or batch.
    """
    return int(_sequence(seed, name, (index,), "torch").generate_state(1, np.uint64)[0] >> np.uint64(1))


def page_normal(name: str, index: int, n: int) -> Float[np.ndarray, " n"]:
    """Standard normal numbers that a browser finds too (`normalNumbers` in web/src/chance.ts), float32.

    They depend on no seed: draw 2 of a texture is the same noise in Python and on the page, for every model.

    Args:
        name: A stream of `STREAMS` with the way "page".
        index: Number of the draw, from 0 to 2^32 - 1.
        n: How many.

    Source: mulberry32 by T. Ettinger (public domain), whose words are a function of their place; pairs of them by Box
        & Muller 1958, https://doi.org/10.1214/aoms/1177706645
    Example:
        >>> page_normal("another texture", 2, 3).round(4).tolist()
        [-0.4595000147819519, -0.3158000111579895, 0.6532999873161316]
    """
    way, number = STREAMS[name]
    if way != "page" or number is None:
        raise ValueError(f"the stream {name!r} is drawn from by way of {way}")
    first = _scrambled(np.array([(number + index * _GOLDEN) % 2**32], np.uint64))[0]
    places = first + np.arange(1, 2 * n + 1, dtype=np.uint64) * np.uint64(_MULBERRY)
    uniform = (_scrambled(places & _WORD) + 0.5) / 2**32
    normal = np.sqrt(-2 * np.log(uniform[::2])) * np.cos(2 * np.pi * uniform[1::2])
    return np.asarray(normal, np.float32)


MOST_DRAWS = 9999
"""Draws of a texture are numbered from 1 to this."""
_MULBERRY, _GOLDEN = 0x6D2B79F5, 0x9E3779B9
_WORD = np.uint64(0xFFFFFFFF)


def _scrambled(state: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """The word of mulberry32 for each state, all below 2**32."""
    t = ((state ^ (state >> np.uint64(15))) * (state | np.uint64(1))) & _WORD
    t ^= (t + ((t ^ (t >> np.uint64(7))) * (t | np.uint64(61)) & _WORD)) & _WORD
    return np.asarray(t ^ (t >> np.uint64(14)))


def random_words(seed: int, epoch: int, name: str, indices: Int[np.ndarray, " n"]) -> UInt64[np.ndarray, "n 4"]:
    """Four random words per index, the same ones whichever other indices are asked for.

    Args:
        seed: From 0 to 2^64 - 1, first half of the key.
        epoch: Second half of the key.
        name: A stream of `STREAMS` with the way "words".
        indices: Non-negative, in any order, repeats allowed.

    Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", https://doi.org/10.1145/2063384.2063405
    Example:
        >>> alone = random_words(0, 0, "tile phase", np.array([7]))
        >>> bool((random_words(0, 0, "tile phase", np.arange(9))[7] == alone).all())
        True
    """
    if len(indices) == 0:
        return np.empty((0, _WORDS), dtype=np.uint64)
    wanted, inverse = np.unique(indices, return_inverse=True)
    stretches = np.split(wanted, np.flatnonzero(np.diff(wanted) > _LARGEST_GAP) + 1)
    words = []
    for stretch in stretches:
        first, n = int(stretch[0]), int(stretch[-1] - stretch[0]) + 1
        drawn = _philox(seed, epoch, name, first).random_raw(_WORDS * n).reshape(n, _WORDS)
        words.append(drawn[stretch - first])
    return np.concatenate(words)[inverse]


def shuffled(seed: int, epoch: int, name: str, n: int) -> Int[np.ndarray, " n"]:
    """A random order of 0 to n - 1, by sorting n words of a stream with the way "words"."""
    return np.argsort(_philox(seed, epoch, name).random_raw(n), kind="stable")


def _sequence(seed: int, name: str, keys: tuple[int, ...], *ways: str) -> np.random.SeedSequence:
    way, number = STREAMS[name]
    if way not in ways:
        raise ValueError(f"the stream {name!r} is drawn from by way of {way}")
    return np.random.SeedSequence([seed, zlib.crc32(name.encode()) if number is None else number, *keys])


def _philox(seed: int, epoch: int, name: str, first: int = 0) -> np.random.Philox:
    way, number = STREAMS[name]
    if way != "words":
        raise ValueError(f"the stream {name!r} is drawn from by way of {way}")
    key = np.array([seed, epoch], dtype=np.uint64)
    return np.random.Philox(key=key, counter=np.array([first, number, 0, 0], dtype=np.uint64))
