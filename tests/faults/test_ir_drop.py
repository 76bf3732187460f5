"""Laws of the crossbar's wires, against brute force, badcrossbar 1.1 and CrossSim 3.2.0."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from published import PROGRAM

from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogChain, Cells, Moments
from faultsim.faults.base import FAULTS
from faultsim.faults.crossbar import (
    AUTO_CELLS,
    Wires,
    effective_conductance,
    from_lines,
    over_tiles,
    to_lines,
)
from faultsim.faults.ir_drop import IrDrop
from faultsim.faults.recall import Recall, digest
from faultsim.formats import ConductancePair
from faultsim.formats.conductance_offset import OffsetColumn, SingleDeviceOffset
from faultsim.rng import generator

Matrix = NDArray[np.float64]
MakeStored = Callable[..., Stored]
PAIR = ConductancePair(0.0, 25.0, 1.0)

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


def with_axis(stored: Stored, axis: int) -> Stored:
    return stored._replace(site=dataclasses.replace(stored.site, channel_axis=axis))


@st.composite
def tiles(draw: st.DrawFn) -> Matrix:
    rows, cols = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    dense = draw(st.sampled_from([0.3, 1.0]))
    return rng.uniform(0, 100, (rows, cols)) * (rng.random((rows, cols)) < dense)


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
    np.testing.assert_allclose(effective_conductance(g, wires, method="fast"), exact, atol=2e-6)


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


@pytest.mark.parametrize("method", ["exact", "fast"])
def test_a_convolution_fills_tiles_with_inputs_and_kernel_as_rows(make_stored: MakeStored, method: Any) -> None:
    weights = np.random.default_rng(6).uniform(-1, 1, (7, 3, 2, 2)).astype(np.float32)
    law = IrDrop(r_wire_ohm=20.0, r_bit_ohm=10.0, driver_ohm=30.0, tile_rows=5, tile_cols=4, method=method)
    delta = law.sample(make_stored(weights, PAIR), generator(0, 0)).delta
    matrix = weights.reshape(7, 12).T  # word lines: inputs x kernel, bit lines: output channels
    want = np.empty_like(matrix)
    for top in range(0, 12, 5):
        for left in range(0, 7, 4):
            spot = np.s_[top : top + 5, left : left + 4]
            g = PAIR.to_cells(matrix[spot]).astype(np.float64)
            change = effective_conductance(g, Wires(20.0, 10.0, 30.0), method=method) - g
            want[spot] = (change[0] - change[1]) / 25
    np.testing.assert_allclose(delta, want.T.reshape(weights.shape), atol=2e-7)


def test_a_matmul_and_a_convolution_of_one_matrix_are_the_same(make_stored: MakeStored) -> None:
    weights = np.random.default_rng(7).uniform(-1, 1, (12, 7)).astype(np.float32)
    law = IrDrop(r_wire_ohm=5.0, tile_rows=8, tile_cols=4)
    matmul = law.sample(with_axis(make_stored(weights, PAIR), 1), generator(0, 0)).delta
    last = law.sample(with_axis(make_stored(weights, PAIR), -1), generator(0, 0)).delta
    conv = law.sample(make_stored(weights.T.reshape(7, 3, 4, 1), PAIR), generator(0, 0)).delta
    np.testing.assert_array_equal(matmul.T.reshape(conv.shape), conv)
    np.testing.assert_array_equal(matmul, last)


@pytest.mark.parametrize("shape", [(), (6,), (0, 3)])
def test_tensors_without_rows_have_one_word_line(shape: tuple[int, ...]) -> None:
    g = np.full((2, *shape), 10.0)
    seen = IrDrop(r_wire_ohm=1000.0, tile_rows=4, tile_cols=3).effective(g, PAIR)
    assert seen.shape == g.shape
    assert np.all(seen < g)
    lines = seen.reshape(2, -1)
    np.testing.assert_array_equal(lines[:, 3:], lines[:, : max(lines.shape[1] - 3, 0)])  # 3 to a tile


def test_interleaved_devices_share_their_word_lines(make_stored: MakeStored) -> None:
    weights = np.random.default_rng(8).uniform(-1, 1, (6, 5)).astype(np.float32)
    stored = with_axis(make_stored(weights, PAIR), 1)
    law = IrDrop(r_wire_ohm=50.0, tile_rows=6, tile_cols=6, arrays="interleaved")
    g = PAIR.to_cells(weights).astype(np.float64)
    woven = np.stack(g, axis=-1).reshape(6, 10)
    change = np.concatenate([brute_force(woven[:, k : k + 6], Wires(50.0, 50.0)) for k in (0, 6)], axis=1) - woven
    np.testing.assert_allclose(
        law.sample(stored, generator(0, 0)).delta, (change[:, ::2] - change[:, 1::2]) / 25, atol=2e-7
    )


def test_a_shared_reference_is_the_last_bit_line_of_its_tile(make_stored: MakeStored) -> None:
    weights = np.random.default_rng(9).uniform(-1, 1, (6, 7)).astype(np.float32)
    mapping = OffsetColumn(0.0, 20.0, 1.0, block=(1, 4))
    stored = with_axis(make_stored(weights, mapping), 1)
    law = IrDrop(r_wire_ohm=50.0, tile_rows=6, tile_cols=4)
    g = mapping.to_cells(weights).astype(np.float64)
    want = np.empty_like(weights)
    for left in (0, 4):
        own = g[0, :, left : left + 4]
        seen = brute_force(np.concatenate([own, np.full((6, 1), 10.0)], axis=1), Wires(50.0, 50.0))
        want[:, left : left + 4] = ((seen[:, :-1] - seen[:, -1:]) - (own - 10.0)) / 10
    np.testing.assert_allclose(law.sample(stored, generator(0, 0)).delta, want, atol=3e-7)


def test_a_digital_offset_does_not_hide_the_drop(make_stored: MakeStored) -> None:
    stored = make_stored(np.zeros((6, 7), np.float32), SingleDeviceOffset(0.0, 20.0, 1.0))
    assert np.all(IrDrop(r_wire_ohm=5.0, tile_rows=8, tile_cols=8).sample(stored, generator(0, 0)).delta < 0)


def test_nothing_is_drawn_and_ideal_wires_are_no_edit(make_stored: MakeStored) -> None:
    stored = make_stored(np.random.default_rng(10).normal(size=(8, 8)).astype(np.float32), PAIR)
    rng = generator(0, 0)
    law = IrDrop(r_wire_ohm=2.0, tile_rows=8, tile_cols=8)
    first = law.sample(stored, rng).delta
    assert rng.random() == generator(0, 0).random()
    np.testing.assert_array_equal(first, law.sample(stored, generator(9, 9)).delta)
    assert not np.any(dataclasses.replace(law, r_wire_ohm=0.0).sample(stored, rng).delta)
    assert FAULTS["ir_drop"] is IrDrop


def test_wires_act_on_what_the_laws_before_them_left(make_stored: MakeStored) -> None:
    weights = np.random.default_rng(11).uniform(-1, 1, (5, 30)).astype(np.float32)
    stored = with_axis(make_stored(weights, PAIR), 1)
    law = IrDrop(r_wire_ohm=10.0, tile_rows=32, tile_cols=32)
    noisy = weights + AnalogChain(laws=(PROGRAM,)).sample(stored, generator(0, 3)).delta
    target = PAIR.to_cells(weights)
    programmed = PROGRAM.act(Cells(target, target, target, channel_axis=1), PAIR, generator(0, 3), 1.0).now
    np.testing.assert_allclose((programmed[0] - programmed[1]) / 25, noisy, atol=1e-6)
    seen = law.effective(programmed, PAIR, 1)
    delta = AnalogChain(laws=(PROGRAM, law)).sample(stored, generator(0, 3)).delta
    np.testing.assert_allclose(delta, (seen[0] - seen[1]) / 25 - weights, atol=1e-6)


def test_moments_are_those_of_many_chips(make_stored: MakeStored) -> None:
    weights = np.random.default_rng(12).uniform(-1, 1, (16, 24)).astype(np.float32)
    stored = with_axis(make_stored(weights, PAIR), 1)
    chain = AnalogChain(laws=(PROGRAM, IrDrop(r_wire_ohm=30.0, tile_rows=16, tile_cols=24)))
    chips = np.array([chain.sample(stored, generator(0, k)).delta for k in range(1500)])
    mean, std = chain.moments(stored)
    assert np.linalg.norm(mean) > 0.5 * np.linalg.norm(chips[0])
    few = 5 * float(std.max()) / math.sqrt(1500)
    np.testing.assert_allclose(chips.mean(axis=0), mean, atol=few)
    assert np.all(chips.std(axis=0) < 1.15 * std)  # the wires only weaken a cell's noise: the moments' is a bound
    norms = np.linalg.norm(chips.reshape(1500, -1), axis=1)
    assert 1.0 < chain.budget(stored, p=2, confidence=0.99).eps / np.quantile(norms, 0.99) < 1.05


def test_the_variance_stays() -> None:
    g = np.random.default_rng(13).uniform(0, 25, (2, 8, 8))
    moments = Moments(g, g, g, np.full_like(g, 0.3), channel_axis=1)
    after = IrDrop(r_wire_ohm=10.0, tile_rows=8, tile_cols=8).spread(moments, PAIR, 1.0)
    assert after.var is moments.var
    np.testing.assert_allclose(after.mean, effective_conductance(g, Wires(10.0, 10.0)), rtol=1e-12)


@pytest.mark.parametrize("p", [1, 2, math.inf])
def test_the_budget_of_the_wires_alone_is_their_delta(p: float, make_stored: MakeStored) -> None:
    stored = make_stored(np.random.default_rng(14).uniform(-1, 1, (9, 20)).astype(np.float32), PAIR)
    law = IrDrop(r_wire_ohm=10.0, tile_rows=8, tile_cols=8)
    delta = law.sample(stored, generator(0, 0)).delta
    assert law.budget(stored, p=p, confidence=0.99).eps == pytest.approx(np.linalg.norm(delta.ravel(), p), rel=1e-4)


def test_a_read_below_zero_is_carried_through() -> None:
    g = np.random.default_rng(15).uniform(0, 25, (2, 6, 6)).astype(np.float32)
    law = IrDrop(r_wire_ohm=10.0, tile_rows=8, tile_cols=8)
    whole = g.copy()
    whole[0, 2, 3] = 0.0
    below = whole.copy()
    below[0, 2, 3] = -0.5
    change = law.effective(below, PAIR, 1) - law.effective(whole, PAIR, 1)
    assert change[0, 2, 3] == pytest.approx(-0.5)
    assert np.count_nonzero(change) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"r_wire_ohm": -1.0}, "r_wire_ohm must be finite and at least 0, got -1"),
        ({"r_bit_ohm": math.nan}, "r_bit_ohm must be finite"),
        ({"driver_ohm": math.inf}, "driver_ohm must be finite"),
        ({"sense_ohm": -2.0}, "sense_ohm must be finite"),
        ({"tile_cols": 0}, "a tile needs at least one line each way, got 8 x 0"),
        ({"method": "quick"}, "unknown method 'quick'; use one of exact, fast, auto"),
        ({"arrays": "stacked"}, "unknown arrays 'stacked'; use one of separate, interleaved"),
    ],
)
def test_impossible_wires_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        IrDrop(**{"r_wire_ohm": 1.0, "tile_rows": 8, "tile_cols": 8, **options})


def test_recalled_arrays_are_those_of_their_content() -> None:
    recall, made = Recall(80), []

    def square(x: Matrix) -> Matrix:
        def make() -> Matrix:
            made.append(x[0])
            return x**2

        return recall.get(digest(x), make)

    x = np.arange(5.0)
    for _ in range(2):
        np.testing.assert_array_equal(square(x), x**2)
    assert len(made) == 1
    x += 1  # changed in place: another content
    np.testing.assert_array_equal(square(x), x**2)
    square(x + 1)  # 120 bytes: the first one goes
    square(x - 1)
    assert len(made) == 4
    square(np.arange(50.0))  # more than fits is made and not kept
    square(x - 1)
    assert len(made) == 5
    with pytest.raises(ValueError, match="read-only"):
        square(x)[0] = 1.0


def test_digests_tell_shapes_types_and_values_apart() -> None:
    x = np.arange(6.0)
    parts = [(x,), (x.reshape(2, 3),), (x.astype(np.float32),), (x, 1), (x, 1.0), (x, "1"), (-x,)]
    assert len({digest(*part) for part in parts}) == len(parts)
