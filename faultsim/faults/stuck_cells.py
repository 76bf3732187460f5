"""The law of analog cells that are stuck at one end of their range.

References:
    .. [Chen2015] C.-Y. Chen et al. RRAM defect modeling and failure analysis based on March test and a novel
       squeeze-search scheme. IEEE Trans. Computers 64:180-190, 2015: cells stuck at low or high resistance.
    .. [MemTorch] MemTorch, ``DeviceFaults``: independent shares of devices at the low and the high resistance.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget
from faultsim.budget.cells import check_stuck, stuck_devices, stuck_pair
from faultsim.corruption import Stored
from faultsim.faults.analog import AnalogLaw, Cells, Moments, conductances
from faultsim.faults.base import register
from faultsim.faults.positions import distinct
from faultsim.formats import ConductancePair
from faultsim.formats.conductance import ConductanceMapping


@register
@dataclass(frozen=True, kw_only=True)
class StuckCells(AnalogLaw):
    """Each device by itself is stuck: at the low resistance (g_max) or at the high one (g_min), [MemTorch]_.

    Whatever is programmed, and for the life of the die: the law goes after programming and drift, and its
    draw is the same at every time. An idle device stuck at g_min changes nothing. A stuck device is still
    read with the noise of laws behind this one.

    Attributes:
        p_lrs: Probability that a device is stuck at the low resistance, 0 to 1.
        p_hrs: Probability that it is stuck at the high one; together at most 1.

    Raises:
        OptionError: If a probability is out of range.
    """

    kind: ClassVar[str] = "stuck_cells"
    sparse: ClassVar[bool] = True
    p_lrs: float
    p_hrs: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_stuck(self.p_lrs, self.p_hrs)

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Draw the number of stuck devices, their places and their states."""
        both = self.p_lrs + self.p_hrs
        places = distinct(rng, cells.now.size, int(rng.binomial(cells.now.size, both)))
        low_resistance = rng.random(places.size) * both < self.p_lrs
        level = np.full(cells.now.shape, np.nan, np.float32)
        level.reshape(-1)[places] = np.where(low_resistance, mapping.g_max_uS, mapping.g_min_uS)
        mapping.share(level)
        stuck = ~np.isnan(level)
        now, programmed = (np.where(stuck, level, g) for g in (cells.now, cells.programmed))
        return cells._replace(programmed=programmed, now=now)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Mix with the two stuck states."""
        states = ((mapping.g_max_uS, self.p_lrs), (mapping.g_min_uS, self.p_hrs))
        whole = 1 - self.p_lrs - self.p_hrs
        mean = whole * moments.mean
        square: NDArray[np.float64] = whole * (moments.mean**2 + moments.var)
        programmed = whole * moments.programmed
        for level, share in states:
            mean = mean + share * level
            square = square + share * level**2
            programmed = programmed + share * level
        return moments._replace(programmed=programmed, mean=mean, var=np.maximum(square - mean**2, 0.0))

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound by the states of both devices of a pair, by single failures of another mapping's devices."""
        mapping = conductances(stored)
        if isinstance(mapping, ConductancePair):
            return stuck_pair(
                mechanism=self.kind,
                scope=stored.site.name,
                pair=mapping,
                values=stored.values,
                p_lrs=self.p_lrs,
                p_hrs=self.p_hrs,
                p=p,
                confidence=confidence,
            )
        return stuck_devices(
            mechanism=self.kind,
            scope=stored.site.name,
            mapping=mapping,
            values=stored.values,
            p_lrs=self.p_lrs,
            p_hrs=self.p_hrs,
            p=p,
            confidence=confidence,
        )
