"""The cross-entropy of one batch under bounds on its logits: `cap`. The bounds themselves come from elsewhere."""

from typing import NamedTuple

import torch
from torch import Tensor

_WIDE = 30.0  # nats: beyond this the chord of exp is useless, and its numbers overflow


class Cap(NamedTuple):
    """A linear upper bound of every sample's cross-entropy, and a constant one.

    For all changes d of the logits in their range, ``CE(z + d) - CE(z) <= seed·d + offset`` and ``<= constant``.

    Attributes:
        seed: Shape ``(B, C)``; it tends to the gradient of the loss as the ranges shrink.
        offset: Shape ``(B,)``, at least 0; falls with the square of the ranges. Infinite where they are too wide.
        constant: Shape ``(B,)``.
    """

    seed: Tensor
    offset: Tensor
    constant: Tensor


def cap(logits: Tensor, labels: Tensor, low: Tensor, high: Tensor) -> Cap:
    """Bound the cross-entropy over ranges of the logits' differences.

    With r the predicted class and m_j = z_j - z_r, ``CE = log sum exp(m_j) - m_y``. Over a range every exp lies below
    its chord, and the logarithm of the sum of chords below its tangent: both linear in m.

    Args:
        logits: Fault-free logits z, shape ``(B, C)``.
        labels: True classes y, shape ``(B,)``.
        low: How far each ``z_j - z_r`` can fall, at most 0, shape ``(B, C)``; 0 for j = r.
        high: How far it can rise.
    """
    rows = torch.arange(len(logits))
    predicted = logits.argmax(1)
    above = logits - logits[rows, predicted][:, None]
    clean = torch.logsumexp(above, 1)
    constant = torch.logsumexp(above + high, 1) - low[rows, labels] - clean
    wide = (high - low).amax(1) > _WIDE
    low, high = (torch.where(wide[:, None], torch.zeros_like(end), end) for end in (low, high))
    width = high - low
    chord = torch.where(width > 0, torch.exp(low) * torch.expm1(width) / width.clamp(min=1e-300), torch.exp(low))
    lifted = (torch.expm1(low) - chord * low).clamp(min=0)  # how far the chord lies above exp at the fault-free value
    share = torch.softmax(above, 1)
    more = (share * lifted).sum(1)
    seed = share * chord / (1 + more)[:, None]
    seed[rows, predicted] = 0
    seed[rows, predicted] = -seed.sum(1)
    seed[rows, labels] -= 1
    seed[rows, predicted] += 1
    return Cap(seed, torch.where(wide, torch.inf, torch.log1p(more)), constant)
