"""What the figures of a device rest on: its operating point, and each physical parameter with its origin."""

from collections.abc import Iterable
from typing import Any

from pydantic import BaseModel

from faultsim.assessment.setting import Setting
from faultsim.device.knobs import knobs
from faultsim.results import Assumption
from faultsim.specs.quantity import Quantity

_CONDITIONS = {
    "assess.exposure": "exposure_h",
    "environment.flux_factor": "flux_factor",
    "environment.v": "v",
    "environment.v_norm": "v_norm",
    "environment.temperature": "temperature_c",
}
"""What a run's own conditions take the place of."""

_SAID = {
    "at": "t = {0}",
    "vdd": "{unit} = {1:g}",
    "flux": "flux × {1:g}",
    "exposure": "exposure {1:g} h",
    "temperature": "T = {0}",
}
"""How the report says each condition: as text, as a number, with its unit."""


def operating_point(setting: Setting) -> str | None:
    """Return the conditions of this run in words, such as ``t = 1 day``; ``None`` where no law depends on any."""
    found = setting.device.conditions(setting.options.conditions)
    said = []
    for name, knob in knobs(setting.device.spec).items():
        value = getattr(found, knob.field)
        if value is not None:
            said.append(_SAID[name].format(knob.show(value), value, unit=knob.unit))
    return ", ".join(said) or None


def assumptions(setting: Setting) -> Iterable[Assumption]:
    """Yield every physical parameter that the result rests on, with what is known of its origin."""
    spec = setting.device.spec
    cites = {key: source.cite for key, source in spec.sources.items()}
    for label, part in (("storage", spec.storage), ("environment", spec.environment), ("assess", spec.assess)):
        for name, quantity in _quantities(part):
            given = getattr(setting.options.conditions, _CONDITIONS.get(f"{label}.{name}", ""), None)
            if given is None:
                yield _assumption(None, f"{label}.{name}", quantity, cites)
            else:
                yield Assumption(parameter=f"{label}.{name}", value=f"{_short(given)} {quantity.unit}", status="given")
    for mechanism in spec.mechanisms:
        if mechanism.enabled and isinstance(getattr(mechanism, "params", None), BaseModel):
            for name, quantity in _quantities(mechanism.params):
                yield _assumption(mechanism.id, name, quantity, cites)


def _quantities(part: Any, prefix: str = "") -> Iterable[tuple[str, Quantity[Any, Any]]]:
    if isinstance(part, Quantity):
        yield prefix.rstrip("."), part
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from _quantities(getattr(part, name), f"{prefix}{name}.")
    elif isinstance(part, tuple | list):
        for position, one in enumerate(part):
            yield from _quantities(one, f"{prefix.rstrip('.')}[{position}].")


def _assumption(mechanism: str | None, name: str, q: Quantity[Any, Any], cites: dict[str, str]) -> Assumption:
    return Assumption(
        mechanism=mechanism,
        parameter=name,
        value=f"{_short(q.value)} {q.unit}",
        status=q.status,
        rests_on=q.rests_on,
        source=cites.get(q.source or ""),
    )


def _short(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(_short(v) for v in value) + "]"
    return str(value)
