"""Searched worst cases of two models over one L2 ball: at the same ε, and where the accuracy is lost. No training here.

ε is in real units of the weights, over all tensors under test together. Part of any gain at one ε is growth of the
weights, so every radius stands beside the one over the model's own norm.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.setting import Setting
from faultsim.attacks.real import real_values
from faultsim.constraints import Global, LpL0
from faultsim.corruption import Stored
from faultsim.engine.objective import NetworkObjective
from faultsim.results.hardening import Compared, Radius
from faultsim.search import FixedPoint, OneStep, worst_case

START = 0.01
"""Where the search for a radius begins, a part of ‖w‖."""
DOUBLINGS = 10
"""Radii from `START` upwards, at most: the last is five times ‖w‖."""
OCTAVES = 20
"""Halvings of `START`, at most, downwards: less than 1e-8 of ‖w‖ is no change in float32."""
HALVINGS = 5
"""Of the factor of two that a radius is first known to: it is then known to 3 %, however small it is."""
MOST_SEARCHES = 4 * (HALVINGS + OCTAVES)
RELATIVE = "worst case at ε/‖w‖ ="
"""Before a relative radius, in the name of a figure."""


class Ladder:
    """A model's accuracy under the worst corruption found, by ε.

    Attributes:
        clean: Accuracy without a corruption, as the device stores the model.
        norm: ‖w‖₂ of the tensors under test, in real units.
    """

    def __init__(self, setting: Setting, *, samples: int, gradients: int) -> None:
        """Take a model on *samples* of its data; each search takes *gradients*."""
        self._objective = NetworkObjective(setting.model, setting.stored, setting.subset(samples))
        self._gradients = gradients
        self._seed = setting.options.seed
        stored = setting.stored
        self.norm = math.sqrt(sum(float(np.sum(real_values(one) ** 2)) for one in stored.values()))
        self._scale = np.concatenate(
            [np.broadcast_to(_per_unit(_step(one)), one.site.shape).reshape(-1) for one in stored.values()]
        )
        self._names = tuple(stored)
        self._known: dict[float, float] = {}
        self.clean = self._objective.score(None).accuracy

    def accuracy(self, eps: float) -> float:
        """Return the lowest accuracy found within *eps*; found, not proven."""
        if eps not in self._known:
            ball = Global(self._names, LpL0(2, eps, scale=self._scale))
            found = worst_case(
                self._objective.inside(ball),
                ball,
                methods=(OneStep(), FixedPoint()),
                budget_gradients=self._gradients,
                budget_forwards=4 * self._gradients,
                restarts=0,
                seed=self._seed,
            )
            self._known[eps] = min(found.least_accurate.score.accuracy, self.clean)
        return self._known[eps]

    def radius(self, accuracy: float, tell: Callable[[], None] = lambda: None) -> float:
        """Return the least ε found that brings the accuracy down to *accuracy*, to 3 %; NaN where none does.

        It goes up or down from 1 % of ‖w‖ by factors of two, and halves the last of them.
        """
        if not 0 < self.norm < math.inf:
            return math.nan

        def reached(eps: float) -> bool:
            tell()
            return self.accuracy(eps) <= accuracy

        low = high = START * self.norm
        if reached(high):
            for _ in range(OCTAVES):
                low = 0.5 * high
                if not reached(low):
                    break
                high = low
            else:
                return high
        else:
            for _ in range(DOUBLINGS - 1):
                low, high = high, 2 * high
                if reached(high):
                    break
            else:
                return math.nan
        for _ in range(HALVINGS):
            middle = 0.5 * (low + high)
            if reached(middle):
                high = middle
            else:
                low = middle
        return high


class Radii(NamedTuple):
    """Two models' radii, and their accuracies at the same ε.

    Attributes:
        radii: Where each loses five points, and half of its accuracy.
        compared: Accuracies at the ε at which the first model falls to half.
    """

    radii: tuple[Radius, ...]
    compared: tuple[Compared, ...]


def side_by_side(old: Ladder, new: Ladder, tell: Callable[[], None] = lambda: None) -> Radii:
    """Return the radii of two models, and what each does at the ε where *old* falls to half of its clean accuracy."""
    found = []
    for what, ratio, drop in (("loses 5 points", 1.0, 0.05), ("falls to half", 0.5, 0.0)):
        before = old.radius(ratio * old.clean - drop, tell)
        after = new.radius(ratio * new.clean - drop, tell)
        found.append(
            Radius(
                p=2.0,
                accuracy=max(ratio * old.clean - drop, 0.0),
                what=what,
                before=before,
                after=after,
                before_relative=before / old.norm if old.norm else None,
                after_relative=after / new.norm if new.norm else None,
            )
        )
    half = found[-1].before
    if half is None or not old.norm:
        return Radii(tuple(found), ())
    grown = half / old.norm * new.norm
    rows = (
        (
            f"worst case at ε = {half:.3g}",
            half,
            "the same L2 radius over all tensors; growth of the weights helps here",
        ),
        (f"{RELATIVE} {half / old.norm:.2%}", grown, "the same part of each model's own ‖w‖₂"),
    )
    compared = tuple(
        Compared(
            name=name,
            before=old.accuracy(half),
            after=new.accuracy(eps),
            higher_is_better=True,
            fraction=True,
            note=note,
        )
        for name, eps, note in rows
    )
    return Radii(tuple(found), compared)


def _step(stored: Stored) -> NDArray[np.float64]:
    """Real units of one unit of the stored numbers."""
    if stored.values.dtype.kind not in "iu" or stored.site.scale is None:
        return np.ones(())
    return np.asarray(stored.site.scale, dtype=np.float64)


def _per_unit(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return stored units in one real unit; 1 where a step is 0: such a weight is 0 whatever its code, and stays."""
    with np.errstate(divide="ignore", invalid="ignore"):
        found = 1.0 / np.abs(step)
    return np.where(np.isfinite(found) & (found > 0), found, 1.0)
