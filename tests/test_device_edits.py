"""Several edits of one tensor as one: the numbers are those of one edit after another."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.corruption import Add, Redraw, Site, Stored, Stuck, Xor, apply_edit
from faultsim.device.edits import is_empty, merge
from faultsim.errors import DeviceError
from faultsim.formats import FloatFormat, IntFormat

SITE = Site(name="w", shape=(3, 2), format=FloatFormat(), layer="l", kind="gemm", role="weight", depth=0)
FORMAT = IntFormat(8, scale=0.5)
STORED = Stored(SITE, FORMAT, FORMAT.decode(np.arange(6, dtype=np.uint64).reshape(3, 2) * 40))

masks = st.dictionaries(st.integers(0, 5), st.integers(1, 255), min_size=1)


@st.composite
def bit_edits(draw):
    chosen = draw(masks)
    indices = np.array(sorted(chosen), dtype=np.int64)
    mask = np.array([chosen[i] for i in sorted(chosen)], dtype=np.uint64)
    if draw(st.booleans()):
        return Xor(indices=indices, masks=mask)
    bits = np.array(draw(st.lists(st.integers(0, 255), min_size=len(chosen), max_size=len(chosen))), dtype=np.uint64)
    return Stuck(indices=indices, masks=mask, bits=bits & mask)


@given(st.lists(bit_edits(), min_size=1, max_size=4))
def test_merged_bit_errors_give_the_numbers_of_one_after_another(edits):
    ordered = [e for e in edits if isinstance(e, Xor)] + [e for e in edits if isinstance(e, Stuck)]
    step = STORED
    for edit in ordered:
        step = step._replace(values=apply_edit(edit, step))
    assert np.array_equal(apply_edit(merge(STORED, edits), STORED), step.values)


@given(st.lists(st.lists(st.floats(-9, 9), min_size=6, max_size=6), min_size=2, max_size=3))
def test_merged_deltas_add_up(rows):
    edits = [Add(delta=np.array(row).reshape(3, 2)) for row in rows]
    sparse = Add(delta=np.array([1.0, 2.0]), indices=np.array([0, 5]))
    total = apply_edit(merge(STORED, [*edits, sparse]), STORED)
    expected = STORED.values + np.sum(rows, axis=0).reshape(3, 2)
    expected[0, 0] += 1
    expected[2, 1] += 2
    assert np.allclose(total, expected, atol=1e-5)


def test_one_edit_is_handed_through():
    flip = Xor(indices=np.array([1]), masks=np.array([4], dtype=np.uint64))
    assert merge(STORED, [flip]) is flip


def test_bit_errors_and_deltas_do_not_mix():
    flip = Xor(indices=np.array([1]), masks=np.array([4], dtype=np.uint64))
    with pytest.raises(DeviceError, match="tensor w: bit errors and analog noise cannot act on the same numbers"):
        merge(STORED, [flip, Add(delta=np.ones(6))])


def test_an_edit_that_changes_nothing_is_empty():
    assert is_empty(Add(delta=np.zeros(3)))
    assert is_empty(Xor(indices=np.empty(0, np.int64), masks=np.empty(0, np.uint64)))
    assert not is_empty(Add(delta=np.ones(3)))
    assert not is_empty(Redraw(law="x", key=(0, 0, "w"), std=np.zeros(3)))
