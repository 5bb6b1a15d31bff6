"""The running mean of the weights, which is evaluated and kept in place of the weights of the last step.

Steps at a high learning rate scatter around what they have learned; their mean lies in the middle. Early in a training
it is ahead of the last step by as much as thrice the number of images (defaults.md), so that the validation loss says
earlier and with less noise how far the training has come.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from zatlas.training.weights import Weights

__all__ = ["Average"]

_LONGEST_SHARE = 10  # the mean reaches back over about a tenth of the steps done, until `decay` bounds it


class Average:
    """Exponential moving average of `weights.values`.

    Args:
        weights: What is averaged. Buffers of the network, such as a noise variance, are not.
        decay: Share that the mean keeps at each step, at most; early on it keeps less, so that the untrained weights
            are forgotten. 0 makes the mean the weights themselves.

    Source: Polyak & Juditsky 1992, https://doi.org/10.1137/0330046
    """

    def __init__(self, weights: Weights, decay: float) -> None:
        self._weights, self._decay = weights, decay
        self._mean = weights.values.detach().clone()
        self._aside: Tensor | None = None  # the weights themselves, while the mean is in their place

    def restart(self) -> None:
        """Forget what was, in a block of `in_place` too; the mean is that of the weights as they are now."""
        self._aside = None
        self._mean.copy_(self._weights.values.detach())

    def update(self, step: int) -> None:
        """Take in the weights after step `step`, from 0."""
        kept = min(self._decay, (step + 1) / (step + _LONGEST_SHARE))
        if kept:
            self._mean.lerp_(self._weights.values.detach(), 1 - kept)

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Within the block the network has the mean weights; after it, its own again."""
        self._keep_up()
        self._aside = self._weights.values.detach().clone()
        self._fill_weights(self._mean)
        try:
            yield
        finally:
            if self._aside is not None:
                self._fill_weights(self._aside)
            self._aside = None

    def _keep_up(self) -> None:
        """A mean that reaches back nowhere is not renewed after each step, but where somebody looks at it."""
        if self._decay == 0:
            self._mean.copy_(self._weights.values.detach())

    def _fill_weights(self, values: Tensor) -> None:
        self._weights.values.detach().copy_(values)
        self._weights.renew()

    def tensors(self) -> dict[str, Tensor]:
        """The mean as tensors named `PARAMETER:average`, for a checkpoint."""
        self._keep_up()
        views = self._weights.views(self._mean)
        return {f"{name}:average": part.clone(memory_format=torch.contiguous_format) for name, part in views.items()}

    def fill(self, tensors: dict[str, Tensor]) -> None:
        """The inverse of `tensors`; without them the mean begins with the weights as they are, as of 0.1.0."""
        if not any(name.endswith(":average") for name in tensors):
            self.restart()
            return
        for name, part in self._weights.views(self._mean).items():
            part.copy_(tensors[f"{name}:average"])
