"""A second device that no machine needs to have: tensors that say they lie elsewhere, with true values.

Inside `PretendedDevice` the device "meta" holds numbers. Whatever is computed there is computed by the processor, but

    - an operation on tensors of both devices is refused, as a CUDA device refuses it;
    - every transfer, and every number that the host asks for, is written down.

torch lets a CUDA build alone speak of CUDA tensors with gradients, so the device goes by the name of "meta".
"""

import math

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

DEVICE = torch.device("meta")
# What makes the host wait for a CUDA device, because the shape of the result or its value is wanted.
ASKING = ("_local_scalar_dense", "is_nonzero", "equal", "nonzero", "bincount", "masked_select", "_unique2")


class There(torch.Tensor):
    """A tensor of the pretended device; its values are `here`."""

    @staticmethod
    def __new__(cls, here):
        made = torch.Tensor._make_wrapper_subclass(
            cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(), dtype=here.dtype,
            layout=here.layout, device=DEVICE,
        )  # fmt: skip
        made.here = here.detach()
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        raise AssertionError(f"{func} outside of PretendedDevice")

    @property
    def data(self):
        return self.detach()

    @data.setter
    def data(self, other):
        self.here = other.here

    def data_ptr(self):
        return self.here.data_ptr()

    def __deepcopy__(self, memo):
        copied = There(self.here.clone())
        return torch.nn.Parameter(copied) if isinstance(self, torch.nn.Parameter) else copied


class PretendedDevice(TorchDispatchMode):
    """Within the block there is a device.

    Attributes:
        waits: What made the host wait: names of operations.
        bytes_sent: Of each transfer to the device.
    """

    def __init__(self):
        super().__init__()
        self.waits, self.bytes_sent = [], []

    def forget(self):
        self.waits.clear()
        self.bytes_sent.clear()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs, name = dict(kwargs or {}), func.overloadpacket.__name__
        tensors = [one for one in tree_leaves((args, kwargs)) if isinstance(one, torch.Tensor)]
        there = [one for one in tensors if isinstance(one, There)]
        asked = kwargs.get("device")
        is_there = bool(there) if asked is None else torch.device(asked) == DEVICE
        if name in ("_to_copy", "copy_"):
            source, is_there = args[-1], isinstance(args[0], There) if name == "copy_" else is_there
            self._note_transfer(func, source, is_there, args, kwargs)
        elif there and any(one.dim() and not isinstance(one, There) for one in tensors):
            raise AssertionError(f"{func} is asked for on two devices")
        elif is_there and any(isinstance(one, torch.Generator) for one in tree_leaves(kwargs)):
            raise AssertionError(f"{func} is asked for there with a generator of the processor")
        elif there and name in ASKING:
            self.waits.append(name)
        if is_there and asked is not None:
            kwargs["device"] = torch.device("cpu")
        found = func(*tree_map(_here, args), **tree_map(_here, kwargs))
        known = {id(one.here): one for one in there}
        return tree_map(lambda one: _there(one, known), found) if is_there else found

    def _note_transfer(self, func, source, is_there, args, kwargs):
        if isinstance(source, There) and not is_there:
            self.waits.append("to the host")
        if is_there and not isinstance(source, There):
            self.bytes_sent.append(source.nbytes)
            if not kwargs.get("non_blocking"):
                self.waits.append("to the device")


class Recorder(TorchDispatchMode):
    """A CUDA graph, pretended: operations as they were called, done again on the same tensors and plain numbers."""

    def __init__(self):
        super().__init__()
        self.calls, self.before = [], []

    @classmethod
    def on(cls, device):
        """What `zatlas.training.graphs.recorded` does on a CUDA device."""

        def recorded(function):
            n_waits = len(device.waits)
            with cls() as recorder:
                found = function()
            for one, value in reversed(recorder.before):
                one.here.copy_(value)
            if len(device.waits) > n_waits:
                raise RuntimeError("CUDA error: operation not permitted when stream is capturing\nand more")
            _scribble(found, recorder.before)  # nothing is computed while a graph is recorded
            return found, recorder.replay

        return recorded

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        written = [
            one
            for place, argument in zip(args, func._schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
            for one in tree_leaves(place)
        ]
        self.before += [(one, one.here.clone()) for one in written]
        found = func(*args, **(kwargs or {}))
        self.calls.append((func, args, kwargs or {}, found))
        return found

    @torch.no_grad()
    def replay(self):
        for func, args, kwargs, found in self.calls:
            again = func(*args, **kwargs)
            for place, one in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if isinstance(place, There) and place is not one:
                    place.here.copy_(one.here)


def _scribble(found, before):
    old = {one.here.untyped_storage().data_ptr() for one, _ in before}
    for one in tree_leaves(found):
        if isinstance(one, There) and one.here.untyped_storage().data_ptr() not in old:
            one.here.fill_(math.nan)


def _here(one):
    return one.here if isinstance(one, There) else one


def _there(one, known):
    if not isinstance(one, torch.Tensor):
        return one
    return known[id(one)] if id(one) in known else There(one)
