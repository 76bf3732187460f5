"""``--fail-if accuracy_drop>0.01``: limits on how much worse a second result may be, parsed and judged."""

import difflib
import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from faultsim.errors import OptionError
from faultsim.results.comparison import Compared, Gate

_GRAMMAR = re.compile(r"\s*([a-z0-9_]+)\s*>\s*([^\s%]+)\s*(%?)\s*")
GATES = {
    "accuracy_drop": "accuracy",
    "p05_drop": "p05",
    "worst_case_drop": "worst_case",
    "clean_drop": "clean",
    "loss_rise": "loss",
    "worst_case_loss_rise": "worst_case_loss",
    "clean_loss_rise": "clean_loss",
    "mismatch_rise": "mismatch",
    "critical_rise": "critical",
    "score_drop": "score",
    "clean_score_drop": "clean_score",
}
"""What may be limited, with the figure that it is about; a drop of a score that is better low is a rise."""
_FRACTIONS = ("accuracy", "p05", "worst_case", "clean", "mismatch", "critical")


class Limit(NamedTuple):
    """One gate, parsed: `name` is a key of the figures, `most` by how much the second may be worse."""

    text: str
    name: str
    most: float


def parse_gate(text: str) -> Limit:
    """Return the limit that *text* states: ``accuracy_drop>0.01`` or ``accuracy_drop>1%``.

    Raises:
        OptionError: If the text is none.

    Examples:
        >>> parse_gate("accuracy_drop > 1%")[1:]
        ('accuracy', 0.01)
    """
    shown = f"--fail-if {text[:80]!r}"
    match = _GRAMMAR.fullmatch(text)
    if match is None:
        raise OptionError(f"{shown} is not <figure>_drop><limit>; write for example accuracy_drop>0.01")
    name, number, percent = match.groups()
    if name not in GATES:
        near = difflib.get_close_matches(name, GATES, n=1)
        hint = f"did you mean {near[0]!r}? " if near else ""
        raise OptionError(f"{shown}: unknown figure {name[:40]!r}, {hint}allowed: {', '.join(GATES)}")
    try:
        most = float(number.replace("_", "x")) / (100 if percent else 1)
    except ValueError:
        raise OptionError(f"{shown}: limit {number[:40]!r} is not a number; write for example 0.01 or 1%") from None
    if percent and GATES[name] not in _FRACTIONS:
        raise OptionError(f"{shown}: limit {number[:40]}% is a percentage, but this figure is no fraction")
    if not math.isfinite(most) or most < 0 or (GATES[name] in _FRACTIONS and most > 1):
        raise OptionError(
            f"{shown}: limit {number[:40]!r} is out of range; write how much worse is allowed, such as 1%"
        )
    return Limit(text.strip(), GATES[name], most)


def regression_limit(main: str, tolerance: str = "0") -> Limit:
    """Return the limit of ``--fail-on-regression``: the main figure may be worse by the tolerance, less than a claim.

    Args:
        main: `Comparison.main`.
        tolerance: A number, or a percentage of a figure that is a fraction.

    Raises:
        OptionError: If the tolerance is no such number.

    Examples:
        >>> regression_limit("accuracy", "0.5%")
        Limit(text='accuracy_drop>0.5%', name='accuracy', most=0.005)
    """
    gate = next(name for name, figure in GATES.items() if figure == main)
    try:
        return parse_gate(f"{gate}>{tolerance}")
    except OptionError:
        kind = "a fraction such as 0.005 or 0.5%" if main in _FRACTIONS else f"a number in the unit of the {main}"
        raise OptionError(f"--tolerance {tolerance[:40]!r} is not {kind}, from 0") from None


def judge_gates(limits: Iterable[Limit], figures: Iterable[Compared]) -> tuple[Gate, ...]:
    """Return each limit judged.

    A gate fails where the second is worse by more than the limit and, if the figure is tested, a difference may be
    claimed: noise alone fails no build. It is inconclusive where its interval leaves the other answer possible.

    Raises:
        OptionError: If the results do not hold a figure.
    """
    known = {one.name: one for one in figures}
    return tuple(_judge(limit, known) for limit in limits)


def _judge(limit: Limit, known: dict[str, Compared]) -> Gate:
    one = known.get(limit.name)
    if one is None:
        raise OptionError(
            f"{limit.text} cannot be judged: the results do not both hold a finite value of it for every chip; "
            f"there are: {', '.join(known)}"
        )
    worse = one.worse_by
    if worse is None:
        failed = one.second is None and one.first is not None
        said = f"{one.words}: {'the second is not finite' if one.second is None else 'the first is not finite'}"
        return _gate(limit, None, failed=failed, inconclusive=False, said=said)
    worse = round(worse, 12)  # 0.93 - 0.92 is above 0.01
    beyond = worse > limit.most
    failed = beyond and (one.claimed or one.test is None)
    least, most = _ends(one)
    inconclusive = least is not None and most is not None and least <= limit.most < most
    allowed = f"{_shown(one, limit.most)} worse is allowed"
    if worse <= 0:
        said = f"{one.words}: {f'better by {_shown(one, -worse)}' if worse else 'the same'}; {allowed}"
    else:
        doubt = ", but the test shows no difference" if beyond and not failed else ""
        than = "more than" if beyond else "within"
        said = f"{one.words}: worse by {_shown(one, worse)}, {than} the {_shown(one, limit.most)} allowed{doubt}"
    return _gate(limit, worse, failed=failed, inconclusive=inconclusive, said=said)


def _ends(one: Compared) -> tuple[float | None, float | None]:
    """Return the interval of how much worse the second is."""
    if one.low is None or one.high is None:
        return None, None
    return (-one.high, -one.low) if one.higher_is_better else (one.low, one.high)


def _gate(limit: Limit, value: float | None, *, failed: bool, inconclusive: bool, said: str) -> Gate:
    return Gate(
        text=limit.text,
        name=limit.name,
        limit=limit.most,
        value=value,
        failed=failed,
        inconclusive=inconclusive,
        explanation=said,
    )


def _shown(one: Compared, value: float) -> str:
    return f"{100 * value:.2f} pt" if one.fraction else f"{value:.4g}"
