"""What an attacker wants of the flips: any error, a class of his, or errors in some samples alone. No search here."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from faultsim.errors import OptionError
from faultsim.search.bits.objective import EditObjective, Edits, ManyScorer, OneByOne
from faultsim.search.objective import Gradient, Loss, Score


class Judged(NamedTuple):
    """One corruption, as an aim sees it.

    Attributes:
        value: The number that the search raises; ``inf`` where non-finite outputs count as damage, ``-inf`` where
            they are forbidden.
        accuracy: Share of the samples aimed at that stand: those that are right, or (for a target) not of the
            target's class yet. The attacker wants 0.
        loss: Mean cross-entropy over the samples aimed at, by the true labels or by the target's; it may be NaN.
        nonfinite: Samples with a non-finite output.
        kept: Accuracy over the samples that are to be spared; None where the aim spares none.
        allowed: Whether the corruption may be reported: finite where it must be, and stealthy where it must be.
    """

    value: float
    accuracy: float
    loss: float
    nonfinite: int = 0
    kept: float | None = None
    allowed: bool = True

    @property
    def rank(self) -> tuple[float, float]:
        """Sorts by the value, among equals by the lower accuracy."""
        return self.value, -self.accuracy


class Aim(Protocol):
    """What is raised, and what counts as reached.

    Attributes:
        finite_only: Whether corruptions with a non-finite output are forbidden; else they count as damage.
        passes: Forward passes that one judgement takes.
        losses: The losses that have a gradient worth ranking by; the first one belongs to the value.
    """

    @property
    def finite_only(self) -> bool:
        """Whether non-finite outputs are forbidden."""
        ...

    @property
    def passes(self) -> int:
        """Forward passes that one judgement takes."""
        ...

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Losses to rank by, the first is that of the value."""
        ...

    def gradient(self, edits: Edits, loss: Loss) -> Gradient:
        """Return the value (taken with *loss*) under *edits*, and its gradient by the stored numbers."""
        ...

    def judge(self, candidates: Sequence[Edits]) -> list[Judged]:
        """Return the judgement of each candidate, in their order."""
        ...


@dataclass(frozen=True, kw_only=True)
class Untargeted:
    """Any error will do.

    Attributes:
        objective: The network on the samples, with their labels.
        loss: What is raised: cross-entropy, or the margin of the best wrong output over the right one.
        scorer: Scores many candidates; ``None`` scores them one by one.
        finite_only: Whether a non-finite output is forbidden; else it counts as the largest damage.
    """

    objective: EditObjective
    loss: Loss = "cross_entropy"
    scorer: ManyScorer | None = None
    finite_only: bool = True

    @property
    def passes(self) -> int:
        """One."""
        return 1

    @property
    def losses(self) -> tuple[Loss, ...]:
        """That of the value, then the collapse into one class, then the other."""
        first, other = both(self.loss)
        return first, "collapse", other

    def gradient(self, edits: Edits, loss: Loss) -> Gradient:
        """Return the loss and its gradient."""
        return self.objective.gradient(edits, loss)

    def judge(self, candidates: Sequence[Edits]) -> list[Judged]:
        """Return value (the loss) and accuracy of each candidate."""
        return [
            Judged(
                self._value(score),
                score.accuracy,
                score.loss,
                score.nonfinite,
                None,
                score.finite or not self.finite_only,
            )
            for score in ask(self.scorer, self.objective, candidates)
        ]

    def _value(self, score: Score) -> float:
        return math.inf if not score.finite and not self.finite_only else score.value(self.loss)


@dataclass(frozen=True, kw_only=True)
class Targeted:
    """The samples are to be taken for one class.

    Attributes:
        objective: The network on the samples, *labelled with the class they are to be taken for*.
        loss: Cross-entropy of the target, which falls; or the target's margin, which falls.
        scorer: As for `Untargeted`, with the same labels.
        finite_only: Whether a non-finite output is forbidden; else it counts like a sample not of the target.
    """

    objective: EditObjective
    loss: Loss = "cross_entropy"
    scorer: ManyScorer | None = None
    finite_only: bool = True

    @property
    def passes(self) -> int:
        """One."""
        return 1

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Both, that of the value first."""
        return both(self.loss)

    def gradient(self, edits: Edits, loss: Loss) -> Gradient:
        """Return minus the target's loss, and its gradient."""
        return negative(self.objective.gradient(edits, loss))

    def judge(self, candidates: Sequence[Edits]) -> list[Judged]:
        """Return value (minus the target's loss) and the share not yet of the target's class."""
        found = []
        for score in ask(self.scorer, self.objective, candidates):
            value = -score.value(self.loss) if score.finite else -math.inf
            allowed = score.finite or not self.finite_only
            found.append(Judged(value, 1 - score.accuracy, score.loss, score.nonfinite, None, allowed))
        return found


@dataclass(frozen=True, kw_only=True)
class Stealthy:
    """An aim at some samples, while the accuracy on others is kept.

    The value is that of the aim less *weight* times the cross-entropy of the samples to be spared; a corruption is
    allowed only where their accuracy is at most *tolerance* below the clean one. Others may be steps on the way.

    Attributes:
        aim: `Untargeted` or `Targeted`, on the samples that are to fail.
        others: The network on the samples to be spared, with their true labels.
        clean_accuracy: Their accuracy without a corruption, 0 to 1.
        tolerance: Most that it may lose, 0 to 1.
        weight: Of their loss against the aim's, at least 0, dimensionless.
        scorer: Scores many candidates on the samples to be spared.

    Raises:
        OptionError: If a number is out of range.
    """

    aim: Untargeted | Targeted
    others: EditObjective
    clean_accuracy: float
    tolerance: float = 0.02
    weight: float = 1.0
    scorer: ManyScorer | None = None

    def __post_init__(self) -> None:
        for name in ("clean_accuracy", "tolerance"):
            if not 0 <= getattr(self, name) <= 1:
                raise OptionError(f"{name} is {getattr(self, name):g}, it must lie between 0 and 1; give a share")
        if not (math.isfinite(self.weight) and self.weight >= 0):
            raise OptionError(f"weight is {self.weight:g}, it must be finite and at least 0; 1 weighs both alike")

    @property
    def finite_only(self) -> bool:
        """As the aim has it; outputs of the samples to be spared must be finite in any case."""
        return self.aim.finite_only

    @property
    def passes(self) -> int:
        """One on each part of the samples."""
        return self.aim.passes + 1

    @property
    def losses(self) -> tuple[Loss, ...]:
        """Those of the aim."""
        return self.aim.losses

    def gradient(self, edits: Edits, loss: Loss) -> Gradient:
        """Return the value and its gradient; the part to be spared enters with its cross-entropy."""
        ours, theirs = self.aim.gradient(edits, loss), self.others.gradient(edits, "cross_entropy")
        grads = {name: grad - self.weight * theirs.grads[name] for name, grad in ours.grads.items()}
        return Gradient(ours.loss - self.weight * theirs.loss, grads, ours.forwards + theirs.forwards)

    def judge(self, candidates: Sequence[Edits]) -> list[Judged]:
        """Return the aim's judgement, less what the others suffer."""
        found = []
        for ours, theirs in zip(self.aim.judge(candidates), ask(self.scorer, self.others, candidates), strict=True):
            value = ours.value - self.weight * theirs.loss if theirs.finite else -math.inf
            stealthy = theirs.finite and theirs.accuracy >= self.clean_accuracy - self.tolerance - 1e-12
            nonfinite = ours.nonfinite + theirs.nonfinite
            found.append(Judged(value, ours.accuracy, ours.loss, nonfinite, theirs.accuracy, ours.allowed and stealthy))
        return found


def ask(scorer: ManyScorer | None, objective: EditObjective, candidates: Sequence[Edits]) -> list[Score]:
    """Return the scores of *candidates*, by the scorer where there is one."""
    found = (scorer or OneByOne(objective)).scores(candidates)
    if len(found) != len(candidates):
        raise OptionError(f"the scorer gave {len(found)} scores for {len(candidates)} candidates; give one for each")
    return found


def both(first: Loss) -> tuple[Loss, ...]:
    """Return both losses, *first* first."""
    return ("cross_entropy", "margin") if first == "cross_entropy" else ("margin", "cross_entropy")


def negative(gradient: Gradient) -> Gradient:
    """Return the gradient of minus the loss."""
    return gradient._replace(loss=-gradient.loss, grads={name: -grad for name, grad in gradient.grads.items()})
