"""A tensor's matrix on square tiles of meshes, and back. What light does in a mesh lives in `mzi_mesh.py`."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.corruption import Site, Stored
from faultsim.faults.crossbar import from_lines, to_lines


def as_matrix(values: NDArray[Any], site: Site) -> NDArray[Any]:
    """Return the numbers of a tensor as its matrix, outputs by inputs x kernel."""
    lines: NDArray[Any] = to_lines(values[None], site.channel_axis)[0].T
    return lines


def cut(matrix: NDArray[np.float64], tile: int) -> NDArray[np.float64]:
    """Return a matrix as whole tiles ``(t, tile, tile)``, filled with zeros."""
    high, wide = (-(-length // tile) for length in matrix.shape)
    whole = np.zeros((high * tile, wide * tile))
    whole[: matrix.shape[0], : matrix.shape[1]] = matrix
    return whole.reshape(high, tile, wide, tile).swapaxes(1, 2).reshape(-1, tile, tile)


def from_tiles(tiles: NDArray[np.float64], stored: Stored) -> NDArray[np.float64]:
    """Undo `cut` and the layout of the matrix: return numbers in the tensor's shape."""
    tile = tiles.shape[-1]
    rows, cols = as_matrix(stored.values, stored.site).shape
    high, wide = -(-rows // tile), -(-cols // tile)
    whole = tiles.reshape(high, wide, tile, tile).swapaxes(1, 2).reshape(high * tile, wide * tile)
    lines: NDArray[np.float64] = from_lines(whole[:rows, :cols].T[None], stored.values.shape, stored.site.channel_axis)
    return np.asarray(lines[0])


def largest(tiles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the largest singular value of all tiles, 0-d."""
    tops = np.linalg.norm(tiles, 2, axis=(1, 2)) if tiles.size else np.zeros(0)
    return np.asarray(tops.max(initial=0.0))
