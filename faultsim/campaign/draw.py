"""`Draws`: which bits flip in a trial, from its number alone. Nothing is scored here.

The number of a trial says its stratum and its place in that stratum's random order: ``trial = start of the stratum +
place``. So a row keeps its number and its faults however many trials are asked for, by whatever allocation.
"""

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from faultsim.campaign.permutation import Permutation
from faultsim.campaign.population import Faults, Ints, Population
from faultsim.errors import OptionError
from faultsim.rng import generator

MOST_FLIPS = 100_000
DRAW_VERSION = 1
"""Version of the drawing; raise it when the same seed would draw other faults."""


class Draws:
    """The faults of every trial of a campaign.

    With one flip a trial the trials of a stratum are its faults in random order, none twice. With more, each trial
    draws its *flips* different bits anew from the whole population: two trials could draw the same set.

    Args:
        population: What is drawn from.
        seed: The campaign's seed.
        flips: Flipped bits a trial, exactly.
        independent: Whether single flips are drawn anew as well, so that two trials can be the same.

    Raises:
        OptionError: If the flips are out of range, or more than one is asked for in strata.
    """

    def __init__(self, population: Population, seed: int, flips: int = 1, *, independent: bool = False) -> None:
        most = min(population.faults, MOST_FLIPS)
        if not 1 <= flips <= most:
            raise OptionError(f"--flips is {flips}, allowed are 1 to {most:,} on these sites")
        if flips > 1 and population.stratify != "none":
            raise OptionError(f"--flips {flips} goes with --stratify none: flips of one trial lie in several strata")
        self.population, self.seed, self.flips = population, seed, flips
        self._independent = independent

    @property
    def replacement(self) -> bool:
        """Whether two trials may be the same."""
        return self.flips > 1 or self._independent

    @cached_property
    def _orders(self) -> dict[int, Permutation]:
        return {}

    def faults(self, trials: Sequence[int] | Ints) -> Faults:
        """Return the flipped bits of *trials*, each array of shape (trials, flips).

        Raises:
            ValueError: If a trial is out of range.
        """
        numbers = np.asarray(trials, dtype=np.int64)
        if self.replacement:
            units = np.stack([self._several(int(trial)) for trial in numbers]) if numbers.size else numbers[:, None]
            return self.population.faults_of(0, units)
        if numbers.size and (numbers.min() < 0 or numbers.max() >= self.population.faults):
            raise ValueError(f"a trial is out of range: there are {self.population.faults} different ones")
        site, element, bit = (np.empty((numbers.size, 1), np.int64) for _ in range(3))
        strata = self.population.stratum_of(numbers)
        for stratum in np.unique(strata).tolist():
            here = strata == stratum
            units = self._order(stratum)(numbers[here] - self.population.starts[stratum])
            found = self.population.faults_of(stratum, units)
            site[here, 0], element[here, 0], bit[here, 0] = found
        return Faults(site, element, bit)

    def _order(self, stratum: int) -> Permutation:
        if stratum not in self._orders:
            part = self.population.strata[stratum]
            self._orders[stratum] = Permutation(part.population, self.seed, self.population.stratify, part.name)
        return self._orders[stratum]

    def _several(self, trial: int) -> Ints:
        """Return distinct units, sorted; each set as likely."""
        rng = generator(self.seed, trial, "campaign flips")
        size = self.population.faults
        if self.flips * 4 > size:
            return np.sort(rng.permutation(size)[: self.flips]).astype(np.int64)
        found = np.unique(rng.integers(0, size, size=self.flips))
        while found.size < self.flips:  # a set grown by uniform draws is uniform, whatever it held before
            found = np.unique(np.concatenate([found, rng.integers(0, size, size=self.flips - found.size)]))
        return found.astype(np.int64)
