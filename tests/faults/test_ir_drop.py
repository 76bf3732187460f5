"""The law of the crossbar's wires: how tensors fill tiles, what it draws and how it is bounded."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from published import PROGRAM

from faultsim.corruption import Stored
from faultsim.errors import OptionError
from faultsim.faults.analog import AnalogChain, Cells, Moments
from faultsim.faults.base import FAULTS
from faultsim.faults.crossbar import (
    Wires,
    effective_conductance,
)
from faultsim.faults.ir_drop import IrDrop
from faultsim.formats import ConductancePair
from faultsim.formats.conductance_offset import OffsetColumn, SingleDeviceOffset
from faultsim.rng import generator

Matrix = NDArray[np.float64]
MakeStored = Callable[..., Stored]
PAIR = ConductancePair(0.0, 25.0, 1.0)


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
