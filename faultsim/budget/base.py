"""`Budget`, what a mechanism may do to a tensor as a set (p, eps, n), and the checks that all share."""

import math
from dataclasses import dataclass

from faultsim.errors import OptionError


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The corruption set that holds a mechanism's effect with a given confidence.

    With probability at least *confidence* over chips the mechanism's delta has at most `n` non-zero
    elements, and with the same probability an Lp norm of at most `eps` (each bound by itself, not both at
    once).

    Attributes:
        mechanism: The law's kind or the device's mechanism id.
        scope: Name of the tensor that it bounds, or ``global``.
        p: Norm: 1, 2 or ``math.inf``.
        eps: Radius in the tensor's value units (codes of an integer tensor: steps). ``math.inf`` where the
            mechanism has no useful ball, as for flipped exponent bits: use the exact flips then.
        n: Largest number of elements that it touches.
        confidence: Quantile that both bounds hold at, in (0, 1).
        conditional: Whether the bounds hold given that at least one event happens.
        note: One sentence a reader must know, or empty.

    Raises:
        OptionError: If p, eps, n or confidence is out of range.
    """

    mechanism: str
    scope: str
    p: float
    eps: float
    n: int
    confidence: float
    conditional: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        check_norm(self.p)
        check_confidence(self.confidence)
        if math.isnan(self.eps) or self.eps < 0 or self.n < 0:
            raise OptionError(f"a budget needs eps >= 0 and n >= 0, got eps {self.eps:g} and n {self.n}")


def check_norm(p: float) -> None:
    """Raise `OptionError` unless *p* is 1, 2 or infinity, the norms that every mechanism has."""
    if p not in (1, 2, math.inf):
        raise OptionError(f"a budget's norm p must be 1, 2 or inf, got {p:g}")


def check_confidence(confidence: float) -> None:
    """Raise `OptionError` unless *confidence* lies strictly between 0 and 1."""
    if not 0 < confidence < 1:
        raise OptionError(f"confidence must lie strictly between 0 and 1, got {confidence:g}; use such as 0.99")


def check_rate(name: str, value: float, *, top: float = 1.0) -> None:
    """Raise `OptionError` unless *value*, called *name* in the message, lies in [0, top] and is no NaN."""
    if not 0 <= value <= top or math.isinf(value):
        allowed = f"between 0 and {top:g}" if math.isfinite(top) else "finite and at least 0"
        raise OptionError(f"{name} must be {allowed}, got {value:g}")
