"""Wide integer biases held negative: what a flipped upper bit then does is the lesser harm. Nothing is drawn here.

An int32 bias of a QDQ graph needs few of its bits; the others repeat the sign. A flip of one of them moves the bias by
millions of steps: up where it was 0, so that the channel drowns every other one, and down where it was 1, so that it is
silent behind its ReLU, or one class of many is never named. In a negative number they are 1, all but one of them.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import torch

from faultsim.errors import OptionError
from faultsim.formats import IntFormat
from faultsim.harden.losses import After, Term
from faultsim.harden.noise import WIDE
from faultsim.harden.trainable import Trainable


@dataclass(frozen=True, kw_only=True)
class NegativeBiases(Term):
    """Biases of more than 24 bits are held at a code of -1 or less after every step.

    The bound comes down from the original's biases over the first part of the training. Nothing happens to a graph
    without such biases, or where the device does not store them.

    Attributes:
        anneal: Part of the training over which the bound comes down, 0 to 1.
    """

    kind: ClassVar[str] = "negative_bias"
    anneal: float = 0.3

    def __post_init__(self) -> None:
        if not 0 <= self.anneal <= 1:
            raise OptionError(f"anneal is {self.anneal}, it must lie in [0, 1]")

    @property
    def strength(self) -> float:
        """None to speak of."""
        return 1.0

    def with_strength(self, strength: float) -> Self:
        """Return the same: it has no knob."""
        return self

    def project(self, at: After) -> None:
        """Hold the leaves in place."""
        done = 1.0 if self.anneal == 0 else min(at.progress / self.anneal, 1.0)
        with torch.no_grad():
            for name in wide_biases(at.trainable, at.names):
                step = at.trainable.step(name, at.leaves)
                if step is None:
                    continue
                leaf, start = at.leaves[name], at.initial[name]
                least = -step.expand_as(leaf)
                leaf.copy_(torch.minimum(leaf, torch.maximum(least, start + done * (least - start))))

    def hold(self, at: After) -> None:
        """Hold the leaves at the bound itself: one bias above it is lost as it was before."""
        self.project(at._replace(progress=1.0))


def wide_biases(trainable: Trainable, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return those of *names* that are biases of more than 24 bits in two's complement."""
    found = []
    for name in names:
        p = trainable.parameters[name]
        kept = p.site.format
        if p.site.role == "bias" and p.coding is not None and isinstance(kept, IntFormat):
            wide = kept.bits > WIDE and kept.signed and kept.encoding == "twos_complement"
            found += [name] if wide else []
    return tuple(found)
