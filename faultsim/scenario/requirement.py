"""Requirements as people write them → the grammar of `faultsim.criteria`, or a safety factor. Nothing is judged."""

import math
import re
from fractions import Fraction
from typing import NamedTuple

from faultsim.criteria import parse_criterion
from faultsim.errors import OptionError

_BOUND = r"(>=|<=|=>|=<|==|<|>|=)"
_OF = rf"\s*(?:at|with)\s+(accuracy_drop|accuracy)\s*{_BOUND}\s*([\d.]+)\s*(%?)"
_YIELD = re.compile(rf"yield\s*{_BOUND}\s*([\d.]+)\s*(%?){_OF}")
_FACTOR = re.compile(rf"safety_factor\s*{_BOUND}\s*([\d.eE+-]+)(?:{_OF})?")
_SIGNS = {"≥": ">=", "≤": "<="}
_YIELD_FORM = "write such as yield >= 95 % at accuracy >= 0.85"
_FACTOR_FORM = "write such as safety_factor >= 3, or safety_factor >= 3 at accuracy >= 0.85"
FACTOR_DROP = 0.05
"""Accuracy that a corruption may cost before the safety factor's limit is reached, where the requirement names none."""


class SafetyFactor(NamedTuple):
    """How far the device's own budget of corruption is from one that breaks the model.

    Attributes:
        limit: Asked: how many times the device's radius, above 0.
        accuracy: The accuracy that must hold; None where a drop is given.
        drop: The accuracy that may be lost to the clean model, a fraction; used where *accuracy* is None.
    """

    limit: float
    accuracy: float | None = None
    drop: float = FACTOR_DROP


class Asked(NamedTuple):
    """One requirement of a case.

    Attributes:
        text: As its author wrote it.
        source: File and line.
        plain: In the grammar of ``--require``; None for a safety factor.
        factor: The safety factor; None for the others.
    """

    text: str
    source: str
    plain: str | None
    factor: SafetyFactor | None


def read_requirement(text: str, source: str = "") -> Asked:
    """Return what a requirement asks for.

    Raises:
        OptionError: If it is none.

    Examples:
        >>> read_requirement("safety_factor ≥ 3").factor
        SafetyFactor(limit=3.0, accuracy=None, drop=0.05)
        >>> read_requirement("accuracy_drop ≤ 1 % at p95").plain
        'accuracy_drop<=1%@p95'
    """
    factor = _safety_factor(text)
    if factor is not None:
        return Asked(text.strip(), source, None, factor)
    plain = canonical(text)
    try:
        parse_criterion(plain)
    except OptionError as error:
        said = str(error).removeprefix("--require: ")
        raise OptionError(said.replace(f"requirement {plain[:80]!r}", f"requirement {text.strip()[:80]!r}")) from None
    return Asked(text.strip(), source, plain, None)


def canonical(text: str) -> str:
    """Return a requirement in the grammar of ``--require``.

    Known beside that grammar: spaces, ``≤`` and ``≥``, ``at p95`` for ``@p95``, ``1 %``, and a yield, the part of the
    chips that reach an accuracy (or stay at or under a drop): a percentile of that accuracy.

    Args:
        text: As the user wrote it.

    Raises:
        OptionError: If it is a yield that no percentile can say.

    Examples:
        >>> canonical("accuracy_drop ≤ 1 % at p95")
        'accuracy_drop<=1%@p95'
        >>> canonical("yield >= 95 % at accuracy >= 0.85")
        'accuracy>=0.85@p05'
    """
    said = _ascii(text)
    word = re.match(r"[A-Za-z_]*", said)
    if word is not None and word[0] == "yield":
        return _yield(text, said)
    return re.sub(r"\s+", "", re.sub(r"\s+at\s+", "@", said))


def _ascii(text: str) -> str:
    said = text.strip()
    for sign, plain in _SIGNS.items():
        said = said.replace(sign, plain)
    return said


def _yield(text: str, said: str) -> str:
    shown = f"requirement {text[:80]!r}"
    match = _YIELD.fullmatch(said)
    if match is None:
        raise OptionError(f"{shown} is no yield; {_YIELD_FORM}")
    sign, number, percent, metric, bound, limit, per_cent = match.groups()
    if sign != ">=":
        raise OptionError(f"{shown}: {sign} cannot bound a yield: higher is better; {_YIELD_FORM}")
    try:
        share = Fraction(number) * (1 if percent else 100)
    except ValueError:
        raise OptionError(f"{shown}: the yield {number!r} is not a number; {_YIELD_FORM}") from None
    if not percent and share > 100:
        raise OptionError(
            f"{shown}: the yield {number!r} is above 1 and has no %; write {number} % or {float(share) / 1e4:g}"
        )
    if share == 100:
        at = "min" if metric == "accuracy" else "max"
    elif share.denominator == 1 and 50 <= share <= 99:
        at = f"p{100 - int(share):02d}" if metric == "accuracy" else f"p{int(share):02d}"
    else:
        raise OptionError(
            f"{shown}: the yield must be a whole percentage from 50 to 99, or 100 (every chip drawn), got "
            f"{float(share):g} %; {_YIELD_FORM}"
        )
    return f"{metric}{bound}{limit}{per_cent}@{at}"


def _safety_factor(text: str) -> SafetyFactor | None:
    said, shown = _ascii(text), f"requirement {text[:80]!r}"
    if not re.match(r"safety_factor\b", said):
        return None
    match = _FACTOR.fullmatch(said)
    if match is None:
        raise OptionError(f"{shown} is no safety factor; {_FACTOR_FORM}")
    sign, number, metric, bound, level, percent = match.groups()
    if sign != ">=":
        raise OptionError(f"{shown}: {sign} cannot bound safety_factor: higher is better; {_FACTOR_FORM}")
    limit = _number(number)
    if not 0 < limit <= 1000:
        raise OptionError(f"{shown}: the factor {number!r} must be above 0 and at most 1000; {_FACTOR_FORM}")
    if metric is None:
        return SafetyFactor(limit)
    right = ">=" if metric == "accuracy" else "<="
    if bound != right:
        raise OptionError(f"{shown}: {bound} cannot bound {metric} here; write {metric} {right} {level}")
    value = _number(level) / (100 if percent else 1)
    if not 0 <= value <= 1:
        raise OptionError(f"{shown}: {level} must be between 0 and 1; write 85 % as 0.85 or 85 %")
    return SafetyFactor(limit, value) if metric == "accuracy" else SafetyFactor(limit, None, value)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
