"""The crossbar's linear network, against brute force, badcrossbar 1.1 and CrossSim 3.2.0."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faultsim.faults.crossbar import (
    AUTO_CELLS,
    LIGHT,
    Wires,
    effective_conductance,
    from_lines,
    over_tiles,
    to_lines,
)
from faultsim.formats import ConductancePair

Matrix = NDArray[np.float64]
ohms = st.floats(0.01, 200.0)


def brute_force(g_uS: Matrix, wires: Wires) -> Matrix:
    """Dense nodal analysis of one tile, every node an unknown, every resistance above 0: nothing shared with ours."""
    rows, cols = g_uS.shape
    size = 2 * rows * cols + rows + cols
    y = np.zeros((size, size))

    def node(kind: int, i: int, j: int) -> int:
        return (kind * rows + i) * cols + j

    def connect(a: int, b: int, conductance: float) -> None:
        y[a, a] += conductance
        y[b, b] += conductance
        y[a, b] -= conductance
        y[b, a] -= conductance

    inputs = [2 * rows * cols + i for i in range(rows)]
    outputs = [2 * rows * cols + rows + j for j in range(cols)]
    for i in range(rows):
        for j in range(cols):
            connect(node(0, i, j), node(1, i, j), g_uS[i, j] * 1e-6)
            if j:
                connect(node(0, i, j - 1), node(0, i, j), 1 / wires.word_ohm)
            if i:
                connect(node(1, i - 1, j), node(1, i, j), 1 / wires.bit_ohm)
        connect(inputs[i], node(0, i, 0), 1 / (wires.word_ohm + wires.driver_ohm))
    for j in range(cols):
        connect(outputs[j], node(1, rows - 1, j), 1 / (wires.bit_ohm + wires.sense_ohm))
    held, free = inputs + outputs, list(range(2 * rows * cols))
    inside = np.linalg.solve(y[np.ix_(free, free)], y[np.ix_(free, held)])
    terminals = y[np.ix_(held, held)] - y[np.ix_(held, free)] @ inside
    return -1e6 * terminals[:rows, rows:]


@st.composite
def tiles(draw: st.DrawFn) -> Matrix:
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dense = draw(st.sampled_from([0.3, 1.0]))
    return rng.uniform(0, 100, (rows, cols)) * (rng.random((rows, cols)) < dense)


def crosssim_relaxation(g: Matrix, v: Matrix, load: float, stop: float) -> Matrix:
    """Currents of an array ``(outputs, inputs)`` by CrossSim's under-relaxation, until no voltage errs by *stop*."""
    gamma = 1.0
    while True:
        ideal = np.broadcast_to(v, g.shape)
        dv = ideal.copy()
        for _ in range(100 if stop >= 1e-3 else 5000):
            current = g * dv
            column = load * np.cumsum(np.cumsum(current, 1)[:, ::-1], 1)[:, ::-1]
            row = load * np.cumsum(np.cumsum(current[::-1], 0)[::-1], 0)
            wrong = ideal - column - row - dv
            if np.abs(wrong).max() < stop:
                return current.sum(axis=1)
            dv += gamma * wrong
        gamma *= 0.98


@given(g=tiles(), word=ohms, bit=ohms, driver=ohms, sense=ohms)
def test_the_exact_solution_is_that_of_dense_nodal_analysis(
    g: Matrix, word: float, bit: float, driver: float, sense: float
) -> None:
    wires = Wires(word, bit, driver, sense)
    np.testing.assert_allclose(effective_conductance(g, wires), brute_force(g, wires), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("lasting", range(4))
def test_a_resistance_of_zero_is_the_limit_of_small_ones(lasting: int) -> None:
    g = np.random.default_rng(1).uniform(0, 100, (4, 5))
    ohm = [0.0, 0.0, 0.0, 0.0]
    ohm[lasting] = 50.0
    nearly = Wires(*(max(value, 1e-5) for value in ohm))
    np.testing.assert_allclose(effective_conductance(g, Wires(*ohm)), brute_force(g, nearly), rtol=1e-5)


@pytest.mark.parametrize("method", ["exact", "fast", "auto"])
def test_ideal_wires_change_nothing(method: Any) -> None:
    g = np.random.default_rng(1).uniform(0, 100, (3, 40, 50))
    np.testing.assert_array_equal(effective_conductance(g, Wires(0.0, 0.0), method=method), g)


@given(g=tiles(), ohm=ohms)
def test_a_passive_network_never_draws_more_than_ideal_wires(g: Matrix, ohm: float) -> None:
    for method in ("exact", "fast"):
        seen = effective_conductance(g, Wires(ohm, ohm), method=method)
        assert np.all(seen.sum(axis=0) <= g.sum(axis=0) * (1 + 1e-9) + 1e-9)
        assert np.all(seen >= -1e-9)


@pytest.mark.parametrize("shape", [(24, 24), (40, 12), (12, 40)])
def test_the_fast_solution_is_exact_to_first_order(shape: tuple[int, int]) -> None:
    g = np.random.default_rng(2).uniform(0, 100, shape)
    for modes, few in ((1, 3e-3), (2, 6e-4), (3, 3e-4)):
        errors = []
        for ohm in (2.0, 1.0):
            wires = Wires(ohm, 0.7 * ohm, 3 * ohm, 2 * ohm)
            exact = effective_conductance(g, wires)
            error = effective_conductance(g, wires, method="fast", modes=modes) - exact
            errors.append(float(np.linalg.norm(error)))
            assert errors[-1] < few * float(np.linalg.norm(exact - g))
        assert errors[0] / errors[1] > 3.5  # second order is the first that is wrong


@pytest.mark.parametrize(("lines", "load", "few"), [(64, 1e-4, 5e-4), (64, 1e-3, 3e-3)])
def test_the_fast_solution_errs_as_little_as_the_benchmark_says(lines: int, load: float, few: float) -> None:
    g = np.random.default_rng(3).uniform(0, 25, (lines, lines))
    wires = Wires(load / 25 * 1e6, load / 25 * 1e6)
    exact = effective_conductance(g, wires)
    fast = effective_conductance(g, wires, method="fast")
    assert np.linalg.norm(fast - exact) < few * np.linalg.norm(exact - g)


def test_the_fast_solution_takes_lines_that_hardly_conduct() -> None:
    g = np.zeros((20, 30))
    g[3, 4], g[3, 29], g[19, 4] = 10.0, 20.0, 30.0
    wires = Wires(30.0, 20.0, 5.0, 5.0)
    exact = effective_conductance(g, wires)
    np.testing.assert_allclose(effective_conductance(g, wires, method="fast", modes=2), exact, atol=2e-6)
    np.testing.assert_allclose(effective_conductance(g, wires, method="fast"), exact, atol=3e-4)


@pytest.mark.parametrize("shape", [(96, 12), (12, 96), (48, 48)])
def test_light_tiles_take_one_shape_and_heavy_ones_two(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    light, heavy = rng.uniform(0, 2, shape), rng.uniform(10, 25, shape)
    wires = Wires(4.0, 4.0)
    both = effective_conductance(np.stack([light, heavy]), wires, method="fast")
    for g, found, modes in ((light, both[0], 1), (heavy, both[1], 2)):
        exact = effective_conductance(g, wires)
        share = np.linalg.norm(g - exact) / np.linalg.norm(g)
        assert (share < LIGHT) == (modes == 1)
        np.testing.assert_allclose(found, effective_conductance(g, wires, method="fast", modes=modes), rtol=1e-6)
        assert np.linalg.norm(found - exact) < 1e-3 * np.linalg.norm(g)


@pytest.mark.parametrize("rows", [1, 31, 32, 33, 200])
def test_the_fast_solution_keeps_single_precision_and_its_accuracy(rows: int) -> None:
    g = np.random.default_rng(6).uniform(0, 25, (2, rows, 24)).astype(np.float32)
    wires = Wires(2.0, 1.0, 3.0, 5.0)
    fast = effective_conductance(g, wires, method="fast")
    assert fast.dtype == np.float32
    double = effective_conductance(g.astype(np.float64), wires, method="fast")
    assert double.dtype == np.float64
    np.testing.assert_allclose(fast, double, rtol=1e-6, atol=1e-5)
    exact = effective_conductance(g, wires)
    assert np.linalg.norm(double - exact) < 2e-3 * np.linalg.norm(exact)


def test_auto_is_exact_for_small_tiles_only() -> None:
    rng = np.random.default_rng(4)
    side = math.isqrt(AUTO_CELLS)
    for rows, method in ((side, "exact"), (side + 1, "fast")):
        g = rng.uniform(0, 25, (rows, side))
        want = effective_conductance(g, Wires(2.0, 2.0), method=method)
        np.testing.assert_array_equal(effective_conductance(g, Wires(2.0, 2.0), method="auto"), want)


def test_a_batch_of_tiles_is_each_tile_by_itself() -> None:
    g = np.random.default_rng(5).uniform(0, 25, (2, 3, 9, 7))
    for method in ("exact", "fast"):
        whole = effective_conductance(g, Wires(9.0, 4.0), method=method)
        for place in np.ndindex(2, 3):
            alone = effective_conductance(g[place], Wires(9.0, 4.0), method=method)
            np.testing.assert_allclose(whole[place], alone, rtol=1e-12)


def test_currents_and_corruptions_are_those_of_badcrossbar(read_golden: Callable[[str], Any]) -> None:
    stream = np.random.default_rng(3)  # the file holds the 16 x 16 arrays; the larger ones continue its stream
    drawn: dict[tuple[int, float], tuple[Matrix, Matrix]] = {}
    for case in read_golden("badcrossbar_irdrop.json")["cases"]:
        m, on, off, ohm = case["m"], 1 / case["ron"], 1 / case["roff"], case["r_wire"]
        if (m, on) not in drawn:
            drawn[m, on] = off + stream.random((m, m)) * (on - off), stream.uniform(0, 0.2, m)
        g, volts = drawn[m, on]
        if case["g"] is not None:
            np.testing.assert_allclose(g, case["g"], rtol=1e-12)
            np.testing.assert_allclose(volts, case["V"], rtol=1e-12)
        seen = effective_conductance(g * 1e6, Wires(ohm, ohm)) * 1e-6
        if case["y"] is not None:
            np.testing.assert_allclose(seen.T @ volts, case["y"], rtol=1e-8)
        ideal = g.T @ volts
        error = np.linalg.norm(seen.T @ volts - ideal) / np.linalg.norm(ideal)
        assert error == pytest.approx(case["rel_err"], rel=1e-8)
        if case["weight_corruption"] is not None:
            change = seen - g
            want = case["weight_corruption"]
            assert np.linalg.norm(change) / np.linalg.norm(g) == pytest.approx(want["rel_l2"], rel=1e-8)
            assert np.abs(change).max() / on == pytest.approx(want["rel_linf"], rel=1e-8)
            assert np.sum(seen * g) / np.sum(g * g) == pytest.approx(want["mean_gain"], rel=1e-8)


def test_outputs_are_those_of_crosssim(read_golden: Callable[[str], Any]) -> None:
    golden = read_golden("crosssim.json")["ir_drop"]
    rng = np.random.default_rng(golden["seed"])
    weights, x = rng.uniform(-1, 1, (64, 64)), rng.uniform(-1, 1, 64)
    np.testing.assert_allclose(weights @ x, golden["ideal"], rtol=1e-12)
    # A pair of arrays; the largest weight takes g_max, the idle device g_min.
    g_max, g_min, w_max = 1e6 / golden["Rmin"], 1e6 / golden["Rmax"], np.abs(weights).max()
    pair = ConductancePair(g_min, g_max, w_max)
    cells = pair.to_cells(weights.astype(np.float32)).astype(np.float64)
    for key, case in golden["cases"].items():
        ohm, y = float(key), np.array(case["y"])
        ours = np.array([effective_conductance(g.T, Wires(ohm, ohm)).T @ x for g in cells])
        mine = (ours[0] - ours[1]) * float(pair.step)
        scale = float(np.abs(y).max())
        # It stops at voltages 1e-3 off: that, and nothing else, is between its outputs and ours.
        for stop, want, few in ((1e-3, y, 1e-3 if ohm > 5 else 1e-6), (1e-9, mine, 1e-6)):
            currents = [crosssim_relaxation(g / g_max, x, ohm * g_max * 1e-6, stop) for g in cells]
            theirs = (currents[0] - currents[1]) * float(pair.step) * g_max
            np.testing.assert_allclose(theirs, want, atol=few * scale, rtol=0)
        ideal = np.array(golden["ideal"])
        assert np.linalg.norm(mine - ideal) / np.linalg.norm(ideal) == pytest.approx(case["rel_l2"], abs=1e-3)
        assert (mine @ ideal) / (ideal @ ideal) == pytest.approx(case["gain"], abs=1e-3)


@given(shape=st.lists(st.integers(1, 5), min_size=0, max_size=4), axis=st.integers(-4, 3), devices=st.integers(1, 3))
def test_lines_are_undone(shape: list[int], axis: int, devices: int) -> None:
    axis = axis % len(shape) if shape else 0
    values = np.arange(float(devices * math.prod(shape))).reshape(devices, *shape)
    lines = to_lines(values, axis)
    assert lines.shape[2] == (shape[axis] if len(shape) > 1 else math.prod(shape))
    np.testing.assert_array_equal(from_lines(lines, tuple(shape), axis), values)


@given(rows=st.integers(1, 9), cols=st.integers(1, 9), high=st.integers(1, 5), wide=st.integers(1, 5))
def test_tiles_cover_every_cell_once(rows: int, cols: int, high: int, wide: int) -> None:
    lines = np.arange(2.0 * rows * cols).reshape(2, rows, cols)
    seen: list[Matrix] = []

    def act(part: Matrix) -> Matrix:
        assert part.shape[1] == 2
        assert part.shape[2] <= high
        assert part.shape[3] <= wide
        seen.append(part.ravel())
        return -part

    np.testing.assert_array_equal(over_tiles(lines, high, wide, act), -lines)
    np.testing.assert_array_equal(np.sort(np.concatenate(seen)), np.arange(2.0 * rows * cols))
