"""What is counted: `Judged` for the samples of a batch, `Counts` and `Tally` for any number of them."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.metrics.exact import ExactSum

Array = NDArray[Any]
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
NONFINITE = -1  # the class predicted by an output that holds NaN or infinity


class Judged(NamedTuple):
    """The verdict on each sample of a batch; every array has shape (samples,).

    A *unit* is one prediction: a sample for classification and regression, a token for sequences.

    Attributes:
        n: Units that are scored.
        correct: Of those, the right ones; a unit whose output is not finite never is.
        mismatch: Of those, the ones predicted otherwise than by the clean model; 0 where none was given.
        nonfinite: Of those, the ones whose output holds NaN or infinity.
        loss: Sum of the losses of the *finite* units, nats or squared units of the label.
        extra: Whole numbers that the score needs beside these, shape (samples, k), or ``None``.
    """

    n: Ints
    correct: Ints
    mismatch: Ints
    nonfinite: Ints
    loss: Floats
    extra: Ints | None = None


@dataclass(frozen=True)
class Counts:
    """Integer counts over any number of samples; they merge by ``+``, in any order.

    Examples:
        >>> Counts(10, 9, 1, 0) + Counts(5, 5, 0, 0)
        Counts(n=15, correct=14, mismatch=1, nonfinite=0)
    """

    n: int = 0
    correct: int = 0
    mismatch: int = 0
    nonfinite: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.n + other.n,
            self.correct + other.correct,
            self.mismatch + other.mismatch,
            self.nonfinite + other.nonfinite,
        )

    @property
    def accuracy(self) -> float:
        """Share of correct units, in [0, 1]; NaN without any unit."""
        return self.correct / self.n if self.n else float("nan")


@dataclass(frozen=True)
class Tally:
    """Counts and the exact loss over any number of samples: the streaming accumulator of every task.

    Tallies of batches merge by ``+`` to the same bits in any order and for any batch size.

    Attributes:
        counts: The integer counts.
        loss: Exact sum of the losses of the finite units.
        extra: Sum of `Judged.extra`.
    """

    counts: Counts = field(default_factory=Counts)
    loss: ExactSum = field(default_factory=ExactSum)
    extra: tuple[int, ...] = ()

    @classmethod
    def of(cls, judged: Judged) -> "Tally":
        """Return the tally of one batch."""
        sums = (int(part.sum()) for part in judged[:4])
        extra = () if judged.extra is None else tuple(int(one) for one in judged.extra.sum(axis=0))
        return cls(Counts(*sums), ExactSum.of(judged.loss), extra)

    def __add__(self, other: "Tally") -> "Tally":
        mine, theirs = self.extra or (0,) * len(other.extra), other.extra or (0,) * len(self.extra)
        extra = tuple(a + b for a, b in zip(mine, theirs, strict=True))
        return Tally(self.counts + other.counts, self.loss + other.loss, extra)

    @property
    def mean_loss(self) -> float:
        """Mean loss over the units whose output is finite; infinite where none is.

        A chip with `counts.nonfinite` above 0 is worse than this figure says: always show both.
        """
        finite = self.counts.n - self.counts.nonfinite
        return self.loss.value / finite if finite else float("inf")
