"""Laws of number formats: exact round trips, sign extension, saturation, names."""

import math

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.errors import OptionError
from faultsim.formats import (
    FLOAT_NAMES,
    BinaryFormat,
    Encoding,
    FloatFormat,
    IntFormat,
    fixed_point,
    parse_format,
    quantize_symmetric,
    ternary,
)

ENCODINGS: tuple[Encoding, ...] = ("twos_complement", "sign_magnitude", "offset_binary")


@st.composite
def int_formats(draw: st.DrawFn) -> IntFormat:
    bits = draw(st.integers(2, 32))
    signed = draw(st.booleans())
    encoding: Encoding = draw(st.sampled_from(ENCODINGS)) if signed else "twos_complement"
    scale = draw(st.floats(1e-6, 1e3))
    fmt = IntFormat(bits, signed=signed, encoding=encoding, scale=scale)
    zero = draw(st.integers(fmt.lowest, fmt.highest))
    return IntFormat(bits, signed=signed, encoding=encoding, scale=scale, zero_point=zero)


@given(fmt=int_formats(), data=st.data())
def test_every_code_survives_decoding_and_encoding(fmt: IntFormat, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(fmt.lowest, fmt.highest), min_size=1, max_size=20))
    values = fmt.dequantize(np.array(codes, dtype=np.int64))
    words = fmt.encode(values)
    assert words.dtype == np.uint64
    assert int(words.max()) < 2**fmt.bits
    np.testing.assert_array_equal(fmt.codes(words), codes)
    np.testing.assert_array_equal(fmt.decode(words), values)


@given(fmt=int_formats(), data=st.data())
def test_every_word_of_a_number_survives_except_minus_zero(fmt: IntFormat, data: st.DataObject) -> None:
    words = np.array(data.draw(st.lists(st.integers(0, 2**fmt.bits - 1), min_size=1)), dtype=np.uint64)
    back = fmt.encode(fmt.decode(words))
    if fmt.encoding == "sign_magnitude":
        words = np.where(words == 2 ** (fmt.bits - 1), np.uint64(0), words)
    np.testing.assert_array_equal(back, words)


@given(
    name=st.sampled_from(FLOAT_NAMES),
    words=st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=30),
)
def test_every_float_word_that_is_a_number_survives(name: str, words: list[int]) -> None:
    fmt = FloatFormat(name)
    raw = np.array(words, dtype=np.uint64) & np.uint64(2**fmt.bits - 1)
    values = fmt.decode(raw)
    numbers = ~np.isnan(values)
    np.testing.assert_array_equal(fmt.encode(values)[numbers], raw[numbers])


@pytest.mark.parametrize("name", FLOAT_NAMES)
def test_floats_saturate_at_the_largest_finite_number(name: str) -> None:
    fmt = FloatFormat(name)
    got = fmt.decode(fmt.encode(np.array([1e300, -1e300])))
    top = 1e300 if name == "float64" else fmt.largest
    np.testing.assert_array_equal(got.astype(np.float64), [top, 2.0**-127 if name == "float8_e8m0fnu" else -top])
    endless = fmt.decode(fmt.encode(np.array([np.inf, np.nan], np.float32)))
    assert math.isnan(endless[1]) if name != "float4_e2m1fn" else endless[1] == 0
    finite = ml_dtypes.finfo(name).dtype.name not in ("float64", "float32", "float16", "bfloat16", "float8_e5m2")
    assert endless[0] == (fmt.largest if finite else math.inf)


@pytest.mark.parametrize("name", [name for name in FLOAT_NAMES if FloatFormat(name).bits <= 16])
def test_the_next_float_on_the_way_is_the_neighbour_of_all_that_there_are(name: str) -> None:
    fmt = FloatFormat(name)
    with np.errstate(invalid="ignore"):  # NaNs
        every = fmt.decode(np.arange(1 << fmt.bits, dtype=np.uint64)).astype(np.float64)
    known = np.unique(every[np.isfinite(every)]) + 0.0
    values = known.astype(fmt.dtype)
    up = fmt.towards(values[:-1], np.full(known.size - 1, values[-1]))
    down = fmt.towards(values[1:], np.full(known.size - 1, values[0]))
    np.testing.assert_array_equal(up.astype(np.float64), known[1:])
    np.testing.assert_array_equal(down.astype(np.float64), known[:-1])
    np.testing.assert_array_equal(fmt.towards(values, values).astype(np.float64), known)


def test_the_next_wide_float_on_the_way_is_the_one_that_numpy_knows() -> None:
    values = np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-100, 100)
    for dtype in (np.float32, np.float64):
        some = values[80:120].astype(dtype)
        goal = some[::-1].copy()
        fmt = FloatFormat(np.dtype(dtype).name)
        np.testing.assert_array_equal(fmt.towards(some, goal), np.nextafter(some, goal))


@pytest.mark.parametrize("name", [name for name in FLOAT_NAMES if name != "float64"])
def test_floats_are_rounded_to_the_nearest_once(name: str) -> None:
    fmt = FloatFormat(name)
    words = np.arange(min(2**fmt.bits, 2**12), dtype=np.uint64)
    numbers = fmt.decode(words).astype(np.float64)
    numbers = np.unique(numbers[np.isfinite(numbers)])
    if name == "float8_e8m0fnu":  # ml_dtypes rounds what lies below the normal numbers of float32 up
        numbers = numbers[1:]
    low, high = numbers[:-1], numbers[1:]
    tie = low + (high - low) / 2
    tie, low, high = (part[(low < tie) & (tie < high)] for part in (tie, low, high))
    for wide, nearest in ((np.nextafter(tie, high), high), (np.nextafter(tie, low), low)):
        np.testing.assert_array_equal(fmt.decode(fmt.encode(wide)), nearest)


def test_four_bit_floats_have_sixteen_words() -> None:
    fmt = FloatFormat("float4_e2m1fn")
    every = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0]  # OCP MX 1.0, table 5
    assert fmt.bits == 4
    np.testing.assert_array_equal(fmt.decode(np.arange(16, dtype=np.uint64)), every + [-x for x in every])
    np.testing.assert_array_equal(fmt.decode(np.arange(16, 32, dtype=np.uint64)), every + [-x for x in every])


def test_binary_words_read_as_the_scale_of_their_channel() -> None:
    fmt = BinaryFormat(np.array([[0.5], [2.0]]))
    values = np.array([[0.5, -0.5, 0.5], [-2.0, 2.0, 2.0]], np.float32)
    np.testing.assert_array_equal(fmt.decode(fmt.encode(values)), values)
    there = np.array([1, 3, 5])
    np.testing.assert_array_equal(fmt.at(there, (2, 3)).decode(np.array([1, 0, 1], np.uint64)), [0.5, -2.0, 2.0])
    assert fmt == BinaryFormat([[0.5], [2.0]]) != BinaryFormat(0.5)
    with pytest.raises(OptionError, match="must be finite and positive, got -1"):
        BinaryFormat([1.0, -1.0])


def test_float_bits_are_the_ieee_pattern() -> None:
    values = np.array([1.0, -2.5, 0.1], np.float32)
    np.testing.assert_array_equal(FloatFormat().encode(values), values.view(np.uint32))
    assert int(parse_format("bf16").encode(np.array([1.0]))[0]) == 0x3F80
    assert int(parse_format("float8_e5m2").encode(np.array([1.0]))[0]) == 0x3C
    assert int(parse_format("float8_e4m3fn").encode(np.array([1.0]))[0]) == 0x38


def test_a_four_bit_code_in_an_int8_container_has_its_sign_in_bit_three() -> None:
    fmt = IntFormat(4, dtype="int8")
    values = np.array([-8, -1, 0, 7], np.int8)
    words = fmt.encode(values)
    np.testing.assert_array_equal(words, [8, 15, 0, 7])
    assert fmt.decode(words).dtype == np.int8
    np.testing.assert_array_equal(fmt.decode(words ^ np.uint64(8)), [0, 7, -8, -1])


def test_encodings_place_minus_one_where_they_should() -> None:
    words = [int(IntFormat(8, encoding=e).encode(np.array([-1.0]))[0]) for e in ENCODINGS]
    assert words == [0xFF, 0x81, 0x7F]


def test_out_of_range_values_saturate_and_nan_is_the_zero_point() -> None:
    fmt = IntFormat(8, scale=0.5, zero_point=3)
    np.testing.assert_array_equal(fmt.quantize(np.array([1e9, -np.inf, np.nan])), [127, -128, 3])


def test_the_elements_of_a_per_channel_format_decode_as_the_whole_tensor() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=(4, 3, 2)).astype(np.float32)
    fmt = quantize_symmetric(values, 8, axis=1)
    assert fmt.per_channel
    indices = np.array([0, 5, 23])
    part = fmt.at(indices, values.shape)
    np.testing.assert_array_equal(part.encode(values.ravel()[indices]), fmt.encode(values).ravel()[indices])
    words = fmt.encode(values)
    np.testing.assert_array_equal(part.decode(words.ravel()[indices]), fmt.decode(words).ravel()[indices])


@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20),
    bits=st.integers(2, 16),
)
def test_symmetric_quantization_is_idempotent_and_within_half_a_step(values: list[float], bits: int) -> None:
    array = np.array(values, np.float32)
    fmt = quantize_symmetric(array, bits)
    once = fmt.decode(fmt.encode(array))
    np.testing.assert_array_equal(fmt.decode(fmt.encode(once)), once)
    assert np.max(np.abs(once - array)) <= float(fmt.scale) * 0.5001 + 1e-30


def test_a_zero_channel_takes_scale_one() -> None:
    values = np.array([[0.0, 0.0], [1.27, -0.5]], np.float32)
    np.testing.assert_allclose(np.ravel(quantize_symmetric(values, 8, axis=0).scale), [1.0, 0.01], rtol=1e-6)
    assert quantize_symmetric(np.zeros(3), 8).scale == 1.0


def test_binary_ternary_and_fixed_point_hold_their_numbers() -> None:
    np.testing.assert_array_equal(BinaryFormat(0.5).decode(np.array([0, 1], np.uint64)), [-0.5, 0.5])
    tern = ternary(2.0)
    np.testing.assert_array_equal(tern.decode(tern.encode(np.array([-9.0, 0.0, 2.0]))), [-2, 0, 2])
    assert tern.decode(np.array([2], np.uint64))[0] == -4.0  # the word that is never written
    assert fixed_point(16, 8).decode(np.array([0x0180], np.uint64))[0] == 1.5


@pytest.mark.parametrize(
    ("name", "want", "bits"),
    [
        ("INT8", "int8", 8),
        ("uint4", "uint4", 4),
        ("fp32", "float32", 32),
        ("bf16", "bfloat16", 16),
        ("float8_e4m3fn", "float8_e4m3fn", 8),
        ("int6_sign_magnitude", "int6_sign_magnitude", 6),
        ("int6_offset_binary", "int6_offset_binary", 6),
        ("binary", "binary", 1),
        ("ternary", "int2", 2),
        ("ufixed8.8", "uint8", 8),
    ],
)
def test_formats_are_found_by_name(name: str, want: str, bits: int) -> None:
    fmt = parse_format(name)
    assert (fmt.name, fmt.bits) == (want, bits)


def test_equal_formats_are_equal_and_hash_alike() -> None:
    one, two = IntFormat(8, scale=[0.1, 0.2]), IntFormat(8, scale=[0.1, 0.2])
    assert one == two
    assert hash(one) == hash(two)
    assert one != IntFormat(8, scale=[0.1, 0.3])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: parse_format("flaot32"), "did you mean 'float32'"),
        (lambda: parse_format("zzz"), "use such as 'int8'"),
        (lambda: FloatFormat("float31"), "unknown float format"),
        (lambda: IntFormat(1), "between 2 and 32, got 1"),
        (lambda: IntFormat(8, encoding="gray"), "unknown integer encoding"),  # type: ignore[arg-type]
        (lambda: IntFormat(8, signed=False, encoding="sign_magnitude"), "is for signed codes"),
        (lambda: IntFormat(8, scale=0.0), "finite and positive"),
        (lambda: IntFormat(8, scale=0.5, dtype="int8"), "needs scale 1"),
        (lambda: IntFormat(16, dtype="int8"), "too small"),
        (lambda: IntFormat(32, dtype="float32"), "use 'float64'"),
        (lambda: IntFormat(8, dtype="text"), "no integer or float dtype"),
        (lambda: IntFormat(8, scale=1e-45), "leaves the range"),
        (lambda: IntFormat(8, zero_point=300), "zero_point must lie in"),
        (lambda: BinaryFormat(-1.0), "BinaryFormat.scale"),
        (lambda: fixed_point(8, 99), "fraction_bits"),
        (lambda: quantize_symmetric(np.ones(2), 23), "2 to 22 bits"),
        (lambda: quantize_symmetric(np.array([np.nan]), 8), "infinity or a NaN"),
        (lambda: quantize_symmetric(np.ones(2), 8, axis=3), "channel axis 3"),
    ],
)
def test_bad_formats_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(OptionError, match=message):
        make()
