"""Pydantic's findings in our words: what is wrong, the value, what is allowed, what to do; no validation."""

import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import annotated_types
import pydantic
from pydantic_core import ErrorDetails

from faultsim.library import closest
from faultsim.specs.yaml import Document, NodePath, Problem, show_path

_QUOTED = re.compile(r"'([^']*)'")
KINDS = {
    "float_type": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "text",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dict_type": "a mapping of keys to values",
    "list_type": "a list",
    "tuple_type": "a list",
    "none_required": "empty",
}
"""What a value must be, by pydantic's name of the error that says it is something else."""
_NO_OVERRIDE = (
    "unknown key: the set (p, eps, n) of a mechanism follows from its law and nothing overrides it; remove it, and "
    "search a set of your own with faultsim attack --p, --eps and --n"
)
"""Of a key that earlier versions took and never used."""


class Said(NamedTuple):
    """One problem, with the path of the node that it is about."""

    path: NodePath
    problem: Problem


class _Trace(NamedTuple):
    """The end of a pydantic location: the real path (no union tags), bounds, keys of its parent, possible types."""

    path: NodePath
    bounds: tuple[Any, ...]
    keys: tuple[str, ...]
    types: tuple[object, ...]


def explain(details: ErrorDetails, document: Document, type_: object) -> Said:
    """Return one finding of pydantic as a problem with its place.

    The place is that of the value; of the key where the key is what is wrong (unknown keys, unknown words of
    a union's ``model``); of the surrounding mapping where something is missing.
    """
    kind = details["type"]
    trace = _trace(type_, details["loc"], document.value, missing=kind == "missing")
    path = trace.path
    at_key = kind == "extra_forbidden"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        path = (*path, str(details["ctx"]["discriminator"]).strip("'"))
        at_key = True
    elif kind == "provenance":
        parent = path[:-1] if path[-1:] == ("rests_on",) else path
        path = (*parent, details["ctx"]["at"])
    place = document.places.get(path) or document.places.get(path[:-1]) or document.places[()]
    line, column = (place.key_line, place.key_column) if at_key and path in document.places else place[:2]
    return Said(path, Problem(line, column, show_path(path), _message(details, trace, path)))


def tags_at(details: ErrorDetails, document: Document, type_: object) -> dict[str, dict[str, object]]:
    """Return the words that say the type of a union where pydantic found none, each with its keys and their types."""
    discriminator = str(details["ctx"]["discriminator"]).strip("'")
    trace = _trace(type_, details["loc"], document.value, missing=False)
    found: dict[str, dict[str, object]] = {}
    for member in (one for annotation in trace.types for one in _members(annotation)):
        fields = _fields(member)
        if discriminator in fields:
            for word in typing.get_args(fields[discriminator].annotation):
                found[str(word)] = {name: field.annotation for name, field in fields.items()}
    return found


def _message(details: ErrorDetails, trace: _Trace, path: NodePath) -> str:
    kind, value, context = details["type"], details["input"], details.get("ctx", {})
    if kind == "missing":
        version = (
            f"'{path[-1]}: 1', the version of the format" if path and str(path[-1]).startswith("faultsim_") else "it"
        )
        return f"missing; add {version}"
    if kind == "extra_forbidden":
        if path[:1] == ("mechanisms",) and path[2:] == ("constraint",):
            return _NO_OVERRIDE
        return f"unknown key{_instead(str(path[-1]), trace.keys)}"
    if kind == "union_tag_invalid":
        known = _QUOTED.findall(context["expected_tags"])
        return f"unknown {_show(context['tag'])}{_instead(str(context['tag']), known)}"
    if kind == "union_tag_not_found":
        return f"missing; {_misspelt(path, value) or 'add it'}"
    if kind in ("literal_error", "enum"):
        return _wrong_word(value, context["expected"], path)
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"must be {_range(trace.bounds, context)}, got {_show(value)}"
    if kind in ("too_short", "too_long"):
        side, limit = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        return f"must hold at {side} {context[limit]} entries, got {len(value)}"
    if kind in ("missing_argument", "unexpected_positional_argument"):
        return "the list has the wrong number of entries"
    if kind == "string_pattern_mismatch":
        return f"must match {context['pattern']}, got {_show(value)}"
    if kind in ("string_too_short", "string_too_long"):
        side, limit = ("least", "min_length") if kind == "string_too_short" else ("most", "max_length")
        return f"must have at {side} {context[limit]} characters, got {len(str(value))}"
    if kind in KINDS:
        return f"must be {KINDS[kind]}, got {named(value)}{_remedy(kind, value)}"
    said = details["msg"]
    return said.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _wrong_word(value: object, expected: str, path: NodePath) -> str:
    options = _QUOTED.findall(expected)
    if not isinstance(value, str) or not options:
        return f"must be {expected}, got {_show(value)}"
    if path and path[-1] == "unit":
        return f"wrong unit {_show(value)}; allowed: {', '.join(map(repr, options))}"
    return f"unknown {_show(value)}{_instead(value, options)}"


def _misspelt(path: NodePath, mapping: object) -> str:
    """Return what to write where the word that says a union's type stands there misspelt; nothing where none does."""
    near = closest(str(path[-1]), map(str, mapping)) if path and isinstance(mapping, dict) else None
    return "" if near is None else f"write {str(path[-1])!r} for {near!r}, if that is meant"


def _instead(word: str, options: Iterable[str]) -> str:
    known = [option for option in options if option]
    near = closest(word, known)
    if near is not None:
        return f", did you mean {near!r}?"
    return f"; allowed: {', '.join(sorted(known))}" if known else "; remove it"


def _range(bounds: tuple[Any, ...], context: Mapping[str, Any]) -> str:
    """Say both ends of a range where the type has both: pydantic reports only the one that was crossed."""
    limits: dict[str, Any] = {}
    for bound in bounds:
        for name in ("ge", "gt", "le", "lt"):
            if getattr(bound, name, None) is not None:
                limits[name] = getattr(bound, name)
    limits = limits or dict(context)
    if {"ge", "le"} <= limits.keys():
        return f"between {limits['ge']:g} and {limits['le']:g}"
    if {"gt", "lt"} <= limits.keys():
        return f"strictly between {limits['gt']:g} and {limits['lt']:g}"
    words = {"ge": "at least", "gt": "greater than", "le": "at most", "lt": "less than"}
    return " and ".join(f"{words[name]} {limits[name]:g}" for name in words if name in limits)


def _remedy(kind: str, value: object) -> str:
    if kind in ("float_type", "int_type") and isinstance(value, str):
        try:
            float(value.replace("_", ""))
        except ValueError:
            return f"; write {value[:-1].strip()} / 100 as a decimal" if re.fullmatch(r"\d[\d.]* ?%", value) else ""
        return "; remove the underscores" if "_" in value else "; remove the quotes"
    if kind == "bool_type" and isinstance(value, str):
        quoted = value.strip().lower() in ("true", "false")  # without quotes these are no text
        return "; write true or false without quotes" if quoted else "; write true or false"
    if kind == "string_type" and isinstance(value, int | float):
        return "; put it in quotes"
    if kind in ("list_type", "tuple_type") and isinstance(value, str | int | float) and value != "":
        return f"; write [{value}]" if len(str(value)) <= 60 else "; put it in [ ]"
    return ""


def named(value: object) -> str:
    """Return what a message calls a value whose type is wrong, such as ``a mapping`` or ``the text 'q'``."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f"the text {_show(value)}"
    if isinstance(value, list):
        return "a list"
    return "a mapping" if isinstance(value, dict) else _show(value)


def _show(value: object) -> str:
    if isinstance(value, list | dict) or value is None or isinstance(value, bool):
        return named(value)
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:56]}...{text[-1]}"


def _trace(type_: object, location: tuple[int | str, ...], value: object, *, missing: bool) -> _Trace:
    """Follow a location through types and data at once; what is no step into the data is a union's tag."""
    here: list[object] = [type_]
    path: list[str | int] = []
    bounds: tuple[Any, ...] = ()
    keys: tuple[str, ...] = ()
    for position, item in enumerate(location):
        members = [member for annotation in here for member in _members(annotation)]
        tagged = [member for member in members if _has_tag(member, item)]
        if (len(members) > 1 and tagged) or not (_reaches(value, item) or (missing and position == len(location) - 1)):
            here = tagged or list(members)
            continue
        path.append(item)
        value = value[item] if _reaches(value, item) else None  # type: ignore[index]
        keys = tuple(key for member in members for key in _keys(member))
        steps = [step for member in members for step in _steps(member, item)]
        here = [annotation for annotation, _ in steps]
        bounds = tuple(bound for _, metadata in steps for bound in metadata)
    bounds += tuple(bound for annotation in here for bound in _bounds(annotation))
    return _Trace(tuple(path), bounds, keys, tuple(here))


def _reaches(value: object, item: int | str) -> bool:
    if isinstance(value, dict):
        return item in value
    return isinstance(value, list) and isinstance(item, int) and 0 <= item < len(value)


def _members(annotation: object) -> list[object]:
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _members(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [member for part in typing.get_args(annotation) for member in _members(part)]
    return [] if annotation is type(None) else [annotation]


def _bounds(annotation: object) -> tuple[Any, ...]:
    origin = typing.get_origin(annotation)
    if origin in (typing.Union, types.UnionType):
        return tuple(bound for part in typing.get_args(annotation) for bound in _bounds(part))
    if origin is not typing.Annotated:
        return ()
    inner, *metadata = typing.get_args(annotation)
    fields = [getattr(extra, "metadata", [extra]) for extra in metadata]
    return (
        *_bounds(inner),
        *(bound for field in fields for bound in field if isinstance(bound, annotated_types.BaseMetadata)),
    )


def _is_model(annotation: object) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel)


def _fields(annotation: object) -> dict[str, Any]:
    if not _is_model(annotation):
        return {}
    model = typing.cast("type[pydantic.BaseModel]", annotation)
    return {field.alias or name: field for name, field in model.model_fields.items()}


def _keys(annotation: object) -> tuple[str, ...]:
    return tuple(_fields(annotation))


def _has_tag(annotation: object, item: int | str) -> bool:
    """Whether pydantic calls this member of a union *item*, by a literal field or by the class's name."""
    if not _is_model(annotation):
        return False
    literals = (
        typing.get_args(field.annotation)
        for field in _fields(annotation).values()
        if typing.get_origin(field.annotation) is typing.Literal
    )
    return item == getattr(annotation, "__name__", None) or any(item in words for words in literals)


def _steps(annotation: object, item: int | str) -> list[tuple[object, tuple[Any, ...]]]:
    field = _fields(annotation).get(str(item))
    if field is not None:
        return [(field.annotation, tuple(field.metadata))]
    arguments = typing.get_args(annotation)
    origin = typing.get_origin(annotation)
    if not arguments or not isinstance(origin, type):
        return []
    if issubclass(origin, Mapping):
        return [(arguments[-1], ())]
    if issubclass(origin, tuple) and arguments[-1] is not ... and isinstance(item, int) and item < len(arguments):
        return [(arguments[item], ())]
    return [(arguments[0], ())]
