"""Laws of countable events: how many a chip expects, and chips given at least one. The laws are in `faultsim.faults`.

References:
    .. [MATH] The table of budgets in the design notes, §4, row "FIT / SEU rate": for λ much below 1 take one event and
       condition on it; SDC FIT = FIT × P(SDC | event).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, Protocol, cast, runtime_checkable

from faultsim import rng
from faultsim.corruption import Stored
from faultsim.device.laws import Law
from faultsim.faults.base import Fault

RARE = 0.1
"""Expected events per chip below which chips are drawn given that there is at least one."""


@runtime_checkable
class Events(Protocol):
    """A law of countable events, such as `UpsetRate`."""

    given_event: bool

    def expected_events(self, stored: Sequence[Stored]) -> float:
        """Return the expected number of events over the exposure in all of *stored* together."""


def as_events(law: Law) -> Events | None:
    """Return the law of a mechanism as one of countable events, None where it is another."""
    return cast(Events, law.fault) if isinstance(law.fault, Events) else None


def expected_events(laws: Sequence[Law], stored: Sequence[Stored]) -> float | None:
    """Return the events that a chip expects, None where anything but events can go wrong."""
    found = [as_events(law) for law in laws]
    if not found or any(one is None for one in found):
        return None
    return math.fsum(one.expected_events(stored) for one in found if one is not None)


def given_an_event(laws: list[Law], stored: list[Stored], *, beside: float = 0.0) -> list[Law]:
    """Condition events on at least one where the chip expects less than `RARE`.

    With several such laws each is conditioned alone; `pick` chooses one of them for a chip.

    Args:
        laws: The laws.
        stored: What they act on.
        beside: Events that the chip expects elsewhere, in its activations; infinite where it has faults of other kinds.
    """
    events = expected_events(laws, stored)
    if events is None or not 0 < events + beside < RARE:
        return laws
    return [Law(law.id, _conditioned(law, stored)) for law in laws]


def is_conditional(laws: Sequence[Law]) -> bool:
    """Whether the laws were conditioned on an event."""
    return any(one.given_event for one in map(as_events, laws) if one is not None)


def pick(laws: list[Law], stored: list[Stored], seed: int, trial: int, *, beside: float = 0.0) -> list[Law]:
    """Return the one of several conditioned laws whose event this chip has: two at once are rarer still, and left out.

    Laws that are not conditioned stay together. With events *beside*, in the activations, it may be none: `struck`.
    """
    given = sum(one.given_event for one in map(as_events, laws) if one is not None)
    if given < 2 and not (given and beside):
        return laws
    shares = [0.0 if one is None else one.expected_events(stored) for one in map(as_events, laws)]
    at = float(rng.generator(seed, trial, "mechanism").random()) * (sum(shares) + beside)
    for law, share in zip(laws, shares, strict=True):
        at -= share
        if at < 0:
            return [law]
    return [] if beside else [laws[-1]]


Strike = Literal["given", "free", "none"]
"""How many upsets a mechanism has on a chip: at least one, as many as it happens, or none."""


def struck(
    rates: Mapping[str, float], memory: float | None, seed: int, trial: int, *, known: bool = True
) -> dict[str, Strike]:
    """Return how each mechanism that upsets activations strikes a chip.

    Where countable events are all that goes wrong, and rare, a chip has one: in memory, as `pick` has it, or here.
    From `RARE` on a chip may have several, and P(SDC | event) would be no longer that of one: as many as it happens.

    Args:
        rates: Upsets that each expects.
        memory: Events that the memory expects; 0 without a law of it, None where there are faults of other kinds.
        seed: The campaign's seed.
        trial: Number of the chip.
        known: Whether the rates are those of the whole memory; else only their ratios count, and a chip has one.
    """
    if not rates:
        return {}
    if memory is None or (known and memory + sum(rates.values()) >= RARE):
        return dict.fromkeys(rates, "free")
    at = float(rng.generator(seed, trial, "mechanism").random()) * (memory + sum(rates.values())) - memory
    found: dict[str, Strike] = dict.fromkeys(rates, "none")
    if at < 0:
        return found
    for name, rate in rates.items():
        at -= rate
        if at < 0:
            return {**found, name: "given"}
    return {**found, list(rates)[-1]: "given"}


def _conditioned(law: Law, stored: list[Stored]) -> Fault:
    events = as_events(law)
    happens = events is not None and events.expected_events(stored) > 0
    return cast(Fault, replace(cast(Any, law.fault), given_event=happens))
