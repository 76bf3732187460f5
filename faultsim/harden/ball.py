"""`Ball`: the set of virtual corruptions that a loss trains against, with its first-order worst case, on torch.

The closed form is that of `faultsim.constraints.closed_form`, here on tensors that may carry a graph. No loss here.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from faultsim.errors import OptionError

Grads = Mapping[str, Tensor]
ROOT = 1e-12
"""Added inside roots, so that the norm of a zero gradient can be differentiated."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """Corruptions a with ‖a‖_p <= eps and at most n elements that are not 0.

    Attributes:
        p: Order of the norm, 1 to inf.
        eps: Radius, at least 0: in units of the weights, or relative.
        n: Most elements that move, of each tensor where `per` is ``"tensor"``; all where None.
        relative: Whether eps is in units of ``RMS(w) · k^(1/max(p, 2))`` of the k weights that it bounds: the same part
            of the weights whatever their scale. For p = inf that is the RMS, for p = 2 ``‖w‖₂``, and for p below 2 as
            well: such a corruption moves few weights, p = 1 a single one, which ``RMS(w) · k`` would throw k times as
            far as the weights are large. So it lies in the ball for p = 2, and does less to first order.
        per: One ball over all tensors (``"model"``), or one for each (``"tensor"``).

    Raises:
        OptionError: If a value is out of its range.
    """

    p: float = 2.0
    eps: float = 0.01
    n: int | None = None
    relative: bool = False
    per: Literal["model", "tensor"] = "model"

    def __post_init__(self) -> None:
        if not self.p >= 1:
            raise OptionError(f"p is {self.p}, it must be from 1 to inf")
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise OptionError(f"eps is {self.eps}, it must be finite and at least 0")
        if self.n is not None and self.n < 1:
            raise OptionError(f"n is {self.n}, it must be at least 1; leave it out to let every element move")
        if self.per not in ("model", "tensor"):
            raise OptionError(f"per is {self.per!r}, it must be 'model' or 'tensor'")

    def corruption(self, grads: Grads, weights: Grads) -> dict[str, Tensor]:
        """Return the maximiser of a·g over the ball, without a graph; zeros where the gradient is zero.

        ``a = eps · sgn(h) ⊙ |h|^{1/(p-1)} / ‖h‖_q^{1/(p-1)}``, h = top_n(g), q = p/(p-1): arXiv 2006.05620, eq. 5
        and 10 with the denominators corrected.
        """
        with torch.no_grad():
            found: dict[str, Tensor] = {}
            for names in self._blocks(grads):
                flat = torch.cat([grads[name].reshape(-1).float() for name in names])
                best = self._maximiser(flat) * self.radius([weights[name] for name in names])
                for name, part in zip(names, torch.split(best, [grads[name].numel() for name in names]), strict=True):
                    found[name] = part.reshape(grads[name].shape).to(grads[name].dtype)
            return found

    def indicator(self, grads: Grads, weights: Grads) -> Tensor:
        """Return ``Σ eps · ‖top_n(g)‖_q`` over the balls, a scalar that is differentiable in *grads*.

        It is the loss change that the worst corruption makes, to first order: arXiv 2006.05620, eq. 6.
        """
        total: Tensor | None = None
        for names in self._blocks(grads):
            flat = torch.cat([grads[name].reshape(-1) for name in names])
            if self.n is not None and self.n < flat.numel():
                flat = flat[torch.topk(flat.detach().abs(), self.n).indices]
            part = self.radius([weights[name] for name in names]) * dual(flat, self.p)
            total = part if total is None else total + part
        if total is None:
            raise OptionError("there is no tensor to corrupt; choose --sites that are trained")
        return total

    def radius(self, weights: list[Tensor]) -> float:
        """Return eps in units of the weights."""
        if not self.relative:
            return self.eps
        k = sum(one.numel() for one in weights)
        squares = sum(float(one.detach().double().square().sum()) for one in weights)
        power = 0.0 if self.p == math.inf else 1.0 / max(self.p, 2.0)
        return self.eps * math.sqrt(squares / max(k, 1)) * math.pow(k, power)

    def _blocks(self, grads: Grads) -> list[list[str]]:
        return [list(grads)] if self.per == "model" else [[name] for name in grads]

    def _maximiser(self, flat: Tensor) -> Tensor:
        top = flat.abs().max() if flat.numel() else flat.new_zeros(())
        if not bool(torch.isfinite(top)) or float(top) == 0:
            return torch.zeros_like(flat)
        size = flat.abs() / top  # the naive power is 0/0 in float32 near p = 1
        if self.p == 1:
            found = torch.zeros_like(flat)
            found[size.argmax()] = flat[size.argmax()].sign()
            return found
        if self.n is not None and self.n < flat.numel():
            kept = torch.zeros_like(size)
            chosen = torch.sort(size, descending=True, stable=True).indices[: self.n]  # ties: the lowest index first
            kept[chosen] = size[chosen]
            size = kept
        if self.p == math.inf:
            return flat.sign() * (size > 0) if self.n is not None else flat.sign()  # size may underflow
        powered = size ** (1.0 / (self.p - 1.0))
        q = self.p / (self.p - 1.0)
        return flat.sign() * powered / (size**q).sum() ** (1.0 / self.p)


def dual(flat: Tensor, p: float) -> Tensor:
    """Return ``‖flat‖_q`` for q = p/(p-1), differentiable at zero too."""
    if p == math.inf:
        return flat.abs().sum()
    if p == 1:
        return flat.abs().max()
    if p == 2:
        return torch.sqrt(flat.square().sum() + ROOT)
    q = p / (p - 1.0)
    top = flat.detach().abs().max().clamp(min=1e-30)  # large q: powers of what is below 1
    return top * ((flat / top).abs().pow(q).sum() + ROOT) ** (1.0 / q)
