"""What a probe can be asked for, with defaults and ranges. Nothing is computed here."""

import math
from dataclasses import dataclass
from typing import Final

from faultsim.attacks.options import Ball, Relative, Scope, one_of
from faultsim.errors import OptionError

MODES = ("gradient", "random", "weights", "units")
_UNITS: Final = {
    "norm": "eps = r · ‖w‖",
    "rms": "eps = r in units of each tensor's root mean square",
    "none": "eps = r in units of the weights",
}
_SUBSCRIPTS: Final = {"1": "₁", "2": "₂", "∞": "∞"}


@dataclass(frozen=True, kw_only=True)
class ProbeOptions:
    """How to probe.

    Attributes:
        radii: Radii, each above 0; see *relative*.
        removed: Shares of weights or units that are removed, each above 0 and at most 1.
        modes: Names out of `MODES`.
        draws: Draws of everything random, at least 2.
        samples: Most samples, at least 1, evenly spaced.
        p: As in `Ball`, and *n*, *scope* and *relative* too: a shared budget is one of each part that is probed, and
            *n* at most its numbers.
        n: Most numbers that a radius moves.
        scope: Whether every tensor has the radius for itself, or those of a part share it.
        relative: What radii are relative to; by default each tensor's own norm of the same *p*.

    Raises:
        OptionError: If a value is out of range or a name unknown.
    """

    radii: tuple[float, ...] = (0.05, 0.2)
    removed: tuple[float, ...] = (0.1, 0.5)
    modes: tuple[str, ...] = MODES
    draws: int = 5
    samples: int = 256
    p: float = 2.0
    n: int | None = None
    scope: Scope = "tensor"
    relative: Relative = "norm"

    def __post_init__(self) -> None:
        for name, values, top in (("--eps", self.radii, math.inf), ("--remove", self.removed, 1.0)):
            for value in values:
                if not (0 < value <= top and math.isfinite(value)):
                    raise OptionError(f"{name} is {value:g}, it must be above 0{', at most 1' if top == 1 else ''}")
            if not 1 <= len(values) <= 20 or len(set(values)) < len(values):
                raise OptionError(f"{name} gives {len(values)} values; give 1 to 20 different ones")
        for name in self.modes:
            one_of("--mode", name, MODES)
        if not self.modes or len(set(self.modes)) < len(self.modes):
            raise OptionError(f"--mode names one twice; there are {', '.join(MODES)}")
        if self.draws < 2:
            raise OptionError(f"--draws is {self.draws}, it must be at least 2: one draw has no interval")
        if self.samples < 1:
            raise OptionError(f"--samples is {self.samples}, it must be at least 1")
        one_of("--relative", self.relative, tuple(_UNITS))
        self.ball(1.0)

    def ball(self, eps: float, most: int | None = None) -> Ball:
        """Return the set of one radius, of *most* numbers where that is fewer than *n*."""
        n = self.n if self.n is None or most is None else min(self.n, most)
        return Ball(p=self.p, eps=eps, n=n, scope=self.scope, relative=self.relative)

    @property
    def normalisation(self) -> str:
        """What the strengths are relative to, in words."""
        order = "∞" if math.isinf(self.p) else f"{self.p:g}"
        whom = "every tensor" if self.scope == "tensor" else "every part"
        kind = "" if self.relative == "none" else "relative "
        below = _SUBSCRIPTS.get(order, f"_{order}")
        n = "" if self.n is None else f", in at most {self.n} number{'s' * (self.n > 1)}"
        unit = _UNITS[self.relative].replace("‖w‖", f"‖w‖{below}")
        said = []
        if {"gradient", "random"} & set(self.modes):
            said.append(f"equal {kind}L{order} radius for {whom}: {unit}{n}")
        if {"weights", "units"} & set(self.modes):
            said.append("equal shares removed")
        return "; ".join(said)
