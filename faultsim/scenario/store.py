"""What a run of a scenario leaves in its folder, and what of it a later run can take. Nothing is computed here.

``summary.json`` and ``index.html`` lie in the folder itself. Each case has a folder of its own name: ``result.json``,
what hardening wrote, and ``case.json``, which is written last and says by digests of which inputs the others were made,
and which result is the case's own; ``report.html`` follows from them.
"""

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import pydantic

from faultsim.errors import OptionError, SpecError
from faultsim.results import Result, load_result, to_json
from faultsim.results.scenario import HardenedCase, ScenarioResult
from faultsim.scenario.case import Case
from faultsim.textfile import write_text

SUMMARY, RESULT, CASE = "summary.json", "result.json", "case.json"
_LIMIT_BYTES = 1 << 20


class Kept(NamedTuple):
    """What an earlier run finished.

    Attributes:
        result: The assessment.
        hardened: What hardening gave; None where none was asked for.
        seconds: What it took.
    """

    result: Result
    hardened: HardenedCase | None
    seconds: float


def folder_of(case: Case, out: Path) -> Path:
    """Return the folder of a case."""
    return out.joinpath(*case.name.split("/"))


def find_kept(case: Case, out: Path, identity: str | None) -> Kept | None:
    """Return what an earlier run with the same inputs left of a case; None where there is nothing, or it is broken."""
    folder = folder_of(case, out)
    if identity is None:
        return None
    try:
        with (folder / CASE).open("rb") as file:
            said = json.loads(file.read(_LIMIT_BYTES))
        if not isinstance(said, dict) or said.get("identity") != identity:
            return None
        if said.get("result_sha256") != _digest(folder / RESULT):  # another command has written there
            return None
        found = said.get("hardened")
        hardened = None if found is None else HardenedCase.model_validate_json(json.dumps(found))
        if hardened is not None and hardened.model is not None and not (out / hardened.model).is_file():
            return None
        return Kept(load_result(folder / RESULT), hardened, float(said.get("seconds", 0.0)))
    except (OSError, ValueError, RecursionError, TypeError, SpecError, pydantic.ValidationError):
        return None  # it is computed once more


def keep(case: Case, out: Path, kept: Kept, identity: str | None) -> Path:
    """Write a finished case; returns its ``result.json``.

    Raises:
        OptionError: If it cannot be written.
    """
    folder = folder_of(case, out)
    said = {
        "name": case.name,
        "identity": identity,
        "seconds": kept.seconds,
        "hardened": None if kept.hardened is None else kept.hardened.model_dump(mode="json", by_alias=True),
    }
    try:
        (folder / CASE).unlink(missing_ok=True)  # a kill between the two files must not pair an old one with a new one
        write_text(folder / RESULT, to_json(kept.result))
        said["result_sha256"] = _digest(folder / RESULT)
        write_text(folder / CASE, json.dumps(said, indent=2) + "\n")
    except OSError as error:
        raise OptionError(f"--out {folder}: cannot be written ({error.strerror}); give a folder that can") from None
    return folder / RESULT


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_summary(result: ScenarioResult, out: Path) -> Path:
    """Write ``summary.json``; returns its path.

    Raises:
        OptionError: If it cannot be written.
    """
    try:
        write_text(out / SUMMARY, result.model_dump_json(indent=2, by_alias=True) + "\n")
    except OSError as error:
        raise OptionError(f"--out {out}: cannot be written ({error.strerror}); give a folder that can") from None
    return out / SUMMARY


def write_pages(result: ScenarioResult, out: Path) -> None:
    """Write ``index.html``, the page of all cases, and each case's ``report.html``.

    Raises:
        OptionError: If they cannot be written.
    """
    from faultsim.report.html.scenario_files import write_scenario_pages  # templates, only where a page is written

    try:
        write_scenario_pages(result, out)
    except OSError as error:
        raise OptionError(f"--out {out}: cannot be written ({error.strerror}); give a folder that can") from None
