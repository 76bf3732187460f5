"""``vdd=0.9:0.7:9`` as the values of a condition. Nothing is run here."""

import math
from typing import NamedTuple

import numpy as np

from faultsim.device.conditions import out_of_range
from faultsim.device.knobs import Knob, find_knob
from faultsim.errors import OptionError
from faultsim.specs.device import DeviceSpec

MOST_POINTS = 200
_FORM = "write NAME=FROM:TO:COUNT, NAME=FROM:TO:COUNT:log or NAME=VALUE,VALUE, such as vdd=0.9:0.7:9 or at=1s,1h,1d"


class Over(NamedTuple):
    """A condition and the values to try, in the field's unit and in the order given."""

    knob: Knob
    values: tuple[float, ...]


def parse_over(text: str, spec: DeviceSpec) -> Over:
    """Return the condition and the values of ``--over``.

    ``FROM:TO:COUNT`` is evenly spaced, both ends included; with ``:log`` evenly in the logarithm.

    Raises:
        OptionError: If the text is not of that form, or the device has no such condition.

    Examples:
        >>> from faultsim.device import load_device
        >>> parse_over("vdd=0.9:0.8:3", load_device("sram").spec).values
        (0.9, 0.85, 0.8)
    """
    name, equals, said = text.partition("=")
    if not equals or not said.strip():
        raise OptionError(f"--over {text!r}: {_FORM}")
    knob = find_knob(spec, name.strip())
    parts = [part.strip() for part in said.split(":")]
    if len(parts) == 1:
        values = [knob.read(one.strip()) for one in said.split(",") if one.strip()]
    elif len(parts) in (3, 4) and (len(parts) == 3 or parts[3] == "log"):
        values = _range(text, knob.read(parts[0]), knob.read(parts[1]), parts[2], log=len(parts) == 4)
    else:
        raise OptionError(f"--over {text!r}: {_FORM}")
    if not values or len(values) > MOST_POINTS:
        raise OptionError(f"--over {text!r}: gives {len(values)} values, allowed are 1 to {MOST_POINTS}")
    if len(set(values)) != len(values):
        raise OptionError(f"--over {text!r}: gives a value twice; leave one out")
    for value in values:
        allowed = out_of_range(knob.field, value)
        if allowed is not None:
            raise OptionError(f"--over {text!r}: {knob.name} must {allowed}, got {value:g}")
    return Over(knob, tuple(values))


def _range(text: str, start: float, stop: float, count_text: str, *, log: bool) -> list[float]:
    if not count_text.isdecimal() or not 2 <= int(count_text) <= MOST_POINTS:
        raise OptionError(
            f"--over {text!r}: COUNT is {count_text!r}, it must be a whole number from 2 to {MOST_POINTS}"
        )
    if not (math.isfinite(start) and math.isfinite(stop)) or start == stop:
        raise OptionError(f"--over {text!r}: FROM and TO must be two different numbers")
    if log and min(start, stop) <= 0:
        raise OptionError(f"--over {text!r}: with :log both ends must be above 0")
    spaced = np.geomspace(start, stop, int(count_text)) if log else np.linspace(start, stop, int(count_text))
    return [float(f"{value:.10g}") for value in spaced]
