"""`ScreenedTally`: what a screened trial counted, and its corrected figures. Nothing is screened here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from faultsim.metrics import Tally
from faultsim.stats.difference import ScreenedRate, screened_rate


@dataclass(frozen=True, kw_only=True)
class ScreenedTally:
    """Counts of one trial. Every image is unchanged, left to the screen, or suspect.

    Attributes:
        n: Images.
        unchanged: Images whose activations equal the fault-free ones bit by bit: nothing to audit.
        screened: Images left to the screen, whose answer is "the prediction does not change".
        audited: Of those, a simple random sample that was evaluated.
        suspects: All other images.
        evaluated: Of those, a simple random sample that was evaluated; all of them unless there were too many.
        audit_mismatch: Audited images whose prediction does change.
        mismatch: Evaluated suspects whose prediction changes.
        audit_correct: Correct answers on the audited images, less the fault-free model's on the same.
        correct: Correct answers on the evaluated suspects, less the fault-free model's on the same.
        clean_correct: Correct answers of the fault-free model on all images.
        nonfinite: Evaluated and audited images whose output is not finite.
    """

    n: int
    unchanged: int
    screened: int
    audited: int
    suspects: int
    evaluated: int
    audit_mismatch: int
    mismatch: int
    audit_correct: int
    correct: int
    clean_correct: int
    nonfinite: int

    @classmethod
    def exact(cls, tally: Tally, clean_correct: int) -> "ScreenedTally":
        """Return the counts of a trial that was evaluated on all images."""
        counts = tally.counts
        return cls(
            n=counts.n,
            unchanged=0,
            screened=0,
            audited=0,
            suspects=counts.n,
            evaluated=counts.n,
            audit_mismatch=0,
            mismatch=counts.mismatch,
            audit_correct=0,
            correct=counts.correct - clean_correct,
            clean_correct=clean_correct,
            nonfinite=counts.nonfinite,
        )

    @property
    def is_exact(self) -> bool:
        """Whether every image that could have changed was evaluated: then the figures are no estimates."""
        return self.evaluated == self.suspects and self.audited == self.screened

    @property
    def predicted(self) -> float:
        """Share of images known to change, where all suspects were evaluated; 0 where a sample of them was."""
        return self.mismatch / self.n if self.evaluated == self.suspects else 0.0

    @property
    def answer(self) -> float:
        """The screen's answer alone: the share of images that the suspects seen to change stand for, without audit."""
        return self._scaled(self.mismatch, self.suspects, self.evaluated) / self.n

    @property
    def left(self) -> float:
        """Share of images that a sample stands for, `screened_values`' second argument."""
        return (self.screened if self.evaluated == self.suspects else self.screened + self.suspects) / self.n

    @property
    def difference(self) -> float:
        """Mean difference over the images that a sample stands for, each stratum by its size; 0 without any."""
        audit = self._scaled(self.audit_mismatch, self.screened, self.audited)
        if self.evaluated == self.suspects:
            return audit / self.screened if self.screened else 0.0
        suspect = self._scaled(self.mismatch, self.suspects, self.evaluated)
        return (audit + suspect) / (self.screened + self.suspects)

    @property
    def mismatch_rate(self) -> float:
        """Horvitz-Thompson estimate of the share of images whose prediction changes: unbiased, in [0, 1]."""
        return self.predicted + self.left * self.difference

    @property
    def accuracy(self) -> float:
        """Horvitz-Thompson estimate of the accuracy: unbiased; chance can carry it out of [0, 1]."""
        audit = self._scaled(self.audit_correct, self.screened, self.audited)
        suspect = self._scaled(self.correct, self.suspects, self.evaluated)
        return (self.clean_correct + audit + suspect) / self.n

    @staticmethod
    def _scaled(count: int, population: int, sampled: int) -> float:
        return count * (population / sampled) if sampled else 0.0


def mismatch_rate(tallies: Sequence[ScreenedTally], *, level: float = 0.95) -> ScreenedRate:
    """Estimate the mean share of changed predictions over the law that the trials were drawn from.

    Args:
        tallies: Trials, drawn independently, in trial order.
        level: Two-sided confidence, dimensionless, strictly between 0 and 1.

    Raises:
        ValueError: If there is no trial, or one left images to the screen and none was audited.
    """
    for trial, one in enumerate(tallies):
        if one.screened and not one.audited:
            raise ValueError(
                f"trial {trial} left {one.screened} images to the screen and none was audited: audit at least 1"
            )
    found = screened_rate(
        [one.predicted for one in tallies],
        [one.left for one in tallies],
        [one.difference for one in tallies],
        level=level,
    )
    return found._replace(uncorrected=math.fsum(one.answer for one in tallies) / len(tallies))
