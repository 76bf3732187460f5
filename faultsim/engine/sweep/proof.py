"""`Proof`: does a way through the graph give under faults what a whole pass gives? Ways are planned in `routes.py`.

Clean activations alone do not tell: a clip that no clean value reaches can be left out unseen, a tensor that the
runtime holds twice can be replaced once, a sum can be computed in floats where the whole graph lets integers wrap
around. So every way is tried on faults, mild and severe ones and the first real one, before it is used.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from faultsim.engine.sweep.entry import Entry, same
from faultsim.engine.sweep.golden import Clean
from faultsim.engine.sweep.rest import Rest
from faultsim.engine.sweep.rows import Rows
from faultsim.engine.sweep.slices import Sparse
from faultsim.errors import FaultsimError

Array = NDArray[Any]
Whole = Callable[[Mapping[str, Sparse], Mapping[str, Array]], Array]
"""A whole pass under a patch on some inputs, to the scored output."""
SAMPLES = 16
"""Samples of a proof."""
_NARROW: dict[np.dtype[Any], tuple[int, bool]] = {
    np.dtype(ml_dtypes.int4): (4, True),
    np.dtype(ml_dtypes.uint4): (4, False),
    np.dtype(ml_dtypes.int2): (2, True),
    np.dtype(ml_dtypes.uint2): (2, False),
}
"""Codes of fewer than 8 bits: how many, and whether they are signed."""


class Proof:
    """Compares ways with whole passes, bit by bit, on the first clean samples.

    Args:
        whole: Computes a whole pass.
        feeds: Inputs of the probe.
        golden: Clean output on the same samples.
        stored: Clean numbers of every initializer that can be faulty.
    """

    def __init__(
        self, whole: Whole, feeds: Mapping[str, Array], golden: Array, stored: Callable[[str], Array | None]
    ) -> None:
        self._whole = whole
        self._feeds = {name: array[:SAMPLES] for name, array in feeds.items()}
        self._golden = golden[:SAMPLES]
        self._stored = stored
        self._known: dict[str, Array | None] = {}

    def of_entry(self, entry: Entry, faults: Sparse, clean: Clean, *, by_channel: bool) -> bool:
        """Whether an entry gives what whole passes give: under *faults*, and under severe ones in the same tensor."""
        site = entry.join.site
        few = _few(clean)
        for trial, one in enumerate([*self._severe(site), faults]):
            own = trial < len(self._severe(site))
            want = self._wanted(f"{site}/{trial}" if own else "", {site: one})
            if want is None:
                return False
            got = self._golden.copy()
            rows = Rows(entry, few, len(got), _taker(got))
            try:
                if by_channel:
                    channels = entry.channels_of(one)
                    rows.add_channels(0, entry.slice(few, channels), 0, [c.number for c in channels])
                else:
                    rows.add_whole(0, entry.whole(few, one))
                rows.flush()
            except FaultsimError:
                return False
            if not alike(got, want):
                return False
        return True

    def of_rest(self, rest: Rest, patch: Mapping[str, Sparse], clean: Clean) -> bool:
        """Whether the rest of a graph gives what whole passes give: under *patch*, and under worse in its tensors."""
        worse = [dict(zip(patch, some, strict=True)) for some in zip(*(self._severe(s) for s in patch), strict=False)]
        for one in [*worse, patch]:
            want = self._wanted("", one)
            if want is None:
                return False
            try:
                if not alike(rest(one, _few(clean)), want):
                    return False
            except FaultsimError:
                return False
        return True

    def _wanted(self, key: str, patch: Mapping[str, Sparse]) -> Array | None:
        """Return the output of a whole pass; None where there is none (a whole pass must then say so)."""
        if key and key in self._known:
            return self._known[key]
        try:
            found: Array | None = self._whole(patch, self._feeds)
        except FaultsimError:
            found = None
        if key:
            self._known[key] = found
        return found

    def _severe(self, site: str) -> Sequence[Sparse]:
        array = self._stored(site)
        return [] if array is None else severe(array)


def severe(array: Array) -> list[Sparse]:
    """Return faults that reach what clean numbers do not: clips, overflows, wrap-arounds; none for unknown types.

    The first one breaks up to three elements far apart, with both signs; the second one element beyond all measure.
    """
    if array.size == 0:
        return []
    flat = array.reshape(-1)
    where = np.unique(np.array([flat.size // 7, flat.size // 2, flat.size - 1], dtype=np.int64))
    some = flat[where]
    largest = _largest(array.dtype)
    if largest is not None:
        with np.errstate(all="ignore"):
            wide = flat.astype(np.float64)
            spread = float(np.sqrt(np.nanmean(wide**2))) or 1.0
            changed = some.astype(np.float64) * np.array([-8, 32, -1])[: some.size]
            changed += spread * np.array([-4, 8, -2])[: some.size]
            worst = np.full(1, largest / 4).astype(array.dtype)
            return [Sparse(where, changed.astype(array.dtype)), Sparse(where[:1], worst)]
    if array.dtype in _NARROW:
        mild, worst = (_flipped(some, bit) for bit in (2, 1))
        return [Sparse(where, mild), Sparse(where[:1], worst[:1])]
    if array.dtype.kind not in "iu":
        return []
    words = some.view(f"u{array.dtype.itemsize}")
    top = words.dtype.type(1 << (8 * array.dtype.itemsize - 1))
    mild = (words ^ (top >> words.dtype.type(1))).view(array.dtype)
    return [Sparse(where, mild), Sparse(where[:1], (words[:1] ^ top).view(array.dtype))]


def _flipped(codes: Array, bit: int) -> Array:
    """Return codes of fewer than 8 bits with one bit flipped, counted from the top as 1, in bytes."""
    bits, signed = _NARROW[codes.dtype]
    words = (codes.astype(np.int16) ^ (1 << (bits - bit))) & ((1 << bits) - 1)
    if signed:
        words -= (words >> (bits - 1)) << bits
    return words.astype(np.int8 if signed else np.uint8)


def _largest(dtype: np.dtype[Any]) -> float | None:
    """Return the largest number of a type of floats, bfloat16 and those of 8 bits among them; None for others."""
    try:
        return float(ml_dtypes.finfo(dtype).max)  # type: ignore[no-untyped-call]
    except ValueError:
        return None


def alike(one: Array, other: Array) -> bool:
    """Whether two outputs hold the same bits; one NaN is as good as another, as it makes its sample not finite."""
    if same(one, other):
        return True
    if one.shape != other.shape or one.dtype != other.dtype or one.dtype.kind != "f":
        return False
    known = ~np.isnan(one)
    return bool(
        np.array_equal(one, other, equal_nan=True) and np.array_equal(np.signbit(one[known]), np.signbit(other[known]))
    )


def _few(clean: Clean) -> Clean:
    return Clean(
        {name: array[:SAMPLES] for name, array in clean.plain.items()},
        {name: array[:SAMPLES] for name, array in clean.held.items()},
    )


def _taker(got: Array) -> Callable[[int, NDArray[np.int64] | None, Array | None], None]:
    def take(trial: int, samples: NDArray[np.int64] | None, output: Array | None) -> None:
        if output is not None:
            got[slice(None) if samples is None else samples] = output

    return take
