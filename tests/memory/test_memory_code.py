from itertools import combinations

import codes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import OptionError
from faultsim.memory import Code, make_code
from faultsim.memory.galois import PRIMITIVE, field
from faultsim.memory.weights import word_weights

small = pytest.mark.parametrize("name", list(codes.SMALL))


def split(code, errors):
    return errors[:, : code.data_bits], errors[:, code.data_bits :]


def patterns_of(code, weight):
    places = np.array(list(combinations(range(code.bits), weight)))
    errors = np.zeros((len(places), code.bits), dtype=bool)
    errors[np.arange(len(places))[:, None], places] = True
    return errors


@small
def test_the_decoder_turns_every_error_into_the_code_word_that_is_near(name):
    code = codes.SMALL[name]
    draw = np.random.default_rng(1)
    rates = draw.uniform(0, 0.5, size=(1500, 1))
    errors = draw.random((1500, code.bits)) < rates
    done, left = codes.nearest(code, errors)
    if code.scheme == "none":
        done[:] = True
    seen = make_code(code.scheme, 8, code.check_bits, on_due="pass_through", symbol_bits=code.symbol_bits).decode(
        *split(code, errors)
    )
    assert np.array_equal(seen.detected, ~done)
    assert np.array_equal(seen.residual, left[:, :8])
    wrong = left[:, :8].any(axis=1)
    assert np.array_equal(seen.silent, done & wrong)
    assert np.array_equal(seen.corrected, done & ~wrong & errors.any(axis=1))
    flipped = done & (left != errors).any(axis=1)
    assert np.array_equal(seen.miscorrected, flipped & left.any(axis=1))


@small
def test_the_code_words_lie_as_far_apart_as_the_scheme_says(name):
    code = codes.SMALL[name]
    weights = codes.symbols(code, codes.all_words(code)[1:]).sum(axis=1)
    rs = code.check_bits // code.symbol_bits + 1
    least = {"none": 1, "parity": 2, "sec": 3, "secded": 4, "dec": 5 + code.check_bits % 2, "chipkill": 4}
    assert weights.min() >= least.get(code.scheme, rs)
    if code.scheme == "reed_solomon":
        assert weights.min() == rs


@small
def test_the_weights_of_the_code_are_those_of_its_words(name):
    code = codes.SMALL[name]
    if code.scheme == "none":
        return
    words = codes.all_words(code)
    weight = words.sum(axis=1)
    found = word_weights(code.scheme, 8, min(code.check_bits, 20), code.symbol_bits) if code.check_bits <= 20 else None
    if found:
        assert found.words == tuple(np.bincount(weight, minlength=code.bits + 1))
        inside = words[:, :8].sum(axis=1)
        assert found.data == tuple(int(inside[weight == w].sum()) for w in range(code.bits + 1))


def test_seven_four_is_hammings_own_code():
    """Positions 1 to 7, checks at 1, 2, 4, and the syndrome spells the position ([Hamming1950])."""
    code = make_code("sec", 4)
    assert code.bits == 7
    places = [3, 5, 6, 7, 1, 2, 4]
    for pattern in range(128):
        errors = np.array([[pattern >> i & 1 == 1 for i in range(7)]])
        position = 0
        for place, wrong in zip(places, errors[0], strict=True):
            position ^= place if wrong else 0
        left = errors.copy()
        if position:
            left[0, places.index(position)] ^= True
        seen = code.decode(*split(code, errors))
        assert not seen.detected[0]  # a perfect code has no syndrome to spare
        assert np.array_equal(seen.residual[0], left[0, :4])


@pytest.mark.parametrize(("data_bits", "ones", "miscorrect"), [(64, 216, 33568), (32, 103, None)])
def test_hsiaos_codes_detect_all_doubles_and_share_their_ones_evenly(data_bits, ones, miscorrect):
    """216 and 103 ones, 27 and 14.7 a row, and 56.28 % of triples miscorrected ([Hsiao1970])."""
    code = make_code("secded", data_bits)
    matrix = (code.columns[None, :] >> np.arange(code.check_bits, dtype=np.uint64)[:, None]) & np.uint64(1)
    assert np.all(matrix.sum(axis=0) % 2 == 1)
    assert len(set(code.columns.tolist())) == code.bits
    assert matrix.sum() == ones
    assert np.ptp(matrix.sum(axis=1)) <= 1
    singles = code.decode(*split(code, patterns_of(code, 1)))
    assert singles.corrected.all()
    assert not (singles.detected | singles.miscorrected | singles.residual.any(axis=1)).any()
    doubles = code.decode(*split(code, patterns_of(code, 2)))
    assert doubles.detected.all()
    assert not (doubles.corrected | doubles.miscorrected | doubles.residual.any(axis=1)).any()
    triples = code.decode(*split(code, patterns_of(code, 3)))
    assert not triples.corrected.any()
    assert np.array_equal(triples.miscorrected, ~triples.detected)
    if miscorrect is not None:
        assert triples.miscorrected.sum() == miscorrect


@pytest.mark.parametrize("data_bits", [32, 64])
def test_a_slow_decoder_by_trial_and_error_agrees_on_triples(data_bits):
    """Flip each bit in turn and recompute all check bits, as a person with a pencil would."""
    code = make_code("secded", data_bits, on_due="pass_through")
    draw = np.random.default_rng(2)
    for _ in range(60):
        data = draw.random((1, data_bits)) < 0.5
        written = np.concatenate([data, code.encode(data)], axis=1)[0]
        errors = np.zeros(code.bits, dtype=bool)
        errors[draw.choice(code.bits, 3, replace=False)] = True
        read = written ^ errors
        fits = []
        for bit in range(code.bits):
            trial = read.copy()
            trial[bit] ^= True
            if np.array_equal(code.encode(trial[None, :data_bits])[0], trial[data_bits:]):
                fits.append(trial)
        seen = code.decode(*split(code, errors[None]))
        assert len(fits) <= 1
        assert bool(seen.detected[0]) == (not fits)
        handed_on = fits[0] if fits else read
        assert np.array_equal(handed_on[:data_bits] ^ written[:data_bits], seen.residual[0])


@pytest.mark.parametrize("check_bits", [14, 15])
def test_a_bch_code_corrects_all_doubles_and_with_parity_detects_all_triples(check_bits):
    code = make_code("dec", 64, check_bits)
    for weight in (1, 2):
        assert code.decode(*split(code, patterns_of(code, weight))).corrected.all()
    triples = code.decode(*split(code, patterns_of(code, 3)))
    assert not triples.corrected.any()
    assert triples.detected.all() == (check_bits == 15)


@pytest.mark.parametrize(
    ("data_bits", "check_bits", "symbol_bits"), [(64, 16, 4), (60, 12, 4), (128, 16, 4), (64, 24, 8), (64, 32, 8)]
)
def test_chipkill_corrects_a_whole_chip_and_detects_two(data_bits, check_bits, symbol_bits):
    code = make_code("chipkill", data_bits, check_bits, symbol_bits=symbol_bits)
    count, values = code.bits // symbol_bits, (1 << symbol_bits) - 1
    chip, value = np.indices((count, values)).reshape(2, -1)
    one = np.zeros((chip.size, count, symbol_bits), dtype=bool)
    one[np.arange(chip.size), chip] = ((value + 1)[:, None] >> np.arange(symbol_bits)) & 1 == 1
    assert code.decode(*split(code, one.reshape(-1, code.bits))).corrected.all()
    a, b = np.triu_indices(chip.size, 1)
    apart = chip[a] != chip[b]
    a, b = a[apart], b[apart]
    if a.size > 40_000:
        some = np.random.default_rng(3).choice(a.size, 40_000, replace=False)
        a, b = a[some], b[some]
    assert code.decode(*split(code, (one[a] | one[b]).reshape(-1, code.bits))).detected.all()


@given(st.sampled_from([(16, 8), (32, 8), (64, 8), (24, 8), (32, 4), (16, 4), (8, 4)]), st.integers(0, 2**32))
def test_reed_solomon_corrects_half_as_many_symbols_as_it_has_checks(sizes, seed):
    check_bits, symbol_bits = sizes
    code = make_code("reed_solomon", 128 if symbol_bits == 8 else 24, check_bits, symbol_bits=symbol_bits)
    draw = np.random.default_rng(seed)
    count = code.bits // symbol_bits
    errors = np.zeros((20, count, symbol_bits), dtype=bool)
    for word in errors:
        hit = draw.choice(count, draw.integers(1, codes.radius(code) + 1), replace=False)
        value = draw.integers(1, 1 << symbol_bits, size=hit.size)
        word[hit] = (value[:, None] >> np.arange(symbol_bits)) & 1 == 1
    seen = code.decode(*split(code, errors.reshape(20, -1)))
    assert seen.corrected.all()
    assert not seen.residual.any()


@small
@given(st.integers(0, 2**32))
def test_encoding_is_linear_and_what_is_encoded_raises_no_alarm(name, seed):
    code = codes.SMALL[name]
    a, b = np.random.default_rng(seed).random((2, 5, 8)) < 0.5
    assert np.array_equal(code.encode(a) ^ code.encode(b), code.encode(a ^ b))
    seen = code.decode(a, code.encode(a))
    assert not seen.detected.any()
    assert np.array_equal(seen.residual, a)


def test_what_is_handed_on_for_a_lost_word_follows_on_due():
    errors, none = np.array([[True, True] + [False] * 6]), np.zeros((1, 5), dtype=bool)
    written = np.array([[True, False] * 4])
    reads = {
        on_due: make_code("secded", 8, on_due=on_due).decode(errors, none, written).residual.tolist()[0]
        for on_due in ("halt", "reload", "zero_word", "pass_through")
    }
    assert reads["halt"] == reads["reload"] == [False] * 8
    assert reads["zero_word"] == written.tolist()[0]
    assert reads["pass_through"] == errors.tolist()[0]


def test_the_usual_numbers_of_check_bits():
    usual = {("sec", 128): 8, ("secded", 16): 6, ("secded", 32): 7, ("secded", 64): 8, ("secded", 128): 9,
             ("secded", 512): 11, ("dec", 64): 14, ("parity", 64): 1, ("none", 64): 0, ("chipkill", 128): 16,
             ("chipkill", 60): 12, ("reed_solomon", 52): 8, ("reed_solomon", 64): 16}  # fmt: skip
    assert {key: make_code(*key).check_bits for key in usual} == usual
    assert make_code("reed_solomon", 64, 32).symbol_bits == 8
    assert make_code("chipkill", 64, 24).symbol_bits == 8
    assert make_code("chipkill", 64, 16).symbol_bits == 4


@pytest.mark.parametrize("m", list(PRIMITIVE))
def test_the_fields_are_fields(m):
    over = field(m)
    elements = np.arange(1, 1 << m)
    assert np.array_equal(np.sort(over.powers[: over.order]), elements)  # primitive: alpha reaches them all
    assert np.all(over.times(elements, over.inverse(elements)) == 1)
    a, b, c = np.random.default_rng(m).integers(0, 1 << m, size=(3, 200))
    assert np.array_equal(over.times(a, b ^ c), over.times(a, b) ^ over.times(a, c))
    assert np.array_equal(over.times(a, over.times(b, c)), over.times(over.times(a, b), c))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("secded", 64, 7), "7 check bits are too few for secded over 64 data bits; give 8 to 16"),
        (("sec", 64, 6), "6 check bits are too few for sec over 64 data bits; give 7 to 16"),
        (("sec", 4, 2), "2 check bits are too few"),
        (
            ("dec", 64, 24),
            "24 check bits are not a size of that code for dec .* give 14, 15, 16, 17 and so on to 23",
        ),
        (
            ("chipkill", 64, 8),
            "8 check bits are too few for chipkill with symbols of 4 bits over 64 data bits; give 16",
        ),
        (
            ("reed_solomon", 60, None),
            "no reed_solomon code with symbols of 4 bits over 60 data bits; use symbol_bits 8 and whole bytes",
        ),
        (("parity", 4, 5), "5 check bits are not a size of that code for parity over 4 data bits; give 1 or 2 or 3"),
        (("none", 64, 8), "8 check bits are not a size of that code for none over 64 data bits; give 0"),
        (("crc", 64, 8), "unknown code 'crc'; use one of none, parity, sec"),
        (("secded", 513, None), "must be a whole number from 1 to 512, got 513"),
        (("secded", "64", None), "must be a whole number from 1 to 512, got '64'"),
        (("chipkill", 66, None), "chipkill needs whole symbols of 4 bits, got 66 data bits"),
    ],
)
def test_codes_that_do_not_exist_are_refused(arguments, message):
    with pytest.raises(OptionError, match=message):
        make_code(*arguments)


def test_options_and_shapes_that_do_not_fit_are_refused():
    with pytest.raises(OptionError, match="unknown on_due 'panic'; use one of halt, reload"):
        make_code("secded", 64, on_due="panic")
    with pytest.raises(OptionError, match="symbol_bits must be 4 or 8, got 5"):
        make_code("chipkill", 60, symbol_bits=5)
    with pytest.raises(OptionError, match="7 check bits are too few"):
        Code(scheme="secded", data_bits=64, check_bits=7)
    code = make_code("secded", 8, on_due="zero_word")
    flags = np.zeros((2, 8), dtype=bool)
    with pytest.raises(OptionError, match=r"have shapes \(words, 8\) and \(words, 5\), got \(2, 8\) and \(2, 8\)"):
        code.decode(flags, flags)
    with pytest.raises(OptionError, match="'zero_word' needs the written data bits"):
        code.decode(flags, flags[:, :5])
