"""Resize and Upsample in all their versions. Where the elements come from is worked out in `_interpolate.py`."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._interpolate import Axis, Method, resize_axis, taps
from faultsim.model.ops._widen import ints
from faultsim.model.ops.registry import op
from faultsim.model.ste import replace_ste
from faultsim.model.values import Codes, code_range


def _floats(value: Tensor | None) -> list[float]:
    return [] if value is None else [float(v) for v in value.reshape(-1).tolist()]


def _resized(x: Tensor | Codes, axes: dict[int, Axis], method: Method, fill: float = 0.0) -> Tensor | Codes:
    if isinstance(x, Codes):
        y = _apply(x.values, axes, method, fill)
        return Codes(y if method.mode == "nearest" else _whole(y, method, *code_range(x.elem_type)), x.elem_type)
    if method.mode == "nearest" or x.dtype in (torch.float32, torch.float64):
        return _apply(x, axes, method, fill)
    y = _apply(x.float(), axes, method, fill)
    if x.is_floating_point():
        return y.to(x.dtype)
    limits = torch.iinfo(x.dtype)
    return _whole(y.double(), method, limits.min, limits.max).to(x.dtype)


def _whole(y: Tensor, method: Method, low: int, high: int) -> Tensor:
    # onnxruntime rounds where it averages with antialiasing and cuts off where not
    whole = replace_ste(y, torch.floor(y.detach() + 0.5) if method.antialias else torch.trunc(y.detach()))
    return torch.clamp(whole, low, high)


def _apply(x: Tensor, axes: dict[int, Axis], method: Method, fill: float) -> Tensor:
    fast = _torch(x, axes, method)
    if fast is not None:
        return fast
    outside: Tensor | None = None
    for dim, axis in sorted(axes.items()):
        if axis.out == 0 or axis.size == 0:
            shape = list(x.shape)
            shape[dim] = axis.out
            x = x.new_zeros(shape)
            continue
        at = taps(axis, method)
        x = resize_axis(x, dim, at)
        if at.outside is not None:
            shape = [1] * x.ndim
            shape[dim] = -1
            mask = at.outside.to(x.device).reshape(shape)
            outside = mask if outside is None else outside | mask
    return x if outside is None else torch.where(outside, torch.tensor(fill).to(x), x)


def _torch(x: Tensor, axes: dict[int, Axis], method: Method) -> Tensor | None:
    """The result by torch's own kernels, which know the common cases of images; None for the others."""
    if x.ndim != 4 or not axes or min(axes) < 2 or not x.is_floating_point() or method.antialias:
        return None
    if any(a.out == 0 or a.size == 0 for a in axes.values()):
        return None
    size = [axes[dim].out if dim in axes else x.shape[dim] for dim in (2, 3)]
    if method.mode == "nearest":
        if all(taps(axis, method).factor for axis in axes.values()):
            return functional.interpolate(x, size=size, mode="nearest")
        return None
    exact = all(abs(a.size * a.scale - a.out) < 1e-6 * a.out for a in axes.values())
    if method.mode != "linear" or not exact:
        return None
    if method.coordinates == "half_pixel" or (
        method.coordinates == "pytorch_half_pixel" and all(a.out > 1 for a in axes.values())
    ):
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=False)
    if method.coordinates == "align_corners":
        return functional.interpolate(x, size=size, mode="bilinear", align_corners=True)
    return None


@op("Resize", since=11, codes="aware")
def Resize(
    x: Tensor | Codes,
    roi: Tensor | None = None,
    scales: Tensor | None = None,
    sizes: Tensor | None = None,
    *,
    antialias: int = 0,
    axes: Sequence[int] | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Tensor | Codes:
    """The tensor sampled on another grid, axis by axis (ONNX Resize-19); integers are cut off, as in onnxruntime."""
    shape = x.values.shape if isinstance(x, Codes) else x.shape
    over = [a % len(shape) for a in axes] if axes else list(range(len(shape)))
    given = _floats(scales)
    crop = _floats(roi) if coordinate_transformation_mode == "tf_crop_and_resize" else []
    starts, ends = (crop[: len(over)], crop[len(over) :]) if crop else ([0.0] * len(over), [1.0] * len(over))
    if given:
        # the product in float32, as onnxruntime has it
        span = [e - s for s, e in zip(starts, ends, strict=True)]
        exact = torch.tensor(given) * torch.tensor([shape[a] for a in over]) * torch.tensor(span)
        out = [math.floor(v) for v in exact.tolist()]
    else:
        out = ints(sizes)
        given = [o / shape[a] if shape[a] else 1.0 for a, o in zip(over, out, strict=True)]
        if keep_aspect_ratio_policy != "stretch":
            common = min(given) if keep_aspect_ratio_policy == "not_larger" else max(given)
            given = [common] * len(over)
            out = [math.floor(common * shape[a] + 0.5) for a in over]
    method = Method(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(exclude_outside) and mode == "cubic",
        bool(antialias) and mode != "nearest",
    )
    plan = {
        a: Axis(shape[a], o, s, start, end)
        for a, o, s, start, end in zip(over, out, given, starts, ends, strict=True)
        if o != shape[a] or s != 1.0 or (start, end) != (0.0, 1.0)
    }
    return _resized(x, plan, method, extrapolation_value)


def _upsample(x: Tensor | Codes, scales: Sequence[float], mode: str) -> Tensor | Codes:
    shape = x.values.shape if isinstance(x, Codes) else x.shape
    exact = torch.tensor(list(scales)) * torch.tensor(list(shape))
    plan = {
        a: Axis(n, math.floor(v), s)
        for a, (n, v, s) in enumerate(zip(shape, exact.tolist(), scales, strict=True))
        if s != 1.0
    }
    return _resized(x, plan, Method("linear" if mode != "nearest" else mode, "asymmetric", "simple"))


@op("Resize", since=10, codes="aware")
def Resize_10(x: Tensor | Codes, scales: Tensor, *, mode: str = "nearest") -> Tensor | Codes:
    """The tensor sampled on a grid *scales* times as fine (ONNX Resize-10)."""
    return _upsample(x, _floats(scales), mode)


@op("Upsample", since=9, codes="aware")
def Upsample(x: Tensor | Codes, scales: Tensor, *, mode: str = "nearest") -> Tensor | Codes:
    """The tensor sampled on a grid *scales* times as fine (ONNX Upsample-9)."""
    return _upsample(x, _floats(scales), mode)


@op("Upsample", since=7, codes="aware")
def Upsample_7(x: Tensor | Codes, *, scales: Sequence[float], mode: str = "nearest") -> Tensor | Codes:
    """As Upsample-9 with the scales as an attribute (ONNX Upsample-7)."""
    return _upsample(x, scales, mode)
