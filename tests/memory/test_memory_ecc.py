import time

import codes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.corruption import Add, Redraw, Site, Stored, Stuck, Xor, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import BitFlip, UpsetRate
from faultsim.formats import FloatFormat, IntFormat
from faultsim.memory import CHECKS, Geometry, MemoryMap, check_store, code_words, correct, make_code
from faultsim.memory.ecc import data_bits, true_checks


def tensor(name, values, fmt):
    site = Site(name=name, shape=values.shape, format=fmt, layer="l", kind="conv", role="weight", depth=0)
    return Stored(site, fmt, fmt.decode(fmt.encode(values)))


def tensors(seed=0):
    draw = np.random.default_rng(seed)
    per_channel = IntFormat(8, scale=np.array([[0.5], [0.25]]))
    found = [
        tensor("bias", draw.integers(-9, 9, 3).astype(np.int32), IntFormat(32, dtype="int32")),
        tensor("codes", draw.integers(-128, 128, (3, 5)).astype(np.int8), IntFormat(8, dtype="int8")),
        tensor("scale", draw.normal(size=2).astype(np.float32), FloatFormat("float32")),
        tensor("weight", draw.normal(size=(2, 4)).astype(np.float32) * 10, per_channel),
        tensor("nibbles", draw.integers(-8, 8, 7).astype(np.int8), IntFormat(4, dtype="int8")),
    ]
    return {one.site.name: one for one in found}


def bit(memory, name, element, place):
    return memory.xor(memory.cell(name, [element], [place]))


def words_of(one, values=None):
    return one.format.encode(one.values if values is None else values).reshape(-1)


def dense(stored, memory, code):
    """All data bits of the memory, code word by code word, one bit at a time."""
    bits = np.zeros(code_words(memory, code) * code.data_bits, dtype=bool)
    for name, one in stored.items():
        for element, word in enumerate(words_of(one)):
            for place in range(one.format.bits):
                bits[int(memory.cell(name, element, place))] = int(word) >> place & 1
    return bits.reshape(-1, code.data_bits)


@st.composite
def settings(draw):
    code = codes.SMALL[draw(st.sampled_from(sorted(codes.SMALL)))]
    on_due = draw(st.sampled_from(["halt", "reload", "zero_word", "pass_through"]))
    code = make_code(code.scheme, 8, code.check_bits, on_due=on_due, symbol_bits=code.symbol_bits)
    interleave = draw(st.sampled_from([1, 2]))
    geometry = Geometry(word_bits=draw(st.sampled_from([2, 4, 8, 16, 32])), row_words=2, interleave=interleave, rows=3)
    return code, geometry, draw(st.integers(0, 2**32))


@given(settings(), st.booleans())
def test_what_the_model_sees_is_what_decoding_every_word_of_the_memory_gives(setting, with_checks):
    code, geometry, seed = setting
    draw = np.random.default_rng(seed)
    stored = tensors(seed % 7)
    memory = MemoryMap(list(stored.values()), geometry)
    written = dense(stored, memory, code)
    checks = code.encode(written)
    edits, read, read_checks = {}, written.copy().reshape(-1), checks.copy()
    for name, one in stored.items():
        kind = draw.integers(3)
        indices = np.sort(draw.choice(one.values.size, draw.integers(0, one.values.size + 1), replace=False))
        top = 2**one.format.bits
        masks, bits = draw.integers(0, top, size=(2, indices.size)).astype(np.uint64)
        if kind == 0:
            continue
        edits[name] = Xor(indices=indices, masks=masks) if kind == 1 else Stuck(indices=indices, masks=masks, bits=bits)
        for index, mask, value in zip(indices.tolist(), masks.tolist(), bits.tolist(), strict=True):
            word = int(words_of(one)[index])
            word = word ^ mask if kind == 1 else (word & ~mask) | (value & mask)
            for place in range(one.format.bits):
                read[int(memory.cell(name, index, place))] = word >> place & 1
    if code.check_bits and with_checks:
        hit = np.sort(draw.choice(len(checks), draw.integers(0, len(checks)), replace=False))
        masks = draw.integers(0, 2**code.check_bits, size=hit.size, dtype=np.uint64)
        if draw.random() < 0.5:
            edits[CHECKS] = Xor(indices=hit, masks=masks)
            forced = None
        else:
            forced = draw.integers(0, 2**code.check_bits, size=hit.size, dtype=np.uint64)
            edits[CHECKS] = Stuck(indices=hit, masks=masks, bits=forced)
        for at, (index, mask) in enumerate(zip(hit.tolist(), masks.tolist(), strict=True)):
            for place in range(code.check_bits):
                if mask >> place & 1:
                    read_checks[index, place] = not checks[index, place] if forced is None else (
                        int(forced[at]) >> place & 1
                    )  # fmt: skip
    wrong = read.reshape(written.shape) ^ written
    want = code.decode(wrong, read_checks ^ checks, written)
    after = correct(edits, stored, memory, code)
    held = (memory.owner(np.arange(written.size)).site >= 0).reshape(written.shape)
    final = written ^ (want.residual & held)
    for name, one in stored.items():
        seen = apply_edit(after.edits[name], one) if name in after.edits else one.values
        want_words = np.zeros(one.values.size, dtype=np.uint64)
        for element in range(one.values.size):
            for place in range(one.format.bits):
                cell = int(memory.cell(name, element, place))
                want_words[element] |= np.uint64(int(final.reshape(-1)[cell]) << place)
        want_values = one.format.decode(want_words.reshape(one.values.shape))
        np.testing.assert_array_equal(seen.reshape(want_values.shape), want_values)
    assert after.detected_words == want.detected.sum()
    assert after.silent_words == (want.silent & (want.residual & held).any(axis=1)).sum()
    touched = wrong.any(axis=1) | (read_checks ^ checks).any(axis=1)
    assert after.corrected_words + after.detected_words + after.silent_words == touched.sum()
    assert all(isinstance(edit, Xor) and edit.masks.all() for edit in after.edits.values())


@given(settings())
def test_the_bits_and_the_check_bits_of_code_words_are_those_that_were_written(setting):
    code, geometry, seed = setting
    stored = tensors(seed % 7)
    memory = MemoryMap(list(stored.values()), geometry)
    written = dense(stored, memory, code)
    words = np.flatnonzero(np.random.default_rng(seed).random(len(written)) < 0.5)
    assert np.array_equal(data_bits(memory, stored, code, words), written[words])
    if code.check_bits:
        packed = [sum(int(b) << j for j, b in enumerate(row)) for row in code.encode(written)]
        assert true_checks(memory, stored, code, words).tolist() == [packed[word] for word in words]
        assert check_store(memory, code, stored).values.tolist() == packed


def hamming():
    stored = tensors()
    memory = MemoryMap(list(stored.values()), Geometry(word_bits=64))
    return stored, memory, make_code("secded", 64)


def test_every_single_bit_of_data_or_checks_is_corrected():
    stored, memory, code = hamming()
    store = check_store(memory, code)
    for name, one in [*stored.items(), (CHECKS, store)]:
        for index in range(one.values.size):
            for place in range(one.format.bits):
                edit = Xor(indices=np.array([index]), masks=np.array([1 << place], dtype=np.uint64))
                assert correct({name: edit}, stored, memory, code)[:4] == ({}, 1, 0, 0)


def test_an_event_on_a_data_bit_and_one_on_its_check_bits_are_two_errors():
    stored, memory, code = hamming()
    check = {CHECKS: Xor(indices=memory.word_of(memory.cell("codes", [1], 0)), masks=np.array([2], dtype=np.uint64))}
    assert correct(bit(memory, "codes", 1, 0) | check, stored, memory, code)[:4] == ({}, 0, 1, 0)


def test_a_stuck_cell_that_holds_what_was_written_is_no_error():
    stored, memory, code = hamming()
    for name, one in [*stored.items(), (CHECKS, check_store(memory, code, stored))]:
        words = words_of(one)
        full = np.full(words.size, 2**one.format.bits - 1, dtype=np.uint64)
        edit = Stuck(indices=np.arange(words.size), masks=full, bits=words)
        assert correct({name: edit}, stored, memory, code)[:4] == ({}, 0, 0, 0)


def test_the_check_bits_may_lie_in_the_map_and_change_nothing():
    stored, memory, code = hamming()
    store = check_store(memory, code)
    both = MemoryMap([store, *stored.values()], memory.geometry)
    assert check_store(both, code).values.size == store.values.size == memory.words
    edits = {one.site.name: BitFlip(ber=0.05).sample(one, np.random.default_rng(5)) for one in stored.values()}
    edits[CHECKS] = BitFlip(ber=0.05).sample(store, np.random.default_rng(6))
    one, other = correct(edits, stored, memory, code), correct(edits, stored, both, code)
    assert one[1:4] == other[1:4]
    assert sum(one[1:4]) > 0
    assert one.edits.keys() == other.edits.keys()
    assert all(np.array_equal(one.edits[name].masks, other.edits[name].masks) for name in one.edits)


def test_laws_draw_errors_on_check_bits_as_on_any_tensor():
    _, memory, code = hamming()
    store = check_store(memory, code)
    assert store.format.name == "check8"
    assert store.site.shape == (memory.words,)
    flips = BitFlip(ber=1.0).sample(store, np.random.default_rng(0))
    assert flips.masks.tolist() == [255] * memory.words
    upsets = UpsetRate(fit_per_mbit=1e9, exposure_h=1e6, given_event=True).sample(store, np.random.default_rng(0))
    assert np.all(upsets.masks < 256)
    assert apply_edit(flips, store).tolist() == [255] * memory.words


def test_tensors_outside_the_memory_are_handed_on():
    stored, memory, code = hamming()
    other = Redraw(law="read_noise", key=(0, 0, "x"), std=np.ones(1))
    after = correct({"x": other} | bit(memory, "codes", 0, 1), stored, memory, code)
    assert after.edits == {"x": other}
    assert after.corrected_words == 1


def test_without_a_code_every_error_is_silent_and_stays():
    stored, memory, _ = hamming()
    edits = bit(memory, "codes", 2, 7)
    after = correct(edits, stored, memory, make_code("none", 64))
    assert after[1:4] == (0, 0, 1)
    assert after.edits["codes"].indices.tolist() == [2]
    assert after.edits["codes"].masks.tolist() == [128]


def test_the_same_edits_give_the_same_result_in_any_order():
    stored, memory, code = hamming()
    edits = {one.site.name: BitFlip(ber=0.1).sample(one, np.random.default_rng(8)) for one in stored.values()}
    one, other = (correct(e, stored, memory, code) for e in (edits, dict(reversed(edits.items()))))
    assert list(one.edits) == list(other.edits)
    assert one[1:4] == other[1:4]
    assert all(np.array_equal(one.edits[n].masks, other.edits[n].masks) for n in one.edits)


def test_a_whole_network_is_corrected_in_milliseconds():
    fmt = IntFormat(8, dtype="int8")
    stored = {f"w{i}": tensor(f"w{i}", np.ones(13400, np.int8), fmt) for i in range(20)}
    memory, code = MemoryMap(list(stored.values()), Geometry()), make_code("secded", 64)
    edits = memory.xor(np.random.default_rng(0).integers(memory.cells, size=3000))
    clock = time.perf_counter()
    after = correct(edits, stored, memory, code)
    assert time.perf_counter() - clock < 1.0  # about 20 ms; the margin is for a loaded machine
    assert after.corrected_words > 2000


def test_edits_and_codes_that_do_not_fit_are_refused():
    stored, memory, code = hamming()
    with pytest.raises(DeviceError, match="tensor codes: a code corrects bit errors, not analog noise"):
        correct({"codes": Add(delta=np.ones((3, 5)))}, stored, memory, code)
    with pytest.raises(OptionError, match="a code over 48 data bits does not fit memory words of 64 bits"):
        correct({}, stored, memory, make_code("secded", 48))
    beyond = Xor(indices=np.array([memory.words]), masks=np.array([1], dtype=np.uint64))
    with pytest.raises(OptionError, match=f"code word {memory.words} are wrong, the memory has {memory.words}"):
        correct({CHECKS: beyond}, stored, memory, code)
    with pytest.raises(OptionError, match="code 'none' has no check bits to store"):
        check_store(memory, make_code("none", 64))
