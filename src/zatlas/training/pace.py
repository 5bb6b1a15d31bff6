"""How many threads compute shards: decided by the time that steps of the training itself take, and looked at again.

The number changes no result, only speed, so it is tried on real steps instead of a rehearsal: at the start, and again
when steps take twice as long as they did, which happens when other programs begin to use the processor. Trials of the
candidates alternate, because the machine's speed drifts.
"""

import logging
import os
import statistics
from collections import deque
from collections.abc import Iterator

__all__ = ["Pace"]

log = logging.getLogger(__name__)

_STEPS_PER_TURN, _TURNS = 4, 3  # of each candidate, in turn
_SAME = 1.1  # fewer threads are taken when they are this much faster
_SLOWER = 2.0  # times as long per step as in the best stretch: time to look again
_STRETCH = 30  # steps over which a median is taken
_REST_S = 60.0  # between two trials, at least [s]
_AGAIN_S = 60.0  # after which more threads are tried again, when fewer than there are were faster [s]


class Pace:
    """The number of threads in force, told of each step.

    Args:
        most: Threads at hand, or as many as have work.
        is_fixed: The number was asked for by hand: no trial.
        reason: Why it is `most`, as long as nothing was tried.

    Attributes:
        threads: How many threads the next step shall use.
        reason: Why.
    """

    def __init__(self, most: int, *, is_fixed: bool, reason: str) -> None:
        self.threads, self.reason = most, reason
        self._most = most
        self._trial = None if is_fixed or most == 1 else self._trying("at the start")
        self._is_watching = self._trial is not None
        self._recent: deque[float] = deque(maxlen=_STRETCH)
        self._best_s = float("inf")
        self._since_trial_s = 0.0
        self._latest_s = 0.0
        if self._trial is not None:
            next(self._trial)

    def record(self, seconds: float) -> bool:
        """Take note of a step; returns whether `threads` has changed."""
        before, self._latest_s = self.threads, seconds
        if self._trial is not None:
            if next(self._trial, None) is None:
                self._trial, self._since_trial_s = None, 0.0
                self._recent.clear()
        elif self._is_watching:
            self._watch(seconds)
        return self.threads != before

    def _watch(self, seconds: float) -> None:
        self._recent.append(seconds)
        self._since_trial_s += seconds
        if len(self._recent) < _STRETCH:
            return
        median = statistics.median(self._recent)
        self._best_s = min(self._best_s, median)
        if self.threads < self._most and self._since_trial_s > _AGAIN_S:
            self._trial = self._trying("a minute later")
            next(self._trial)
        elif median > _SLOWER * self._best_s and self._since_trial_s > _REST_S:
            log.info(
                "training runs at %.0f %% of its best speed%s; looking again how many threads are best",
                100 * self._best_s / median, _load(),
            )  # fmt: skip
            self._trial = self._trying("while other programs use the processor")
            next(self._trial)

    def _trying(self, when: str) -> Iterator[bool]:
        """Alternate between numbers of threads, a few steps each, then settle; resumed after each step."""
        candidates = _candidates(self._most)
        times: dict[int, list[float]] = {number: [] for number in candidates}
        for _ in range(_TURNS):
            for number in candidates:
                self.threads = number
                for step in range(_STEPS_PER_TURN):
                    yield True
                    if step:  # the first step after a change warms up
                        times[number].append(self._latest_s)
        medians = {number: statistics.median(taken) for number, taken in times.items()}
        best = self._most
        for number in candidates:
            if medians[number] * _SAME < medians[best]:
                best = number
        self.threads = best
        shares = ", ".join(f"{number}: {1000 * medians[number]:.0f} ms" for number in candidates)
        self.reason = f"the fastest in a trial {when}, per step {shares}{_load()}"
        log.info("threads: %d (%s)", best, self.reason)


def _candidates(most: int) -> list[int]:
    """`most`, then halves of it down to 1."""
    numbers = [most]
    while numbers[-1] > 1:
        numbers.append(numbers[-1] // 2)
    return numbers


def _load() -> str:
    """The load of the machine in words, where the system tells it."""
    return f" (load {os.getloadavg()[0]:.1f})" if hasattr(os, "getloadavg") else ""
