"""The number of threads is tried on real steps, and again when the machine becomes busy."""

import itertools
import logging

import pytest

from zatlas.training.pace import Pace


def run(pace, seconds_by_threads, n):
    """Take n steps, each as long as the number of threads in force makes it; the numbers that were in force."""
    used = []
    for _ in range(n):
        used.append(pace.threads)
        pace.record(seconds_by_threads[pace.threads])
    return used


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 0.2, 2: 0.1, 4: 0.05}, 4),
        ({1: 0.1, 2: 0.1, 4: 0.1}, 4),  # no reason to use fewer
        ({1: 0.1, 2: 0.3, 4: 2.0}, 1),  # a machine on which threads get in each other's way
    ],
)
def test_the_fastest_number_of_threads_is_chosen(seconds, expected):
    pace = Pace(4, is_fixed=False, reason="4 cores are at hand")
    used = run(pace, seconds, 40)
    assert set(used[:36]) == {1, 2, 4}
    assert pace.threads == expected
    assert "fastest in a trial at the start, per step 4: " in pace.reason


def test_a_number_asked_for_is_never_tried():
    for pace in (Pace(3, is_fixed=True, reason="as asked for"), Pace(1, is_fixed=False, reason="one core is at hand")):
        before = pace.threads, pace.reason
        assert set(run(pace, dict.fromkeys(range(1, 4), 0.1), 200)) == {before[0]}
        run(pace, dict.fromkeys(range(1, 4), 1.0), 200)
        assert (pace.threads, pace.reason) == before


def test_half_the_speed_makes_it_look_again_once_a_minute(caplog):
    caplog.set_level(logging.INFO)
    pace = Pace(2, is_fixed=False, reason="2 cores are at hand")
    run(pace, {1: 0.18, 2: 0.1}, 400)
    assert pace.threads == 2
    assert "looking again" not in caplog.text
    busy = run(pace, {1: 0.3, 2: 2.0}, 100)
    assert caplog.text.count("looking again") == 1
    assert [threads for threads, _ in itertools.groupby(busy)] == [2, 1, 2, 1, 2, 1]
    assert pace.threads == 1
    assert "while other programs use the processor" in pace.reason
    quiet = run(pace, {1: 0.2, 2: 0.1}, 400)
    assert quiet[:100] == [1] * 100  # nothing slowed down
    assert pace.threads == 2  # but after a minute more threads get a chance again
