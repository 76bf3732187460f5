"""Reductions, positions and Softmax against onnxruntime: non-finite values, ties, empty and absent axes."""

import numpy as np
import pytest
import torch
from one_node import both

from faultsim.model.ops import reduce as reductions
from faultsim.model.ops.select import TopK
from faultsim.model.ops.softmax import LogSoftmax, Softmax

RNG = np.random.default_rng(8)
NAN, INF = np.nan, np.inf
ROWS = np.array(
    [[NAN, 1, 2, 3], [1, NAN, 3, 2], [INF, 1, 2, 2], [-INF] * 4, [-INF, 1, 2, 3], [1, 2, NAN, NAN]], np.float32
)
NAMES = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"]


def agree(op_type, inputs, **options):
    for ours, theirs in both(op_type, inputs, **options):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_axes_as_an_input_and_as_an_attribute(name, keepdims):
    x = RNG.uniform(0.5, 2, (3, 4, 5)).astype(np.float32)
    agree(f"Reduce{name}", {"x": x, "a": np.array([-1, 0])}, keepdims=keepdims)
    agree(f"Reduce{name}", {"x": x}, keepdims=keepdims)
    agree(f"Reduce{name}", {"x": x}, keepdims=keepdims, opset=11, axes=[1])
    agree(f"Reduce{name}", {"x": np.float32(2.5)})


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("name", ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare"])
def test_integer_reductions(name, dtype):
    agree(f"Reduce{name}", {"x": RNG.integers(-9, 9, (3, 4)).astype(dtype), "a": np.array([1])})


@pytest.mark.parametrize("name", ["ReduceMax", "ReduceMin"])
def test_an_extreme_passes_over_nan_unless_it_comes_first(name):
    agree(name, {"x": ROWS.T.copy(), "a": np.array([0])})


@pytest.mark.parametrize("last", [0, 1])
@pytest.mark.parametrize("name", ["ArgMax", "ArgMin"])
def test_a_position_passes_over_nan_unless_it_comes_first(name, last):
    agree(name, {"x": ROWS}, axis=1, select_last_index=last)
    agree(name, {"x": np.array([[1, 3, 3, 1, 1]], np.int32)}, axis=-1, keepdims=0, select_last_index=last)


@pytest.mark.parametrize("name", ["Softmax", "LogSoftmax", "Hardmax"])
@pytest.mark.parametrize("opset", [11, 13])
def test_distributions_of_non_finite_rows(name, opset):
    agree(name, {"x": ROWS}, opset=opset)
    agree(name, {"x": RNG.standard_normal((2, 3, 4)).astype(np.float32)}, opset=opset, axis=1)


@pytest.mark.parametrize("largest", [0, 1])
def test_equal_elements_rank_by_position(largest):
    x = RNG.integers(0, 4, (5, 30)).astype(np.float32)
    agree("TopK", {"x": x, "k": np.array([11])}, outputs=("v", "i"), largest=largest)


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("axis", [{}, {"axis": 0}, {"axis": 1}])
def test_distinct_slices(axis, order):
    x = RNG.integers(0, 2, (9, 3)).astype(np.int64)
    agree("Unique", {"x": x}, outputs=("y", "f", "i", "c"), sorted=order, **axis)


def test_top_k_larger_than_the_axis_is_an_error():
    with pytest.raises(ValueError, match="cannot take 4 elements of an axis of size 3"):
        TopK(torch.zeros(3), torch.tensor(4))


@pytest.mark.parametrize("kernel", [reductions._KERNELS[f"Reduce{n}"][0] for n in NAMES], ids=NAMES)
def test_reductions_are_differentiable(kernel):
    x = torch.rand(3, 4, dtype=torch.float64).add(0.5).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: kernel(t, [1], False), (x,))


@pytest.mark.parametrize("function", [Softmax, LogSoftmax])
def test_distributions_are_differentiable(function):
    assert torch.autograd.gradcheck(function, (torch.rand(3, 4, dtype=torch.float64, requires_grad=True),))
