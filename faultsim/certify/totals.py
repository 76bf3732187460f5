"""`Totals`: what the batches of a data set add up to, and the certificate that follows. No graph lives here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.certify.budget import Budget
from faultsim.certify.certificate import Certificate, NotCertifiedError
from faultsim.certify.head import rounding
from faultsim.certify.loss import Cap, cap
from faultsim.certify.reverse import SURE, Range, cost, direction, ranges
from faultsim.certify.tape import Tape
from faultsim.model.nodes import Node

_ABSOLUTE = 1e-12  # nats: what is left of float64 rounding in sums that cancel
_SEEDS = 1 << 22  # elements of the directions of one call
_DEAR = 100  # how much more than a hidden tensor's bounds those of the logits may cost

Sums = dict[str, Tensor]


class View(NamedTuple):
    """One linearisation of a batch: what is known of its values, and its logits ``(B, C)`` in the autograd graph."""

    tape: Tape
    logits: Tensor


@dataclass
class _Joint:
    """Samples whose capped losses are bounded together: one direction, and what stands beside it."""

    gradient: Sums = field(default_factory=dict)
    spread: Sums = field(default_factory=dict)
    beside: float = 0.0

    def add(self, view: View, caps: Cap) -> None:
        """Add a batch; a sample whose constant cap is lower than what its linear one leaves keeps the constant."""
        fits = torch.isfinite(caps.offset)
        part = direction(view.tape, view.logits, caps.seed * fits[:, None])
        shared = fits & (caps.offset + part.remainder < caps.constant)
        if not torch.equal(shared, fits):
            part = direction(view.tape, view.logits, caps.seed * shared[:, None])
        _accumulate(self.gradient, part.gradient)
        _accumulate(self.spread, part.spread)
        self.beside += float((caps.offset + part.remainder)[shared].sum() + caps.constant[~shared].sum())

    def bound(self, budget: Budget) -> float:
        """Return the bound on the sum of the losses' increases."""
        up, down = {}, {}
        for name, gradient in self.gradient.items():
            spread = self.spread.get(name, torch.zeros_like(gradient))
            up[name], down[name] = (gradient + spread).clamp(min=0), (spread - gradient).clamp(min=0)
        return float(budget.support(up, down)) + self.beside


@dataclass
class Totals:
    """Sums over the samples seen so far; its size does not grow with them but for a number a sample.

    Attributes:
        budget: The set of corruptions.
        head: The softmax or sigmoid behind the logits, None without one.
    """

    budget: Budget
    head: Node | None = None
    _joints: list[_Joint] = field(default_factory=list)  # one for each linearisation
    _clean: Sums = field(default_factory=dict)  # gradient of the loss
    _constant: float = 0.0  # constant caps of all samples
    _rounded: float = 0.0  # what rounding in the head adds to the losses' increases
    _correct: int = 0
    _kept: int = 0
    _margins: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, views: Sequence[View], labels: Tensor) -> None:
        """Add one batch.

        Args:
            views: Its linearisations, the same number for every batch; the first is exact to first order.
            labels: Classes, shape ``(B,)``.
        """
        value = views[0].logits.detach()
        rows, predicted = torch.arange(len(labels)), value.argmax(1)
        found = [differences(view.tape, view.logits, predicted) for view in views]
        low = torch.stack([one.low for one in found]).amax(0)
        high = torch.stack([one.high for one in found]).amin(0)
        rivals = value - value[rows, predicted][:, None] + high
        rivals[rows, predicted] = -math.inf
        lost = rounding(self.head, value, labels, low, high, views[0].tape.roundoff)
        margins = rivals.amax(1) + lost.margin
        right = predicted == labels
        self._margins.append(margins.numpy())
        self._correct += int(right.sum())
        self._kept += int((right & (margins < 0)).sum())
        caps = cap(value, labels, low, high)
        self._constant += float(caps.constant.sum())
        self._rounded += float(lost.loss.sum())
        self._joints = self._joints or [_Joint() for _ in views]
        for joint, view in zip(self._joints, views, strict=True):
            joint.add(view, caps)
        seed = torch.softmax(value, 1)
        seed[rows, labels] -= 1
        _accumulate(self._clean, direction(views[0].tape, views[0].logits, seed).gradient)

    def certificate(self) -> Certificate:
        """Return the bounds over all samples added.

        Raises:
            NotCertifiedError: If there are none, or a bound is not finite.
        """
        margins = np.concatenate(self._margins) if self._margins else np.zeros(0)
        n = len(margins)
        if not n:
            raise NotCertifiedError("there are no samples; bounds are about at least one")
        known = max(min(self._constant, *(joint.bound(self.budget) for joint in self._joints)), 0.0)
        bound = (known + self._rounded) / n
        if not (math.isfinite(bound) and bool(np.isfinite(margins).all())):
            raise NotCertifiedError("the set is so large that the bounds overflow; choose a smaller radius")
        slack = bound * (SURE - 1) + _ABSOLUTE
        up = {name: g.clamp(min=0) for name, g in self._clean.items()}
        down = {name: (-g).clamp(min=0) for name, g in self._clean.items()}
        return Certificate(
            loss_increase_upper=bound + slack,
            accuracy_lower=self._kept / n,
            first_order=float(self.budget.support(up, down)) / n,
            samples=n,
            correct=self._correct,
            stable=margins < 0,
            margins_upper=margins,
            proven=True,
            slack=slack,
        )


def differences(tape: Tape, logits: Tensor, reference: Tensor) -> Range:
    """Bound how far each ``z_j - z_r`` can move, r the class of *reference*; shape ``(B, C)``, 0 for j = r.

    Raises:
        NotCertifiedError: If there are too many classes times parameters for the tape's effort.
    """
    batch, classes = logits.shape
    if cost(tape, classes) > _DEAR * tape.effort:
        raise NotCertifiedError(
            f"{classes} classes times the parameters of the set are more than {_DEAR} times the effort; raise it"
        )
    step = max(1, _SEEDS // (batch * classes))
    lows, highs = [], []
    for begin in range(0, classes, step):
        chosen = torch.arange(begin, min(begin + step, classes))
        seeds = torch.zeros(len(chosen), batch, classes, dtype=torch.float64)
        seeds[torch.arange(len(chosen)), :, chosen] = 1
        seeds[:, torch.arange(batch), reference] -= 1
        found = ranges(tape, logits, seeds)
        lows.append(found.low)
        highs.append(found.high)
    return Range(torch.cat(lows).t(), torch.cat(highs).t())


def _accumulate(total: Sums, more: Sums) -> None:
    for name, value in more.items():
        total[name] = total[name] + value if name in total else value
