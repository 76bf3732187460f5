"""NonMaxSuppression: which boxes of a detector stay. Pools over regions live in `roi.py`."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.model.ops.registry import op

Floats = NDArray[np.float32]


@op("NonMaxSuppression", since=10)
def NonMaxSuppression(
    boxes: Tensor,
    scores: Tensor,
    max_output_boxes_per_class: Tensor | None = None,
    iou_threshold: Tensor | None = None,
    score_threshold: Tensor | None = None,
    *,
    center_point_box: int = 0,
) -> Tensor:
    """Rows (batch, class, box) of the boxes that no better one of their class overlaps (ONNX NonMaxSuppression-11).

    Indices have no gradient. A NaN score passes no threshold, and comes last where there is none.
    """
    most = 0 if max_output_boxes_per_class is None else int(max_output_boxes_per_class.reshape(-1)[0])
    overlap = 0.0 if iou_threshold is None else float(iou_threshold.reshape(-1)[0])
    least = None if score_threshold is None else float(score_threshold.reshape(-1)[0])
    edges = _edges(boxes.detach().float().cpu().numpy(), center_point_box)
    ranks = scores.detach().float().cpu().numpy()
    kept = [
        (batch, kind, box)
        for batch in range(ranks.shape[0])
        for kind in range(ranks.shape[1])
        for box in _best(edges[batch], ranks[batch, kind], most, overlap, least)
    ]
    return torch.tensor(kept, dtype=torch.int64, device=boxes.device).reshape(-1, 3)


def _edges(boxes: Floats, center: int) -> Floats:
    """Corners (…, 4) as lower, lower, upper, upper."""
    if center:
        middle, half = boxes[..., :2], boxes[..., 2:] / np.float32(2)
        return np.concatenate([middle - half, middle + half], axis=-1)
    first, second = boxes[..., :2], boxes[..., 2:]
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], axis=-1)


def _best(edges: Floats, ranks: Floats, most: int, overlap: float, least: float | None) -> list[int]:
    left = np.argsort(-ranks, kind="stable")
    if least is not None:
        left = left[ranks[left] > np.float32(least)]
    area = (edges[:, 2] - edges[:, 0]) * (edges[:, 3] - edges[:, 1])
    kept: list[int] = []
    while left.size and len(kept) < most:
        best, left = int(left[0]), left[1:]
        kept.append(best)
        low = np.maximum(edges[best, :2], edges[left, :2])
        high = np.minimum(edges[best, 2:], edges[left, 2:])
        shared = np.prod(np.maximum(high - low, 0), axis=1)
        union = area[best] + area[left] - shared
        sound = (area[left] > 0) & (area[best] > 0) & (union > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            left = left[~(sound & (shared / union > np.float32(overlap)))]
    return kept
