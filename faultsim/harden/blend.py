"""The way back: trained numbers, brought towards the original's until they spare its clean accuracy. No training here.

References:
    .. [Wortsman2022] M. Wortsman et al. Robust fine-tuning of zero-shot models. CVPR 2022, arXiv 2109.01903: weights
       between those of a model and of its fine-tuned self keep most of both models' strengths.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.harden.curve import Judge, Point
from faultsim.harden.trainable import Trainable

Spares = Callable[[Mapping[str, NDArray[Any]]], bool]
"""Whether numbers, by name as they are stored, cost no more clean accuracy than is allowed."""

Hold = Callable[[Mapping[str, Tensor]], None]
"""Moves leaves in place."""

End = tuple[Point, Mapping[str, Tensor]]
"""What some leaves of a training score, and these."""

STEPS = 20
"""Steps of the way: each is a pass over the validation samples where the one before was not spared."""
ASKED = 6
"""Steps that are asked for at most where time is short: the whole way, and five halvings of it."""


class Blend(NamedTuple):
    """Numbers on the way from the original's to the trained ones.

    Attributes:
        part: How much of the way, in [0, 1]; 1 are the trained numbers.
        leaves: As `Trainable.leaves` has them.
    """

    part: float
    leaves: dict[str, Tensor]


def blended(
    trainable: Trainable,
    initial: Mapping[str, Tensor],
    trained: Mapping[str, Tensor],
    spares: Spares,
    hold: Hold | None = None,
    late: Callable[[], bool] | None = None,
) -> Blend:
    """Return the numbers farthest on the way, in steps of a twentieth, that *spares* lets pass ([Wortsman2022]_).

    Integer codes go by the real numbers that they are rounded from, scales that are learned by their logarithm. Where
    time is short, the way is halved instead: it takes what is less for spared too, and asks six times at most; the
    whole way is asked for in any case, as it needs one look and no validation.

    Args:
        trainable: The graph.
        initial: Its leaves before the training.
        trained: Those after it.
        spares: Asked for each step, from the trained numbers on.
        hold: Moves the leaves of each step but the first, in place, to where the loss wants them (`Loss.hold`).
        late: Whether there is no time for another step after the first; the farthest so far is then returned. None:
            there is time.
    """

    def tried(step: int) -> Blend | None:
        part = step / STEPS
        with torch.no_grad():
            leaves = {name: torch.lerp(leaf, trained[name], part) for name, leaf in initial.items()}
        if hold is not None and step < STEPS:
            hold(leaves)
        finite = all(bool(np.isfinite(leaf.sum().item())) for leaf in leaves.values())
        return Blend(part, leaves) if finite and spares(trainable.numbers(leaves)) else None

    if late is None:
        ways = (tried(step) for step in range(STEPS, 0, -1))
        return next((way for way in ways if way is not None), Blend(0.0, dict(initial)))
    best, low, high, step = Blend(0.0, dict(initial)), 0, STEPS + 1, STEPS
    while high - low > 1 and (high > STEPS or not late()):
        way = tried(step)
        best, low, high = (best, low, step) if way is None else (way, step, high)
        step = (low + high) // 2
    return best


def spared(
    trainable: Trainable,
    original: End,
    ends: Sequence[End],
    judge: Judge,
    spares: Spares,
    hold: Hold | None = None,
    late: Callable[[], bool] | None = None,
) -> tuple[Point, Mapping[str, Tensor], float]:
    """Return the best end of a training, each as far on its way as it is spared; the original if none is better.

    Args:
        trainable: The graph.
        original: The untrained leaves.
        ends: Trained leaves.
        judge: Scores numbers that lie on the way.
        spares: As of `blended`.
        hold: The same.
        late: The same.

    Returns:
        What the leaves score, at the step of their end; the leaves; how much of the way they are, 1 for the original.
    """
    found = [(*original, 1.0)]
    for point, end in ends:
        way = blended(trainable, original[1], end, spares, hold, late)
        scored = point
        if 0 < way.part < 1:
            judged = judge(trainable.numbers(way.leaves))
            scored = replace(point, loss=judged.loss, accuracy=judged.accuracy, score=judged.score)
        if way.part > 0:
            found.append((scored, way.leaves, way.part))
    return max(found, key=lambda one: one[0].score)
