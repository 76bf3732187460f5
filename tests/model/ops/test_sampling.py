"""Sampling, regions of interest and box selection against onnxruntime; gradients."""

import numpy as np
import pytest
import torch
from one_node import both

from faultsim.model.ops.detection import NonMaxSuppression
from faultsim.model.ops.roi import RoiAlign
from faultsim.model.ops.sampling import GridSample
from faultsim.model.ops.training import Adam

RNG = np.random.default_rng(8)


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def close(op, given, **attributes):
    for ours, theirs in both(op, given, **attributes):
        assert ours.dtype == theirs.dtype
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("opset", [16, 20])
@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("align", [0, 1])
def test_grid_sample(opset, mode, padding, align):
    name = {"linear": "bilinear", "cubic": "bicubic"}.get(mode, mode) if opset == 16 else mode
    given = {"x": floats(2, 3, 5, 6), "grid": floats(2, 3, 4, 2)}
    close("GridSample", given, opset=opset, mode=name, padding_mode=padding, align_corners=align)


@pytest.mark.parametrize("axes", [None, [-1, 0]])
@pytest.mark.parametrize("target", [(3, 8, 7), (4, 5, 2), (9, 1, 8)])
def test_center_crop_pad(axes, target):
    extra = {} if axes is None else {"axes": axes}
    shape = np.array(target if axes is None else target[:2])
    close("CenterCropPad", {"x": floats(4, 5, 7), "shape": shape}, opset=18, **extra)


def regions():
    start = RNG.random((4, 2)) * 8 - 1
    return np.concatenate([start, start + RNG.random((4, 2)) * 8], axis=1).astype(np.float32)


@pytest.mark.parametrize("opset", [10, 16])
@pytest.mark.parametrize("mode", ["avg", "max"])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("scale", [0.5, 1.5])
def test_roi_align(opset, mode, ratio, scale):
    given = {"x": floats(2, 3, 6, 7), "rois": regions(), "batch": np.array([0, 1, 1, 0])}
    size = {"output_height": 2, "output_width": 3, "sampling_ratio": ratio}
    close("RoiAlign", given, opset=opset, mode=mode, spatial_scale=scale, **size)


@pytest.mark.parametrize("scale", [0.5, 1.0])
def test_max_roi_pool(scale):
    rois = np.concatenate([[[0], [1], [1], [0]], np.abs(regions())], axis=1).astype(np.float32)
    close("MaxRoiPool", {"x": floats(2, 3, 8, 9), "rois": rois}, pooled_shape=[2, 3], spatial_scale=scale)


@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("threshold", [None, 0.4])
@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_non_max_suppression_with_ties(center, threshold, overlap):
    given = {
        "boxes": RNG.random((2, 12, 4), dtype=np.float32),
        "scores": RNG.integers(0, 8, (2, 3, 12)).astype(np.float32) / 8,
        "most": np.array([5]),
        "overlap": np.array([overlap], np.float32),
    }
    given |= {} if threshold is None else {"threshold": np.array([threshold], np.float32)}
    close("NonMaxSuppression", given, opset=11, center_point_box=center)


def test_a_nan_score_is_never_chosen_over_a_number():
    boxes = torch.tensor([[[0.0, 0.0, 1.0, 1.0], [5.0, 5.0, 6.0, 6.0]]])
    scores = torch.tensor([[[float("nan"), 0.5]]])
    most, overlap = torch.tensor([1]), torch.tensor([0.5])
    assert NonMaxSuppression(boxes, scores, most, overlap).tolist() == [[0, 0, 1]]
    chosen = NonMaxSuppression(boxes, scores, torch.tensor([2]), overlap, torch.tensor([0.1]))
    assert chosen.tolist() == [[0, 0, 1]]


def test_a_region_blown_up_by_a_fault_costs_bounded_memory():
    rois = torch.tensor([[0.0, 0.0, 1e30, 1e30], [float("nan")] * 4])
    y = RoiAlign(torch.rand(1, 2, 4, 4), rois, torch.tensor([0, 0]))
    assert y.shape == (2, 2, 1, 1)


def test_sampling_is_differentiable():
    x = torch.rand(1, 2, 4, 4, dtype=torch.float64, requires_grad=True)
    grid = (torch.rand(1, 2, 2, 2, dtype=torch.float64) - 0.5).requires_grad_()
    assert torch.autograd.gradcheck(GridSample, (x, grid))
    rois = torch.tensor([[0.3, 0.2, 2.9, 2.4]], dtype=torch.float64, requires_grad=True)
    at = torch.tensor([0])
    assert torch.autograd.gradcheck(lambda v, r: RoiAlign(v, r, at, sampling_ratio=2, output_height=2), (x, rois))


def test_a_step_of_adam_is_torchs():
    x, g = torch.rand(3), torch.rand(3)
    parameter = torch.nn.Parameter(x.clone())
    parameter.grad = g.clone()
    torch.optim.Adam([parameter], lr=0.1, eps=1e-12).step()
    zeros = torch.zeros(3)
    ours = Adam(torch.tensor(0.1), torch.tensor(1), x, g, zeros, zeros, epsilon=1e-12)[0]
    torch.testing.assert_close(ours, parameter.detach(), rtol=1e-4, atol=1e-5)
