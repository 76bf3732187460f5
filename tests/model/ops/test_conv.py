"""Convolutions against onnxruntime over the whole range of their attributes; gradients; memory formats."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from one_node import both

from faultsim.model.ops.conv import Conv, ConvTranspose
from faultsim.model.ops.deform import Col2Im, DeformConv

RNG = np.random.default_rng(2)


def floats(*shape, dtype=np.float32):
    return RNG.standard_normal(shape).astype(dtype)


def close(pairs, tolerance=1e-4):
    for ours, theirs in pairs:
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours.astype(np.float64), theirs.astype(np.float64), rtol=tolerance, atol=tolerance)


@st.composite
def windows(draw):
    """Sizes and attributes of a convolution that onnxruntime accepts."""
    rank = draw(st.integers(1, 3))
    axis = st.lists(st.integers(1, 3), min_size=rank, max_size=rank)
    size, kernel = draw(st.lists(st.integers(5, 8), min_size=rank, max_size=rank)), draw(axis)
    attributes = {"kernel_shape": kernel, "strides": draw(axis), "group": draw(st.sampled_from([1, 2, 4]))}
    if draw(st.booleans()):
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    else:
        attributes["dilations"] = draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank))
        attributes["pads"] = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    return size, attributes


@settings(max_examples=80, deadline=None)
@given(windows())
def test_conv_is_onnxruntimes(case):
    size, attributes = case
    w = floats(8, 4 // attributes["group"], *attributes["kernel_shape"])
    close(both("Conv", {"x": floats(2, 4, *size), "w": w, "b": floats(8)}, **attributes))


@settings(max_examples=80, deadline=None)
@given(windows())
def test_conv_transpose_is_onnxruntimes(case):
    size, attributes = case
    # onnxruntime takes no padding that leaves less than nothing
    attributes["pads"] = [min(p, 1) for p in attributes.get("pads", [])]
    w = floats(4, 8 // attributes["group"], *attributes["kernel_shape"])
    if not attributes["pads"]:
        del attributes["pads"]
    close(both("ConvTranspose", {"x": floats(2, 4, *size), "w": w, "b": floats(8)}, **attributes))


@pytest.mark.parametrize("auto_pad", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("shape", [[9, 11], [8, 10], [10, 12]])
def test_conv_transpose_meets_the_output_shape_it_is_given(shape, auto_pad):
    inputs = {"x": floats(1, 2, 4, 5), "w": floats(2, 3, 3, 3), "b": floats(3)}
    close(both("ConvTranspose", inputs, strides=[2, 2], output_shape=shape, auto_pad=auto_pad))


def test_conv_of_half_precision_is_rounded_once():
    x, w = floats(1, 8, 9, 9, dtype=np.float16), floats(4, 8, 3, 3, dtype=np.float16)
    close(both("Conv", {"x": x, "w": w}, pads=[1, 1, 1, 1]), 1e-3)


@pytest.mark.parametrize(
    ("activation", "added"),
    # onnxruntime adds before Relu alone
    [(name, False) for name in ("Relu", "Tanh", "Sigmoid", "LeakyRelu", "Clip", "HardSigmoid")] + [("Relu", True)],
)
def test_fused_conv(activation, added):
    inputs = {"x": floats(1, 2, 5, 5), "w": floats(3, 2, 3, 3), "b": floats(3)}
    inputs |= {"z": floats(1, 3, 3, 3)} if added else {}
    given_parameters = {"LeakyRelu": [0.3], "Clip": [0.0, 0.5], "HardSigmoid": [0.3, 0.4]}.get(activation)
    extra = {} if given_parameters is None else {"activation_params": given_parameters}
    close(both("FusedConv", inputs, domain="com.microsoft", activation=activation, **extra))


@pytest.mark.parametrize("groups", [(1, 1), (2, 4), (4, 2)])
@pytest.mark.parametrize("masked", [False, True])
def test_deformable_convolution(groups, masked):
    group, offset_group = groups
    inputs = {
        "x": floats(2, 4, 7, 8),
        "w": floats(8, 4 // group, 3, 2),
        "offset": 1.5 * floats(2, offset_group * 12, 4, 8),
        "b": floats(8),
        "mask": RNG.random((2, offset_group * 6, 4, 8), dtype=np.float32) if masked else None,
    }
    attributes = {"pads": [1, 0, 1, 1], "strides": [2, 1], "group": group, "offset_group": offset_group}
    if not masked:
        del inputs["mask"]
    close(both("DeformConv", inputs, opset=19, **attributes))


def test_columns_become_torchs_image():
    x = torch.rand(2, 3 * 6, 6 * 4, dtype=torch.float64)
    image, block = torch.tensor([8, 9]), torch.tensor([3, 2])
    ours = Col2Im(x, image, block, strides=[1, 2], pads=[0, 0, 0, 0], dilations=[1, 2])
    theirs = torch.nn.functional.fold(x, (8, 9), (3, 2), dilation=(1, 2), stride=(1, 2))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("attributes", [{"pads": [1, 1, 1, 1]}, {"auto_pad": "SAME_UPPER", "strides": [2, 2]}])
def test_channels_last_stays_channels_last(attributes):
    x = torch.rand(2, 8, 6, 6).to(memory_format=torch.channels_last)
    w = torch.rand(4, 8, 3, 3).to(memory_format=torch.channels_last)
    y = Conv(x, w, **attributes)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, Conv(x.contiguous(), w.contiguous(), **attributes))


def test_convolutions_are_differentiable():
    x, w, b = (torch.rand(s, dtype=torch.float64, requires_grad=True) for s in ((1, 2, 4, 4), (2, 2, 3, 3), (2,)))
    assert torch.autograd.gradcheck(lambda *a: Conv(*a, pads=[1, 0, 0, 1]), (x, w, b))
    assert torch.autograd.gradcheck(lambda *a: ConvTranspose(*a, strides=[2, 2], pads=[1, 0, 0, 1]), (x, w, b))
    offset = torch.rand(1, 18, 2, 2, dtype=torch.float64) * 0.8 + 0.1
    assert torch.autograd.gradcheck(lambda o, *a: DeformConv(*a[:2], o, a[2]), (offset.requires_grad_(), x, w, b))
