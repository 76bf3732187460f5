"""Running statistics of batch norms taken anew for trained weights. Folded ones have none; frozen ones stay."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.engine.inference.calibrate import batch_size as samples_of
from faultsim.harden.coding import statistics
from faultsim.harden.samples import Samples
from faultsim.model import Model
from faultsim.model.nodes import Node
from faultsim.model.run import Compute
from faultsim.model.values import Value
from faultsim.rng import generator

Array = NDArray[Any]
Anew = Callable[[Mapping[str, Array]], dict[str, Array]]
"""Weights in, the same weights with the running statistics that belong to them out."""
RECALIBRATED = 4096
"""Training samples that statistics are taken over, at most."""
FEW = 8
"""Samples below which a batch's own statistics are too few to normalise it by."""


def live(model: Model) -> bool:
    """Whether the graph holds batch norms with statistics of their own; folded into weights they have none."""
    return bool(statistics(model))


def anew(model: Model, train: Samples, *, batch_size: int, seed: int) -> Anew:
    """Return what gives new weights their own running statistics, over training samples drawn by *seed*.

    Args:
        model: The graph.
        train: What it is trained on; `RECALIBRATED` of them are taken, or all, in whole batches.
        batch_size: Samples a batch, at most those of *train*.
        seed: Of the draw.
    """
    rows = generator(seed, -1, "harden", "batch norms").permutation(len(train))[: max(RECALIBRATED, batch_size)]

    def of(numbers: Mapping[str, Array]) -> dict[str, Array]:
        starts = range(0, len(rows) - batch_size + 1, batch_size)
        batches = (train.take(rows[start : start + batch_size])[0] for start in starts)
        return {**numbers, **recalibrated(model, numbers, batches)}

    return of


def recalibrated(
    model: Model, numbers: Mapping[str, Array], batches: Iterable[Mapping[str, Array]]
) -> dict[str, Array]:
    """Return means and variances of every batch norm's input over *batches*, by initializer.

    Every batch is normalised by its own statistics on the way, as in training, and the statistics of all batches are
    averaged (the average of the batches' unbiased variances, as torch's own with ``momentum=None``). Batches of less
    than `FEW` samples say too little: all that was seen up to each is what it is normalised by, and what is returned.

    Args:
        model: The graph.
        numbers: Its new weights, by site.
        batches: Inputs, each of as many samples as a training batch.
    """
    readers: dict[int, dict[int, str]] = defaultdict(dict)
    for key, nodes in statistics(model).items():
        for node, position in nodes:
            readers[id(node.proto)][position] = key
    norms: dict[int, _Seen] = defaultdict(_Seen)
    few = False

    def intercept(node: Node, values: list[Value], compute: Compute) -> Any:
        x = values[0] if values else None
        if id(node.proto) not in readers or not isinstance(x, Tensor):
            return compute(values)
        fresh = list(values)
        fresh[3:5] = (one.to(x.dtype) for one in norms[id(node.proto)].add(x.double(), whole=few))
        return compute(fresh)

    for feeds in batches:
        few = samples_of(model, feeds) < FEW
        model.run(feeds, numbers, interceptor=intercept)
    found: dict[str, list[Tensor]] = defaultdict(list)
    for which, seen in norms.items():
        for position, key in readers[which].items():
            found[key].append(seen.statistics(whole=few)[position - 3])
    dtypes = {key: np.asarray(model.numbers[key]).dtype for key in found}  # norms that share a tensor get their average
    return {key: torch.stack(some).mean(0).cpu().numpy().astype(dtypes[key]) for key, some in found.items()}


class _Seen:
    """What one batch norm has seen: sums over batches of their means and variances, and of numbers and squares."""

    def __init__(self) -> None:
        self.batches, self.elements = 0, 0
        self.mean = self.var = self.sum = self.squares = torch.zeros((), dtype=torch.float64)

    def add(self, x: Tensor, *, whole: bool) -> tuple[Tensor, Tensor]:
        """Take a batch in, channels on axis 1; return the mean and variance that it is normalised by."""
        axes = [axis for axis in range(x.ndim) if axis != 1]
        count = x.numel() // max(x.shape[1], 1)
        mean, var = x.mean(axes), x.var(axes, unbiased=False)
        self.mean, self.var = self.mean.to(mean) + mean, self.var.to(var) + var * (count / max(count - 1, 1))
        self.sum = self.sum.to(mean) + x.sum(axes)
        self.squares = self.squares.to(mean) + x.square().sum(axes)
        self.batches, self.elements = self.batches + 1, self.elements + count
        return self.statistics(whole=True, unbiased=False) if whole else (mean, var)

    def statistics(self, *, whole: bool, unbiased: bool = True) -> tuple[Tensor, Tensor]:
        """Return mean and variance of all elements as one, or the averages over batches."""
        if not whole:
            return self.mean / self.batches, self.var / self.batches
        mean = self.sum / self.elements
        factor = self.elements / max(self.elements - 1, 1) if unbiased else 1.0
        return mean, (self.squares / self.elements - mean.square()).clamp_min(0.0) * factor
