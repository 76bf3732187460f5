"""What the figures of a device rest on: its operating point, and each physical parameter with its origin."""

from collections.abc import Iterable

from faultsim.assessment.setting import Setting
from faultsim.device.knobs import knobs
from faultsim.device.numbers import Number, numbers, short
from faultsim.results import Assumption

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
    for one in numbers(spec):
        if one.role != "used":
            continue
        given = getattr(setting.options.conditions, _CONDITIONS.get(one.parameter, ""), None)
        if given is None or one.mechanism is not None:
            yield _assumption(one, cites)
        else:
            value = f"{short(given)} {one.quantity.unit}"
            yield Assumption(parameter=one.parameter, value=value, status="given")


def _assumption(one: Number, cites: dict[str, str]) -> Assumption:
    q = one.quantity
    return Assumption(
        mechanism=one.mechanism,
        parameter=one.parameter,
        value=f"{short(q.value)} {q.unit}",
        status=q.status,
        rests_on=q.rests_on,
        source=cites.get(q.source or ""),
    )
