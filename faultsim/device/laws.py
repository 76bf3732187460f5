"""A profile's mechanisms as fault laws, under given conditions. The laws are in `faultsim.faults`."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from faultsim.budget import secded_ber
from faultsim.corruption import Stored
from faultsim.device.conditions import Conditions
from faultsim.errors import DeviceError
from faultsim.faults.base import Fault
from faultsim.faults.bit_flip import BitFlip
from faultsim.faults.upset_rate import UpsetRate
from faultsim.faults.voltage_bit_errors import VoltageBitErrors
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec, DigitalStorage

RARE = 0.1
"""Expected events per chip below which chips are drawn given that there is at least one."""

_TOLERANCE = 1e-8  # BER just below v_min: about one bit of the block RAM of a large FPGA, where none was seen
_FIT_PER_MBIT = {"FIT/Mb": 1.0, "FIT/GB": 1 / 8000, "upset/bit/day": 1e15 / 24}
_STORED_TARGETS = ("weights", "all")


class NotSimulated(NamedTuple):
    """A mechanism that the profile declares and no figure contains, and why."""

    id: str
    model: str
    target: str
    reason: str


class Law(NamedTuple):
    """A fault law and the mechanism of the profile that it stands for."""

    id: str
    fault: Fault


def simulated(spec: DeviceSpec) -> list[spec_types.MechanismBase]:
    """Return the mechanisms that are on and that faultsim simulates: those of the stored numbers."""
    return [mechanism for mechanism in spec.mechanisms if _reason(mechanism) is None]


def not_simulated(spec: DeviceSpec) -> tuple[NotSimulated, ...]:
    """Return the other mechanisms with the reason, in the profile's order."""
    reasons = ((mechanism, _reason(mechanism)) for mechanism in spec.mechanisms)
    return tuple(NotSimulated(m.id, m.model, m.target, reason) for m, reason in reasons if reason is not None)


def _reason(mechanism: spec_types.Mechanism) -> str | None:
    if not mechanism.enabled:
        return "switched off in the profile"
    if isinstance(mechanism, spec_types.Declared):
        return "not simulated yet"
    if mechanism.target not in _STORED_TARGETS:
        return f"faults of {mechanism.target} are not simulated yet"
    return None


def digital_laws(spec: DeviceSpec, stored: Mapping[str, Stored], conditions: Conditions) -> list[Law]:
    """Return the laws of a memory of bits; upsets are given at least one event where they are rare.

    Raises:
        DeviceError: If a law needs a voltage that is not known, or the memory's code is not simulated.
    """
    assert isinstance(spec.storage, DigitalStorage)
    laws = []
    for mechanism in simulated(spec):
        if isinstance(mechanism, spec_types.UpsetRate):
            laws.append(Law(mechanism.id, _upsets(spec, mechanism, conditions)))
        elif isinstance(mechanism, spec_types.BitErrorRate):
            laws.append(Law(mechanism.id, _bit_errors(spec.storage, mechanism, conditions)))
    return _given_an_event(laws, list(stored.values()))


def event_probability(laws: Sequence[Law], stored: Sequence[Stored]) -> float:
    """Return the probability that a chip has anything wrong: 1 unless upsets are all there is."""
    faults = [law.fault for law in laws]
    if not faults or not all(isinstance(fault, UpsetRate) for fault in faults):
        return 1.0
    events = sum(fault.expected_events(stored) for fault in faults if isinstance(fault, UpsetRate))
    return -math.expm1(-events)


def _given_an_event(laws: list[Law], stored: list[Stored]) -> list[Law]:
    """Condition upsets on at least one event where the chip expects less than `RARE`.

    With several such laws each is conditioned alone; `sample` picks one of them for a chip.
    """
    if any(not isinstance(law.fault, UpsetRate) for law in laws):
        return laws
    events = [law.fault.expected_events(stored) for law in laws if isinstance(law.fault, UpsetRate)]
    if not 0 < sum(events) < RARE:
        return laws
    return [
        Law(law.id, replace(law.fault, given_event=count > 0))
        for law, count in zip(laws, events, strict=True)
        if isinstance(law.fault, UpsetRate)
    ]


def _upsets(spec: DeviceSpec, mechanism: spec_types.UpsetRate, conditions: Conditions) -> UpsetRate:
    if isinstance(spec.storage, DigitalStorage) and spec.storage.ecc.scheme != "none":
        raise _no_code(spec.storage, mechanism.id)
    rate = mechanism.params.rate
    shares = mechanism.spatial.multiplicity if mechanism.spatial is not None else None
    return UpsetRate(
        fit_per_mbit=rate.value * _FIT_PER_MBIT[rate.unit],
        exposure_h=conditions.exposure_h or 0.0,
        flux_factor=1.0 if conditions.flux_factor is None else conditions.flux_factor,
        multiplicity=shares.value if shares is not None else (1.0,),
    )


def _bit_errors(storage: DigitalStorage, mechanism: spec_types.BitErrorRate, conditions: Conditions) -> Fault:
    law, scheme = mechanism.params, storage.ecc.scheme
    if law.ber is not None and law.p_flip_0to1 is None:
        if scheme not in ("none", "secded"):
            raise _no_code(storage, mechanism.id)
        ber = law.ber.value
        return BitFlip(ber=secded_ber(ber, word_bits=storage.code_word_bits) if scheme == "secded" else ber)
    if scheme != "none":
        raise _no_code(storage, mechanism.id)
    ones = law.p_flip_0to1.value if law.p_flip_0to1 is not None else 0.5
    if law.ber is not None:
        return VoltageBitErrors(voltage=1.0, table=_cells(((1.0, law.ber.value),)), p_flip_0to1=ones)
    if law.ber_vs_v_norm is not None:
        voltage = _voltage(mechanism.id, "v_norm", conditions.v_norm)
        return VoltageBitErrors(voltage=voltage, table=_cells(law.ber_vs_v_norm.value), p_flip_0to1=ones)
    if law.v_min is None or law.v_crash is None or law.ber_at_v_crash is None:
        raise DeviceError(f"mechanism {mechanism.id} has no law; give ber, ber_vs_v_norm or v_min and v_crash")
    v_min, top = law.v_min.value, law.ber_at_v_crash.value
    edge = (math.nextafter(v_min, 0.0), min(_TOLERANCE, top))
    table = _cells(((law.v_crash.value, top), edge, (v_min, 0.0)))
    return VoltageBitErrors(voltage=_voltage(mechanism.id, "v", conditions.v), table=table, p_flip_0to1=ones)


def _cells(table: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
    """Turn the rate of wrong bits into that of failing cells, which are right for half of the data."""
    return tuple((voltage, min(1.0, 2 * ber)) for voltage, ber in table)


def _voltage(name: str, condition: str, value: float | None) -> float:
    if value is None:
        raise DeviceError(
            f"mechanism {name} needs a voltage; give environment.{condition} in the profile,"
            f" or the condition {condition}"
        )
    return value


def _no_code(storage: DigitalStorage, name: str) -> DeviceError:
    return DeviceError(
        f"mechanism {name}: the code {storage.ecc.scheme!r} is not simulated for this law;"
        " set ecc.scheme to none and give the rate that is left after correction"
    )
