"""`BatchAt`: one training batch at the current leaves, and what a loss may ask of it. No loss lives here.

The clean pass is shared: losses that are trained together pay for it once. Where a batch is split, clean weights see
one half of it and corrupted ones the other.
"""

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.errors import OptionError
from faultsim.harden.target import BatchLoss
from faultsim.harden.trainable import Trainable
from faultsim.model import Model
from faultsim.rng import generator

Array = NDArray[Any]
Grads = dict[str, Tensor]
RECURRENT = frozenset({"LSTM", "GRU", "RNN"})
"""Ops that cuDNN computes on CUDA, with a backward pass that cannot be differentiated."""


class Evaluated(NamedTuple):
    """A mean loss over the batch and its gradient by every leaf, without a graph."""

    loss: float
    grads: Grads


class WithGraph(NamedTuple):
    """A mean loss and its gradients that can be differentiated again."""

    loss: Tensor
    grads: Grads


def check_trains(trainable: Trainable, feeds: Mapping[str, Array], batch_loss: BatchLoss) -> None:
    """Check that the loss of a batch can be computed, and has a gradient by something that is trained.

    Raises:
        OptionError: If it has none.
        FaultsimError: If it cannot be computed.
    """
    if not batch_loss(trainable.run(feeds, trainable.leaves())).requires_grad:
        name, fallbacks = trainable.model.name, sorted(trainable.model.fallbacks)
        ops = f" (ops without gradients: {', '.join(fallbacks)})" if fallbacks else ""
        raise OptionError(
            f"{name}: no gradient leads from the loss to anything that is trained{ops}; choose another --output, or "
            "export the model without ArgMax and the like"
        )


class BatchAt:
    """One batch at the current leaves.

    Attributes:
        trainable: The graph.
        leaves: Its leaves, moved by training.
        names: Sites that are corrupted, in order.
        step: Number of the training step, from 0: the key of every draw.
        seed: Seed of every draw.
        evaluations: Forward and backward passes so far.
        dropped: Chips so far whose loss or gradient was not finite, so that they were left out.
    """

    def __init__(
        self,
        trainable: Trainable,
        leaves: dict[str, Tensor],
        feeds: Mapping[str, Array],
        loss: BatchLoss,
        *,
        names: tuple[str, ...],
        seed: int,
        step: int,
        other: tuple[Mapping[str, Array], BatchLoss] | None = None,
    ) -> None:
        """Take a batch.

        Args:
            trainable: The graph.
            leaves: Its leaves.
            feeds: Inputs by name.
            loss: From the outputs to the mean task loss, a scalar.
            names: Sites that are corrupted.
            seed: Seed of every draw.
            step: Number of the training step.
            other: Inputs and loss of the samples that corrupted weights see in place of these; None for the same.
        """
        self.trainable = trainable
        self.leaves = leaves
        self.names = names
        self.seed = seed
        self.step = step
        self.evaluations = 0
        self.dropped = 0
        self._feeds = feeds
        self._loss = loss
        self._other = (feeds, loss) if other is None else other
        self._clean: Evaluated | None = None
        self._numbers: dict[str, Array] | None = None
        self._weights: dict[str, Tensor] | None = None

    @property
    def clean(self) -> Evaluated:
        """Loss and gradient at the weights as deployed, computed once."""
        if self._clean is None:
            self._clean = self.at(None)
        return self._clean

    def at(self, deltas: Mapping[str, Tensor] | None, *, of_codes: bool = False) -> Evaluated:
        """Return loss and gradient with *deltas* added to the sites, in real units.

        The gradient takes them for constants, or where they are `of_codes` for so many steps each: a step that is
        learned moves those with it.
        """
        self.evaluations += 1
        feeds, batch_loss = (self._feeds, self._loss) if deltas is None else self._other
        loss = batch_loss(self.trainable.run(feeds, self.leaves, deltas, of_codes=of_codes))
        found = torch.autograd.grad(loss, list(self.leaves.values()), allow_unused=True)
        return Evaluated(float(loss.detach()), self._filled(found))

    def graph(self) -> WithGraph:
        """Return clean loss and gradients with a graph, for losses of the gradient itself; `clean` follows for free."""
        self.evaluations += 1
        with _twice(self.trainable.model):
            loss = self._loss(self.trainable.run(self._feeds, self.leaves))
            found = torch.autograd.grad(loss, list(self.leaves.values()), create_graph=True, allow_unused=True)
        grads = self._filled(found)
        self._clean = Evaluated(float(loss.detach()), {name: grad.detach() for name, grad in grads.items()})
        return WithGraph(loss, grads)

    def differentiate(self, value: Tensor) -> Grads:
        """Return the gradient of a scalar by every leaf."""
        with _twice(self.trainable.model):
            found = torch.autograd.grad(value, list(self.leaves.values()), allow_unused=True)
        return self._filled(found)

    def corruptible(self, grads: Mapping[str, Tensor]) -> Grads:
        """Return the part of *grads* that belongs to the sites that are corrupted."""
        return {name: grads[name] for name in self.names}

    @property
    def weights(self) -> dict[str, Tensor]:
        """What the graph computes with at the corrupted sites, real units, without a graph."""
        if self._weights is None:
            whole = self.trainable.weights(self.leaves)
            self._weights = {name: whole[name] for name in self.names}
        return self._weights

    @property
    def numbers(self) -> dict[str, Array]:
        """The numbers that would be stored now, at the corrupted sites."""
        if self._numbers is None:
            whole = self.trainable.numbers(self.leaves)
            self._numbers = {name: whole[name] for name in self.names}
        return self._numbers

    def holding(self, corrupted: Mapping[str, Array]) -> Evaluated:
        """Return loss and gradient where the memory holds *corrupted* numbers in place of those as stored."""
        return self.at(self.difference(corrupted), of_codes=True)

    def difference(self, corrupted: Mapping[str, Array]) -> Grads:
        """Return what stored numbers under corruption differ by from the clean ones, in real units."""
        clean = self.trainable.settled(self.numbers, self.trainable.sites(self.leaves, list(corrupted)))
        found: Grads = {}
        for name, array in corrupted.items():
            leaf = self.leaves[name]
            gap = np.asarray(array, dtype=np.float64) - clean[name].astype(np.float64)
            delta = torch.from_numpy(gap.reshape(leaf.shape)).to(device=leaf.device, dtype=leaf.dtype)
            step = self.trainable.step(name, self.leaves)
            found[name] = delta if step is None else delta * step
        return found

    def draw_seed(self, *names: str) -> int:
        """Return a seed of this training's own for a device's draws: no chip that is assessed is trained on."""
        return int(generator(self.seed, -1, "harden", *names).integers(1 << 62))

    def _filled(self, found: tuple[Tensor | None, ...]) -> Grads:
        return {
            name: torch.zeros_like(leaf) if grad is None else grad
            for (name, leaf), grad in zip(self.leaves.items(), found, strict=True)
        }


def _twice(model: Model) -> AbstractContextManager[None]:
    """Return where a pass can be differentiated twice: without cuDNN for recurrent graphs on CUDA."""
    if not (_on_cuda(model) and any(node.op_type in RECURRENT for node in model.program.nodes())):
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=False)


def _on_cuda(model: Model) -> bool:
    return model.device.type == "cuda"
