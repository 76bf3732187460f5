"""Integer codes in real units: their step, and the code that stands for 0. No set and no search lives here."""

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Stored


def real_unit(stored: Stored) -> NDArray[np.float64]:
    """Return how many stored units are 1 in real units: 1 over the step for integer codes, else 1; broadcastable."""
    step = stored.site.scale
    if step is None or stored.values.dtype.kind not in "iu":
        return np.ones(())
    steps = np.asarray(step, dtype=np.float64)
    return np.divide(1.0, steps, out=np.zeros_like(steps), where=steps > 0)


def real_values(stored: Stored) -> NDArray[np.float64]:
    """Return the numbers in real units."""
    values = stored.values.astype(np.float64)
    if stored.values.dtype.kind not in "iu":
        return values
    step = np.ones(()) if stored.site.scale is None else np.asarray(stored.site.scale, dtype=np.float64)
    return (values - zero_code(stored)) * step


def zero_code(stored: Stored) -> NDArray[np.float64]:
    """Return what stands for 0 in the stored units, broadcastable: the zero point of codes, else 0."""
    zero = stored.site.zero
    return np.zeros(()) if zero is None or stored.values.dtype.kind not in "iu" else zero
