"""The losses that do not draw a chip: plain, L_a, L*, SAM, the gradient's L1 norm. `noise.py` has those that do.

A loss says by how much it differs from the plain task loss (`Share`), so that losses add up (`together.py`).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple, Protocol, Self

import torch
from torch import Tensor

from faultsim.errors import OptionError
from faultsim.harden.ball import Ball
from faultsim.harden.batch import BatchAt, Grads
from faultsim.harden.trainable import Trainable


class Share(NamedTuple):
    """What one loss adds to the task loss on a batch.

    Attributes:
        clean: Multiple of the clean loss and of its gradient.
        loss: Value beside that.
        grads: Its gradient by leaf; leaves that are missing get none.
    """

    clean: float = 0.0
    loss: float = 0.0
    grads: Mapping[str, Tensor] = {}


class Loss(Protocol):
    """A training loss; a frozen value."""

    @property
    def kind(self) -> str:
        """What the command line calls it."""

    @property
    def needs_graph(self) -> bool:
        """Whether it differentiates the gradient: such losses go first, and the clean pass is theirs."""

    @property
    def two_passes(self) -> bool:
        """Whether it has a corrupted pass beside the clean one: such a batch can be split between them."""

    @property
    def strength(self) -> float:
        """Its one knob: what a search over strengths turns."""

    def with_strength(self, strength: float) -> Self:
        """Return the same loss with the knob at *strength*."""

    def share(self, at: BatchAt) -> Share:
        """Return what the loss adds to the task loss at the current leaves."""

    def project(self, at: "After") -> None:
        """Move leaves back to where the loss wants them, after a step of the optimizer."""

    def hold(self, at: "After") -> None:
        """Move leaves between the original's and the trained ones to where the loss does anything at all."""


class After(NamedTuple):
    """The leaves after a step.

    Attributes:
        leaves: Moved in place.
        initial: What they were when the training began.
        names: Sites that are corrupted.
        progress: Part of the training that is done, 0 to 1.
        trainable: The graph.
    """

    leaves: Mapping[str, Tensor]
    initial: Mapping[str, Tensor]
    names: tuple[str, ...]
    progress: float
    trainable: Trainable


def evaluate(loss: Loss, at: BatchAt) -> tuple[float, Grads]:
    """Return the value of a loss on a batch and its gradient by every leaf, in the leaf's own type."""
    share = loss.share(at)
    weight = 1.0 + share.clean
    value, grads = share.loss, dict(share.grads)
    if weight or not grads:  # a loss that leaves no clean part costs no clean pass
        clean = at.clean
        value += weight * clean.loss
        for name, grad in clean.grads.items():
            grads[name] = grads[name] + weight * grad if name in grads else weight * grad
    return value, {
        name: grads[name].to(leaf.dtype) if name in grads else torch.zeros_like(leaf)
        for name, leaf in at.leaves.items()
    }


class Term:
    """What most losses have in common: one pass, nothing to add, nothing to move."""

    needs_graph: ClassVar[bool] = False

    @property
    def two_passes(self) -> bool:
        """Whether a corrupted pass stands beside the clean one."""
        return False

    def share(self, at: BatchAt) -> Share:
        """Add nothing."""
        return Share()

    def project(self, at: After) -> None:
        """Leave the leaves where they are."""

    def hold(self, at: After) -> None:
        """Leave the leaves where they are."""


@dataclass(frozen=True, kw_only=True)
class Plain(Term):
    """The task loss alone: the control that every gain is measured against."""

    kind: ClassVar[str] = "plain"

    @property
    def strength(self) -> float:
        """None to speak of."""
        return 0.0

    def with_strength(self, strength: float) -> "Plain":
        """Return the same: it has no knob."""
        return self


@dataclass(frozen=True, kw_only=True)
class _OnBall(Term):
    ball: Ball = field(default_factory=Ball)

    @property
    def strength(self) -> float:
        """The radius of the ball."""
        return self.ball.eps

    def with_strength(self, strength: float) -> Self:
        """Return the loss with another radius."""
        return replace(self, ball=replace(self.ball, eps=strength))


@dataclass(frozen=True, kw_only=True)
class GradientRegularised(_OnBall):
    """L_a = L + λ‖g‖_{p/(p-1)}: λ is the ball's radius, arXiv 2006.05620, eq. 16; double backprop.

    Over one ball a tensor, or with n, the penalty is the sum of the balls' own first-order worst cases.
    """

    kind: ClassVar[str] = "l_a"
    needs_graph: ClassVar[bool] = True

    def share(self, at: BatchAt) -> Share:
        """Add the first-order worst case of the ball and its gradient."""
        graph = at.graph()
        penalty = self.ball.indicator(at.corruptible(graph.grads), at.weights)
        if not penalty.requires_grad:  # piecewise linear in every leaf
            return Share(loss=float(penalty))
        return Share(loss=float(penalty.detach()), grads=at.differentiate(penalty))


@dataclass(frozen=True, kw_only=True)
class GradientL1(GradientRegularised):
    """L + λ‖g‖₁: the first-order worst case of rounding every weight by up to λ, for quantization to any width.

    It is L_a for p = inf (Alizadeh et al., arXiv 2002.07520).
    """

    kind: ClassVar[str] = "gradient_l1"
    ball: Ball = field(default_factory=lambda: Ball(p=math.inf, eps=0.001))

    def __post_init__(self) -> None:
        if self.ball.p != math.inf:
            raise OptionError(f"gradient_l1 is for p = inf, not p = {self.ball.p:g}; use l_a for another norm")


@dataclass(frozen=True, kw_only=True)
class CorruptionResistant(_OnBall):
    """L* = (1-α)L(w) + αL(w+â), â the ball's maximiser at the current gradient, held fixed: arXiv 2006.05620, eq. 13.

    Attributes:
        ball: Where â lies.
        alpha: Weight of the corrupted loss, in (0, 1].
        virtual_steps: Gradients that â is made of, at least 1: each further one is taken at the corruption before it.
    """

    kind: ClassVar[str] = "l_star"
    alpha: float = 0.5
    virtual_steps: int = 1

    @property
    def two_passes(self) -> bool:
        """Whether a corrupted pass stands beside the clean one: it does, â comes from the latter."""
        return True

    def __post_init__(self) -> None:
        if not 0 < self.alpha <= 1:
            raise OptionError(f"alpha is {self.alpha}, it must be above 0 and at most 1")
        if self.virtual_steps < 1:
            raise OptionError(f"virtual_steps is {self.virtual_steps}, it must be at least 1")

    def share(self, at: BatchAt) -> Share:
        """Add α(L(w+â) - L(w))."""
        found = at.clean
        deltas: Grads = {}
        for _ in range(self.virtual_steps):
            deltas = self.ball.corruption(at.corruptible(found.grads), at.weights)
            found = at.at(deltas)
        return weighted(found, self.alpha)


@dataclass(frozen=True, kw_only=True)
class SharpnessAware(CorruptionResistant):
    """SAM, L(w+â): L* with α = 1 (Foret et al., arXiv 2010.01412)."""

    kind: ClassVar[str] = "sam"
    alpha: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.alpha != 1:
            raise OptionError(f"sam has alpha = 1, not {self.alpha:g}; use l_star for another one")


def weighted(found: tuple[float, Mapping[str, Tensor]], alpha: float) -> Share:
    """Return the share of ``(1 - α)L + α·found``."""
    loss, grads = found
    return Share(-alpha, alpha * loss, {name: alpha * grad for name, grad in grads.items()})
