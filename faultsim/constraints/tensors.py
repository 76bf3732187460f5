"""Corruption sets over several tensors: `PerTensor` (a budget each) and `Global` (one budget for all)."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints.base import Block, Floats, NoMaximiserError, Shapes, Tensors
from faultsim.constraints.layout import Layout, pick
from faultsim.constraints.lp_l0 import LpL0
from faultsim.errors import ConstraintError

Named = Mapping[str, NDArray[np.floating]]
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class PerTensor:
    """Every tensor has a budget of its own: the rule where each tensor or crossbar has its own scale.

    Attributes:
        constraints: The set of each tensor, by name; the mapping's order is the set's order.

    Raises:
        ConstraintError: If there is none.

    Examples:
        >>> budget = PerTensor({"w": LpL0(2, 1.0), "b": LpL0(np.inf, 0.1)})
        >>> worst = budget.argmax({"w": np.array([3.0, -4.0]), "b": np.array([2.0])})
        >>> worst["w"].round(12).tolist(), worst["b"].tolist()
        ([0.6, -0.8], [0.1])
    """

    constraints: Mapping[str, LpL0]

    def __post_init__(self) -> None:
        _some(tuple(self.constraints))
        object.__setattr__(self, "constraints", MappingProxyType(dict(self.constraints)))

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that may move, in order."""
        return tuple(self.constraints)

    @property
    def blocks(self) -> tuple[Block, ...]:
        """One block per tensor."""
        return tuple(Block((name,), constraint) for name, constraint in self.constraints.items())

    def argmax(self, direction: Named) -> Tensors:
        """Return, for every tensor, the corruption with the largest inner product with its *direction*.

        A tensor whose direction is zero (behind a dead layer) stays as it is.

        Args:
            direction: One array per tensor; further names are ignored.

        Raises:
            NoMaximiserError: If the direction is zero for every tensor.
            ConstraintError: If a tensor is missing, or its direction is not finite.
        """
        return self._of_each(direction, lambda constraint, own: constraint.argmax(own), np.shape)

    def project(self, delta: Named) -> Tensors:
        """Return every tensor's corruption projected into its own set (`LpL0.project`)."""
        return {name: constraint.project(pick(delta, name)) for name, constraint in self.constraints.items()}

    def contains(self, delta: Named, rtol: float = 1e-9) -> bool:
        """Say whether every tensor's corruption is in its set, and no other tensor is corrupted."""
        return _untouched(delta, self.names) and all(
            constraint.contains(pick(delta, name), rtol) for name, constraint in self.constraints.items()
        )

    def __contains__(self, delta: Named) -> bool:
        return self.contains(delta)

    def random(self, rng: np.random.Generator, shapes: Shapes) -> Tensors:
        """Return a random corruption for every tensor (`LpL0.random`), drawn in the set's order.

        A tensor that cannot move (no room or a scale of 0 everywhere) stays as it is.

        Raises:
            NoMaximiserError: If no tensor can move.
            ConstraintError: If a shape is missing, or does not broadcast with a scale or box.
        """
        return self._of_each(shapes, lambda constraint, shape: constraint.random(rng, shape), lambda shape: shape)

    def indicator(self, direction: Named) -> float:
        """Return the largest inner product with *direction*, summed over the tensors; 0 for a zero one."""
        return sum(constraint.indicator(pick(direction, name)) for name, constraint in self.constraints.items())

    def dense(self) -> "PerTensor":
        """Return the same budgets without their limits *n*."""
        return PerTensor({name: constraint.dense() for name, constraint in self.constraints.items()})

    def each(self) -> "PerTensor":
        """Return the box that every element could reach with its tensor's whole budget."""
        return PerTensor({name: constraint.each() for name, constraint in self.constraints.items()})

    def scaled(self, factor: float) -> "PerTensor":
        """Return the same budgets with every radius times *factor*, at least 0."""
        return PerTensor({name: constraint.scaled(factor) for name, constraint in self.constraints.items()})

    def limited(self, n: int) -> "PerTensor":
        """Return the same budgets, each with at most *n* elements, at least 0."""
        return PerTensor({name: constraint.limited(n) for name, constraint in self.constraints.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PerTensor) and tuple(self.constraints.items()) == tuple(other.constraints.items())

    def __hash__(self) -> int:
        return hash(tuple(self.constraints.items()))

    def _of_each(
        self, given: Mapping[str, T], corrupt: Callable[[LpL0, T], Floats], shape: Callable[[T], tuple[int, ...]]
    ) -> Tensors:
        """Return what *corrupt* makes of each tensor, 0 where nothing moves; refuse if nothing does anywhere."""
        made: Tensors = {}
        unmoved: NoMaximiserError | None = None
        moved = False
        for name, constraint in self.constraints.items():
            own = pick(given, name)
            try:
                made[name] = corrupt(constraint, own)
                moved = True
            except NoMaximiserError as error:
                made[name] = np.zeros(shape(own))
                unmoved = error
        if unmoved is not None and not moved:
            raise unmoved
        return made


@dataclass(frozen=True)
class Global:
    """All tensors share one budget: they are one long array, in a fixed order, each row-major.

    Attributes:
        names: The tensors that may move, each once, in the order of concatenation (ties go to the first).
        constraint: The set of the long array; its scale and box, where given as arrays, have one entry per
            element of it (``Layout.flatten`` makes them).

    Raises:
        ConstraintError: If there is no name, or one twice.

    Examples:
        >>> budget = Global(("w", "b"), LpL0(np.inf, 0.1, n=1))
        >>> worst = budget.argmax({"w": np.array([3.0, -4.0]), "b": np.array([5.0])})
        >>> worst["w"].tolist(), worst["b"].tolist()
        ([0.0, 0.0], [0.1])
    """

    names: tuple[str, ...]
    constraint: LpL0

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        _some(self.names)
        if len(set(self.names)) < len(self.names):
            twice = next(name for name in self.names if self.names.count(name) > 1)
            raise ConstraintError(f"tensor {twice!r} is named twice, each must be named once; drop the second")

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The one block of all tensors."""
        return (Block(self.names, self.constraint),)

    def argmax(self, direction: Named) -> Tensors:
        """Return the corruption of all tensors together with the largest inner product with *direction*.

        Args:
            direction: One array per tensor; further names are ignored.

        Raises:
            NoMaximiserError: If the direction is zero for every tensor.
            ConstraintError: If a tensor is missing, or a direction is not finite.
        """
        layout = Layout.of(direction, self.names)
        return layout.split(self.constraint.argmax(layout.flatten(direction)))

    def project(self, delta: Named) -> Tensors:
        """Return the corruption projected into the set as one long array (`LpL0.project`)."""
        layout = Layout.of(delta, self.names)
        return layout.split(self.constraint.project(layout.flatten(delta)))

    def contains(self, delta: Named, rtol: float = 1e-9) -> bool:
        """Say whether the long array is in the set, and no other tensor is corrupted."""
        layout = Layout.of(delta, self.names)
        return _untouched(delta, self.names) and self.constraint.contains(layout.flatten(delta), rtol)

    def __contains__(self, delta: Named) -> bool:
        return self.contains(delta)

    def random(self, rng: np.random.Generator, shapes: Shapes) -> Tensors:
        """Return a random corruption of all tensors together (`LpL0.random` of the long array)."""
        layout = Layout.of_shapes(shapes, self.names)
        return layout.split(self.constraint.random(rng, layout.elements))

    def indicator(self, direction: Named) -> float:
        """Return the largest inner product with *direction* (`LpL0.indicator` of the long array)."""
        return self.constraint.indicator(Layout.of(direction, self.names).flatten(direction))

    def dense(self) -> "Global":
        """Return the same budget without its limit *n*."""
        return Global(self.names, self.constraint.dense())

    def each(self) -> "Global":
        """Return the box that every element could reach with the whole budget."""
        return Global(self.names, self.constraint.each())

    def scaled(self, factor: float) -> "Global":
        """Return the same budget with its radius times *factor*, at least 0."""
        return Global(self.names, self.constraint.scaled(factor))

    def limited(self, n: int) -> "Global":
        """Return the same budget with at most *n* elements, at least 0."""
        return Global(self.names, self.constraint.limited(n))


def _some(names: tuple[str, ...]) -> None:
    if not names:
        raise ConstraintError(
            "the constraint covers 0 tensors, it must cover at least 1; name the tensors that may move"
        )


def _untouched(delta: Named, names: tuple[str, ...]) -> bool:
    return not any(np.any(array) for name, array in delta.items() if name not in names)
