"""The law of a conductance that is off by a lognormal factor.

References:
    .. [MATH] The table of budgets in the design notes, §4, row "lognormal": the radius of ``w (e^X - 1)``.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.formats.conductance import ConductanceMapping

_MOST = 8.0


@register
@dataclass(frozen=True, kw_only=True)
class Lognormal(AnalogLaw):
    """Each device holds ``g e^X``, X normal with mean 0 and standard deviation *sigma*, drawn once, [MATH]_.

    The median stays, the mean grows by ``e^{sigma²/2}``: weights swell a little on average. With g_min = 0
    the expected square of a pair's delta is `faultsim.budget.lognormal_radius` squared. A generic law: no
    published device is fitted by it here.

    Attributes:
        sigma: Standard deviation of the logarithm, dimensionless, 0 to 8: beyond, float64 loses the median beside the
            mean.

    Raises:
        OptionError: If sigma is negative, not finite, or above 8.
    """

    kind: ClassVar[str] = "lognormal"
    sigma: float

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rate("sigma", self.sigma, top=math.inf)
        if self.sigma > _MOST:
            raise OptionError(
                f"sigma is {self.sigma:g}, it must be at most {_MOST:g}: a factor e^{_MOST:g} either way; "
                "give the standard deviation of the natural logarithm, not of the conductance in percent"
            )

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Multiply, one normal number a device."""
        now = mapping.normals(rng, cells.now.shape)
        now *= np.float32(self.sigma)
        np.exp(now, out=now)
        now *= cells.now
        return cells._replace(programmed=now, now=now)

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Multiply by the first three moments of the factor."""
        first, second, third = (math.exp(k**2 * self.sigma**2 / 2) for k in (1, 2, 3))
        square = moments.mean**2 + moments.var
        cube = moments.mean**3 + 3 * moments.mean * moments.var + moments.third
        mean = moments.mean * first
        var = np.maximum(square * second - mean**2, 0.0)
        skew = cube * third - 3 * mean * var - mean**3
        heavy = np.divide(mean**2 + var, mean, out=np.zeros_like(mean), where=mean > 0)
        return moments._replace(programmed=heavy, mean=mean, var=var, third=skew)
