"""`Comparison`: two results side by side, what ``faultsim compare`` writes. Values only; it is made in `compare.py`."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, Section, Sha256
from faultsim.results.shown import Shown

COMPARISON_SCHEMA_VERSION: Literal[1] = 1


class Side(Section):
    """One of the two results."""

    path: str
    """Where the file lay."""
    model: str
    """As the result names it."""
    model_sha256: Sha256
    device: str
    conditions: str | None
    seed: int
    trials: Count
    """Chips drawn."""


class Compared(Section):
    """One figure of both results."""

    name: str
    """Short, as a gate names it: ``accuracy``, ``p05``, ``worst_case``, ``clean``, ..."""
    words: str
    """What it is."""
    fraction: bool
    """Whether it is a fraction in [0, 1]."""
    higher_is_better: bool
    first: float | None
    """Null: not finite."""
    second: float | None
    """Null: not finite."""
    difference: float | None
    """Second minus first."""
    low: float | None = None
    """Lower end of the difference's interval; null: there is none."""
    high: float | None = None
    """Upper end of the difference's interval; null: there is none."""
    p_value: Fraction | None = None
    """Of the test; null: not tested."""
    trials: tuple[Count, Count]
    """Chips of both that the figure rests on; 0 where it is of no chip."""
    test: Literal["sign-flip, paired", "permutation, unpaired"] | None = None
    """Null: a figure that no test of this comparison can judge."""
    claimed: bool = False
    """Whether a difference may be claimed: interval and test agree. Never without a test."""
    sentence: str
    """The same in words."""

    @model_validator(mode="after")
    def _tested(self) -> "Compared":
        if self.claimed and self.test is None:
            raise ValueError("claimed without a test")
        return self

    @property
    def worse_by(self) -> float | None:
        """By how much the second is worse; None where a figure is not finite."""
        if self.difference is None:
            return None
        return -self.difference if self.higher_is_better else self.difference


class Gate(Section):
    """A limit on how much worse the second result may be, and what became of it."""

    text: str
    """As the user wrote it."""
    name: str
    """The `Compared.name` that it is about."""
    limit: Annotated[float, Field(ge=0)]
    """By how much the second may be worse."""
    value: float | None
    """By how much it is worse; null: not finite."""
    failed: bool
    """Whether it is worse by more than the limit, and, where a test can tell, a difference may be claimed."""
    inconclusive: bool
    """Whether the interval leaves the other answer possible: more chips would tell."""
    explanation: str
    """The same in one sentence."""


class Comparison(Shown):
    """Two results side by side; every difference is second minus first."""

    schema_version: Literal[1] = COMPARISON_SCHEMA_VERSION
    kind: Literal["comparison"] = "comparison"
    first: Side
    second: Side
    paired: bool
    """Whether both were scored on the same chips."""
    unpaired_because: str | None = None
    """Why they were not; null where they were."""
    level: Fraction
    """Confidence of every interval, and of every test alone."""
    main: str
    """The `Compared.name` of the mean over chips that people know the task by; it is among `figures` where it could be
    tested."""
    figures: tuple[Compared, ...]
    gates: tuple[Gate, ...] = ()
    failed: bool = False
    """Whether a gate failed."""
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _follows(self) -> "Comparison":
        if self.failed is not any(gate.failed for gate in self.gates):
            raise ValueError("failed does not follow from the gates")
        if self.paired is not (self.unpaired_because is None):
            raise ValueError("unpaired_because says why chips are not the same, and nothing else")
        return self
