"""`Finder`: where the runtime's own graph holds the activations of the deployed one. Nothing is computed here.

Names do not tell: a fused node has one name for two activations, and a copy in another layout takes the old name.
Values do, on two sets of numbers: the clean ones, and wild ones that take activations where clean numbers do not.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.flow import Flow
from faultsim.engine.sweep.form import Form

Array = NDArray[Any]
_BLOCKS = (8, 16)
_NEAR = (0.05, 0.25)
"""Largest difference, over the spread of the values, between the deployed graph and what the runtime makes of it.

The second counts where nothing is as near as the first: codes that a layer rounds otherwise by a step add up in a deep
network. A wrong tensor is found out by the proof of each way.
"""


class Finder:
    """Finds activations by their values.

    Args:
        flow: The runtime's graph.
        clean: Its activations on a few samples.
        wild: The same under wild numbers.
        names: Those that count samples along axis 0, in an order in which they are computed.
    """

    def __init__(self, flow: Flow, clean: Mapping[str, Array], wild: Mapping[str, Array], names: Sequence[str]) -> None:
        self._flow = flow
        self._clean = clean
        self._wild = wild
        self._by_size: dict[int, list[str]] = {}
        for name in names:
            if name in wild:
                self._by_size.setdefault(clean[name].size, []).append(name)

    def find(self, name: str, clean: Array, wild: Array | None) -> Form | None:
        """Return the form of an activation; None where it is not held, or held more than once.

        Of several tensors that hold it (copies in other layouts) it is the one that all others are made of.

        Args:
            name: Its name in the deployed graph.
            clean: Its values there.
            wild: The same under wild numbers.
        """
        if wild is None:
            return None
        distances = [(form, *self._distances(form, clean, wild)) for form in self._forms(name, clean)]
        nearest = (self._nearest(distances, near) for near in _NEAR)
        chosen = next((some for some in nearest if some), None)
        if chosen is None:
            return None
        first, *others = chosen
        if others:
            behind = self._flow.descendants([first.name])
            if any(self._flow.makers.get(one.name) not in behind for one in others if one.name != first.name):
                return None
        return first

    def _distances(self, form: Form, clean: Array, wild: Array) -> tuple[float, float]:
        """Return how far a tensor is from what is looked for, on both sets of numbers."""
        far = _distance(form, clean, self._clean[form.name])
        return far, _distance(form, wild, self._wild[form.name]) if far <= _NEAR[-1] else math.inf

    @staticmethod
    def _nearest(distances: Sequence[tuple[Form, float, float]], near: float) -> list[Form]:
        """Return the tensors nearest on the clean numbers, all at one distance, of those near on both sets."""
        close = [(form, far) for form, far, wild in distances if far <= near and wild <= near]
        best = min((far for _, far in close), default=math.inf)
        return [form for form, far in close if far == best]

    def _forms(self, name: str, value: Array) -> Iterator[Form]:
        """Yield every tensor that could hold *value*, in the order of their making."""
        wide = {value.size}
        if value.ndim == 4 and value.dtype == np.float32:
            wide |= {value.size // max(value.shape[1], 1) * (-(-value.shape[1] // b) * b) for b in _BLOCKS}
        order = {one: i for i, one in enumerate(self._clean)}
        for other in sorted({o for size in wide for o in self._by_size.get(size, ())}, key=order.__getitem__):
            held = self._clean[other]
            plain = Form(other)
            options = [plain]
            if value.ndim >= 3:
                options.append(replace(plain, layout="last"))
            if value.dtype == np.int8 and held.dtype == np.uint8:
                options = [replace(one, unsigned=True) for one in options]
            if value.ndim == 4 and value.dtype == np.float32:
                options += [Form(other, "blocked", b) for b in _BLOCKS if held.shape[1] % b == 0]
            yield from (one for one in options if _fits(one, value, held))


def _fits(form: Form, value: Array, held: Array) -> bool:
    """Whether shape and type are those of the form."""
    n, *rest = value.shape
    if form.layout == "last":
        rest = [*rest[1:], rest[0]]
    elif form.layout == "blocked":
        rest[0] = -(-rest[0] // form.block) * form.block
    dtype = np.dtype(np.uint8) if form.unsigned else value.dtype
    return held.shape == (n, *rest) and held.dtype == dtype


def _distance(form: Form, value: Array, held: Array) -> float:
    """Return the root mean square difference over the spread of *value*; infinite early where it is large."""
    channels = value.shape[1] if value.ndim > 1 else 0
    if value.dtype.kind not in "fiu":
        return 0.0 if np.array_equal(form.plain(held, channels), value) else math.inf
    far = math.inf
    with np.errstate(all="ignore"):
        for rows in (slice(0, 1), slice(None)):
            one, other = value[rows].astype(np.float64), form.plain(held[rows], channels).astype(np.float64)
            odd = ~np.isfinite(one)
            if odd.any():
                if not np.array_equal(odd, ~np.isfinite(other)):
                    return math.inf
                one, other = np.where(odd, 0, one), np.where(odd, 0, other)
            spread = float(np.std(one)) or 1.0
            far = float(np.sqrt(np.mean((one - other) ** 2))) / spread
            if not far <= _NEAR[-1] * 4:
                return math.inf
    return far
