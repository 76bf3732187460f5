"""The search for a loss's strength on validation scores, which rise and then fall with it, and what it turns.

No training lives here.
"""

from collections.abc import Callable
from typing import NamedTuple

from faultsim.errors import OptionError
from faultsim.harden.losses import CorruptionResistant, Loss
from faultsim.harden.noise import NoiseAware, RandomBitErrors
from faultsim.harden.together import Together

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


def parts(loss: Loss) -> tuple[Loss, ...]:
    """Return the losses that are trained: of several each at its strength, whatever factor brought it there."""
    return tuple(loss.scaled()) if isinstance(loss, Together) else (loss,)


def has_knob(loss: Loss) -> bool:
    """Return whether another strength is another loss: `negative_bias` has none, nor has `plain`."""
    own = parts(loss)
    return any(parts(loss.with_strength(loss.strength * part)) != own for part in (FACTOR, 1.0 / FACTOR))


def splits(loss: Loss) -> bool:
    """Return whether clean weights would see one half of a split batch and corrupted ones the other.

    Corrupted losses that weigh one together leave nothing for the clean pass, so that its half is thrown away; l_star,
    sam and losses of the gradient need it in any case.
    """
    own = parts(loss)
    weights = [one.alpha for one in own if isinstance(one, CorruptionResistant | NoiseAware | RandomBitErrors)]
    needed = any(isinstance(one, CorruptionResistant) or one.needs_graph for one in own)
    return bool(weights) and (needed or sum(weights) < 1)


def search_strength(
    start: float,
    score: Callable[[float], float],
    *,
    most: int,
    factor: float = FACTOR,
    allowed: Callable[[float], bool] | None = None,
) -> list[Tried]:
    """Climb from *start* in steps of *factor* to the strength of the best score; the scores are taken as unimodal.

    The first step goes up; where that is worse, it goes down. A worse score ends the climb: behind it all are.

    Args:
        start: First strength, above 0.
        score: Its validation score; more is better.
        most: Most strengths that are tried, at least 1.
        factor: Above 1.
        allowed: Says of each further strength whether it may be tried; the climb ends before one that may not.

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
            if allowed is not None and not allowed(strength):
                break
            tried.append(Tried(strength, score(strength)))
            if tried[-1].score <= best:
                break
            best, climbed = tried[-1].score, True
        if climbed:
            break
    return tried
