"""What makes two runs the same campaign: exactly what is sampled, as a hash, and what differs. No file lives here."""

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeGuard

from faultsim.journal.errors import JournalError, shown

LAWS_VERSION: Final = 1
"""Version of the code of the laws; raise it when the same seed would draw, or the same chip would score, otherwise."""

Json: TypeAlias = "bool | int | float | str | Sequence[Json] | Mapping[str, Json] | None"

_MOST_DIFFERENCES = 3
_DEEPEST = 32


@dataclass(frozen=True)
class Identity:
    """What a campaign samples: named parts, and the hash of them that is the campaign's id.

    The part ``laws_version`` is added by itself. What does not change a row (workers, batch size, device of
    the computation, number of trials asked for) is no part.
    """

    parts: Mapping[str, Json]
    """JSON values: model's sha256, device in full, data digest, seed, options that change what is drawn or judged."""
    id: str
    """SHA-256 of the parts as canonical JSON, 64 lower-case hex digits."""


def identity(parts: Mapping[str, Json]) -> Identity:
    """Return the identity of a campaign that samples *parts* with the laws of this version.

    Args:
        parts: JSON values by name; ``laws_version`` may be left out.

    Returns:
        The parts, tuples as lists, with ``laws_version``, and their `campaign_id`.

    Raises:
        JournalError: If a part is no JSON value; NaN and the infinities are none.
    """
    whole: dict[str, Json] = {"laws_version": LAWS_VERSION, **parts}
    text = _canonical(whole)
    return Identity(json.loads(text), _sha256(text))


def campaign_id(parts: Mapping[str, Json]) -> str:
    """Return the SHA-256 of *parts* as canonical JSON: sorted keys, no spaces, ASCII, floats as Python's repr.

    The order of the keys does not matter; 1 and 1.0 differ, as they do in JSON's text.

    Raises:
        JournalError: If a part is no JSON value; NaN and the infinities are none.

    Examples:
        >>> campaign_id({"seed": 0, "model": "ab"}) == campaign_id({"model": "ab", "seed": 0})
        True
        >>> campaign_id({"seed": 0})[:16]
        'bd0488843468e63c'
    """
    return _sha256(_canonical(parts))


def difference(first: Mapping[str, Json], second: Mapping[str, Json], *, was: str = "was", now: str = "now") -> str:
    """Say in words which parts differ, at most three of them; an empty text where none does.

    Args:
        first: The parts of one campaign.
        second: The parts of the other.
        was: The words before a part of the first.
        now: The words before a part of the second.

    Examples:
        >>> difference({"seed": 0, "device": {"ber": 1e-3}}, {"seed": 1, "device": {"ber": 1e-3}})
        'the seed was 0, now 1'
        >>> difference({"device": {"ber": 1e-3}}, {"device": {"ber": 2e-3}, "limit": 100})
        'the device.ber was 0.001, now 0.002; the limit was not given, now 100'
    """
    found = _differences(first, second, "")
    said = [f"the {shown(place)} {was} {one}, {now} {other}" for place, one, other in found[:_MOST_DIFFERENCES]]
    if len(found) > _MOST_DIFFERENCES:
        said.append(f"and {len(found) - _MOST_DIFFERENCES} more")
    return "; ".join(said)


def _differences(before: object, now: object, place: str) -> list[tuple[str, str, str]]:
    if isinstance(before, Mapping) and isinstance(now, Mapping):
        pairs = [(f"{place}.{key}" if place else str(key), key) for key in sorted({*before, *now})]
        return [
            one for name, key in pairs for one in _differences(before.get(key, _ABSENT), now.get(key, _ABSENT), name)
        ]
    if _is_list(before) and _is_list(now) and len(before) == len(now):
        return [
            one for i, (a, b) in enumerate(zip(before, now, strict=True)) for one in _differences(a, b, f"{place}[{i}]")
        ]
    was, is_ = _text(before), _text(now)
    return [] if was == is_ else [(place, _short(was), _short(is_))]


class _Absent:
    """Marks a part that one side does not have."""


_ABSENT = _Absent()


def _is_list(value: object) -> TypeGuard[Sequence[object]]:
    return isinstance(value, list | tuple)


def _text(value: object) -> str:
    return "not given" if value is _ABSENT else json.dumps(value, sort_keys=True)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"


def _canonical(parts: Mapping[str, Json]) -> str:
    _check(parts, "parts", 0)
    return json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _check(value: object, place: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise JournalError(f"{place[:60]}...: nested deeper than {_DEEPEST} levels; give flatter parts")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if type(key) is not str:
                raise JournalError(f"{place}: the key {shown(repr(key))} is no text; name every part by a text")
            _check(item, f"{place}.{key}", depth + 1)
    elif _is_list(value):
        for position, item in enumerate(value):
            _check(item, f"{place}[{position}]", depth + 1)
    elif type(value) is float:
        if not math.isfinite(value):
            raise JournalError(f"{shown(place)} = {value} is no JSON number; give it as text, or leave it out")
    elif value is not None and type(value) not in (bool, int, str):
        kind = type(value).__name__
        raise JournalError(f"{shown(place)} is of type {kind}; give a text, number, true, false, null, list or mapping")


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("ascii")).hexdigest()
