"""Running statistics of batch norms taken anew for trained weights. Folded ones have none; frozen ones stay."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    averaged (the average of the batches' unbiased variances, as torch's own with ``momentum=None``).

    Args:
        model: The graph.
        numbers: Its new weights, by site.
        batches: Inputs, each of as many samples as a training batch.
    """
    known = statistics(model)
    sums: dict[str, Tensor] = defaultdict(lambda: torch.zeros((), dtype=torch.float64))
    count = 0
    keys: dict[int, dict[int, str]] = defaultdict(dict)
    for key, node in known.items():
        alias = {name for name, constant in model.program.graph.constants.items() if constant == key}
        for position in (3, 4):
            if node.inputs[position] in alias:
                keys[id(node)][position] = key

    def intercept(node: Node, values: list[Value], compute: Compute) -> Any:
        mine = keys.get(id(node))
        x = values[0]
        if mine is None or not isinstance(x, Tensor):
            return compute(values)
        axes = [axis for axis in range(x.ndim) if axis != 1]
        wide = x.double()
        seen = {3: wide.mean(axes), 4: wide.var(axes, unbiased=False)}
        elements = x.numel() // x.shape[1]
        for position, key in mine.items():
            unbiased = elements / max(elements - 1, 1) if position == 4 else 1.0
            sums[key] = sums[key] + (seen[position] * unbiased).cpu()
        fresh = list(values)
        for position, statistic in seen.items():
            fresh[position] = statistic.to(x.dtype)
        return compute(fresh)

    for feeds in batches:
        count += 1
        model.run(feeds, numbers, interceptor=intercept)
    dtypes = {name: np.asarray(model.numbers[name]).dtype for name in sums}
    return {name: (total / max(count, 1)).numpy().astype(dtypes[name]) for name, total in sums.items()}
