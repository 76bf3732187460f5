"""When a campaign may stop: the rule of ``--until``, its grammar and its words. No interval is computed here.

A rule is judged on a confidence sequence (`faultsim.stats.sequences`), never on an interval for a fixed number of
trials: stopping when such an interval happens to be narrow breaks its level.
"""

import math
import re
from dataclasses import dataclass

from faultsim.errors import OptionError
from faultsim.stats.estimate import Estimate
from faultsim.stats.sequences import Sequence

QUANTITIES = ("critical", "sdc", "accuracy")
GRAMMAR = (
    "[critical|sdc|accuracy] halfwidth<=WIDTH@LEVEL or relative<=SHARE@LEVEL, "
    'such as "halfwidth<=0.005@0.99" or "accuracy relative<=0.1@0.95"'
)
_MEASURES = {"halfwidth": "half-width", "relative": "half-width over the estimate"}
_RULE = re.compile(
    r"\s*(?:(?P<quantity>[a-z]+)\s+)?(?P<measure>[a-z]+)\s*<=\s*(?P<limit>[^@\s]+)\s*@\s*(?P<level>\S+)\s*"
)
_NUMBER = re.compile(r"(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_LONGEST = 200


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """Stop once the interval of a quantity is narrow enough.

    Attributes:
        quantity: ``critical`` (share of trials that are critical), ``sdc`` (share of images whose answer changes) or
            ``accuracy`` (mean over chips).
        measure: ``halfwidth`` (of the interval, in the unit of the quantity) or ``relative`` (half-width over the
            estimate).
        limit: Largest measure at which the campaign stops, above 0; a half-width is below 0.5.
        level: Two-sided confidence of the interval, strictly between 0 and 1.
    """

    quantity: str = "critical"
    measure: str = "halfwidth"
    limit: float
    level: float

    def __post_init__(self) -> None:
        if self.quantity not in QUANTITIES:
            raise OptionError(f"the stop rule's quantity {self.quantity!r} is unknown: write {GRAMMAR}")
        if self.measure not in _MEASURES:
            raise OptionError(f"the stop rule's measure {self.measure!r} is unknown: write {GRAMMAR}")
        largest = 0.5 if self.measure == "halfwidth" else math.inf
        if not 0 < self.limit < largest:
            allowed = "above 0 and below 0.5" if self.measure == "halfwidth" else "finite and above 0"
            raise OptionError(f"the stop rule's limit {self.limit:g} is out of range: a {self.measure} is {allowed}")
        if not 0 < self.level < 1:
            raise OptionError(
                f"the stop rule's level {self.level:g} is out of range: "
                "give a number strictly between 0 and 1, 0.99 for 99 %"
            )

    def __str__(self) -> str:
        return f"{self.quantity} {self.measure}<={self.limit:g}@{self.level:g}"

    def measured(self, interval: Estimate) -> float:
        """Return the rule's measure of *interval*; infinite for a relative one around an estimate of 0."""
        half = (interval.high - interval.low) / 2
        if self.measure == "halfwidth":
            return half
        return half / abs(interval.best) if interval.best != 0 else math.inf

    def met(self, interval: Estimate) -> bool:
        """Return whether *interval* is narrow enough; it must hold at any time, at the rule's level."""
        return self.measured(interval) <= self.limit

    def words(self, trials: int, interval: Estimate, method: str, *, looked: bool = True) -> str:
        """Return how the campaign ended, for its result: stopped by the rule, or not yet narrow enough.

        Args:
            trials: Trials evaluated.
            interval: The interval after these, valid at any time, at the rule's level.
            method: The name of the sequence that it came from, `Sequence.name`.
            looked: Whether the rule was looked at after these; where not, it did not stop the campaign.

        Examples:
            >>> rule = parse_until("halfwidth<=0.005@0.99")
            >>> rule.words(431, Estimate(0.0, 0.001, 0.0098), "bets")
            'stopped by rule after 431 trials: half-width 0.0049 <= 0.005 at 99 %, valid at any time (bets)'
        """
        met = self.met(interval)
        stopped = "stopped by rule" if looked else "interrupted before the next look"
        ended = stopped if met else "stop rule not met"
        sign = "<=" if met else ">"
        measured = self.measured(interval)
        shown = _shown(measured, self.limit, met=met)
        return (
            f"{ended} after {trials} trial{'' if trials == 1 else 's'}: "
            f"{_MEASURES[self.measure]} {shown} {sign} {self.limit:g} at {100 * self.level:g} %, "
            f"valid at any time ({method})"
        )

    def first_met(self, run: Sequence) -> int | None:
        """Return after how many trials of *run* the rule was met for the first time, or None.

        It depends on the values alone, not on how often or when anybody looked: a campaign cut into batches,
        workers or sessions stops at the same trial. A half-width only shrinks, so the trial is searched by halving;
        a relative one can grow again, so every trial is looked at.

        Raises:
            ValueError: If the sequence was made at another level than the rule's.
        """
        if run.level != self.level:
            raise ValueError(
                f"the sequence holds at level {run.level:g} and the rule asks {self.level:g}: give one level"
            )
        if self.measure == "relative":
            return next((n for n in range(1, run.trials + 1) if self.met(run.interval(n))), None)
        if run.trials == 0 or not self.met(run.interval()):
            return None
        below, at = 0, run.trials
        while at - below > 1:
            middle = (below + at) // 2
            below, at = (below, middle) if self.met(run.interval(middle)) else (middle, at)
        return at


def parse_until(text: str) -> StopRule:
    """Return the stop rule written in *text*.

    Args:
        text: ``[QUANTITY] MEASURE<=LIMIT@LEVEL``; the quantity defaults to ``critical``, spaces around signs are free.

    Raises:
        OptionError: If the text does not follow the grammar, or a number is out of its range.

    Examples:
        >>> parse_until("halfwidth<=0.005@0.99")
        StopRule(quantity='critical', measure='halfwidth', limit=0.005, level=0.99)
        >>> str(parse_until("sdc relative <= 1e-1 @ 0.95"))
        'sdc relative<=0.1@0.95'
    """
    parts = _RULE.fullmatch(text) if len(text) <= _LONGEST else None
    if parts is None:
        raise OptionError(f"the stop rule {text[:60]!r} is not understood: write {GRAMMAR}")
    numbers = {}
    for name in ("limit", "level"):
        if not _NUMBER.fullmatch(parts[name]):
            raise OptionError(f"the stop rule's {name} {parts[name][:60]!r} is not a plain number: write {GRAMMAR}")
        numbers[name] = float(parts[name])
    return StopRule(
        quantity=parts["quantity"] or "critical",
        measure=parts["measure"],
        limit=numbers["limit"],
        level=numbers["level"],
    )


def _shown(measured: float, limit: float, *, met: bool) -> str:
    """Return the measure in as few digits, from two, as leave it on its side of the limit."""
    for digits in range(2, 17):
        shown = f"{measured:.{digits}g}"
        if (float(shown) <= limit) == met:
            return shown
    return repr(measured)
