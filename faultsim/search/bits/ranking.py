"""Wide sets of candidates by the gradient, over tensors of any size in bounded memory. Nothing is scored here.

First order alone fails for large moves (in a reference network the third worst single flip is almost the last by
gradient), so a set holds the largest gains g·δ of all tensors and of each, the largest losses, the largest moves that
carry a gradient for each bit position, and some at random.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from itertools import chain, zip_longest
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.errors import OptionError
from faultsim.search.bits.choices import Choices, Floats, Ints, Pick, Table, Taken
from faultsim.search.bits.limits import Limits, Sites
from faultsim.search.objective import Gradient

_CELLS = 1 << 20
_HUGE = 1e300
State = frozenset[Pick]


@dataclass(frozen=True, kw_only=True)
class Width:
    """How many candidates of each kind there are; one candidate may be of several kinds.

    Attributes:
        best: Of all tensors, by the largest gain g·δ > 0.
        worst: Of all tensors, by the smallest: a large move against the gradient may well do damage.
        per_site: Of each tensor, by the largest gain.
        per_option: Of each option (bit) over all tensors, by |g·δ|.
        widest: Of each tensor, by |δ|, whatever the gradient (behind a dead unit it is zero).
        random: At random among all options that change something.
    """

    best: int = 40
    worst: int = 20
    per_site: int = 2
    per_option: int = 2
    widest: int = 1
    random: int = 4

    def __post_init__(self) -> None:
        for one in fields(self):
            if getattr(self, one.name) < 0:
                raise OptionError(
                    f"Width.{one.name} is {getattr(self, one.name)}, it must be at least 0; 0 leaves it out"
                )


class Gain(NamedTuple):
    """One candidate with its first-order gain."""

    gain: float
    pick: Pick


def taken_of(state: State) -> dict[str, dict[int, tuple[int, ...]]]:
    """Return the options taken by tensor and element, in ascending order."""
    found: dict[str, dict[int, tuple[int, ...]]] = {}
    for site, element, option in sorted(state):
        of_site = found.setdefault(site, {})
        of_site[element] = (*of_site.get(element, ()), option)
    return found


def candidates(
    sites: Sites,
    gradient: Gradient,
    state: State,
    *,
    limits: Limits,
    width: Width,
    rng: np.random.Generator,
    finite_only: bool = True,
) -> list[Pick]:
    """Return the candidates to join *state*, each once: the best of each tensor, then all kinds in turn.

    Args:
        sites: The tensors and their options.
        gradient: At *state*, per unit of the stored numbers.
        state: What has been taken.
        limits: What cannot be reached.
        width: How many of each kind.
        rng: For the random ones.
        finite_only: Whether options that turn a number into an infinity or a NaN are left out.
    """
    taken = taken_of(state)
    best: list[Gain] = []
    worst: list[Gain] = []
    per_site: list[list[Gain]] = []
    per_option: dict[int, list[Gain]] = {}
    widest: list[list[Gain]] = []
    drawn: list[tuple[float, Pick]] = []
    for name, choices in sites.choices.items():
        slope = np.asarray(gradient.grads[name], dtype=np.float64).reshape(-1)
        mine: list[Gain] = []
        far: list[Gain] = []
        for elements, gain, distance in _chunks(
            name, choices, slope, taken.get(name, {}), state, sites, limits, finite_only
        ):
            up = _top(name, elements, np.where(gain > 0, gain, -np.inf), max(width.best, width.per_site))
            mine = _merge(mine, up, max(width.best, width.per_site))
            worst = _merge(worst, _top(name, elements, np.where(gain < 0, -gain, -np.inf), width.worst), width.worst)
            far = _merge(far, _top(name, elements, distance, width.widest), width.widest)
            for option in range(choices.options if width.per_option else 0):
                column = np.abs(gain[:, [option]])
                found = _top(name, elements, np.where(np.isfinite(column), column, -np.inf), width.per_option, option)
                key = int(choices.low_bit[option]) if choices.one_bit else option
                per_option[key] = _merge(per_option.get(key, []), found, width.per_option)
            drawn = sorted([*drawn, *_random(name, elements, gain, width.random, rng)])[: width.random]
        per_site.append(mine[: width.per_site])
        widest.append(far)
        best = _merge(best, mine[: width.best], width.best)
    leaders = sorted((one[0] for one in per_site if one), key=_order)
    kinds = (
        [one.pick for one in best[::2]],
        [one.pick for one in best[1::2]],
        [one.pick for one in worst],
        [one.pick for one in sorted(chain.from_iterable(one[1:] for one in per_site), key=_order)],
        [one.pick for key in sorted(per_option, reverse=True) for one in per_option[key]],
        [one.pick for one in sorted(chain(*widest), key=_order)],
        [pick for _, pick in drawn],
    )
    mixed = (pick for row in zip_longest(*kinds) for pick in row if pick is not None)
    return list(dict.fromkeys([*(one.pick for one in leaders), *mixed]))


def survey(sites: Sites, *, limits: Limits, most: int, finite_only: bool = True) -> list[Pick]:
    """Return the widest move of every element of the smallest tensors, *most* at most together.

    Whole tensors only: the sign bits of a small layer are where the gradient misleads most.
    """
    found: list[Pick] = []
    for name, choices in sorted(sites.choices.items(), key=lambda item: (item[1].elements, item[0])):
        if len(found) + choices.elements > most:
            break
        elements = np.arange(choices.elements, dtype=np.int64)
        table = choices.table(elements, {})
        able = table.able & limits.mask(choices, elements, table.to_one, (), sites)
        if finite_only:
            able &= np.isfinite(table.values)
        far = np.where(able, _distance(table), -1.0)
        widest = far.argmax(axis=1)
        found += [Pick(name, e, int(widest[e])) for e in np.flatnonzero(able.any(axis=1)).tolist()]
    return found


def moves(sites: Sites, picks: Sequence[Pick], state: State, gradient: Gradient) -> dict[Pick, float]:
    """Return the first-order gain of each of some *picks* that are not in the state; of one that is, what it brings.

    The latter is the loss of value that taking it back would cause, to first order.
    """
    found: dict[Pick, float] = {}
    for pick in picks:
        choices = sites.choices[pick.site]
        at = np.array([pick.element], dtype=np.int64)
        slope = float(np.asarray(gradient.grads[pick.site]).reshape(-1)[pick.element])
        rest = taken_of(state - {pick}).get(pick.site, {})
        table = choices.table(at, rest)
        found[pick] = _finite(slope * (float(table.values[0, pick.option]) - float(table.held[0])))
    return found


def join(sites: Sites, state: State, pick: Pick) -> State:
    """Return the state with *pick*, without what was taken of the same cell."""
    cell_of = sites.choices[pick.site].cell_of
    other = {
        one for one in state if one[:2] == pick[:2] and cell_of[one.option] == cell_of[pick.option] and one != pick
    }
    return (state - other) | {pick}


def _chunks(
    name: str,
    choices: Choices,
    slope: Floats,
    taken: Taken,
    state: State,
    sites: Sites,
    limits: Limits,
    finite_only: bool,
) -> Iterator[tuple[Ints, Floats, Floats]]:
    """Yield elements, the gains of their options and how far they move, NaN where there is none."""
    rows = max(1, _CELLS // choices.options)
    for start in range(0, choices.elements, rows):
        elements = np.arange(start, min(start + rows, choices.elements), dtype=np.int64)
        table = choices.table(elements, taken)
        with np.errstate(invalid="ignore", over="ignore"):
            gain = slope[elements][:, None] * (table.values - table.held[:, None])
        able = table.able & limits.mask(choices, elements, table.to_one, state, sites)
        if finite_only:
            able &= np.isfinite(table.values)
        else:  # what turns into an infinity or a NaN does damage, whatever the gradient says
            gain = np.where(np.isfinite(table.values), gain, _HUGE)
        gain = np.clip(np.nan_to_num(gain, nan=0.0, posinf=_HUGE, neginf=-_HUGE), -_HUGE, _HUGE)
        yield elements, np.where(able, gain, np.nan), np.where(able, _distance(table), np.nan)


def _distance(table: Table) -> Floats:
    """Return |δ| of every option; what turns into an infinity or a NaN moves furthest."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.nan_to_num(np.abs(table.values - table.held[:, None]), nan=_HUGE, posinf=_HUGE)


def _top(name: str, elements: Ints, gain: Floats, count: int, option: int | None = None) -> list[Gain]:
    """Return the *count* largest finite gains, ties to the lowest element and option."""
    flat = np.where(np.isnan(gain), -np.inf, gain).reshape(-1)
    count = min(count, flat.size)
    if count <= 0:
        return []
    order = _largest(flat, count)
    width = gain.shape[1]
    found = []
    for at in order[np.isfinite(flat[order])].tolist():
        row, column = divmod(at, width)
        found.append(Gain(float(flat[at]), Pick(name, int(elements[row]), column if option is None else option)))
    return found


def _largest(flat: Floats, count: int) -> NDArray[np.intp]:
    if count < flat.size:
        edge = np.partition(flat, flat.size - count)[flat.size - count]
        above = np.flatnonzero(flat > edge)
        chosen = np.concatenate([above, np.flatnonzero(flat == edge)[: count - above.size]])
    else:
        chosen = np.arange(flat.size)
    return chosen[np.lexsort((chosen, -flat[chosen]))]


def _merge(one: list[Gain], other: list[Gain], count: int) -> list[Gain]:
    return sorted([*one, *other], key=_order)[:count]


def _order(one: Gain) -> tuple[float, Pick]:
    return -one.gain, one.pick


def _random(name: str, elements: Ints, gain: Floats, count: int, rng: np.random.Generator) -> list[tuple[float, Pick]]:
    """Return options with a random key each: the smallest keys over all chunks are a uniform sample."""
    if not count:
        return []
    keys = np.where(np.isnan(gain), np.inf, rng.random(gain.shape)).reshape(-1)
    order = _largest(-keys, min(count, keys.size))
    return [
        (float(keys[at]), Pick(name, int(elements[at // gain.shape[1]]), int(at % gain.shape[1])))
        for at in order.tolist()
        if np.isfinite(keys[at])
    ]


def _finite(value: float) -> float:
    return value if np.isfinite(value) else _HUGE
