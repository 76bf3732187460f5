"""Where a sliding window stands: padding, strides, dilations, output sizes of convolutions and pools. No op here."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor
from torch.nn import functional


class Window(NamedTuple):
    """A sliding window over the spatial axes, one number an axis.

    Attributes:
        kernel: Elements of the window.
        strides: Steps between windows.
        dilations: Steps between elements of a window.
        begin: Padding before the first element, as the op declares it.
        end: Padding after the last.
        out: Windows along the axis.
    """

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    begin: list[int]
    end: list[int]
    out: list[int]

    def reach(self, size: Sequence[int]) -> list[int]:
        """Padding after the last element that the last window really needs (negative: elements that none reads)."""
        return [
            (o - 1) * s + (k - 1) * d + 1 - n - b
            for o, s, k, d, n, b in zip(
                self.out, self.strides, self.kernel, self.dilations, size, self.begin, strict=True
            )
        ]


def window(
    size: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    dilations: Sequence[int] | None,
    pads: Sequence[int] | None,
    auto_pad: str,
    *,
    ceil_mode: int = 0,
) -> Window:
    """Place a window as Conv-22 and MaxPool-22 define it.

    A last window of ``ceil_mode`` that would start beyond the data and its leading padding is left out, as in
    onnxruntime. SAME gives ceil(size / stride) windows; the odd element of padding goes to the end for SAME_UPPER.

    Args:
        size: Spatial sizes of the input.
        kernel: Window sizes.
        strides: Default 1s.
        dilations: Default 1s.
        pads: All begins, then all ends; default 0s; ignored unless *auto_pad* is NOTSET.
        auto_pad: NOTSET, VALID, SAME_UPPER or SAME_LOWER.
        ceil_mode: Whether a last incomplete window counts.
    """
    rank = len(size)
    kernel = list(kernel)
    steps = list(strides) if strides else [1] * rank
    spread = list(dilations) if dilations else [1] * rank
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, spread, strict=True)]
    begin, end = [0] * rank, [0] * rank
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        out = [-(-n // s) for n, s in zip(size, steps, strict=True)]
        for i in range(rank):
            total = max((out[i] - 1) * steps[i] + extent[i] - size[i], 0)
            small, large = total // 2, total - total // 2
            begin[i], end[i] = (small, large) if auto_pad == "SAME_UPPER" else (large, small)
        return Window(kernel, steps, spread, begin, end, out)
    if pads and auto_pad != "VALID":
        begin, end = list(pads[:rank]), list(pads[rank:])
    out = []
    for i in range(rank):
        room = size[i] + begin[i] + end[i] - extent[i]
        count = room // steps[i] + 1
        if ceil_mode:
            count = -(-room // steps[i]) + 1
            if (count - 1) * steps[i] >= size[i] + begin[i]:
                count -= 1
        out.append(count)
    return Window(kernel, steps, spread, begin, end, out)


def pad_spatial(x: Tensor, begin: Sequence[int], end: Sequence[int], value: float = 0.0) -> Tensor:
    """Pad the last axes of *x*, or crop them where a number is negative; *x* itself if there is nothing to do."""
    if not any(begin) and not any(end):
        return x
    amounts = [n for pair in zip(reversed(begin), reversed(end), strict=True) for n in pair]
    return functional.pad(x, amounts, value=value)
