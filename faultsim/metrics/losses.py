"""Losses on rows of logits: differentiable on torch tensors, and in float64 on numpy arrays for counting."""

import math
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple

import numpy as np
import torch

from faultsim.errors import DataError, OptionError
from faultsim.metrics.counts import Array, Floats, Ints

LossKind = Literal["cross_entropy", "margin"]
LOSSES: tuple[str, ...] = ("cross_entropy", "margin")
SHARPNESS: Final[Mapping[str, float]] = {"errors": 1.0, "edge": 4.0}
"""Smooth counts of errors, and how much sharper than the network's own probabilities they are, dimensionless."""
TINY = float(np.finfo(np.float32).tiny)  # where probabilities are clamped: a cross-entropy of at most 87.3
_ROWS_BYTES = 1 << 25


class LossSum(NamedTuple):
    """A loss over a batch.

    Attributes:
        total: Sum over its units, differentiable, a scalar.
        n: Their number.
        taken: Of a collapse what each class takes from the others, shape (C,): over all batches the largest sum tells
            the class to ask for. None of other losses.
    """

    total: torch.Tensor
    n: int
    taken: torch.Tensor | None = None


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the cross-entropy of each row in nats, shape (M,), differentiable.

    Args:
        logits: Shape (M, C), any float type; log-probabilities are logits too.
        labels: Classes, shape (M,), int64, ``0 … C - 1``.
    """
    return torch.nn.functional.cross_entropy(logits, labels, reduction="none")


def margin(logits: torch.Tensor, labels: torch.Tensor, *, cap: float = 0.0) -> torch.Tensor:
    """Return ``min(max_{j ≠ y} z_j - z_y, cap)`` of each row, shape (M,), differentiable.

    Above 0 a row is wrong. With the default cap a row that is already wrong has no gradient: what is left
    pushes the right ones over the edge, and a sum of 0 means that all are wrong. ``cap=inf`` is the plain
    margin.

    Args:
        logits: Shape (M, C), C at least 2.
        labels: Classes, shape (M,), int64.
        cap: Where the margin is cut, in the unit of the logits.
    """
    own = logits.gather(1, labels[:, None])
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    return (others - own[:, 0]).clamp(max=cap)


def smooth_error(logits: torch.Tensor, labels: torch.Tensor, *, sharpness: float) -> torch.Tensor:
    """Return a smooth count of errors of each row, 0 to 1, shape (M,), differentiable.

    1 for a row that is wrong; else ``1 - softmax(sharpness * logits)[label]``, whose gradient comes from the rows near
    the edge.

    Args:
        logits: Shape (M, C), C at least 2.
        labels: Classes, shape (M,), int64.
        sharpness: Factor on the logits, above 0.
    """
    kept = (sharpness * logits).softmax(1).gather(1, labels[:, None])[:, 0]
    right = margin(logits.detach(), labels, cap=torch.inf) < 0
    return torch.where(right, 1 - kept, torch.ones_like(kept))


def collapse(logits: torch.Tensor, labels: torch.Tensor, into: int | None = None) -> torch.Tensor:
    """Return the log-probability of the class that takes most from the others, shape (M,), differentiable.

    That class has the largest sum of probabilities over the rows of other classes (`taken`). A network that answers one
    class to everything is right by chance alone, on any samples. The gradient comes from the rows not yet taken for
    that class.

    Args:
        logits: Shape (M, C), C at least 2.
        labels: Classes, shape (M,), int64.
        into: The class; None chooses it over these rows.
    """
    chosen = int(taken(logits, labels).argmax()) if into is None else into
    return logits.log_softmax(1)[:, chosen]


def taken(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Return the sum of each class's probabilities over the rows of other classes, shape (C,), float64; NaN is 0."""
    others = logits.detach().softmax(1).scatter(1, labels[:, None], 0.0)
    return others.nan_to_num().sum(0, dtype=torch.float64)


def per_row(logits: torch.Tensor, labels: torch.Tensor, kind: str, *, cap: float = 0.0) -> torch.Tensor:
    """Return the loss of the asked kind of each row: one of `LOSSES`, of `SHARPNESS`, ``collapse`` or ``collapse:3``.

    The last one is the collapse into class 3, whatever these rows say.

    Raises:
        OptionError: If `kind` is unknown.
    """
    if kind == "cross_entropy":
        return cross_entropy(logits, labels)
    if kind == "margin":
        return margin(logits, labels, cap=cap)
    if kind in SHARPNESS:
        return smooth_error(logits, labels, sharpness=SHARPNESS[kind])
    name, _, into = kind.partition(":")
    if name == "collapse":
        return collapse(logits, labels, int(into) if into else None)
    raise unknown_loss(kind)


def taken_of(logits: torch.Tensor, labels: torch.Tensor, kind: str) -> torch.Tensor | None:
    """Return what each class takes from the others where *kind* is a collapse, else None."""
    return taken(logits, labels) if kind == "collapse" else None


def unknown_loss(kind: str) -> OptionError:
    """Return the error for a kind of loss that there is not."""
    return OptionError(f"loss {kind!r} is unknown: give one of {', '.join(LOSSES)}")


def to_logits(outputs: torch.Tensor, *, probability: bool) -> torch.Tensor:
    """Return logits: the outputs themselves, or the logarithm of probabilities clamped at 1.2e-38.

    A probability at the clamp has no gradient: a saturated softmax in the graph hides the direction of the
    attack.
    """
    values = outputs if outputs.dtype in (torch.float32, torch.float64) else outputs.float()
    return values.clamp(min=TINY).log() if probability else values


def numpy_cross_entropy(logits: Array, labels: Ints) -> Floats:
    """Return the cross-entropy of each row in float64, shape (M,); no row depends on the others.

    Infinite where logits lie further apart than the largest float64.

    Args:
        logits: Shape (M, C), all finite.
        labels: Classes, shape (M,), ``0 … C - 1``.
    """
    out = np.empty(len(logits))
    step = max(1, _ROWS_BYTES // (8 * max(1, logits.shape[1])))
    for start in range(0, len(logits), step):
        rows = logits[start : start + step].astype(np.float64)
        top = rows.max(axis=1)
        with np.errstate(over="ignore"):
            log_sum = np.log(np.exp(rows - top[:, None]).sum(axis=1)) + top
            out[start : start + step] = log_sum - rows[np.arange(len(rows)), labels[start : start + step]]
    return out


def numpy_logits(outputs: Array, *, probability: bool) -> Array:
    """Return what `to_logits` returns, for numpy arrays."""
    return np.log(np.maximum(outputs.astype(np.float64), TINY)) if probability else outputs


def goes_with(given: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    """Whether numbers of a shape are one for each of another: the same axes, those of 1 left out, or all of them flat.

    As many numbers along other axes are not: transposed labels would be taken for wrong answers.

    Examples:
        >>> goes_with((8, 1), (8,)), goes_with((2, 12), (2, 3, 4)), goes_with((2, 4, 3), (2, 3, 4))
        (True, True, False)
    """
    if math.prod(given) != math.prod(shape):
        return False
    flat = len(given) < 2 or (len(given) == 2 and given[0] == shape[0])
    return flat or [size for size in given if size != 1] == [size for size in shape if size != 1]


def checked_labels(labels: Array, shape: tuple[int, ...], classes: int, ignore: int | None = None) -> Ints:
    """Return labels as int64 of the asked shape.

    Raises:
        DataError: If they have another shape, are no whole numbers, or lie outside ``0 … classes - 1``.
    """
    given = np.asarray(labels)
    if given.dtype.kind not in "iu":
        raise DataError(f"labels of type {given.dtype} are no classes; give whole numbers, or use --task regression")
    if not goes_with(given.shape, shape):
        raise DataError(f"labels of shape {given.shape} do not go with predictions of shape {shape}; give one for each")
    flat = given.astype(np.int64).reshape(shape)
    scored = flat if ignore is None else flat[flat != ignore]
    if scored.size and (scored.min() < 0 or scored.max() >= classes):
        wrong = scored.min() if scored.min() < 0 else scored.max()
        raise DataError(
            f"label {wrong} is out of range: the model has {classes} classes, 0…{classes - 1}; check the data"
        )
    return flat
