"""The way back: trained numbers, brought towards the original's until they spare its clean accuracy. No training here.

References:
    .. [Wortsman2022] M. Wortsman et al. Robust fine-tuning of zero-shot models. CVPR 2022, arXiv 2109.01903: weights
       between those of a model and of its fine-tuned self keep most of both models' strengths.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.harden.trainable import Trainable

Spares = Callable[[Mapping[str, NDArray[Any]]], bool]
"""Whether numbers, by name as they are stored, cost no more clean accuracy than is allowed."""

STEPS = 20


class Blend(NamedTuple):
    """Numbers on the way from the original's to the trained ones.

    Attributes:
        part: How much of the way, in [0, 1]; 1 are the trained numbers.
        leaves: As `Trainable.leaves` has them.
    """

    part: float
    leaves: dict[str, Tensor]


def blended(
    trainable: Trainable, initial: Mapping[str, Tensor], trained: Mapping[str, Tensor], spares: Spares
) -> Blend:
    """Return the numbers farthest on the way, in steps of a twentieth, that *spares* lets pass ([Wortsman2022]_).

    Integer codes go by the real numbers that they are rounded from, scales that are learned by their logarithm.

    Args:
        trainable: The graph.
        initial: Its leaves before the training.
        trained: Those after it.
        spares: Asked for each step, from the trained numbers on.
    """
    for step in range(STEPS, 0, -1):
        part = step / STEPS
        with torch.no_grad():
            leaves = {name: torch.lerp(leaf, trained[name], part) for name, leaf in initial.items()}
        if all(bool(np.isfinite(leaf.sum().item())) for leaf in leaves.values()) and spares(trainable.numbers(leaves)):
            return Blend(part, leaves)
    return Blend(0.0, dict(initial))
