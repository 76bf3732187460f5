"""Windows, transforms, constants from nothing and random ops: against onnxruntime or NumPy, and repeatable."""

import numpy as np
import pytest
import torch
from one_node import both, one_node
from onnx import TensorProto, helper

from faultsim.model.backend import FaultsimBackend
from faultsim.model.ops.signal import DFT, STFT

RNG = np.random.default_rng(2)


@pytest.mark.parametrize("periodic", [0, 1])
@pytest.mark.parametrize("size", [1, 2, 7, 8])
@pytest.mark.parametrize("name", ["HannWindow", "HammingWindow", "BlackmanWindow"])
def test_windows(name, size, periodic):
    ((ours, theirs),) = both(name, {"n": np.int64(size)}, periodic=periodic)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("length", [None, 4, 9])
@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("inverse", [0, 1])
def test_transforms_cut_and_pad(length, parts, inverse):
    x = RNG.standard_normal((2, 6, 3, parts)).astype(np.float32)
    size = None if length is None else np.int64(length)
    ((ours, theirs),) = both("DFT", {"x": x, "n": size, "a": np.int64(1)}, inverse=inverse)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    ((older, _),) = both("DFT", {"x": x, "n": size}, inverse=inverse, axis=1, opset=17)
    np.testing.assert_array_equal(older, ours)


def test_one_sided_transforms_undo_each_other():
    x = torch.rand(2, 7, 1, dtype=torch.float64)
    half = DFT(x, None, None, onesided=1)
    assert half.shape == (2, 4, 2)
    torch.testing.assert_close(DFT(half, torch.tensor(7), None, onesided=1, inverse=1), x)


@pytest.mark.parametrize("onesided", [0, 1])
@pytest.mark.parametrize("window", [None, 12])
def test_short_time_spectra(onesided, window):
    inputs = {
        "x": RNG.standard_normal((2, 50, 1)).astype(np.float32),
        "s": np.int64(5),
        "w": None if window is None else RNG.random(window).astype(np.float32),
        "l": np.int64(12),
    }
    ((ours, theirs),) = both("STFT", inputs, onesided=onesided)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_spectra_are_differentiable():
    x = torch.rand(1, 20, 1, dtype=torch.float64, requires_grad=True)
    w = torch.rand(8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda a, b: STFT(a, torch.tensor(4), b), (x, w))


@pytest.mark.parametrize(
    ("bins", "length", "rate", "low", "high"),
    [(8, 16, 8000, 0, 4000), (20, 256, 16000, 20, 8000), (3, 8, 8000, 100, 300)],
)
def test_mel_matrices(bins, length, rate, low, high):
    inputs = {
        "b": np.int64(bins),
        "l": np.int64(length),
        "r": np.int64(rate),
        "f": np.float32(low),
        "g": np.float32(high),
    }
    ((ours, theirs),) = both("MelWeightMatrix", inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


def test_a_one_outside_the_depth_marks_nothing():
    inputs = {"i": np.array([[0, -1, 5], [3, 1, -4]]), "d": np.int64(3), "v": np.array([0, 1], np.float32)}
    ((ours, theirs),) = both("OneHot", inputs, axis=1)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("bounds", [(0, 1, 0.1), (5, 1, -0.7), (1, 1, 2)])
def test_ranges(bounds):
    inputs = dict(zip("sld", (np.float32(b) for b in bounds), strict=True))
    ((ours, theirs),) = both("Range", inputs)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize(
    ("op_type", "options"),
    [
        ("RandomNormal", {"shape": [2000], "mean": 3.0, "scale": 2.0}),
        ("RandomUniform", {"shape": [2000], "low": 1.0, "high": 5.0}),
    ],
)
def test_draws_follow_their_law_and_repeat(op_type, options):
    first, second, other = (
        FaultsimBackend.prepare(one_node(op_type, {}, outputs=(name,), **options)).run([])[0]
        for name in ("y", "y", "z")
    )
    assert first.dtype == np.float32
    assert abs(first.mean() - 3.0) < 0.2
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_draws_leave_the_global_generators_alone():
    model = one_node("Bernoulli", {"x": np.full((4, 500), 0.25, np.float32)})
    torch.manual_seed(0)
    before = torch.get_rng_state()
    drawn = FaultsimBackend.prepare(model).run([np.full((4, 500), 0.25, np.float32)])[0]
    assert torch.equal(before, torch.get_rng_state())
    assert abs(drawn.mean() - 0.25) < 0.05


def test_classes_are_drawn_by_their_probability():
    logits = np.log(np.array([[0.1, 0.0001, 0.9]], np.float32))
    drawn = FaultsimBackend.prepare(one_node("Multinomial", {"x": logits}, sample_size=3000)).run([logits])[0]
    assert drawn.dtype == np.int32
    np.testing.assert_allclose(np.bincount(drawn[0], minlength=3) / 3000, [0.1, 0, 0.9], atol=0.03)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("value_float", 1.5),
        ("value_floats", [1.5, 2.0]),
        ("value_int", 7),
        ("value_ints", [7, -1]),
        ("value_string", "é"),
        ("value_strings", ["a", "é"]),
    ],
)
def test_constants_of_every_attribute(attribute, value):
    model = one_node("Constant", {}, **{attribute: value})
    (ours,) = FaultsimBackend.prepare(model).run([])
    assert ours.tolist() == value


def test_sparse_constants_become_dense():
    sparse = helper.make_sparse_tensor(
        helper.make_tensor("v", TensorProto.FLOAT, [2], [3.0, 4.0]),
        helper.make_tensor("i", TensorProto.INT64, [2], [1, 5]),
        [2, 3],
    )
    (ours,) = FaultsimBackend.prepare(one_node("Constant", {}, sparse_value=sparse)).run([])
    np.testing.assert_array_equal(ours, [[0, 3, 0], [0, 0, 4]])
