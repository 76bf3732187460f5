"""The law of wire resistance: cells far from drivers and amplifiers seem less conductive.

References:
    .. [badcrossbar] badcrossbar 1.1, https://github.com/joksas/badcrossbar: nodal analysis of passive crossbars.
    .. [MATH] The table of budgets in the design notes, §4, row "IR drop": ``a = G_eff - G`` of the linear network.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from faultsim.budget.base import check_rate
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogLaw, Cells, Moments
from faultsim.faults.base import register
from faultsim.faults.crossbar import Method, Wires, effective_conductance, from_lines, over_tiles, to_lines
from faultsim.faults.recall import Recall, digest
from faultsim.formats.conductance import ConductanceMapping

Arrays = Literal["separate", "interleaved"]

_SOLVED = Recall(64 << 20)
"""Solved tensors: without device noise every chip has the same, and a budget asks for each norm anew."""


@register
@dataclass(frozen=True, kw_only=True)
class IrDrop(AnalogLaw):
    """Each tile computes with the effective conductances of its network of cells and wires, [badcrossbar]_.

    The delta of a weight is that of ``G_eff - G``, [MATH]_. Output channels are bit lines, inputs x kernel are
    word lines; row 0 is the farthest from the amplifiers, column 0 the nearest to the drivers. A tile that the
    tensor does not fill is as small as what it holds, next to drivers and amplifiers. Nothing is drawn: the same
    conductances give the same result. A reference device that weights share is one more bit line of their tile,
    the farthest from the drivers. A conductance that read noise left below 0 has no network; what is below 0 is
    carried through as it is. A grouped convolution is mapped as one matrix too, all its channels on the same word
    lines, which overstates their drop.

    Attributes:
        r_wire_ohm: Resistance of a word line between two cells, ohm, at least 0.
        tile_rows: Word lines of a tile, at least 1.
        tile_cols: Bit lines of a tile, at least 1; a shared reference comes on top.
        r_bit_ohm: Resistance of a bit line between two cells, ohm; ``None``: as `r_wire_ohm`.
        driver_ohm: Output resistance of a word line's driver, ohm.
        sense_ohm: Input resistance of a bit line's amplifier, ohm.
        arrays: ``separate``: each device of a weight (plus, minus, a slice) lies in an array of its own.
            ``interleaved``: the bit lines of a weight's devices are neighbours in one array, and `tile_cols`
            counts all of them.
        method: See `faultsim.faults.crossbar.effective_conductance`; benchmarks/ir_drop_error.py measures the
            error of ``fast``.

    Raises:
        OptionError: If a resistance is negative, a tile has no lines, or a word is unknown.
    """

    kind: ClassVar[str] = "ir_drop"
    r_wire_ohm: float
    tile_rows: int
    tile_cols: int
    r_bit_ohm: float | None = None
    driver_ohm: float = 0.0
    sense_ohm: float = 0.0
    arrays: Arrays = "separate"
    method: Method = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, ohm in zip(("r_wire_ohm", "r_bit_ohm", "driver_ohm", "sense_ohm"), self.wires, strict=True):
            check_rate(name, ohm, top=float("inf"))
        if min(self.tile_rows, self.tile_cols) < 1:
            raise OptionError(f"a tile needs at least one line each way, got {self.tile_rows} x {self.tile_cols}")
        if self.method not in get_args(Method):
            raise OptionError(f"unknown method {self.method!r}; use one of {', '.join(get_args(Method))}")
        if self.arrays not in get_args(Arrays):
            raise OptionError(f"unknown arrays {self.arrays!r}; use one of {', '.join(get_args(Arrays))}")

    @property
    def wires(self) -> Wires:
        """The resistances of a tile."""
        bit_ohm = self.r_wire_ohm if self.r_bit_ohm is None else self.r_bit_ohm
        return Wires(self.r_wire_ohm, bit_ohm, self.driver_ohm, self.sense_ohm)

    def act(self, cells: Cells, mapping: ConductanceMapping, rng: np.random.Generator, t_s: float) -> Cells:
        """Replace what a read finds by the effective conductances; nothing is drawn."""
        keep = cells.now is cells.target  # nothing is drawn before: every chip has the same
        return cells._replace(now=self.effective(cells.now, mapping, cells.channel_axis, keep=keep))

    def spread(self, moments: Moments, mapping: ConductanceMapping, t_s: float) -> Moments:
        """Take the mean from the network at the mean conductances; the variance stays.

        Wires only weaken what a cell does to its own output, so its variance is at most what it was. What it does
        to other outputs, and the mean's second-order term in the noise, are far smaller and left out.
        """
        return moments._replace(mean=self.effective(moments.mean, mapping, moments.channel_axis))

    def effective(
        self, g_uS: NDArray[Any], mapping: ConductanceMapping, channel_axis: int = 0, *, keep: bool = True
    ) -> NDArray[Any]:
        """Return effective conductances, uS, in the shape ``(devices, *shape)`` and dtype of *g_uS*.

        Args:
            g_uS: Conductances of the devices, uS.
            mapping: How weights are devices.
            channel_axis: Axis of output channels of the tensor.
            keep: Whether to remember the solution, for conductances that come again.
        """
        if not any(self.wires) or g_uS.size == 0:
            return g_uS
        layout = "reference" if mapping.groups(g_uS.shape[1:]) is not None else self.arrays
        if not keep:
            return self._solve(g_uS, layout, channel_axis)
        settings = (self.wires, self.tile_rows, self.tile_cols, self.method, layout, channel_axis)
        return _SOLVED.get(digest(g_uS, *settings), lambda: self._solve(g_uS, layout, channel_axis))

    def _solve(self, g_uS: NDArray[Any], layout: str, channel_axis: int) -> NDArray[Any]:
        lines = to_lines(np.maximum(g_uS, 0), channel_axis)
        tile_cols, act = self.tile_cols, self._separate
        if layout == "interleaved":
            tile_cols, act = max(1, tile_cols // len(lines)), self._interleaved
        elif layout == "reference":
            act = self._with_reference
        done = over_tiles(lines, self.tile_rows, tile_cols, act)
        solved: NDArray[Any] = from_lines(done, g_uS.shape[1:], channel_axis)
        if g_uS.min() < 0:
            solved = solved + np.minimum(g_uS, 0)
        return solved

    def _separate(self, tiles: NDArray[Any]) -> NDArray[Any]:
        return effective_conductance(tiles, self.wires, method=self.method)

    def _interleaved(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """Solve tiles ``(t, devices, m, n)`` with the devices of a weight on neighbouring bit lines."""
        count, devices, rows, cols = tiles.shape
        woven = np.moveaxis(tiles, 1, -1).reshape(count, rows, cols * devices)
        return np.moveaxis(self._separate(woven).reshape(count, rows, cols, devices), -1, 1)

    def _with_reference(self, tiles: NDArray[Any]) -> NDArray[Any]:
        """Solve tiles ``(t, 2, m, n)`` of weights' own devices with one more bit line: the reference."""
        done = self._separate(np.concatenate([tiles[:, 0], tiles[:, 1, :, :1]], axis=2))
        return np.stack(np.broadcast_arrays(done[:, :, :-1], done[:, :, -1:]), axis=1)
