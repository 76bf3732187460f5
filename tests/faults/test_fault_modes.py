"""DRAM fault modes: which bits each takes, how often they touch a model, and bounds."""

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from norms import FORMATS, NAMES, check_budgets, check_poisson, int8, ones, stored, tensor
from scipy import stats

from faultsim.corruption import Corruption, Stored, Stuck, Xor, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults.effects import merged
from faultsim.faults.fault_modes import FaultModes, ModeRates
from faultsim.faults.rank import Hit, Rank
from faultsim.formats import FloatFormat, IntFormat, NumberFormat
from faultsim.memory import Geometry, MemoryMap, check_store, make_code
from faultsim.rng import generator

TRANSIENT = ModeRates(14.2, 1.4, 1.4, 0.2, 0.8, 0.3, 0.9)
PERMANENT = ModeRates(18.6, 0.3, 5.6, 8.2, 10.0, 1.4, 2.8)
"""dram_field_faults.yaml: Jaguar, as encoded in FaultSim (status verified)."""
NONE = ModeRates()
JAGUAR = 8 * 16384 * 2048 * 4 / 1e6
"""Capacity of that x4 device, FaultSim configs/DIMM_SECDED.ini: 8 banks, 16384 rows, 2048 columns."""
SMALL = Geometry(rows=4, row_words=8)
MBIT = 10 * 4 * 8 * 4 / 1e6
"""Ten small x4 banks."""


def law(**fields: Any) -> FaultModes:
    return FaultModes(**{"transient": NONE, "permanent": NONE, "exposure_h": 1.0, "device_mbit": MBIT,
                         "geometry": SMALL, **fields})  # fmt: skip


def only(mode: str, rate: float = 1e-3, **fields: Any) -> FaultModes:
    return law(**{"permanent": ModeRates(**{mode: rate}), "given_event": True, **fields})


def draw(one: FaultModes, tensors: list[Stored], trial: int = 0) -> dict[str, Any]:
    return one.sample_chip(tensors, lambda name: generator(0, trial, name))


@pytest.mark.parametrize(("width", "lanes"), [(4, 16), (8, 8)])
@pytest.mark.parametrize("mode", ["word", "column", "row", "bank", "multi_bank", "multi_rank"])
def test_a_fault_takes_one_device_of_the_words_in_its_range(mode: str, width: int, lanes: int) -> None:
    one = stored(np.zeros(8 * 43, np.int8), IntFormat(8, dtype="int8"))  # 43 words: a bank of 32 and a third
    fault = only(mode, device_width=width, device_mbit=3 * MBIT)
    seen: Counter[tuple[int, ...]] = Counter()
    places = set()
    for trial in range(400):
        edit = draw(fault, [one], trial)["w"]
        assert isinstance(edit, Stuck)
        cells = np.array([int(i) * 8 + b for i, m in zip(edit.indices, edit.masks, strict=True)
                          for b in range(8) if int(m) >> b & 1])  # fmt: skip
        word, bit = np.divmod(cells, 64)
        assert np.unique(bit // width).size == 1
        words = tuple(np.unique(word).tolist())
        assert cells.size == width * len(words)
        seen[words] += 1
        places.add(int(bit[0]) // width)
    assert places == set(range(lanes))
    want = {
        "word": [(w,) for w in range(43)],
        "column": [tuple(range(c, 32, 8)) for c in range(8)] + [tuple(range(32 + c, 43, 8)) for c in range(8)],
        "row": [tuple(range(r, min(r + 8, 43))) for r in range(0, 43, 8)],
        "bank": [tuple(range(32)), tuple(range(32, 43))],
    }.get(mode, [tuple(range(43))])
    assert set(seen) == set(want)
    if len(want) > 1:
        assert stats.chisquare([seen[key] for key in want]).pvalue > 1e-4


def test_affected_bits_read_a_coin_and_a_transient_bit_fault_is_a_flip() -> None:
    one = int8(8 * 320)
    flipped = draw(law(transient=ModeRates(multi_bank=1.0), given_event=True), [one])["w"]
    assert isinstance(flipped, Xor)
    assert stats.binomtest(ones(flipped.masks), 320 * 4).pvalue > 1e-4
    held = draw(only("multi_bank"), [one])["w"]
    assert (ones(held.masks), stats.binomtest(ones(held.bits), 320 * 4).pvalue > 1e-4) == (320 * 4, True)
    hits = Counter()
    for trial in range(3000):
        edit = draw(law(transient=ModeRates(bit=1e-3), given_event=True), [int8(8)], trial)["w"]
        assert ones(edit.masks) == 1
        hits[int(edit.indices[0]), int(edit.masks[0])] += 1
    assert len(hits) == 64
    assert stats.chisquare(list(hits.values())).pvalue > 1e-4
    single = [draw(only("bit"), [int8(8)], trial)["w"] for trial in range(800)]
    assert stats.binomtest(sum(ones(edit.bits) for edit in single), 800).pvalue > 1e-4


def test_the_rates_are_scaled_by_what_a_fault_can_touch() -> None:
    """By hand: 43 words of 64 bits in ten banks of 4 rows x 8 words."""
    tensors = [stored(np.zeros(8 * 43, np.int8), IntFormat(8, dtype="int8"))]
    share = {"bit": 43 / 320, "word": 43 / 320, "column": 16 / 80, "row": 6 / 40, "bank": 2 / 10, "multi_bank": 1.0,
             "multi_rank": 1.0}  # fmt: skip
    for mode, part in share.items():
        found = only(mode, 7.0, exposure_h=3.0).expected_events(tensors)
        assert found == pytest.approx(16 * 7.0e-9 * 3.0 * part, rel=1e-12), mode
    # less than a row: as many columns as words
    assert only("column", 1.0).expected_events([int8(8 * 3)]) == pytest.approx(16e-9 * 3 / 80)


def test_the_field_rates_of_a_whole_rank_are_those_of_its_devices() -> None:
    full = FaultModes(transient=TRANSIENT, permanent=PERMANENT, exposure_h=61320, device_mbit=JAGUAR)
    rank = Rank([], full.geometry, 4, 18, JAGUAR)
    rank.memory.words = 8 * 16384 * 2048
    rank.memory.rows_used, rank.memory.banks_used = 8 * 16384, 8
    assert all(rank.share(mode) == pytest.approx(1.0) for mode in ModeRates._fields)
    part = FaultModes(transient=TRANSIENT, permanent=PERMANENT, exposure_h=61320, device_mbit=JAGUAR, given_event=True)
    one = int8(1_000_000)
    words = 125_000
    share = np.array([words / 2**28, words / 2**28, 1 / 8, 62 / 2**17, 1 / 8, 1, 1])
    share[3] = math.ceil(words / 2048) / 2**17
    want = float((np.array(TRANSIENT) + np.array(PERMANENT)) @ share) * 16 * 61320e-9
    assert part.expected_events([one]) == pytest.approx(want, rel=1e-9)
    assert part.probability([one]) == pytest.approx(-math.expm1(-want), rel=1e-9)


def test_faults_are_poisson_and_modes_come_as_often_as_their_rates() -> None:
    tensors = [stored(np.zeros(8 * 32, np.int8), IntFormat(8, dtype="int8"))]
    fault = law(permanent=ModeRates(word=0.0, multi_bank=2e8, row=3e8), exposure_h=1.0)
    mean = 16 * (0.2 + 0.3 * 4 / 40)
    assert fault.expected_events(tensors) == pytest.approx(mean)
    lanes = [ones(draw(fault, tensors, t).get("w", Xor(indices=np.empty(0), masks=np.empty(0, np.uint64))).masks)
             for t in range(400)]  # fmt: skip
    assert np.mean([count == 0 for count in lanes]) == pytest.approx(math.exp(-mean), abs=0.03)
    one = law(transient=ModeRates(bit=1e3), exposure_h=10.0, device_mbit=32 * 4 / 1e6)
    big = law(transient=ModeRates(bit=1e6), exposure_h=1e3)
    assert one.expected_events(tensors) == pytest.approx(16 * 1e-9 * 1e3 * 10.0)
    values = stored(np.zeros(8 * 320, np.int8), IntFormat(8, dtype="int8"))
    check_poisson([ones(draw(big, [values], t)["w"].masks) for t in range(500)], 16.0)


def test_equal_keys_give_equal_chips_whatever_the_order_of_the_tensors() -> None:
    tensors = [int8(200, name="b"), tensor(IntFormat(4), 90, "a"), tensor(FloatFormat("bfloat16"), 40, "c")]
    fault = law(transient=TRANSIENT, permanent=PERMANENT, exposure_h=3e6)
    for trial in range(30):
        assert Corruption(draw(fault, tensors, trial)) == Corruption(draw(fault, tensors[::-1], trial))
    assert len({Corruption(draw(fault, tensors, trial)) for trial in range(30)}) > 10


def test_several_faults_of_a_tensor_become_one_edit() -> None:
    one = stored(np.array([0b0011], np.int8), IntFormat(8, dtype="int8"))
    index = np.array([0])

    def word(number: int) -> Any:
        return np.array([number], np.uint64)

    flip, held = Xor(indices=index, masks=word(0b0110)), Stuck(indices=index, masks=word(0b1100), bits=word(0b1000))
    again = Stuck(indices=index, masks=word(0b1000), bits=word(0))
    assert merged(one, [flip], []) is flip
    both = merged(one, [flip], [held])
    assert isinstance(both, Xor)
    np.testing.assert_array_equal(apply_edit(both, one), [0b1001])
    later = merged(one, [], [held, again])
    assert isinstance(later, Stuck)
    assert (int(later.masks[0]), int(later.bits[0])) == (0b1100, 0)


def test_devices_of_check_bits_fail_with_the_words_they_check() -> None:
    data = int8(8 * 43)
    code = make_code("secded", data_bits=64)
    checks = check_store(MemoryMap([data], SMALL), code)
    fault = only("row", device_mbit=3 * MBIT)
    assert fault.expected_events([data, checks]) == pytest.approx(fault.expected_events([data]) * 18 / 16)
    hit = Counter()
    for trial in range(600):
        for name, edit in draw(fault, [data, checks], trial).items():
            hit[name] += 1
            if name == "#ecc":
                row = int(edit.indices[0]) // 8
                np.testing.assert_array_equal(edit.indices, np.arange(row * 8, min(row * 8 + 8, 43)))
                assert set(edit.masks.tolist()) in ({0x0F}, {0xF0})
    assert stats.binomtest(hit["#ecc"], 600, 2 / 18).pvalue > 1e-4
    flips = law(transient=ModeRates(word=1e-3), given_event=True, device_mbit=3 * MBIT)
    assert any("#ecc" in draw(flips, [data, checks], trial) for trial in range(60))
    rank = Rank([data, checks], SMALL, 4, 18, 3 * MBIT)
    for name, edit in rank.edits(Hit("bit", 5, 17), True, generator(0, 0)):
        assert (name, edit.indices.tolist(), edit.masks.tolist()) == ("#ecc", [1], [1 << 5])


@pytest.mark.parametrize("fmt", FORMATS, ids=NAMES)
@pytest.mark.parametrize("exposure", [1.0, 2e6])
def test_every_format_fails_within_its_bounds(fmt: NumberFormat, exposure: float) -> None:
    fault = law(transient=TRANSIENT, permanent=PERMANENT, exposure_h=exposure, given_event=True, device_mbit=9 * MBIT)
    check_budgets(fault, tensor(fmt), trials=60)


def test_the_bound_of_a_transient_bit_fault_is_the_flip() -> None:
    one = int8(64)
    fault = law(transient=ModeRates(bit=1e-6), given_event=True)
    for confidence, size in ((0.6, 16), (0.8, 64), (0.95, 128)):
        budget = fault.budget(one, p=1, confidence=confidence)
        assert budget.n == 1
        assert budget.eps == pytest.approx(size, rel=1e-3)
        assert fault.budget(one, p=math.inf, confidence=confidence).eps == size


def test_no_rate_changes_nothing_and_budgets_grow_with_the_exposure() -> None:
    one = int8(400)
    assert draw(law(), [one]) == {}
    assert law().sample(one, generator(0, 0)).indices.size == 0
    found = [law(transient=TRANSIENT, permanent=PERMANENT, exposure_h=h).budget(one, p=2, confidence=0.9)
             for h in (0.0, 1e3, 1e5, 1e6, 1e7)]  # fmt: skip
    assert (found[0].n, found[0].eps) == (0, 0.0)
    assert [b.n for b in found] == sorted(b.n for b in found)
    assert [b.eps for b in found] == sorted(b.eps for b in found)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"exposure_h": -1.0}, "exposure_h must be finite"),
        ({"transient": ModeRates(row=-1.0)}, r"transient\.row must be finite"),
        ({"device_width": 16}, "device_width must be 4 or 8 of each 64 data bits, got 16"),
        ({"devices": 9}, "x4 devices needs at least 16, got 9"),
        ({"geometry": Geometry(word_bits=32)}, "memory words of 64 data bits, got 32"),
        ({"device_mbit": MBIT / 100}, "hold a bank of the geometry"),
        ({"given_event": True}, "no fault can happen"),
    ],
)
def test_impossible_modes_are_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        law(**fields)


def test_a_model_larger_than_the_rank_is_an_error() -> None:
    with pytest.raises(DeviceError, match="Mbit of each device of the rank, which has"):
        only("bit").sample(int8(8 * 400), generator(0, 0))
