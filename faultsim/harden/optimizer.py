"""The optimizer of a training: weights in their own units, learned scales by their logarithm. No step is taken here."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from faultsim.harden.options import RELATIVE_RATE, Training
from faultsim.harden.scales import SCALE

LOG_PART = 0.1
"""Rate of a scale's logarithm, as a part of the weights' rate in units of their RMS: 0.2 % of a scale beside 2 %."""
MOST = "most"
"""Key of a group of leaves under which its largest rate stands."""


def optimizer_of(leaves: Mapping[str, Tensor], options: Training, lr: float, rms: float) -> torch.optim.Optimizer:
    """Return the optimizer of *leaves* in two groups at most.

    A rate in units of the weights means nothing to the logarithm of a scale: weights of an RMS of 10 would move a scale
    by a fifth at every step, and those of one of 0.001 would not move it at all.

    Args:
        leaves: As `Trainable.leaves` has them.
        options: Which, and its knobs.
        lr: Largest rate of the weights, in their units.
        rms: Their root mean square.
    """
    relative = lr / rms if rms > 0 and math.isfinite(rms) else RELATIVE_RATE
    groups = []
    for of_scales, most in ((False, lr), (True, LOG_PART * relative)):
        params = [leaf for name, leaf in leaves.items() if name.startswith(SCALE) == of_scales]
        groups += [{"params": params, "lr": most, MOST: most}] if params else []
    if options.optimizer == "adam":
        return torch.optim.Adam(groups, lr=lr, weight_decay=options.weight_decay)
    return torch.optim.SGD(
        groups,
        lr=lr,
        momentum=options.momentum,
        weight_decay=options.weight_decay,
        nesterov=options.momentum > 0,
    )


def set_rate(optimizer: torch.optim.Optimizer, part: float) -> None:
    """Set every group's rate to *part* of its largest."""
    for group in optimizer.param_groups:
        group["lr"] = part * group[MOST]
