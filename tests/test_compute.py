"""Threads: limits hold while anybody is inside, and are gone when the last one has left."""

import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import threadpoolctl
import torch

from zatlas.compute import in_shards, one_thread, one_thread_per_operator, shards_of

OUTSIDE = 3


@pytest.fixture
def three_threads() -> Iterator[None]:
    """Operators of torch, and linear algebra, use three threads outside."""
    before = torch.get_num_threads()
    with one_thread():  # loads every library that has threads
        pass
    with threadpoolctl.threadpool_limits(OUTSIDE):
        torch.set_num_threads(OUTSIDE)
        yield
        torch.set_num_threads(before)


def blas_threads() -> set[int]:
    return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}


class Visitor(threading.Thread):
    """Enters a block when told to, and leaves it when told to."""

    def __init__(self, block: Callable[[], object], look: Callable[[], object]) -> None:
        super().__init__(daemon=True)
        self.block, self.look, self.seen = block, look, []
        self.may_enter, self.is_in, self.may_look, self.has_looked = (threading.Event() for _ in range(4))
        self.may_leave = threading.Event()
        self.start()

    def run(self) -> None:
        self.may_enter.wait(60)
        with self.block():
            self.is_in.set()
            self.may_look.wait(60)
            self.seen.append(self.look())
            self.has_looked.set()
            self.may_leave.wait(60)
        self.seen.append(self.look())

    def enter(self) -> None:
        self.may_enter.set()
        assert self.is_in.wait(60)

    def looked(self) -> object:
        self.may_look.set()
        assert self.has_looked.wait(60)
        return self.seen[0]

    def leave(self) -> None:
        self.may_leave.set()
        self.join(60)
        assert not self.is_alive()


@pytest.mark.parametrize(
    ("block", "look", "one", "outside"),
    [
        (one_thread_per_operator, torch.get_num_threads, 1, OUTSIDE),
        (one_thread, blas_threads, {1}, {OUTSIDE}),
    ],
)
def test_the_first_to_leave_changes_nothing_for_the_second(three_threads, block, look, one, outside):
    with block():
        visitor = Visitor(block, look)
        visitor.enter()
    assert visitor.looked() == one, "the first one is gone, the second is still inside"
    visitor.leave()
    with block():
        assert look() == one
    assert look() == outside, "nobody is inside"


@pytest.mark.parametrize(
    ("block", "look", "outside"),
    [(one_thread_per_operator, torch.get_num_threads, OUTSIDE), (one_thread, blas_threads, {OUTSIDE})],
)
def test_who_comes_while_another_is_inside_leaves_no_limit_behind(three_threads, block, look, outside):
    visitor = Visitor(block, look)
    with block():
        visitor.enter()
        visitor.looked()
    visitor.leave()
    assert visitor.seen[1] == outside
    another = Visitor(block, look)
    another.enter()
    another.looked()
    another.leave()
    assert another.seen[1] == outside


def test_blocks_within_blocks_are_counted(three_threads):
    with one_thread_per_operator():
        with one_thread_per_operator():
            pass
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == OUTSIDE


def test_a_block_that_fails_is_left_too(three_threads):
    with pytest.raises(ZeroDivisionError), one_thread_per_operator(), one_thread():
        raise ZeroDivisionError
    assert torch.get_num_threads() == OUTSIDE
    assert blas_threads() == {OUTSIDE}


def test_two_threads_at_once_get_the_bits_of_one():
    rng = np.random.default_rng(0)
    weights, rows = (torch.from_numpy(rng.normal(size=size).astype(np.float32)) for size in ((96, 96), (40, 96)))
    alone = torch.cat(in_shards(lambda part: part @ weights, rows))
    found: list[torch.Tensor] = []
    workers = [
        threading.Thread(target=lambda: found.append(torch.cat(in_shards(lambda part: part @ weights, rows))))
        for _ in range(4)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert len(found) == 4
    assert all(torch.equal(alone, other) for other in found)
    assert [len(part) for part in shards_of(rows)] == [16, 16, 8]
