"""The law of phase errors in photonic Mach-Zehnder meshes.

References:
    .. [Banerjee2021] S. Banerjee, M. Nikdast, K. Chakrabarty. Modeling silicon-photonic neural networks under
       uncertainties. DATE 2021, arXiv 2012.10594: random errors of every phase shifter of SVD-mapped layers.
    .. [Clements2016] W. R. Clements et al. Optimal design for universal multiport interferometers. Optica 3:1460, 2016.
    .. [Pearson1895] K. Pearson. Contributions to the mathematical theory of evolution, II. Phil. Trans. Royal Society A
       186:343-414, 1895: type III, the gamma distribution with a mean, a variance and a skewness of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from faultsim.budget.base import Budget, check_confidence, check_norm, check_rate
from faultsim.budget.simulated import quantile_of
from faultsim.corruption import Add, Edit, Stored
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import mzi_mesh
from faultsim.faults.base import Fault, Generators, register
from faultsim.faults.mzi_program import program
from faultsim.faults.mzi_tiles import as_matrix, cut, from_tiles, largest
from faultsim.faults.recall import Recall, digest

_PROGRAMMED = Recall(256 << 20)
"""Tiles, gains and phases of programmed tensors: every chip aims at the same."""

_DIES = {1: 256, math.inf: 4096}
"""Dies that are simulated for the norms without a closed form: a largest error varies more than a sum."""
_LEAST_DIES, _SIMULATED = 256, 1 << 16
"""Of tensors of many tiles fewer dies are simulated, as many tiles in all as these."""
_CHUNK = 64
"""Tiles of which the paths of light are held at once: 18 MB at 16 x 16."""

_DRAW_TILES = 1024
"""Tiles of one or several tensors whose light is followed at once: few would pay the calls, more the cache."""

_LANES = 16
"""Tiles are filled up to a multiple: vector arithmetic then rounds a tile alike wherever it stands in a batch."""

_FINE_RAD = 1e-3
"""Below this spread float32 phases would be noisier than the errors."""

_TINY_RAD = 1e-3
"""Below it a budget's mean is taken to first order, right to 1e-4 of itself: the exact one would cancel."""

_SAMPLE = 32
"""Tiles that are simulated for the width of a budget's distribution, evenly chosen; the mean is over all."""

_DRAWS = 2048
"""Tiles drawn for it in all, at least."""


class _Mesh(NamedTuple):
    """A tensor on tiles ``(t, tile, tile)``, outputs by inputs, the last ones filled with zeros."""

    tiles: NDArray[np.float64]
    gain: float
    phases: NDArray[np.float64]
    inputs: NDArray[np.bool_]
    outputs: NDArray[np.bool_]


@register
@dataclass(frozen=True, kw_only=True)
class PhaseNoise(Fault):
    """Every phase of a layer's Mach-Zehnder meshes is off by a normal error, drawn once a die, [Banerjee2021]_.

    The weight matrix, outputs by inputs x kernel, is cut into tiles ``W = U S V^T``; U and V are rectangular meshes
    ([Clements2016]_) with output phases, S is a row of attenuators of the same interferometers. Their transmission 1
    is the largest singular value of the tensor's tiles: none is larger, and one common gain restores the scale. A
    tile is a whole mesh even where the tensor does not fill it. Inputs and detection are coherent: the detector
    reads the real part, with its sign; the quadrature that phase errors leave is lost. Splitters are ideal.

    Attributes:
        sigma_phase_rad: Standard deviation of every phase, rad, at least 0.
        tile: Inputs and outputs of a mesh, at least 1.

    Raises:
        OptionError: If sigma is negative or the tile has no inputs.
    """

    kind: ClassVar[str] = "phase_noise"
    sigma_phase_rad: float
    tile: int = 16

    def __post_init__(self) -> None:
        check_rate("sigma_phase_rad", self.sigma_phase_rad, top=math.inf)
        if self.tile < 1:
            raise OptionError(f"a mesh needs at least 1 input, got a tile of {self.tile}; use such as 16")

    def sample(self, stored: Stored, rng: np.random.Generator) -> Add:
        """Draw the dense delta of one tensor on one die, value units, float32, the tensor's shape.

        Raises:
            DeviceError: If the tensor holds integer codes: light carries their real values only.
        """
        return self._draw([stored], [rng])[0]

    def sample_chip(self, stored: Sequence[Stored], generators: Generators) -> dict[str, Edit]:
        """Draw all tensors of one die, each as `sample` does: the light of small ones is followed together."""
        edits: dict[str, Edit] = {}
        group: list[Stored] = []
        for one in stored:
            group.append(one)
            if one is stored[-1] or sum(each.values.size for each in group) >= _DRAW_TILES * self.tile**2:
                drawn = self._draw(group, [generators(each.site.name) for each in group])
                edits |= {each.site.name: edit for each, edit in zip(group, drawn, strict=True)}
                group = []
        return edits

    def mean(self, stored: Stored) -> NDArray[np.float64]:
        """Return the mean of each weight's delta over dies, value units, the tensor's shape; exact at every sigma.

        Phase errors take amplitude out of the real part: the mean weight is smaller.
        """
        mesh = self._mesh(stored)
        return from_tiles(self._mean_tiles(mesh) - mesh.tiles, stored)

    def std(self, stored: Stored) -> NDArray[np.float64]:
        """Return the standard deviation of each weight's delta, value units, to first order in sigma."""
        mesh = self._mesh(stored)
        var = np.zeros_like(mesh.tiles)
        for first in range(0, len(var), _CHUNK):
            a, b = mzi_mesh.paths(mesh.phases[first : first + _CHUNK], self.tile)
            # (Re z)² = (|z|² + Re z²) / 2 of z = i a b
            square = np.swapaxes(np.abs(a) ** 2, 1, 2) @ np.abs(b) ** 2 - (np.swapaxes(a**2, 1, 2) @ b**2).real
            var[first : first + _CHUNK] = np.maximum(0.5 * square, 0)
        return from_tiles(self.sigma_phase_rad * mesh.gain * np.sqrt(var), stored)

    def budget(self, stored: Stored, *, p: float, confidence: float) -> Budget:
        """Bound the delta of one tensor.

        - p = 2: ``|a|²`` has the exact mean (`mzi_mesh.mean_square`) and a width that is simulated once; tests hold
          the radius to 2 % of that of drawn dies.
        - p = 1, inf: of simulated dies (`faultsim.budget.simulated`): p = 1 to 1 %, or 2 % on a single tile, p = inf to
          2 % up to the 90 % quantile and to 2 to 4 % at 99 %.

        Raises:
            OptionError: If p or confidence is out of range.
            DeviceError: If the tensor holds integer codes.
        """
        check_norm(p)
        check_confidence(confidence)
        mesh = self._mesh(stored)
        quiet = self.sigma_phase_rad == 0 or mesh.gain == 0
        eps, note = 0.0, ""
        if not quiet:
            if p == 2:
                eps = math.sqrt(self._quantile(mesh, self._mean_square(mesh, stored), confidence))
            else:
                key = digest(np.asarray(stored.values), self.tile, stored.site.channel_axis)
                norms = _PROGRAMMED.get(f"norms {key} {self.sigma_phase_rad} {p}", lambda: self._norms(mesh, p))
                eps, note = quantile_of(norms, confidence), f"from {norms.size} simulated dies"
        n = 0 if quiet else stored.values.size
        return Budget(mechanism=self.kind, scope=stored.site.name, p=p, eps=eps, n=n, confidence=confidence, note=note)

    def _mean_square(self, mesh: _Mesh, stored: Stored) -> float:
        """Return the mean of the squared L2 norm of the delta."""
        shift = self._mean_tiles(mesh) - mesh.tiles
        shift *= mesh.outputs[:, :, None] & mesh.inputs[:, None]
        least = float(np.sum(shift**2))
        if self.sigma_phase_rad < _TINY_RAD:
            return least + float(np.sum(self.std(stored) ** 2))
        seen = 0.0
        for first in range(0, len(mesh.tiles), _CHUNK):
            k = slice(first, first + _CHUNK)
            seen += float(
                mzi_mesh.mean_square(mesh.phases[k], self.sigma_phase_rad, mesh.inputs[k], mesh.outputs[k]).sum()
            )
        # |a|² = |w + a|² - |w|² - 2 <w, a>
        change = mesh.gain**2 * seen - float(np.sum(mesh.tiles**2)) - 2 * float(np.sum(mesh.tiles * shift))
        return max(change, least)

    def _quantile(self, mesh: _Mesh, mean: float, confidence: float) -> float:
        """Return the quantile of the squared L2 norm of *mean*: [Pearson1895]_'s type III with simulated moments.

        To first order the width would come in closed form, but at 0.1 rad it is then a quarter too small. The
        simulation has numbers of its own, always the same, as an integration rule has its nodes.
        """
        chosen = np.unique(np.linspace(0, len(mesh.tiles) - 1, min(_SAMPLE, len(mesh.tiles))).astype(np.int64))
        at = np.tile(chosen, max(1, 2 * _CHUNK // len(chosen)))  # several dies at once
        part = _Mesh(mesh.tiles[at], mesh.gain, mesh.phases[at], mesh.inputs[at], mesh.outputs[at])
        filled = part.outputs[:, :, None] & part.inputs[:, None]
        rng = np.random.default_rng(0)
        rounds = range(-(-_DRAWS // len(at)))
        draws = [np.sum(self._errors([part], [rng])[0] ** 2, axis=(1, 2), where=filled) for _ in rounds]
        squares = np.concatenate(draws).reshape(-1, len(chosen))
        away = squares - squares.mean(axis=0)
        share = len(mesh.tiles) / len(chosen)  # tiles are independent: their central moments add
        var, third = (share * float(np.sum(np.mean(away**k, axis=0))) for k in (2, 3))
        if var <= 0:
            return mean
        quantile = float(stats.pearson3.ppf(confidence, third / var**1.5, mean, math.sqrt(var)))
        # A tile with a few weights is far from that law, and its own draws are many enough.
        seen = float(np.quantile(squares, confidence, method="higher")) if len(mesh.tiles) == 1 else 0.0
        return max(quantile, seen)

    def _norms(self, mesh: _Mesh, p: float) -> NDArray[np.float64]:
        """Return the norms of simulated dies, always the same ones; small tensors are simulated together."""
        filled = mesh.outputs[:, :, None] & mesh.inputs[:, None]
        rng = np.random.default_rng(0)
        wanted = min(max(_SIMULATED // len(mesh.tiles), _LEAST_DIES), _DIES[p])
        dies = min(max(_DRAW_TILES // len(mesh.tiles), 1), wanted)
        many = _Mesh(np.tile(mesh.tiles, (dies, 1, 1)), mesh.gain, np.tile(mesh.phases, (dies, 1)),
                     np.tile(mesh.inputs, (dies, 1)), np.tile(mesh.outputs, (dies, 1)))  # fmt: skip
        found: list[NDArray[np.float64]] = []
        while sum(map(len, found)) < wanted:
            wrong = np.where(filled, np.abs(self._errors([many], [rng])[0]).reshape(dies, *filled.shape), 0.0)
            found.append(wrong.sum(axis=(1, 2, 3)) if p == 1 else wrong.max(axis=(1, 2, 3)))
        return np.concatenate(found)[:wanted]

    def _draw(self, stored: Sequence[Stored], rngs: Sequence[np.random.Generator]) -> list[Add]:
        wrong = self._errors([self._mesh(one) for one in stored], rngs)
        return [
            Add(delta=np.asarray(from_tiles(tiles, one), np.float32)) for tiles, one in zip(wrong, stored, strict=True)
        ]

    def _errors(self, meshes: Sequence[_Mesh], rngs: Sequence[np.random.Generator]) -> list[NDArray[Any]]:
        """Draw what is wrong with each tile of each tensor on one die, value units, in the tiles' shape.

        Where a tensor does not fill a tile, the numbers are what its mesh would compute there.
        """
        if self.sigma_phase_rad == 0:
            return [np.zeros_like(mesh.tiles) for mesh in meshes]
        fine = self.sigma_phase_rad < _FINE_RAD
        real = np.float64 if fine else np.float32
        ends = np.cumsum([0, *(len(mesh.tiles) for mesh in meshes)])
        total, whole = int(ends[-1]), mzi_mesh.layout(self.tile).shifters
        light = np.empty((self.tile, self.tile, total), real)
        batches = -(-total // _DRAW_TILES)
        for batch in range(batches):
            first, last = total * batch // batches, total * (batch + 1) // batches
            angles = np.zeros((whole, -(-(last - first) // _LANES) * _LANES), real)
            for mesh, rng, start in zip(meshes, rngs, ends[:-1], strict=True):
                low, high = max(first - start, 0), min(last - start, len(mesh.tiles))
                if low < high:
                    drawn: NDArray[Any] = rng.standard_normal((high - low, whole)).astype(real, copy=False)
                    drawn *= real(self.sigma_phase_rad)
                    drawn += mesh.phases[low:high]
                    angles[:, start + low - first : start + high - first] = drawn.T
            phasors = np.empty(angles.shape, np.complex128 if fine else np.complex64)
            np.cos(angles, out=phasors.real)
            np.sin(angles, out=phasors.imag)
            light[:, :, first:last] = mzi_mesh.carry(phasors, self.tile)[:, :, : last - first].real
        seen = [np.moveaxis(light[:, :, ends[k] : ends[k + 1]], 2, 0) for k in range(len(meshes))]
        return [mesh.gain * tiles - mesh.tiles for mesh, tiles in zip(meshes, seen, strict=True)]

    def _mean_tiles(self, mesh: _Mesh) -> NDArray[np.float64]:
        phasors = np.exp(1j * mesh.phases - self.sigma_phase_rad**2 / 2)
        return np.asarray(mesh.gain * mzi_mesh.transfer(phasors, self.tile).real, np.float64)

    def _mesh(self, stored: Stored) -> _Mesh:
        if stored.values.dtype.kind != "f":
            raise DeviceError(
                f"tensor {stored.site.name!r} holds {stored.values.dtype} codes, but a photonic mesh carries real"
                " weights; give the device an analog storage, or the float model"
            )
        values = np.asarray(stored.values)
        key = digest(values, self.tile, stored.site.channel_axis)
        tiles = _PROGRAMMED.get(
            f"tiles {key}", lambda: cut(as_matrix(values, stored.site).astype(np.float64), self.tile)
        )
        gain = float(_PROGRAMMED.get(f"gain {key}", lambda: largest(tiles)))
        phases = _PROGRAMMED.get(f"phases {key}", lambda: program(tiles, gain or 1.0))
        rows, cols = as_matrix(values, stored.site).shape
        high, wide = -(-rows // self.tile), -(-cols // self.tile)
        outputs = (np.arange(high * self.tile) < rows).reshape(high, self.tile)
        inputs = (np.arange(wide * self.tile) < cols).reshape(wide, self.tile)
        return _Mesh(tiles, gain, phases, np.tile(inputs, (high, 1)), np.repeat(outputs, wide, axis=0))
