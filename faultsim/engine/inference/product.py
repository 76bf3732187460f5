"""What a matrix-vector product is: its operands, how they lie, what is made of it. No op is read here.

A product is in the units of what the op multiplies: floats, or codes less their zero point in an integer op. Only the
ratio to a range counts to a law, and that is the same in codes and in real units.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from faultsim.model.values import Value

Multiply = Callable[[Tensor, Tensor], Tensor]
Finish = Callable[[Tensor], Sequence[Value]]


@dataclass(frozen=True)
class Shape:
    """How a product's sum and its channels lie in its operands.

    Attributes:
        channel_axis: Axis of the outputs that counts channels, None where none does.
        vector_axes: Axes of the inputs that one output sums over (for a convolution: all but the first).
        group: Groups of a convolution, 0 for a matrix product.
        transposed: Whether the convolution is transposed.
        left: Whether the weight is the left operand of a matrix product.
    """

    channel_axis: int | None
    vector_axes: tuple[int, ...]
    group: int = 0
    transposed: bool = False
    left: bool = False

    def summands(self, weight: Tensor) -> int:
        """Return how many products one output sums."""
        if not self.group:
            return int(weight.shape[-1 if self.left or weight.ndim == 1 else -2])
        inputs = weight.shape[0] // self.group if self.transposed else weight.shape[1]
        return int(inputs * math.prod(weight.shape[2:]))

    def peaks(self, weight: Tensor, outputs: int) -> Tensor:
        """Return the largest magnitude of each output channel's weights, to broadcast over outputs of that rank."""
        size = weight.abs()
        if not self.group:
            if weight.ndim == 1:
                return size.amax()
            found = size.amax(-1 if self.left else -2)
            if self.left and outputs > 1:
                return found.unsqueeze(-1)
            return found.unsqueeze(-2) if found.ndim > 1 else found
        if not self.transposed:
            return size.flatten(1).amax(1).reshape(1, -1, *[1] * (outputs - 2))
        split = size.reshape(self.group, weight.shape[0] // self.group, weight.shape[1], -1)
        return split.amax((1, 3)).reshape(1, -1, *[1] * (outputs - 2))

    def cut(self, weight: Tensor, first: int, last: int) -> tuple[Tensor, tuple[int, int, int] | None]:
        """Return the weights of the summands *first* … *last* - 1 alone, and what to narrow the inputs to for them.

        The inputs' part is an axis, a start and a length; None for all of them, where the other weights are set to 0.
        """
        count = self.summands(weight)
        if first == 0 and last >= count:
            return weight, None
        if not self.group:
            across = -1 if self.left or weight.ndim == 1 else -2
            return weight.narrow(across, first, last - first), (self.vector_axes[0], first, last - first)
        taps = math.prod(weight.shape[2:])
        index = torch.arange(count, device=weight.device)
        if self.transposed:
            index = index.reshape(-1, 1, *weight.shape[2:]).repeat(self.group, *[1] * (weight.ndim - 1))
            return torch.where((index >= first) & (index < last), weight, 0), None
        index = index.reshape(1, *weight.shape[1:])
        kept = torch.where((index >= first) & (index < last), weight, 0)
        if self.group > 1:
            return kept, None
        low, high = first // taps, -(-last // taps)
        return kept.narrow(1, low, high - low), (1, low, high - low)


@dataclass(frozen=True)
class Product:
    """One call of a matrix-vector op.

    Attributes:
        x: What is multiplied with the weight.
        weight: The weight, oriented as it is multiplied.
        shape: How they lie.
        multiply: The product alone, without bias.
        finish: Makes the op's own outputs of the product: bias, rescaling, rounding to codes.
        orient: Turns something of the stored weight argument's shape as the weight is turned.
        gain: Constant factor inside *multiply* (alpha of a Gemm).
        step: One unit of the integer accumulator, where the op has one.
    """

    x: Tensor
    weight: Tensor
    shape: Shape
    multiply: Multiply
    finish: Finish
    orient: Callable[[Tensor], Tensor]
    gain: float = 1.0
    step: Tensor | None = None

    def outputs(self, x: Tensor, first: int, last: int) -> Tensor:
        """Return the sums over the summands *first* … *last* - 1, without bias."""
        weight, part = self.shape.cut(self.weight, first, last)
        return self.multiply(x if part is None else x.narrow(*part), weight)

    def variance(self, std: Tensor, x: Tensor, first: int, last: int) -> Tensor:
        """Return the variance of `outputs` for independent noise of the weights, *std* as the op's own argument."""
        spread, part = self.shape.cut(self.orient(std).to(x.dtype), first, last)
        return self.multiply((x if part is None else x.narrow(*part)).square(), spread.square()) * self.gain


def same(tensor: Tensor) -> Tensor:
    """Return the tensor as it is."""
    return tensor


def conv_shape(group: int, rank: int, *, transposed: bool = False) -> Shape:
    """Return the shape of a convolution of inputs of *rank* axes."""
    return Shape(1, tuple(range(1, rank)), group=group, transposed=transposed)


def matrix_shape(x: Tensor, weight: Tensor, *, left: bool) -> Shape:
    """Return the shape of a matrix product whose left operand is the weight, or the right one."""
    column = left and x.ndim > 1
    return Shape(None if weight.ndim == 1 else (-2 if column else -1), (-2 if column else -1,), left=left)


def times(*, left: bool, gain: float = 1.0) -> Multiply:
    """Return the matrix product times *gain*."""

    def multiply(x: Tensor, weight: Tensor) -> Tensor:
        product = torch.matmul(weight, x) if left else torch.matmul(x, weight)
        return product if gain == 1 else product * gain

    return multiply
