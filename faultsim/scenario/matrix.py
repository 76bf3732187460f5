"""Models × devices × corners → cases, conditions checked against each device's laws. No scenario file is read here."""

import itertools
import math
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from faultsim.assessment import Options
from faultsim.corruption import Site
from faultsim.device import Conditions, Device, load_device
from faultsim.device.knobs import conditions_from, knobs
from faultsim.errors import FaultsimError, OptionError
from faultsim.formats import FloatFormat
from faultsim.scenario.case import Case
from faultsim.scenario.load import Written
from faultsim.scenario.lookup import data_source, device_file, model_file
from faultsim.scenario.requirement import read_requirement
from faultsim.specs.scenario import ConditionsSpec, DeviceUse, ModelSpec, Sampling, ScenarioSpec, Search
from faultsim.specs.yaml import NodePath
from faultsim.units import duration_s

MOST_CASES = 1000
RESERVED = frozenset(
    {"summary.json", "index.html", "result.json", "case.json", "report.html", "harden.json", "hardened.onnx"}
)
"""Files of a run's folders: no model, device or corner, whose folders they are, is called so."""
_Problems = list[tuple[NodePath, str]]


class _Corner(NamedTuple):
    name: str
    conditions: dict[str, str]
    at: NodePath


class _Place(NamedTuple):
    """A device at a corner."""

    name: str
    corner: str
    device: Device
    conditions: dict[str, str]
    typed: Conditions
    at: NodePath


def expand(written: Written, folder: Path, *, model: ModelSpec | None = None) -> tuple[Case, ...]:
    """Return the cases of a scenario.

    Args:
        written: The scenario.
        folder: What its paths are relative to.
        model: Stands in for all of its models; an override that then fits no case is passed over.

    Raises:
        SpecError: With every name that stands twice, every condition that a device does not know, every override that
            fits no case.
    """
    spec: ScenarioSpec = written.spec
    problems: _Problems = []
    given: tuple[str | ModelSpec, ...] = spec.models if model is None else (model,)
    models = [_as_model(one) for one in given]
    uses = [one if isinstance(one, DeviceUse) else DeviceUse(device=one) for one in spec.devices]
    count = len(models) * sum(_corner_count(spec.corners if use.corners is None else use.corners) for use in uses)
    if count > MOST_CASES:
        raise written.refusal([((), f"gives {count:,} cases, at most {MOST_CASES:,} are allowed; write several files")])
    model_names = _names([one.name or _stem(one.model) for one in models], "models", problems)
    device_names = _names([one.name or _stem(one.device) for one in uses], "devices", problems)
    places: list[_Place] = []
    for i, use in enumerate(uses):
        places += _of_device(i, use, device_names[i], written, folder, problems)
    if spec.hardening is not None and spec.hardening.time_budget is not None:
        try:
            duration_s(spec.hardening.time_budget)
        except OptionError as error:
            problems.append((("hardening", "time_budget"), str(error)))
    if problems:
        raise written.refusal(problems)
    pairs = list(itertools.product(zip(models, model_names, strict=True), places))
    names = ["/".join(part for part in (name, place.name, place.corner) if part) for (_, name), place in pairs]
    if model is None:
        for i, override in enumerate(spec.overrides):
            if not any(fnmatchcase(name, override.cases) for name in names):
                problems.append((("overrides", i, "cases"), f"fits no case; there are: {', '.join(names[:6])}"))
    if problems:
        raise written.refusal(problems)
    found = [_case(name, one, place, written, folder) for name, ((one, _), place) in zip(names, pairs, strict=True)]
    cases = tuple(case for case in found if case is not None)
    if not cases:
        raise written.refusal([(("overrides",), "every case is skipped; leave one at least")])
    used = {id(place): place for (_, place), case in zip(pairs, found, strict=True) if case is not None}
    beyond = ((place.at, _beyond(place.device, place.typed)) for place in used.values() if place.conditions)
    problems += [(at, said) for at, said in beyond if said is not None]
    twice = (one for one in cases if one.validation_data and one.validation_data in (one.data, one.train_data))
    for case in itertools.islice(twice, 1):
        what = "trained on" if case.validation_data == case.train_data else "judged by"
        message = f"is what case {case.name} is {what} too; give others, or leave it out for a part of the data"
        problems.append((("hardening", "validation_data"), message))
    if problems:
        raise written.refusal(problems)
    return cases


def _as_model(one: str | ModelSpec) -> ModelSpec:
    return one if isinstance(one, ModelSpec) else ModelSpec.model_validate({"model": one})


def _corner_count(corners: dict[str, ConditionsSpec]) -> int:
    sizes = (
        math.prod(len(value) for value in dict(said).values() if isinstance(value, list)) for said in corners.values()
    )
    return max(sum(sizes), 1)


def _of_device(
    i: int, use: DeviceUse, name: str, written: Written, folder: Path, problems: _Problems
) -> Iterator[_Place]:
    """Yield a device at each of its corners."""
    try:
        device = load_device(device_file(use.device, folder))
    except FaultsimError as error:
        first, *rest = str(error).splitlines()
        problems.append((("devices", i), f"{first}{f' (and {len(rest)} more)' if rest else ''}"))
        return
    own = use.corners is not None
    corners = use.corners if use.corners is not None else written.spec.corners
    base: NodePath = ("devices", i, "corners") if own else ("corners",)
    if any(isinstance(value, list) for value in dict(use.conditions).values()):
        problems.append((("devices", i, "conditions"), "holds a list of values; lists belong in corners"))
        return
    given = _texts(use.conditions)
    if not _fit(device, given, ("devices", i, "conditions"), problems, ""):
        return
    hint = "" if own else f"; give device {name} 'corners' of its own"
    spread = [one for corner, said in corners.items() for one in _spread(corner, said, (*base, corner))]
    doubled = {one.name for one in spread if [other.name for other in spread].count(one.name) > 1}
    for corner in doubled:
        problems.append((base, f"two corners are called {corner!r}; rename one"))
    for one in spread:
        if one.name in RESERVED:
            problems.append((one.at, f"is called {one.name!r}, as a file that a run writes; rename it"))
    for one in spread or [_Corner("", {}, base)]:
        conditions = given | one.conditions
        typed = _fit(device, conditions, one.at, problems, hint)
        if typed is not None:
            at = one.at if one.conditions else ("devices", i, "conditions")
            yield _Place(name, one.name, device, conditions, typed, at)


def _fit(device: Device, conditions: dict[str, str], at: NodePath, problems: _Problems, hint: str) -> Conditions | None:
    try:
        for name, text in conditions.items():
            conditions_from(device.spec, {name: text})
        return conditions_from(device.spec, conditions)
    except OptionError as error:
        said = re.sub(r"--([a-z]+)", r"\1", str(error))  # a key here, no option
        knob = knobs(device.spec).get(name)
        if knob is not None and "is no number" in said:
            said += f", in {knob.unit}, without the unit"
        problems.append(((*at, name), f"{said}{hint if said.startswith('no law') else ''}"))
        return None


def _beyond(device: Device, conditions: Conditions) -> str | None:
    """Return what a law says that is not known at *conditions*; None where it is, or fails at its own as well."""
    site = Site(name="w", layer="w", kind="gemm", role="weight", depth=0, shape=(4, 4), format=FloatFormat())
    values = np.linspace(-1, 1, 16, dtype=np.float32).reshape(4, 4)
    try:
        stored = device.store({"w": (site, values)})
    except FaultsimError:
        return None
    try:
        device.combined_budget(stored, conditions=conditions)
        return None
    except FaultsimError as error:
        said = str(error)
    try:
        device.combined_budget(stored)
        # how many events there are is a matter of the model's size
        return None if device.is_conditional(stored) else said
    except FaultsimError:
        return None


def _spread(name: str, said: ConditionsSpec, at: NodePath) -> Iterator[_Corner]:
    """Yield a corner, or one for each value of its lists."""
    values = {
        key: value if isinstance(value, list) else [value] for key, value in dict(said).items() if value is not None
    }
    listed = [key for key in values if isinstance(getattr(said, key), list)]
    for choice in itertools.product(*values.values()):
        texts = {key: _text(value) for key, value in zip(values, choice, strict=True)}
        suffix = "".join(f"-{re.sub(r'[^A-Za-z0-9_.+-]', '', texts[key])}" for key in listed)
        yield _Corner(name + suffix, texts, at)


def _texts(said: ConditionsSpec) -> dict[str, str]:
    return {key: _text(value) for key, value in dict(said).items() if value is not None}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else f"{value:.15g}"


def _names(found: list[str], key: str, problems: _Problems) -> list[str]:
    for i, name in enumerate(found):
        if name in RESERVED:
            problems.append(((key, i), f"is called {name!r}, as a file that a run writes; give it another 'name'"))
        if name in found[:i]:
            problems.append(((key, i), f"two {key} are called {name!r}; give one of them another 'name'"))
    return found


def _stem(text: str) -> str:
    stem = re.split(r"[/\\]", text)[-1].removesuffix(".onnx").removesuffix(".yaml")
    return re.sub(r"^[^A-Za-z0-9]+|[^A-Za-z0-9_.-]", "", stem)[:60] or "unnamed"


def _case(name: str, model: ModelSpec, place: _Place, written: Written, folder: Path) -> Case | None:
    """Return a case with its overrides applied, later ones in front; None where it is skipped."""
    spec = written.spec
    sampling, search, require = _set(spec.sampling), _set(spec.search), spec.require
    at: NodePath = ("require",)
    for i, one in enumerate(spec.overrides):
        if fnmatchcase(name, one.cases):
            if one.skip:
                return None
            sampling, search = sampling | _set(one.sampling), search | _set(one.search)
            if one.require is not None:
                require, at = one.require, ("overrides", i, "require")
    asked = tuple(read_requirement(text, _line(written, (*at, i))) for i, text in enumerate(require))
    known = {"gradients": "search_gradients", "samples": "search_samples"}
    options = Options(
        **sampling,
        **{known.get(key, key): value for key, value in search.items()},
        require=tuple(one.plain for one in asked if one.plain is not None),
        conditions=place.typed,
        task=model.task,
        output=model.output,
        preprocess=None if model.preprocess is None else folder / model.preprocess,
        input_shape=tuple(f"{key}={value}" for key, value in model.input_shape.items()),
        batch_axis=tuple(f"{key}={value}" for key, value in model.batch_axis.items()),
    )
    train, chosen_by = (None, None) if spec.hardening is None else (spec.hardening.data, spec.hardening.validation_data)
    return Case(
        name=name,
        model=model_file(model.model, folder),
        device=place.device.path,
        data=None if model.data is None else data_source(model.data, folder),
        corner=place.corner,
        conditions=place.conditions,
        options=options,
        asked=asked,
        hardening=spec.hardening,
        train_data=None if train is None else data_source(train, folder),
        validation_data=None if chosen_by is None else data_source(chosen_by, folder),
    )


def _line(written: Written, at: NodePath) -> str:
    file, place = written.place(at)
    return f"{Path(file).name}:{place.line}"


def _set(section: Sampling | Search) -> dict[str, Any]:
    """Return what a section says, less what it leaves to the defaults."""
    return {key: value for key, value in dict(section).items() if key in section.model_fields_set and value is not None}
