"""What a fault law is, and the registry of laws by kind. Each law has a file of its own; none is here."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import numpy as np

from faultsim.budget.base import Budget
from faultsim.corruption import Edit, Stored
from faultsim.errors import OptionError

FAULTS: dict[str, type["Fault"]] = {}
"""Every registered law by its `Fault.kind`."""

Generators = Callable[[str], np.random.Generator]
"""Gives the generator of a site by its name; the same name gives a fresh, equal generator."""

CHIP = "*"
"""The name that `Generators` are asked for where a draw belongs to the whole chip and to no single site."""


@dataclass(frozen=True, kw_only=True)
class Fault(ABC):
    """One law of how a chip's stored numbers go wrong: a frozen value that draws edits and bounds them.

    A law draws everything from the generator that it is given and never touches a tensor: it returns an
    `Edit`. Equal laws, tensors and generators give equal edits, and a rate of zero gives an edit that
    changes nothing.
    """

    kind: ClassVar[str]

    @abstractmethod
    def sample(self, stored: Stored, rng: np.random.Generator) -> Edit:
        """Draw what this law does to one tensor of one chip.

        Args:
            stored: The tensor as the fault-free chip holds it.
            rng: Generator of this draw alone.

        Raises:
            DeviceError: If the law does not fit the storage format.
        """

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw what this law does to all tensors of one chip: by default each by itself.

        Args:
            stored: The tensors, each name once.
            generators: Generator of a site by its name; laws that draw chip-wide events ask for ``"*"``.

        Returns:
            An edit for each touched site by name; a site that is left whole may be missing.
        """
        return {one.site.name: self.sample(one, generators(one.site.name)) for one in stored}

    @abstractmethod
    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound this law's delta on one tensor, in the tensor's value units.

        Args:
            stored: The tensor as the fault-free chip holds it.
            p: Norm of the radius: 1, 2 or ``math.inf``.
            confidence: Quantile over chips, strictly between 0 and 1.

        Raises:
            OptionError: If p or confidence is out of range.
            DeviceError: If the law does not fit the storage format.
        """


_Law = TypeVar("_Law", bound=type[Fault])


def register(law: _Law) -> _Law:
    """Enter a law in `FAULTS` under its kind: a class decorator.

    Raises:
        OptionError: If another class has that kind already.
    """
    if FAULTS.get(law.kind, law) is not law and FAULTS[law.kind].__qualname__ != law.__qualname__:
        raise OptionError(f"fault kind {law.kind!r} is taken by {FAULTS[law.kind].__name__}; choose another")
    FAULTS[law.kind] = law
    return law
