"""Muon: the inner layers of a network move along orthogonal matrices.

The momentum of each weight matrix is replaced by the nearest matrix with equal singular values before it is applied, so
that directions which gradients rarely point to move as fast as the others. Per image it takes radiographs further than
Adam does (defaults.md). Biases, first and last layers and linear ones stay with Adam.

Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
"""

import functools
from collections.abc import Callable, Iterable

import torch
from jaxtyping import Float
from torch import Tensor

__all__ = ["Muon", "orthogonalised"]

_MOMENTUM = 0.95
_STEPS = 3
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the polynomial that pulls singular values towards 1, by Jordan et al.
_TINY = 1e-20


def orthogonalised(matrix: Float[Tensor, "r c"], dtype: torch.dtype = torch.float32) -> Float[Tensor, "r c"]:
    """A matrix with the same singular vectors, whose singular values are near 1: those from 0.2 to 1 times the largest
    become 0.65 to 1.2, smaller ones stay smaller.

    Newton-Schulz iterations with a quintic polynomial. They work on the Gram matrix of the shorter side, so that the
    longer one is passed twice only, and begin with its Frobenius norm, which bounds the largest singular value better
    than that of `matrix` does: three iterations do what five do otherwise.

    Args:
        matrix: Any; zeros give zeros.
        dtype: Number format of the products.

    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
    """
    wide = (matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T).to(dtype)
    gram = wide @ wide.T
    norm: Tensor = gram.float().norm().clamp(min=_TINY)
    gram = gram / norm.to(dtype)
    a, b, c = _COEFFICIENTS
    factors: list[Tensor] = []
    for _ in range(_STEPS):
        if factors:
            gram = factors[-1] @ (factors[-1] @ gram)
        factors.append(torch.addmm(gram, gram, gram, beta=b, alpha=c))
        factors[-1].diagonal().add_(a)
    found: Tensor = functools.reduce(torch.matmul, [*reversed(factors), wide])
    return (found if matrix.shape[0] <= matrix.shape[1] else found.T).float() / norm.sqrt()


class Muon:
    """Updates matrices, each by itself: p -= rate * orthogonalised(gradient + momentum * running gradient).

    Args:
        values: Vector of all their values, changed in place; as long as the gradients given to `step`.
        matrices: Cuts a vector like `values` into matrices, as views.
        dtype: Number format of the products.

    Attributes:
        momentum: The running sum of gradients, a vector like `values`.
    """

    def __init__(
        self,
        values: Float[Tensor, " p"],
        matrices: Callable[[Float[Tensor, " p"]], Iterable[Float[Tensor, "r c"]]],
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._matrices, self._dtype = matrices, dtype
        self._values = list(matrices(values))
        self.momentum = torch.zeros_like(values)

    @torch.no_grad()
    def step(
        self, gradients: Float[Tensor, " p"], rate: float | Float[Tensor, ""],
        each: Callable[..., Iterable[None]] = map,
    ) -> None:  # fmt: skip
        """Move every matrix.

        Args:
            gradients: Of all values; overwritten.
            rate: How far, in spectral norm; a tensor where a CUDA graph must read it anew.
            each: Calls a function for each matrix, such as `map` or that of a pool of threads; they do not depend on
                each other.
        """
        self.momentum.mul_(_MOMENTUM).add_(gradients)
        directions = gradients.add_(self.momentum, alpha=_MOMENTUM)  # Nesterov's look ahead

        def move(pair: tuple[Tensor, Tensor]) -> None:
            matrix, direction = pair
            step = orthogonalised(direction, self._dtype)
            if isinstance(rate, Tensor):
                matrix.sub_(step.mul_(rate))
            else:
                matrix.sub_(step, alpha=rate)

        for _ in each(move, zip(self._values, self._matrices(directions), strict=True)):
            pass
