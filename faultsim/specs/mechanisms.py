"""All types of mechanisms of a device profile, as one union. The parameters of each live beside."""

from typing import Annotated, Literal

from pydantic import Field

from faultsim.specs.curves import Branches, Curve, LogLine, Polynomial, PowerLaw, Table
from faultsim.specs.mechanism import (
    Ber,
    MechanismBase,
    Name,
    Number,
    Second,
    Share,
    Spatial,
    Volt,
)
from faultsim.specs.mechanisms_analog import (
    ANALOG_LAWS,
    AdditiveNoise,
    Gaussian,
    LogDrift,
    Lognormal,
    MeanDrift,
    MultiplicativeNoise,
    PhaseNoise,
    PowerLawDrift,
    Quantizer,
    ReadNoise1f,
    ReadNoiseLog,
    SaturatingNoise,
    SigmaPoly,
    WireResistance,
)
from faultsim.specs.mechanisms_digital import (
    DIGITAL_LAWS,
    BitErrorRate,
    BitErrorRateParams,
    BitFlipBudget,
    BitFlipCount,
    FaultModesRate,
    LaneFault,
    LevelConfusion,
    LineFault,
    StuckAt,
    StuckPe,
    UpsetRate,
)
from faultsim.specs.quantity import Text


class Declared(MechanismBase):
    """A mechanism that the profile declares and faultsim does not simulate; reports say so."""

    redrawn = "either"
    model: Literal["declared"]
    params: dict[Name, Number] = Field(default={})
    settings: dict[Name, Text] = Field(default={}, description="Parameters that are words, such as a direction.")


Mechanism = Annotated[
    UpsetRate
    | BitErrorRate
    | BitFlipCount
    | BitFlipBudget
    | FaultModesRate
    | LevelConfusion
    | LaneFault
    | StuckPe
    | StuckAt
    | LineFault
    | Gaussian
    | PowerLawDrift
    | ReadNoise1f
    | MultiplicativeNoise
    | Lognormal
    | LogDrift
    | MeanDrift
    | ReadNoiseLog
    | SaturatingNoise
    | WireResistance
    | PhaseNoise
    | Quantizer
    | AdditiveNoise
    | Declared,
    Field(discriminator="model"),
]

__all__ = [
    "ANALOG_LAWS",
    "DIGITAL_LAWS",
    "AdditiveNoise",
    "Ber",
    "BitErrorRate",
    "BitErrorRateParams",
    "BitFlipBudget",
    "BitFlipCount",
    "Branches",
    "Curve",
    "Declared",
    "FaultModesRate",
    "Gaussian",
    "LaneFault",
    "LevelConfusion",
    "LineFault",
    "LogDrift",
    "LogLine",
    "Lognormal",
    "MeanDrift",
    "Mechanism",
    "MechanismBase",
    "MultiplicativeNoise",
    "Name",
    "Number",
    "PhaseNoise",
    "Polynomial",
    "PowerLaw",
    "PowerLawDrift",
    "Quantizer",
    "ReadNoise1f",
    "ReadNoiseLog",
    "SaturatingNoise",
    "Second",
    "Share",
    "SigmaPoly",
    "Spatial",
    "StuckAt",
    "StuckPe",
    "Table",
    "UpsetRate",
    "Volt",
    "WireResistance",
]
