"""The type of a device profile: storage, environment, mechanisms, how to assess. No physics lives here."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.mechanisms import ANALOG_LAWS, DIGITAL_LAWS, Mechanism, Name, Volt
from faultsim.specs.quantity import NonNegative, Positive, Provenance, Quantity, Source, Spec, Text

StoredRole = Literal["weight", "bias", "norm", "scale", "zero_point", "constant"]
Scale = Literal["per_model", "per_tensor", "per_channel", "per_tile"]
Conductance = Quantity[NonNegative, Literal["uS", "nA"]]
Count = Annotated[int, Field(ge=1, le=1 << 20)]


class Array(Spec):
    """Rows and columns of one physical array."""

    rows: Count
    cols: Count


class Ecc(Spec):
    """The error-correcting code over one memory word."""

    scheme: Literal["none", "parity", "sec", "secded", "dec", "chipkill", "reed_solomon"]
    data_bits: Count | None = None
    check_bits: Count | None = None
    on_due: Literal["halt", "reload", "zero_word", "pass_through"] | None = None


class DigitalStorage(Spec):
    """A memory of bits.

    Float weights are quantized to `bits` (absmax, symmetric); the other stored roles to `other_bits`, per
    tensor. Tensors that the model holds as integer codes stay as they are. ``stores`` defaults to weights,
    biases and norm parameters: scales and zero points are taken to sit in the registers of the compute unit.
    """

    domain: Literal["digital"]
    encoding: Literal["twos_complement", "float32", "float16", "bfloat16", "float8_e4m3fn", "float8_e5m2"]
    bits: Annotated[int, Field(ge=1, le=16, description="Bits of a weight in twos_complement.")] | None = None
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
    stores: Annotated[tuple[StoredRole, ...], Field(min_length=1)] = ("weight", "bias", "norm")

    @model_validator(mode="after")
    def _bits_where_wanted(self) -> Self:
        if (self.encoding == "twos_complement") != (self.bits is not None):
            raise PydanticCustomError(
                "bits", "bits: goes with encoding twos_complement and no other; a float has its own"
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


class AnalogStorage(Spec):
    """Weights as conductances, the largest magnitude of a scale group at `g_max`.

    ``stores`` defaults to weights alone: biases, norm parameters and scales are digital, in the periphery,
    and taken as safe.
    """

    domain: Literal["analog"]
    mapping: Literal["differential_pair", "dual_pair", "single_device_offset", "offset_column", "bit_sliced"]
    devices_per_weight: Annotated[int, Field(ge=1, le=64)] = 2
    scale: Scale = "per_tensor"
    g_min: Conductance | None = None
    g_max: Conductance | None = None
    array: Array | None = None
    stores: Annotated[tuple[StoredRole, ...], Field(min_length=1)] = ("weight",)

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
    """The conditions that the profile assumes; the first four can be overridden for a run."""

    v_norm: Quantity[Positive, Literal["V/Vmin"]] | None = None
    v: Volt | None = None
    flux_factor: Quantity[NonNegative, Literal["x NYC sea level"]] | None = None
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
        if any(isinstance(m, ANALOG_LAWS) for m in self.mechanisms) and getattr(self.storage, "g_max", None) is None:
            wrong.append("storage.g_max is needed by the analog mechanisms")
        if wrong:
            raise PydanticCustomError("device", "{said}", {"said": "; ".join(wrong)})
        return self


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
