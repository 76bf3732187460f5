"""Conv and ConvTranspose, and onnxruntime's FusedConv. Sampled windows (DeformConv, Col2Im) live in `deform.py`."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from faultsim.model.ops._fused import activate
from faultsim.model.ops._widen import HALVES
from faultsim.model.ops._window import pad_spatial, window
from faultsim.model.ops.registry import op

_CONV: dict[int, Callable[..., Tensor]] = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
_CONV_TRANSPOSE: dict[int, Callable[..., Tensor]] = {
    1: functional.conv_transpose1d,
    2: functional.conv_transpose2d,
    3: functional.conv_transpose3d,
}


def _slow(x: Tensor) -> bool:
    # torch's CPU convolution of 16-bit floats is 50 times slower than float32, and onnxruntime widens too
    return x.dtype in HALVES and x.device.type == "cpu" and not torch.is_autocast_enabled("cpu")


@op("Conv")
def Conv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Cross-correlation over 1, 2 or 3 spatial axes (ONNX Conv-22)."""
    rank = x.ndim - 2
    if _slow(x):
        bias = None if b is None else b.float()
        return Conv(
            x.float(), w.float(), bias, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides
        ).to(x.dtype)
    if auto_pad in ("NOTSET", "VALID"):
        begin, end = (pads[:rank], pads[rank:]) if pads and auto_pad == "NOTSET" else ([0] * rank, [0] * rank)
    else:
        at = window(x.shape[2:], w.shape[2:], strides, dilations, None, auto_pad)
        begin, end = at.begin, at.end
    if begin != end or min(begin, default=0) < 0:
        x, begin = pad_spatial(x, begin, end), [0] * rank
    return _CONV[rank](x, w, b, strides or 1, tuple(begin), dilations or 1, group)


@op("FusedConv", domain="com.microsoft")
def FusedConv(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    z: Tensor | None = None,
    *,
    activation: str = "",
    activation_params: Sequence[float] = (),
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """Conv, plus *z*, then an activation (com.microsoft FusedConv-1)."""
    y = Conv(x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, pads=pads, strides=strides)
    return activate(y if z is None else y + z, activation, activation_params)


@op("ConvTranspose")
def ConvTranspose(
    x: Tensor,
    w: Tensor,
    b: Tensor | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Sequence[int] | None = None,
    group: int = 1,
    kernel_shape: Sequence[int] | None = None,
    output_padding: Sequence[int] | None = None,
    output_shape: Sequence[int] | None = None,
    pads: Sequence[int] | None = None,
    strides: Sequence[int] | None = None,
) -> Tensor:
    """The transpose of Conv, ``w`` of shape (C, M / group, …) (ONNX ConvTranspose-22).

    With SAME padding or an ``output_shape`` the padding follows from the sizes; the odd element goes to the begin
    unless SAME_UPPER.
    """
    rank = x.ndim - 2
    if _slow(x):
        return ConvTranspose(
            x.float(),
            w.float(),
            None if b is None else b.float(),
            auto_pad=auto_pad,
            dilations=dilations,
            group=group,
            output_padding=output_padding,
            output_shape=output_shape,
            pads=pads,
            strides=strides,
        ).to(x.dtype)
    steps = list(strides) if strides else [1] * rank
    spread = list(dilations) if dilations else [1] * rank
    extra = list(output_padding) if output_padding else [0] * rank
    full = [(n - 1) * s + (k - 1) * d + 1 for n, s, k, d in zip(x.shape[2:], steps, w.shape[2:], spread, strict=True)]
    wanted: Sequence[int] | None = None
    if output_shape:
        wanted = output_shape[-rank:]
    elif auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = [n * s for n, s in zip(x.shape[2:], steps, strict=True)]
    if wanted is not None:
        total = [max(f + e - o, 0) for f, e, o in zip(full, extra, wanted, strict=True)]
        small, large = [t // 2 for t in total], [t - t // 2 for t in total]
        begin, end = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
    elif pads and auto_pad == "NOTSET":
        begin, end = list(pads[:rank]), list(pads[rank:])
    else:
        begin, end = [0] * rank, [0] * rank
    out = (
        list(output_shape[-rank:])
        if output_shape
        else [f + e - p - q for f, e, p, q in zip(full, extra, begin, end, strict=True)]
    )
    # torch takes one number for both sides: the trailing rest is its output_padding where that is allowed
    rest = [o - (f - 2 * p) for o, f, p in zip(out, full, begin, strict=True)]
    allowed = all(0 <= r < max(s, d) and p >= 0 for r, s, d, p in zip(rest, steps, spread, begin, strict=True))
    transpose = _CONV_TRANSPOSE[rank]
    if allowed:
        return transpose(x, w, b, steps, begin, rest, group, spread)
    y = transpose(x, w, None, steps, 0, 0, group, spread)
    y = pad_spatial(y, [-p for p in begin], [o + p - f for o, f, p in zip(out, full, begin, strict=True)])
    return y if b is None else y + b.reshape(-1, *[1] * rank)
