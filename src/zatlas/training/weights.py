"""The parameters of a network as one vector.

A step then adds gradients, takes their length and updates the parameters in a few operations, whatever the number of
layers. Convolutions may compute in bfloat16: they read a copy of the vector that is renewed after each step, while
parameters, gradients and optimizer stay float32.
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
        computing: The network to compute with: `network` itself, or a copy in `dtype` that `renew` fills.
    """

    values: nn.Parameter
    computing: Network

    def __init__(self, network: Network, dtype: torch.dtype) -> None:
        parameters = {name: one for name, one in network.named_parameters() if one.requires_grad}
        _check(parameters)
        self._places: dict[str, tuple[int, Tensor]] = {}
        start = 0
        for name, parameter in parameters.items():
            # One whose values do not lie side by side in memory (a view that was expanded) gets its plain order.
            like = torch.empty_like(parameter, device="meta")
            self._places[name] = (start, like)
            start += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
        self.values = nn.Parameter(torch.zeros(start, device=network.device))
        for name, view in self.views(self.values.detach()).items():
            view.copy_(parameters[name].detach())
            parameters[name].data = view
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
        return [(name, one) for name, one in self.computing.named_parameters() if one.requires_grad]

    def renew(self) -> None:
        """Bring the computing copy up to date; to be called after each change of the parameters."""
        if self._copy is not None:
            self._copy.copy_(self.values.detach())

    def views(self, vector: Float[Tensor, " p"]) -> dict[str, Tensor]:
        """Parts of a vector like `values`, by name, in the shapes and memory formats of the parameters."""
        return {
            name: vector.as_strided(like.shape, like.stride(), start) for name, (start, like) in self._places.items()
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
