"""Several losses at once. What each of them is stands in `losses.py` and `noise.py`."""

from dataclasses import dataclass, replace

from torch import Tensor

from faultsim.errors import OptionError
from faultsim.harden.batch import BatchAt
from faultsim.harden.losses import After, Loss, Share


@dataclass(frozen=True, kw_only=True)
class Together:
    """Several losses at once, ``L + Σ (loss_i - L)``: each adds what it adds alone, and all share the clean pass.

    A strength s multiplies the strength that each was made with. Where the corrupted losses would weigh more than one
    together, they are scaled down to one: the clean loss is never trained against.

    Attributes:
        losses: At least one.
        factor: What their own strengths are multiplied by.
        kept: Kinds of those whose strength was given, and is not multiplied.
    """

    losses: tuple[Loss, ...]
    factor: float = 1.0
    kept: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.losses:
            raise OptionError("no loss was given to train with; give at least one")

    @property
    def kind(self) -> str:
        """The names of all, joined by ``+``."""
        return "+".join(one.kind for one in self.losses)

    @property
    def needs_graph(self) -> bool:
        """Whether one of them differentiates the gradient."""
        return any(one.needs_graph for one in self.losses)

    @property
    def two_passes(self) -> bool:
        """Whether one of them has a corrupted pass beside the clean one."""
        return any(one.two_passes for one in self.losses)

    @property
    def strength(self) -> float:
        """The common factor."""
        return self.factor

    def with_strength(self, strength: float) -> "Together":
        """Return the losses with their own strengths times *strength*."""
        return replace(self, factor=strength)

    def share(self, at: BatchAt) -> Share:
        """Add the shares up."""
        clean, value, grads = 0.0, 0.0, dict[str, Tensor]()
        shares = [one.share(at) for one in sorted(self.scaled(), key=lambda loss: not loss.needs_graph)]
        taken = sum(max(-share.clean, 0.0) for share in shares)
        for share in shares:
            factor = 1.0 / taken if taken > 1.0 and share.clean < 0 else 1.0
            clean += factor * share.clean
            value += factor * share.loss
            for name, grad in share.grads.items():
                part = grad if factor == 1.0 else factor * grad
                grads[name] = grads[name] + part if name in grads else part
        return Share(clean, value, grads)

    def project(self, at: After) -> None:
        """Let each move the leaves, in order."""
        for one in self.scaled():
            one.project(at)

    def hold(self, at: After) -> None:
        """Let each move the leaves, in order."""
        for one in self.scaled():
            one.hold(at)

    def scaled(self) -> list[Loss]:
        """Return each at its strength."""
        if self.factor == 1:
            return list(self.losses)
        own = self.kept
        return [one if one.kind in own else one.with_strength(one.strength * self.factor) for one in self.losses]
