"""Which images a fault can change at all: the exact change of its channels against the slopes. No model runs here."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.screen.slopes import Slopes

Array = NDArray[Any]
Mask = NDArray[np.bool_]


class Strata(NamedTuple):
    """The images of a batch by what a trial does to them; what is in neither is unchanged, bit by bit.

    Attributes:
        screened: Images left to the screen: shape (samples,).
        suspects: Images that have to be evaluated.
    """

    screened: Mask
    suspects: Mask


class Screen:
    """Screens the trials of one batch at one boundary.

    Args:
        clean: Fault-free activations of the batch.
        boundary: Tensors of the boundary.
        slopes: Of the batch; what they are at other boundaries is not looked at.
        fall: Share of a lead, in (0, 1], that a first-order change may take before the image is suspect.
        reach: Largest L2 norm of a change, as a multiple of the norm of the whole fault-free activation, at which a
            first-order figure is trusted.
    """

    def __init__(
        self, clean: Mapping[str, Array], boundary: Sequence[str], slopes: Slopes, *, fall: float, reach: float
    ) -> None:
        self._clean = clean
        self._slopes = slopes if all(name in slopes.at for name in boundary) else None
        self._sure = np.logical_and.reduce([slopes.sure, *(slopes.finite[n] for n in boundary if n in slopes.at)])
        self._fall = fall
        with np.errstate(over="ignore"):  # then it is no limit
            self._limits = {name: reach**2 * _squares(np.asarray(clean[name], dtype=np.float32)) for name in boundary}

    def part(self, found: Mapping[str, Array], axis: int, places: Mapping[str, Sequence[int]] | None) -> Strata:
        """Return the strata of one trial.

        Args:
            found: The faulty tensors of the boundary, cut to the faulty channels where *places* are given.
            axis: The axis that counts channels.
            places: The channels of each tensor that *found* holds; None where it holds the whole tensors.
        """
        changed: Mask | None = None
        far: Mask | None = None
        lost: Array | None = None
        for name, faulty in found.items():
            squares: Array | None = None
            for one, golden, slope in self._pieces(name, faulty, axis, places):
                differs = _differs(one, golden)
                changed = differs if changed is None else changed | differs
                if self._slopes is None or slope is None or not differs.any():
                    continue
                with np.errstate(all="ignore"):
                    delta = np.subtract(one, golden, dtype=np.float32)
                    flat = delta.reshape(len(delta), -1)
                    product = np.stack([np.einsum("nk,nk->n", rival.reshape(flat.shape), flat) for rival in slope])
                    lost = product if lost is None else lost + product
                    squares = _squares(flat) if squares is None else squares + _squares(flat)
            if squares is not None:
                beyond = ~(squares <= self._limits[name])  # a NaN is beyond every limit
                far = beyond if far is None else far | beyond
        assert changed is not None
        if lost is None or far is None or self._slopes is None:
            return Strata(np.zeros_like(changed), changed)
        safe = (np.abs(lost) < self._fall).all(axis=0) & ~far & self._sure
        return Strata(changed & safe, changed & ~safe)

    def _pieces(
        self, name: str, faulty: Array, axis: int, places: Mapping[str, Sequence[int]] | None
    ) -> list[tuple[Array, Array, Sequence[Array] | None]]:
        clean = self._clean[name]
        slope = None if self._slopes is None else self._slopes.at[name]
        if places is None:
            return [(faulty, clean, slope)]
        found: list[tuple[Array, Array, Sequence[Array] | None]] = []
        for k, place in enumerate(places[name]):
            rate = None if slope is None else [_at(rival, axis, place) for rival in slope]
            found.append((_at(faulty, axis, k), _at(clean, axis, place), rate))
        return found


def _at(array: Array, axis: int, number: int) -> Array:
    return array[(slice(None),) * axis + (number,)]


def _squares(rows: Array) -> Array:
    flat = rows.reshape(len(rows), -1)
    with np.errstate(all="ignore"):
        return np.asarray(np.einsum("nk,nk->n", flat, flat))


def _differs(one: Array, other: Array) -> Mask:
    """Return for each sample whether any bit differs: 0.0 and -0.0 do."""
    size = one.dtype.itemsize
    if size in (1, 2, 4, 8) and one.dtype.kind != "b":
        one, other = one.view(f"u{size}"), other.view(f"u{size}")
    return np.asarray((one != other).reshape(len(one), -1).any(axis=1))
