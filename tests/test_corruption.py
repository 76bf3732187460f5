"""Laws of edits and corruptions: application, exact undo, identity of content, replay."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faultsim.corruption import Add, Corruption, Edit, Redraw, Site, Stored, Stuck, Xor, apply_edit
from faultsim.formats import FloatFormat, IntFormat, NumberFormat, quantize_symmetric


def stored(values: NDArray[Any], fmt: NumberFormat) -> Stored:
    site = Site(name="w", shape=values.shape, format=FloatFormat(), layer="w", kind="gemm", role="weight", depth=0)
    return Stored(site, fmt, values)


def indices(*flat: int) -> NDArray[np.int64]:
    return np.array(flat, dtype=np.int64)


def words(*bits: int) -> NDArray[np.uint64]:
    return np.array(bits, dtype=np.uint64)


def quantized(axis: int | None) -> Stored:
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    fmt = quantize_symmetric(values, 8, axis=axis)
    return stored(fmt.decode(fmt.encode(values)), fmt)


FORMATS = [
    stored(np.arange(-6, 6).reshape(3, 4).astype(np.int8), IntFormat(8, dtype="int8")),
    stored(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), FloatFormat()),
    quantized(None),
    quantized(0),
    quantized(1),
]


@pytest.mark.parametrize("tensor", FORMATS)
@given(data=st.data())
def test_flipping_twice_undoes_it_and_touches_nothing_else(tensor: Stored, data: st.DataObject) -> None:
    chosen = data.draw(st.lists(st.integers(0, 11), unique=True))
    masks = data.draw(
        st.lists(st.integers(1, 127), min_size=len(chosen), max_size=len(chosen))
    )  # no exponent of float32: a NaN does not keep its bits
    edit = Xor(indices=indices(*sorted(chosen)), masks=words(*masks))
    once = apply_edit(edit, tensor)
    whole = tensor.format.encode(tensor.values).ravel()
    whole[edit.indices] ^= edit.masks
    np.testing.assert_array_equal(once, tensor.format.decode(whole.reshape(3, 4)))
    np.testing.assert_array_equal(apply_edit(edit, tensor._replace(values=once)), tensor.values)
    assert once.dtype == tensor.values.dtype


def test_stuck_bits_read_what_they_hold() -> None:
    tensor = FORMATS[0]
    edit = Stuck(indices=indices(0, 11), masks=words(0b11, 0xFF), bits=words(0b01, 0xFFF))
    out = apply_edit(edit, tensor)
    assert out.flat[0] == np.int8(-6 & ~0b11 | 0b01)
    assert out.flat[11] == -1
    np.testing.assert_array_equal(out.flat[1:11], tensor.values.flat[1:11])


def test_deltas_add_dense_or_sparse_and_accumulate() -> None:
    tensor = FORMATS[1]
    dense = Add(delta=np.ones(12, np.float32))
    np.testing.assert_array_equal(apply_edit(dense, tensor), tensor.values + 1)
    sparse = Add(delta=np.array([1.0, 2.0]), indices=indices(5, 5))
    out = apply_edit(sparse, tensor)
    assert out.flat[5] == tensor.values.flat[5] + np.float32(3)
    assert np.count_nonzero(out != tensor.values) == 1
    assert out.dtype == np.float32


def test_codes_round_and_saturate_under_a_delta() -> None:
    tensor = FORMATS[0]  # -6 … 5
    out = apply_edit(Add(delta=np.full(12, 0.6)), tensor)
    np.testing.assert_array_equal(out.ravel(), np.arange(-5, 7))
    far = apply_edit(Add(delta=np.array([1e4, -1e4]), indices=indices(0, 1)), tensor)
    np.testing.assert_array_equal(far.flat[:3], [127, -128, -4])
    halves = apply_edit(Add(delta=np.array([0.4, 0.4]), indices=indices(6, 6)), tensor)
    assert halves.flat[6] == 1  # summed before it is rounded


def test_no_edit_touches_the_stored_values() -> None:
    before = FORMATS[0].values.copy()
    for edit in (*EDITS.values(), Xor(indices=indices(), masks=words())):
        assert apply_edit(edit, FORMATS[0]) is not FORMATS[0].values
    np.testing.assert_array_equal(FORMATS[0].values, before)


EDITS: dict[str, Edit] = {
    "dense": Add(delta=np.arange(12, dtype=np.float32).reshape(3, 4)),
    "sparse": Add(delta=np.array([0.5]), indices=indices(3)),
    "flip": Xor(indices=indices(1, 2), masks=words(1, 2**63)),
    "stuck": Stuck(indices=indices(4), masks=words(3), bits=words(1)),
    "redraw": Redraw(law="read_noise_1f", key=(1, -1, "w/ö"), std=np.ones(12)),
}


def test_a_corruption_comes_back_from_its_arrays(tmp_path: Any) -> None:
    corruption = Corruption(EDITS)
    np.savez(tmp_path / "c.npz", **corruption.to_arrays())  # type: ignore[arg-type]
    with np.load(tmp_path / "c.npz", allow_pickle=False) as archive:
        back = Corruption.from_arrays(dict(archive))
    assert back == corruption
    assert hash(back) == hash(corruption)
    assert back["redraw"].key == (1, -1, "w/ö")  # type: ignore[union-attr]
    assert list(back) == sorted(EDITS)
    assert len(back) == 5
    assert repr(Corruption({"a": EDITS["flip"]})) == "Corruption({a: Xor})"


def test_equal_content_is_equal_and_any_change_shows() -> None:
    one = Corruption({"a": EDITS["flip"], "b": EDITS["dense"]})
    assert one == Corruption({"b": EDITS["dense"], "a": EDITS["flip"]})
    assert one != Corruption({"a": EDITS["flip"]})
    assert one != Corruption({"a": EDITS["dense"], "b": EDITS["flip"]})
    assert Corruption({"a": Xor(indices=indices(1), masks=words(1))}) != Corruption(
        {"a": Xor(indices=indices(1), masks=words(2))}
    )


@pytest.mark.parametrize("key", ["0/bad/delta", "9/add/delta", "x/add/delta", "0/add", "zzz"])
def test_foreign_arrays_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="holds the unknown key"):
        Corruption.from_arrays({"names": np.array(["a"]), key: np.zeros(1)})
