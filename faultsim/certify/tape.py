"""`Tape`: what is known of every value of one batch while the graph runs: radius, uses of parameters, remainders.

How an op changes them lives in `rules/`, what follows for an output in `reverse.py`.

With d_v the change of a value v that a corruption a makes, every node keeps the exact identity

    d_y = J d_x + (uses: sum over parameters of a ⊗ (factor + d_factor)) + e,        low <= e <= high,

with J the derivative that autograd has at the fault-free values. Unrolled from an output backwards with the adjoints
λ it is its exact change: the gradient times a, plus a times λ ⊗ d_factor, plus λ·e.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from torch import Tensor

from faultsim.certify.budget import Budget
from faultsim.certify.certificate import NotCertifiedError

EXACT = 2.0**-53
"""Unit roundoff of the arithmetic in which bounds are computed."""
LARGEST = torch.finfo(torch.float32).max
"""Largest number of the narrowest arithmetic whose rounding is covered."""

Contract = Callable[[Tensor, Tensor, bool], Tensor]
"""From λ of y, shape ``(I, B, …)``, and a factor to what a unit of each element adds, ``(I, B, k)``; or, where asked,
summed over the samples, ``(I, k)``."""


class Use(NamedTuple):
    """One parameter used by one node, linearly.

    Attributes:
        leaf: Name of the parameter.
        at: The node's output y, shape ``(B, …)``, in the autograd graph.
        factor: What each element of the parameter is multiplied with, at the fault-free values.
        radius: How far the factor can move over the set; None for not at all.
        contract: What a unit of each element adds, given λ of y and a factor.
        pair: Whether that is, sample by sample, the outer product of λ and the factor, in either order: its norms
            are products of theirs, and nothing of its size need be held.
    """

    leaf: str
    at: Tensor
    factor: Tensor
    radius: Tensor | None
    contract: Contract
    pair: bool = False


class Remainder(NamedTuple):
    """What a node adds beyond its derivative: ``low <= e <= high`` with ``low <= 0 <= high``, shaped as *at*."""

    at: Tensor
    low: Tensor
    high: Tensor


class Param(NamedTuple):
    """A tensor of parameters.

    Attributes:
        leaf: Name of the stored tensor.
        places: The flat elements of the leaf that its elements are; None for the leaf itself.
        once: Whether no element of the leaf is there twice.
    """

    leaf: str
    places: Tensor | None
    once: bool = True


@dataclass
class Tape:
    """Everything known of the values of one batch.

    Attributes:
        budget: The set of corruptions.
        batch: Samples in the batch.
        roundoff: Unit roundoff of the arithmetic that the bounds must cover, such as 2^-53.
        effort: Most numbers of a Jacobian, a sample, for which a tensor's radius is sharpened.
        chords: Whether functions of straight pieces are linearised by their chord over the range, which is sharper
            where many of them bend, instead of their slope at the fault-free value, which is exact to first order.
        known: Another tape of the same batch; its sharpened radii hold here too.
        uses: Uses of parameters, in order.
        remainders: Remainders, in order.
        sharpened: Radii of the values before functions that bend, in order.
    """

    budget: Budget
    batch: int
    roundoff: float
    effort: int
    chords: bool = False
    known: "Tape | None" = None
    uses: list[Use] = field(default_factory=list)
    remainders: list[Remainder] = field(default_factory=list)
    sharpened: list[Tensor] = field(default_factory=list)
    _radii: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    _params: dict[int, tuple[Tensor, Param]] = field(default_factory=dict)

    @property
    def exact(self) -> bool:
        """Whether the bounds speak of the network in exact arithmetic, and cover no other rounding."""
        return self.roundoff <= EXACT

    def moves(self, value: object) -> bool:
        """Say whether a corruption can change a value of the network (parameters themselves aside)."""
        return id(value) in self._radii

    def radius(self, value: Tensor) -> Tensor:
        """Return how far each element of a value can move; zeros for one that cannot."""
        found = self._radii.get(id(value))
        return torch.zeros_like(value.detach()) if found is None else found[1]

    def set_radius(self, value: Tensor, radius: Tensor) -> None:
        """Record that no element of *value* moves further than *radius*."""
        self._radii[id(value)] = (value, radius)  # holds the value, so that its id stays its own

    def param(self, value: object) -> Param | None:
        """Return what parameter a value is, None where it is none that moves."""
        found = self._params.get(id(value))
        return None if found is None else found[1]

    def set_param(self, value: Tensor, param: Param) -> None:
        """Record that *value* is a parameter, or a view of one."""
        self._params[id(value)] = (value, param)

    def param_radius(self, value: Tensor) -> Tensor:
        """Return how far each element of a parameter can move, shaped as it; zeros for a constant."""
        param = self.param(value)
        if param is None:
            return torch.zeros_like(value.detach())
        flat = self.budget.radius(param.leaf)
        return (flat if param.places is None else flat[param.places.reshape(-1)]).reshape(value.shape)

    def use(
        self,
        operand: Tensor,
        at: Tensor,
        factor: Tensor,
        radius: Tensor | None,
        contract: Contract,
        *,
        pair: bool = False,
    ) -> None:
        """Record a use of *operand* if it is a parameter that moves.

        Args:
            operand: The parameter as the node has it.
            at: The node's output.
            factor: What the parameter is multiplied with.
            radius: How far that can move.
            contract: What a unit of each element of *operand* adds.
            pair: As `Use` has it.
        """
        param = self.param(operand)
        if param is None:
            return
        size, places = self.budget.elements(param.leaf), param.places

        def to_leaf(adjoint: Tensor, by: Tensor, summed: bool) -> Tensor:
            found = contract(adjoint, by, summed)
            if places is None:
                return found
            return found.new_zeros(*found.shape[:-1], size).index_add_(-1, places.reshape(-1), found)

        self.uses.append(Use(param.leaf, at, factor, radius, to_leaf, pair and param.once))

    def remain(self, at: Tensor, low: Tensor, high: Tensor) -> None:
        """Record what a node adds beyond its derivative, if it is anything."""
        self.remainders.append(Remainder(at, low.expand(at.shape), high.expand(at.shape)))

    def check_batch(self, value: Tensor, node: str) -> None:
        """Check that a value that moves has the samples on its first axis.

        Raises:
            NotCertifiedError: If it does not.
        """
        if value.ndim < 1 or value.shape[0] != self.batch:
            raise NotCertifiedError(
                f"{node}: the samples are not on the first axis of its output {tuple(value.shape)}, and bounds are "
                "only known where they are; export the model with the batch first"
            )


def check_range(magnitude: Tensor, where: str) -> None:
    """Check that float32 can hold numbers of such magnitudes, with room to spare.

    Raises:
        NotCertifiedError: If it cannot: what overflows is not finite, and no bound holds.
    """
    most = float(magnitude.max()) if magnitude.numel() else 0.0
    if not most <= LARGEST / 2:
        raise NotCertifiedError(
            f"{where}: numbers of up to {most:.3g} come up over the set, near what float32 holds or beyond; give a "
            "smaller radius"
        )
