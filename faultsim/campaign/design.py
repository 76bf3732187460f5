"""Which trials a campaign needs: one list, a pilot and its rest, or looks until a rule is met. Nothing is scored here.

Trials are numbered as `Draws` says. A design gives its trials in waves, in an order of which every beginning is close
to the allocation; what it asks for depends on the rows alone, never on who computed them, in which order or how often.
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from faultsim.campaign.draw import Draws
from faultsim.campaign.options import Shard
from faultsim.campaign.population import Ints
from faultsim.campaign.rows import complete_beginning
from faultsim.campaign.sequential import make_sequence, values_of
from faultsim.errors import OptionError
from faultsim.journal import Table
from faultsim.stats.allocation import neyman, pilot_std, proportional
from faultsim.stats.estimate import Estimate
from faultsim.stats.stopping import StopRule

FIRST_LOOK = 256
"""Trials before the first look at a stop rule; later looks are a twentieth apart, in steps of as many."""
FIRST_SCREENED_LOOK = 1024
"""The same of screened trials: between two looks they share what costs as much as many hundreds of them."""
LEAST = 1
"""Trials that each stratum gets at least."""
MOST_TRIALS = 100_000_000
"""Trials that a campaign has at most: their order is held in memory, some 40 bytes each."""


class Ended(NamedTuple):
    """What a design is left with.

    Attributes:
        trials: The trials that the figures rest on, in the order in which they were asked for.
        pilot: Trials of the pilot in each stratum.
        words: How the campaign ended; None where it has no stop rule.
        met: Whether the stop rule was met; None without one.
        interval: Of the rule's quantity, valid at any time; None without one.
        looks: Looks at the rule.
    """

    trials: Ints
    pilot: Ints
    words: str | None = None
    met: bool | None = None
    interval: Estimate | None = None
    looks: int = 0


class Design(Protocol):
    """Asks for trials."""

    most: int
    """Trials that it can ask for at most."""
    whole: int
    """Those of the whole campaign: more than `most` where this is a shard of it."""

    def shares(self, trials: Ints) -> bool:
        """Return whether any of *trials* is one that it may ask for."""

    def wave(self, rows: Table) -> Ints | None:
        """Return trials that are needed beside or among those in *rows* (sorted by trial); None: that is all."""

    def ended(self, rows: Table | None = None) -> Ended:
        """Return what was asked for until now.

        Args:
            rows: Where the campaign was interrupted, the rows that there are: what was asked for then ends before the
                first trial that is lacking, and an interval that holds at any time is that of all trials before.
        """


class Fixed:
    """A number of trials, split over strata by their size.

    Args:
        draws: Number the trials.
        trials: Trials of the whole campaign.
        shard: Which part of them; None: all.

    Raises:
        OptionError: If there are more trials than faults, fewer than strata, or none in the shard.
    """

    def __init__(self, draws: Draws, trials: int, shard: Shard | None = None) -> None:
        check_trials(draws, trials)
        sizes = [part.population for part in draws.population.strata]
        counts = [trials] if draws.replacement else proportional(sizes, trials, least=LEAST)
        order = interleaved(draws, counts, [0] * len(sizes))
        self.whole = len(order)
        self._order = order if shard is None else order[shard.number - 1 :: shard.of]
        if shard is not None and not len(self._order):
            raise OptionError(
                f"shard {shard.number}/{shard.of} holds none of {trials} trials; give fewer shards or more trials"
            )
        self._pilot = np.zeros(len(sizes), np.int64)
        self._asked = False
        self.most = len(self._order)

    def shares(self, trials: Ints) -> bool:
        """See `Design`."""
        return bool(np.isin(self._order, trials).any())

    def wave(self, rows: Table) -> Ints | None:
        """See `Design`."""
        asked, self._asked = self._asked, True
        return None if asked else self._order

    def ended(self, rows: Table | None = None) -> Ended:
        """See `Design`."""
        return Ended(_there(self._order, rows), self._pilot)


class TwoPhase:
    """A pilot by size, then the rest by size and spread (Neyman).

    The pilot's units are known and count as such; the rest of each stratum is estimated from the second phase alone, of
    which every unit is drawn after the allocation is known. So the estimate is unbiased.

    Args:
        draws: Number the trials.
        trials: Trials of both phases.
        pilot: Of those, trials of the pilot; a tenth, at least two a stratum, where None.

    Raises:
        OptionError: If the numbers do not fit the strata.
    """

    def __init__(self, draws: Draws, trials: int, pilot: int | None = None) -> None:
        check_trials(draws, trials)
        self._draws = draws
        self._sizes = [part.population for part in draws.population.strata]
        strata = len(self._sizes)
        asked = pilot if pilot is not None else min(max(trials // 10, 2 * strata), sum(self._sizes))
        least = sum(min(2, size) for size in self._sizes)
        if not least <= asked <= trials - strata:
            most = trials - strata
            pilots = f", a --pilot from {least:,} to {most:,}," if least <= most else ""
            raise OptionError(
                f"--allocation neyman takes a pilot of {asked:,} and at least {strata:,} trials after it, of "
                f"{trials:,}: give --trials from {max(asked, least) + strata:,}{pilots} or fewer strata"
            )
        self._counts = proportional(self._sizes, asked, least=2)
        self._orders = [interleaved(draws, self._counts, [0] * strata)]
        self._rest = trials - asked
        self._asked = False
        self.most = self.whole = trials

    def shares(self, trials: Ints) -> bool:
        """See `Design`; which trials the second phase takes is not known yet."""
        return len(trials) > 0

    def wave(self, rows: Table) -> Ints | None:
        """See `Design`."""
        if not self._asked:
            self._asked = True
            return self._orders[0]
        if len(self._orders) == 1:
            known = rows[np.isin(rows["trial"], self._orders[0])]
            hits = np.bincount(known["stratum"], weights=known["mismatch"] > 0, minlength=len(self._sizes))
            left = [size - count for size, count in zip(self._sizes, self._counts, strict=True)]
            open_ = [h for h, size in enumerate(left) if size > 0]
            spreads = [pilot_std(float(hits[h]), self._counts[h]) for h in open_]
            rest = min(self._rest, sum(left))
            found = neyman([left[h] for h in open_], spreads, rest, least=LEAST) if open_ else []
            counts = [0] * len(left)
            for h, count in zip(open_, found, strict=True):
                counts[h] = count
            self._orders.append(interleaved(self._draws, counts, self._counts))
            return self._orders[1]
        return None

    def ended(self, rows: Table | None = None) -> Ended:
        """See `Design`."""
        known = np.array(self._counts, dtype=np.int64)
        there, pilot = _there(np.concatenate(self._orders), rows), len(self._orders[0])
        left = np.flatnonzero(np.array(self._sizes) > known)
        if np.isin(left, self._draws.population.stratum_of(there[pilot:])).all():
            return Ended(there, known)
        return Ended(there[:pilot], np.zeros_like(known))  # the pilot, or its beginning, is a sample by size


class Sequential:
    """Trials until a rule is met, looked at after fixed numbers of them.

    The looks depend on nothing, and the rule is judged on a confidence sequence: batches, workers, peeking and
    interruptions change neither the trial at which it stops nor the level.

    Args:
        draws: Number the trials.
        rule: The rule.
        most: Trials at most.
        first: Trials before the first look.

    Raises:
        OptionError: If there are more trials than faults.
    """

    def __init__(self, draws: Draws, rule: StopRule, most: int, first: int = FIRST_LOOK) -> None:
        check_trials(draws, most)
        self._rule, self.most, self.whole, self._first = rule, most, most, first
        self._run = make_sequence(rule, None if draws.replacement else draws.population.faults)
        self._upto, self._looks, self._met = 0, 0, False

    def shares(self, trials: Ints) -> bool:
        """See `Design`."""
        return bool((trials < self.most).any())

    def wave(self, rows: Table) -> Ints | None:
        """See `Design`."""
        if self._upto:
            self._look(rows, self._upto)
            if self._met or self._upto >= self.most:
                return None
        before, self._upto = self._upto, min(next_look(self._upto, self._first), self.most)
        return np.arange(before, self._upto, dtype=np.int64)

    def ended(self, rows: Table | None = None) -> Ended:
        """See `Design`."""
        trials = _there(np.arange(self._upto, dtype=np.int64), rows)
        if rows is not None:  # no look: the rule does not stop a campaign between two of them
            self._take(rows, len(trials))
        interval = self._run.interval()
        words = self._rule.words(self._run.trials, interval, self._run.name, looked=rows is None or self._met)
        return Ended(trials, np.zeros(1, np.int64), words, self._met, interval, self._looks)

    def _look(self, rows: Table, upto: int) -> None:
        """Take in the trials before number *upto*, and judge the rule."""
        if self._take(rows, upto):
            self._looks += 1
            self._met = self._rule.met(self._run.interval())

    def _take(self, rows: Table, upto: int) -> bool:
        """Take in the trials before number *upto*; return whether any is new."""
        new = rows[(rows["trial"] >= self._run.trials) & (rows["trial"] < upto)]
        if len(new):
            self._run.update(values_of(self._rule, new))
        return len(new) > 0


def _there(trials: Ints, rows: Table | None) -> Ints:
    return trials if rows is None else complete_beginning(rows, trials)


def next_look(trials: int, first: int = FIRST_LOOK) -> int:
    """Return after how many trials the rule is looked at next."""
    return trials + max(first, trials // 20 // first * first)


def check_trials(draws: Draws, trials: int) -> None:
    """Refuse a number of trials that the population does not have, or that leaves a stratum without one.

    Raises:
        OptionError: If so, or if there are more than fit into memory.
    """
    faults, strata = draws.population.faults, len(draws.population.strata)
    if not draws.replacement and trials > faults:
        raise OptionError(
            f"--trials is {trials:,}, the population holds {faults:,} different faults; give at most as many "
            "(all of them: a census)"
        )
    if trials > MOST_TRIALS:
        raise OptionError(
            f"--trials is {trials:,}, asked for or planned for --margin, and a campaign has at most {MOST_TRIALS:,}; "
            "give fewer, or a wider --margin"
        )
    if trials < strata:
        raise OptionError(
            f"--trials is {trials:,} for {strata:,} strata, each of which needs one; give more trials, or coarser "
            "strata (--stratify bit, site or none)"
        )


def interleaved(draws: Draws, counts: Sequence[int], firsts: Sequence[int]) -> Ints:
    """Return the trials of all strata in an order of which each beginning has about the same shares.

    Args:
        draws: Number the trials.
        counts: Trials of each stratum.
        firsts: Place of the first one in each stratum's order.
    """
    strata = np.repeat(np.arange(len(counts)), counts)
    within = np.concatenate([np.arange(count) for count in counts]) if len(counts) else np.empty(0, np.int64)
    when = (within + 0.5) / np.array(counts, dtype=np.float64)[strata] if strata.size else within.astype(float)
    order = np.lexsort((strata, when, within > 0))  # one of each stratum first
    if draws.replacement:
        return within[order].astype(np.int64)
    starts = draws.population.starts[:-1] + np.array(firsts, dtype=np.int64)
    return (starts[strata] + within)[order].astype(np.int64)
