"""`HardenResult`: what ``faultsim harden`` writes as ``harden.json``, one model before and after. Values only."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from faultsim.results.base import Count, Exponent, Fraction, NullIfNotFinite, Section, Sha256
from faultsim.results.contract import SCHEMA_VERSION, Agreement, Result
from faultsim.results.shown import Shown

Positive = Annotated[Count, Field(ge=1)]
Seconds = Annotated[float, Field(ge=0)]


class CurvePoint(Section):
    """One validation of the training."""

    step: Count
    """Steps done; 0 is the original."""
    epoch: Annotated[float, Field(ge=0)]
    """Passes over the training samples done."""
    train_loss: NullIfNotFinite
    """Mean of the training loss since the point before; null at the start."""
    loss: NullIfNotFinite
    """Clean loss on the validation samples."""
    accuracy: Fraction | None
    """Clean accuracy there; null where the task counts none."""
    score: float
    """What the best point is chosen by: on drawn chips and at the one-step worst case, less a penalty where the clean
    accuracy falls."""
    lr: NullIfNotFinite
    """Learning rate; null at the start."""
    seconds: Seconds
    """Since the training began."""


class StrengthTried(Section):
    """One strength of the search."""

    strength: Annotated[float, Field(ge=0)]
    """The loss's knob; for several losses the factor on their own strengths."""
    score: float
    """Of the best point of its training, as `CurvePoint.score`."""


class TrainingInfo(Section):
    """How the numbers were found."""

    recipe: str
    """Its name; ``losses`` where they were named one by one."""
    why: str
    """Why this recipe, one sentence."""
    loss: str
    """The losses, joined by ``+``."""
    settings: str
    """Every knob of the losses, as text."""
    strength: Annotated[float, Field(ge=0)]
    """The strength of the final training."""
    strengths: tuple[StrengthTried, ...] = ()
    """The search over strengths; empty where one was given."""
    options: dict[str, str | float | int | bool | None]
    """Optimizer, steps, rates and the rest."""
    towards: Literal["labels", "clean"]
    """``clean``: distilled from the original's outputs."""
    batch_norm: Literal["none", "frozen", "recalibrated"]
    """``none``: there is none, or it is folded into the weights; ``frozen``: the statistics are the original's;
    ``recalibrated``: taken anew on the training samples after the training."""
    scales: Literal["keep", "learn"]
    """Whether the steps of integer weights are the original's."""
    train_samples: Positive
    validation_samples: Positive
    test_samples: Positive
    """What both assessments are scored on; nothing was trained or chosen on it."""
    steps: Count
    """Steps done."""
    planned: Positive
    """Steps planned."""
    best_step: Count
    """The step whose numbers were taken; 0 keeps the original's."""
    part: Annotated[float, Field(gt=0, le=1)] = 1.0
    """How much of the way from the original's numbers to them was taken, for the clean accuracy's sake; 1 is all."""
    seconds: Seconds
    """Spent training, the search over strengths included."""
    stopped: str | None = None
    """Why the training ended before the plan; null where it did not."""
    trained: tuple[str, ...]
    """Tensors that were trained."""
    frozen: dict[str, str]
    """Tensors that were not, with the reason."""
    curve: tuple[CurvePoint, ...]
    """The final training."""


class Compared(Section):
    """One figure before and after."""

    name: str
    """What it is, such as ``random accuracy, 5th percentile``."""
    before: NullIfNotFinite
    after: NullIfNotFinite
    higher_is_better: bool
    fraction: bool
    """Whether it is an accuracy, or the like."""
    note: str | None = None
    """What a careful reader must know."""


class PairedGain(Section):
    """Mean over chips of the accuracy after less before, chip by chip: both models on the same draws."""

    trials: Positive
    mean: float
    low: float | None
    """Lower end of the mean's interval; null with one chip."""
    high: float | None
    """Upper end of the mean's interval; null with one chip."""
    better: Count
    """Chips on which the hardened model is more accurate."""


class Radius(Section):
    """The radius of an L2 ball over all tensors under test at which a searched corruption costs a given accuracy.

    A search finds a lower bound of the damage, so these are upper bounds of the true radii.
    """

    p: Exponent
    accuracy: Fraction
    """The accuracy that is reached, of each model the same drop from its own clean accuracy or the same part of it."""
    what: str
    """What the accuracy is: ``loses 5 points``."""
    before: NullIfNotFinite
    """In units of the weights; null where even the largest radius tried does not reach it."""
    after: NullIfNotFinite
    before_relative: NullIfNotFinite
    """Over the norm of the model's own weights."""
    after_relative: NullIfNotFinite


class HardenResult(Shown):
    """One hardening: training, and the same chips before and after."""

    schema_version: Literal[1] = SCHEMA_VERSION
    seed: int
    """Of split, batches and draws; the chips of the assessments are those of `before.seed`."""
    tolerance: Fraction
    """Most that the clean accuracy may fall for the hardening to have helped."""
    helped: bool
    """Whether nothing fell by more than the tolerance (of the 5th percentile beyond chance too, of a worst case by
    more than a sample too), the mean over chips not by more than chance, and that mean, the 5th percentile or the worst
    case improved by more than chance or a sample."""
    sentence: str
    """The same in words."""
    hardened: str | None
    """The file that was written; null where none was."""
    hardened_sha256: Sha256 | None
    changed: tuple[str, ...] = ()
    """Stored tensors that differ from the original's; nothing else does."""
    agreement: Agreement | None = None
    """Of the written file with the reference runtime; null where none could run it."""
    compared: tuple[Compared, ...]
    paired: PairedGain | None = None
    """Null where the task counts no correct answers, or no chips were drawn."""
    radii: tuple[Radius, ...] = ()
    training: TrainingInfo
    before: Result
    after: Result
    notes: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _same_chips(self) -> "HardenResult":
        if self.before.seed != self.after.seed or self.before.device != self.after.device:
            raise ValueError("before and after are not of the same chips: seed or device differ")
        if (self.hardened is None) != (self.hardened_sha256 is None):
            raise ValueError("hardened and hardened_sha256 go together")
        return self
