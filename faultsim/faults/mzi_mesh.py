"""Light in Mach-Zehnder meshes: where the phase shifters lie, what passes, derivatives and moments. No law lives here.

A tile ``W = gain U S V^T`` of n inputs and n outputs is light through, in this order: a rectangular mesh for V^T, whose
output phases are the phases of n attenuators for S, and a mesh for U with n output phases. An interferometer is a phase
phi on its upper arm, a 50:50 splitter, a phase theta on the upper arm and a second splitter; an attenuator is one of
which a single input and output is used. Every one of the ``2 n (n - 1) + 3 n`` phases is a phase shifter. `mzi_program`
finds the phases of a matrix.

References:
    .. [Clements2016] W. R. Clements et al. Optimal design for universal multiport interferometers. Optica 3:1460, 2016,
       arXiv 1603.08788: the rectangular mesh.
"""

from functools import lru_cache
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from faultsim.faults.scratch import Scratch

Real = NDArray[np.float64]
Light = NDArray[np.complex128]
Places = NDArray[np.int64]

_HALF = float(np.sqrt(0.5))
_WORK = Scratch()


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


def transfer(phasors: NDArray[Any], n: int) -> NDArray[Any]:
    """Return the matrices, ``(t, n, n)``, outputs by inputs, of tiles whose phase shifters multiply by *phasors*.

    Every element is linear in each phasor: the mean phasors of independent phases give the mean matrix.

    Args:
        phasors: ``exp(i phase)``, shape ``(t, phases)``; matrices come in their dtype.
        n: Size of the tiles.
    """
    return np.moveaxis(carry(np.ascontiguousarray(phasors.T), n), 2, 0)


def carry(columns: NDArray[Any], n: int) -> NDArray[Any]:
    """Return what `transfer` does with tiles last: ``(n, n, t)``, outputs by inputs, of phasors ``(phases, t)``.

    Tiles last in memory: every stage runs along them, in long strides of one channel. Many tiles at once cost less
    each.
    """
    light = np.zeros((n, n, columns.shape[1]), columns.dtype)
    light[np.arange(n), np.arange(n)] = 1.0
    owed = np.ones(n, np.complex128)  # what each channel is still to be multiplied by
    stages = layout(n).stages
    at = 0
    while at < len(stages):
        stage = stages[at]
        if at + 1 < len(stages) and stages[at + 1].kind == "split":  # phase, split, phase, split
            _interfere(stage.channels, columns[_range(stage)], columns[_range(stages[at + 2])], light, owed)
            at += 4
            continue
        own = columns[_range(stage)]
        factor = own if stage.kind == "phase" else 0.5 * (own - 1)
        light *= (factor * owed[:, None].astype(factor.dtype))[:, None]
        owed[:] = 1.0
        at += 1
    return light


def _range(stage: Stage) -> slice:
    """Return the numbers of a stage's phase shifters, which follow each other, as a slice: no copy."""
    return slice(int(stage.phases[0]), int(stage.phases[-1]) + 1)


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
    total = np.add(upper, lower, out=_WORK.take("total", upper.shape, light.dtype))
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
