"""`Screen`: a first look at few samples, so that hopeless candidates cost little. No search lives here."""

import math
from dataclasses import dataclass

from faultsim.errors import OptionError
from faultsim.search.bits.aims import Aim


@dataclass(frozen=True, kw_only=True)
class Screen:
    """Candidates are judged on few samples first, and only the best of them on all.

    Nothing is reported from the first look: it chooses what is truly scored. Those of the largest value and of the
    lowest accuracy are kept in turn.

    Attributes:
        aim: The same aim on some of the samples, a random part of them or the first ones where their order is random.
        share: How many of the samples these are, above 0 and below 1: what a look costs in forward passes.
        keep: How many of the candidates that stand for one choice are scored on all samples, at least 1.

    Raises:
        OptionError: If a number is out of range.
    """

    aim: Aim
    share: float
    keep: int = 12

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise OptionError(
                f"Screen.share is {self.share:g}, it must lie between 0 and 1; give a part of the samples"
            )
        if self.keep < 1:
            raise OptionError(f"Screen.keep is {self.keep}, it must be at least 1; raise it")

    def cost(self, candidates: int) -> int:
        """Return what a look at so many candidates costs, in forward passes over all samples, rounded up."""
        return math.ceil(candidates * self.share * self.aim.passes)
