"""From an asked ball, or a device's budget, to the set of corruptions over stored tensors. No search lives here."""

import math
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.assessment.sets import chip_set
from faultsim.assessment.setting import Setting
from faultsim.attacks.options import Ball
from faultsim.attacks.real import real_unit, real_values
from faultsim.constraints import Global, LpL0, PerTensor, TensorSet, lp_norm
from faultsim.corruption import Stored
from faultsim.errors import DeviceError, OptionError

_WORDS = {
    "none": "",
    "rms": ", each number in units of its tensor's RMS",
    "norm": ", eps a part of the {} own norm",
}


class Corruptions(NamedTuple):
    """A set and what it is.

    Attributes:
        constraint: The set.
        words: The set in words.
        pinned: Tensors that cannot move, for their own norm is 0.
        eps: The radius as it was asked for; None where it was not.
    """

    constraint: TensorSet
    words: str
    pinned: tuple[str, ...] = ()
    eps: float | None = None


def corruptions(setting: Setting, ball: Ball | None, names: Collection[str] | None = None) -> Corruptions:
    """Return the set over all stored tensors, or over *names* alone; the device's own where *ball* is None.

    Raises:
        OptionError: If *n* is more than there are numbers, or every tensor is pinned.
        DeviceError: If the device gives no set.
    """
    kept = {name: one for name, one in setting.stored.items() if names is None or name in names}
    if ball is not None:
        return asked(kept, ball)
    found = chip_set(setting, names)
    if found.constraint is None:
        raise DeviceError(
            f"device {setting.device.name} gives no set of corruptions to search: {found.why_not}; give --p and --eps"
        )
    return Corruptions(found.constraint, found.words)


def asked(stored: Mapping[str, Stored], ball: Ball) -> Corruptions:
    """Return the set of a `Ball` over *stored* tensors; integer codes count with their step in real units.

    Raises:
        OptionError: If *n* is more than there are numbers, every tensor is pinned, or a radius measures nothing of one.
    """
    _check_units(stored, ball)
    sizes = {name: one.site.elements for name, one in stored.items()}
    most = sum(sizes.values()) if ball.scope == "global" else max(sizes.values())
    if ball.n is not None and ball.n > most:
        there = "the tensors under test have" if ball.scope == "global" else "the largest tensor under test has"
        raise OptionError(f"--n is {ball.n}, {there} {most} numbers; give fewer, or leave --n out for all")
    units = {name: _unit(one, ball) for name, one in stored.items()}
    pinned = tuple(name for name, unit in units.items() if not np.any(unit))
    said = _WORDS[ball.relative].format("tensors'" if ball.scope == "global" else "tensor's")
    n = "" if ball.n is None else f", at most {ball.n} numbers"
    norm = "inf" if math.isinf(ball.p) else f"{ball.p:g}"
    whom = "all tensors together" if ball.scope == "global" else "each tensor"
    words = f"{whom}: p = {norm}, eps = {ball.radius:g}{n}{said}"
    if ball.scope == "global":
        eps = ball.radius
        if ball.relative == "norm":
            flat = np.concatenate([real_values(one).reshape(-1) for one in stored.values()])
            eps *= lp_norm(flat, ball.p)
        if ball.relative == "rms" and len(pinned) == len(stored):
            raise OptionError(
                "every tensor under test is zero, and a radius of its RMS leaves nothing to move; give a plain --eps"
            )
        scale = None
        if not all(np.ndim(unit) == 0 and float(unit) == 1 for unit in units.values()):
            scale = np.concatenate([np.broadcast_to(units[n], one.site.shape).reshape(-1) for n, one in stored.items()])
        return Corruptions(Global(tuple(stored), LpL0(ball.p, eps, n=ball.n, scale=scale)), words, pinned, ball.eps)
    each = {}
    for name, one in stored.items():
        eps = ball.radius * (lp_norm(real_values(one).reshape(-1), ball.p) if ball.relative == "norm" else 1.0)
        unit = units[name]
        if np.ndim(unit) == 0 and float(unit) > 0:  # the same set as one with a scale, and theorem 1 knows it
            eps, unit = eps * float(unit), np.ones(())
        plain = np.ndim(unit) == 0 and float(unit) == 1
        if eps == 0 and ball.radius > 0:
            pinned = (*pinned, name)
        each[name] = LpL0(ball.p, eps, n=ball.n, scale=None if plain else unit)
    if ball.radius > 0 and set(pinned) == set(stored):
        raise OptionError(
            "every tensor under test is zero, and a relative radius leaves nothing to move; give an absolute --eps"
        )
    return Corruptions(PerTensor(each), words, pinned, ball.eps)


def size_of(constraint: TensorSet, stored: Mapping[str, Stored], numbers: Mapping[str, NDArray[Any]]) -> float | None:
    """Return how large a corruption is once the formats hold it, in radii: the largest over the budgets.

    Codes are whole numbers, so that a rounded corruption can leave its set, or vanish. None for a radius of 0.

    Args:
        constraint: The set.
        stored: The tensors without corruption.
        numbers: The same with it.
    """
    largest = None
    for block in constraint.blocks:
        ball = block.constraint
        if ball.eps == 0:
            continue
        moved = [numbers[name].astype(np.float64) - stored[name].values.astype(np.float64) for name in block.names]
        flat = np.concatenate([one.reshape(-1) for one in moved])
        if ball.scale is not None:
            scale = np.asarray(ball.scale)  # one number for each of a shared budget, or for each channel of a tensor
            units = (scale if scale.size == flat.size else np.broadcast_to(scale, moved[0].shape)).reshape(-1)
            flat = np.divide(flat, units, out=np.zeros_like(flat), where=units > 0)
        if not np.isfinite(flat).all():
            return None
        largest = max(largest or 0.0, lp_norm(flat, ball.p) / ball.eps)
    return largest


def _check_units(stored: Mapping[str, Stored], ball: Ball) -> None:
    """Refuse codes that a radius would not move, or by nobody knows how much.

    Raises:
        OptionError: If there are such.
    """
    for name, one in stored.items():
        if one.site.packed:
            raise OptionError(
                f"{name} holds several codes a byte, and no radius measures by how much a byte moves them; use --bits, "
                f"or leave it out with --exclude {name}"
            )
        codes = one.values.dtype.kind in "iu"
        mixed = ball.relative == "norm" and ball.scope == "global" and len(stored) > 1
        if codes and one.site.scale is None and (ball.relative == "none" or mixed):
            whose = " (or of all norms together)" if mixed else ""
            raise OptionError(
                f"{name} holds {one.values.dtype} codes whose step the graph does not tell, and a radius in units of "
                f"the weights{whose} needs it; give one of each tensor's root mean square (attack: --eps rel:0.1; "
                f"probe: --relative rms), or leave it out with --exclude {name}"
            )


def _unit(stored: Stored, ball: Ball) -> NDArray[np.float64]:
    """Return how many stored units one unit of eps is, for each number."""
    unit = real_unit(stored)
    if ball.relative != "rms":
        return unit
    rms = math.sqrt(float(np.mean(np.square(real_values(stored))))) if stored.values.size else 0.0
    return unit * rms
