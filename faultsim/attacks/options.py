"""What an attack can be asked for, with defaults and ranges. Nothing is computed here."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from faultsim.errors import OptionError
from faultsim.library import closest

Scope = Literal["tensor", "global"]
Relative = Literal["none", "rms", "norm"]
Aimed = Literal["cross-entropy", "margin", "both"]
What = Literal["bits", "levels", "stuck"]

METHODS = ("one-step", "random", "fixed-point", "pgd", "greedy", "swap", "vertices", "exhaustive")
RELATIVE = {"rel:": "rms", "norm:": "norm"}
"""What stands before a radius that is not in real units of the weights."""


@dataclass(frozen=True, kw_only=True)
class Ball:
    """The set of corruptions: ``‖a‖_p <= eps`` and at most *n* numbers.

    Attributes:
        p: Order of the norm, 1 to infinity.
        eps: Radius, finite, at least 0: in real units of the weights (integer codes count with their step), or
            relative; None for a curve over radii that is compared with none.
        n: Most numbers that move, for each tensor or all together as *scope* says; None for all.
        scope: Whether every tensor has the budget for itself, or all share one.
        relative: ``rms``: every number in units of its own tensor's root mean square; ``norm``: *eps* is a part of the
            tensor's (or of all tensors') own norm of the same *p*.

    Raises:
        OptionError: If a number is out of range.
    """

    p: float = 2.0
    eps: float | None = None
    n: int | None = None
    scope: Scope = "tensor"
    relative: Relative = "none"

    def __post_init__(self) -> None:
        if not self.p >= 1:
            raise OptionError(f"--p is {self.p:g}, it must be from 1 to inf; 'inf' bounds every number by itself")
        if self.eps is not None and not (0 <= self.eps < math.inf):
            raise OptionError(f"--eps is {self.eps:g}, it must be finite and at least 0; 0.1 is a radius")
        if self.n is not None and self.n < 1:
            raise OptionError(f"--n is {self.n}, it must be at least 1; leave it out to let every number move")
        one_of("--scope", self.scope, ("tensor", "global"))
        one_of("relative", self.relative, ("none", "rms", "norm"))

    @property
    def radius(self) -> float:
        """The radius.

        Raises:
            OptionError: If there is none.
        """
        if self.eps is None:
            raise OptionError("the set has no radius; give --eps, such as 0.1 or rel:0.1 (of a tensor's RMS)")
        return self.eps


@dataclass(frozen=True, kw_only=True)
class Search:
    """What the search may spend, and how it goes about it.

    Attributes:
        methods: Names out of `METHODS`; those that suit the set where empty.
        objective: What is raised: ``both`` runs every method on both.
        gradients: Most gradients, at least 1; None: 60 for a set of corruptions, 200 for cells.
        forwards: Most forward passes, at least 1; None for no limit.
        restarts: Random starts of each search that has one, at least 0; None: 2, for cells, where it is at most 1, 1.
        samples: Most samples that the search sees, at least 1, evenly spaced.
        trials: Random corruptions of the same set to stand against, at least 1; None: 50. Cells have none.
        certify: Whether to prove a bound; None where that is quick.

    Raises:
        OptionError: If a value is out of range or a name unknown.
    """

    methods: tuple[str, ...] = ()
    objective: Aimed = "both"
    gradients: int | None = None
    forwards: int | None = None
    restarts: int | None = None
    samples: int = 1000
    trials: int | None = None
    certify: bool | None = None

    def __post_init__(self) -> None:
        for name, least in (("gradients", 1), ("forwards", 1), ("restarts", 0), ("samples", 1), ("trials", 1)):
            value = getattr(self, name)
            if value is not None and value < least:
                option = "search-samples" if name == "samples" else name
                raise OptionError(f"--{option} is {value}, it must be at least {least}; raise it or leave it out")
        for name in self.methods:
            one_of("--method", name, METHODS)
        one_of("--objective", self.objective, ("cross-entropy", "margin", "both"))

    @property
    def starts(self) -> int:
        """Random starts of each search of a set."""
        return 2 if self.restarts is None else self.restarts

    @property
    def randoms(self) -> int:
        """Random corruptions to stand against a set's worst."""
        return 50 if self.trials is None else self.trials

    def most_gradients(self, default: int) -> int:
        """Return the most gradients."""
        return default if self.gradients is None else self.gradients


@dataclass(frozen=True, kw_only=True)
class Curve:
    """A worst case at several radii or numbers of elements.

    Attributes:
        over: What changes, ``eps`` or ``n``.
        start: First value, above 0; with a device *eps* counts in the device's own radii.
        stop: Last value, above *start*.
        points: Values, evenly spaced in their logarithm, 2 to 200.
        keep: Accuracy that the critical radius is for; None: 5 points below the clean one.
        per_layer: Whether every layer alone has a critical radius too.

    Raises:
        OptionError: If a value is out of range.
    """

    over: Literal["eps", "n"] = "eps"
    start: float = 0.001
    stop: float = 1.0
    points: int = 7
    keep: float | None = None
    per_layer: bool = False

    def __post_init__(self) -> None:
        one_of("--curve", self.over, ("eps", "n"))
        if not (0 < self.start < self.stop < math.inf):
            raise OptionError(
                f"--from is {self.start:g} and --to {self.stop:g}; both must be above 0, finite, and --from the smaller"
            )
        if not 2 <= self.points <= 200:
            raise OptionError(f"--points is {self.points}, it must be from 2 to 200")
        if self.keep is not None and not 0 < self.keep <= 1:
            raise OptionError(f"--keep is {self.keep:g}, it must be an accuracy above 0 and at most 1, such as 0.9")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """The worst few cells of a memory.

    Attributes:
        what: Flipped bits, confused levels or stuck cells.
        count: Most cells, at least 1.
        until_accuracy: Stop where the accuracy is at or below it.
        target: Class that samples are to be taken for; None: any error.
        victim: Class whose samples are aimed at; None: all.
        stealthy: Whether the samples of other classes are to keep their accuracy.
        tolerance: Most that they may lose, with *stealthy*, 0 to 1.
        one_per_word: At most one cell a word of the memory, or a stored number where there is no device.
        row: ``any`` for one row of the attacker's choice, ``BANK:ROW`` for that one; needs a device.
        flippable: File of the cells that can flip; None: all.
        bits_per_cell: Of levels and stuck cells, 1 to 8; None: the device's own, 2 without one.
        cell_code: Which pattern a level has; None: the device's own, binary without one.
        stuck_at: Where stuck cells can be.
        finite_only: Whether flips that make outputs non-finite are forbidden, or count as damage.

    Raises:
        OptionError: If a value is out of range, or two do not go together.
    """

    what: What = "bits"
    count: int = 1
    until_accuracy: float | None = None
    target: int | None = None
    victim: int | None = None
    stealthy: bool = False
    tolerance: float = 0.02
    one_per_word: bool = False
    row: str | None = None
    flippable: Path | None = None
    bits_per_cell: int | None = None
    cell_code: Literal["binary", "gray"] | None = None
    stuck_at: Literal["low", "high", "either"] = "either"
    finite_only: bool = True

    def __post_init__(self) -> None:
        one_of("what", self.what, ("bits", "levels", "stuck"))
        if self.count < 1:
            raise OptionError(f"--{self.what} is {self.count}, it must be at least 1: the most cells that change")
        if self.until_accuracy is not None and not 0 <= self.until_accuracy <= 1:
            raise OptionError(f"--until-accuracy is {self.until_accuracy:g}, it must be from 0 to 1, such as 0.12")
        if not 0 <= self.tolerance <= 1:
            raise OptionError(f"--tolerance is {self.tolerance:g}, it must be from 0 to 1, such as 0.02")
        if self.stealthy and self.victim is None:
            raise OptionError("--stealthy needs --victim CLASS: the samples that are to fail; all others are spared")
        if self.victim is not None and self.victim == self.target:
            raise OptionError(f"--victim and --target are both {self.target}; give two different classes")
        if self.flippable is not None and self.what != "bits":
            raise OptionError("--flippable lists bits that can flip; it goes with --bits")
        for name in ("bits_per_cell", "cell_code"):
            if self.what == "bits" and getattr(self, name) is not None:
                raise OptionError(f"--{name.replace('_', '-')} is of cells; it goes with --levels or --stuck")


def radius(option: str, text: str) -> tuple[float, Relative]:
    """Return a radius and what it is relative to, from ``0.1``, ``rel:0.1`` (tensor's RMS) or ``norm:0.1`` (own norm).

    Raises:
        OptionError: If the text is no radius.

    Examples:
        >>> radius("--eps", "rel:0.1")
        (0.1, 'rms')
    """
    prefix = next((one for one in RELATIVE if text.startswith(one)), "")
    said: Relative = RELATIVE[prefix] if prefix else "none"  # type: ignore[assignment]
    try:
        return float(text.removeprefix(prefix)), said
    except ValueError:
        raise OptionError(
            f"{option} {text[:40]!r} is no radius; give 0.1 (units of the weights), rel:0.1 (of each tensor's root "
            "mean square) or norm:0.1 (of its own norm)"
        ) from None


def one_of(option: str, given: str, known: tuple[str, ...]) -> None:
    """Refuse a name that is not known.

    Raises:
        OptionError: With the nearest one.
    """
    if given not in known:
        near = closest(given, known)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(known)}"
        raise OptionError(f"{option} {given[:40]!r} is unknown; {hint}")
