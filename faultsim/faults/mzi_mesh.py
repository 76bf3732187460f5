"""Matrices as phases of Mach-Zehnder meshes, and back: programming, propagation, moments. No law lives here.

A tile ``W = gain U S V^T`` of n inputs and n outputs is light through, in this order: a rectangular mesh for V^T, whose
output phases are the phases of n attenuators for S, and a mesh for U with n output phases. An interferometer is a phase
phi on its upper arm, a 50:50 splitter, a phase theta on the upper arm and a second splitter; an attenuator is one of
which a single input and output is used. Every one of the ``2 n (n - 1) + 3 n`` phases is a phase shifter.

References:
    .. [Clements2016] W. R. Clements et al. Optimal design for universal multiport interferometers. Optica 3:1460, 2016,
       arXiv 1603.08788: the rectangular mesh and the order in which elements are nulled.
    .. [SF] Strawberry Fields, ``decompositions.mach_zehnder``: the matrix of an interferometer, ``i e^{i theta/2}
       [[e^{i phi} sin(theta/2), cos(theta/2)], [e^{i phi} cos(theta/2), -sin(theta/2)]]``.
"""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Real = NDArray[np.float64]
Light = NDArray[np.complex128]
Places = NDArray[np.int64]

_HALF = float(np.sqrt(0.5))


class Stage(NamedTuple):
    """A step of the light: phases on `channels`, attenuation of all, or 50:50 splitters below `channels`.

    `phases` are the numbers of its phase shifters; splitters have none.
    """

    kind: Literal["phase", "attenuate", "split"]
    channels: slice
    phases: Places


class Layout(NamedTuple):
    """The stages of a tile in the order of light, and the numbers of its phase shifters by their part."""

    stages: tuple[Stage, ...]
    shifters: int
    right: tuple[Places, Places]  # theta, phi of the mesh for V^T, by column, then channel
    attenuators: tuple[Places, Places]  # theta, phi
    left: tuple[Places, Places]
    out: Places


class Paths(NamedTuple):
    """Where the light of each phase shifter goes and comes from: ``dW / dphase_k = i a_k b_k^T``, unit gain.

    `a` and `b` have shape ``(t, phases, n)``: over outputs, and over inputs.
    """

    a: Light
    b: Light


@lru_cache(maxsize=16)
def layout(n: int) -> Layout:
    """Return how the phase shifters of an n x n tile lie along the light."""
    stages: list[Stage] = []
    count = 0

    def shifters(kind: Literal["phase", "attenuate"], channels: slice) -> Places:
        nonlocal count
        numbers = np.arange(count, count + len(range(*channels.indices(n))))
        stages.append(Stage(kind, channels, numbers))
        count += numbers.size
        return numbers

    def mesh() -> tuple[Places, Places]:
        nothing = np.empty(0, np.int64)
        theta, phi = [nothing], [nothing]
        for column in range(n):
            tops = slice(column % 2, n - 1, 2)
            if tops.start < tops.stop:
                for numbers in (phi, theta):
                    numbers.append(shifters("phase", tops))
                    stages.append(Stage("split", tops, nothing))
        return np.concatenate(theta), np.concatenate(phi)

    right = mesh()
    screen = shifters("phase", slice(0, n))
    attenuators = (shifters("attenuate", slice(0, n)), screen)
    left = mesh()
    out = shifters("phase", slice(0, n))
    return Layout(tuple(stages), count, right, attenuators, left, out)


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


def transfer(phasors: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the matrices, ``(t, n, n)``, outputs by inputs, of tiles whose phase shifters multiply by *phasors*.

    Every element is linear in each phasor: the mean phasors of independent phases give the mean matrix.

    Args:
        phasors: ``exp(i phase)``, shape ``(t, phases)``; matrices come in their dtype.
        n: Size of the tiles.
    """
    # Tiles last in memory: every stage then runs along them, in long strides of one channel.
    columns = np.ascontiguousarray(phasors.T)
    light = np.zeros((n, n, len(phasors)), phasors.dtype)
    light[np.arange(n), np.arange(n)] = 1.0
    owed = np.ones(n, np.complex128)  # what each channel is still to be multiplied by
    stages = layout(n).stages
    at = 0
    while at < len(stages):
        stage = stages[at]
        if at + 1 < len(stages) and stages[at + 1].kind == "split":  # phase, split, phase, split
            _interfere(stage.channels, columns[stage.phases], columns[stages[at + 2].phases], light, owed)
            at += 4
            continue
        factor = columns[stage.phases] if stage.kind == "phase" else 0.5 * (columns[stage.phases] - 1)
        light *= (factor * owed[:, None].astype(factor.dtype))[:, None]
        owed[:] = 1.0
        at += 1
    return np.moveaxis(light, 2, 0)


def _interfere(
    channels: slice, phi: NDArray[Any], theta: NDArray[Any], light: NDArray[Any], owed: NDArray[np.complex128]
) -> None:
    """Let *light*, channels first, pass a column of interferometers, in place but for the factors *owed* by channel.

    With x = phi u and z = theta they give ``(z (x + i l) - (x - i l)) / 2`` and ``i (z (x + i l) + (x - i l)) / 2``:
    factors of i, 1/2 and what is owed go into phi, or are owed on. *phi* and *theta* are phasors, ``(pairs, t)``.
    """
    below = slice(channels.start + 1, channels.stop + 1, 2)
    upper, lower, due = light[channels], light[below], owed[below].copy()
    upper *= (phi * (owed[channels] / (1j * due))[:, None].astype(phi.dtype))[:, None]
    total = upper + lower
    total *= theta[:, None]
    upper -= lower
    np.add(total, upper, out=lower)
    np.subtract(total, upper, out=upper)
    owed[channels], owed[below] = 0.5j * due, -0.5 * due


def paths(phases: Real, n: int) -> Paths:
    """Return the first derivatives of the matrices of *phases* ``(t, phases)`` in factors, see `Paths`."""
    plan, z = layout(n), np.exp(1j * phases)
    a, b = (np.empty((*phases.shape, n), np.complex128) for _ in range(2))
    light = np.zeros((len(phases), n, n), np.complex128)
    light[:, np.arange(n), np.arange(n)] = 1.0
    back = light.copy()
    for stage in plan.stages:
        before = light.copy() if stage.kind == "attenuate" else light
        _pass(stage, z, light)
        if stage.kind == "attenuate":
            b[:, stage.phases] = 0.5 * z[:, stage.phases, None] * before
        elif stage.kind == "phase":
            b[:, stage.phases] = light[:, stage.channels]
    for stage in reversed(plan.stages):
        if stage.kind != "split":
            a[:, stage.phases] = back[:, stage.channels]
        _pass(stage, z, back)  # every stage is symmetric: backwards it is its own transpose
    return Paths(a, b)


def mean_square(phases: Real, sigma: float, inputs: NDArray[np.bool_], outputs: NDArray[np.bool_]) -> Real:
    """Return ``E sum Re(W)^2`` of unit-gain tiles with independent normal errors of all phases, shape ``(t,)``.

    Exact at every *sigma*: ``E[W Q W^H]`` and ``E[W Q W^T]`` are carried through the stages; an error delta on
    channel a multiplies element ab of either by ``E exp(i delta) = exp(-sigma²/2)``, element aa by 1 and by ``E exp(2
    i delta) = exp(-2 sigma²)``.

    Args:
        phases: Nominal phases, rad, shape ``(t, phases)``.
        sigma: Standard deviation of each, rad, at least 0.
        inputs: Inputs that carry light, shape ``(t, n)``: the diagonal of Q.
        outputs: Outputs that are read, shape ``(t, n)``.
    """
    n = inputs.shape[1]
    z, mu = np.exp(1j * phases), float(np.exp(-(sigma**2) / 2))
    power = np.zeros((len(phases), n, n), np.complex128)
    power[:, np.arange(n), np.arange(n)] = inputs
    plain = power.copy()
    for stage in layout(n).stages:
        if stage.kind == "attenuate":
            _attenuate_moments(z[:, stage.phases], mu, power, plain)
            continue
        for moment, conjugate in ((power, True), (plain, False)):
            _pass(stage, z, moment)
            turned = np.ascontiguousarray(np.swapaxes(moment, 1, 2))
            turned = turned.conj() if conjugate else turned
            _pass(stage, z, turned)
            moment[...] = np.swapaxes(turned.conj() if conjugate else turned, 1, 2)
        if stage.kind == "phase":
            loss = np.ones(n)
            loss[stage.channels] = mu
            for moment, same in ((power, np.ones(n)), (plain, loss**4)):
                factor = np.outer(loss, loss)
                np.fill_diagonal(factor, same)
                moment *= factor
    seen = np.einsum("tii,ti->t", power.real + plain.real, outputs)
    return np.asarray(0.5 * seen, np.float64)


def _attenuate_moments(z: Light, mu: float, power: Light, plain: Light) -> None:
    """Carry both second moments through attenuators ``(e^{i theta} - 1) / 2`` with noisy theta, in place."""
    mean = 0.5 * (mu * z - 1)
    at = np.arange(z.shape[1])
    same_power = power[:, at, at] * 0.5 * (1 - mu * z.real)
    same_plain = plain[:, at, at] * 0.25 * (mu**4 * z**2 - 2 * mu * z + 1)
    power *= mean[:, :, None] * mean[:, None].conj()
    plain *= mean[:, :, None] * mean[:, None]
    power[:, at, at], plain[:, at, at] = same_power, same_plain


def _pass(stage: Stage, phasors: NDArray[Any], light: NDArray[Any]) -> None:
    """Let *light*, shape ``(t, n, any)``, channels second, pass a stage, in place."""
    if stage.kind == "attenuate":
        light *= 0.5 * (phasors[:, stage.phases] - 1)[:, :, None]
    elif stage.kind == "phase":
        light[:, stage.channels] *= phasors[:, stage.phases, None]
    else:
        upper = light[:, stage.channels]
        lower = light[:, stage.channels.start + 1 : stage.channels.stop + 1 : 2]
        crossed = 1j * upper
        upper += 1j * lower
        lower += crossed
        upper *= _HALF
        lower *= _HALF


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
