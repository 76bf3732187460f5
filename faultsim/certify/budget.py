"""`Budget`: a corruption set as the bounds ask for it, on torch in float64: how far an element, a row, a direction.

Every answer is an upper bound over the whole set. No graph lives here.
"""

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from faultsim.certify.certificate import NotCertifiedError
from faultsim.constraints import Global, LpL0, TensorSet

Shapes = Mapping[str, tuple[int, ...]]


class _Leaf(NamedTuple):
    """One corruptible tensor, flattened: scale of its block's norm, and the room of every element up and down."""

    scale: Tensor
    up: Tensor
    down: Tensor
    constraint: LpL0


class Budget:
    """The set over the tensors that may move.

    Args:
        constraint: The set.
        shapes: Shapes of its tensors, by name.

    Attributes:
        names: The tensors, in the set's order.

    Raises:
        NotCertifiedError: If a tensor of the set has no shape, or an argument does not broadcast.
    """

    def __init__(self, constraint: TensorSet, shapes: Shapes) -> None:
        self.names = constraint.names
        self.blocks = constraint.blocks
        self._leaves: dict[str, _Leaf] = {}
        for names, ball in self.blocks:
            sizes = [math.prod(shapes[name]) for name in names]
            whole = (sum(sizes),) if isinstance(constraint, Global) else tuple(shapes[names[0]])
            scale, low, high = (_array(ball, part, whole) for part in ("scale", "low", "high"))
            reach = (0.0 if ball.n == 0 else ball.eps) * scale
            up, down = torch.minimum(reach, high), torch.minimum(reach, -low)
            begin = 0
            for name, size in zip(names, sizes, strict=True):
                part = slice(begin, begin + size)
                self._leaves[name] = _Leaf(scale[part], up[part], down[part], ball)
                begin += size

    def radius(self, name: str) -> Tensor:
        """Return how far each element of a tensor can move either way, flat, shape ``(k,)``."""
        leaf = self._leaves[name]
        return torch.maximum(leaf.up, leaf.down)

    def elements(self, name: str) -> int:
        """Return the number of elements of a tensor."""
        return self._leaves[name].scale.numel()

    def even(self, names: Iterable[str]) -> bool:
        """Say whether no element of these tensors has a box or a scale of its own within its tensor."""
        for name in names:
            scale, _, _, ball = self._leaves[name]
            if ball.low is not None or ball.high is not None or not bool((scale == scale[:1]).all()):
                return False
        return True

    def scale(self, name: str) -> float:
        """Return the scale of a tensor that is `even`."""
        scale = self._leaves[name].scale
        return float(scale[0]) if scale.numel() else 0.0

    def limit(self, names: Iterable[str], n: int | None) -> int | None:
        """Return *n*, None where it lets every element of these tensors move."""
        return None if n is None or n >= sum(map(self.elements, names)) else n

    def row(self, name: str, magnitude: Tensor, dim: int) -> Tensor:
        """Bound ``sum |a_j| magnitude_j`` along *dim* over any distinct elements j of one tensor.

        Whichever elements meet the row: the largest scale of the tensor stands for all of them.

        Args:
            name: The tensor.
            magnitude: Not negative, any shape.
            dim: The axis of the sum; it stays with size 1.
        """
        leaf = self._leaves[name]
        ball = leaf.constraint
        largest = float(leaf.scale.max()) if leaf.scale.numel() else 0.0
        return ball.eps * largest * dual_norm(magnitude, p=ball.p, n=ball.n, dim=dim)

    def support(self, up: Mapping[str, Tensor], down: Mapping[str, Tensor] | None = None) -> Tensor:
        """Bound ``sum a_i⁺ up_i + a_i⁻ down_i`` over the set.

        Exact without a box, and for p = inf; with a box it is at most the smaller of the values without the box and
        without the norm, and becomes exact as the radius falls below the room.

        Args:
            up: By tensor, what a unit step upwards adds, at least 0, shape ``(…, k)``; tensors left out add nothing.
            down: The same downwards; as *up* where left out.

        Returns:
            The bound, shape ``(…)``.
        """
        total: Tensor | None = None
        for names, ball in self.blocks:
            here = [name for name in names if name in up]
            if not here:
                continue
            scaled, boxed = [], []
            for name in here:
                leaf = self._leaves[name]
                rise = up[name]
                fall = rise if down is None else down[name]
                best = torch.maximum(rise * (leaf.up > 0), fall * (leaf.down > 0))
                scaled.append(best * leaf.scale)
                boxed.append(torch.maximum(rise * leaf.up, fall * leaf.down))
            free = ball.eps * dual_norm(torch.cat(scaled, -1), p=ball.p, n=ball.n, dim=-1)
            room = dual_norm(torch.cat(boxed, -1), p=math.inf, n=ball.n, dim=-1)
            bound = torch.minimum(free, room).squeeze(-1)
            total = bound if total is None else total + bound
        return torch.zeros((), dtype=torch.float64) if total is None else total


def dual_norm(magnitude: Tensor, *, p: float, n: int | None, dim: int) -> Tensor:
    """Return ``‖top_n(magnitude)‖_q`` along *dim*, kept with size 1, q = p / (p - 1); 0 for no elements.

    Args:
        magnitude: Not negative.
        p: Order of the corruption's norm, 1 to inf.
        n: How many elements may move; None for all.
        dim: The axis.
    """
    size = magnitude.shape[dim]
    if n == 0 or size == 0:
        return magnitude.new_zeros([1 if i == dim % magnitude.ndim else s for i, s in enumerate(magnitude.shape)])
    peak = magnitude.amax(dim, keepdim=True)
    if p == 1:
        return peak
    if n is not None and n < size:
        magnitude = magnitude.topk(n, dim=dim, sorted=False).values
    if math.isinf(p):
        return magnitude.sum(dim, keepdim=True)
    if p == 2:
        euclidean: Tensor = torch.linalg.vector_norm(magnitude, dim=dim, keepdim=True)
        return euclidean
    q = p / (p - 1)
    unit = magnitude / peak.clamp(min=torch.finfo(magnitude.dtype).tiny)
    norm: Tensor = unit.pow(q).sum(dim, keepdim=True).pow(1 / q)
    return peak * norm


def _array(ball: LpL0, part: str, shape: tuple[int, ...]) -> Tensor:
    given = getattr(ball, part)
    if given is None:
        given = {"scale": 1.0, "low": -math.inf, "high": math.inf}[part]
    try:
        return torch.from_numpy(np.broadcast_to(np.asarray(given, np.float64), shape).reshape(-1).copy())
    except ValueError:
        raise NotCertifiedError(
            f"{part} of the set has shape {np.shape(given)} and does not broadcast to {shape}; "
            "give one number per element"
        ) from None
