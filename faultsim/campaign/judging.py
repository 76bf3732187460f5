"""What judges the rows, as parts of a campaign's identity: the task with its parameters and the code of a user's own.

Nothing is scored here. A row is worth reusing only where the same judge would give the same row.
"""

import dataclasses
import hashlib
import inspect
import math
import sys
from collections.abc import Mapping
from pathlib import Path

from faultsim.data.function import resolve
from faultsim.errors import OptionError
from faultsim.journal.identity import Json
from faultsim.metrics import Custom, GoldenAgreement, Task

AS_DEPLOYED = "as deployed"
"""How a tensor is held that a device could store and `--sites` or `--exclude` keep out of it."""
OF_THE_OUTPUT = ("output_is_probability", "class_axis")
"""Parameters that say how a model gives its scores: two models on the same faults may differ in them."""


def task_facts(task: Task) -> dict[str, Json]:
    """Return the class of a task, its parameters by name, and `source_digest` where it is a user's function.

    The name is not enough: top-1 and top-3 are both ``classification``. A number that JSON does not know is a text.

    Examples:
        >>> from faultsim.metrics import GoldenAgreement, Regression
        >>> task_facts(GoldenAgreement(Regression(tolerance=0.1)))
        {'class': 'GoldenAgreement', 'inner': {'class': 'Regression', 'tolerance': 0.1}}
    """
    found: dict[str, Json] = {"class": type(task).__name__}
    if isinstance(task, GoldenAgreement):
        return {**found, "inner": task_facts(task.inner)}
    for one in dataclasses.fields(task):  # type: ignore[arg-type]  # every task is a dataclass, which no protocol says
        found[one.name] = _json(getattr(task, one.name))
    if isinstance(task, Custom):
        found["source_sha256"] = source_digest(task.function)
    return found


def source_digest(function: str) -> str | None:
    """Return a SHA-256 of the files that ``module:function`` is named and written in; None where there is none.

    What these files import is not looked at.

    Args:
        function: The name.

    Raises:
        OptionError: If there is no such function.
    """
    found = inspect.unwrap(resolve(function, OptionError))
    parts = [_file_digest(one) for one in (sys.modules[function.partition(":")[0]], found)]
    known = [one for one in parts if one is not None]
    return hashlib.sha256("".join(known).encode()).hexdigest() if known else None


def comparable(parts: Mapping[str, Json], other: Mapping[str, Json]) -> dict[str, Json]:
    """Return those of *parts* in which a campaign on another model must be the same, for a pair on the same faults.

    Args:
        parts: What one campaign samples.
        other: What the other one does: a batch size that only one of them hangs on is no difference, nor is a tensor
            that only one of the models has.
    """
    kept = {name: part for name, part in parts.items() if name not in ("model", "laws_version")}
    if "batch_size" not in other:
        kept.pop("batch_size", None)
    storage = _held(kept.get("storage"), other.get("storage"))
    return {**kept, "storage": storage, "task": _judged(kept.get("task"))}


def _held(storage: Json, other: Json) -> Json:
    """Return a storage with those tensors beside the sites that both models have: a device holds them or does not."""
    if not isinstance(storage, Mapping) or not isinstance(other, Mapping):
        return storage
    beside, theirs = storage.get("beside"), other.get("beside")
    if not isinstance(beside, Mapping) or not isinstance(theirs, Mapping):
        return storage
    held = {name: "stored" if beside[name] != AS_DEPLOYED else AS_DEPLOYED for name in beside if name in theirs}
    return {**storage, "beside": held}


def _judged(task: Json) -> Json:
    if not isinstance(task, Mapping):
        return task
    return {name: _judged(part) for name, part in task.items() if name not in OF_THE_OUTPUT}


def _json(value: object) -> Json:
    if isinstance(value, bool | int | str | None) or (isinstance(value, float) and math.isfinite(value)):
        return value
    text = repr(value)
    return text if len(text) <= 64 else hashlib.sha256(text.encode()).hexdigest()


def _file_digest(thing: object) -> str | None:
    try:
        path = inspect.getsourcefile(thing)  # type: ignore[arg-type]  # what has no file raises TypeError
        return None if path is None else hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except (TypeError, OSError):
        return None
