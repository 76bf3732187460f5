"""Laws of photonic meshes: programming, propagation, phase errors and their budget."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from faultsim.corruption import Stored, apply_edit
from faultsim.errors import DeviceError, OptionError
from faultsim.faults import phase_noise
from faultsim.faults.base import FAULTS
from faultsim.faults.mzi_mesh import layout, mean_square, paths, transfer
from faultsim.faults.mzi_program import decompose, program
from faultsim.faults.phase_noise import PhaseNoise
from faultsim.faults.recall import Recall
from faultsim.formats import FloatFormat, IntFormat
from faultsim.rng import generator

Real = NDArray[np.float64]
MakeStored = Callable[..., Stored]


def random_unitary(rng: np.random.Generator, n: int) -> NDArray[np.complex128]:
    q, r = np.linalg.qr(rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n)))
    return q * (np.diag(r) / np.abs(np.diag(r)))


def built(theta: Real, phi: Real, out: Real) -> NDArray[np.complex128]:
    """One rectangular mesh, interferometer by interferometer, from splitters and phase shifters as matrices."""
    n, numbers = len(out), iter(range(len(theta)))
    splitter = np.array([[1, 1j], [1j, 1]]) / math.sqrt(2)
    whole = np.eye(n, dtype=complex)
    for column in range(n):
        for channel in range(column % 2, n - 1, 2):
            k = next(numbers)
            pair = splitter @ np.diag([np.exp(1j * theta[k]), 1]) @ splitter @ np.diag([np.exp(1j * phi[k]), 1])
            stage = np.eye(n, dtype=complex)
            stage[channel : channel + 2, channel : channel + 2] = pair
            whole = stage @ whole
    assert next(numbers, None) is None
    return np.diag(np.exp(1j * out)) @ whole


@pytest.fixture
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(24, 40)).astype(np.float32)


@pytest.mark.parametrize("n", range(1, 17))
def test_any_unitary_is_a_rectangular_mesh(n: int) -> None:
    rng = np.random.default_rng(n)
    special = [np.eye(n), np.eye(n)[::-1], np.diag([(-1.0) ** k for k in range(n)])]
    some = np.stack([*special, *(random_unitary(rng, n) for _ in range(4)), random_unitary(rng, n).real])
    some[-1] = np.linalg.qr(some[-1])[0]
    theta, phi, out = decompose(some)
    for k, unitary in enumerate(some):
        np.testing.assert_allclose(built(theta[k], phi[k], out[k]), unitary, atol=1e-10)


@given(n=st.integers(1, 9), seed=st.integers(0, 2**32), rank=st.integers(0, 9), slack=st.floats(1, 10))
def test_programmed_tiles_are_their_matrices(n: int, seed: int, rank: int, slack: float) -> None:
    rng = np.random.default_rng(seed)
    tiles = rng.normal(size=(3, n, rank)) @ rng.normal(size=(3, rank, n))
    gain = slack * max(float(np.linalg.norm(tiles, 2, axis=(1, 2)).max()), 1e-3)
    phases = program(tiles, gain)
    assert phases.shape == (3, 2 * n * (n - 1) + 3 * n)
    np.testing.assert_allclose(gain * transfer(np.exp(1j * phases), n), tiles, atol=1e-10 * gain)


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_every_phase_shifter_belongs_to_one_part(n: int) -> None:
    plan = layout(n)
    parts = np.concatenate([*plan.right, *plan.attenuators, *plan.left, plan.out])
    np.testing.assert_array_equal(np.sort(parts), np.arange(plan.shifters))
    stages = np.concatenate([stage.phases for stage in plan.stages])
    np.testing.assert_array_equal(stages, np.arange(plan.shifters))  # in the order of light


@pytest.mark.parametrize("n", [1, 2, 3, 6])
def test_paths_are_the_derivatives(n: int) -> None:
    rng = np.random.default_rng(n)
    phases = rng.uniform(-3, 3, (2, layout(n).shifters))
    a, b = paths(phases, n)
    for k in range(phases.shape[1]):
        step = np.zeros_like(phases)
        step[:, k] = 1e-6
        slope = (transfer(np.exp(1j * (phases + step)), n) - transfer(np.exp(1j * (phases - step)), n)) / 2e-6
        np.testing.assert_allclose(1j * a[:, k, :, None] * b[:, k, None, :], slope, atol=1e-8)


def test_the_mean_square_is_that_of_every_sign_of_two_point_errors() -> None:
    # With one noisy shifter at a time the expectation is an integral over one angle: Gauss-Hermite nodes are exact.
    n, sigma = 3, 0.7
    phases = np.random.default_rng(1).uniform(-3, 3, (1, layout(n).shifters))
    inputs, outputs = np.array([[True, False, True]]), np.array([[True, True, False]])
    nodes, shares = np.polynomial.hermite_e.hermegauss(40)
    shares = shares / shares.sum()
    quiet = transfer(np.exp(1j * phases), n).real[0][outputs[0]][:, inputs[0]]
    assert mean_square(phases, 0.0, inputs, outputs)[0] == pytest.approx(np.sum(quiet**2), rel=1e-12)
    # To second order in sigma, independent errors add: half the second derivative of each, times sigma².
    small = 1e-2
    total = 0.0
    for k in range(phases.shape[1]):
        moved = np.repeat(phases, nodes.size, axis=0)
        moved[:, k] += small * nodes
        seen = transfer(np.exp(1j * moved), n).real[:, outputs[0]][:, :, inputs[0]]
        total += float(shares @ np.sum(seen**2, axis=(1, 2)) - np.sum(quiet**2))
    change = mean_square(phases, small, inputs, outputs)[0] - np.sum(quiet**2)
    assert change == pytest.approx(total, abs=40 * small**4)
    # And at any sigma the average over many dies.
    errors = sigma * np.random.default_rng(2).standard_normal((50_000, phases.shape[1]))
    seen = transfer(np.exp(1j * (phases + errors)), n).real[:, outputs[0]][:, :, inputs[0]]
    squares = np.sum(seen**2, axis=(1, 2))
    few = 4 * float(squares.std()) / math.sqrt(len(squares))
    assert mean_square(phases, sigma, inputs, outputs)[0] == pytest.approx(squares.mean(), abs=few)


def test_without_errors_the_mesh_computes_the_weights(weights: NDArray[np.float32], make_stored: MakeStored) -> None:
    stored = make_stored(weights, FloatFormat())
    delta = PhaseNoise(sigma_phase_rad=1e-12).sample(stored, generator(0, 0)).delta
    assert np.abs(delta).max() < 1e-6
    silent = PhaseNoise(sigma_phase_rad=0.0)
    assert not np.any(silent.sample(stored, generator(0, 0)).delta)
    assert silent.budget(stored, p=2, confidence=0.99).eps == 0.0
    assert silent.budget(stored, p=2, confidence=0.99).n == 0


@pytest.mark.parametrize("shape", [(), (5,), (0, 4), (3, 0), (1, 1), (20, 3, 3, 3), (17, 33)])
def test_a_tensor_of_any_shape_keeps_it(shape: tuple[int, ...], make_stored: MakeStored) -> None:
    stored = make_stored(np.random.default_rng(2).normal(size=shape).astype(np.float32), FloatFormat())
    law = PhaseNoise(sigma_phase_rad=0.05)
    edit = law.sample(stored, generator(0, 0))
    assert edit.delta.shape == shape
    assert edit.delta.dtype == np.float32
    assert np.all(np.isfinite(edit.delta))
    assert apply_edit(edit, stored).shape == shape
    assert law.std(stored).shape == law.mean(stored).shape == shape
    assert math.isfinite(law.budget(stored, p=2, confidence=0.9).eps)


def test_zeros_stay_zero(make_stored: MakeStored) -> None:
    stored = make_stored(np.zeros((8, 8), np.float32), FloatFormat())
    law = PhaseNoise(sigma_phase_rad=0.1)
    assert not np.any(law.sample(stored, generator(0, 0)).delta)
    assert law.budget(stored, p=2, confidence=0.99).eps == 0.0


def test_dies_are_replayed_and_differ(weights: NDArray[np.float32], make_stored: MakeStored) -> None:
    stored, law = make_stored(weights, FloatFormat()), PhaseNoise(sigma_phase_rad=0.05)
    first = law.sample(stored, generator(0, 1, "w")).delta
    np.testing.assert_array_equal(first, law.sample(stored, generator(0, 1, "w")).delta)
    assert np.all(first != law.sample(stored, generator(0, 2, "w")).delta)
    assert FAULTS["phase_noise"] is PhaseNoise


def test_a_convolution_is_its_matrix_of_outputs_by_inputs_and_kernel(make_stored: MakeStored) -> None:
    kernel = np.random.default_rng(3).normal(size=(20, 3, 3, 2)).astype(np.float32)
    law = PhaseNoise(sigma_phase_rad=0.05)
    conv = law.sample(make_stored(kernel, FloatFormat()), generator(0, 0)).delta
    flat = make_stored(kernel.reshape(20, 18).T.copy(), FloatFormat())
    matmul = flat._replace(site=dataclasses.replace(flat.site, channel_axis=1))
    np.testing.assert_array_equal(law.sample(matmul, generator(0, 0)).delta.T.reshape(kernel.shape), conv)


def test_the_error_of_a_die_follows_the_weights_scale(weights: NDArray[np.float32], make_stored: MakeStored) -> None:
    law = PhaseNoise(sigma_phase_rad=0.05)
    one = law.sample(make_stored(weights, FloatFormat()), generator(0, 0)).delta
    large = law.sample(make_stored(weights * 1024, FloatFormat()), generator(0, 0)).delta
    np.testing.assert_allclose(large, one * 1024, rtol=1e-3, atol=1e-3)


def test_tiles_are_meshes_of_their_own(weights: NDArray[np.float32], make_stored: MakeStored) -> None:
    law = PhaseNoise(sigma_phase_rad=0.05, tile=8)
    other = weights.copy()
    other[8:16, 16:24] = other[8:16, 16:24].T  # the same singular values: the same gain
    changed = law.sample(make_stored(weights, FloatFormat()), generator(0, 0)).delta
    changed = changed != law.sample(make_stored(other, FloatFormat()), generator(0, 0)).delta
    rows, cols = np.nonzero(changed)
    assert set(rows) == set(range(8, 16))
    assert set(cols) == set(range(16, 24))


def test_an_error_reaches_more_outputs_the_earlier_it_happens() -> None:
    n = 16
    phases = program(np.linalg.qr(np.random.default_rng(4).normal(size=(1, n, n)))[0], 1.0)
    plan = layout(n)
    reached = []
    a, _ = paths(phases, n)
    theta = plan.left[0]
    first = 0
    for column in range(n):
        count = len(range(column % 2, n - 1, 2))
        reached.append(np.count_nonzero(np.abs(a[0, theta[first : first + count]]) > 1e-12, axis=1).max())
        first += count
    assert reached[-1] == 2  # both outputs of one interferometer
    assert reached[0] == n
    assert sorted(reached, reverse=True) == reached


def test_larger_meshes_err_more(make_stored: MakeStored) -> None:
    stored = make_stored(np.random.default_rng(5).normal(size=(32, 32)).astype(np.float32), FloatFormat())
    errors = [PhaseNoise(sigma_phase_rad=0.02, tile=n).budget(stored, p=2, confidence=0.5).eps for n in (2, 4, 8, 16)]
    assert errors == sorted(errors)
    assert errors[-1] > 2 * errors[0]


def test_mean_and_spread_are_those_of_many_dies(make_stored: MakeStored) -> None:
    stored = make_stored(np.random.default_rng(6).normal(size=(12, 18)).astype(np.float32), FloatFormat())
    for sigma, wide in ((0.01, 0.15), (0.05, 0.3)):
        law = PhaseNoise(sigma_phase_rad=sigma)
        dies = np.array([law.sample(stored, generator(0, k)).delta for k in range(800)], np.float64)
        std = law.std(stored)
        np.testing.assert_allclose(dies.std(axis=0), std, rtol=wide)
        assert np.sum(dies.var(axis=0)) == pytest.approx(np.sum(std**2), rel=0.03 if sigma < 0.02 else 0.12)
        few = 5 * dies.std(axis=0) / math.sqrt(800)
        assert np.all(np.abs(dies.mean(axis=0) - law.mean(stored)) < few)


@pytest.mark.parametrize(("sigma", "rows"), [(1e-6, 16), (0.02, 10), (0.05, 16), (0.1, 16)])
def test_the_budget_is_the_norm_that_dies_have(sigma: float, rows: int, make_stored: MakeStored) -> None:
    tile = np.zeros((16, 16))
    tile[:rows] = np.random.default_rng(7).normal(size=(rows, 16)).astype(np.float32)
    stored, law = make_stored(tile[:rows].astype(np.float32), FloatFormat()), PhaseNoise(sigma_phase_rad=sigma)
    gain = float(np.linalg.norm(tile, 2))
    phases = program(tile[None], gain)

    def dies(count: int, rng: np.random.Generator) -> Real:
        errors = sigma * rng.standard_normal((count, phases.shape[1]))
        return (gain * transfer(np.exp(1j * (phases + errors)), 16).real - tile)[:, :rows]

    np.testing.assert_allclose(
        law.sample(stored, generator(0, 1)).delta, dies(1, generator(0, 1))[0], rtol=1e-5, atol=1e-5
    )
    norms = np.linalg.norm(dies(6000, generator(0, 0)), axis=(1, 2))
    for confidence in (0.5, 0.9, 0.99):
        eps = law.budget(stored, p=2, confidence=confidence).eps
        assert eps == pytest.approx(np.quantile(norms, confidence), rel=0.02)


def test_the_budget_of_many_tiles_is_that_of_dies(make_stored: MakeStored) -> None:
    # More tiles than the budget simulates.
    stored = make_stored(np.random.default_rng(8).normal(size=(50, 50)).astype(np.float32), FloatFormat())
    law = PhaseNoise(sigma_phase_rad=0.05, tile=8)
    norms = [float(np.linalg.norm(law.sample(stored, generator(0, k)).delta)) for k in range(300)]
    for confidence in (0.5, 0.9):
        eps = law.budget(stored, p=2, confidence=confidence).eps
        assert eps == pytest.approx(np.quantile(norms, confidence), rel=0.01)


def test_the_exact_and_the_first_order_mean_square_meet(weights: NDArray[np.float32], make_stored: MakeStored) -> None:
    stored = make_stored(weights, FloatFormat())
    below = PhaseNoise(sigma_phase_rad=0.999e-3).budget(stored, p=2, confidence=0.5).eps / 0.999e-3
    above = PhaseNoise(sigma_phase_rad=1.001e-3).budget(stored, p=2, confidence=0.5).eps / 1.001e-3
    assert below == pytest.approx(above, rel=1e-3)


@pytest.mark.parametrize("p", [1, math.inf])
@pytest.mark.parametrize("shape", [(10, 16), (50, 50)])
def test_other_norms_are_those_of_dies(
    p: float, shape: tuple[int, int], make_stored: MakeStored, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = make_stored(np.random.default_rng(9).normal(size=shape).astype(np.float32), FloatFormat())
    for sigma in (0.02, 0.1) if shape[0] < 16 else (0.1,):
        law = PhaseNoise(sigma_phase_rad=sigma)
        norms = [np.linalg.norm(law.sample(stored, generator(0, k)).delta.ravel(), p) for k in range(1500)]
        for confidence in (0.5, 0.9, 0.99):
            budget = law.budget(stored, p=p, confidence=confidence)
            tolerance = 0.05 if confidence == 0.99 else 0.025  # the ends are a fit, and both are of so many dies
            assert budget.eps == pytest.approx(np.quantile(norms, confidence), rel=tolerance)
            assert f"{256 if p == 1 else 4096} simulated dies" in budget.note
            assert budget.n == stored.values.size
        monkeypatch.setattr(phase_noise, "_PROGRAMMED", Recall(1 << 20))  # forget what was simulated
        assert budget == law.budget(stored, p=p, confidence=0.99)


def test_a_lone_weight_is_bounded_too(make_stored: MakeStored) -> None:
    # Its first-order error is zero: only squares of the phases' errors are left.
    stored, law = make_stored(np.ones((1, 1), np.float32), FloatFormat()), PhaseNoise(sigma_phase_rad=0.05)
    norms = [float(np.linalg.norm(law.sample(stored, generator(0, k)).delta)) for k in range(600)]
    assert law.budget(stored, p=2, confidence=0.9).eps == pytest.approx(np.quantile(norms, 0.9), rel=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma_phase_rad": -0.1}, "sigma_phase_rad must be finite and at least 0, got -0.1"),
        ({"sigma_phase_rad": math.inf}, "sigma_phase_rad must be finite"),
        ({"tile": 0}, "a mesh needs at least 1 input, got a tile of 0; use such as 16"),
    ],
)
def test_impossible_meshes_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        PhaseNoise(**{"sigma_phase_rad": 0.05, **options})


def test_codes_and_strange_norms_are_refused(make_stored: MakeStored) -> None:
    law = PhaseNoise(sigma_phase_rad=0.05)
    codes = make_stored(np.ones((4, 4), np.int8), IntFormat(8, dtype="int8"))
    with pytest.raises(DeviceError, match="holds int8 codes, but a photonic mesh carries real weights"):
        law.sample(codes, generator(0, 0))
    floats = make_stored(np.ones((4, 4), np.float32), FloatFormat())
    with pytest.raises(OptionError, match="norm p must be 1, 2 or inf, got 3"):
        law.budget(floats, p=3, confidence=0.9)
    with pytest.raises(OptionError, match="confidence must lie strictly between 0 and 1, got 1"):
        law.budget(floats, p=2, confidence=1.0)


@pytest.mark.parametrize("sigma", [0.05, 1e-4, 0.0])
def test_a_tensor_is_drawn_alike_by_itself_and_with_others(sigma: float, make_stored: MakeStored) -> None:
    rng = np.random.default_rng(9)
    shapes = [(20, 3, 3, 3), (140, 140), (5,), (0, 4), (17, 33)]
    tensors = [make_stored(rng.normal(size=shape).astype(np.float32), FloatFormat()) for shape in shapes]
    named = [one._replace(site=dataclasses.replace(one.site, name=f"w{k}")) for k, one in enumerate(tensors)]
    law = PhaseNoise(sigma_phase_rad=sigma, tile=4)  # more tiles than are followed at once
    whole = law.sample_chip(named, lambda name: generator(0, 1, name))
    rest = law.sample_chip(named[:0:-1], lambda name: generator(0, 1, name))
    assert list(whole) == [one.site.name for one in named]
    for one in named:
        alone = law.sample(one, generator(0, 1, one.site.name)).delta
        np.testing.assert_array_equal(whole[one.site.name].delta, alone)  # type: ignore[union-attr]
        if one.site.name in rest:
            np.testing.assert_array_equal(rest[one.site.name].delta, alone)  # type: ignore[union-attr]
