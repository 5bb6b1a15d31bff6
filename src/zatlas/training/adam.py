"""AdamW on one vector of parameters.

The update is torch's own fused kernel, called without `torch.optim`, whose first optimizer imports torch._dynamo and
sympy: most of a second before the first step (speed.md).
"""

from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["AdamW"]

_BETAS, _EPS = (0.9, 0.999), 1e-8
_SLICE = 1 << 18  # values, a multiple of all that a processor takes at once


class AdamW:
    """AdamW with the usual constants (0.9, 0.999, 1e-8); the same bits as torch.optim.AdamW(fused=True).

    Source: Loshchilov & Hutter 2019, algorithm 2, https://arxiv.org/abs/1711.05101

    Args:
        values: The parameters, (p,) float32, on any device; changed in place.
        weight_decay: Share of the parameters that a step at learning rate 1 takes away.

    Attributes:
        learning_rate: Of the next step; 0 at first. A tensor where a CUDA graph must read it anew.
        state: exp_avg and exp_avg_sq, (p,) like the parameters, and step, the number of steps done, a scalar. Tensors
            may be copied into, but stay the same ones.
    """

    def __init__(self, values: Float[Tensor, " p"], *, weight_decay: float = 0.0) -> None:
        self._values, self._weight_decay = values.detach(), weight_decay
        self.learning_rate: float | Float[Tensor, ""] = 0.0
        self.state: dict[str, Tensor] = {
            "exp_avg": torch.zeros_like(self._values),
            "exp_avg_sq": torch.zeros_like(self._values),
            "step": torch.zeros((), dtype=torch.float32, device=values.device),
        }

    def step(self, gradient: Float[Tensor, " p"], each: Callable[..., Iterable[None]] = map) -> None:
        """Change the parameters by one step along `gradient`.

        Args:
            gradient: Of all values.
            each: Calls a function for each of several slices of them, such as `map` or that of a pool of threads; the
                bits are those of one piece.
        """
        self.state["step"] += 1
        length = _SLICE if self._values.device.type == "cpu" else len(self._values)
        slices = [slice(start, start + length) for start in range(0, len(self._values), length)]
        if len(slices) == 1:
            self._move(gradient, slices[0])
            return
        for _ in each(lambda part: self._move(gradient, part), slices):
            pass

    def _move(self, gradient: Float[Tensor, " p"], part: slice) -> None:
        mean, square, done = (self.state[name] for name in ("exp_avg", "exp_avg_sq", "step"))
        torch._fused_adamw_(
            [self._values[part]], [gradient[part]], [mean[part]], [square[part]], [], [done], lr=self.learning_rate,
            beta1=_BETAS[0], beta2=_BETAS[1], weight_decay=self._weight_decay, eps=_EPS, amsgrad=False, maximize=False,
        )  # fmt: skip
