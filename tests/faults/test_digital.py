"""Laws of stored-bit faults: exact counts, identity at rate zero, monotone voltage, conditional events."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from faultsim.corruption import Corruption, Stored, Stuck, Xor, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import BitFlip, Fault, UpsetRate, VoltageBitErrors
from faultsim.faults.positions import distinct, flip, gather
from faultsim.faults.upset_rate import positive_poisson
from faultsim.formats import ConductancePair, FloatFormat, IntFormat
from faultsim.rng import generator

MakeStored = Callable[..., Stored]
TABLE = ((1.0, 0.0), (0.90, 1e-4), (0.85, 1e-3), (0.80, 5e-3), (0.75, 2.5e-2))
"""sram_low_voltage.yaml, ber_vs_vnorm."""


def int8(make_stored: MakeStored, elements: int = 1000, bits: int = 8, name: str = "w") -> Stored:
    half = 2 ** (bits - 1)
    codes = np.random.default_rng(5).integers(-half, half, elements).astype(np.int8)
    return make_stored(codes, IntFormat(bits, dtype="int8"), name)


def ones(masks: np.ndarray) -> int:
    return int(np.bitwise_count(masks).sum())


@given(size=st.integers(1, 300), data=st.data())
def test_distinct_positions_are_distinct_sorted_and_in_range(size: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, size))
    found = distinct(np.random.default_rng(data.draw(st.integers(0, 99))), size, count)
    assert found.size == count
    assert np.all(np.diff(found) > 0)
    assert count == 0 or (found[0] >= 0 and found[-1] < size)


def test_every_subset_is_equally_likely() -> None:
    rng = np.random.default_rng(3)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(6000):
        key = tuple(distinct(rng, 6, 2).tolist())
        counts[key] = counts.get(key, 0) + 1
    assert len(counts) == 15
    assert stats.chisquare(list(counts.values())).pvalue > 1e-4


@given(bits=st.integers(1, 64), data=st.data())
def test_gathered_masks_hold_every_position_once(bits: int, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.integers(0, 10 * bits - 1)))
    positions = np.array(sorted(chosen), dtype=np.int64)
    indices, masks = gather(positions, bits)
    back = {int(i) * bits + b for i, m in zip(indices, masks, strict=True) for b in range(64) if int(m) >> b & 1}
    assert back == chosen
    assert np.all(np.diff(indices) > 0)


LAWS: list[Fault] = [
    BitFlip(ber=0.01),
    VoltageBitErrors(voltage=0.78, table=TABLE),
    UpsetRate(fit_per_mbit=1e12, exposure_h=1.0, multiplicity=(0.5, 0.5)),
    UpsetRate(fit_per_mbit=1e-3, exposure_h=1.0, given_event=True),
]


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.kind)
def test_the_same_key_gives_the_same_edit(law: Fault, make_stored: MakeStored) -> None:
    stored = int8(make_stored)
    one, two, other = (law.sample(stored, generator(1, trial, "w")) for trial in (0, 0, 1))
    assert Corruption({"w": one}) == Corruption({"w": two})
    assert Corruption({"w": one}) != Corruption({"w": other})


@pytest.mark.parametrize(
    "law",
    [
        BitFlip(ber=0.0),
        VoltageBitErrors(voltage=1.0, table=TABLE),
        UpsetRate(fit_per_mbit=0.0, exposure_h=1.0),
    ],
    ids=lambda law: law.kind,
)
def test_rate_zero_is_the_identity(law: Fault, make_stored: MakeStored) -> None:
    stored = int8(make_stored)
    np.testing.assert_array_equal(apply_edit(law.sample(stored, generator(0, 0)), stored), stored.values)
    budget = law.budget(stored, p=2, confidence=0.99)
    assert (budget.n, budget.eps) == (0, 0.0)


@pytest.mark.parametrize("bits", [4, 8])
def test_the_number_of_flips_is_binomial_in_the_real_bits(bits: int, make_stored: MakeStored) -> None:
    stored = int8(make_stored, 50, bits)
    law = BitFlip(ber=0.02)
    counts = [ones(law.sample(stored, generator(0, t)).masks) for t in range(1500)]
    want = stats.binom(50 * bits, 0.02)
    edges = np.arange(int(want.ppf(0.02)), int(want.ppf(0.98)) + 1)
    seen = np.histogram(counts, [-np.inf, *edges, np.inf])[0]
    expected = np.diff([0.0, *want.cdf(edges - 1), 1.0]) * len(counts)
    assert stats.chisquare(seen, expected).pvalue > 1e-4


def test_every_bit_flips_at_the_same_rate(make_stored: MakeStored) -> None:
    stored = int8(make_stored, 40, 4)
    hits = np.zeros(160)
    for trial in range(1000):
        edit = BitFlip(ber=0.05).sample(stored, generator(0, trial))
        for index, mask in zip(edit.indices, edit.masks, strict=True):
            hits[int(index) * 4 + np.flatnonzero([int(mask) >> b & 1 for b in range(4)])] += 1
    assert stats.chisquare(hits).pvalue > 1e-4


def test_ber_one_flips_every_bit(make_stored: MakeStored) -> None:
    stored = int8(make_stored, 9)
    edit = BitFlip(ber=1.0).sample(stored, generator(0, 0))
    np.testing.assert_array_equal(apply_edit(edit, stored), ~stored.values)


def test_bits_on_an_analog_device_are_an_error(make_stored: MakeStored) -> None:
    stored = make_stored(np.ones(3, np.float32), ConductancePair(0, 25))
    with pytest.raises(DeviceError, match="stores no bits"):
        BitFlip(ber=0.1).sample(stored, generator(0, 0))


@settings(max_examples=30)
@given(voltages=st.tuples(st.floats(0.75, 1.0), st.floats(0.75, 1.0)), trial=st.integers(0, 5))
def test_cells_that_fail_at_a_voltage_fail_at_every_lower_one(
    voltages: tuple[float, float], trial: int, make_stored: MakeStored
) -> None:
    stored = int8(make_stored, 2000)
    low, high = (VoltageBitErrors(voltage=v, table=TABLE).sample(stored, generator(0, trial)) for v in sorted(voltages))
    assert set(high.indices.tolist()) <= set(low.indices.tolist())
    at = np.searchsorted(low.indices, high.indices)
    assert np.all(high.masks & ~low.masks[at] == 0)
    np.testing.assert_array_equal(low.bits[at] & high.masks, high.bits)


@pytest.mark.parametrize(
    ("voltage", "ber"),
    [
        (0.75, 2.5e-2),
        (0.9, 1e-4),
        (0.875, 10**-3.5),
        (0.95, 1e-5),
        (0.999, 10**-5.98),
        (1.0, 0.0),
        (1.2, 0.0),
    ],
)
def test_the_error_rate_is_log_linear_in_the_voltage(voltage: float, ber: float) -> None:
    assert VoltageBitErrors(voltage=voltage, table=TABLE).ber() == pytest.approx(ber, rel=1e-9)


def test_the_rate_is_flat_where_one_point_is_all_there_is() -> None:
    assert VoltageBitErrors(voltage=0.95, table=((1.0, 0.0), (0.9, 1e-4))).ber() == 1e-4
    assert VoltageBitErrors(voltage=5.0, table=((0.9, 1e-4),)).ber() == 1e-4


@pytest.mark.parametrize("p01", [0.0, 0.3, 1.0])
def test_failing_cells_read_one_as_often_as_asked(p01: float, make_stored: MakeStored) -> None:
    stored = int8(make_stored, 50_000)
    law = VoltageBitErrors(voltage=0.8, table=TABLE, p_flip_0to1=p01)
    edit = law.sample(stored, generator(0, 0))
    failing, high = ones(edit.masks), ones(edit.bits)
    assert np.all(edit.bits & ~edit.masks == 0)
    assert stats.binomtest(failing, 400_000, 5e-3).pvalue > 1e-4
    assert stats.binomtest(high, failing, p01).pvalue > 1e-4
    changed = np.unpackbits((apply_edit(edit, stored) ^ stored.values).view(np.uint8)).sum()
    budget = law.budget(stored, p=2, confidence=0.999)
    delta = apply_edit(edit, stored).astype(np.float64) - stored.values
    assert changed <= failing
    assert np.count_nonzero(delta) <= budget.n
    assert np.linalg.norm(delta) <= budget.eps


def chip(make_stored: MakeStored) -> list[Stored]:
    return [int8(make_stored, n, b, name) for n, b, name in ((100, 8, "a"), (300, 4, "b"), (50, 8, "c"))]


def test_upsets_are_poisson_in_the_exposure(make_stored: MakeStored) -> None:
    stored = int8(make_stored, 1000)
    law = UpsetRate(fit_per_mbit=82.2, exposure_h=3e9, flux_factor=2.0)
    mean = 82.2 * 8e3 / 1e6 * 3e9 / 1e9 * 2
    assert law.expected_events([stored]) == pytest.approx(mean)
    counts = [ones(law.sample(stored, generator(0, t)).masks) for t in range(1500)]
    want = stats.poisson(mean)
    edges = np.arange(int(want.ppf(0.02)), int(want.ppf(0.98)) + 1)
    seen = np.histogram(counts, [-np.inf, *edges, np.inf])[0]
    expected = np.diff([0.0, *want.cdf(edges - 1), 1.0]) * len(counts)
    assert stats.chisquare(seen, expected).pvalue > 1e-4


def test_given_an_event_a_chip_has_one_and_it_falls_in_proportion_to_bits(make_stored: MakeStored) -> None:
    law = UpsetRate(fit_per_mbit=1e-9, exposure_h=1.0, given_event=True)
    tensors = chip(make_stored)
    hits = {"a": 0, "b": 0, "c": 0}
    for trial in range(1500):
        edits = law.sample_chip(tensors, lambda name, t=trial: generator(0, t, name))  # type: ignore[misc]
        backwards = law.sample_chip(tensors[::-1], lambda name, t=trial: generator(0, t, name))  # type: ignore[misc]
        assert Corruption(edits) == Corruption(backwards)
        ((name, edit),) = edits.items()
        assert isinstance(edit, Xor)
        assert ones(edit.masks) == 1
        hits[name] += 1
    shares = np.array([800, 1200, 400]) / 2400
    assert stats.chisquare(list(hits.values()), shares * 1500).pvalue > 1e-4
    assert law.probability(tensors) == pytest.approx(1e-9 * 2400 / 1e15, rel=1e-9)


def test_without_the_condition_sites_are_drawn_by_themselves(make_stored: MakeStored) -> None:
    law = UpsetRate(fit_per_mbit=1e12, exposure_h=1.0)
    tensors = chip(make_stored)
    edits = law.sample_chip(tensors, lambda name: generator(0, 0, name))
    assert Corruption({"a": edits["a"]}) == Corruption({"a": law.sample(tensors[0], generator(0, 0, "a"))})


def test_an_event_flips_adjacent_bits_of_one_word(make_stored: MakeStored) -> None:
    law = UpsetRate(fit_per_mbit=1e-9, exposure_h=1.0, multiplicity=(0.0, 0.25, 0.75), given_event=True)
    stored = int8(make_stored, 100)
    sizes = []
    for trial in range(800):
        edit = law.sample(stored, generator(0, trial))
        mask = int(edit.masks[0])
        sizes.append(mask.bit_count())
        assert mask // (mask & -mask) == 2 ** mask.bit_count() - 1  # one run
        assert mask < 256
    assert stats.binomtest(sizes.count(3), 800, 0.75).pvalue > 1e-4
    narrow = make_stored(np.zeros(5, np.int8), IntFormat(2, dtype="int8"))
    assert ones(law.sample(narrow, generator(0, 0)).masks) == 2


@pytest.mark.parametrize("mean", [1e-12, 0.5, 3.0, 50.0])
def test_positive_poisson_is_the_truncated_law(mean: float) -> None:
    rng = np.random.default_rng(7)
    draws = np.array([positive_poisson(rng, mean) for _ in range(3000)])
    assert draws.min() >= 1
    want = mean / -math.expm1(-mean)
    spread = math.sqrt(max(want * (1 + mean) - want**2, 1e-12))
    assert abs(draws.mean() - want) < 5 * spread / math.sqrt(3000) + 1e-9


def test_float_words_flip_too(make_stored: MakeStored) -> None:
    stored = make_stored(np.ones(4, np.float32), FloatFormat("float32"))
    edit = flip(np.array([32 + 31]), 32)
    np.testing.assert_array_equal(apply_edit(edit, stored), [1, -1, 1, 1])
    budget = BitFlip(ber=0.1).budget(stored, p=2, confidence=0.9)
    assert budget.eps == math.inf
    assert "exact flips" in budget.note


def test_a_stuck_edit_is_idempotent(make_stored: MakeStored) -> None:
    stored = int8(make_stored)
    edit = VoltageBitErrors(voltage=0.75, table=TABLE).sample(stored, generator(0, 0))
    assert isinstance(edit, Stuck)
    once = apply_edit(edit, stored)
    np.testing.assert_array_equal(apply_edit(edit, stored._replace(values=once)), once)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BitFlip(ber=1.5), "ber must be between 0 and 1, got 1.5"),
        (lambda: BitFlip(ber=math.nan), "ber must be"),
        (lambda: VoltageBitErrors(voltage=0.5, table=TABLE), "below the BER table"),
        (lambda: VoltageBitErrors(voltage=0.8, table=()), "distinct voltages"),
        (lambda: VoltageBitErrors(voltage=0.8, table=((0.8, 0.1), (0.8, 0.2))), "distinct voltages"),
        (lambda: VoltageBitErrors(voltage=0.8, table=((0.8, 0.1), (0.9, 0.2))), "must not fall"),
        (lambda: VoltageBitErrors(voltage=0.8, table=TABLE, p_flip_0to1=2), "p_flip_0to1"),
        (lambda: UpsetRate(fit_per_mbit=-1, exposure_h=1), "fit_per_mbit must be finite"),
        (lambda: UpsetRate(fit_per_mbit=1, exposure_h=1, multiplicity=(0.5,)), "add up to 1"),
        (lambda: UpsetRate(fit_per_mbit=1, exposure_h=0, given_event=True), "no event can happen"),
    ],
)
def test_impossible_laws_are_refused(make: Callable[[], Fault], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        make()
