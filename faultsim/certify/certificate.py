"""What a certificate says: `Certificate`, and why there is none: `NotCertifiedError`. Nothing is bounded here."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import FaultsimError

METHOD = "first-order expansion with bounded remainders"


class NotCertifiedError(FaultsimError):
    """No bound can be proven for this graph, set or data; the message says which node and why."""


@dataclass(frozen=True, eq=False)
class Certificate:
    """Bounds that hold for every corruption of a set, or the reason why none is known.

    Attributes:
        loss_increase_upper: No corruption of the set raises the mean cross-entropy by more, in nats, at least 0;
            infinite where nothing is proven.
        accuracy_lower: No corruption leaves a smaller fraction of the samples right; 0 where nothing is proven.
        first_order: The part of the bound that is linear in the radius: the support function of the set at the
            gradient, in nats. ``loss_increase_upper / first_order`` tends to 1 as the radius does to 0.
        samples: Samples that the bounds are about.
        correct: How many of them are right without corruption.
        stable: By sample, whether its predicted class cannot change; shape ``(samples,)``.
        margins_upper: By sample, the most that any other class can come above the predicted one, in the unit of the
            logits, negative where `stable`; shape ``(samples,)``.
        proven: Whether the bounds are proven: else an attack's result is *found, not proven*.
        why_not: The node or the reason that keeps the bounds from being proven; empty where they are.
        slack: What the bound holds for the rounding of its own arithmetic, in nats, added outward.
        method: How it was proven.
    """

    loss_increase_upper: float = math.inf
    accuracy_lower: float = 0.0
    first_order: float = math.nan
    samples: int = 0
    correct: int = 0
    stable: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    margins_upper: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    proven: bool = False
    why_not: str = ""
    slack: float = 0.0
    method: str = METHOD

    @property
    def status(self) -> str:
        """One phrase for a report."""
        return "proven" if self.proven else f"found, not proven: {self.why_not}"
