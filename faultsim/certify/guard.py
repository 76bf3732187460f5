"""`Guard`: whether the network that is bounded is the one that is deployed, by their outputs without corruption.

Nothing is bounded here, and no rule is asked.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from faultsim.certify.certificate import Certificate, NotCertifiedError
from faultsim.certify.rules import Compute
from faultsim.certify.trace import widened
from faultsim.corruption import Stored
from faultsim.model import Model
from faultsim.model.nodes import Node
from faultsim.model.tolerance import RELATIVE, difference
from faultsim.model.values import Value

Deployed = Callable[[Mapping[str, NDArray[Any]]], NDArray[Any]]
"""Runs the fault-free network on a batch of inputs by name and returns the scored output, samples first."""


def without_rules(model: Model, stored: Mapping[str, Stored], output: str, *, exact: bool) -> Deployed:
    """Return the network as its own ops compute it, in the graph's types or, where *exact*, in float64."""
    numbers = {name: one.values for name, one in stored.items()}

    def run(feeds: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(model.run(feeds, numbers, interceptor=_widening if exact else None)[output])

    return run


class Guard:
    """Holds the traced outputs to the deployed ones, batch by batch.

    Attributes:
        deployed: The deployed network.
        head: The softmax, log-softmax or sigmoid that logits flow past in the trace; None without one.
        relative: How far they may part, as a fraction of the largest output of the batch.
    """

    def __init__(self, deployed: Deployed, head: Node | None, *, exact: bool) -> None:
        self.deployed = deployed
        self.head = head
        self.relative = RELATIVE["float64" if exact else "float32"]
        self._predicted: list[NDArray[np.int64]] = []

    def check(self, feeds: Mapping[str, NDArray[Any]], logits: Tensor) -> None:
        """Compare one batch.

        Args:
            feeds: Inputs by name.
            logits: Traced without corruption, shape ``(B, C)``, C at least 2: a single one stands against 0.

        Raises:
            NotCertifiedError: If they part by more than rounding.
        """
        theirs = np.asarray(self.deployed(feeds), dtype=np.float64).reshape(len(logits), -1)
        ours = self._ended(logits, single=theirs.shape[1] == 1)
        gap = difference(ours, theirs, relative=self.relative)
        if not gap.worst <= gap.allowed:
            raise NotCertifiedError(
                f"without corruption the network that is bounded gives outputs {gap.worst:.3g} away from the deployed "
                f"one's, and rounding allows {gap.allowed:.3g}, so the bounds do not hold here; please report the model"
            )
        half = 0.5 if self.head is not None and self.head.op_type == "Sigmoid" else 0.0
        single = theirs.shape[1] == 1
        self._predicted.append((theirs[:, 0] > half).astype(np.int64) if single else theirs.argmax(1))

    def check_stable(self, certificate: Certificate, predicted: Sequence[Tensor]) -> None:
        """Check that samples whose class cannot change have it where the network is deployed.

        Args:
            certificate: Bounds over all samples checked.
            predicted: Traced classes without corruption, a batch each.

        Raises:
            NotCertifiedError: If one has another.
        """
        theirs, ours = np.concatenate(self._predicted), torch.cat(list(predicted)).numpy()
        off = int((certificate.stable & (theirs != ours)).sum())
        if off:
            raise NotCertifiedError(
                f"{off} samples whose class is bounded not to change have another one where the network is deployed, "
                "so the bounds do not hold here; please report the model"
            )

    def _ended(self, logits: Tensor, *, single: bool) -> NDArray[np.float64]:
        """Return the traced outputs as the graph gives them."""
        kind = None if self.head is None else self.head.op_type
        if single:
            one = logits[:, 1:]
            ended = torch.sigmoid(one) if kind == "Sigmoid" else one
        else:
            ended = {"Softmax": torch.softmax, "LogSoftmax": torch.log_softmax}[kind](logits, 1) if kind else logits
        found: NDArray[np.float64] = ended.detach().numpy()
        return found


def _widening(node: Node, arguments: list[Value], compute: Compute) -> Sequence[Value]:
    """Stand in for a node: compute it in float64; a change of float type is none there."""
    inputs = [widened(value) for value in arguments]
    found = compute(inputs)
    if node.op_type == "Cast" and isinstance(found[0], Tensor) and found[0].is_floating_point():
        return [widened(inputs[0])] if isinstance(inputs[0], Tensor) and inputs[0].is_floating_point() else found
    return found
