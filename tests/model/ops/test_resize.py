"""Resize and Upsample against onnxruntime over modes, coordinates and versions; codes; gradients."""

import numpy as np
import pytest
import torch
from one_node import both
from onnx import TensorProto

from faultsim.model.ops.resize import Resize
from faultsim.model.values import Codes

RNG = np.random.default_rng(6)
COORDINATES = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric"]
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(op, given, **attributes):
    for ours, theirs in both(op, given, **attributes):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def by_scales(x, *scales):
    return {"x": x, "roi": None, "scales": np.array(scales, np.float32)}


def by_sizes(x, *sizes):
    return {"x": x, "roi": None, "scales": None, "sizes": np.array(sizes)}


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_nearest(coordinates, rounding):
    attributes = {"opset": 19, "nearest_mode": rounding, "coordinate_transformation_mode": coordinates}
    close("Resize", by_scales(floats(1, 2, 5, 6), 1, 1, 2, 0.6), **attributes)
    close("Resize", by_sizes(floats(2, 1, 4, 3, 5), 2, 1, 7, 9, 2), **attributes)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("antialias", [0, 1])
@pytest.mark.parametrize("target", [(1, 2, 9, 3), (1, 2, 1, 12)])
def test_interpolation(mode, coordinates, antialias, target):
    attributes = {"mode": mode, "coordinate_transformation_mode": coordinates, "antialias": antialias}
    close("Resize", by_sizes(floats(1, 2, 5, 6), *target), opset=19, **attributes)


@pytest.mark.parametrize("a", [-0.75, -0.5])
@pytest.mark.parametrize("coordinates", COORDINATES)
def test_cubic_may_exclude_what_lies_outside(coordinates, a):
    attributes = {"mode": "cubic", "coordinate_transformation_mode": coordinates, "cubic_coeff_a": a}
    close("Resize", by_scales(floats(1, 2, 5, 6), 1, 1, 1.5, 0.7), opset=19, exclude_outside=1, **attributes)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_a_crop_fills_what_it_does_not_have(mode):
    roi = np.array([0, 0, -0.2, 0.1, 1, 1, 0.7, 1.2], np.float32)
    given = {"x": floats(1, 2, 5, 6), "roi": roi, "scales": None, "sizes": np.array([1, 2, 4, 9])}
    crop = {"coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 9.0}
    close("Resize", given, opset=19, mode=mode, **crop)


@pytest.mark.parametrize("policy", ["not_larger", "not_smaller"])
def test_the_aspect_ratio_may_be_kept(policy):
    given = by_sizes(floats(1, 2, 5, 6), 9, 8)
    close("Resize", given, opset=19, axes=[2, 3], keep_aspect_ratio_policy=policy, mode="linear")


@pytest.mark.parametrize(("op", "opset"), [("Upsample", 9), ("Resize", 10)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
@pytest.mark.parametrize("scales", [(2, 3), (1.5, 1), (2.6, 1.3)])
def test_before_opset_11(op, opset, mode, scales):
    close(op, {"x": floats(1, 2, 4, 5), "scales": np.array([1, 1, *scales], np.float32)}, opset=opset, mode=mode)


def test_before_opset_11_shrinking_rounds_up():
    close("Resize", {"x": floats(1, 1, 7, 7), "scales": np.array([1, 1, 0.5, 0.3], np.float32)}, opset=10)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_whole_numbers_are_cut_off(dtype):
    x = np.array([10, 37, 20, 93, 50, 81], dtype).reshape(1, 1, 1, 6)  # odd steps: no sum of thirds or halves is whole
    close("Resize", by_sizes(x, 1, 1, 1, 9), opset=19, mode="linear")


def test_codes_stay_codes_and_pass_their_gradient():
    values = torch.arange(6.0).reshape(1, 1, 2, 3).requires_grad_()
    y = Resize(Codes(values, TensorProto.INT8), None, torch.tensor([1.0, 1.0, 2.0, 2.0]), mode="linear")
    assert y.elem_type == TensorProto.INT8
    assert torch.equal(y.values, y.values.round())
    (gradient,) = torch.autograd.grad(y.values.sum(), values)
    assert gradient.sum() == pytest.approx(24.0)


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("antialias", [0, 1])
def test_resize_is_differentiable(mode, antialias):
    x = torch.rand(1, 2, 4, 5, dtype=torch.float64, requires_grad=True)
    sizes = torch.tensor([1, 2, 3, 9])
    assert torch.autograd.gradcheck(lambda v: Resize(v, None, None, sizes, mode=mode, antialias=antialias), x)
