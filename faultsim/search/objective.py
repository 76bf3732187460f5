"""What a search may ask of a network: `Objective`, and the values it answers with. No search lives here."""

import math
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints import Tensors

Loss = Literal["cross_entropy", "margin", "errors", "edge", "collapse"]
"""What a search can raise: the mean cross-entropy, the mean margin, a smooth count of the errors, or a collapse.

The count is the mean of ``1 - softmax(sharpness * logits)[true class]`` over the samples that are right, and 1 for each
that is wrong. Its gradient is carried by the right samples near the edge, which decide the accuracy, where that of the
cross-entropy is carried by those that are wrong already. ``edge`` looks at the nearest ones alone: for small sets.
The collapse is the mean log-probability of the class that takes most from the others: a network that answers one class
to everything is right by chance alone, on samples that the search never saw too.
"""
COUNTED: Final[tuple[Loss, ...]] = ("errors", "edge", "collapse")
"""What is scored by the share of errors. How sharp smooth counts are, the task says (`metrics.losses.SHARPNESS`)."""


class Gradient(NamedTuple):
    """The loss at one corruption and its gradient there.

    Attributes:
        loss: The value of the loss that was asked for, dimensionless.
        grads: Its derivative by each corruptible tensor, in the units of the loss per unit of the tensor.
        forwards: Forward passes that were taken beside it.
    """

    loss: float
    grads: Tensors
    forwards: int = 0

    @property
    def usable(self) -> bool:
        """Whether the loss and all derivatives are finite: no step can be taken along one that is not."""
        return math.isfinite(self.loss) and all(bool(np.isfinite(g).all()) for g in self.grads.values())


class Score(NamedTuple):
    """What the network does under one corruption, over the data of the task.

    Attributes:
        loss: Mean cross-entropy over the samples, in nats; not finite where an output is not.
        margin: Mean over the samples of the margin whose gradient the objective gives: the best wrong output
            minus the right one, capped or not, but the same in both.
        accuracy: Fraction of the samples that are right, 0 to 1; one with a non-finite output is wrong.
        nonfinite: Number of samples with a non-finite output.
    """

    loss: float
    margin: float
    accuracy: float
    nonfinite: int = 0

    @property
    def finite(self) -> bool:
        """Whether every output was finite: else the corruption is an outcome of its own, not a large loss."""
        return self.nonfinite == 0 and math.isfinite(self.loss) and math.isfinite(self.margin)

    def value(self, loss: Loss) -> float:
        """Return the number that a search raises: loss, margin or share of errors, ``-inf`` where not finite."""
        if not self.finite:
            return -math.inf
        if loss in COUNTED:
            return 1 - self.accuracy
        return self.loss if loss == "cross_entropy" else self.margin

    def rank(self, loss: Loss) -> tuple[float, float]:
        """Sorts by what a search raises; among equal shares of errors, which are many, by the cross-entropy."""
        return self.value(loss), self.value("cross_entropy") if loss in COUNTED else 0.0


class Objective(Protocol):
    """A network, its data and its task, as a search sees them.

    A corruption is one delta per tensor, in the units and the shape of the tensor, added to it; tensors that
    are not named stay as they are, and ``None`` is no corruption. Both calls must be deterministic.
    """

    def gradient(self, delta: Mapping[str, NDArray[np.float64]] | None, loss: Loss) -> Gradient:
        """Return the loss and its gradient by every corruptible tensor, at *delta*."""
        ...

    def score(self, delta: Mapping[str, NDArray[np.float64]] | None) -> Score:
        """Return what the network does under *delta*, as the deployed number formats compute it."""
        ...
