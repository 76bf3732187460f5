"""YAML 1.2's core schema: what an unquoted word means. Nodes and files are read elsewhere."""

import math
import re

_MAX_DIGITS = 300
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {word: word[0] in "tT" for word in ("true", "True", "TRUE", "false", "False", "FALSE")}
_INT = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")


class NotANumber:
    """Spelt like a number that no computer number is: infinite, NaN, or with hundreds of digits."""


def plain(text: str) -> bool | int | float | str | NotANumber | None:
    """Return the value of an unquoted scalar by YAML 1.2's core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if len(text) > _MAX_DIGITS:
        return NotANumber() if _FLOAT.fullmatch(text) else text
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL.fullmatch(text):
        return int(text[2:], 8)
    if _HEX.fullmatch(text):
        return int(text[2:], 16)
    if _FLOAT.fullmatch(text):
        value = float(text)
        return value if math.isfinite(value) else NotANumber()
    return NotANumber() if _NOT_FINITE.fullmatch(text) else text
