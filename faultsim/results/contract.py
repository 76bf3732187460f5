"""`Result` and its smaller sections: what ``faultsim assess`` writes as ``result.json``. Values only."""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from faultsim.results.base import (
    Count,
    Explained,
    Exponent,
    Figure,
    Fraction,
    FractionFigure,
    NullIfNotFinite,
    Section,
    Sha256,
)
from faultsim.results.campaign import KindResult, RandomResult, SiteResult, WorstCase
from faultsim.results.rerun import Rerun
from faultsim.results.shown import Shown

SCHEMA_VERSION: Final = 1
Status = Literal["verified", "secondary", "derived", "recalled", "illustrative", "given"]


class ModelInfo(Section):
    """The deployed graph."""

    path: str
    """The file as it was named on the command line, or ``module:name`` of a torch module."""
    sha256: Sha256
    """Of the serialized ONNX file."""
    sites: Count
    """Weights, biases and norm parameters of the model: tensors."""
    parameters: Count
    """Numbers in them."""
    tested_sites: Count | None = None
    """Tensors under test: what the device stores, less what was excluded; null: all of them."""
    tested_parameters: Count | None = None
    """Numbers in those; null: all of them."""
    opset: Annotated[int, Field(ge=1)]
    """Version of ONNX's own operator set."""
    formats: tuple[str, ...] = ()
    """Number formats of the weights as deployed, the most common first."""


class Assumption(Section):
    """One physical parameter that the result rests on, with what is known of its origin."""

    mechanism: str | None = None
    """The mechanism it belongs to; null: the device as a whole."""
    parameter: str
    """Name in the device profile."""
    value: str
    """As text, with its unit."""
    status: Status
    """``verified`` at the source, ``secondary``: quoted by a third party, ``derived`` by a formula,
    ``recalled``: to be checked again, ``illustrative``: no source, ``given`` by the user."""
    rests_on: Literal["verified", "secondary", "recalled", "illustrative"] | None = None
    """Of a derived value: the status of its weakest input; null for the others."""
    source: str | None = None
    """Citation; null where there is none."""


class DeviceInfo(Section):
    """The chip."""

    name: str
    """Name of the profile."""
    sha256: Sha256
    """Of the profile's file."""
    summary: str
    """What the profile stands for, one line."""
    conditions: str | None = None
    """Operating point of this run, such as ``t = 1 day``; null where the profile has none."""
    assumptions: tuple[Assumption, ...] = ()
    """Every parameter used, verified ones too."""


class DataInfo(Section):
    """The inputs that every chip is scored on."""

    source: str
    """File, folder or ``module:function``; ``drawn`` for inputs that faultsim drew itself."""
    samples: Annotated[int, Field(ge=1)]
    """Inputs; a chip is scored on all of them, so they are not trials."""
    labels: Literal["given", "golden"]
    """``golden``: the clean model's answers stand in for labels: accuracy is agreement with it."""
    task: str = "classification"
    """What the model does."""
    score: str = "accuracy"
    """What the fields named ``accuracy`` hold for this task, a fraction where more is better."""
    loss: str = "loss"
    """What the fields named ``loss`` hold, with its unit; ``none`` where the task has no loss."""
    headline: Literal["accuracy", "loss", "score"] = "accuracy"
    """Which figure people know the task by: log perplexity is a loss, BLEU a score of its own."""
    metric: str | None = None
    """What the fields named ``score`` hold, with its unit; null where the task is known by its accuracy."""
    higher_is_better: bool | None = None
    """Whether a larger ``score`` is a better one; null as `metric`."""
    predictions: Literal["classes", "values"] = "classes"
    """Of ``values`` any change is a changed prediction: mismatches and critical outcomes then count changes."""


class Score(Explained):
    """Accuracy and loss of one exact model on the whole data set."""

    accuracy: FractionFigure
    """Fraction of correct answers; null where the task has none."""
    loss: Figure
    """Mean loss; null where it is not finite, or the task has none."""
    score: NullIfNotFinite = None
    """The task's own score; null where it is not finite, or is the accuracy."""
    formats: tuple[str, ...] = ()
    """For the stored model: number formats on the device, the most common first."""


class Budget(Section):
    """A corruption set, ``|a/scale|_p <= eps`` and ``|a|_0 <= n``, that stands for a mechanism."""

    mechanism: str
    """Mechanism of the device profile."""
    scope: str
    """What the set bounds: ``global``, ``per_tensor`` or ``per_tile``."""
    site: str | None = None
    """The tensor that this entry bounds; null: all of them together."""
    p: Exponent
    """Norm, at least 1, or the text ``inf``."""
    eps: Annotated[float, Field(ge=0)]
    """Radius in the units of the stored numbers."""
    eps_relative: Annotated[float, Field(ge=0)] | None = None
    """Radius over the tensor's own norm of the same p: compares across models; null: not computed."""
    n: Count
    """Most numbers that may be wrong at once."""
    elements: Count
    """Numbers that the set ranges over."""
    confidence: Fraction
    """Part of all chips whose faults of this mechanism lie in the set."""
    note: str = ""
    """What a reader must know of the set, such as that it is an upper bound; empty: nothing."""


class Agreement(Section):
    """How far this execution of the graph and a reference runtime part on real input."""

    runtime: str
    """Name and version of the reference."""
    samples: Annotated[int, Field(ge=1)]
    """Inputs compared."""
    max_abs_difference: Annotated[float, Field(ge=0)]
    """Largest difference of any output, in the output's unit."""
    tolerance: Annotated[float, Field(ge=0)]
    """Largest difference at which a model is still accepted."""


class Judgement(Section):
    """One requirement and what became of it."""

    text: str
    """As the user wrote it."""
    source: str
    """Where: ``--require``, or file and line."""
    metric: str
    """What was asked for."""
    at: str | None
    """Which chip: ``mean``, ``min``, ``max`` or a percentile such as ``p95``; null for metrics of no chip."""
    limit: float
    """The asked bound."""
    value: float | None
    """Point estimate; null: not finite, which misses every requirement."""
    low: float | None
    """Lower end of the value's interval; null: not bounded, or exact."""
    high: float | None
    """Upper end of the value's interval; null: not bounded, or exact."""
    passed: bool = Field(validation_alias="pass", serialization_alias="pass")
    """Whether the point estimate meets the limit."""
    inconclusive: bool = False
    """Whether the interval leaves the other answer possible: more chips would tell."""
    explanation: str
    """The same in one sentence."""


class Verdict(Section):
    """Whether the chip does what was asked."""

    passed: bool | None = Field(default=None, validation_alias="pass", serialization_alias="pass")
    """Whether every criterion passes; null where none was given."""
    criteria: tuple[Judgement, ...] = ()
    """One for each requirement, in the order given."""
    unjudged: tuple[str, ...] = ()
    """Requirements that were given and not judged, because the run ended before what they ask for was known."""

    @model_validator(mode="after")
    def _follows(self) -> "Verdict":
        expected = all(one.passed for one in self.criteria) if self.criteria else None
        if self.passed is not expected:
            raise ValueError(f"pass = {self.passed} does not follow from the criteria, which give {expected}")
        return self


class NotSimulated(Section):
    """Something real that this result leaves out."""

    what: str
    """The mechanism or effect."""
    why: str
    """Why it is left out, and where that could matter."""


class Provenance(Section):
    """What is needed to get the same numbers again, and what they cost."""

    versions: dict[str, str]
    """Of faultsim, Python and the libraries that compute."""
    hardware: str
    """Processor and threads used."""
    command: str
    """The command line."""
    wall_s: Annotated[float, Field(ge=0)]
    """Seconds from start to result."""
    phases_s: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Seconds by phase."""


class Result(Shown):
    """One assessment of one model on one chip. Accuracies are fractions; a trial is a chip."""

    schema_version: Literal[1] = 1
    """Version of this contract; every change of a field's meaning raises it, an added field is optional."""
    model: ModelInfo
    device: DeviceInfo
    data: DataInfo
    seed: int
    """Every draw follows from it."""
    level: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """Two-sided confidence of all intervals."""
    clean: Score
    """The model as deployed, without any fault."""
    clean_stored: Score | None = None
    """The model as the device stores it, without any fault; null where that is the deployed model itself."""
    table_clean: Score | None = None
    """The fault-free chip on the samples that `sites` and `kinds` are scored on; null: on all of them."""
    budget: tuple[Budget, ...] = ()
    """The corruption sets, one for each mechanism and tensor."""
    random: RandomResult | None = None
    """Chips drawn from the device's own laws; null where not run."""
    random_in_set: RandomResult | None = None
    """Random corruptions of the equivalent set, the fair opponent of the worst case; null where not run."""
    worst_case: WorstCase | None = None
    """The worst corruption of the same set that the search found; null where not run."""
    sites: tuple[SiteResult, ...] = ()
    """One for each tensor."""
    kinds: tuple[KindResult, ...] = ()
    """One for each layer kind."""
    verdict: Verdict = Verdict()
    agreement: Agreement | None = None
    """Null where no reference runtime can run the graph; `notes` then says so."""
    not_simulated: tuple[NotSimulated, ...] = ()
    notes: tuple[str, ...] = ()
    """What a careful reader must know beside the numbers."""
    rerun: Rerun | None = None
    """What it takes to draw and score a chip of this result again; null in files of older versions."""
    provenance: Provenance
