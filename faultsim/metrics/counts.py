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
        loss: Sum of the losses of the *finite* units, nats or squared units of the label; ``None`` where the task
            has no loss: classes and token ids were chosen from scores that are not there.
        extra: Whole numbers that the score needs beside these, shape (samples, k), or ``None``.
    """

    n: Ints
    correct: Ints
    mismatch: Ints
    nonfinite: Ints
    loss: Floats | None
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
class Outcomes:
    """Samples by what became of them; every sample is in exactly one class. They merge by ``+``, in any order.

    Attributes:
        masked: The scored output equals the fault-free chip's, bit by bit.
        tolerable: The output differs, every prediction is the same.
        critical: A prediction changed and every number is finite: silent data corruption.
        nonfinite: The output differs and holds a NaN or an infinity, which a check of the output sees.

    Examples:
        >>> (Outcomes(masked=3) + Outcomes(masked=1, critical=2)).samples
        6
    """

    masked: int = 0
    tolerable: int = 0
    critical: int = 0
    nonfinite: int = 0

    def __add__(self, other: "Outcomes") -> "Outcomes":
        return Outcomes(
            self.masked + other.masked,
            self.tolerable + other.tolerable,
            self.critical + other.critical,
            self.nonfinite + other.nonfinite,
        )

    @classmethod
    def of(cls, classes: NDArray[np.uint8]) -> "Outcomes":
        """Return the counts of a vector of classes, 0 … 3 in the order of the attributes."""
        return cls(*(int(count) for count in np.bincount(classes, minlength=4)))

    @property
    def samples(self) -> int:
        """Number of samples in all classes."""
        return self.masked + self.tolerable + self.critical + self.nonfinite


@dataclass(frozen=True)
class Tally:
    """Counts and the exact loss over any number of samples: the streaming accumulator of every task.

    Tallies of batches merge by ``+`` to the same bits in any order and for any batch size.

    Attributes:
        counts: The integer counts.
        loss: Exact sum of the losses of the finite units.
        extra: Sum of `Judged.extra`.
        lossless: Whether there is no loss to sum, see `Judged.loss`.
        outcomes: What the faults did to each sample; ``None`` where the fault-free outputs were not known.
    """

    counts: Counts = field(default_factory=Counts)
    loss: ExactSum = field(default_factory=ExactSum)
    extra: tuple[int, ...] = ()
    lossless: bool = False
    outcomes: Outcomes | None = None

    @classmethod
    def of(cls, judged: Judged, classes: NDArray[np.uint8] | None = None) -> "Tally":
        """Return the tally of one batch; *classes* is what `outcomes.classify` gave for it."""
        sums = (int(p.sum()) for p in (judged.n, judged.correct, judged.mismatch, judged.nonfinite))
        extra = () if judged.extra is None else tuple(int(one) for one in judged.extra.sum(axis=0))
        loss = ExactSum() if judged.loss is None else ExactSum.of(judged.loss)
        outcomes = None if classes is None else Outcomes.of(classes)
        return cls(Counts(*sums), loss, extra, judged.loss is None, outcomes)

    def __add__(self, other: "Tally") -> "Tally":
        mine, theirs = self.extra or (0,) * len(other.extra), other.extra or (0,) * len(self.extra)
        extra = tuple(a + b for a, b in zip(mine, theirs, strict=True))
        known = [one for one in (self.outcomes, other.outcomes) if one is not None]
        return Tally(
            self.counts + other.counts,
            self.loss + other.loss,
            extra,
            self.lossless or other.lossless,
            sum(known, Outcomes()) if known else None,
        )

    @property
    def mean_loss(self) -> float:
        """Mean loss over the units whose output is finite; infinite where none is, NaN where there is no loss.

        A chip with `counts.nonfinite` above 0 is worse than this figure says: always show both.
        """
        if self.lossless:
            return float("nan")
        finite = self.counts.n - self.counts.nonfinite
        return self.loss.value / finite if finite else float("inf")
