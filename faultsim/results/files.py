"""`Result` to JSON and back, and its JSON Schema. A result file is foreign input, not trusted."""

import json
import math
import stat
from pathlib import Path
from typing import Any

import pydantic

from faultsim.errors import SpecError
from faultsim.results.contract import SCHEMA_VERSION, Result

LIMIT_BYTES = 64 * 2**20
_MOST_PROBLEMS = 20


def to_dict(result: Result) -> dict[str, Any]:
    """Return the result as plain JSON values, named as in ``result.json``."""
    return result.model_dump(mode="json", by_alias=True)


def to_json(result: Result) -> str:
    """Return the text of ``result.json``: ASCII-safe, two spaces of indent, a final newline, never a NaN."""
    return json.dumps(to_dict(result), indent=2, allow_nan=False) + "\n"


def load_result(path: Path | str, *, limit_bytes: int = LIMIT_BYTES) -> Result:
    """Return the result in a ``result.json``.

    Older versions of the contract are read, newer ones refused: a field that this version does not know could
    turn the meaning of one that it does.

    Args:
        path: A regular file.
        limit_bytes: Largest file that is read, in bytes.

    Raises:
        SpecError: If the file is not readable, too large, no JSON, of a newer version, or not what the
            contract asks for.
    """
    name = _shown(str(path))
    document = _parse(_read(Path(path), name, limit_bytes), name)
    _check_version(document, name)
    try:
        return Result.model_validate_json(json.dumps(document), strict=True)
    except pydantic.ValidationError as error:
        raise SpecError(_problems(error, name)) from None


def result_schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of ``result.json`` as this version writes it."""
    schema = Result.model_json_schema(by_alias=True, mode="serialization")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "faultsim result"}


def schema_text() -> str:
    """Return the text of ``docs/result.schema.json``."""
    return json.dumps(result_schema(), indent=2, ensure_ascii=False) + "\n"


def _read(path: Path, name: str, limit_bytes: int) -> str:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe or a device would block or never end
            raise SpecError(f"{name}: not a regular file; give a result.json of faultsim")
        with path.open("rb") as file:
            data = file.read(limit_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise SpecError(f"{name}: cannot be read ({reason}); give a result.json of faultsim") from None
    if len(data) > limit_bytes:
        raise SpecError(f"{name}: larger than {limit_bytes:,} bytes, the most that is read; is this a result.json?")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{name}: not UTF-8 text at byte {error.start}; give a result.json of faultsim") from None


def _parse(text: str, name: str) -> dict[str, Any]:
    def refuse(constant: str) -> float:
        raise ValueError(f"holds {constant}, which is no JSON number")

    def finite(digits: str) -> float:
        value = float(digits)
        if not math.isfinite(value):
            raise ValueError(f"holds {digits[:40]}, which no float64 can hold")
        return value

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ValueError(f"holds the key {twice[:40]!r} twice")
        return found

    try:
        document = json.loads(text, parse_constant=refuse, parse_float=finite, object_pairs_hook=once)
    except json.JSONDecodeError as error:
        raise SpecError(
            f"{name}:{error.lineno}:{error.colno}: no JSON ({error.msg}); was the file cut short?"
        ) from None
    except ValueError as error:
        raise SpecError(f"{name}: {error}; give a result.json of faultsim") from None
    except RecursionError:
        raise SpecError(f"{name}: nested too deeply to be a result.json; give one that faultsim wrote") from None
    if not isinstance(document, dict):
        raise SpecError(f"{name}: must be an object, got {type(document).__name__}; give a result.json of faultsim")
    return document


def _check_version(document: dict[str, Any], name: str) -> None:
    version = document.get("schema_version")
    if type(version) is not int or version < 1:
        said = f"got {_shown(repr(version))}" if "schema_version" in document else "missing"
        raise SpecError(f"{name}: schema_version must be a whole number from 1, {said}; is it a result.json?")
    if version > SCHEMA_VERSION:
        raise SpecError(
            f"{name}: schema_version {_shown(str(version))} is newer than {SCHEMA_VERSION}, the newest known "
            f"here; update faultsim to read this file"
        )


def _problems(error: pydantic.ValidationError, name: str) -> str:
    details = error.errors(include_url=False, include_input=False)
    lines = []
    for one in details[:_MOST_PROBLEMS]:
        place = "".join(f"[{part}]" if isinstance(part, int) else f".{_shown(part)}" for part in one["loc"]).lstrip(".")
        lines.append(f"{name}: {place}: {one['msg'].removeprefix('Value error, ')}")
    if len(details) > _MOST_PROBLEMS:
        lines.append(f"{name}: and {len(details) - _MOST_PROBLEMS} more problems")
    return "\n".join(lines)


def _shown(text: str) -> str:
    """Return foreign text as it may stand in a message: printable and short."""
    safe = "".join(letter if letter.isprintable() else "?" for letter in text)
    return safe if len(safe) <= 200 else f"{safe[:197]}..."
