"""The types of a device's mechanisms: one for each simulated law, one for all that is declared only.

Parameters and their units only: the laws are in `faultsim.faults`, the budgets in `faultsim.budget`.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, model_validator
from pydantic_core import PydanticCustomError

from faultsim.specs.quantity import NonNegative, Positive, Probability, Quantity, Spec, Text

Name = Annotated[str, Field(pattern=r"^[a-z0-9_]+$", max_length=60)]
Number = Quantity[JsonValue, str]
Share = Quantity[Probability, Literal["fraction"]]
Ber = Quantity[Probability, Literal["BER"]]
Volt = Quantity[Positive, Literal["V"]]
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


class UpsetRateParams(Spec):
    """Soft errors at a constant rate; `rate` is what counts, `sigma` says what it was derived from."""

    rate: Quantity[NonNegative, Literal["FIT/Mb", "FIT/GB", "upset/bit/day"]]
    sigma: Quantity[NonNegative, Literal["cm2/bit"]] | None = None
    scrub_period: Second | None = None


class UpsetRate(MechanismBase):
    """Single-event upsets of stored bits: a Poisson number of events over the exposure."""

    model: Literal["upset_rate"]
    params: UpsetRateParams


class BitErrorRateParams(Spec):
    """One of: `ber`; `ber_vs_v_norm` at ``environment.v_norm``; `v_min`, `v_crash` and `ber_at_v_crash`.

    BER is always the share of stored bits that read wrong, over data with as many ones as zeros. A plain
    `ber` flips bits; the others, and `ber` with `p_flip_0to1`, force cells to 1 with that probability, else
    to 0.
    """

    ber: Ber | None = None
    ber_vs_v_norm: Quantity[tuple[tuple[Positive, Probability], ...], Literal["[V/Vmin, BER]"]] | None = None
    v_min: Volt | None = None
    v_crash: Volt | None = None
    ber_at_v_crash: Ber | None = None
    p_flip_0to1: Share | None = None

    @model_validator(mode="after")
    def _one_law(self) -> Self:
        undervolt = (self.v_min, self.v_crash, self.ber_at_v_crash)
        laws = [
            self.ber is not None,
            self.ber_vs_v_norm is not None,
            any(part is not None for part in undervolt),
        ]
        if sum(laws) != 1 or (laws[2] and None in undervolt):
            raise PydanticCustomError(
                "one_law",
                "needs exactly one of: ber, ber_vs_v_norm, or all of v_min, v_crash and ber_at_v_crash",
            )
        if self.ber_vs_v_norm is not None:
            volts = [v for v, _ in self.ber_vs_v_norm.value]
            bers = [ber for _, ber in self.ber_vs_v_norm.value]
            if len(volts) < 2 or volts != sorted(set(volts), reverse=True) or bers != sorted(bers):
                raise PydanticCustomError(
                    "table",
                    "ber_vs_v_norm.value must hold at least two points, voltages falling and BER not falling",
                )
        if self.v_min is not None and self.v_crash is not None and self.v_crash.value >= self.v_min.value:
            raise PydanticCustomError("voltages", "v_crash must be less than v_min")
        return self


class BitErrorRate(MechanismBase):
    """Each stored bit is wrong, independently, with one probability."""

    model: Literal["bit_error_rate"]
    params: BitErrorRateParams


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


class LogLine(Spec):
    """``clip(a_ln * ln(g/g_max) + b, min, max)``."""

    a_ln: float
    b: float
    min: NonNegative
    max: NonNegative

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min > self.max:
            raise PydanticCustomError("order", "min must not exceed max")
        return self


class PowerLawDriftParams(Spec):
    """``g(t) = g0 (t/t0)^-nu``, nu normal, drawn once a device, its mean and spread depending on g."""

    t0: Second
    nu_mean: Quantity[LogLine, Literal["1"]]
    nu_std: Quantity[LogLine, Literal["1"]]
    compensation: Literal["global", "none"] = "none"


class PowerLawDrift(MechanismBase):
    """Conductance drift, with or without a common gain correction."""

    model: Literal["power_law_drift"]
    params: PowerLawDriftParams


class PowerLaw(Spec):
    """``min(c * (g/g_max)^exponent, max)``."""

    c: NonNegative
    exponent: float
    max: NonNegative


class ReadNoise1fParams(Spec):
    """``sigma = g(t) * q_s(g) * sqrt(ln((t + t_read) / (2 t_read)))``."""

    t_read: Second
    q_s: Quantity[PowerLaw, Literal["1"]]


class ReadNoise1f(MechanismBase):
    """1/f noise, integrated from programming to the read."""

    model: Literal["read_noise_1f"]
    params: ReadNoise1fParams


class MultiplicativeNoiseParams(Spec):
    """A spread relative to the range (``fraction of g_max``) or to the conductance (``fraction of g``)."""

    sigma: Quantity[NonNegative, Literal["fraction of g_max", "fraction of g"]]


class MultiplicativeNoise(MechanismBase):
    """Noise of a read, relative to a conductance."""

    model: Literal["multiplicative_noise"]
    params: MultiplicativeNoiseParams


class Declared(MechanismBase):
    """A mechanism that the profile declares and faultsim does not simulate yet; reports say so."""

    model: Literal[
        "bit_flip_budget", "fault_modes_rate", "stuck_at", "level_confusion", "lognormal", "log_drift",
        "wire_resistance", "line_fault", "quantizer", "additive_noise", "phase_noise", "lane_fault",
        "saturating_noise",
    ]  # fmt: skip
    params: dict[Name, Number] = Field(default={})
    settings: dict[Name, Text] = Field(default={}, description="Parameters that are words, such as a direction.")


Mechanism = Annotated[
    UpsetRate | BitErrorRate | Gaussian | PowerLawDrift | ReadNoise1f | MultiplicativeNoise | Declared,
    Field(discriminator="model"),
]
ANALOG_LAWS = (Gaussian, PowerLawDrift, ReadNoise1f, MultiplicativeNoise)
DIGITAL_LAWS = (UpsetRate, BitErrorRate)
