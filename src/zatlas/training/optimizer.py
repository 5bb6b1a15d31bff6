"""What moves the parameters after each step: Adam for most of them, Muon for the inner matrices.

Both keep their running sums in vectors like those of `Weights`, so that a checkpoint holds them by the names of the
parameters.
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

from zatlas.training.adam import AdamW
from zatlas.training.graphs import Graphs
from zatlas.training.muon import Muon
from zatlas.training.sending import sent
from zatlas.training.weights import Weights

__all__ = ["Optimizer"]

_MUON_RATE = 10  # learning rate of the matrices, in spectral norm, relative to that of Adam (defaults.md)
_MOMENTS = ("exp_avg", "exp_avg_sq")


class Optimizer:
    """Moves the values of `weights` against their gradients.

    Args:
        weights: What is trained; whoever steps calls `weights.renew()` afterwards.
        kind: "muon" for the inner matrices, with Adam for the rest; "adam" for Adam alone.
        weight_decay: Decoupled, relative to the rate: of the inner matrices alone with "muon", of all parameters with
            "adam".
        each: Calls a function for each of several things, such as `map` or that of a pool of threads; without effect on
            the result.
        graphs: Replays steps on a CUDA device; None computes each.

    Attributes:
        graphs: The same.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        kind: str,
        weight_decay: float = 0.0,
        each: Callable[..., Iterable[None]] = map,
        graphs: Graphs | None = None,
    ) -> None:
        self.graphs = graphs
        self._weights, self._each, self._weight_decay = weights, each, weight_decay
        values = weights.values.detach()
        has_muon = kind == "muon" and weights.n_plain < len(values)
        self._n_adam = weights.n_plain if has_muon else len(values)
        self._adam = AdamW(values[: self._n_adam], weight_decay=0.0 if has_muon else weight_decay)
        self._inner = values[self._n_adam :]
        self._muon = Muon(self._inner, _matrices_of(weights), weights.computing_dtype) if has_muon else None

    def step(self, gradients: Float[Tensor, " p"], learning_rate: float) -> None:
        """Move all parameters.

        Args:
            gradients: A vector like `Weights.values`; overwritten.
            learning_rate: Of Adam; that of the matrices follows it.
        """
        if self.graphs is None:
            self._move(gradients, learning_rate)
        else:
            self.graphs.run(self._move, gradients, sent(torch.tensor(learning_rate), gradients.device))

    def _move(self, gradients: Float[Tensor, " p"], learning_rate: float | Float[Tensor, ""]) -> None:
        self._adam.learning_rate = learning_rate
        self._adam.step(gradients[: self._n_adam], self._each)
        if self._muon is not None:
            rate = _MUON_RATE * learning_rate
            self._inner.mul_(1 - rate * self._weight_decay)
            self._muon.step(gradients[self._n_adam :], rate, self._each)

    def tensors(self) -> dict[str, Tensor]:
        """The state as tensors named `PARAMETER:exp_avg`, and so on, for a checkpoint."""
        state = self._adam.state
        found = {
            f"{name}:{key}": part.clone(memory_format=torch.contiguous_format)  # safetensors refuses shared memory
            for key in _MOMENTS
            for name, part in self._weights.views(state[key]).items()
        }
        if self._muon is not None:
            momentum = self._weights.matrix_views(self._muon.momentum)
            found |= {f"{name}:momentum": part.clone() for name, part in momentum.items()}
        return {**found, "step": state["step"].clone()}

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`."""
        state = self._adam.state
        state["step"].copy_(tensors["step"])
        for key in _MOMENTS:
            for name, part in self._weights.views(state[key]).items():
                part.copy_(tensors[f"{name}:{key}"])
        if self._muon is not None:
            for name, part in self._weights.matrix_views(self._muon.momentum).items():
                part.copy_(tensors[f"{name}:momentum"])


def _matrices_of(weights: Weights) -> Callable[[Float[Tensor, " m"]], list[Float[Tensor, "r c"]]]:
    return lambda vector: list(weights.matrix_views(vector).values())
