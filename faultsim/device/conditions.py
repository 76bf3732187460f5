"""The conditions of one assessment: time, voltage, flux, exposure. No law lives here."""

import math
from dataclasses import dataclass, fields

from faultsim.errors import OptionError
from faultsim.specs.device import DeviceSpec

ABSOLUTE_ZERO_K = 273.15
DEFAULT_EXPOSURE_H = 1.0
DEFAULT_T_S = 86400.0


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What to assume instead of the profile's own; ``None`` keeps the profile's value.

    Attributes:
        t_s: Seconds since an analog device was programmed, at least 0.
        v_norm: Supply voltage over the lowest error-free one, positive.
        v: Supply voltage, volts, positive.
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
        if self.temperature_c is not None and not -ABSOLUTE_ZERO_K < self.temperature_c < 2000:
            raise OptionError(f"condition temperature_c must lie between -273.15 and 2000, got {self.temperature_c}")
        for field in fields(self):
            if field.name == "temperature_c":
                continue
            value = getattr(self, field.name)
            zero = field.name in ("t_s", "flux_factor")
            if value is not None and not (0 <= value < math.inf and (zero or value > 0)):
                allowed = "finite and at least 0" if zero else "finite and above 0"
                raise OptionError(f"condition {field.name} must be {allowed}, got {value}")


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
