"""Convolutions of the network, computed in the order that a processor does fastest.

They are convolutions of torch with the same parameters, initial weights and results; what differs is how the numbers
are found (measured in speed.md):

    - Nearest upsampling repeats values, so a convolution after it multiplies the same value several times. Weights that
      meet the same value are added first: 4 products instead of 9 (`EnlargingConvolution`).
    - The last layer makes all pixels of a cell at once at the low resolution, and puts them in order in one go
      (`PixelConvolution`).
    - In bfloat16 the gradients of weights, and on maps of 2 px all else, are matrix products of windows: oneDNN takes
      up to seven times as long for maps of few pixels.

The choice hangs on number format and side of the map alone, never on a measurement, so the same network gives the same
bits on any number of threads. Other devices than the processor, and exports, get the plain layers.
"""

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

__all__ = ["Convolution", "EnlargingConvolution", "PixelConvolution", "TransposedConvolution"]

# Sides of the smaller map in px up to which matrix products are faster in bfloat16 (16 images; speed.md).
_WEIGHTS_PX, _ENLARGED_PX, _ALL_PX = 16, 8, 2


class Convolution(nn.Conv2d):
    """A convolution of kernel 3 that keeps height and width, or halves them (stride 2)."""

    def __init__(self, before: int, after: int, stride: int = 1) -> None:
        super().__init__(before, after, 3, stride=stride, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        if _is_plain(x, self.weight):
            return super().forward(x)
        out: Tensor = _Convolved.apply(x, self.weight, self.bias, self.stride[0])  # type: ignore[no-untyped-call]
        return out


class TransposedConvolution(nn.ConvTranspose2d):
    """A transposed convolution of kernel 3 that doubles height and width.

    The gradient of the bias is a sum made apart: asked for those of weight and bias at once, oneDNN takes two to five
    times as long as for that of the weight (speed.md).
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: Float[Tensor, "b c h w"], output_size: list[int] | None = None) -> Float[Tensor, "b k y x"]:
        if _is_plain(x, self.weight):
            return super().forward(x)
        out: Tensor = _Transposed.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return out


class EnlargingConvolution(nn.Conv2d):
    """Nearest upsampling by 2, then a convolution of kernel 3: one transposed convolution of kernel 4 and stride 2.

    Along one axis with weights (a, b, c), the values 2i and 2i + 1 of the result are a x[i-1] + (b + c) x[i] and
    (a + b) x[i] + c x[i+1], also at the border, where both pad by zeros.
    """

    def __init__(self, before: int, after: int) -> None:
        super().__init__(before, after, 3, padding=1)

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        if _is_plain(x, self.weight):
            return super().forward(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        out: Tensor = _Transposed.apply(x, _folded(self.weight, _AS_TRANSPOSED), self.bias)  # type: ignore[no-untyped-call]
        return out


class PixelConvolution(nn.Conv2d):
    """The last layer: a convolution of kernel 3 to four numbers per value of the result, then PixelShuffle by 2.

    With nearest upsampling by 2 before it, all 16 numbers of a cell of 4 x 4 pixels come from one convolution of kernel
    3 at the low resolution, whose weights are sums of this one's. That is more arithmetic than 4 products would need,
    but with so few channels it takes less time, in both directions.

    Args:
        before: Channels of its input.
        after: Channels of the image.
        enlarges: Upsample first: images are then four times as high and wide as the input, else twice.
    """

    def __init__(self, before: int, after: int, *, enlarges: bool) -> None:
        super().__init__(before, 4 * after, 3, padding=1)
        self.enlarges = enlarges

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b k y x"]:
        if self.enlarges and not _is_plain(x, self.weight):
            return self._by_cells(x)
        enlarged = F.interpolate(x, scale_factor=2.0, mode="nearest") if self.enlarges else x
        return F.pixel_shuffle(super().forward(enlarged), 2)

    def _by_cells(self, x: Tensor) -> Tensor:
        (b, c, h, w), after = x.shape, self.out_channels // 4
        # Half of the cell, row and column; tap; channel, row and column in a quarter; channel of the input.
        taps = _spread(self.weight, _AS_CELLS).view(2, 2, 3, 3, after, 2, 2, c)
        weight = taps.permute(4, 0, 5, 1, 6, 2, 3, 7).reshape(16 * after, 3, 3, c).permute(0, 3, 1, 2)
        bias = None if self.bias is None else _in_cells(self.bias, after)
        cells = F.conv2d(x, weight, bias, padding=1).permute(0, 2, 3, 1).reshape(b, h, w, after, 4, 4)
        return cells.permute(0, 3, 1, 4, 2, 5).reshape(b, after, 4 * h, 4 * w)


def _in_cells(bias: Tensor, after: int) -> Tensor:
    """The bias of each of 16 pixels, from that of the four pixels of a quarter."""
    return bias.view(after, 1, 2, 1, 2).expand(after, 2, 2, 2, 2).reshape(-1)


def _is_plain(x: Tensor, weight: Tensor) -> bool:
    """Whether torch's own layers shall compute: on other devices, in exports, and where autocast mixes formats."""
    return (
        torch.compiler.is_compiling()
        or x.device.type != "cpu"
        or x.dtype != weight.dtype
        or torch.is_autocast_enabled("cpu")
    )


def _as_products(dtype: torch.dtype, px: int, largest_px: int) -> bool:
    """Whether matrix products compute a map of this side; in float32 they are half as fast as oneDNN."""
    return dtype == torch.bfloat16 and px <= largest_px


_ROWS = torch.tensor([[0.0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]])  # of a kernel of 4, as sums of one of 3
_AS_TRANSPOSED = torch.kron(_ROWS, _ROWS)
_TAPS = torch.tensor([[[1.0, 0, 0], [0, 1, 1], [0, 0, 0]], [[0, 0, 0], [1, 1, 0], [0, 0, 1]]])  # of values 2i, 2i + 1
_AS_CELLS = torch.einsum("atk,bul->abtukl", _TAPS, _TAPS).reshape(36, 9)


def _spread(weight: Float[Tensor, "k c 3 3"], sums: Float[Tensor, "n 9"]) -> Float[Tensor, "n kc"]:
    """Sums of the nine taps, rounded once: products of a format are added in float32."""
    k, c = weight.shape[:2]
    return sums.to(weight.dtype) @ weight.permute(2, 3, 0, 1).reshape(9, k * c)


def _folded(weight: Float[Tensor, "k c 3 3"], sums: Float[Tensor, "16 9"]) -> Float[Tensor, "c k 4 4"]:
    """The kernel of the transposed convolution."""
    return _spread(weight, sums).view(4, 4, *weight.shape[:2]).permute(3, 2, 0, 1)


class _Convolved(Function):
    """x, weight (k c 3 3), bias, stride -> F.conv2d with padding 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.has_bias = stride, bias is not None
        h, w = (-(-side // stride) for side in x.shape[-2:])
        if not _as_products(x.dtype, h, _ALL_PX):
            return F.conv2d(x, weight, bias, stride, 1)
        out = _product(_windows(x, 3, stride), _rows(weight).t(), (len(x), len(weight), h, w))
        return out if bias is None else out.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        wanted, px = [*ctx.needs_input_grad[:2], ctx.has_bias and ctx.needs_input_grad[2]], gradient.shape[-2]
        to_x = to_weight = to_bias = None
        if wanted[1] and _as_products(x.dtype, px, _WEIGHTS_PX):
            to_weight = _pixels(gradient).t() @ _windows(x, 3, ctx.stride)
            to_weight = to_weight.view(len(weight), 3, 3, -1).permute(0, 3, 1, 2)
            to_bias = gradient.sum((0, 2, 3)) if wanted[2] else None
            wanted[1:] = [False, False]
        if wanted[0] and _as_products(x.dtype, px, _ALL_PX):
            to_x = _added(_pixels(gradient) @ _rows(weight), gradient.shape, x.shape, 3, ctx.stride)
            wanted[0] = False
        if any(wanted):
            found = _plain_gradients(gradient, x, weight, ctx.stride, wanted, transposed=False)
            made = (to_x, to_weight, to_bias)
            to_x, to_weight, to_bias = (a if b is None else b for a, b in zip(made, found, strict=True))
        return to_x, to_weight, to_bias, None


class _Transposed(Function):
    """x, weight (c k n n), bias -> the transposed convolution of stride 2 that doubles the sides, n being 3 or 4."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.has_bias = bias is not None
        n = weight.shape[-1]
        if not _as_products(x.dtype, x.shape[-2], _ALL_PX):
            return F.conv_transpose2d(x, weight, bias, 2, 1, output_padding=4 - n)
        b, _, h, w = x.shape
        out = _added(_pixels(x) @ _rows(weight), x.shape, torch.Size((b, weight.shape[1], 2 * h, 2 * w)), n, 2)
        return out if bias is None else out.add_(bias[:, None, None])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        to_bias = gradient.sum((0, 2, 3)) if ctx.has_bias and ctx.needs_input_grad[2] else None
        if not _as_products(x.dtype, x.shape[-2], _ENLARGED_PX):
            wanted = [*ctx.needs_input_grad[:2], False]
            return (*_plain_gradients(gradient, x, weight, 2, wanted, transposed=True)[:2], to_bias)
        n, (c, k) = weight.shape[-1], weight.shape[:2]
        windows = _windows(gradient, n, 2)
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            to_x = _product(windows, _rows(weight).t(), x.shape)
        if ctx.needs_input_grad[1] and weight.stride(1) == 1:  # the order of memory that the weights have
            to_weight = (_pixels(x).t() @ windows).view(c, n, n, k).permute(0, 3, 1, 2)
        elif ctx.needs_input_grad[1]:
            to_weight = (windows.t() @ _pixels(x)).view(n, n, k, c).permute(3, 2, 0, 1)
        return to_x, to_weight, to_bias


def _plain_gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, wanted: list[bool], *, transposed: bool
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Those of input, weight and bias by torch, as far as they are wanted."""
    more = [4 - weight.shape[-1]] * 2 if transposed else [0, 0]
    found: tuple[Tensor | None, Tensor | None, Tensor | None] = torch.ops.aten.convolution_backward(
        gradient, x, weight, [len(weight)], [stride] * 2, [1, 1], [1, 1], transposed, more, 1, wanted
    )
    return found


def _pixels(x: Float[Tensor, "b c h w"]) -> Float[Tensor, "bhw c"]:
    """Its pixels as rows: the same memory where channels lie innermost."""
    return x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])


def _product(rows: Float[Tensor, "bhw m"], matrix: Float[Tensor, "m c"], shape: tuple[int, ...]) -> Tensor:
    """The matrix product as images of `shape`; a view of it could not be changed in place by the layer after it."""
    out = _new_image(rows.dtype, shape)
    torch.mm(rows, matrix, out=out.permute(0, 2, 3, 1).view(-1, shape[1]))
    return out


def _new_image(dtype: torch.dtype, shape: tuple[int, ...]) -> Float[Tensor, "b c h w"]:
    return torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)


def _rows(weight: Float[Tensor, "k c n n"]) -> Float[Tensor, "k nnc"]:
    return weight.permute(0, 2, 3, 1).reshape(len(weight), -1)


def _windows(x: Float[Tensor, "b c h w"], n: int, stride: int) -> Float[Tensor, "byx nnc"]:
    """What a kernel of n x n sees of images padded by one pixel, a row for each of its places."""
    padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1))
    b, h, w, c = padded.shape
    rows, columns = (h - n) // stride + 1, (w - n) // stride + 1
    s = padded.stride()
    seen = padded.as_strided((b, rows, columns, n, n, c), (s[0], stride * s[1], stride * s[2], s[1], s[2], s[3]))
    return seen.reshape(b * rows * columns, n * n * c)


def _added(windows: Float[Tensor, "byx nnc"], places: torch.Size, shape: torch.Size, n: int, stride: int) -> Tensor:
    """The adjoint of `_windows`: windows at the pixels of a map are added up, bfloat16 in float32, to images."""
    (b, c, h, w), (rows, columns) = shape, places[-2:]
    pieces = windows.view(b, rows, columns, n, n, c)
    exact = torch.promote_types(windows.dtype, torch.float32)
    total = torch.zeros(b, stride * rows + n, stride * columns + n, c, dtype=exact)
    for y in range(n):
        for x in range(n):
            total[:, y : y + stride * rows : stride, x : x + stride * columns : stride] += pieces[:, :, :, y, x]
    return _new_image(windows.dtype, shape).copy_(total[:, 1 : 1 + h, 1 : 1 + w].permute(0, 3, 1, 2))
