"""Broken elements of an output-stationary array overwrite the outputs that they hold, and no others."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper
from running import Arrays, calibrated, effects, gemm, normals, proto

from faultsim.errors import OptionError
from faultsim.inference import StuckOutput, broken_elements
from faultsim.model import load_model
from faultsim.rng import generator

CONV = proto(
    [helper.make_node("Conv", ["x", "w", "b"], ["y"], "conv")],
    {"w": normals(7, 3, 3, 3), "b": normals(7, seed=1)},
    ("N", 3, 6, 7),
    rank=4,
)


def test_an_element_holds_every_rows_th_pixel_of_every_columns_th_channel() -> None:
    model, x = load_model(CONV), normals(4, 3, 6, 7, seed=2)
    law = StuckOutput(elements=((1, 2), (0, 0)), rows=6, columns=5)
    seen = calibrated(model, {"x": x}).open(effects=effects(law))({"x": x})
    expected = model.run({"x": x})["y"].copy()
    bias = normals(7, seed=1)
    flat = expected.reshape(4, 7, -1)
    for n in range(7):
        for m in range(flat.shape[2]):
            if (m % 6, n % 5) in {(1, 2), (0, 0)}:
                flat[:, n, m] = bias[n]
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_a_whole_channel_reads_a_share_of_the_full_scale() -> None:
    weight, x = normals(5, 8), normals(6, 8, seed=1)
    runner = calibrated(gemm(weight), {"x": x})
    law = StuckOutput(elements=((None, 3),), value=-0.5)
    seen = runner.open(effects=effects(law))({"x": x})
    expected = x @ weight.T
    expected[:, 3] = -0.5 * np.abs(expected).max()
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)


def test_tokens_are_positions() -> None:
    weights: Arrays = {"w": normals(4, 5)}
    model = load_model(proto([helper.make_node("MatMul", ["x", "w"], ["y"], "fc")], weights, ("N", 6, 4), rank=3))
    x = normals(3, 6, 4, seed=1)
    law = StuckOutput(elements=((1, 0),), rows=4, columns=2)
    seen = calibrated(model, {"x": x}).open(effects=effects(law))({"x": x})
    expected = x @ weights["w"]
    expected[:, 1::4, 0::2] = 0
    np.testing.assert_allclose(seen, expected, atol=1e-5)


def test_a_stuck_bit_of_a_float_accumulator_is_that_of_its_word() -> None:
    weight, x = normals(5, 8), normals(6, 8, seed=1)
    runner = calibrated(gemm(weight), {"x": x})
    law = StuckOutput(elements=((0, 1),), rows=1, columns=5, bit=31, level=1)
    seen = runner.open(effects=effects(law))({"x": x})
    expected = x @ weight.T
    expected[:, 1] = -np.abs(expected[:, 1])
    np.testing.assert_allclose(seen, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("form", ["qdq", "qdq turned", "QLinearMatMul", "MatMulInteger"])
@pytest.mark.parametrize("level", [0, 1])
def test_a_stuck_bit_of_an_integer_accumulator_is_that_of_its_sum(form: str, level: int) -> None:
    rng = np.random.default_rng(0)
    weight = rng.integers(-100, 100, (8, 5)).astype(np.int8)
    weights: Arrays = {"w": weight, "sx": np.float32(0.02), "zx": np.uint8(128), "zw": np.int8(0)}
    weights["sw"] = np.float32(0.01)
    quantize = helper.make_node("QuantizeLinear", ["x", "sx", "zx"], ["xq"], "quantize")
    x = rng.normal(size=(6, 8)).astype(np.float32)
    codes = np.clip(np.rint(x / np.float32(0.02)) + 128, 0, 255).astype(np.int64) - 128
    sums = (codes @ weight.astype(np.int64)).astype(np.int32)
    clean = sums.copy()
    bit = 9
    word = sums[:, 2].view(np.uint32)
    sums[:, 2] = (word | np.uint32(1 << bit) if level else word & ~np.uint32(1 << bit)).view(np.int32)
    out = TensorProto.FLOAT
    if form.startswith("qdq"):
        weights |= {"sw": np.linspace(0.01, 0.02, 5, dtype=np.float32), "zw": np.zeros(5, np.int8)}
        axis = 1
        tail = [helper.make_node("MatMul", ["xd", "wd"], ["y"], "fc")]
        if form == "qdq turned":
            weights["w"], axis = np.ascontiguousarray(weight.T), 0
            tail = [helper.make_node("Gemm", ["xd", "wd"], ["y"], "fc", transB=1)]
        nodes = [
            quantize,
            helper.make_node("DequantizeLinear", ["xq", "sx", "zx"], ["xd"], "read"),
            helper.make_node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], "weights", axis=axis),
            *tail,
        ]
        expected = sums * np.float64(0.02) * weights["sw"].astype(np.float64)
    elif form == "MatMulInteger":
        nodes = [quantize, helper.make_node("MatMulInteger", ["xq", "w", "zx", "zw"], ["y"], "fc")]
        expected, out = sums, TensorProto.INT32
    else:
        weights |= {"sy": np.float32(0.05), "zy": np.int8(3)}
        names = ["xq", "sx", "zx", "w", "sw", "zw", "sy", "zy"]
        nodes = [quantize, helper.make_node("QLinearMatMul", names, ["y"], "fc")]
        multiplier = np.float32(0.02) * np.float32(0.01) / np.float32(0.05)
        expected = np.clip(np.rint(sums.astype(np.float32) * multiplier) + 3, -128, 127)
        out = TensorProto.INT8
    model = load_model(proto(nodes, weights, ("N", 8), out=out))
    law = StuckOutput(elements=((None, 2),), bit=bit, level=level)  # type: ignore[arg-type]
    seen = calibrated(model, {"x": x}).open(effects=effects(law))({"x": x})
    np.testing.assert_allclose(seen, expected, rtol=1e-4, atol=1e-4)
    assert not np.array_equal(sums, clean)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.01, 1), st.integers(0, 50))
def test_broken_elements_lie_in_the_array_each_once(rows: int, columns: int, p: float, trial: int) -> None:
    found = broken_elements(generator(0, trial), rows=rows, columns=columns, p=p, at_least_one=True)
    assert 1 <= len(found) == len(set(found)) <= rows * columns
    assert all(0 <= r < rows and 0 <= c < columns for r, c in found)


def test_given_one_the_first_broken_element_is_as_likely_anywhere_when_faults_are_rare() -> None:
    draws = [broken_elements(generator(0, t), rows=4, columns=4, p=1e-6, at_least_one=True) for t in range(4000)]
    assert {len(found) for found in draws} == {1}
    counts = np.bincount([4 * r + c for ((r, c),) in draws], minlength=16)
    assert np.all(np.abs(counts - 250) < 5 * np.sqrt(250))


def test_given_one_the_number_is_that_of_a_truncated_binomial() -> None:
    draws = [len(broken_elements(generator(1, t), rows=3, columns=2, p=0.2, at_least_one=True)) for t in range(6000)]
    mean = 6 * 0.2 / (1 - 0.8**6)
    assert np.mean(draws) == pytest.approx(mean, abs=5 * np.std(draws) / np.sqrt(len(draws)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "at least one of its rows, got 0"),
        ({"elements": ((4, 0),), "rows": 4, "columns": 4}, r"element \(4, 0\) lies outside an array of 4 x 4"),
        ({"bit": 32}, "bits 0 to 31, got 32"),
        ({"value": float("nan")}, "must be finite, got nan"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        StuckOutput(**{"elements": ((0, 0),), **options})


def test_one_broken_element_of_none_is_refused() -> None:
    with pytest.raises(OptionError, match="at_least_one needs p above 0"):
        broken_elements(generator(0, 0), rows=2, columns=2, p=0.0, at_least_one=True)
