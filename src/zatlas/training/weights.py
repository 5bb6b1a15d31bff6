"""The parameters of a network as one vector.

A step then adds gradients, takes their length and updates the parameters in a few operations, whatever the number of
layers. The inner matrices of the network (`Network.inner_matrices`) lie behind all others, so that each optimizer has a
stretch of its own. Convolutions may compute in bfloat16: they read a copy of the vector that is renewed after each
step, while parameters, gradients and optimizer stay float32.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from zatlas.errors import UsageError
from zatlas.model.network import Network

__all__ = ["Weights"]

_ALIGNMENT = 16  # float32 values: 64 bytes, a cache line


class Weights:
    """The parameters of `network` that are trained, which are made views of one vector.

    Args:
        network: Its parameters keep their values, shapes and memory formats; frozen ones (without gradients) stay as
            they are, and one that is used in several places is one.
        dtype: In which convolutions compute: torch.float32 or torch.bfloat16.

    Raises:
        UsageError: there is nothing to train, a parameter is not float32, or the network has no copy in `dtype`.

    Attributes:
        values: The vector of all parameters, (p,) float32, with zeros between some of them.
        n_plain: Where the inner matrices begin in it.
        computing_dtype: `dtype`.
        computing: The network to compute with: `network` itself, or a copy in `dtype` that `renew` fills.
    """

    values: nn.Parameter
    n_plain: int
    computing: Network

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        parameters = {name: one for name, one in network.named_parameters() if one.requires_grad}
        _check(parameters)
        inner = [name for name in network.inner_matrices() if name in parameters]
        plain = [name for name in parameters if name not in inner]
        self._places: dict[str, tuple[int, Tensor]] = {}
        self.n_plain = start = 0
        for name in plain + inner:
            parameter = parameters[name]
            # One whose values do not lie side by side in memory (a view that was expanded) gets its plain order.
            like = torch.empty_like(parameter, device="meta")
            self._places[name] = (start, like)
            start += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
            self.n_plain = start if name in plain else self.n_plain
        self.values = nn.Parameter(torch.zeros(start, device=network.device))
        for name, view in self.views(self.values.detach()).items():
            view.copy_(parameters[name].detach())
            parameters[name].data = view
        self.computing_dtype = dtype
        self.computing = network if dtype == torch.float32 else network.compute_copy(dtype)
        self._copy = None if self.computing is network else self._computed_from(self.values.detach().to(dtype))

    def _computed_from(self, copied: Tensor) -> Tensor:
        """Let `computing` read the vector `copied`, and the float32 parameters where it has no other format."""
        views, own = self.views(copied), self.views(self.values.detach())
        for name, parameter in self.trained():
            parameter.data = views[name] if parameter.dtype == copied.dtype else own[name]
        return copied

    def trained(self) -> list[tuple[str, nn.Parameter]]:
        """The parameters of `computing` that are trained, by name, in the order of `views`."""
        named = dict(self.computing.named_parameters())
        return [(name, named[name]) for name in self._places]

    def renew(self) -> None:
        """Bring the computing copy up to date; to be called after each change of the parameters."""
        if self._copy is not None:
            self._copy.copy_(self.values.detach())

    def views(self, vector: Float[Tensor, " n"]) -> dict[str, Tensor]:
        """Parts of a vector like `values`, by name, in the shapes and memory formats of the parameters.

        A vector like `values[:n_plain]` has all of them but the inner matrices.
        """
        return {
            name: vector.as_strided(like.shape, like.stride(), vector.storage_offset() + start)
            for name, (start, like) in self._places.items()
            if start < len(vector)
        }

    def matrix_views(self, vector: Float[Tensor, " m"]) -> dict[str, Float[Tensor, "out taps_in"]]:
        """The inner matrices in a vector like `values[n_plain:]`, by name: a row for each channel that a layer gives,
        (out, k * k * in)."""
        first = vector.storage_offset() - self.n_plain
        return {
            name: vector.as_strided(like.shape, like.stride(), first + start).permute(0, 2, 3, 1).flatten(1)
            for name, (start, like) in self._places.items()
            if start >= self.n_plain
        }


def _check(parameters: dict[str, nn.Parameter]) -> None:
    if not parameters:
        raise UsageError("the network has no parameters to train", hint="set requires_grad of some of them")
    odd = next((name for name, one in parameters.items() if one.dtype != torch.float32), "")
    if odd:
        raise UsageError(
            f"parameter {odd} of the network is {parameters[odd].dtype}, expected torch.float32",
            hint="call .float() on the module",
        )
