"""The conditions of one assessment: time, voltage, flux, exposure. No law lives here."""

import math
from dataclasses import dataclass, fields

from faultsim.errors import OptionError
from faultsim.specs.device import DeviceSpec
from faultsim.specs.mechanism import ABSOLUTE_ZERO_C, HOTTEST_C, MOST_VOLTS

ABSOLUTE_ZERO_K = -ABSOLUTE_ZERO_C
DEFAULT_EXPOSURE_H = 1.0
DEFAULT_T_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What to assume instead of the profile's own; ``None`` keeps the profile's value.

    Attributes:
        t_s: Seconds since an analog device was programmed, at least 0.
        v_norm: Supply voltage over the lowest error-free one, above 0, at most 10.
        v: Supply voltage, volts, above 0, at most 10.
        flux_factor: Particle flux over the one the rate is given for, at least 0.
        exposure_h: Hours that upsets gather before the memory is written again, positive.
        temperature_c: Degrees Celsius, above absolute zero.

    Raises:
        OptionError: If a value is out of its range.
    """

    t_s: float | None = None
    v_norm: float | None = None
    v: float | None = None
    flux_factor: float | None = None
    exposure_h: float | None = None
    temperature_c: float | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            allowed = None if value is None else out_of_range(field.name, value)
            if allowed is not None:
                raise OptionError(f"condition {field.name} must {allowed}, got {value}")


def out_of_range(field: str, value: float) -> str | None:
    """Return what a field of `Conditions` must do instead, as the end of a sentence; None where the value may stand."""
    if field == "temperature_c":
        return None if ABSOLUTE_ZERO_C < value < HOTTEST_C else f"lie between {ABSOLUTE_ZERO_C} and {HOTTEST_C} °C"
    if field in ("v_norm", "v"):
        what = "volts over the lowest error-free voltage" if field == "v_norm" else "volts"
        return None if 0 < value <= MOST_VOLTS else f"be above 0 and at most {MOST_VOLTS}: it is in {what}"
    if field in ("t_s", "flux_factor"):
        return None if 0 <= value < math.inf else "be finite and at least 0"
    return None if 0 < value < math.inf else "be finite and above 0"


def resolve(spec: DeviceSpec, given: Conditions | None) -> Conditions:
    """Return the profile's conditions with *given* in front; where neither knows, one hour and one day."""
    given = given or Conditions()
    world, assess = spec.environment, spec.assess
    own = {
        "t_s": assess.t_s if assess.t_s is not None else DEFAULT_T_S,
        "v_norm": world.v_norm.value if world.v_norm else None,
        "v": world.v.value if world.v else None,
        "flux_factor": world.flux_factor.value if world.flux_factor else 1.0,
        "exposure_h": assess.exposure.value if assess.exposure else DEFAULT_EXPOSURE_H,
        "temperature_c": world.temperature.value if world.temperature else None,
    }
    asked = {name: getattr(given, name) for name in own}
    return Conditions(**{name: own[name] if asked[name] is None else asked[name] for name in own})
