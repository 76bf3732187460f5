"""`LpL0`: the set of corruptions of one array under (p, eps, n), with scale and device box, as a value."""

import math
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray

from faultsim.constraints.base import Floats, NoMaximiserError
from faultsim.constraints.boxed import argmax_boxed
from faultsim.constraints.closed_form import argmax_lp_l0, dual_norm, lp_norm
from faultsim.constraints.projection import project_lp_l0
from faultsim.errors import ConstraintError

Numbers = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class LpL0:
    """All corruptions a of one array with ‖a / scale‖_p <= eps, ‖a‖_0 <= n and low <= a <= high.

    The paper's set S is the sphere ‖a‖_p = eps; this is the ball, because a chip with less wrong with it is a
    chip too. `argmax` and `random` return points of the sphere wherever the box lets them.

    Attributes:
        p: Order of the norm, 1 <= p <= inf.
        eps: Radius: in the units of the array, or of `scale` where one is given; finite, at least 0.
        n: How many elements may differ from 0, at least 0; ``None`` for all.
        scale: How much one unit of `eps` is for each element, at least 0 (0 pins an element), broadcastable
            to the array; ``None`` for 1 everywhere.
        low: The most negative corruption each element can hold (lowest storable value minus the value), at
            most 0, broadcastable to the array; ``None`` for no end.
        high: The most positive one, at least 0; ``None`` for no end.

    Raises:
        ConstraintError: If one of them is out of its range.

    Examples:
        >>> ball = LpL0(p=2, eps=1.0, n=2)
        >>> ball.argmax(np.array([3.0, -4.0, 1.0])).round(12).tolist()
        [0.6, -0.8, 0.0]
        >>> np.array([0.6, -0.8, 0.0]) in ball, np.array([0.6, -0.9, 0.0]) in ball
        (True, False)
        >>> LpL0(p=math.inf, eps=0.5, scale=np.array([1.0, 10.0])).argmax(np.array([1.0, -1.0])).tolist()
        [0.5, -5.0]

    References:
        Sun, Zhang et al. AAAI 2021, arXiv 2006.05620, definitions 1 to 3.
    """

    p: float
    eps: float
    n: int | None = None
    scale: Numbers | float | None = field(default=None, kw_only=True)
    low: Numbers | float | None = field(default=None, kw_only=True)
    high: Numbers | float | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not self.p >= 1:
            raise ConstraintError(f"p is {self.p}, it must be from 1 to inf; use p=inf for a bound on every element")
        if not (math.isfinite(self.eps) and self.eps >= 0):
            raise ConstraintError(
                f"eps is {self.eps}, it must be finite and at least 0; give the radius in units of the array"
            )
        if self.n is not None and self.n < 0:
            raise ConstraintError(f"n is {self.n}, it must be at least 0; use None to let every element move")
        self._freeze("scale", 1.0, "finite and at least 0", "drop it, or give 0 for elements that cannot move")
        self._freeze("low", -1.0, "at most 0", "give the lowest storable value minus the value")
        self._freeze("high", 1.0, "at least 0", "give the highest storable value minus the value")

    def _freeze(self, name: str, sign: float, allowed: str, remedy: str) -> None:
        given = getattr(self, name)
        if given is None:
            return
        array = np.array(given, dtype=np.float64)
        wrong = ~(sign * array >= 0) | ((name == "scale") & ~np.isfinite(array))
        if wrong.any():
            raise ConstraintError(f"{name} holds {array[wrong].flat[0]}, every element must be {allowed}; {remedy}")
        array.setflags(write=False)
        object.__setattr__(self, name, array)

    def argmax(self, direction: Numbers) -> Floats:
        """Return the corruption of the set with the largest inner product with *direction*.

        Exact (`argmax_lp_l0`), but for a box with n < k and 1 <= p < inf together (see `argmax_boxed`).

        Args:
            direction: A gradient, any shape, finite.

        Returns:
            The corruption, float64, shaped as *direction*.

        Raises:
            NoMaximiserError: If *direction* is zero wherever an element can move.
            ConstraintError: If it is not finite, or does not broadcast with scale, low and high.
        """
        scale = self._like("scale", np.shape(direction))
        scaled = np.asarray(direction, dtype=np.float64) * (1.0 if scale is None else scale)
        if self.low is None and self.high is None:
            best = argmax_lp_l0(scaled, p=self.p, eps=self.eps, n=self.n)
        else:
            room = self._room(scaled)
            best = argmax_boxed(scaled.reshape(-1), room.reshape(-1), p=self.p, eps=self.eps, n=self.n).reshape(
                scaled.shape
            )
        return best if scale is None else best * scale

    def indicator(self, direction: Numbers) -> float:
        """Return the largest inner product with *direction*, eps·‖top_n(direction)‖_q; 0 for a zero one.

        With the loss gradient this is the loss change that the worst corruption of the set makes, to first
        order
        only: at large eps the truth is often several times larger.

        References:
            Sun, Zhang et al., arXiv 2006.05620, eq. 6.
        """
        scale = self._like("scale", np.shape(direction))
        if self.low is None and self.high is None:
            scaled = direction if scale is None else np.asarray(direction, dtype=np.float64) * scale
            return self.eps * dual_norm(scaled, p=self.p, n=self.n)
        try:
            return float(np.vdot(self.argmax(direction), np.asarray(direction, dtype=np.float64)))
        except NoMaximiserError:
            return 0.0

    def project(self, delta: Numbers) -> Floats:
        """Return a corruption of the set near *delta*: the nearest in units of *scale* for p = 1, 2, inf.

        For other p the norm is met by shrinking all elements alike, which is in the set but not the nearest
        point. What lies inside is returned as it is, bit for bit.

        Args:
            delta: Any shape, finite.

        Raises:
            ConstraintError: If *delta* is not finite, or does not broadcast with scale, low and high.
        """
        if not np.isfinite(delta).all():
            raise ConstraintError(
                "the corruption holds NaN or infinity, all elements must be finite to be projected; drop it"
            )
        units = self._in_units(np.asarray(delta, dtype=np.float64))
        values = np.where(np.isfinite(units), units, 0.0)  # a pinned element
        room = None if self.low is None and self.high is None else self._room(values).reshape(-1)
        point = project_lp_l0(values.reshape(-1), room, p=self.p, eps=self.eps, n=self.n).reshape(values.shape)
        scale = self._like("scale", np.shape(delta))
        if scale is None:
            return point
        # Divided and multiplied again, an element inside may come back one rounding off: hand on the given
        # number.
        return np.where(point == units, np.where(scale > 0, delta, 0.0), point * scale)

    def contains(self, delta: Numbers, rtol: float = 1e-9) -> bool:
        """Say whether *delta* is in the set; the norm and the box may be exceeded by the fraction *rtol*.

        Args:
            delta: Any shape; one that is not finite is in no set.
            rtol: Tolerance, dimensionless; 1e-6 suits a float32 corruption.

        Raises:
            ConstraintError: If *delta* does not broadcast with scale, low and high.
        """
        array = np.asarray(delta, dtype=np.float64)
        if not np.isfinite(array).all():
            return False
        if self.n is not None and np.count_nonzero(array) > self.n:
            return False
        low, high = self._like("low", array.shape), self._like("high", array.shape)
        if low is not None and (array < low * (1 + rtol)).any():
            return False
        if high is not None and (array > high * (1 + rtol)).any():
            return False
        return lp_norm(self._in_units(array).reshape(-1), self.p) <= self.eps * (1 + rtol)

    def __contains__(self, delta: Numbers) -> bool:
        return self.contains(delta)

    def random(self, rng: np.random.Generator, shape: int | tuple[int, ...]) -> Floats:
        """Return a random corruption of the set: `argmax` of a direction drawn from N(0, I) in units of `scale`.

        Without a scale that is definition 3; with one every element has the same chance to be hit, whatever its unit.
        Uniform on the sphere only for p = 2 without a limit n, scale or box; the same norm is spent for every
        p. Adding eps·N(0, I) instead would spend √k times the 2-norm.

        Args:
            rng: The generator, advanced by one standard normal per element.
            shape: Shape of the array.

        References:
            Sun, Zhang et al., arXiv 2006.05620, definition 3.
        """
        drawn = rng.standard_normal(shape)
        scale = self._like("scale", drawn.shape)
        if scale is None:
            return self.argmax(drawn)
        return self.argmax(np.divide(drawn, scale, out=np.zeros_like(drawn), where=scale > 0))

    def dense(self) -> Self:
        """Return the same set without the limit *n*."""
        return type(self)(self.p, self.eps, scale=self.scale, low=self.low, high=self.high)

    def each(self) -> Self:
        """Return the box of what every element could do with the whole budget: p = inf, no limit *n*."""
        return type(self)(math.inf, self.eps, scale=self.scale, low=self.low, high=self.high)

    def scaled(self, factor: float) -> Self:
        """Return the same set with *eps* times *factor*, at least 0; low, high and *n* stay."""
        return type(self)(self.p, self.eps * factor, self.n, scale=self.scale, low=self.low, high=self.high)

    def limited(self, n: int) -> Self:
        """Return the same set with at most *n* non-zero elements, at least 0."""
        return type(self)(self.p, self.eps, n, scale=self.scale, low=self.low, high=self.high)

    def limit(self, elements: int) -> int:
        """Return the most elements, of an array of *elements*, that can be non-zero."""
        return elements if self.n is None else min(self.n, elements)

    def _room(self, direction: Floats) -> Floats:
        """Return how far each element can move in the sign of *direction*, in units of `scale`."""
        low, high = self._like("low", direction.shape), self._like("high", direction.shape)
        up = np.inf if high is None else high
        down = np.inf if low is None else -low
        room = self._in_units(np.where(direction > 0, up, down))
        return np.where(np.isnan(room), 0.0, room)  # 0/0: no room, and pinned as well

    def _in_units(self, array: Floats) -> Floats:
        scale = self._like("scale", array.shape)
        if scale is None:
            return array
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where((scale == 0) & (array == 0), 0.0, array / scale)

    def _like(self, name: str, shape: tuple[int, ...]) -> Floats | None:
        given: Floats | None = getattr(self, name)
        if given is None:
            return None
        try:
            return np.broadcast_to(given, shape)
        except ValueError:
            raise ConstraintError(
                f"{name} has shape {given.shape}, "
                f"it must broadcast to the corruption's {shape}; give one number per element"
            ) from None

    def _key(self) -> tuple[object, ...]:
        arrays = (getattr(self, name) for name in ("scale", "low", "high"))
        return (self.p, self.eps, self.n, *(None if a is None else (a.shape, a.tobytes()) for a in arrays))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LpL0) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        extra = [f"{name}=…" for name in ("scale", "low", "high") if getattr(self, name) is not None]
        return f"LpL0({', '.join([f'p={self.p:g}', f'eps={self.eps:g}', f'n={self.n}', *extra])})"
