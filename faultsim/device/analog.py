"""A profile's analog mechanisms as one chain of laws on the same conductances. No physics lives here."""

from faultsim.device.conditions import DEFAULT_T_S, Conditions
from faultsim.device.laws import Law, simulated
from faultsim.faults import (
    AnalogChain,
    AnalogLaw,
    ConductanceNoise,
    Drift,
    LogLine,
    ReadNoise1f,
    ReadNoiseRelative,
)
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec

_T0_S = 20.0  # aihwkit's clock at the end of programming, used where the profile has no drift that says it
_ORDER = (
    spec_types.Gaussian,
    spec_types.PowerLawDrift,
    spec_types.ReadNoise1f,
    spec_types.MultiplicativeNoise,
)


def analog_parts(spec: DeviceSpec, conditions: Conditions) -> list[Law]:
    """Return each analog mechanism as a law of its own, in the order of time: programming, drift, read."""
    chosen = [m for m in simulated(spec) if isinstance(m, _ORDER)]
    drifts = [m for m in chosen if isinstance(m, spec_types.PowerLawDrift)]
    t0_s = drifts[0].params.t0.value if drifts else _T0_S
    t_s = DEFAULT_T_S if conditions.t_s is None else conditions.t_s
    chosen.sort(key=lambda m: _ORDER.index(type(m)))
    return [Law(mechanism.id, _law(mechanism, t_s, t0_s)) for mechanism in chosen]


def analog_laws(spec: DeviceSpec, conditions: Conditions) -> list[Law]:
    """Return all analog mechanisms as one law: each acts on what the one before it left."""
    parts = analog_parts(spec, conditions)
    laws = tuple(part.fault for part in parts if isinstance(part.fault, AnalogLaw))
    return [Law("+".join(part.id for part in parts), AnalogChain(laws=laws))] if laws else []


def _law(mechanism: spec_types.MechanismBase, t_s: float, t0_s: float) -> AnalogLaw:
    if isinstance(mechanism, spec_types.Gaussian):
        polys = mechanism.params.sigma_poly
        return ConductanceNoise(
            sigma_poly=tuple(poly.coefficients.value for poly in polys),
            times_s=tuple(poly.t_s for poly in polys if poly.t_s is not None) if len(polys) > 1 else (),
            clip=mechanism.params.clip == "g>=0",
            t_s=t_s,
        )
    if isinstance(mechanism, spec_types.PowerLawDrift):
        drift = mechanism.params
        return Drift(
            t0_s=drift.t0.value,
            nu_mean=_line(drift.nu_mean.value),
            nu_std=_line(drift.nu_std.value),
            compensation=drift.compensation,
            t_s=t_s,
        )
    if isinstance(mechanism, spec_types.ReadNoise1f):
        noise = mechanism.params
        c, exponent, most = noise.q_s.value.c, noise.q_s.value.exponent, noise.q_s.value.max
        return ReadNoise1f(t_read_s=noise.t_read.value, c=c, exponent=exponent, max=most, t0_s=t0_s, t_s=t_s)
    assert isinstance(mechanism, spec_types.MultiplicativeNoise)
    sigma = mechanism.params.sigma
    return ReadNoiseRelative(
        sigma=sigma.value, relative_to="g_max" if sigma.unit == "fraction of g_max" else "g", t_s=t_s
    )


def _line(line: spec_types.LogLine) -> LogLine:
    return LogLine(a_ln=line.a_ln, b=line.b, min=line.min, max=line.max)
