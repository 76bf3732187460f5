"""What a device's laws let a user turn: time, voltage, flux, exposure, temperature. Values in units live elsewhere."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from faultsim.device.conditions import DEFAULT_EXPOSURE_H, DEFAULT_T_S, Conditions, out_of_range
from faultsim.errors import OptionError
from faultsim.library import closest
from faultsim.specs import mechanisms as spec_types
from faultsim.specs.device import DeviceSpec
from faultsim.specs.quantity import Quantity
from faultsim.units import duration_s, show_duration

_AGING = (
    spec_types.PowerLawDrift,
    spec_types.ReadNoise1f,
    spec_types.LogDrift,
    spec_types.MeanDrift,
    spec_types.ReadNoiseLog,
)
_PARTICLES = (spec_types.UpsetRate, spec_types.LaneFault)
_EVENTS = (*_PARTICLES, spec_types.FaultModesRate)  # DRAM's rates in the field are not of particles alone
NAMES = ("at", "vdd", "flux", "exposure", "temperature")
"""Every knob that there is; `knobs` says which a device has."""


class Knob(NamedTuple):
    """One condition that a device's laws depend on.

    Attributes:
        name: What the command line calls it.
        field: The field of `Conditions`.
        unit: Of the field.
        own: The profile's own value in that unit; None where it gives none.
        read: From a user's text to the field.
        show: From the field to a text with its unit.
    """

    name: str
    field: str
    unit: str
    own: float | None
    read: Callable[[str], float]
    show: Callable[[float], str]


def knobs(spec: DeviceSpec) -> dict[str, Knob]:
    """Return the knobs of a device by name: those that an enabled law depends on."""
    on = [m for m in spec.mechanisms if m.enabled]
    world, assess = spec.environment, spec.assess
    found = {}
    if any(map(_ages, on)):
        own = assess.t_s if assess.t_s is not None else DEFAULT_T_S
        found["at"] = Knob("at", "t_s", "s", own, duration_s, show_duration)
    rates = [m.params for m in on if isinstance(m, spec_types.BitErrorRate)]
    if any(p.ber_vs_v_norm is not None for p in rates):
        found["vdd"] = Knob("vdd", "v_norm", "V/Vmin", _value(world.v_norm), _number, lambda v: f"{v:g} V/Vmin")
    elif any(p.v_min is not None for p in rates):
        found["vdd"] = Knob("vdd", "v", "V", _value(world.v), _number, lambda v: f"{v:g} V")
    if any(isinstance(m, _PARTICLES) for m in on):
        unit = world.flux_factor.unit if world.flux_factor is not None else "x the rate's flux"
        flux = world.flux_factor.value if world.flux_factor is not None else 1.0
        found["flux"] = Knob("flux", "flux_factor", unit, flux, _number, lambda v: f"× {v:g}")
    if any(isinstance(m, _EVENTS) for m in on):
        hours = assess.exposure.value if assess.exposure is not None else DEFAULT_EXPOSURE_H
        found["exposure"] = Knob(
            "exposure",
            "exposure_h",
            "h",
            hours,
            lambda text: duration_s(text) / 3600,
            lambda v: show_duration(v * 3600),
        )
    if any(p.arrhenius is not None for p in rates):
        found["temperature"] = Knob(
            "temperature", "temperature_c", "C", _value(world.temperature), _number, lambda v: f"{v:g} °C"
        )
    return found


def conditions_from(spec: DeviceSpec, given: Mapping[str, str]) -> Conditions:
    """Return the conditions that *given* texts ask for, by knob, such as ``{"at": "1d", "vdd": "0.8"}``.

    Raises:
        OptionError: If the device has no such knob, or a text is no value of it.
    """
    values: dict[str, Any] = {}
    there = knobs(spec)
    for name, text in given.items():
        knob = _knob(spec, there, name)
        value = values[knob.field] = knob.read(text)
        allowed = out_of_range(knob.field, value)
        if allowed is not None:
            raise OptionError(f"--{name} {text}: must {allowed}")
    return Conditions(**values)


def find_knob(spec: DeviceSpec, name: str) -> Knob:
    """Return the knob called *name*.

    Raises:
        OptionError: If the device has none of that name; the message says which it has.
    """
    return _knob(spec, knobs(spec), name)


def _knob(spec: DeviceSpec, there: Mapping[str, Knob], name: str) -> Knob:
    if name in there:
        return there[name]
    near = closest(name, NAMES) if name not in NAMES else None
    if near is not None:
        raise OptionError(f"there is no condition {name!r}, did you mean {near!r}?")
    if name not in NAMES:
        raise OptionError(f"there is no condition {name!r}; there are: {', '.join(NAMES)}")
    has = ", ".join(f"--{one}" for one in there) or "none at all"
    raise OptionError(f"no law of device {spec.name} depends on --{name}; the conditions that it has: {has}")


def _ages(mechanism: spec_types.MechanismBase) -> bool:
    """Whether a law depends on the time since programming: a spread that was measured once holds at all times."""
    if isinstance(mechanism, spec_types.Gaussian):
        return len(mechanism.params.sigma_poly) > 1
    if isinstance(mechanism, spec_types.SaturatingNoise):
        return len(mechanism.params.sigma_sat_exp.value) > 1
    return isinstance(mechanism, _AGING)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise OptionError(f"{text!r} is no number; give one such as 0.8") from None


def _value(quantity: Quantity[Any, Any] | None) -> float | None:
    return None if quantity is None else float(quantity.value)
