"""`AttackResult`: what ``faultsim attack`` writes as JSON. Values only; that of a probe lives in `probing`."""

from typing import Annotated, Literal

from pydantic import Field

from faultsim.results.base import Count, Exponent, Fraction, NullIfNotFinite, Section, Sha256
from faultsim.results.contract import SCHEMA_VERSION, Agreement, DataInfo, DeviceInfo, ModelInfo, Provenance, Score
from faultsim.results.shown import Shown

Positive = Annotated[Count, Field(ge=1)]
Radius = Annotated[float, Field(ge=0)] | None


class AttackScore(Section):
    """What one corruption does on the samples that everything is scored on."""

    accuracy: Fraction | None
    """Null where the task counts no correct answers."""
    loss: NullIfNotFinite
    """Null where an output is not finite."""
    loss_change: NullIfNotFinite
    """The loss less the clean one."""
    nonfinite: Count = 0
    """Samples with an output that is not finite."""
    method: str
    """What found it; ``none``: nothing tried was worse than no corruption."""


class AttackSet(Section):
    """The set of corruptions."""

    words: str
    p: Exponent | None
    """Null where several budgets differ."""
    eps: Radius
    """Radius, in the unit that `words` tells; null where it varies, or the budgets differ."""
    n: Count | None
    """Most numbers that move; null for all, or where the budgets differ."""
    budgets: Positive
    """One for all tensors, or one for each."""
    elements: Positive
    """Numbers in the tensors of the set."""
    pinned: tuple[str, ...] = ()
    """Tensors that cannot move: they are zero, and the radius is relative."""


class AttackMethod(Section):
    """What one search came to on its own samples."""

    name: str
    candidates: Positive
    """Corruptions that it had scored."""
    loss: NullIfNotFinite
    """The largest finite one."""
    accuracy: Fraction | None
    """The lowest one."""


class RandomBand(Section):
    """Random corruptions of the same set, each with the same norm as the worst case."""

    trials: Positive
    mean: Fraction | None
    """Of the accuracy."""
    low: Fraction | None
    """Of the interval over trials."""
    high: Fraction | None
    min: Fraction | None
    loss_mean: NullIfNotFinite
    loss_max: NullIfNotFinite
    nonfinite: Count = 0
    """Trials with an output that is not finite."""


class Proven(Section):
    """Whether a bound holds over the whole set."""

    proven: bool
    why_not: str
    """Empty where it is proven."""
    loss_change: Radius
    """No corruption of the set raises the loss by more; null where nothing is proven."""
    accuracy: Fraction | None
    """No corruption leaves a smaller share right; null where nothing is proven."""
    roundoff: float | None = None
    """Unit roundoff of the deployed arithmetic that the bound covers."""
    seconds: Annotated[float, Field(ge=0)] = 0.0


class AttackPoint(Section):
    """One value of a curve."""

    value: float
    random: RandomBand | None
    worst: AttackScore
    """The lowest accuracy found."""
    largest: AttackScore
    """The largest loss found."""
    first_order: NullIfNotFinite = None
    """Loss change of the worst corruption to first order."""
    first_order_random: NullIfNotFinite = None
    """Expected loss change of the best of the random trials to first order (theorem 1); null where it says nothing."""
    forecast_log10_trials: float | None = None
    """As in the result, for this value."""
    gradients: Count
    forwards: Count


class CriticalRadiusResult(Section):
    """The radius at which the accuracy falls below a level; found, not proven: upper bounds of the true radii."""

    name: str
    """``all``, or a layer."""
    sites: Positive
    proven: Radius = None
    """The largest radius tried at which the level is proven to hold; null where no proof was asked for."""
    holds: Radius
    """The largest radius tried at which nothing found breaks the level."""
    worst: Radius
    """The smallest at which the worst corruption found does; null: none did up to the largest tried."""
    random: Radius
    """The same for the mean of random corruptions; null: none did, or the run was stopped."""
    random_over_worst: Radius
    """How much further random corruption reaches; null where one of the two is."""
    safety_factor: Radius
    """`worst` over the asked or the device's radius; null without one."""


class AttackCurve(Section):
    """Accuracy over the radius or the number of elements."""

    over: Literal["eps", "n"]
    unit: str
    """What the values count in."""
    points: tuple[AttackPoint, ...]
    keep: Fraction | None = None
    """The accuracy that `radii` are for."""
    radii: tuple[CriticalRadiusResult, ...] = ()


class ChangedCell(Section):
    """One cell of the worst corruption."""

    site: str
    element: Count
    """Flat index."""
    low_bit: Count
    """Lowest bit of the cell in its word; the device's number where it is a conductance."""
    before: NullIfNotFinite
    """The element's stored number without any fault."""
    after: NullIfNotFinite
    """With all changes; null where it is not finite."""


class CellsPoint(Section):
    """The worst corruption found of so many cells."""

    cells: Positive
    method: str
    searched_accuracy: Fraction
    """Share of the search's samples aimed at that stand."""
    aimed_accuracy: Fraction
    """The same on the samples that are scored on."""
    kept: Fraction | None
    """Accuracy there over the samples to be spared; null where there are none."""
    accuracy: Fraction
    """Of all samples scored on, by their labels."""
    loss: NullIfNotFinite
    nonfinite: Count
    gradients: Count
    """Spent until it was found."""
    forwards: Count


class AttackCells(Section):
    """The worst few cells."""

    what: Literal["bits", "levels", "stuck"]
    asked: Positive
    aim: str
    limits: str
    """Empty for none."""
    until_accuracy: Fraction | None
    reached: bool | None
    """Whether `until_accuracy` is reached on the samples scored on; null where none was asked for."""
    needed: Positive | None
    """Cells of the corruption that is handed on; null where nothing did damage."""
    clean_aimed: Fraction
    clean_kept: Fraction | None
    nonfinite: Count
    """Corruptions tried with an output that is not finite."""
    spent: bool
    """Whether the search was cut short for want of gradients or forward passes: more of them may find worse."""
    points: tuple[CellsPoint, ...]
    changed: tuple[ChangedCell, ...]


class Written(Section):
    """The worst model as a file, scored by itself."""

    path: str
    sha256: Sha256
    runtime: str
    accuracy: Fraction | None
    loss: NullIfNotFinite
    same: bool
    """Whether the file by itself has the answers right that the search counted."""


class AttackResult(Shown):
    """One attack: on a set of corruptions, along a curve, or on cells."""

    schema_version: Literal[1] = SCHEMA_VERSION
    model: ModelInfo
    device: DeviceInfo | None
    """Null for the deployed number format."""
    data: DataInfo
    searched_on: str
    """The samples that gradients and the search saw."""
    separate: bool
    """Whether those are other samples."""
    seed: int
    level: Annotated[float, Field(gt=0, lt=1)]
    """Confidence of intervals."""
    clean: Score
    set: AttackSet | None = None
    worst: AttackScore | None = None
    """The lowest accuracy found."""
    largest: AttackScore | None = None
    """The largest loss found."""
    deployed_size: Radius = None
    """The worst corruption as the number format holds it, in radii: rounding to codes can leave the set; null: none."""
    random: RandomBand | None = None
    methods: tuple[AttackMethod, ...] = ()
    indicator: NullIfNotFinite = None
    """Loss change of the worst corruption to first order."""
    forecast_log10_trials: float | None = None
    """log10 of the random trials for an even chance of half of the worst case, to first order; null: not known."""
    certificate: Proven | None = None
    curve: AttackCurve | None = None
    cells: AttackCells | None = None
    gradients: Count = 0
    forwards: Count = 0
    written: Written | None = None
    agreement: Agreement | None = None
    stopped: str | None = None
    """Why the run ended early; null where it did not."""
    notes: tuple[str, ...] = ()
    provenance: Provenance
