"""The work of a step, recorded once as a CUDA graph and replayed: one launch instead of several hundred.

Small networks with batches of 16 leave a CUDA device waiting for the host, which needs longer to launch an operation
than the device to do it. **Never run on a device so far**, so it is off unless `ZATLAS_CUDA_GRAPH=1` is set;
`python bench/gpu.py` says whether it gives the same losses, and how much faster it is.

A graph repeats operations on the same memory with the same plain numbers. So whatever changes from step to step comes
in as a tensor, the rate's weight and the learning rate too, and is copied to where the graph reads it. Parameters,
noise of the likelihood and the optimizer's state are changed where they lie; should one of them have moved, a new graph
is recorded. What the host decides in each step (is the loss finite, must the gradient be shortened) stays outside.
"""

import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

__all__ = ["Graphs", "are_asked_for"]

log = logging.getLogger(__name__)

_PLAIN_STEPS = 3  # before one is recorded: libraries choose and keep what they need in the first ones
_SWITCH = "ZATLAS_CUDA_GRAPH"

Result = TypeVar("Result")


def are_asked_for() -> bool:
    """Whether the environment asks for graphs."""
    return os.environ.get(_SWITCH, "") == "1"


class Graphs:
    """Runs functions of tensors, by a graph as soon as inputs of the same shapes have come a few times.

    Where recording fails, one line of the log says so and all goes on without.

    Args:
        memory: What the function reads or changes beside its inputs, and that others might put elsewhere.

    Attributes:
        failure: Why nothing is recorded any more; "" while all is well.
    """

    def __init__(self, memory: Callable[[], Iterable[Tensor]] = tuple) -> None:
        self._memory, self._places = memory, [one.data_ptr() for one in memory()]
        self._seen: Counter[tuple[Any, ...]] = Counter()
        self._recordings: dict[tuple[Any, ...], _Recording] = {}
        self.failure = ""

    def run(self, function: Callable[..., Result], *inputs: Tensor | None) -> Result:
        """function(*inputs).

        Args:
            function: Always the same one; depends on nothing that changes but its inputs and the memory.
            inputs: On the device.

        Returns:
            Tensors that the next call writes over.
        """
        if self.failure:
            return function(*inputs)
        self._forget_what_has_moved()
        key = tuple(None if one is None else (one.shape, one.dtype) for one in inputs)
        if key not in self._recordings:
            self._seen[key] += 1
            if self._seen[key] <= _PLAIN_STEPS or not self._record(key, function, inputs):
                return function(*inputs)
        recording = self._recordings[key]
        for place, one in zip(recording.inputs, inputs, strict=True):
            if place is not None and one is not None:
                place.copy_(one)
        recording.replay()
        found: Result = recording.found
        return found

    def __len__(self) -> int:
        """Number of graphs that are replayed."""
        return len(self._recordings)

    def _forget_what_has_moved(self) -> None:
        places = [one.data_ptr() for one in self._memory()]
        if places != self._places:
            self._places = places
            self._seen.clear()
            self._recordings.clear()

    def _record(self, key: tuple[Any, ...], function: Callable[..., Any], inputs: tuple[Tensor | None, ...]) -> bool:
        own = [None if one is None else one.clone() for one in inputs]
        try:
            found, replay = recorded(lambda: function(*own))
        except RuntimeError as err:
            self.failure = (str(err).splitlines() or [type(err).__name__])[0]
            log.warning("no CUDA graph: %s; training goes on without", self.failure)
            return False
        self._recordings[key] = _Recording(own, found, replay)
        log.info("recorded a CUDA graph")
        return True


class _Recording(NamedTuple):
    inputs: list[Tensor | None]
    found: Any
    replay: Callable[[], None]


def recorded(function: Callable[[], Result]) -> tuple[Result, Callable[[], None]]:
    """What function() will have returned after each call of the second one; it is not computed yet."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        found = function()
    return found, graph.replay
