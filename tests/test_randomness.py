"""Chance: the same numbers for the same purpose, others for any other."""

import itertools
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zatlas.randomness import STREAMS, derived_seed, generator, random_words, shuffled, torch_seed

WORDS = sorted(name for name, stream in STREAMS.items() if stream.way == "words")


def names(*ways):
    return sorted(name for name, stream in STREAMS.items() if stream.way in ways)


def test_no_two_streams_of_a_way_share_their_numbers():
    for ways in (("philox",), ("pcg64",), ("derived",), ("words",), ("torch",)):
        keys = [STREAMS[n].number if STREAMS[n].number is not None else zlib.crc32(n.encode()) for n in names(*ways)]
        assert len(set(keys)) == len(keys), ways
    draws = {name: generator(5, name).integers(2**62) for name in names("philox", "pcg64", "derived")}
    assert len(set(draws.values())) == len(draws)


@pytest.mark.parametrize(
    ("name", "first"),
    [("test groups", 0.7013090225994731), ("phantom section", 0.2154991629607369), ("kmeans", 0.6316016351270639),
     ("fixed tiles of atlas", 0.9338133529794654), ("validation of fit", 0.6822299076083322)],
)  # fmt: skip
def test_draws_are_those_of_the_first_version(name, first):
    assert generator(3, name).random() == first


def test_an_unknown_stream_and_a_wrong_way_are_refused():
    with pytest.raises(KeyError):
        generator(0, "something new")
    with pytest.raises(ValueError, match="by way of words"):
        generator(0, "tile phase")
    with pytest.raises(ValueError, match="by way of torch"):
        random_words(0, 0, "jitter", np.arange(3))


def test_streams_have_seeds_of_their_own():
    seeds = {derived_seed(s, name, k) for s in (0, 1) for name in ("tsne", "kmeans") for k in (0, 1)}
    assert len(seeds) == 8
    assert derived_seed(2**40, "tsne") < 2**32
    assert len({torch_seed(s, n, i) for s in (0, 1) for n in ("jitter", "training noise") for i in (0, 1)}) == 8


def test_a_shuffle_holds_each_number_once():
    order = shuffled(0, 3, "tile shuffle", 100)
    assert sorted(order) == list(range(100))
    assert not np.array_equal(order, shuffled(0, 4, "tile shuffle", 100))


class TestRandomWords:
    @settings(deadline=None)
    @given(
        seed=st.integers(0, 2**64 - 1), epoch=st.integers(0, 10**6), indices=st.lists(st.integers(0, 5000), max_size=20)
    )
    def test_do_not_depend_on_what_else_is_drawn(self, seed, epoch, indices):
        together = random_words(seed, epoch, "tile phase", np.array(indices, dtype=np.int64))
        for words, index in zip(together, indices, strict=True):
            assert np.array_equal(words, random_words(seed, epoch, "tile phase", np.array([index]))[0])

    def test_differ_by_seed_epoch_stream_and_index(self):
        keys = itertools.product((0, 1), (0, 1), WORDS)
        words = np.concatenate([random_words(*key, np.arange(100)) for key in keys])
        assert len(np.unique(words)) == words.size
