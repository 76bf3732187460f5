"""The type of a device profile: storage, environment, mechanisms, how to assess. No physics lives here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.mechanism import Celsius, Supply
from faultsim.specs.mechanisms import (
    ANALOG_LAWS,
    DIGITAL_LAWS,
    Gaussian,
    LineFault,
    LogDrift,
    MeanDrift,
    Mechanism,
    MechanismBase,
    Name,
    PhaseNoise,
    ReadNoiseLog,
    SaturatingNoise,
    StuckAt,
    Volt,
    WireResistance,
)
from faultsim.specs.quantity import NonNegative, Positive, Provenance, Quantity, Source, Spec, Text
from faultsim.specs.storage import Storage


class Environment(Spec):
    """The conditions that the profile assumes; voltage, flux and temperature can be overridden for a run."""

    v_norm: Quantity[Supply, Literal["V/Vmin"]] | None = None
    v: Volt | None = None
    flux_factor: Quantity[NonNegative, Literal["x NYC sea level", "x proton_flux"]] | None = None
    temperature: Celsius | None = None
    neutron_flux: Quantity[NonNegative, Literal["n/cm2/h"]] | None = None
    proton_flux: Quantity[NonNegative, Literal["p/cm2/s"]] | None = None
    dose_rate: Quantity[NonNegative, Literal["rad(Si)/year"]] | None = None


class Criterion(Provenance):
    """A recommended requirement: *metric* no worse than *limit*; drops are fractions, so 0.01 is a point."""

    metric: Literal["top1_drop_abs", "top1_drop_rel", "relative_accuracy", "sdc_fit", "loss_increase", "p_fail"]
    limit: float
    at: Literal["mean", "quantile", "worst_case"] = "mean"


class Assess(Spec):
    """How a model on this device is assessed.

    An assessment takes ``confidence``, ``exposure``, ``t_s`` and the scope ``global`` from here unless the user
    says otherwise. ``trials``, ``times_s``, ``acceptance`` and the scope ``per_tile`` are recommended, not applied
    by themselves: ``faultsim assess`` draws its own number of chips, looks at one time, judges the requirements that
    it is given and no others, and bounds each tensor as a whole.
    """

    confidence: Annotated[
        float,
        Field(
            gt=0,
            lt=1,
            description="Quantile that each bound (radius, count) holds at, for each tensor by itself.",
        ),
    ]
    scope: Literal["per_tensor", "per_tile", "global"]
    exposure: Quantity[Positive, Literal["h"]] | None = None
    t_s: Annotated[NonNegative, Field(description="Headline time, seconds since programming.")] | None = None
    times_s: tuple[NonNegative, ...] = ()
    trials: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    acceptance: tuple[Criterion, ...] = ()


class DeviceSpec(Spec):
    """A device profile, version 1: what ``devices/*.yaml`` hold."""

    faultsim_device: Literal[1]
    name: Name
    aliases: tuple[Name, ...] = ()
    technology: Literal[
        "fpga_bram", "fpga_config", "sram", "dram", "hbm", "gpu", "reram_analog", "reram_digital",
        "pcm_analog", "nor_flash", "nand_flash", "sonos_analog", "fefet", "photonic", "radiation",
    ]  # fmt: skip
    title: Annotated[Text, Field(max_length=60, description="What the terminal shows beside the model's name.")]
    summary: Annotated[Text, Field(max_length=200, description="One sentence: what this is.")]
    is_not: Annotated[
        Text, Field(max_length=200, description="One sentence: what this is not, and must not be read as.")
    ]
    sources: Annotated[dict[Name, Source], Field(min_length=1)]
    storage: Storage
    environment: Environment = Environment()
    mechanisms: Annotated[tuple[Mechanism, ...], Field(min_length=1)]
    assess: Assess

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        ids = [mechanism.id for mechanism in self.mechanisms]
        wrong = [
            f"mechanism id '{name}' is given twice" for name in sorted({name for name in ids if ids.count(name) > 1})
        ]
        digital = self.storage.domain == "digital"
        misplaced = ANALOG_LAWS if digital else DIGITAL_LAWS
        wrong += [
            f"mechanism '{m.id}' ({m.model}) cannot act on {self.storage.domain} storage"
            for m in self.mechanisms
            if isinstance(m, misplaced)
        ]
        on_cells = [m for m in self.mechanisms if isinstance(m, ANALOG_LAWS) and m.target == "weights"]
        mesh = getattr(self.storage, "mapping", None) == "mzi_mesh"
        wrong += [
            f"mechanism '{m.id}' (phase_noise) needs storage.mapping mzi_mesh"
            if not mesh
            else f"mechanism '{m.id}' ({m.model}) acts on conductances; a mesh has phases"
            for m in on_cells
            if isinstance(m, PhaseNoise) != mesh
        ]
        if on_cells and not mesh and getattr(self.storage, "g_max", None) is None:
            wrong.append("storage.g_max is needed by the analog mechanisms")
        g_max = getattr(self.storage, "g_max", None)
        array = self.storage.array is not None
        for m in on_cells:
            unit = _conductance_unit(m)
            if g_max is not None and unit is not None and unit != g_max.unit:
                wrong.append(f"mechanism '{m.id}' is in {unit}, storage.g_max in {g_max.unit}; give one unit")
        wrong += [
            f"mechanism '{m.id}' needs storage.array: the rows and columns of a tile"
            for m in self.mechanisms
            if not digital and not array and isinstance(m, LineFault | WireResistance)
        ]
        wrong += [_misplaced(m, digital=digital) for m in self.mechanisms if _misplaced(m, digital=digital)]
        if wrong:
            raise PydanticCustomError("device", "{said}", {"said": "; ".join(wrong)})
        return self


def _conductance_unit(mechanism: MechanismBase) -> str | None:
    """Return the unit that a law's numbers share with the conductances, None where they are relative."""
    if isinstance(mechanism, SaturatingNoise):
        return "nA" if "nA" in mechanism.params.sigma_sat_exp.unit else "uS"
    if isinstance(mechanism, LogDrift) and mechanism.params.rate_mean.unit == "uS":
        return "uS"
    if isinstance(mechanism, MeanDrift):
        return "nA" if "nA" in mechanism.params.shifts.unit else "uS"
    return "uS" if isinstance(mechanism, Gaussian | ReadNoiseLog | WireResistance) else None


def _misplaced(mechanism: MechanismBase, *, digital: bool) -> str:
    """Say why a mechanism of both kinds of storage does not fit this one; empty where it does."""
    said = f"mechanism '{mechanism.id}' ({getattr(mechanism, 'model', '')})"
    if isinstance(mechanism, StuckAt) and mechanism.params.analog == digital:
        return f"{said} needs {'p_stuck_zero and p_stuck_one' if digital else 'p_stuck_lrs and p_stuck_hrs'} here"
    if isinstance(mechanism, LineFault):
        allowed = ("zero", "one", "random") if digital else ("open", "short")
        if mechanism.params.effect not in allowed:
            return f"{said}: params.effect must be one of {', '.join(allowed)} here"
        units = ("word_cluster", "row", "column", "bank", "tile") if digital else ("row", "column")
        if mechanism.spatial is None or mechanism.spatial.pattern not in units:
            return f"{said} needs spatial.pattern: one of {', '.join(units)}"
    return ""


def device_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a device profile, for editors and for `jsonschema`.

    It holds what a schema can: sources that are missing and statuses that claim too much are found by `load`
    alone.
    """
    schema = TypeAdapter(DeviceSpec).json_schema()
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **schema,
        "title": "faultsim device profile v1",
    }
