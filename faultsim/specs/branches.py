"""Pydantic tells what each member of a union lacks: which of that is the user's mistake. Nothing is validated here."""

from typing import NamedTuple

from pydantic_core import ErrorDetails

from faultsim.specs.messages import KINDS, Said, named
from faultsim.specs.yaml import Problem


class Finding(NamedTuple):
    """One finding of pydantic and what is said of it."""

    details: ErrorDetails
    said: Said


def one_a_value(findings: list[Finding]) -> list[Said]:
    """Return what is said, without the members of a union that a value was never meant for.

    A wrong type beside a problem further in, or another one of the same value, comes from another member of a union:
    only the member that took the value's type tells the mistake. Where none took it, they are one sentence.
    """
    others = [said for details, said in findings if not _wrong_type(details)]
    deeper = {said.path[:size] for _, said in findings for size in range(len(said.path))}
    answered = deeper | {said.path for said in others}
    members: dict[tuple[int | str, ...], list[Finding]] = {}
    for one in findings:
        if _wrong_type(one.details) and one.said.path not in answered:
            members.setdefault(one.said.path, []).append(one)
    return others + [_joined(found) for found in members.values()]


def _wrong_type(details: ErrorDetails) -> bool:
    return details["type"] in KINDS or details["type"] == "literal_error"


def _joined(found: list[Finding]) -> Said:
    said = found[0].said
    if len(found) == 1:
        return said
    kinds = [KINDS.get(one["type"]) or one["ctx"]["expected"] for one, _ in found]
    words = list(dict.fromkeys(kind for kind in kinds if kind != "a whole number" or "a number" not in kinds))
    value = found[0].details["input"]
    quotes = "; put it in quotes" if "text" in words and type(value) in (int, float) else ""
    allowed = " or ".join((", ".join(words[:-1]), words[-1])) if len(words) > 1 else words[0]
    line, column, place, _ = said.problem
    return Said(said.path, Problem(line, column, place, f"must be {allowed}, got {named(value)}{quotes}"))
