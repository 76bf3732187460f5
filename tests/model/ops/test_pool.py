"""Pools against onnxruntime over the whole range of their attributes; NaN; codes; gradients."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import both

from faultsim.model.ops.maxpool import GlobalMaxPool, MaxPool
from faultsim.model.ops.meanpool import AveragePool, GlobalLpPool, LpPool

RNG = np.random.default_rng(3)
NAN = float("nan")


class One:
    """The context of a node with one output."""

    outputs = ("y",)


def close(pairs):
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=1e-3, atol=1e-5)


@st.composite
def windows(draw):
    """Sizes and attributes of a pool that onnxruntime accepts."""
    rank = draw(st.integers(1, 3))
    kernel = draw(st.lists(st.integers(1, 3), min_size=rank, max_size=rank))
    size = draw(st.lists(st.integers(5, 9), min_size=rank, max_size=rank))
    # onnxruntime pads by less than nothing where SAME windows leave gaps
    steps = [draw(st.integers(1, k)) for k in kernel]
    attributes = {"kernel_shape": kernel, "strides": steps, "ceil_mode": draw(st.integers(0, 1))}
    if draw(st.booleans()):
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        attributes["dilations"] = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in kernel + kernel]
    return size, attributes


@settings(max_examples=80, deadline=None)
@given(windows(), st.integers(0, 1), st.sampled_from([np.float32, np.float64, np.float16]))
def test_maxpool_is_onnxruntimes_indices_too(case, storage_order, dtype):
    size, attributes = case
    x = RNG.standard_normal((2, 3, *size)).astype(dtype)
    close(both("MaxPool", {"x": x}, outputs=("y", "i"), storage_order=storage_order, **attributes))
    close(both("MaxPool", {"x": np.repeat(x, 2, axis=1)}, **attributes))


@settings(max_examples=80, deadline=None)
@given(windows(), st.integers(0, 1))
def test_averagepool_is_onnxruntimes(case, count_include_pad):
    size, attributes = case
    x = RNG.standard_normal((2, 3, *size)).astype(np.float32)
    close(both("AveragePool", {"x": x}, count_include_pad=count_include_pad, **attributes))


@settings(max_examples=40, deadline=None)
@given(windows(), st.integers(1, 3))
def test_lppool_is_onnxruntimes(case, p):
    size, attributes = case
    close(both("LpPool", {"x": RNG.standard_normal((2, 3, *size)).astype(np.float32)}, p=p, **attributes))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_maxpool_of_codes(dtype):
    x = RNG.integers(0, 100, (1, 4, 6, 6)).astype(dtype)
    close(both("MaxPool", {"x": x}, kernel_shape=[3, 3], pads=[1, 1, 1, 1]))


def test_nan_loses_against_numbers_and_wins_an_empty_window():
    x = torch.tensor([[[[NAN, 1.0, NAN, NAN], [2.0, 3.0, NAN, NAN], [-torch.inf] * 4, [-torch.inf] * 4]]])
    y = MaxPool(x, ctx=One(), kernel_shape=[2, 2], strides=[2, 2])
    expected = torch.tensor([[[[3.0, NAN], [-torch.inf, -torch.inf]]]])
    torch.testing.assert_close(y, expected, equal_nan=True)
    torch.testing.assert_close(GlobalMaxPool(x), torch.tensor([[[[3.0]]]]))


@pytest.mark.parametrize("attributes", [{}, {"pads": [1, 1, 1, 1]}, {"pads": [0, 0, 1, 1], "count_include_pad": 1}])
def test_channels_last_stays_channels_last(attributes):
    x = torch.rand(2, 8, 7, 7).to(memory_format=torch.channels_last)
    y = AveragePool(x, kernel_shape=[3, 3], strides=[2, 2], **attributes)
    assert y.is_contiguous(memory_format=torch.channels_last)
    attributes.pop("count_include_pad", None)
    pooled = MaxPool(x, ctx=One(), kernel_shape=[3, 3], strides=[2, 2], **attributes)
    assert pooled.is_contiguous(memory_format=torch.channels_last)
    same = MaxPool(x.contiguous(), ctx=One(), kernel_shape=[3, 3], strides=[2, 2], **attributes)
    assert same.is_contiguous()
    assert torch.equal(pooled, same)


def test_pools_are_differentiable_at_zeros_too():
    x = torch.rand(1, 4, 5, 5, dtype=torch.float64, requires_grad=True)
    window = {"kernel_shape": [2, 2], "pads": [1, 0, 0, 1]}
    assert torch.autograd.gradcheck(lambda v: MaxPool(v, ctx=One(), **window), x)
    assert torch.autograd.gradcheck(lambda v: AveragePool(v, **window), x)
    assert torch.autograd.gradcheck(lambda v: LpPool(v, **window), x)
    zeros = torch.zeros(1, 1, 2, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(GlobalLpPool(zeros).sum(), zeros)
    assert torch.equal(gradient, torch.zeros_like(zeros))
