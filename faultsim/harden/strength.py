"""The search for a loss's strength on validation scores, which rise and then fall with it. No training lives here."""

from collections.abc import Callable
from typing import NamedTuple

from faultsim.errors import OptionError

FACTOR = 2.0
"""Between neighbouring strengths."""


class Tried(NamedTuple):
    """One strength and its validation score."""

    strength: float
    score: float


def weakest(tried: list[Tried], slack: float) -> Tried:
    """Return the weakest strength whose score is within *slack* of the best: the clean figure does better with less.

    Args:
        tried: At least one.
        slack: What the validation samples cannot tell apart, at least 0.
    """
    best = max(one.score for one in tried)
    return min((one for one in tried if one.score >= best - slack), key=lambda one: one.strength)


def search_strength(start: float, score: Callable[[float], float], *, most: int, factor: float = FACTOR) -> list[Tried]:
    """Climb from *start* in steps of *factor* to the strength of the best score; the scores are taken as unimodal.

    The first step goes up; where that is worse, it goes down. A worse score ends the climb: behind it all are.

    Args:
        start: First strength, above 0.
        score: Its validation score; more is better.
        most: Most strengths that are tried, at least 1.
        factor: Above 1.

    Returns:
        Every strength tried, in order.

    Raises:
        OptionError: If an argument is out of its range.

    Examples:
        >>> tried = search_strength(1.0, lambda s: -abs(s - 4.0), most=9)
        >>> [one.strength for one in tried], max(tried, key=lambda one: one.score).strength
        ([1.0, 2.0, 4.0, 8.0], 4.0)
    """
    if not start > 0 or not factor > 1 or most < 1:
        raise OptionError(f"strength {start:g}, factor {factor:g}, at most {most}: give above 0, above 1, at least 1")
    tried = [Tried(start, score(start))]
    for step in (factor, 1.0 / factor):
        climbed = False
        strength = start
        best = tried[0].score
        while len(tried) < most:
            strength *= step
            tried.append(Tried(strength, score(strength)))
            if tried[-1].score <= best:
                break
            best, climbed = tried[-1].score, True
        if climbed:
            break
    return tried
