"""The law that tells a sample axis: samples do not touch each other and may be given in any order. No graph lives here.

An axis of the inputs counts samples if, with the slices along it in another order and one of them replaced, the output
has the same slices in that other order along an axis of its own, but for the one that was replaced. A time axis that a
recurrent layer or attention runs along breaks it, and so does an axis with positions added to it.
"""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.data.spec import InputSpec
from faultsim.data.synthetic import draw
from faultsim.errors import FaultsimError

Array = NDArray[Any]
Run = Callable[[Mapping[str, Array]], Mapping[str, Any]]
Dims = tuple[int | str | None, ...]

SAMPLES = 5
_SIZES = (32, 8, 128)
_MOST_SIZES = 6
_STRICT = {"float16": 1e-2, "bfloat16": 5e-2}
"""Allowed difference of an untouched sample, as a fraction of the largest output; 1e-4 for other types."""
_APART = 30
_LOOSE = 0.03


class Verdict(IntEnum):
    """What a trial of an axis says, the more the better."""

    ERROR = 0
    BROKEN = 1
    NOTHING = 2
    LOOSE = 3
    HOLDS = 4


class Trial(NamedTuple):
    """Outcome of a trial.

    Attributes:
        verdict: ``ERROR``: the graph did not run; ``BROKEN``: samples touch each other; ``NOTHING``: a single sample,
            or outputs that do not depend on the inputs; ``LOOSE``: they touch each other a little (a scale over the
            whole batch); ``HOLDS``.
        outputs: The axis along which each output has the samples, where one could be told.
    """

    verdict: Verdict
    outputs: dict[str, int]


@dataclass(frozen=True)
class Court:
    """Tries choices of axes on drawn inputs.

    Attributes:
        specs: What the graph declares.
        outputs: The outputs' declared shapes, by name.
        judged: The output that decides.
        run: Runs the graph on inputs of any size.
        sizes: Sizes that the graph's constants speak of: one traced at a size may take no other.
    """

    specs: Sequence[InputSpec]
    outputs: Mapping[str, Dims]
    judged: str
    run: Run
    sizes: Sequence[int] = ()

    def try_axes(self, axes: Mapping[str, int | None]) -> Trial:
        """Try one choice: for every input the axis that counts the samples, None where it has none."""
        sizes = {spec.shape[axis] for spec in self.specs if (axis := axes[spec.name]) is not None}
        fixed = {size for size in sizes if isinstance(size, int)}
        if not sizes or len(fixed) > 1:
            return Trial(Verdict.ERROR, {})
        if fixed == {1}:  # a batch of one shows nothing; the graph may take more than it declares
            trial = self._at(axes, SAMPLES)
            return trial if trial.verdict >= Verdict.LOOSE else Trial(Verdict.NOTHING, self._single(axes))
        for samples in fixed or (SAMPLES, *(size for size in self.sizes[:_MOST_SIZES] if size != SAMPLES)):
            trial = self._at(axes, samples)
            if trial.verdict is not Verdict.ERROR:
                return trial
        return Trial(Verdict.ERROR, {})

    def follows(self, axes: Mapping[str, int | None]) -> dict[str, int]:
        """Return by output the one axis whose size follows the number of samples, whatever the samples do there."""
        batch = {spec.shape[axis] for spec in self.specs if (axis := axes[spec.name]) is not None}
        for free in dict.fromkeys((*_SIZES, *self.sizes)):
            shapes = []
            try:
                for samples in (SAMPLES, SAMPLES + 1):
                    feeds = {s.name: draw(s, _shape(s, axes[s.name], batch, samples, free), 0, 0) for s in self.specs}
                    shapes.append(
                        {name: np.shape(array) for name, array in self.run(feeds).items() if _is_array(array)}
                    )
            except FaultsimError:
                continue
            found = {}
            for name, few in shapes[0].items():
                more = shapes[1].get(name, ())
                grown = [i for i, (a, b) in enumerate(zip(few, more, strict=False)) if (a, b) == (SAMPLES, SAMPLES + 1)]
                if len(few) == len(more) and len(grown) == 1:
                    found[name] = grown[0]
            return found
        return {}

    def _single(self, axes: Mapping[str, int | None]) -> dict[str, int]:
        """Where each output has its only sample: where the first input has it, else along its first axis of size 1."""
        first = next(axis for spec in self.specs if (axis := axes[spec.name]) is not None)
        found = {}
        for name, dims in self.outputs.items():
            ones = [axis for axis, size in enumerate(dims) if size == 1]
            if ones:
                found[name] = first if first in ones else ones[0]
        return found

    def _at(self, axes: Mapping[str, int | None], samples: int) -> Trial:
        open_ = any(not isinstance(size, int) for spec in self.specs for size in _others(spec, axes[spec.name]))
        for size in dict.fromkeys((*_SIZES, *self.sizes)) if open_ else _SIZES[:1]:
            try:
                return self._compared(axes, samples, size)
            except FaultsimError:
                continue
        return Trial(Verdict.ERROR, {})

    def _compared(self, axes: Mapping[str, int | None], samples: int, free: int) -> Trial:
        batch = {spec.shape[axis] for spec in self.specs if (axis := axes[spec.name]) is not None}
        feeds = {
            spec.name: draw(spec, _shape(spec, axes[spec.name], batch, samples, free), 0, 0) for spec in self.specs
        }
        before = self.run(feeds)
        found: dict[str, list[tuple[Verdict, int]]] = {}
        # Whole numbers may stay the same by chance: one draw proves little.
        rounds = 3 if getattr(before[self.judged], "dtype", np.dtype(float)).kind in "iub" else 1
        for number in range(1, rounds + 1):
            after = self.run(
                {spec.name: _turned(spec, feeds[spec.name], axes[spec.name], number) for spec in self.specs}
            )
            for name, array in before.items():
                if _is_array(array):
                    found.setdefault(name, []).append(_followed(array, np.asarray(after[name]), samples))
        verdicts = {name: _summed(results) for name, results in found.items()}
        outputs = {name: axis for name, (verdict, axis) in verdicts.items() if verdict > Verdict.BROKEN}
        decisive = verdicts.get(self.judged)
        if decisive is None or np.ndim(before[self.judged]) == 0:
            decisive = max(verdicts.values(), default=(Verdict.ERROR, 0))
        return Trial(decisive[0], outputs)


def _is_array(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.dtype.kind not in "OUS"


def _shape(spec: InputSpec, axis: int | None, batch: set[int | str | None], samples: int, free: int) -> tuple[int, ...]:
    return tuple(
        samples if i == axis or (isinstance(size, str) and size in batch) else size if isinstance(size, int) else free
        for i, size in enumerate(spec.shape)
    )


def _others(spec: InputSpec, axis: int | None) -> Dims:
    return tuple(size for i, size in enumerate(spec.shape) if i != axis)


def _turned(spec: InputSpec, array: Array, axis: int | None, number: int) -> Array:
    """Return the input with its samples moved on by one and the middle one drawn anew."""
    if axis is None:
        return array
    turned = np.roll(array, 1, axis)
    middle = [slice(None)] * array.ndim
    middle[axis] = slice(array.shape[axis] // 2, array.shape[axis] // 2 + 1)
    turned[tuple(middle)] = draw(spec, turned[tuple(middle)].shape, 0, number)
    return turned


def _followed(before: Array, after: Array, samples: int) -> tuple[Verdict, int]:
    """Return the best verdict over the axes of an output, and that axis."""
    best = (Verdict.BROKEN, 0)
    if before.shape != after.shape:
        return best
    allowed = _STRICT.get(before.dtype.name, 1e-4)
    for axis in range(before.ndim):
        if before.shape[axis] != samples:
            continue
        expected = np.roll(before, 1, axis).astype(np.float64)
        got = after.astype(np.float64)
        with np.errstate(invalid="ignore"):
            apart = np.where((got == expected) | (np.isnan(got) & np.isnan(expected)), 0.0, np.abs(got - expected))
        apart = np.nan_to_num(apart, nan=np.inf, posinf=np.inf)
        rows = np.moveaxis(apart, axis, 0).reshape(samples, -1).max(axis=1, initial=0.0)
        changed = float(rows[samples // 2])
        others = float(np.delete(rows, samples // 2).max(initial=0.0))
        finite = np.abs(expected[np.isfinite(expected)])
        size = float(finite.max(initial=0.0)) or 1.0
        if others <= allowed * size:
            verdict = Verdict.HOLDS if changed > max(_APART * others, 1e-6 * size) else Verdict.NOTHING
        else:
            verdict = Verdict.LOOSE if others < _LOOSE * changed else Verdict.BROKEN
        if verdict > best[0]:
            best = (verdict, axis)
    return best


def _summed(results: Sequence[tuple[Verdict, int]]) -> tuple[Verdict, int]:
    """Return the verdict of several rounds: broken once is broken; else the best."""
    worst = min(results)
    if worst[0] <= Verdict.BROKEN or len({axis for verdict, axis in results if verdict > Verdict.NOTHING}) > 1:
        return Verdict.BROKEN, 0
    return max(results, key=lambda one: one[0])


def orders(options: Sequence[Sequence[int | None]]) -> list[tuple[int | None, ...]]:
    """Return every choice of one option each, the plainest first: low axes, then inputs that have none.

    Examples:
        >>> orders([[0, 1, None], [0, 1]])[:3]
        [(0, 0), (0, 1), (1, 0)]
    """
    return sorted(itertools.product(*options), key=lambda choice: sum(5 if a is None else a for a in choice))
