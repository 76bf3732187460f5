"""`load_any`: whichever result a file holds, told by its own fields. A file is foreign input, not trusted."""

import json
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pydantic

from faultsim.errors import OptionError, SpecError
from faultsim.results.attack import AttackResult
from faultsim.results.base import Section
from faultsim.results.bitmap import BitMapResult
from faultsim.results.contract import Result
from faultsim.results.files import LIMIT_BYTES, _check_version, _parse, _problems, _read, _shown
from faultsim.results.hardening import HardenResult
from faultsim.results.injection import InjectionResult
from faultsim.results.probing import ProbeResult
from faultsim.results.scenario import ScenarioResult
from faultsim.results.sweep import SweepResult

Kind = Literal["result", "harden", "sweep", "campaign", "attack", "probe", "bitmap", "scenario"]
_SECTIONS: dict[Kind, type[Section]] = {
    "result": Result,
    "harden": HardenResult,
    "sweep": SweepResult,
    "campaign": InjectionResult,
    "attack": AttackResult,
    "probe": ProbeResult,
    "bitmap": BitMapResult,
    "scenario": ScenarioResult,
}
_TELLING: dict[Kind, tuple[str, ...]] = {
    "harden": ("before", "after"),
    "sweep": ("points", "over"),
    "attack": ("searched_on", "separate"),
    "probe": ("parts", "normalisation"),
    "bitmap": ("audit", "rivals"),
    "scenario": ("cases", "name"),
}
_OTHERS = {"comparison": "a comparison", "run_comparison": "a comparison of two runs of a scenario"}
NAMES: dict[Kind, str] = {
    "result": "an assessment",
    "harden": "a hardening",
    "sweep": "a sweep",
    "campaign": "a campaign of bit flips",
    "attack": "an attack",
    "probe": "a probe",
    "bitmap": "a bit map",
    "scenario": "a run of a scenario",
}
"""What each kind is called in a sentence."""
FILES = ("result.json", "summary.json", "harden.json", "sweep.json", "bitmap.json")
"""What commands call their results in the folder of ``--out``."""


class Loaded(NamedTuple):
    """A result and its kind, which tells its type."""

    kind: Kind
    section: Any


def load_any(path: Path | str, *, limit_bytes: int = LIMIT_BYTES) -> Loaded:
    """Return the result in a JSON file that a faultsim command wrote; files of older versions too.

    Args:
        path: A regular file.
        limit_bytes: Largest file that is read, in bytes.

    Raises:
        SpecError: If the file is not readable, too large, no JSON, of a newer version, or no such result.
    """
    name = _shown(str(path))
    if Path(path).is_dir():
        raise SpecError(f"{name}: is a folder; give the .json file in it")
    document = _parse(_read(Path(path), name, limit_bytes), name)
    _check_version(document, name)
    kind = _kind(document, name)
    try:
        return Loaded(kind, _SECTIONS[kind].model_validate_json(json.dumps(document), strict=True))
    except pydantic.ValidationError as error:
        raise SpecError(_problems(error, name)) from None


def kind_of(path: Path | str, *, limit_bytes: int = LIMIT_BYTES) -> Kind | None:
    """Return what command wrote a file, of any version, told by its fields alone; None where it is no such file."""
    name = _shown(str(path))
    try:
        document = _parse(_read(Path(path), name, limit_bytes), name)
        kind = _kind(document, name)
    except SpecError:
        return None
    return kind if kind != "result" or {"device", "clean"} <= document.keys() else None


def result_file(place: Path) -> Path:
    """Return a file as it is, and of a folder the result that a command wrote there, ``result.json`` where none is."""
    if not place.is_dir():
        return place
    return next((place / name for name in FILES if (place / name).is_file()), place / FILES[0])


def load_assessment(path: Path | str) -> Result:
    """Return the result of an assessment.

    Args:
        path: A regular file, or a folder that holds one as ``result.json``.

    Raises:
        SpecError: If it cannot be read.
        OptionError: If it is a result of another command; the message says of which.
    """
    place = result_file(Path(path))
    kind, section = load_any(place)
    if kind != "result":
        raise OptionError(f"{_shown(str(place))}: is {NAMES[kind]}; give the result.json of faultsim assess")
    result: Result = section
    return result


def _untold_comparison(document: dict[str, Any]) -> bool:
    return "figures" in document and ("device" not in document or "clean" not in document)


def _kind(document: dict[str, Any], name: str) -> Kind:
    said = document.get("kind", "comparison" if _untold_comparison(document) else None)
    if said == "bit_flip_campaign":
        return "campaign"
    if isinstance(said, str) and said in _OTHERS:
        known = "assess, sweep, harden, campaign, attack, probe, bitmap, run"
        raise SpecError(f"{name}: is {_OTHERS[said]}; give the result of {known}")
    for kind, fields in _TELLING.items():
        if all(field in document for field in fields):
            return kind
    return "result"
