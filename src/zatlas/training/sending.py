"""Batches and numbers on their way to another device than the processor, and back.

    - Images of 8 bits travel as they are stored, a quarter of the bytes, and are looked up on the grey scale there: a
      table of 256 greys, made by the same lines as on the processor, gives the same bits. Images of other types are
      scaled on the processor. Masks travel as one byte per pixel.
    - To a CUDA device all go from pinned memory, so that the host does not wait for the copy.
    - What a step gives comes back in one piece, for which the host waits once.

Where the processor computes, nothing is copied and nothing costs anything.
"""

import dataclasses
from collections.abc import Generator, Sequence

import torch
from torch import Tensor

from zatlas.tiles.loader import Batch, Tiles

__all__ = ["batches_on", "brought", "placed", "sent"]


def batches_on(
    device: torch.device, tiles: Tiles, epoch: int, batch_size: int, start: int = 0
) -> Generator[Batch, None, None]:
    """`tiles.batches`, pixels and masks as float32 on `device`.

    They are sent by the thread that asks for them, which is the one that computes there.
    """
    if device.type == "cpu":
        yield from tiles.batches(epoch, batch_size, start)
        return
    for batch in tiles.batches(epoch, batch_size, start, as_stored=True):
        yield placed(batch, device)


def placed(batch: Batch, device: torch.device) -> Batch:
    """A batch of pixels as they are stored, or of scaled ones, as float32 on `device`."""
    x, mask = sent(batch.x, device), sent(batch.mask, device).float()
    if batch.greys is not None:
        x = sent(batch.greys, device).index_select(0, x.flatten().int()).view(x.shape)
    return dataclasses.replace(batch, x=x, mask=mask, greys=None)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """The same tensor on `device`. The host does not wait; torch keeps the pinned copy until it was read."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def brought(tensors: Sequence[Tensor]) -> Sequence[Tensor]:
    """The same float32 tensors in the processor's memory.

    From another device they come in one piece: a step waits for it once, and not for each number.
    """
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return tensors
    together = torch.cat([tensor.flatten() for tensor in tensors]).cpu()
    pieces = torch.split(together, [tensor.numel() for tensor in tensors])
    return [piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True)]
