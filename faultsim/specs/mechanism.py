"""What every mechanism of a device profile says of itself. The parameters of each law live in `mechanisms_*.py`."""

from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, JsonValue, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.quantity import Positive, Probability, Quantity, Spec, Text

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]
Number = Quantity[JsonValue, str]
Share = Quantity[Probability, Literal["fraction"]]
Ber = Quantity[Probability, Literal["BER"]]
MOST_VOLTS = 10
"""Of a supply; a larger number is in millivolts, or a slip of the hand."""
Supply = Annotated[float, Field(gt=0, le=MOST_VOLTS)]
Volt = Quantity[Supply, Literal["V"]]
Second = Quantity[Positive, Literal["s"]]
ABSOLUTE_ZERO_C = -273.15
HOTTEST_C = 2000
"""No memory is; a larger number is a slip of the hand."""
Temperature = Annotated[float, Field(gt=ABSOLUTE_ZERO_C, lt=HOTTEST_C)]
Celsius = Quantity[Temperature, Literal["C"]]


class Spatial(Spec):
    """How errors of one mechanism lie beside each other."""

    pattern: Literal["iid", "word_cluster", "row", "column", "bank", "block", "die", "tile", "lane"]
    multiplicity: Quantity[tuple[Probability, ...], Literal["P(size = 1, 2, ...)"]] | None = None
    note: Text | None = None

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        if self.multiplicity is not None and abs(sum(self.multiplicity.value) - 1) > 1e-6:
            raise PydanticCustomError(
                "multiplicity",
                "multiplicity.value must add up to 1, got {total}",
                {"total": f"{sum(self.multiplicity.value):g}"},
            )
        return self


Resample = Literal["per_die", "per_program", "per_inference", "per_read", "per_event"]


class MechanismBase(Spec):
    """What every mechanism says of itself.

    `resample` must be what the law does. Most are drawn once a chip, whatever the time is; noise of a read is drawn
    anew at every inference; `SaturatingNoise` alone does either, as `resample` says.
    """

    redrawn: ClassVar[Literal["once", "each_read", "either"]] = "once"
    """When the law draws, and so which words of `resample` it takes."""

    id: Name
    enabled: bool = True
    target: Literal["weights", "activations", "inputs", "outputs", "config", "all"]
    persistence: Literal["transient", "intermittent", "permanent"]
    clears_on: (
        Literal["read", "refresh", "scrub", "rewrite", "reprogram", "reconfigure", "power_cycle", "never"] | None
    ) = None
    resample: Resample | None = None
    spatial: Spatial | None = None
    facts: dict[Name, Number] = Field(
        default={}, description="Published numbers beside the law; no simulation uses them."
    )
    note: Text | None = None

    @field_validator("resample", mode="after")
    @classmethod
    def _is_when_the_law_draws(cls, resample: Resample | None, info: ValidationInfo) -> Resample | None:
        at_reads = resample in ("per_read", "per_inference")
        running = info.data.get("target") in ("activations", "inputs", "outputs")
        if resample is None or cls.redrawn == "either" or (cls.redrawn == "once" and running):
            return resample
        if cls.redrawn == "once" and at_reads:
            said = (
                f"this law is drawn once a chip, not {resample}; write per_die or per_program (of conductances, laws "
                "of reads are multiplicative_noise, read_noise_1f, read_noise_log and saturating_noise)"
            )
            raise PydanticCustomError("resample", "{said}", {"said": said})
        if cls.redrawn == "each_read" and not at_reads:
            said = (
                f"this law is drawn anew at every inference, not {resample}; write per_read or per_inference (of "
                "conductances, laws that are drawn once are gaussian, lognormal and saturating_noise)"
            )
            raise PydanticCustomError("resample", "{said}", {"said": said})
        return resample
