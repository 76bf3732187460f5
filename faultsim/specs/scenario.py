"""The types of a scenario file: models, devices, corners, sampling, requirements. No file is read here.

An included file is a `ScenarioPart`, every key optional; what stands after all includes is a `ScenarioSpec`.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, field_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.quantity import Spec, Text
from faultsim.specs.storage import StoredRole

MOST = 200
"""Most entries of a list in a scenario."""

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]
"""Of a model, a device, a corner: a part of the case's name and of its folder."""


Requirement = Annotated[
    Text,
    Field(
        description="As for --require, such as 'accuracy_drop <= 1 % at p95', 'yield >= 95 % at accuracy >= 0.85', "
        "'worst_case_accuracy >= 0.5', 'sdc_fit <= 10', 'safety_factor >= 3'.",
    ),
]
"""Its grammar is checked where scenarios are read: `faultsim.scenario.load`."""

Setting = Annotated[
    str | float | int | list[str | float | int], Field(description="One value, or a list: one corner for each.")
]


def in_minutes(text: str) -> str:
    """Return a time budget as `units.duration_s` reads it: ``m`` is minutes in a budget, where months have no place.

    Examples:
        >>> in_minutes("20m"), in_minutes("1.5 m"), in_minutes("1h"), in_minutes("90")
        ('20min', '1.5 min', '1h', '90')
    """
    plain = text.strip()
    count = plain[:-1].strip().replace(".", "", 1)
    return f"{plain}in" if plain.endswith("m") and count.isdecimal() else plain


class ConditionsSpec(Spec):
    """What a device's laws depend on; the profile's own where left out. A list gives one corner for each value."""

    at: Annotated[
        Setting | None, Field(description="Time since programming, such as 1h, 1d, 10y; seconds without a unit.")
    ] = None
    vdd: Annotated[Setting | None, Field(description="Supply voltage in the profile's unit: V or V/Vmin.")] = None
    flux: Annotated[Setting | None, Field(description="Flux over the one that the rate is given for.")] = None
    exposure: Annotated[
        Setting | None, Field(description="Time that upsets gather, such as 1y; seconds without a unit.")
    ] = None
    temperature: Annotated[Setting | None, Field(description="Degrees Celsius.")] = None

    @field_validator("*", mode="after")
    @classmethod
    def _some_value(cls, value: object) -> object:
        if value == []:
            raise PydanticCustomError("empty", "the list is empty; give one value at least, or leave it out")
        return value


class ModelSpec(Spec):
    """A model and the data that it is scored on. Paths are relative to the scenario's folder."""

    model: Annotated[Text, Field(description="An .onnx file, or the name of a bundled model such as digits.")]
    name: Name | None = None
    data: Annotated[Text | None, Field(description="As for --data; without it what lies beside the model.")] = None
    preprocess: Text | None = None
    task: Text | None = None
    output: Text | None = None
    input_shape: dict[str, str] = Field(
        default_factory=dict, description="Sizes of drawn inputs, such as {ids: '1,128'}."
    )
    batch_axis: dict[str, int | Literal["none"]] = Field(
        default_factory=dict, description="The samples' axis, by name."
    )


def _stated(schema: dict[str, Any]) -> None:
    """Take null out of a key's schema: it may be left out, and not be left empty (`faultsim.scenario.load` says so)."""
    schema["anyOf"] = [one for one in schema["anyOf"] if one != {"type": "null"}]
    schema.pop("default", None)


class DeviceUse(Spec):
    """A device profile, with conditions of its own."""

    device: Annotated[Text, Field(description="A name of the device library, or the path of a profile.")]
    name: Name | None = None
    conditions: Annotated[ConditionsSpec, Field(description="Hold in every corner that says nothing else.")] = (
        ConditionsSpec()
    )
    corners: Annotated[
        dict[Name, ConditionsSpec] | None,
        Field(description="In place of the scenario's corners; {} for none.", json_schema_extra=_stated),
    ] = None


class Sampling(Spec):
    """How many chips on which samples; what is left out is as for ``faultsim assess``."""

    trials: Annotated[int, Field(ge=1, le=1_000_000, description="Chips a case.")] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] | None = None
    level: Annotated[float, Field(gt=0, lt=1, description="Confidence of every interval.")] | None = None
    confidence: Annotated[float, Field(gt=0, lt=1, description="Part of the chips that budgets hold.")] | None = None
    limit: Annotated[int, Field(ge=1, description="The first so many samples only.")] | None = None
    batch_size: Annotated[int, Field(ge=1)] | None = None
    reads: Literal["chip", "inference"] | None = None
    sites: Annotated[tuple[Text, ...], Field(description="Globs of the tensors to corrupt.")] = ()
    exclude: Annotated[tuple[Text, ...], Field(description="Globs of the tensors to leave alone.")] = ()
    roles: Annotated[tuple[StoredRole, ...], Field(description="Roles among those that the device stores.")] = ()


class Search(Spec):
    """What the search for the worst case and the table by tensor may cost."""

    gradients: Annotated[int, Field(ge=1)] | None = None
    samples: Annotated[int, Field(ge=1)] | None = None
    site_trials: Annotated[int, Field(ge=0)] | None = None
    site_samples: Annotated[int, Field(ge=1)] | None = None


class HardeningSpec(Spec):
    """Train each model against its chip as well; needs --out. The verdict stays that of the model as it is."""

    recipe: Literal["auto", "plain", "lp", "bits", "analog"] = "auto"
    data: Annotated[Text | None, Field(description="Samples to train on; the model's own data by default.")] = None
    validation_data: Annotated[
        Text | None,
        Field(description="Samples to choose by, which the model was never trained on; else a part of data."),
    ] = None
    scales: Annotated[Literal["keep", "learn"], Field(description="Steps of integer weights.")] = "keep"
    augment: Annotated[Literal["none", "shift", "flip-shift"], Field(description="Of images in training.")] = "none"
    tolerance: Annotated[float, Field(ge=0, lt=1, description="Most that clean accuracy may fall, a fraction.")] = 0.005
    epochs: Annotated[
        int | None,
        Field(ge=1, description="Passes over the training samples; 20 by default, and 1,000 steps or more."),
    ] = None
    strengths: Annotated[int, Field(ge=1, description="Most strengths that are tried.")] = 4
    time_budget: Annotated[
        Text | None, Field(description="For all trainings of a case, such as 20m or 1h; seconds without a unit.")
    ] = None

    @field_validator("time_budget", mode="after")
    @classmethod
    def _minutes(cls, value: str | None) -> str | None:
        return None if value is None else in_minutes(value)


class Override(Spec):
    """Other settings for the cases whose names fit a glob."""

    cases: Annotated[Text, Field(description="Glob on MODEL/DEVICE/CORNER, such as '*/sram*/low'.")]
    skip: bool = False
    sampling: Sampling = Sampling()
    search: Search = Search()
    require: Annotated[
        Annotated[tuple[Requirement, ...], Field(max_length=MOST)] | None, Field(json_schema_extra=_stated)
    ] = None


class ScenarioPart(Spec):
    """What an included file may hold: any part of a scenario."""

    faultsim_scenario: Literal[1] | None = None
    name: Name | None = None
    aliases: tuple[Name, ...] = ()
    title: Annotated[Text, Field(max_length=60)] | None = None
    summary: Annotated[Text, Field(max_length=300)] | None = None
    is_not: Annotated[Text, Field(max_length=300)] | None = None
    include: Annotated[
        Text | tuple[Text, ...], Field(description="Files whose keys stand beneath these: later ones, then this, win.")
    ] = ()
    models: Annotated[tuple[Text | ModelSpec, ...], Field(min_length=1, max_length=MOST)] | None = None
    devices: Annotated[tuple[Text | DeviceUse, ...], Field(min_length=1, max_length=MOST)] | None = None
    corners: Annotated[dict[Name, ConditionsSpec], Field(max_length=MOST)] = Field(default_factory=dict)
    sampling: Sampling = Sampling()
    search: Search = Search()
    require: Annotated[tuple[Requirement, ...], Field(max_length=MOST)] = ()
    hardening: Annotated[HardeningSpec | None, Field(json_schema_extra=_stated)] = None
    overrides: Annotated[tuple[Override, ...], Field(max_length=MOST)] = ()


class ScenarioSpec(ScenarioPart):
    """A whole scenario, version 1: every model on every device at every corner."""

    faultsim_scenario: Literal[1]
    name: Name
    models: Annotated[tuple[Text | ModelSpec, ...], Field(min_length=1, max_length=MOST)]
    devices: Annotated[tuple[Text | DeviceUse, ...], Field(min_length=1, max_length=MOST)]


def scenario_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of scenario files, for editors.

    ``models`` and the other required keys may come from an included file, so the schema asks for none of them where
    ``include`` stands. Whether devices and conditions exist is found by `faultsim.scenario` alone.
    """
    schema = TypeAdapter(ScenarioSpec).json_schema()
    required = schema.pop("required", [])
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "anyOf": [{"required": ["include"]}, {"required": required}],
        "title": "faultsim scenario v1",
    }
