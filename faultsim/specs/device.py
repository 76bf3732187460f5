"""The type of a device profile: storage, environment, mechanisms, how to assess. No physics lives here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.mechanisms import (
    ANALOG_LAWS,
    DIGITAL_LAWS,
    Gaussian,
    LineFault,
    LogDrift,
    Mechanism,
    MechanismBase,
    Name,
    PhaseNoise,
    SaturatingNoise,
    StuckAt,
    Volt,
    WireResistance,
)
from faultsim.specs.quantity import NonNegative, Positive, Provenance, Quantity, Source, Spec, Text

StoredRole = Literal["weight", "bias", "norm", "scale", "zero_point", "constant"]
Scale = Literal["per_model", "per_tensor", "per_channel", "per_tile"]
Conductance = Quantity[NonNegative, Literal["uS", "nA"]]
Count = Annotated[int, Field(ge=1, le=1 << 20)]


_INTEGER = ("twos_complement", "sign_magnitude", "offset_binary", "fixed_point")


class Array(Spec):
    """Rows and columns of one physical array: of bits in a digital memory, of cells in an analog one."""

    rows: Count
    cols: Count


class Ecc(Spec):
    """The error-correcting code over one memory word."""

    scheme: Literal["none", "parity", "sec", "secded", "dec", "chipkill", "reed_solomon"]
    data_bits: Count | None = None
    check_bits: Count | None = None
    symbol_bits: Literal[4, 8] = 4
    on_due: Literal["halt", "reload", "zero_word", "pass_through"] | None = Field(
        default=None,
        description="What follows a detected, uncorrectable error: a restart with a good copy (halt, reload), "
        "zeros, or the data as they are; halt where it is not given.",
    )

    @model_validator(mode="after")
    def _over_data(self) -> Self:
        if self.scheme != "none" and self.data_bits is None:
            raise PydanticCustomError("ecc", "data_bits: missing; a code needs the data bits of its word, such as 64")
        return self


class DigitalStorage(Spec):
    """A memory of bits.

    Float weights are quantized to `bits` (absmax, symmetric; ``fixed_point``: with `fraction_bits` behind the point;
    ``ternary`` and ``binary``: one scale a tensor); the other stored roles to `other_bits`, per tensor. Tensors
    that the model holds as integer codes stay as they are. ``stores`` defaults to weights, biases and norm
    parameters: scales and zero points are taken to sit in the registers of the compute unit.

    The tensors lie one after the other, rows first, in words of `word_bits`; ``array.cols`` bits make a physical row,
    in which the bits of `interleave` words alternate.
    """

    domain: Literal["digital"]
    encoding: Literal[
        "twos_complement", "sign_magnitude", "offset_binary", "fixed_point", "ternary", "binary",
        "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2",
    ]  # fmt: skip
    bits: Annotated[int, Field(ge=1, le=16, description="Bits of a weight in an integer encoding.")] | None = None
    fraction_bits: Annotated[int, Field(ge=-16, le=32, description="Of fixed_point, behind the point.")] | None = None
    activation_bits: (
        Annotated[int, Field(ge=2, le=16, description="Bits of a stored activation of a float model.")] | None
    ) = None
    other_bits: Annotated[int, Field(ge=8, le=22, description="Bits of a bias or norm parameter.")] = 22
    word_bits: Annotated[int, Field(ge=1, le=4096)] = 64
    scale: Scale = "per_tensor"
    ecc: Ecc = Ecc(scheme="none")
    bits_per_cell: Annotated[int, Field(ge=1, le=8)] = 1
    cell_code: Literal["binary", "gray"] = "binary"
    capacity: Quantity[Positive, Literal["Mbit"]] | None = None
    capacity_limit: Literal["hard", "advisory"] = Field(
        default="advisory", description="hard: a model with more stored bits than the capacity is refused."
    )
    array: Array | None = None
    interleave: Annotated[int, Field(ge=1, le=64, description="Words whose bits alternate along a row.")] = 1
    stores: Annotated[tuple[StoredRole, ...], Field(min_length=1)] = ("weight", "bias", "norm")

    @model_validator(mode="after")
    def _bits_where_wanted(self) -> Self:
        if (self.encoding in _INTEGER) != (self.bits is not None):
            raise PydanticCustomError(
                "bits", "bits: goes with the encodings {words} and no other", {"words": ", ".join(_INTEGER)}
            )
        if (self.encoding == "fixed_point") != (self.fraction_bits is not None):
            raise PydanticCustomError("fraction_bits", "fraction_bits: goes with encoding fixed_point and no other")
        return self

    @model_validator(mode="after")
    def _rows_of_words(self) -> Self:
        if self.array is not None and self.array.cols % self.data_word_bits:
            raise PydanticCustomError(
                "array",
                "array.cols: is {cols} bits, not a whole number of words of {word} data bits",
                {"cols": self.array.cols, "word": self.data_word_bits},
            )
        words = 1 if self.array is None else self.array.cols // self.data_word_bits
        if words % self.interleave:
            raise PydanticCustomError(
                "interleave",
                "interleave: {given} does not divide the {words} words of a row (array.cols / data bits of a word)",
                {"given": self.interleave, "words": words},
            )
        return self

    @model_validator(mode="after")
    def _one_word(self) -> Self:
        if self.ecc.scheme != "none" and "word_bits" in self.model_fields_set and self.word_bits != self.code_word_bits:
            raise PydanticCustomError(
                "word_bits",
                "word_bits: is {word}, but ecc.data_bits + ecc.check_bits is {code}; word_bits counts the check bits "
                "too: give {code}, or leave it out",
                {"word": self.word_bits, "code": self.code_word_bits},
            )
        return self

    @property
    def code_word_bits(self) -> int:
        """Data and check bits of one word of the code; `word_bits` where the profile does not give both."""
        data, check = self.ecc.data_bits, self.ecc.check_bits
        return self.word_bits if data is None or check is None else data + check

    @property
    def data_word_bits(self) -> int:
        """Data bits of one memory word: without the check bits of a code."""
        return self.word_bits if self.ecc.data_bits is None else self.ecc.data_bits


class AnalogStorage(Spec):
    """Weights as conductances, the largest magnitude of a scale group at `g_max`, or as phases of a photonic mesh.

    ``stores`` defaults to weights alone: biases, norm parameters and scales are digital, in the periphery,
    and taken as safe.
    """

    domain: Literal["analog"]
    mapping: Literal[
        "differential_pair", "dual_pair", "single_device_offset", "offset_column", "bit_sliced", "mzi_mesh"
    ]
    devices_per_weight: Annotated[int, Field(ge=1, le=64)] = 2
    bits: Annotated[int, Field(ge=2, le=16, description="Of a weight's magnitude and sign, for bit_sliced.")] | None = (
        None
    )
    bits_per_cell: Annotated[int, Field(ge=1, le=8, description="Of a slice, for bit_sliced.")] = 1
    scale: Scale = "per_tensor"
    g_min: Conductance | None = None
    g_max: Conductance | None = None
    array: Array | None = None
    stores: Annotated[tuple[StoredRole, ...], Field(min_length=1)] = ("weight",)

    @model_validator(mode="after")
    def _sliced_bits(self) -> Self:
        if (self.mapping == "bit_sliced") != (self.bits is not None):
            raise PydanticCustomError("bits", "bits: goes with mapping bit_sliced and no other")
        return self

    @model_validator(mode="after")
    def _range_is_one(self) -> Self:
        if self.g_min is not None and self.g_max is not None:
            if self.g_min.unit != self.g_max.unit:
                raise PydanticCustomError("range", "g_min and g_max must have one unit")
            if self.g_min.value >= self.g_max.value:
                raise PydanticCustomError("range", "g_min must be less than g_max")
        return self


Storage = Annotated[DigitalStorage | AnalogStorage, Field(discriminator="domain")]


class Environment(Spec):
    """The conditions that the profile assumes; voltage, flux and temperature can be overridden for a run."""

    v_norm: Quantity[Positive, Literal["V/Vmin"]] | None = None
    v: Volt | None = None
    flux_factor: Quantity[NonNegative, Literal["x NYC sea level", "x proton_flux"]] | None = None
    temperature: Quantity[float, Literal["C"]] | None = None
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
    return "uS" if isinstance(mechanism, Gaussian | WireResistance) else None


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
