"""What every mechanism of a device profile says of itself. The parameters of each law live in `mechanisms_*.py`."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator
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


class Constraint(Spec):
    """An override of the automatic (p, ε, n)."""

    p: Literal[1, 2, "inf"] | None = None
    eps: Positive | None = None
    n: Annotated[int, Field(ge=1)] | None = None
    feasible_set: Literal["ball", "bit_flips", "levels", "stuck_values"] | None = None
    note: Text | None = None


class MechanismBase(Spec):
    """What every mechanism says of itself."""

    id: Name
    enabled: bool = True
    target: Literal["weights", "activations", "inputs", "outputs", "config", "all"]
    persistence: Literal["transient", "intermittent", "permanent"]
    clears_on: (
        Literal["read", "refresh", "scrub", "rewrite", "reprogram", "reconfigure", "power_cycle", "never"] | None
    ) = None
    resample: Literal["per_die", "per_program", "per_inference", "per_read", "per_event"] | None = None
    spatial: Spatial | None = None
    constraint: Constraint | None = None
    facts: dict[Name, Number] = Field(
        default={}, description="Published numbers beside the law; no simulation uses them."
    )
    note: Text | None = None
