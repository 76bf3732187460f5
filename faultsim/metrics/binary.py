"""Two classes in one output: the score of the second one, the first one's being the rest. No task lives here."""

from typing import Any

import numpy as np
import torch

from faultsim.errors import DataError


def two_classes(outputs: Any, *, output_is_probability: bool) -> Any:
    """Return the scores of both classes along the last axis, shape N×…×2, from those of the second, N×…×1.

    A logit is that of the second class against the first, whose own is then 0. Works on arrays and tensors.

    Args:
        outputs: Logits, or probabilities, shape N×…×1.
        output_is_probability: The graph ends in a sigmoid.

    Raises:
        DataError: If they are whole numbers or truth values: classes already.
    """
    if outputs.dtype in (torch.int64, torch.bool, np.int64, np.bool_):
        raise DataError(f"outputs of type {outputs.dtype}, one a sample, are classes, no scores: give --task class-ids")
    with np.errstate(invalid="ignore"):  # an infinite output makes both not finite
        first = 1 - outputs if output_is_probability else outputs * 0
    parts = (first, outputs)
    return torch.cat(parts, -1) if isinstance(outputs, torch.Tensor) else np.concatenate(parts, axis=-1)
