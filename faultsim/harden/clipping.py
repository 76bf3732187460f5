"""`WeightClipping`: weights are held within a limit, and learned steps come down with it. Nothing is drawn here."""

from dataclasses import dataclass, replace
from typing import ClassVar, Self

import torch
from torch import Tensor

from faultsim.errors import OptionError
from faultsim.harden.losses import After, Term


@dataclass(frozen=True, kw_only=True)
class WeightClipping(Term):
    """Weights are held in [-limit, limit] after every step: all must then matter, and a flipped bit does less.

    Stutz et al., MLSys 2021, section 4.2. A trained network is not cut at once: the limit comes down from the largest
    weight over the first part of the training. Biases and norm parameters are clipped where they are corrupted. A step
    that is learned comes down with the limit, so that a flipped bit of a code is worth less too. What a flip is worth
    in a channel hangs on that channel's step: where each has a learned one of its own, each has its own limit.

    Attributes:
        limit: Most that a weight may be, above 0: in the weights' units, or relative.
        relative: Whether the limit is in units of the RMS when the training began: of the weights that share a learned
            step, and of the whole tensor where none is learned.
        anneal: Part of the training over which the limit comes down, 0 to 1.
    """

    kind: ClassVar[str] = "clip"
    limit: float = 2.0
    relative: bool = True
    anneal: float = 0.3

    def __post_init__(self) -> None:
        if not self.limit > 0:
            raise OptionError(f"limit is {self.limit}, it must be above 0")
        if not 0 <= self.anneal <= 1:
            raise OptionError(f"anneal is {self.anneal}, it must lie in [0, 1]")

    @property
    def strength(self) -> float:
        """One over the limit: stronger is tighter."""
        return 1.0 / self.limit

    def with_strength(self, strength: float) -> Self:
        """Return the loss with the limit at one over *strength*; 0 clips nothing."""
        return replace(self, limit=1.0 / strength if strength > 0 else float("inf"))

    def project(self, at: After) -> None:
        """Clip the leaves in place."""
        done = 1.0 if self.anneal == 0 else min(at.progress / self.anneal, 1.0)
        with torch.no_grad():
            for name in at.names:
                start = at.initial[name]
                if start.numel() < 2:
                    continue
                dims = (at.trainable.shared_step(name) if self.relative else None) or tuple(range(start.ndim))
                top = start.abs().amax(dims, keepdim=True)
                limit = self._limit(start, dims)
                bound = torch.where(top > limit, torch.maximum(limit, top + done * (limit - top)), limit)
                if bool((bound > 0).all()):
                    leaf = at.leaves[name]
                    leaf.copy_(torch.clamp(leaf, -bound, bound))
                    at.trainable.cap(name, at.leaves, bound)

    def _limit(self, start: Tensor, dims: tuple[int, ...]) -> Tensor:
        """Return the limits, *dims* kept as 1; a dead channel has that of the tensor, and may come alive."""
        if not self.relative:
            return torch.full_like(start.abs().amax(dims, keepdim=True), self.limit)
        own = start.square().mean(dims, keepdim=True).sqrt()
        return self.limit * torch.where(own > 0, own, start.square().mean().sqrt())
