"""The types of what holds a model: a memory of bits or an array of cells. No mechanisms live here."""

from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.quantity import NonNegative, Positive, Quantity, Spec

StoredRole = Literal["weight", "bias", "norm", "scale", "zero_point", "constant"]
ROLES: tuple[StoredRole, ...] = get_args(StoredRole)
Scale = Literal["per_model", "per_tensor", "per_channel", "per_tile"]
Conductance = Quantity[NonNegative, Literal["uS", "nA"]]
OnDue = Literal["halt", "reload", "zero_word", "pass_through"]
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
    on_due: OnDue | None = Field(
        default=None,
        description="What follows a detected, uncorrectable error: a restart with a good copy (halt, reload), "
        "zeros, or the data as they are; halt where it is not given.",
    )

    @model_validator(mode="after")
    def _over_data(self) -> Self:
        if self.scheme != "none" and self.data_bits is None:
            raise PydanticCustomError("ecc", "data_bits: missing; a code needs the data bits of its word, such as 64")
        return self

    @property
    def due(self) -> OnDue | None:
        """What follows a detected, uncorrectable error, halt by default; None without a code."""
        return None if self.scheme == "none" else self.on_due or "halt"


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
    tile: Array | None = Field(default=None, description="Rows and columns of a block of the array that fails as one.")
    interleave: Annotated[int, Field(ge=1, le=64, description="Words whose bits alternate along a row.")] = 1
    stores: Annotated[tuple[StoredRole, ...], Field(min_length=1)] = ("weight", "bias", "norm")

    @model_validator(mode="after")
    def _bits_where_wanted(self) -> Self:
        if (self.encoding in _INTEGER) != (self.bits is not None):
            raise PydanticCustomError(
                "bits", "bits: goes with the encodings {words} and no other", {"words": ", ".join(_INTEGER)}
            )
        if self.bits == 1:
            raise PydanticCustomError(
                "bits", "bits: 1 holds no magnitude; give 2 or more, or encoding binary and no bits"
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
