"""Budgets of bits and events: the table of MATH.md §4 against its reference, and exact laws."""

import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from faultsim.budget import (
    Budget,
    bit_errors,
    compound_quantile,
    flip_sizes,
    poisson_quantile,
    secded_ber,
    secded_word_failure,
    stored_bits,
    upsets,
)
from faultsim.formats import BinaryFormat, FloatFormat, IntFormat

NAMES: dict[str, Any] = {"mechanism": "m", "scope": "w"}


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    path = Path(__file__).resolve().parents[2] / "shared" / "golden" / "analog" / "mapping_checks.json"
    if not path.is_file():
        pytest.skip("needs the reference data folder 'shared' beside the checkout")
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def int_errors(elements: int, bits: int, ber: float, p: float, confidence: float = 0.99) -> Budget:
    fmt = IntFormat(bits, dtype="int8")
    sizes = flip_sizes(fmt, np.zeros(1, np.int8))
    return bit_errors(**NAMES, sizes=sizes, rates=ber, elements=elements, p=p, confidence=confidence)


@pytest.mark.parametrize(
    ("elements", "bits", "ber", "key"),
    [
        (100_000, 8, 1e-4, "bitflip k=100000 B=8 b=0.0001"),
        (100_000, 8, 1e-2, "bitflip k=100000 B=8 b=0.01"),
        (1_000_000, 8, 1e-6, "bitflip k=1000000 B=8 b=1e-06"),
        (50_000, 4, 1e-3, "bitflip k=50000 B=4 b=0.001"),
    ],
)
def test_bit_error_budgets_are_those_of_the_reference(
    elements: int, bits: int, ber: float, key: str, golden: dict[str, Any]
) -> None:
    case = golden[key]
    two = int_errors(elements, bits, ber, 2)
    assert two.n == case["n_q99_pred"]
    assert two.eps == pytest.approx(case["l2_q99_compound"], rel=0.01)
    assert two.eps == pytest.approx(case["l2_q99"], rel=0.06)  # Monte Carlo of few chips
    one = int_errors(elements, bits, ber, 1, confidence=0.5)
    assert one.eps == pytest.approx(case["l1_pred"], rel=0.1)  # a median against a mean of few flips
    most = int_errors(elements, bits, ber, math.inf).eps
    assert most >= case["linf_single"]
    assert most >= case["linf_max"] or elements == 1_000_000  # there one of hundreds of chips had two in a word


def test_rare_flips_are_never_two_in_a_word() -> None:
    assert int_errors(1_000_000, 8, 1e-6, math.inf).eps == 128


@pytest.mark.parametrize(("elements", "ber"), [(2000, 1e-3), (300, 2e-2)])
def test_bit_error_budgets_hold_at_their_confidence(elements: int, ber: float) -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, elements).astype(np.int8)
    flips = rng.random((1500, elements, 8)) < ber
    masks = (flips << np.arange(8)).sum(axis=2).astype(np.uint8)
    deltas = (codes.view(np.uint8) ^ masks).view(np.int8).astype(np.float64) - codes
    for p in (1, 2, math.inf):
        budget = int_errors(elements, 8, ber, p, confidence=0.9)
        held = np.mean(np.linalg.norm(deltas, p, axis=1) <= budget.eps)
        assert held >= 0.87, p
        assert held <= 0.945 or p == math.inf
        assert np.mean(np.count_nonzero(deltas, axis=1) <= budget.n) >= 0.87


def test_no_likely_flip_needs_no_room() -> None:
    assert int_errors(10, 8, 1e-9, 2) == Budget(**NAMES, p=2, eps=0.0, n=0, confidence=0.99)


@pytest.mark.parametrize("encoding", ["twos_complement", "offset_binary", "sign_magnitude"])
@pytest.mark.parametrize("scale", [0.5, [[0.25], [2.0]]])
def test_flip_sizes_are_what_flips_change(encoding: Any, scale: Any) -> None:
    fmt = IntFormat(4, encoding=encoding, scale=scale)
    values = fmt.decode(np.array([[1, 6, 15], [0, 9, 7]], np.uint64))
    sizes = np.broadcast_to(flip_sizes(fmt, values), (6, 4))
    words = fmt.encode(values)
    for bit in range(4):
        changed = np.abs(fmt.decode(words ^ np.uint64(1 << bit)) - values)
        np.testing.assert_allclose(sizes[:, bit], changed.ravel(), rtol=1e-6)
    np.testing.assert_array_equal(stored_bits(fmt, values) @ (1 << np.arange(4)), words.ravel())


def test_floats_bound_the_count_alone() -> None:
    sizes = flip_sizes(FloatFormat(), np.ones(9, np.float32))
    budget = bit_errors(**NAMES, sizes=sizes, rates=0.01, elements=9, p=2, confidence=0.99)
    assert budget.eps == math.inf
    assert budget.n == stats.binom.ppf(0.99, 9, 1 - 0.99**32)


def test_a_rate_of_one_touches_every_element() -> None:
    budget = int_errors(7, 8, 1.0, math.inf)
    assert (budget.n, budget.eps) == (7, 255.0)


@pytest.mark.parametrize("given_event", [False, True])
def test_compound_quantiles_are_exact_on_an_enumerable_law(given_event: bool) -> None:
    sizes, rates = np.array([1.0, 4.0, 16.0]), np.array([0.4, 0.2, 0.1])
    total: dict[float, float] = {}
    for counts in itertools.product(range(9), repeat=3):
        if not given_event or any(counts):
            share: float = math.prod(stats.poisson.pmf(n, r) for n, r in zip(counts, rates, strict=True))
            value = float(sizes @ np.array(counts))
            total[value] = total.get(value, 0.0) + share
    mass = sum(total.values())
    for confidence in (0.6, 0.9, 0.99, 0.999):
        running = 0.0
        for value in sorted(total):
            running += total[value] / mass
            if running >= confidence:
                break
        got = compound_quantile(sizes, rates, confidence, given_event=given_event)
        assert got == pytest.approx(value, rel=2e-3, abs=1e-2), confidence


@given(lam=st.floats(1e-15, 1e-3), confidence=st.floats(0.5, 0.99))
def test_given_one_rare_event_the_quantile_is_that_of_one_jump(lam: float, confidence: float) -> None:
    got = compound_quantile([1.0, 10.0], [lam * 0.4, lam * 0.6], confidence, given_event=True)
    assert got == pytest.approx(10.0, rel=0.11)
    assert compound_quantile([1.0, 10.0], [lam * 0.4, lam * 0.6], confidence) == 0.0


def test_many_jumps_are_nearly_normal() -> None:
    sizes, rates = np.array([1.0, 4.0]), np.array([4e5, 1e5])
    want = sizes @ rates + stats.norm.ppf(0.99) * math.sqrt(sizes**2 @ rates)
    assert compound_quantile(sizes, rates, 0.99) == pytest.approx(want, rel=1e-4)
    assert compound_quantile(sizes, rates, 0.99, given_event=True) == pytest.approx(want, rel=1e-4)


@given(mean=st.floats(1e-12, 50), confidence=st.floats(0.01, 0.999))
def test_poisson_quantiles_given_an_event(mean: float, confidence: float) -> None:
    n = poisson_quantile(mean, confidence, given_event=True)
    missed = stats.poisson.sf(n, mean) / -math.expm1(-mean)
    assert n >= 1
    assert missed <= (1 - confidence) * (1 + 1e-9)
    assert poisson_quantile(mean, confidence) <= n
    assert poisson_quantile(0.0, confidence) == 0


def test_secded_is_that_of_the_reference(golden: dict[str, Any]) -> None:
    for ber, key in ((1e-6, "1e-06"), (1e-4, "0.0001"), (1e-3, "0.001")):
        case = golden[f"SECDED(72,64) b={key}"]
        assert secded_word_failure(ber) == pytest.approx(case["p_uncorrectable_word"], rel=1e-6)
        assert secded_ber(ber) == pytest.approx(case["post_ber_approx"], rel=40 * ber + 1e-6)
    assert secded_ber(0.0) == 0.0
    assert secded_ber(1.0) == 1.0


def test_event_counts_are_those_of_the_reference(golden: dict[str, Any]) -> None:
    case = golden["SEU 78FIT/Mb x 86.4Mb x 5y no scrub"]
    assert -math.expm1(-case["lam"]) == pytest.approx(case["p_any"])
    assert poisson_quantile(case["lam"], 0.99) == 2  # events; the reference's 3 are flips, some events have two
    assert poisson_quantile(1e-9, 0.99, given_event=True) == 1


def upset_budget(p: float, rate: float, *, conditional: bool = False, fmt: Any = None, share: float = 0.0) -> Budget:
    fmt = fmt or IntFormat(8, dtype="int8")
    values = np.arange(-100, 100).astype(np.int8)
    return upsets(
        **NAMES, fmt=fmt, values=values, events_per_bit=rate, multiplicity=(1 - share, share),
        conditional=conditional, p=p, confidence=0.99,
    )  # fmt: skip


def test_one_upset_moves_one_word_by_at_most_its_top_bit() -> None:
    for p in (1, 2, math.inf):
        budget = upset_budget(p, 1e-12, conditional=True)
        assert (budget.n, budget.conditional) == (1, True)
        assert budget.eps == pytest.approx(128, rel=1e-3)
        assert upset_budget(p, 1e-12).n == 0
    # both top bits, 0 to -64 - 128: every fourteenth of the events of two bits
    assert upset_budget(math.inf, 1e-12, conditional=True, share=0.5).eps == 192
    assert upset_budget(math.inf, 1e-12, conditional=True, share=0.1).eps == 128
    assert upset_budget(2, 1e-3, fmt=FloatFormat()).eps == math.inf
    assert upset_budget(2, 1e-12, conditional=True, fmt=BinaryFormat(), share=0.5).eps == pytest.approx(2, rel=1e-3)


def test_a_quantile_far_below_the_largest_jump_is_resolved():
    sizes = 4.0 ** np.arange(-20, 3)
    rates = np.full(sizes.size, 0.02)
    rng = np.random.default_rng(0)
    sums = (rng.poisson(rates, size=(200_000, sizes.size)) * sizes).sum(axis=1)
    for confidence in (0.7, 0.8, 0.9, 0.99):
        got = compound_quantile(sizes, rates, confidence)
        low, high = (np.mean(sums <= got * factor) for factor in (0.999, 1.001))
        assert low - 0.005 <= confidence <= high + 0.005
