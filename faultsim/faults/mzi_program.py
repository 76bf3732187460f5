"""Phases at which Mach-Zehnder meshes are given matrices: nulling by Clements. No light passes here.

References:
    .. [Clements2016] W. R. Clements et al. Optimal design for universal multiport interferometers. Optica 3:1460, 2016,
       arXiv 1603.08788: the rectangular mesh and the order in which elements are nulled.
    .. [SF] Strawberry Fields, ``decompositions.mach_zehnder``: the matrix of an interferometer, ``i e^{i theta/2}
       [[e^{i phi} sin(theta/2), cos(theta/2)], [e^{i phi} cos(theta/2), -sin(theta/2)]]``.
"""

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from faultsim.faults.mzi_mesh import Light, Real, layout


def program(tiles: Real, gain: float) -> Real:
    """Return the phases, rad, shape ``(t, phases)``, at which the mesh is *tiles* over *gain*, shape ``(t, n, n)``.

    Args:
        tiles: Real matrices, outputs by inputs.
        gain: Transmission 1 of an attenuator, at least the largest singular value, above 0.
    """
    n = tiles.shape[-1]
    plan = layout(n)
    u, s, vt = np.linalg.svd(tiles)
    phases = np.empty((len(tiles), plan.shifters))
    for unitary, (theta, phi) in ((vt, plan.right), (u, plan.left)):
        phases[:, theta], phases[:, phi], out = decompose(unitary)
        if unitary is vt:
            phases[:, plan.attenuators[0]] = 2 * np.arcsin(np.clip(s / gain, 0, 1))
            phases[:, plan.attenuators[1]] = out - (np.pi + phases[:, plan.attenuators[0]]) / 2
        else:
            phases[:, plan.out] = out
    return phases


def decompose(unitary: NDArray[Any]) -> tuple[Real, Real, Real]:
    """Return theta and phi, ``(t, n (n-1)/2)``, and output phases, ``(t, n)``, of meshes that are *unitary*.

    Interferometers are numbered by column of the mesh, then by channel: column c holds channels ``c % 2, c % 2 + 2,
    ...`` with the channel below each. All angles are in rad.
    """
    n = unitary.shape[-1]
    rest = unitary.astype(np.complex128)
    steps = _steps(n)
    theta, phi = (np.empty((len(unitary), len(steps))) for _ in range(2))
    for from_right, row, column, k in steps:
        if from_right:
            near, far = rest[:, row, column], rest[:, row, column + 1]
            theta[:, k], phi[:, k] = 2 * np.arctan2(np.abs(far), np.abs(near)), np.angle(-near * far.conj())
            turn = np.swapaxes(_interferometer(theta[:, k], phi[:, k]).conj(), 1, 2)
            rest[:, :, column : column + 2] = rest[:, :, column : column + 2] @ turn
        else:
            above, here = rest[:, row - 1, column], rest[:, row, column]
            theta[:, k], phi[:, k] = 2 * np.arctan2(np.abs(above), np.abs(here)), np.angle(here * above.conj())
            rest[:, row - 1 : row + 1] = _interferometer(theta[:, k], phi[:, k]) @ rest[:, row - 1 : row + 1]
    screen = np.einsum("tii->ti", rest).copy()
    # T^-1 D = D' T': the phases in the middle move out through the interferometers behind them.
    for _, row, _, k in reversed([step for step in steps if not step[0]]):
        first, second = screen[:, row - 1].copy(), screen[:, row].copy()
        turn = -np.exp(-1j * theta[:, k])
        screen[:, row - 1] = turn * np.exp(-1j * phi[:, k]) * second
        screen[:, row] = turn * second
        phi[:, k] = np.angle(first * second.conj())
    return theta, phi, np.angle(screen)


@lru_cache(maxsize=16)
def _steps(n: int) -> tuple[tuple[bool, int, int, int], ...]:
    """Return the nulling steps of [Clements2016]_: from the right?, row, column, place among the interferometers.

    Places count columns of the mesh, then channels; a step's column is the first that is free for both its channels.
    """
    order: list[tuple[bool, int, int]] = []
    for i in range(1, n):
        if i % 2:
            order += [(True, n - 1 - j, i - 1 - j) for j in range(i)]
        else:
            order += [(False, n + j - i - 1, j - 1) for j in range(1, i + 1)]
    along_light = [step for step in order if step[0]] + [step for step in reversed(order) if not step[0]]
    free = [0] * n
    spots = []
    for from_right, row, column in along_light:
        channel = column if from_right else row - 1
        depth = max(free[channel], free[channel + 1])
        free[channel] = free[channel + 1] = depth + 1
        spots.append((depth, channel, (from_right, row, column)))
    place = {step: number for number, (_, _, step) in enumerate(sorted(spots))}
    return tuple((*step, place[step]) for step in order)


def _interferometer(theta: Real, phi: Real) -> Light:
    """Return the matrices of interferometers, ``(t, 2, 2)``, [SF]_."""
    sine, cosine, outer = np.sin(theta / 2), np.cos(theta / 2), np.exp(1j * phi)
    rows = np.stack([np.stack([outer * sine, cosine + 0j], -1), np.stack([outer * cosine, -sine + 0j], -1)], -2)
    return np.asarray(1j * np.exp(0.5j * theta)[:, None, None] * rows, np.complex128)
