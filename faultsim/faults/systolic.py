"""The law of broken processing elements of a systolic array.

References:
    .. [Zhang2018] J. J. Zhang, T. Gu, K. Basu, S. Garg. Analyzing and mitigating the impact of permanent faults on a
       systolic array based neural network accelerator. VTS 2018: weight w_ij of a layer lies in the processing
       element (i mod rows, j mod columns), so that one faulty element hits many weights.
"""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import Budget, check_rate
from faultsim.budget.regions import Regions, region_failures
from faultsim.corruption import Edit, Stored, Stuck
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import lanes
from faultsim.faults.base import CHIP, Fault, Generators, register
from faultsim.faults.effects import Hits, Reads, effects, words_of
from faultsim.faults.positions import distinct
from faultsim.formats.base import Words

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@register
@dataclass(frozen=True, kw_only=True)
class StuckPE(Fault):
    """Processing elements of a rows x columns array are broken for good; each hits the same place of every tile.

    A weight is the matrix [K = inputs x kernel, N = output channels], cut into tiles of the array's size; element
    (r, c) holds the weights with ``k mod rows == r`` and ``n mod columns == c`` ([Zhang2018]_). Of a broken element

    - ``dead``: the products are zero, as if its weights were (`faultsim.faults.lanes.real_zero`);
    - ``stuck_bit``: one bit of its weight register, drawn once, holds 0 or 1 for good.

    That is the weight-stationary mapping. With outputs kept in place an element computes outputs instead of holding
    weights: `output_elements` gives them, and `sample` draws nothing.

    Attributes:
        rows: Rows of the array, along the inputs.
        columns: Columns of the array, along the output channels.
        p: Probability that an element is broken, 0 to 1; or ``None``.
        count: Broken elements, 0 to ``rows columns``; or ``None``. Exactly one of the two.
        effect: What a broken element does.
        register_bits: Bits of the weight register, 1 to 64, from which the stuck one is drawn, the same for all
            tensors; a tensor of fewer bits is spared by a higher one. ``None`` takes the widest tensor of the chip.
        mapping: What the array keeps in place.

    Raises:
        OptionError: If not exactly one of *p* and *count* is given, or a field is out of range.
    """

    kind: ClassVar[str] = "stuck_pe"
    rows: int
    columns: int
    p: float | None = None
    count: int | None = None
    effect: Literal["dead", "stuck_bit"] = "dead"
    register_bits: int | None = None
    mapping: Literal["weight_stationary", "output_stationary"] = "weight_stationary"

    def __post_init__(self) -> None:
        for name, value in (("rows", self.rows), ("columns", self.columns)):
            _check_whole(name, value, 1, 1 << 16)
        if (self.p is None) == (self.count is None):
            raise OptionError("broken processing elements need exactly one of p and count; give the other as None")
        if self.p is not None:
            check_rate("p", self.p)
        if self.count is not None:
            _check_whole("count", self.count, 0, self.rows * self.columns)
        if self.register_bits is not None:
            _check_whole("register_bits", self.register_bits, 1, 64)
        if self.effect not in ("dead", "stuck_bit"):
            raise OptionError(f"a broken processing element is dead or has a stuck_bit, got {self.effect!r}")
        if self.mapping not in ("weight_stationary", "output_stationary"):
            raise OptionError(f"mapping must be weight_stationary or output_stationary, got {self.mapping!r}")

    def broken(self, rng: np.random.Generator) -> Ints:
        """Draw the broken elements of one die, shape (elements, 2): row and column, ascending."""
        total = self.rows * self.columns
        number = self.count if self.count is not None else int(rng.binomial(total, self.p or 0.0))
        return np.stack(np.divmod(distinct(rng, total, number), self.columns), axis=1)

    def weight_elements(self, weight: Stored, pe: tuple[int, int]) -> Ints:
        """Return the flat indices of the weights that element ``(row, column)`` holds, ascending."""
        row, column = self._inside(pe)
        return np.sort(lanes.matrix(weight.site)[row :: self.rows, column :: self.columns].reshape(-1))

    def output_elements(self, shape: Sequence[int], pe: tuple[int, int], *, channel_axis: int = 0) -> Ints:
        """Return the flat indices of the outputs that an element computes where outputs stay in place, ascending.

        Args:
            shape: Shape of a layer's output for one sample, without the batch axis.
            pe: ``(row, column)`` of the element: it computes the channels ``n mod columns == column`` at the
                positions ``m mod rows == row``, positions counted in row-major order without the channels.
            channel_axis: Axis of *shape* that counts output channels.

        Raises:
            OptionError: If the element is not in the array, or the shape has no such axis.
        """
        row, column = self._inside(pe)
        if not -len(shape) <= channel_axis < len(shape):
            raise OptionError(f"channel axis {channel_axis} is out of range for an output of {len(shape)} dimensions")
        flat = np.arange(int(np.prod(shape, dtype=np.int64)), dtype=np.int64).reshape(shape)
        turned = np.moveaxis(flat, channel_axis, -1)
        places = turned.reshape(int(np.prod(turned.shape[:-1], dtype=np.int64)), turned.shape[-1])
        return np.sort(places[row :: self.rows, column :: self.columns].reshape(-1))

    def sample(self, stored: Stored, rng: np.random.Generator) -> Stuck:
        """Draw the broken elements of an array that computes with this weight alone."""
        edit = self.sample_chip([stored], lambda _: rng).get(stored.site.name)
        if isinstance(edit, Stuck):
            return edit
        nothing = np.empty(0, dtype=np.uint64)
        return Stuck(indices=np.empty(0, dtype=np.int64), masks=nothing, bits=nothing)

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw the broken elements of a chip: the same for all weights; tensors that are no weights stay whole.

        Raises:
            DeviceError: If the mapping keeps outputs in place: weights are then never stored in the array.
        """
        self._check_weights()
        rng = generators(CHIP)
        layers = lanes.weights(stored)
        elements = self.broken(rng)
        width = self.register_bits or max((one.format.bits for one in layers), default=1)
        bits, ones = rng.integers(width, size=len(elements)), rng.integers(2, size=len(elements))
        edits: dict[str, Edit] = {}
        for one in layers:
            edit = self._stuck(one, stored, elements, bits, ones)
            if edit.indices.size:
                edits[one.site.name] = edit
        return edits

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the broken elements of one weight: exact quantiles of how many change, and by how much.

        For p = inf a stuck bit is taken as the worst of its element's. Tensors that are no weights stay whole.

        Raises:
            DeviceError: If the mapping keeps outputs in place.
        """
        self._check_weights()
        total = self.rows * self.columns
        touched, moved = np.zeros((1, total)), np.zeros((1, total))
        if lanes.is_weight(stored.site) and stored.values.size:
            touched, moved = self._effects(stored, p)
        if np.isinf(p) and len(moved) > 1:
            worst = moved.max(axis=0)
            largest = self._bound(stored, touched.max(axis=0), worst, p, confidence)
            counted = self._bound(stored, touched, moved, 1, confidence)
            return Budget(
                mechanism=largest.mechanism,
                scope=largest.scope,
                p=p,
                eps=largest.eps,
                n=counted.n,
                confidence=confidence,
                note=largest.note,
            )
        return self._bound(stored, touched, moved, p, confidence)

    def _bound(self, stored: Stored, touched: Floats, moved: Floats, p: float, confidence: float) -> Budget:
        cases = touched.size // (self.rows * self.columns)
        return region_failures(
            mechanism=self.kind,
            scope=stored.site.name,
            regions=Regions(touched.ravel(), moved.ravel(), np.full(touched.size, (self.p or 0.0) / cases)),
            elements=stored.values.size,
            number=self.count,
            independent=True,
            p=p,
            confidence=confidence,
        )

    def _effects(self, stored: Stored, p: float) -> tuple[Floats, Floats]:
        """Return what each way to break does, by element: shape (ways, rows x columns); all ways equally likely."""
        total = self.rows * self.columns
        flat = lanes.matrix(stored.site)
        k, n = np.ogrid[: flat.shape[0], : flat.shape[1]]
        element = np.empty(flat.size, dtype=np.int64)
        element[flat.reshape(-1)] = (k % self.rows * self.columns + n % self.columns).reshape(-1)
        every = np.arange(flat.size, dtype=np.int64)
        if self.effect == "dead":
            zero = _zero_words(stored, [stored], every)
            reads: Reads = "flip" if np.any(zero) else "zero"
            done = effects(stored, Hits(every, words_of(stored, every) ^ zero, element), total, reads, p)
            return done.touched[None], done.moved[None]
        width = self.register_bits or stored.format.bits
        touched, moved = np.zeros((2 * width, total)), np.zeros((2 * width, total))
        for bit in range(min(width, stored.format.bits)):
            masks = np.full(flat.size, 1 << bit, dtype=np.uint64)
            ways: tuple[Reads, Reads] = ("zero", "one")
            for way, held in enumerate(ways):
                done = effects(stored, Hits(every, masks, element), total, held, p)
                touched[2 * bit + way], moved[2 * bit + way] = done
        return touched, moved

    def _stuck(self, one: Stored, stored: Sequence[Stored], broken: Ints, bits: Ints, ones: Ints) -> Stuck:
        flat = lanes.matrix(one.site)
        hit = [flat[row :: self.rows, column :: self.columns].reshape(-1) for row, column in broken]
        indices = np.concatenate([np.empty(0, dtype=np.int64), *hit])
        if self.effect == "dead":
            masks = np.full(indices.size, (1 << one.format.bits) - 1, dtype=np.uint64)
            held = _zero_words(one, stored, indices)
        else:
            sizes = [part.size for part in hit]
            masks = np.uint64(1) << np.repeat(bits, sizes).astype(np.uint64)
            held = np.where(np.repeat(ones, sizes) == 1, masks, np.uint64(0))
            inside = masks >> np.uint64(one.format.bits - 1) <= 1  # a narrower tensor has no such bit
            indices, masks, held = indices[inside], masks[inside], held[inside]
        order = np.argsort(indices)
        return Stuck(indices=indices[order], masks=masks[order], bits=held[order])

    def _inside(self, pe: tuple[int, int]) -> tuple[int, int]:
        row, column = pe
        if not (0 <= row < self.rows and 0 <= column < self.columns):
            raise OptionError(f"processing element {pe} is not in an array of {self.rows} x {self.columns}")
        return row, column

    def _check_weights(self) -> None:
        if self.mapping == "output_stationary":
            raise DeviceError(
                "an array that keeps outputs in place stores no weights; use output_elements on activations instead"
            )


def _zero_words(one: Stored, stored: Sequence[Stored], elements: Ints) -> Words:
    """Return the words of zero at some flat elements of a weight."""
    zero = lanes.real_zero(one, stored)
    channel = np.unravel_index(elements, one.values.shape)[one.site.channel_axis]
    return lanes.words_at(one, elements, zero[channel])


def _check_whole(name: str, value: object, least: int, most: int) -> None:
    try:
        whole = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        whole = least - 1
    if not least <= whole <= most:
        raise OptionError(f"{name} must be a whole number between {least} and {most}, got {value!r}")
