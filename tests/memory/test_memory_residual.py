from dataclasses import replace
from itertools import combinations
from math import comb

import codes
import numpy as np
import pytest

from faultsim.errors import OptionError
from faultsim.memory import make_code, residual_ber, residual_of_cluster, word_outcomes
from faultsim.memory.weights import RADIUS, patterns

ON_DUE = ["halt", "reload", "zero_word", "pass_through"]
exact = pytest.mark.parametrize("name", [n for n, c in codes.SMALL.items() if c.bits <= 18])


def every(code):
    """Decode all error patterns of a small code: weight, flags and wrong data bits of each."""
    errors = (np.arange(1 << code.bits)[:, None] >> np.arange(code.bits)) & 1 == 1
    seen = replace(code, on_due="pass_through").decode(errors[:, : code.data_bits], errors[:, code.data_bits :])
    return errors.sum(axis=1), seen


@exact
def test_the_residual_is_the_sum_over_all_error_patterns(name):
    code = codes.SMALL[name]
    weight, seen = every(code)
    wrong = seen.residual.sum(axis=1)
    for ber in (0.0, 1e-5, 1e-3, 0.02, 0.1, 0.5, 1.0):
        chance = ber**weight * (1 - ber) ** (code.bits - weight)
        silent, lost = (float(np.sum(chance[m] * wrong[m])) for m in (seen.silent, seen.detected))
        alarm = float(chance[seen.detected].sum())
        want = {"halt": silent, "reload": silent, "zero_word": silent + alarm * 0.3 * 8, "pass_through": silent + lost}
        sampled = code.scheme not in {*RADIUS, "none"} and code.bits * ber > 2
        close = {"rel": 0.05, "abs": 0.003} if sampled else {"rel": 1e-4 if code.scheme not in RADIUS else 1e-9}
        for on_due in ON_DUE:
            found = residual_ber(replace(code, on_due=on_due), ber, ones=0.3)
            assert found == pytest.approx(want[on_due] / 8, **close)
        fates = word_outcomes(code, ber)
        for got, flag in zip(fates, (seen.corrected, seen.detected, seen.silent), strict=True):
            assert got == pytest.approx(float(chance[flag].sum()), **close | {"abs": 0.005 if sampled else 1e-15})


@pytest.mark.parametrize("name", [n for n, c in codes.SMALL.items() if c.scheme in RADIUS])
def test_the_exact_counts_are_those_of_enumeration(name):
    code = codes.SMALL[name]
    weight, seen = every(code)
    found = patterns(code.scheme, 8, code.check_bits, code.symbol_bits)
    wrong = seen.residual.sum(axis=1)
    for k in range(code.bits + 1):
        at = weight == k
        assert found.silent[k] == np.sum(seen.silent & at)
        assert found.detected[k] == np.sum(seen.detected & at)
        assert found.silent_wrong[k] == wrong[seen.silent & at].sum()
        assert found.detected_wrong[k] == wrong[seen.detected & at].sum()


@pytest.mark.parametrize(("scheme", "weight"), [("sec", 2), ("secded", 3), ("dec", 3), ("parity", 2)])
def test_the_counts_of_long_codes_agree_with_decoding_their_light_patterns(scheme, weight):
    code = make_code(scheme, 64, on_due="pass_through")
    places = np.array(list(combinations(range(code.bits), weight)))
    errors = np.zeros((len(places), code.bits), dtype=bool)
    errors[np.arange(len(places))[:, None], places] = True
    seen = code.decode(errors[:, :64], errors[:, 64:])
    found = patterns(scheme, 64, code.check_bits, 4)
    assert found.silent[weight] == seen.silent.sum()
    assert found.detected[weight] == seen.detected.sum()
    assert found.silent_wrong[weight] == seen.residual[seen.silent].sum()
    assert found.silent[weight] + found.detected[weight] == comb(code.bits, weight)


def test_the_leading_orders_of_the_common_secded_code():
    """MATH §4: b' = 71 b^2 where two errors are left; where the machine halts only three and more are silent."""
    through, halt = make_code("secded", 64, on_due="pass_through"), make_code("secded", 64)
    for ber in (1e-12, 1e-9, 1e-6):
        assert residual_ber(through, ber) == pytest.approx(71 * ber**2, rel=1e-3)
        assert residual_ber(halt, ber) == pytest.approx(118464 / 64 * ber**3, rel=1e-3)
        fates = word_outcomes(halt, ber)
        assert fates.detected == pytest.approx(comb(72, 2) * ber**2, rel=1e-3)
        assert fates.silent == pytest.approx(33568 * ber**3, rel=1e-3)
    assert residual_ber(make_code("chipkill", 128), 1e-9) > 0  # three wrong symbols, among many double ones


@pytest.mark.parametrize("on_due", ON_DUE)
@pytest.mark.parametrize(
    ("scheme", "data_bits", "ber"),
    [("secded", 64, 0.02), ("sec", 32, 0.02), ("dec", 64, 0.03), ("parity", 64, 0.01), ("chipkill", 128, 0.012),
     ("reed_solomon", 64, 0.02), ("none", 64, 0.02), ("secded", 64, 0.3)],
)  # fmt: skip
def test_a_monte_carlo_of_the_real_decoder_meets_the_residual(scheme, data_bits, ber, on_due):
    code = make_code(scheme, data_bits, on_due=on_due)
    draw = np.random.default_rng(7)
    words = 60_000
    errors = draw.random((words, code.bits)) < ber
    data = draw.random((words, data_bits)) < 0.5
    seen = code.decode(errors[:, :data_bits], errors[:, data_bits:], data)
    each = seen.residual.mean(axis=1)
    error = 4.5 * each.std() / np.sqrt(words) + 1e-9
    sampled = 0.08 * each.mean() if scheme in ("chipkill", "reed_solomon") else 0.0  # their own draw
    assert residual_ber(code, ber) == pytest.approx(each.mean(), abs=error + sampled)
    fates = word_outcomes(code, ber)
    for got, flag in zip(fates, (seen.corrected, seen.detected, seen.silent), strict=True):
        share = flag.mean()
        slack = 4.5 * np.sqrt(share * (1 - share) / words) + 1e-4
        assert got == pytest.approx(share, abs=slack + (0.02 if sampled else 0.0))


def test_sampled_residuals_are_the_same_every_time():
    code = make_code("chipkill", 64)
    residual_ber(code, 0.01)
    from faultsim.memory import residual

    before = residual_ber(code, 0.01)
    residual._with_errors.cache_clear()
    assert residual_ber(code, 0.01) == before
    assert residual_ber(code, 0.1) == residual_ber(code, 0.1)


@pytest.mark.parametrize("name", list(codes.SMALL))
@pytest.mark.parametrize(("pattern", "lanes"), [("word_cluster", 1), ("row", 1), ("row", 2), ("row", 3), ("column", 1)])
def test_clusters_do_what_decoding_each_place_does(name, pattern, lanes):
    code = replace(codes.SMALL[name], on_due="pass_through")
    shares = [0.4, 0.3, 0.0, 0.2, 0.1]
    fates = {"corrected": 0.0, "detected": 0.0, "silent": 0.0}
    wrong = np.zeros(200)
    for size, share in enumerate(shares, start=1):
        run = 1 if pattern == "column" else min(size, lanes * code.bits)
        starts = lanes * code.bits - run + 1
        for start in range(starts):
            words = np.zeros((lanes, code.bits), dtype=bool)
            for column in range(start, start + run):
                words[column % lanes, column // lanes] = True
            seen = code.decode(words[:, :8], words[:, 8:])
            bits = int(seen.residual.sum()) * (size if pattern == "column" else 1)
            fate = "detected" if seen.detected.any() else "silent" if bits else "corrected"
            fates[fate] += share / starts
            wrong[bits] += share / starts if fate == "silent" else 0
    found = residual_of_cluster(code, shares, pattern, interleave=lanes)
    assert found[:3] == pytest.approx((fates["corrected"], fates["detected"], fates["silent"]))
    assert sum(found[:3]) == pytest.approx(1)
    if found.silent:
        assert found.wrong_bits == pytest.approx(tuple(wrong[: len(found.wrong_bits)] / fates["silent"]))
        assert sum(found.wrong_bits) == pytest.approx(1)
    else:
        assert found.wrong_bits == ()


def test_clusters_that_a_code_is_made_for():
    secded = make_code("secded", 64)
    assert residual_of_cluster(secded, [1.0]) == (1.0, 0.0, 0.0, ())
    assert residual_of_cluster(secded, [0.0, 1.0])[:2] == (0.0, 1.0)
    assert residual_of_cluster(secded, [0, 0, 0, 1], "row", interleave=4).corrected == 1.0
    assert residual_of_cluster(secded, [0, 0, 0, 1], "column").corrected == 1.0
    eight = make_code("chipkill", 64, symbol_bits=8)  # a byte and a bit more lie in at most two symbols
    assert residual_of_cluster(eight, [0] * 8 + [1.0]).silent == 0.0
    assert residual_of_cluster(make_code("parity", 64), [0.5, 0.5]).silent == 0.5
    assert residual_of_cluster(make_code("none", 64), [0.5, 0.5]).wrong_bits == (0.0, 0.5, 0.5)


def test_the_size_of_the_word_bounds_a_cluster():
    code = make_code("secded", 8)
    longest = residual_of_cluster(code, [0.0] * code.bits + [1.0])
    assert longest == residual_of_cluster(code, [0.0] * (code.bits - 1) + [1.0])


def test_rates_shares_and_patterns_out_of_range_are_refused():
    code = make_code("secded", 8)
    with pytest.raises(OptionError, match=r"ber must be between 0 and 1, got 1\.5"):
        residual_ber(code, 1.5)
    with pytest.raises(OptionError, match="ber must be between 0 and 1, got nan"):
        word_outcomes(code, float("nan"))
    with pytest.raises(OptionError, match="ones must be between 0 and 1, got -1"):
        residual_ber(code, 0.5, ones=-1)
    with pytest.raises(OptionError, match="multiplicity must be probabilities that add up to 1, got"):
        residual_of_cluster(code, [0.5])
    with pytest.raises(OptionError, match="unknown pattern 'iid'; use word_cluster, row or column"):
        residual_of_cluster(code, [1.0], "iid")
    with pytest.raises(OptionError, match="interleave must be at least 1, got 0"):
        residual_of_cluster(code, [1.0], "row", interleave=0)
