"""What every corruption set can do: `TensorSet`, `Block`, `NoMaximiserError`. No arithmetic here."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import ConstraintError

if TYPE_CHECKING:
    from faultsim.constraints.lp_l0 import LpL0

Floats = NDArray[np.float64]
Tensors = dict[str, Floats]  # one array per tensor name: a corruption, or a direction, over several tensors
Shapes = Mapping[str, tuple[int, ...]]


class NoMaximiserError(ConstraintError):
    """The direction is zero wherever the set may move: every corruption is equally bad to first order."""


class Block(NamedTuple):
    """The tensors that share one budget, in the order in which they are concatenated, and that budget."""

    names: tuple[str, ...]
    constraint: "LpL0"


class TensorSet(Protocol):
    """A set of corruptions over several named tensors; what `faultsim.search` needs to know of it."""

    @property
    def names(self) -> tuple[str, ...]:
        """The tensors that may move, in the set's fixed order."""
        ...

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The budgets and the tensors that share each."""
        ...

    def argmax(self, direction: Mapping[str, NDArray[np.floating]]) -> Tensors:
        """Return the corruption of the set with the largest inner product with *direction*."""
        ...

    def project(self, delta: Mapping[str, NDArray[np.floating]]) -> Tensors:
        """Return a corruption of the set near *delta*, *delta* itself where it is inside."""
        ...

    def contains(self, delta: Mapping[str, NDArray[np.floating]], rtol: float = 1e-9) -> bool:
        """Say whether *delta* is in the set, up to *rtol* of the budget."""
        ...

    def random(self, rng: np.random.Generator, shapes: Shapes) -> Tensors:
        """Return a random corruption of the set: `argmax` of a standard normal direction."""
        ...

    def indicator(self, direction: Mapping[str, NDArray[np.floating]]) -> float:
        """Return the largest inner product itself, 0 for a zero direction."""
        ...

    def dense(self) -> Self:
        """Return the same set without its limits on how many elements move."""
        ...

    def each(self) -> Self:
        """Return the box that every element alone could reach: the same set with p = inf and no limit."""
        ...

    def scaled(self, factor: float) -> Self:
        """Return the same set with every radius times *factor*, at least 0."""
        ...

    def limited(self, n: int) -> Self:
        """Return the same set with at most *n* elements for each of its budgets, at least 0."""
        ...
