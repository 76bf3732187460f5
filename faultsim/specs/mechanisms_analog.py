"""The parameters of the laws of conductances and of what an analog array computes with. No laws here."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.curves import Curve, PowerLaw
from faultsim.specs.mechanism import MechanismBase, Second
from faultsim.specs.quantity import NonNegative, Positive, Quantity, Spec


class SigmaPoly(Spec):
    """A conductance's spread, ``sigma = sum c_i (g/g_max)^i`` in uS, at time `t_s` and ``storage.g_max``."""

    t_s: Annotated[float, Field(ge=0, description="Seconds since programming.")] | None = None
    coefficients: Quantity[Annotated[tuple[float, ...], Field(min_length=1)], Literal["uS"]]


class GaussianParams(Spec):
    """`sigma_poly`: one entry, or several with rising `t_s`; between them sigma is linear in ln t."""

    sigma_poly: Annotated[tuple[SigmaPoly, ...], Field(min_length=1)]
    clip: Literal["g>=0", "none"] = "g>=0"

    @model_validator(mode="after")
    def _times_rise(self) -> Self:
        times = [poly.t_s for poly in self.sigma_poly]
        known = [t for t in times if t is not None and t > 0]
        if len(times) > 1 and (len(known) != len(times) or known != sorted(set(known))):
            raise PydanticCustomError("times", "several sigma_poly need t_s above 0, rising")
        return self


class Gaussian(MechanismBase):
    """Programming or relaxation noise of a conductance."""

    model: Literal["gaussian"]
    params: GaussianParams


class PowerLawDriftParams(Spec):
    """``g(t) = g0 (t/t0)^-nu``, nu normal, drawn once a device, its mean and spread depending on g."""

    t0: Second
    nu_mean: Quantity[Curve, Literal["1"]]
    nu_std: Quantity[Curve, Literal["1"]]
    compensation: Literal["global", "none"] = "none"


class PowerLawDrift(MechanismBase):
    """Conductance drift, with or without a common gain correction."""

    model: Literal["power_law_drift"]
    params: PowerLawDriftParams


class ReadNoise1fParams(Spec):
    """``sigma = g(t) * q_s(g) * sqrt(ln((t + t_read) / (2 t_read)))``."""

    t_read: Second
    q_s: Quantity[PowerLaw, Literal["1"]]


class ReadNoise1f(MechanismBase):
    """1/f noise, integrated from programming to the read."""

    redrawn = "each_read"
    model: Literal["read_noise_1f"]
    params: ReadNoise1fParams


class MultiplicativeNoiseParams(Spec):
    """A spread relative to the range (``fraction of g_max``) or to the conductance (``fraction of g``)."""

    sigma: Quantity[NonNegative, Literal["fraction of g_max", "fraction of g"]]


class MultiplicativeNoise(MechanismBase):
    """Noise of a read, relative to a conductance."""

    redrawn = "each_read"
    model: Literal["multiplicative_noise"]
    params: MultiplicativeNoiseParams


class LognormalParams(Spec):
    """``g = g_target * exp(sigma * z)``, z standard normal."""

    sigma: Quantity[NonNegative, Literal["1"]]


class Lognormal(MechanismBase):
    """A relative spread that is normal in the logarithm of the conductance."""

    model: Literal["lognormal"]
    params: LognormalParams


class LogDriftParams(Spec):
    """``g(t) = g + rate * ln(1 + t/t0)``, the rate normal, drawn once a device; mean and spread in one unit."""

    t0: Second
    rate_mean: Quantity[float, Literal["uS", "fraction of g_max"]]
    rate_std: Quantity[NonNegative, Literal["uS", "fraction of g_max"]]

    @model_validator(mode="after")
    def _one_unit(self) -> Self:
        mean, std = self.rate_mean.unit, self.rate_std.unit
        if mean != std:
            said = f"rate_std is in {std}, rate_mean in {mean}; give both in one unit"
            raise PydanticCustomError("unit", "{said}", {"said": said})
        return self


class LogDrift(MechanismBase):
    """Loss of charge or filament, linear in the logarithm of time."""

    model: Literal["log_drift"]
    params: LogDriftParams


class MeanDriftParams(Spec):
    """``g`` moves by ``sum c_i(t) g^i``, rows of seconds, c_0, c_1, ...; linear in time between them and from 0."""

    shifts: Quantity[
        Annotated[tuple[Annotated[tuple[float, ...], Field(min_length=2)], ...], Field(min_length=1)],
        Literal["[s, c_i in powers of uS]", "[s, c_i in powers of nA]"],
    ]

    @model_validator(mode="after")
    def _times_rise(self) -> Self:
        times = [row[0] for row in self.shifts.value]
        if times != sorted(set(times)) or times[0] <= 0:
            raise PydanticCustomError("times", "shifts.value must have times above 0, rising")
        return self


class MeanDrift(MechanismBase):
    """A measured drift that all devices of a conductance share; nothing is known beyond its last row."""

    model: Literal["mean_drift"]
    params: MeanDriftParams


class ReadNoiseLogParams(Spec):
    """``sigma = k log10(g / 1 uS) sqrt(ln((t + t_read) / (2 t_read)))``, within the range of conductances."""

    t_read: Second
    k: Quantity[NonNegative, Literal["uS"]]


class ReadNoiseLog(MechanismBase):
    """Noise of a read that grows with the logarithm of the conductance."""

    redrawn = "each_read"
    model: Literal["read_noise_log"]
    params: ReadNoiseLogParams


class SaturatingNoiseParams(Spec):
    """``sigma = A (1 - exp(-I/B))``, rows of days, A and B; between them A and B are linear in time."""

    sigma_sat_exp: Quantity[
        Annotated[tuple[tuple[NonNegative, NonNegative, Positive], ...], Field(min_length=1)],
        Literal["[days, A nA, B nA]", "[days, A uS, B uS]"],
    ]

    @model_validator(mode="after")
    def _days_rise(self) -> Self:
        days = [row[0] for row in self.sigma_sat_exp.value]
        if days != sorted(set(days)):
            raise PydanticCustomError("days", "sigma_sat_exp.value must have rising days")
        return self


class SaturatingNoise(MechanismBase):
    """A spread that grows with the current and saturates: charge-trap cells below threshold."""

    redrawn = "either"
    model: Literal["saturating_noise"]
    params: SaturatingNoiseParams


class WireResistanceParams(Spec):
    """Resistance of one segment of a word or bit line between two cells."""

    r_segment: Quantity[NonNegative, Literal["ohm"]]


class WireResistance(MechanismBase):
    """IR drop: cells far from the drivers see less voltage."""

    model: Literal["wire_resistance"]
    params: WireResistanceParams


class PhaseNoiseParams(Spec):
    """Normal error of every phase of a Mach-Zehnder mesh."""

    sigma_phase: Quantity[NonNegative, Literal["rad"]]


class PhaseNoise(MechanismBase):
    """Phases of a photonic mesh that are set a little wrong."""

    model: Literal["phase_noise"]
    params: PhaseNoiseParams


class QuantizerParams(Spec):
    """A converter with `steps` levels over ``[-bound, bound]``, in units of the normalised range."""

    steps: Quantity[Annotated[int, Field(ge=2, le=1 << 24)], Literal["levels"]]
    bound: Quantity[Positive, Literal["normalised output", "normalised input"]]


class Quantizer(MechanismBase):
    """DACs at the inputs or ADCs at the outputs of the arrays."""

    redrawn = "either"
    model: Literal["quantizer"]
    params: QuantizerParams


class AdditiveNoiseParams(Spec):
    """Normal noise at every input or output, drawn anew for every inference.

    ``normalised MVM output``: the largest weight of a scale group and the largest input are 1. ``fraction of full
    scale``: of the layer's largest output on clean data.
    """

    sigma: Quantity[NonNegative, Literal["normalised MVM output", "normalised MVM input", "fraction of full scale"]]


class AdditiveNoise(MechanismBase):
    """Noise of the periphery."""

    redrawn = "each_read"
    model: Literal["additive_noise"]
    params: AdditiveNoiseParams


ANALOG_LAWS = (
    Gaussian,
    PowerLawDrift,
    ReadNoise1f,
    MultiplicativeNoise,
    Lognormal,
    LogDrift,
    MeanDrift,
    ReadNoiseLog,
    SaturatingNoise,
    WireResistance,
    PhaseNoise,
    Quantizer,
    AdditiveNoise,
)
