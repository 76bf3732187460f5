"""The losses that draw, noise-aware training and random bit errors; and bit-slice sparsity."""

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from torch import Tensor

from faultsim.corruption import Stored, apply_edit
from faultsim.device import Conditions, Device
from faultsim.errors import OptionError
from faultsim.faults import BitFlip
from faultsim.formats import FloatFormat, IntFormat, quantize_symmetric
from faultsim.harden.batch import Array, BatchAt, Evaluated, Grads
from faultsim.harden.losses import Share, Term, weighted
from faultsim.rng import generator

WIDE = 24
"""Codes of more bits than that are hit at `WIDE_PART` of the rate."""
WIDE_PART = 0.3


@dataclass(frozen=True, kw_only=True)
class NoiseAware(Term):
    """(1-α)L(w) + α·mean of L on chips drawn from a device's own laws, anew at every step.

    The weights of a chip are what the device makes of the current ones, its storage's rounding included; the gradient
    goes straight through (noise injection as in Murray & Edwards, IEEE TNN 5(5), 1994; on analog chips Joshi et al.,
    Nature Communications 11, 2473, 2020). What acts on activations is not in it. Chips whose loss or gradient is not
    finite are left out of a step's mean: a flipped exponent bit of a stored float makes a weight of 1e38 or inf.

    Attributes:
        device: Draws the chips.
        alpha: Weight of the chips' loss, in (0, 1].
        chips: Chips a step, at least 1.
        conditions: Conditions other than the profile's own.
    """

    kind: ClassVar[str] = "noise"
    device: Device
    alpha: float = 0.5
    chips: int = 1
    conditions: Conditions | None = None

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)
        if self.chips < 1:
            raise OptionError(f"chips is {self.chips}, it must be at least 1")
        if not self.device.acts_on_numbers:
            raise OptionError(
                f"device {self.device.name} has no fault of stored numbers to train with; use --loss l_star instead"
            )

    @property
    def strength(self) -> float:
        """α."""
        return self.alpha

    @property
    def two_passes(self) -> bool:
        """Whether a corrupted pass stands beside the clean one."""
        return self.alpha < 1

    def with_strength(self, strength: float) -> Self:
        """Return the loss with another α, at most 1."""
        return replace(self, alpha=min(strength, 1.0))

    def share(self, at: BatchAt) -> Share:
        """Add α(mean over chips - L), over those that can be computed; nothing where none can."""
        sites = at.trainable.sites(at.leaves, at.names)
        stored = self.device.store({name: (site, at.numbers[name]) for name, site in sites.items()})
        seed = at.draw_seed("chips", self.device.sha256)
        total, sums, left = 0.0, dict[str, Tensor](), 0
        for number in range(self.chips):
            trial = at.step * self.chips + number
            edits = self.device.draw(stored, seed, trial, conditions=self.conditions).corruption
            numbers: dict[str, Array] = {
                name: apply_edit(edits[name], one) if name in edits else one.values for name, one in stored.items()
            }
            found = at.holding(numbers)
            if not _finite(found):
                at.dropped += 1
                continue
            left += 1
            total += found.loss / self.chips
            _add(sums, found.grads, 1.0 / self.chips)
        if not left:
            return Share()
        up = self.chips / left
        return weighted((up * total, {name: up * grad for name, grad in sums.items()}), self.alpha)


@dataclass(frozen=True, kw_only=True)
class RandomBitErrors(Term):
    """RandBET: (1-α)L(w) + αL(w̃), every stored bit of w̃ flipped with probability *ber*, anew at every step.

    Stutz et al., MLSys 2021 (arXiv 2006.13977), algorithm 1. Integer codes flip as they are stored; floats are stored
    as symmetric codes of `bits` bits, scaled by their largest magnitude, unless a device stores them as
    codes of its own. Codes of more than 24 bits, such as the int32 biases of a QDQ graph, flip at a third of the rate:
    one flip of an upper bit there outweighs all that happens to the weights of a layer.

    Attributes:
        ber: Probability per stored bit, in [0, 1].
        bits: Bits of a float weight's code, 2 to 16.
        alpha: Weight of the corrupted loss, in (0, 1].
        device: Stores the weights; its own laws are not drawn.
    """

    kind: ClassVar[str] = "randbet"
    ber: float = 0.01
    bits: int = 8
    alpha: float = 0.5
    device: Device | None = None

    def __post_init__(self) -> None:
        _check_alpha(self.alpha)
        if not 0 <= self.ber <= 1:
            raise OptionError(f"ber is {self.ber}, it must lie in [0, 1]")
        if not 2 <= self.bits <= 16:
            raise OptionError(f"bits is {self.bits}, it must be from 2 to 16")

    @property
    def strength(self) -> float:
        """The bit error rate."""
        return self.ber

    @property
    def two_passes(self) -> bool:
        """Whether a corrupted pass stands beside the clean one."""
        return self.alpha < 1

    def with_strength(self, strength: float) -> Self:
        """Return the loss with another rate, at most 1/2."""
        return replace(self, ber=min(strength, 0.5))

    def share(self, at: BatchAt) -> Share:
        """Add α(L(w̃) - L(w))."""
        numbers = {}
        for name, one in self._stored(at).items():
            wide = isinstance(one.format, IntFormat) and one.format.bits > WIDE
            law = BitFlip(ber=self.ber * WIDE_PART if wide else self.ber)
            rng = generator(at.seed, at.step, "harden", "random_bit_errors", name)
            numbers[name] = apply_edit(law.sample(one, rng), one)
        return weighted(at.holding(numbers), self.alpha)

    def _stored(self, at: BatchAt) -> dict[str, Stored]:
        sites = at.trainable.sites(at.leaves, at.names)
        found: dict[str, Stored] = {}
        if self.device is not None:
            kept_there = self.device.store({name: (site, at.numbers[name]) for name, site in sites.items()})
            found = {name: one for name, one in kept_there.items() if not isinstance(one.format, FloatFormat)}
        for name, site in sites.items():
            if name in found:
                continue
            values = at.numbers[name]
            if values.dtype.kind in "iu":
                found[name] = Stored(site, site.format, values)
                continue
            kept = site.quantizer if site.quantizer is not None else quantize_symmetric(values, self.bits)
            found[name] = Stored(site, kept, kept.decode(kept.encode(values)))
        return found


@dataclass(frozen=True, kw_only=True)
class BitSliceL1(Term):
    """L + λ·mean over weights of Σ of its bit slices: crossbars whose slices hold little need smaller ADCs.

    A weight's magnitude, as a code of `bits` bits, lies on cells of `slice_bits` bits each (Zhang et al., arXiv
    1909.08496). A slice that is not zero pulls the code down by one over its worth, straight-through; one that is zero
    does not, and the last slice of a code has the strongest pull.

    Attributes:
        weight: λ, at least 0.
        bits: Bits of a magnitude, 2 to 16; a weight's own where it is stored as codes.
        slice_bits: Bits a cell, 1 to `bits`.
    """

    kind: ClassVar[str] = "bit_slice_l1"
    weight: float = 0.01
    bits: int = 8
    slice_bits: Literal[1, 2, 4] = 2

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise OptionError(f"weight is {self.weight}, it must be at least 0")
        if not 2 <= self.bits <= 16 or not 1 <= self.slice_bits <= self.bits:
            raise OptionError(f"bits is {self.bits} and slice_bits {self.slice_bits}; give 2 to 16, and 1 to bits")

    @property
    def strength(self) -> float:
        """λ."""
        return self.weight

    def with_strength(self, strength: float) -> Self:
        """Return the loss with another λ."""
        return replace(self, weight=strength)

    def share(self, at: BatchAt) -> Share:
        """Add λ times the mean slice sum, and its straight-through gradient."""
        weights = {name: at.weights[name] for name in at.names if at.trainable.parameters[name].site.role == "weight"}
        count = sum(one.numel() for one in weights.values())
        total, grads = 0.0, Grads()
        for name, real in weights.items():
            step = self._step(at, name, real)
            codes = torch.round(real.abs() / step)
            pull = torch.zeros_like(real)
            base = 2**self.slice_bits
            for number in range(-(-self._bits(at, name) // self.slice_bits)):
                worth = float(base**number)
                part = torch.floor(codes / worth) % base
                total += float(part.sum())
                pull += (part > 0).to(real.dtype) / worth
            grads[name] = self.weight / count * pull * real.sign() / step
        return Share(loss=self.weight * total / max(count, 1), grads=grads)

    def _bits(self, at: BatchAt, name: str) -> int:
        """Bits of the largest magnitude."""
        p = at.trainable.parameters[name]
        kept = p.site.quantizer if p.coding is None else p.site.format
        return kept.bits if isinstance(kept, IntFormat) else self.bits

    def _step(self, at: BatchAt, name: str, real: Tensor) -> Tensor:
        own = at.trainable.step(name, at.leaves)
        if own is not None:
            return own.abs().to(real.dtype)
        kept = at.trainable.sites(at.leaves, [name])[name].quantizer
        if isinstance(kept, IntFormat):
            return torch.as_tensor(np.abs(kept.scale), dtype=real.dtype, device=real.device)
        top: Tensor = real.abs().max().clamp(min=1e-12)
        return top / float(2**self.bits - 1)


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha <= 1:
        raise OptionError(f"alpha is {alpha}, it must be above 0 and at most 1")


def _finite(found: Evaluated) -> bool:
    return math.isfinite(found.loss) and all(bool(torch.isfinite(grad).all()) for grad in found.grads.values())


def _add(sums: dict[str, Tensor], grads: Grads, factor: float) -> None:
    for name, grad in grads.items():
        sums[name] = sums[name] + factor * grad if name in sums else factor * grad
