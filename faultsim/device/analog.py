"""A profile's analog mechanisms as one chain of laws on the same conductances. No physics lives here."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored
from faultsim.device.chip import Plan
from faultsim.device.conditions import DEFAULT_T_S, Conditions
from faultsim.device.laws import Law, in_memory
from faultsim.faults import (
    AnalogChain,
    AnalogLaw,
    ConductanceNoise,
    DeadLine,
    Drift,
    Fault,
    IrDrop,
    LogDrift,
    LogLine,
    Lognormal,
    MeanDrift,
    PhaseNoise,
    ReadNoise1f,
    ReadNoiseLog,
    ReadNoiseRelative,
    SaturatingNoise,
    SaturatingReadNoise,
    StuckCells,
)
from faultsim.faults.curves import Branches, Curve, Polynomial, Table
from faultsim.inference import Effect, WeightReadNoise
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec
from faultsim.specs.storage import AnalogStorage

_T0_S = 20.0  # aihwkit's clock at the end of programming, used where the profile has no drift that says it
_PROGRAMMING, _DRIFT, _AGED, _DEFECTS, _WIRES, _READ = range(6)
_ORDER: dict[type, int] = {
    spec_types.Gaussian: _PROGRAMMING,
    spec_types.Lognormal: _PROGRAMMING,
    spec_types.PhaseNoise: _PROGRAMMING,
    spec_types.PowerLawDrift: _DRIFT,
    spec_types.LogDrift: _DRIFT,
    spec_types.MeanDrift: _DRIFT,
    spec_types.SaturatingNoise: _AGED,  # of the conductance that a drift left, and it stops at 0 what a drift does not
    spec_types.StuckAt: _DEFECTS,
    spec_types.LineFault: _DEFECTS,
    spec_types.WireResistance: _WIRES,
    spec_types.ReadNoise1f: _READ,
    spec_types.ReadNoiseLog: _READ,
    spec_types.MultiplicativeNoise: _READ,
}


def analog_parts(spec: DeviceSpec, conditions: Conditions) -> list[Law]:
    """Return each mechanism as a law, in the order of time: programming, drift, its spread, defects, wires, read."""
    chosen = in_memory(spec)
    drifts = [m for m in chosen if isinstance(m, spec_types.PowerLawDrift)]
    t0_s = drifts[0].params.t0.value if drifts else _T0_S
    t_s = DEFAULT_T_S if conditions.t_s is None else conditions.t_s
    chosen.sort(key=_rank)
    return [Law(m.id, _BUILDERS[type(m)](spec.storage, m, t_s, t0_s)) for m in chosen]


def analog_laws(spec: DeviceSpec, conditions: Conditions) -> list[Law]:
    """Return all mechanisms on conductances as one law: each acts on what the one before it left."""
    parts = analog_parts(spec, conditions)
    chain = tuple(part.fault for part in parts if isinstance(part.fault, AnalogLaw))
    others = [part for part in parts if not isinstance(part.fault, AnalogLaw)]
    if not chain:
        return others
    name = "+".join(part.id for part in parts if isinstance(part.fault, AnalogLaw))
    return [Law(name, AnalogChain(laws=chain)), *others]


def without_reads(plan: Plan) -> Plan:
    """Return the plan of a chip whose reads are drawn at every inference."""
    kept = []
    for law in plan.memory:
        rest = law.fault.without_reads() if isinstance(law.fault, AnalogChain) else law.fault
        if rest is not None:
            kept.append(Law(law.id, rest))
    return plan._replace(memory=tuple(kept))


def read_noise(spec: DeviceSpec, stored: Mapping[str, Stored], conditions: Conditions) -> tuple[Effect, ...]:
    """Return the noise of a read as a law of the running network, of no chip yet; nothing where a device has none."""
    found = []
    for law in analog_laws(spec, conditions) if spec.storage.domain == "analog" else ():
        if isinstance(law.fault, AnalogChain) and any(part.transient for part in law.fault.laws):
            std = {name: law.fault.read_std(one) for name, one in stored.items()}
            found.append(Effect(mechanism=f"{law.id}: read", law=WeightReadNoise(std=std)))
    return tuple(found)


def gains(
    spec: DeviceSpec, stored: Mapping[str, Stored], conditions: Conditions
) -> dict[str, float | NDArray[np.float64]]:
    """Return the digital factors behind the converters by site: drift compensation amplifies their noise too."""
    found: dict[str, float | NDArray[np.float64]] = {}
    for law in analog_laws(spec, conditions) if spec.storage.domain == "analog" else ():
        if isinstance(law.fault, AnalogChain):
            for name, one in stored.items():
                gain = law.fault.gain(one)
                if np.any(np.asarray(gain) != 1):
                    found[name] = gain
    return found


def _rank(mechanism: spec_types.MechanismBase) -> int:
    return _READ if _is_read(mechanism) else _ORDER[type(mechanism)]


def _is_read(mechanism: spec_types.MechanismBase) -> bool:
    return mechanism.resample in ("per_read", "per_inference")


def _gaussian(storage: AnalogStorage, mechanism: spec_types.Gaussian, t_s: float, t0_s: float) -> Fault:
    polys = mechanism.params.sigma_poly
    return ConductanceNoise(
        sigma_poly=tuple(poly.coefficients.value for poly in polys),
        times_s=tuple(poly.t_s for poly in polys if poly.t_s is not None) if len(polys) > 1 else (),
        clip=mechanism.params.clip == "g>=0",
        t_s=t_s,
    )


def _drift(storage: AnalogStorage, mechanism: spec_types.PowerLawDrift, t_s: float, t0_s: float) -> Fault:
    drift = mechanism.params
    return Drift(
        t0_s=drift.t0.value,
        nu_mean=_curve(drift.nu_mean.value),
        nu_std=_curve(drift.nu_std.value),
        compensation=drift.compensation,
        t_s=t_s,
    )


def _log_drift(storage: AnalogStorage, mechanism: spec_types.LogDrift, t_s: float, t0_s: float) -> Fault:
    drift = mechanism.params
    return LogDrift(
        t0_s=drift.t0.value,
        rate_mean=drift.rate_mean.value,
        rate_std=drift.rate_std.value,
        unit="uS" if drift.rate_mean.unit == "uS" else "g_max",
        t_s=t_s,
    )


def _mean_drift(storage: AnalogStorage, mechanism: spec_types.MeanDrift, t_s: float, t0_s: float) -> Fault:
    rows = mechanism.params.shifts.value  # the loader checked that its unit is that of the conductances
    return MeanDrift(times_s=tuple(row[0] for row in rows), shifts=tuple(row[1:] for row in rows), t_s=t_s)


def _read_log(storage: AnalogStorage, mechanism: spec_types.ReadNoiseLog, t_s: float, t0_s: float) -> Fault:
    return ReadNoiseLog(t_read_s=mechanism.params.t_read.value, k_uS=mechanism.params.k.value, t_s=t_s)


def _read_1f(storage: AnalogStorage, mechanism: spec_types.ReadNoise1f, t_s: float, t0_s: float) -> Fault:
    noise = mechanism.params
    c, exponent, most = noise.q_s.value.c, noise.q_s.value.exponent, noise.q_s.value.max
    return ReadNoise1f(t_read_s=noise.t_read.value, c=c, exponent=exponent, max=most, t0_s=t0_s, t_s=t_s)


def _relative(storage: AnalogStorage, mechanism: spec_types.MultiplicativeNoise, t_s: float, t0_s: float) -> Fault:
    sigma = mechanism.params.sigma
    to = "g_max" if sigma.unit == "fraction of g_max" else "g"
    return ReadNoiseRelative(sigma=sigma.value, relative_to="g_max" if to == "g_max" else "g", t_s=t_s)


def _lognormal(storage: AnalogStorage, mechanism: spec_types.Lognormal, t_s: float, t0_s: float) -> Fault:
    return Lognormal(sigma=mechanism.params.sigma.value, t_s=t_s)


def _saturating(storage: AnalogStorage, mechanism: spec_types.SaturatingNoise, t_s: float, t0_s: float) -> Fault:
    law = SaturatingReadNoise if _is_read(mechanism) else SaturatingNoise
    return law(rows=mechanism.params.sigma_sat_exp.value, t_s=t_s)  # the loader checked that units are g_max's


def _stuck(storage: AnalogStorage, mechanism: spec_types.StuckAt, t_s: float, t0_s: float) -> Fault:
    law = mechanism.params
    assert law.p_stuck_lrs is not None
    assert law.p_stuck_hrs is not None
    return StuckCells(p_lrs=law.p_stuck_lrs.value, p_hrs=law.p_stuck_hrs.value, t_s=t_s)


def _dead_line(storage: AnalogStorage, mechanism: spec_types.LineFault, t_s: float, t0_s: float) -> Fault:
    assert storage.array is not None
    assert mechanism.spatial is not None
    return DeadLine(
        p=mechanism.params.p.value,
        rows=storage.array.rows,
        cols=storage.array.cols,
        line="word" if mechanism.spatial.pattern == "row" else "bit",
        effect="short" if mechanism.params.effect == "short" else "open",
        t_s=t_s,
    )


def _wires(storage: AnalogStorage, mechanism: spec_types.WireResistance, t_s: float, t0_s: float) -> Fault:
    assert storage.array is not None
    ohm = mechanism.params.r_segment.value
    return IrDrop(r_wire_ohm=ohm, tile_rows=storage.array.rows, tile_cols=storage.array.cols, t_s=t_s)


def _phases(storage: AnalogStorage, mechanism: spec_types.PhaseNoise, t_s: float, t0_s: float) -> Fault:
    tile = 16 if storage.array is None else storage.array.rows
    return PhaseNoise(sigma_phase_rad=mechanism.params.sigma_phase.value, tile=tile)


_BUILDERS: dict[type, Callable[[Any, Any, float, float], Fault]] = {
    spec_types.Gaussian: _gaussian,
    spec_types.Lognormal: _lognormal,
    spec_types.SaturatingNoise: _saturating,
    spec_types.PowerLawDrift: _drift,
    spec_types.LogDrift: _log_drift,
    spec_types.MeanDrift: _mean_drift,
    spec_types.StuckAt: _stuck,
    spec_types.LineFault: _dead_line,
    spec_types.WireResistance: _wires,
    spec_types.ReadNoise1f: _read_1f,
    spec_types.ReadNoiseLog: _read_log,
    spec_types.MultiplicativeNoise: _relative,
    spec_types.PhaseNoise: _phases,
}


def _curve(curve: spec_types.Curve) -> Curve:
    if isinstance(curve, spec_types.LogLine):
        return LogLine(a_ln=curve.a_ln, b=curve.b, min=curve.min, max=curve.max)
    if isinstance(curve, spec_types.Polynomial):
        return Polynomial(curve.coefficients)
    if isinstance(curve, spec_types.Table):
        return Table(tuple(x for x, _ in curve.points), tuple(y for _, y in curve.points))
    return Branches(curve.split, _curve(curve.below), _curve(curve.above))
