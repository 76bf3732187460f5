"""How several named tensors lie in one flat array: `Layout`. Order and shapes only, no constraint."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints.base import Floats, Shapes, Tensors
from faultsim.errors import ConstraintError

T = TypeVar("T")


@dataclass(frozen=True)
class Layout:
    """The names of some tensors, in their fixed order, and their shapes.

    Attributes:
        names: Names, each once.
        shapes: Their shapes, in the same order.

    Examples:
        >>> layout = Layout.of({"w": np.ones((2, 2)), "b": np.zeros(2)}, names=("b", "w"))
        >>> layout.flatten({"w": np.ones((2, 2)), "b": np.zeros(2)}).tolist()
        [0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, arrays: Mapping[str, NDArray[np.floating]], names: tuple[str, ...] | None = None) -> "Layout":
        """Return the layout of *arrays*, in the order of *names* or else of the mapping.

        Raises:
            ConstraintError: If a name has no array.
        """
        chosen = tuple(arrays) if names is None else names
        return cls(chosen, tuple(np.shape(pick(arrays, name)) for name in chosen))

    @classmethod
    def of_shapes(cls, shapes: Shapes, names: tuple[str, ...]) -> "Layout":
        """Return the layout of tensors of these *shapes*, in the order of *names*.

        Raises:
            ConstraintError: If a name has no shape.
        """
        return cls(names, tuple(pick(shapes, name) for name in names))

    @property
    def elements(self) -> int:
        """Number of elements of all tensors together."""
        return self.offsets[-1]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Where each tensor begins in the flat array, and last the total: one more than there are names."""
        sizes = [int(np.prod(shape, dtype=np.int64)) for shape in self.shapes]
        return (0, *(int(end) for end in np.cumsum(sizes)))

    def flatten(self, arrays: Mapping[str, NDArray[np.floating]]) -> Floats:
        """Return the tensors one after the other, each row-major: shape ``(elements,)``, float64, a copy.

        Raises:
            ConstraintError: If a name has no array, or one of another shape.
        """
        flat = np.empty(self.elements)
        for name, shape, (begin, end) in zip(self.names, self.shapes, pairwise(self.offsets), strict=True):
            array = pick(arrays, name)
            if np.shape(array) != shape:
                raise ConstraintError(
                    f"tensor {name!r} has shape {np.shape(array)}, "
                    f"it must have {shape}; give one array per tensor of the model"
                )
            flat[begin:end] = np.asarray(array).reshape(-1)
        return flat

    def split(self, flat: Floats) -> Tensors:
        """Return the tensors that lie in *flat*, shape ``(elements,)``, as views of it."""
        return {
            name: flat[begin:end].reshape(shape)
            for name, shape, (begin, end) in zip(self.names, self.shapes, pairwise(self.offsets), strict=True)
        }


def pick(named: Mapping[str, T], name: str) -> T:
    """Return ``named[name]``.

    Raises:
        ConstraintError: If it is missing.
    """
    if name not in named:
        raise ConstraintError(
            f"tensor {name!r} is missing, given are {', '.join(sorted(named)) or 'none'}; "
            "name the tensors as the model does"
        )
    return named[name]
