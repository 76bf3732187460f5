"""Which losses suit which device: the recipes by name, and `auto`. No loss is defined here.

L_a and L* help against noise in an Lp ball and hardly against bit errors; weight clipping and random bit errors do the
reverse; together they help both. Analog arrays are trained with their own laws.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

from faultsim.device import Conditions, Device
from faultsim.errors import OptionError
from faultsim.harden.ball import Ball
from faultsim.harden.biases import NegativeBiases
from faultsim.harden.clipping import WeightClipping
from faultsim.harden.losses import (
    CorruptionResistant,
    GradientL1,
    GradientRegularised,
    Loss,
    Plain,
    SharpnessAware,
)
from faultsim.harden.noise import BitSliceL1, NoiseAware, RandomBitErrors
from faultsim.harden.strength import has_knob
from faultsim.harden.together import Together
from faultsim.library import closest
from faultsim.specs.storage import AnalogStorage

RECIPES: Final = ("auto", "plain", "lp", "bits", "analog")
PART: Final = 0.25
"""Weight of each corrupted loss where a recipe has two: half of the loss is the clean one's."""
L1_EPS: Final = 0.01
"""λ of gradient_l1, in units of the weights' RMS: every weight moves by as much at once, and 3 % of each is a lot."""
LOSSES: Final = ("plain", "l_a", "l_star", "sam", "noise", "randbet", "clip", "negative_bias", "gradient_l1",
                  "bit_slice_l1")  # fmt: skip


class Recipe(NamedTuple):
    """What a model is trained with, and why.

    Attributes:
        name: One of `RECIPES`, or ``losses`` where they were named.
        loss: The losses.
        why: One sentence.
        also: Losses that the validation samples decide about, in place of `loss`; None where there are none.
        kept: Kinds of losses whose strength was given by an option of its own, and that option: no other is tried.
    """

    name: str
    loss: Loss
    why: str
    also: Loss | None = None
    kept: Mapping[str, str] = {}

    def check_strength(self, strength: float | None) -> None:
        """Refuse a strength where there is no knob that it would turn, or the options have set every one.

        Raises:
            OptionError: If it would turn none.
        """
        if strength is None or (has_knob(self.loss) and self.loss.kind not in self.kept):
            return
        if not self.kept:
            asked = f"--loss {self.loss.kind.replace('+', ' ')}" if self.name == "losses" else f"--recipe {self.name}"
            raise OptionError(f"--strength {strength:g} turns the knob of a loss, and {asked} has none; leave it out")
        given = " and ".join(dict.fromkeys(self.kept.values()))
        raise OptionError(
            f"{given} and --strength {strength:g} turn the same knob of {self.loss.kind}; leave one of them out"
        )


def recipe(
    name: str,
    device: Device,
    *,
    ball: Ball | None = None,
    conditions: Conditions | None = None,
    virtual_steps: int = 1,
) -> Recipe:
    """Return a recipe by its name; ``auto`` chooses by what goes wrong in the device.

    Args:
        name: One of `RECIPES`.
        device: The chip.
        ball: Of the virtual corruption; 3 % of the weights' norm where None. One for losses that have none is refused.
        conditions: Of the chips that are drawn.
        virtual_steps: Gradients of the virtual corruption; more than 1 for losses that take one is refused.

    Raises:
        OptionError: If there is no such recipe, the device cannot serve it, or an argument would have no effect.
    """
    if name not in RECIPES:
        raise _unknown("recipe", name, RECIPES)
    star = CorruptionResistant(
        ball=ball or Ball(p=2.0, eps=0.03, relative=True), alpha=0.5, virtual_steps=virtual_steps
    )
    part = replace(star, alpha=PART)
    chosen, because = (name, "asked for") if name != "auto" else _auto(device)
    if chosen == "bits" and not _digital(device):
        raise OptionError(
            f"recipe 'bits' is for memories that hold words, and {device.name} holds conductances; use 'analog' or 'lp'"
        )
    if chosen == "plain":
        _check_used((Plain(),), ball, virtual_steps, "--recipe plain")
        return Recipe("plain", Plain(), because)
    if chosen == "lp":
        return Recipe("lp", star, because, kept=_given((star,), ball, None))
    kept = _given((part,), ball, None)
    if chosen == "analog":
        noise = NoiseAware(device=device, conditions=conditions, alpha=PART)
        return Recipe("analog", Together(losses=(noise, part), kept=tuple(kept)), because, kept=kept)
    flips = RandomBitErrors(ber=0.003, device=device, alpha=PART)
    bits = Together(losses=(WeightClipping(limit=2.5), flips, part), kept=tuple(kept))
    return Recipe("bits", bits, because, replace(bits, losses=(*bits.losses, NegativeBiases())), kept)


def named_loss(
    names: tuple[str, ...],
    device: Device,
    *,
    ball: Ball | None = None,
    conditions: Conditions | None = None,
    virtual_steps: int = 1,
    alpha: float | None = None,
) -> Recipe:
    """Return the losses called *names*, together where there are several; arguments as `recipe`.

    *alpha* is the weight of the corrupted loss in those that have one; each has its own, ½, where it is None.

    Raises:
        OptionError: If there is no such loss, one is named twice, or an argument would have no effect.
    """
    if len(set(names)) != len(names):
        raise OptionError(f"--loss {' '.join(names)}: a loss is named twice; name it once")
    found: list[Loss] = []
    usual = ball or Ball(p=2.0, eps=0.03, relative=True)
    for name in names:
        if name == "plain":
            found.append(Plain())
        elif name == "l_a":
            found.append(GradientRegularised(ball=usual))
        elif name == "l_star":
            found.append(CorruptionResistant(ball=usual, virtual_steps=virtual_steps))
        elif name == "sam":
            found.append(SharpnessAware(ball=usual, virtual_steps=virtual_steps))
        elif name == "noise":
            found.append(NoiseAware(device=device, conditions=conditions))
        elif name == "randbet":
            found.append(RandomBitErrors(device=device if _digital(device) else None))
        elif name == "clip":
            found.append(WeightClipping())
        elif name == "negative_bias":
            found.append(NegativeBiases())
        elif name == "gradient_l1":
            found.append(GradientL1(ball=ball or Ball(p=math.inf, eps=L1_EPS, relative=True)))
        elif name == "bit_slice_l1":
            found.append(BitSliceL1())
        else:
            raise _unknown("loss", name, LOSSES)
    _check_used(tuple(found), ball, virtual_steps, f"--loss {' '.join(names)}")
    if alpha is not None:
        if not any(type(one) in (CorruptionResistant, NoiseAware, RandomBitErrors) for one in found):
            raise OptionError(f"--alpha is of l_star, noise and randbet, and --loss names {', '.join(names)} alone")
        found = [_at_alpha(one, alpha) for one in found]
    kept = _given(tuple(found), ball, alpha)
    loss = found[0] if len(found) == 1 else Together(losses=tuple(found), kept=tuple(kept))
    return Recipe("losses", loss, "named with --loss", kept=kept)


def _given(losses: tuple[Loss, ...], ball: Ball | None, alpha: float | None) -> dict[str, str]:
    """Return the losses whose strength was given by an option of its own: a radius in units of the weights, or α."""
    found = {}
    for one in losses:
        if ball is not None and not ball.relative and hasattr(one, "ball"):
            found[one.kind] = f"--eps {ball.eps:g}"
        elif alpha is not None and isinstance(one, NoiseAware):
            found[one.kind] = f"--alpha {alpha:g}"
    return found


def _check_used(losses: tuple[Loss, ...], ball: Ball | None, virtual_steps: int, asked: str) -> None:
    """Refuse options that none of the losses would take."""
    if ball is not None and not any(hasattr(one, "ball") for one in losses):
        raise OptionError(f"--eps and --p are of l_a, l_star, sam and gradient_l1, not of {asked}; leave them out")
    if virtual_steps != 1 and not any(isinstance(one, CorruptionResistant) for one in losses):
        raise OptionError(f"--virtual-steps is of l_star and sam, not of {asked}; leave it out")


def _at_alpha(loss: Loss, alpha: float) -> Loss:
    if isinstance(loss, CorruptionResistant | NoiseAware | RandomBitErrors) and not isinstance(loss, SharpnessAware):
        return replace(loss, alpha=alpha)
    return loss


def _auto(device: Device) -> tuple[str, str]:
    if not device.acts_on_numbers:
        return "lp", f"{device.name} acts on activations, which no loss here draws: the worst case of the weights"
    if not _digital(device):
        return "analog", f"{device.name} holds weights as conductances: its own laws, and the worst case beside them"
    return "bits", f"{device.name} holds words: clipping and random bit errors, and the worst case beside them"


def _digital(device: Device) -> bool:
    return not isinstance(device.spec.storage, AnalogStorage)


def _unknown(what: str, name: str, known: tuple[str, ...]) -> OptionError:
    near = closest(name, known)
    hint = f"did you mean {near!r}?" if near else f"there are: {', '.join(known)}"
    return OptionError(f"no {what} is called {name!r}; {hint}")
