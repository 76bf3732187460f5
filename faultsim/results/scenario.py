"""`ScenarioResult`: what ``faultsim run`` writes as ``summary.json``, one row a case. Values only."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Fraction, NullIfNotFinite, Section, Sha256
from faultsim.results.contract import Judgement
from faultsim.results.shown import Shown

CaseStatus = Literal["passed", "failed", "no verdict", "error", "not run"]


class HardenedCase(Section):
    """What training against the chip gave; the case's own verdict is that of the model as it is."""

    helped: bool
    """Whether it did, on the same chips; only then a model was written."""
    sentence: str
    """The answer in one sentence."""
    model: str | None
    """The hardened model, from the folder of the summary; null where none was written."""
    passed: bool | None = Field(default=None, validation_alias="pass", serialization_alias="pass")
    """Whether the hardened model meets the case's requirements, safety factors among them, on held-out samples; null
    without any, and where they were not judged."""
    error: str | None = None
    """Why it could not be hardened; null where it could."""


class CaseRow(Section):
    """One case: one model on one device at one corner."""

    name: str
    """``MODEL/DEVICE/CORNER``."""
    model: str
    """The model's file."""
    device: str
    """Name of the profile; its file where the profile could not be read."""
    corner: str = ""
    """Empty where the scenario has none."""
    conditions: str | None = None
    """Operating point, such as ``t = 1 day``; null where there is none, or the case did not run."""
    status: CaseStatus
    """``passed`` and ``failed``: all requirements met, or one missed; ``no verdict``: none was given; ``error``: the
    case could not be run; ``not run``: the run was interrupted before."""
    error: str | None = None
    """Why the case could not be run; null where it could."""
    reused: bool = False
    """Whether the result is that of an earlier run with the same inputs."""
    result: str | None = None
    """The case's ``result.json``, from the folder of the summary; null where none was written."""
    headline: Literal["accuracy", "loss", "score"] = "accuracy"
    """What `clean`, `mean`, `low`, `high` and `worst` hold; accuracies are fractions."""
    labels: Literal["given", "golden"] | None = None
    """``golden``: accuracy is agreement with the clean model."""
    clean: NullIfNotFinite = None
    """Of the model as the device stores it, without a fault."""
    chips: Count = 0
    """Chips drawn."""
    event_probability: Fraction | None = None
    """For rare faults: probability that a chip meets an event; the figures over chips are given one. Else null."""
    halted: Fraction | None = None
    """Share of the chips that a detected memory error halts or reloads; the figures are of their answers after it. Null
    where that is not known."""
    mean: NullIfNotFinite = None
    """Mean over chips."""
    low: NullIfNotFinite = None
    """Lower end of the mean's interval."""
    high: NullIfNotFinite = None
    """Upper end of the mean's interval."""
    tail: NullIfNotFinite = None
    """What 95 % of the chips do at least as well as."""
    worst: NullIfNotFinite = None
    """Under the worst corruption found; found, not proven."""
    criteria: tuple[Judgement, ...] = ()
    """One for each requirement, in the order of the file."""
    unsure: Count = 0
    """Assumptions of the device that are recalled or illustrative, or derived from such."""
    assumptions: Count = 0
    """All of its assumptions."""
    hardened: HardenedCase | None = None
    """Null where the scenario asks for none."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """Spent on it, in the run that computed it."""

    @model_validator(mode="after")
    def _follows(self) -> "CaseRow":
        if (self.status == "error") != (self.error is not None):
            raise ValueError(f"status is {self.status!r} and error is {self.error!r}; they must agree")
        if self.status in ("passed", "failed"):
            expected = "passed" if self.criteria and all(one.passed for one in self.criteria) else "failed"
            if self.status != expected or not self.criteria:
                raise ValueError(f"status {self.status!r} does not follow from the criteria, which give {expected!r}")
        return self


class ScenarioResult(Shown):
    """One run of a scenario."""

    schema_version: Literal[1] = 1
    """Version of this contract."""
    name: str
    """Of the scenario."""
    title: str | None = None
    sha256: Sha256
    """Of the scenario's files."""
    passed: bool | None = Field(default=None, validation_alias="pass", serialization_alias="pass")
    """Whether every case ran and none missed a requirement; null where nothing was judged and nothing failed."""
    interrupted: bool = False
    """Whether the run was stopped before its end."""
    cases: tuple[CaseRow, ...]
    """Every case that was asked for, in the order of the file."""
    command: str = ""
    """The command line."""
    seconds: Annotated[float, Field(ge=0)] = 0.0
    """Spent on this run."""

    @property
    def exit_code(self) -> int:
        """Exit code of ``faultsim run``: 130 interrupted, 2 a case could not run, 1 a requirement missed, else 0."""
        statuses = {one.status for one in self.cases}
        if self.interrupted:
            return 130
        return 2 if "error" in statuses else 1 if "failed" in statuses else 0


def outcome(cases: tuple[CaseRow, ...]) -> bool | None:
    """Return what the cases come to: false where one failed or did not run, null where none was judged."""
    statuses = {one.status for one in cases}
    if statuses & {"failed", "error", "not run"}:
        return False
    return True if "passed" in statuses else None
