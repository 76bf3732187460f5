"""YAML → a typed value: strict pydantic, and every problem of a file in one error. No types live here."""

import copy
import difflib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
from pydantic_core import ErrorDetails

from faultsim.specs.branches import Finding, one_a_value
from faultsim.specs.messages import explain, tags_at
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
        value = _validate(document.value, document, type_)
    except pydantic.ValidationError as error:
        problems += _typed_problems(error, document, type_)
    if problems:
        raise refusal(document.name, problems)
    return value  # type: ignore[return-value]  # set wherever no problem was found


def _validate(value: Any, document: Document, type_: type[T]) -> T:
    context = {"document": document.value}
    return pydantic.TypeAdapter(type_).validate_json(json.dumps(value), strict=True, context=context)


def _typed_problems(error: pydantic.ValidationError, document: Document, type_: type) -> list[Problem]:
    """Leave out what only follows from a problem of the text, or of an entry, reported already."""
    found = []
    errors = error.errors(include_url=False)
    for details in (*errors, *_behind_wrong_tags(errors, document, type_)):
        if details["type"] == "too_short" and len(details["input"]) >= details["ctx"]["min_length"]:
            continue  # pydantic counts the valid entries alone
        said = explain(details, document, type_)
        found.append(Finding(details, said))
    return [
        said.problem
        for said in one_a_value(found)
        if not any(said.path[:size] in document.spoilt for size in range(len(said.path) + 1))
    ]


def _behind_wrong_tags(errors: list[ErrorDetails], document: Document, type_: type) -> list[ErrorDetails]:
    """Return what else is wrong in a mapping whose word that says its type is wrong: pydantic stops there.

    The mapping is taken for what the word plainly means. Where that could be several, only what is wrong whatever it
    means is told.
    """
    patched = copy.deepcopy(document.value)
    corrected: dict[tuple[int | str, ...], set[str] | None] = {}
    for details in errors:
        if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
            said = explain(details, document, type_)
            place: Any = patched
            for step in said.path[:-1]:
                place = place[step]
            tags = tags_at(details, document, type_)
            guess = _meant(str(place.get(said.path[-1], "")), tags)
            tag = guess or max(tags, key=lambda one: len(set(tags[one]) & set(place)), default=None)
            if tag is not None:
                place[said.path[-1]] = tag
                same = {key for key in tags[tag] if len({str(keys.get(key)) for keys in tags.values()}) == 1}
                corrected[tuple(details["loc"])] = None if guess else same
    if not corrected:
        return []
    try:
        _validate(patched, document, type_)
    except pydantic.ValidationError as error:
        known = {tuple(details["loc"]) for details in errors}
        return [
            one
            for one in error.errors(include_url=False)
            if tuple(one["loc"]) not in known and _counts(tuple(one["loc"]), corrected)
        ]
    return []


def _meant(word: str, options: Iterable[str]) -> str | None:
    """Return the option that *word* plainly means: near, and no other nearly as near."""
    ratios = sorted(((difflib.SequenceMatcher(None, word[:100], one).ratio(), one) for one in options), reverse=True)
    if not ratios or ratios[0][0] < 0.6 or (len(ratios) > 1 and ratios[0][0] - ratios[1][0] < 0.15):
        return None
    return ratios[0][1]


def _counts(place: tuple[int | str, ...], corrected: Mapping[tuple[int | str, ...], set[str] | None]) -> bool:
    """Whether a problem at *place* holds whatever the corrected word meant; pydantic names the type after its place."""
    for at, keys in corrected.items():
        if place[: len(at)] == at:
            return keys is None or (len(place) > len(at) + 1 and place[len(at) + 1] in keys)
    return False
