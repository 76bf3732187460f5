"""YAML → a typed value: strict pydantic, and every problem of a file in one error. No types live here."""

import json
from pathlib import Path
from typing import TypeVar

import pydantic

from faultsim.specs.messages import explain
from faultsim.specs.yaml import Document, Problem, read, refusal

T = TypeVar("T")


def load(source: Path | str | bytes, type_: type[T], *, name: str | None = None) -> T:
    """Return the value of type *type_* that a YAML file or text describes.

    Validation is strict (text is never turned into a number), in pydantic's JSON mode, so a YAML list fills a
    tuple. The plain values of the whole document are in the validation context under ``"document"``.

    Args:
        source: A `Path` to read, or the YAML text itself as ``str`` or UTF-8 ``bytes``.
        type_: A pydantic model, or any type that `pydantic.TypeAdapter` takes.
        name: What messages call the source; the path by default, ``<text>`` for a text.

    Raises:
        SpecError: If anything is wrong; the message holds every problem, one a line:
            ``file:line:column: path: what``.

    Examples:
        >>> load("[1e-3, 2]", tuple[float, ...])
        (0.001, 2.0)
    """
    return check(read(source, name=name), type_)


def check(document: Document, type_: type[T]) -> T:
    """Return the value of type *type_* in a document that `read` gave, or raise every problem."""
    problems = list(document.problems)
    value: T | None = None
    try:
        text = json.dumps(document.value)
        context = {"document": document.value}
        value = pydantic.TypeAdapter(type_).validate_json(text, strict=True, context=context)
    except pydantic.ValidationError as error:
        problems += _typed_problems(error, document, type_)
    if problems:
        raise refusal(document.name, problems)
    return value  # type: ignore[return-value]  # set wherever no problem was found


def _typed_problems(error: pydantic.ValidationError, document: Document, type_: object) -> list[Problem]:
    """Leave out what only follows from a problem of the text, or of an entry, reported already."""
    found = []
    for details in error.errors(include_url=False):
        if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
            continue  # pydantic counts the valid entries alone
        said = explain(details, document, type_)
        if not any(said.path[:size] in document.spoilt for size in range(len(said.path) + 1)):
            found.append(said.problem)
    return found
