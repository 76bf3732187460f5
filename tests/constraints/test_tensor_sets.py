"""Laws of the sets over several tensors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultsim.constraints import Global, Layout, LpL0, NoMaximiserError, PerTensor, Tensors, TensorSet
from faultsim.errors import ConstraintError

SHAPES = {"w": (3, 2), "b": (3,)}
SETS: list[TensorSet] = [
    PerTensor({"w": LpL0(2, 0.5, 3), "b": LpL0(math.inf, 0.1)}),
    PerTensor({"w": LpL0(2, 0.5, scale=np.full((3, 2), 2.0)), "b": LpL0(1, 0.1, high=0.05)}),
    Global(("w", "b"), LpL0(2, 0.5, 4)),
    Global(("b", "w"), LpL0(math.inf, 0.5, 4, scale=np.arange(9.0))),
]


def tensors(seed: int, size: float = 1.0) -> Tensors:
    rng = np.random.default_rng(seed)
    return {name: size * rng.standard_normal(shape) for name, shape in SHAPES.items()}


@pytest.mark.parametrize("whole", SETS)
@given(seed=st.integers(0, 2**32), size=st.floats(1e-3, 1e2))
def test_sets_over_tensors_hold_what_they_return(whole: TensorSet, seed: int, size: float) -> None:
    direction = tensors(seed, size)
    once = whole.project(direction)
    best = whole.argmax(direction)
    for point in (once, best, whole.random(np.random.default_rng(seed), SHAPES)):
        assert whole.contains(point)
        assert {name: array.shape for name, array in point.items()} == SHAPES
    again = whole.project(once)
    assert all(np.array_equal(once[name], again[name]) for name in SHAPES)
    earned = sum(float(np.vdot(best[name], direction[name])) for name in SHAPES)
    assert earned == pytest.approx(whole.indicator(direction), rel=1e-9)
    assert earned >= sum(float(np.vdot(once[name], direction[name])) for name in SHAPES) * (1 - 1e-9)


def test_global_ties_go_to_the_first_name() -> None:
    ones = {name: np.ones(shape) for name, shape in SHAPES.items()}
    best = Global(("b", "w"), LpL0(math.inf, 1.0, 4)).argmax(ones)
    assert best["b"].tolist() == [1, 1, 1]
    assert best["w"].reshape(-1).tolist() == [1, 0, 0, 0, 0, 0]


def test_global_equals_one_long_array() -> None:
    direction = tensors(0)
    flat = np.concatenate([direction["w"].reshape(-1), direction["b"]])
    best = Global(("w", "b"), LpL0(3, 0.7, 5)).argmax(direction)
    expected = LpL0(3, 0.7, 5).argmax(flat)
    assert np.array_equal(np.concatenate([best["w"].reshape(-1), best["b"]]), expected)


def test_a_dead_tensor_stays_as_it_is_unless_all_are_dead() -> None:
    both = PerTensor({"w": LpL0(2, 1.0), "b": LpL0(2, 1.0)})
    best = both.argmax({"w": np.ones(4), "b": np.zeros(2)})
    assert best["w"].tolist() == [0.5, 0.5, 0.5, 0.5]
    assert best["b"].tolist() == [0, 0]
    with pytest.raises(NoMaximiserError, match="direction is zero"):
        both.argmax({"w": np.zeros(4), "b": np.zeros(2)})


@pytest.mark.parametrize("p", [1, 2, math.inf])
@pytest.mark.parametrize("n", [None, 2])
@pytest.mark.parametrize("box", [{}, {"low": -0.4, "high": 0.3}])
def test_random_corruptions_of_one_tensor_are_those_of_its_set(p: float, n: int | None, box: dict[str, float]) -> None:
    own = LpL0(p, 0.5, n, scale=np.array([[1.0, 3.0], [1e3, 0.0], [0.2, 1.0]]), **box)
    for seed in range(20):
        alone = own.random(np.random.default_rng(seed), SHAPES["w"])
        each = PerTensor({"w": own}).random(np.random.default_rng(seed), SHAPES)
        together = Global(("w",), LpL0(p, 0.5, n, scale=own.scale.reshape(-1), **box))  # type: ignore[union-attr]
        assert np.array_equal(each["w"], alone)
        assert np.array_equal(together.random(np.random.default_rng(seed), SHAPES)["w"], alone)


def test_a_random_corruption_hits_elements_of_every_unit_alike() -> None:
    rng, trials = np.random.default_rng(0), 600
    budget = PerTensor({"w": LpL0(2, 1.0, n=1, scale=np.array([1.0, 1000.0]))})
    first = sum(budget.random(rng, {"w": (2,)})["w"][0] != 0 for _ in range(trials))
    assert abs(first - trials / 2) <= 4 * math.sqrt(trials / 4)


def test_a_random_corruption_leaves_a_tensor_that_cannot_move_unless_none_can() -> None:
    pinned = LpL0(2, 1.0, scale=0.0)
    got = PerTensor({"w": pinned, "b": LpL0(2, 1.0)}).random(np.random.default_rng(0), SHAPES)
    assert not got["w"].any()
    assert np.linalg.norm(got["b"]) == pytest.approx(1.0)
    with pytest.raises(NoMaximiserError, match="direction is zero"):
        PerTensor({"w": pinned, "b": pinned}).random(np.random.default_rng(0), SHAPES)


@pytest.mark.parametrize("whole", [SETS[0], SETS[2]])
def test_a_corruption_outside_the_named_tensors_is_not_in_the_set(whole: TensorSet) -> None:
    zero = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    assert whole.contains(zero | {"other": np.zeros(2)})
    assert not whole.contains(zero | {"other": np.ones(2)})


def test_missing_and_misshapen_tensors_are_named() -> None:
    whole = Global(("w", "b"), LpL0(2, 1.0))
    with pytest.raises(ConstraintError, match="tensor 'b' is missing, given are w"):
        whole.argmax({"w": np.ones(2)})
    with pytest.raises(ConstraintError, match=r"tensor 'w' has shape \(3,\), it must have \(2,\)"):
        Layout.of({"w": np.ones(2)}).flatten({"w": np.ones(3)})


def test_empty_and_repeated_names_are_refused() -> None:
    with pytest.raises(ConstraintError, match="covers 0 tensors"):
        PerTensor({})
    with pytest.raises(ConstraintError, match="tensor 'w' is named twice"):
        Global(("w", "w"), LpL0(2, 1.0))


def test_sets_over_tensors_are_values() -> None:
    assert PerTensor({"w": LpL0(2, 1.0)}) == PerTensor({"w": LpL0(2, 1.0)})
    assert hash(PerTensor({"w": LpL0(2, 1.0)})) == hash(PerTensor({"w": LpL0(2, 1.0)}))
    assert Global(("w",), LpL0(2, 1.0)) == Global(("w",), LpL0(2, 1.0))
    assert Global(("w",), LpL0(2, 1.0)) != Global(("b",), LpL0(2, 1.0))
    assert SETS[0].dense() == PerTensor({"w": LpL0(2, 0.5), "b": LpL0(math.inf, 0.1)})
    assert SETS[2].each() == Global(("w", "b"), LpL0(math.inf, 0.5))


@pytest.mark.parametrize("whole", SETS)
@given(seed=st.integers(0, 2**32), factor=st.floats(1e-3, 1e3))
def test_a_scaled_set_holds_the_scaled_corruptions_of_a_set_without_a_box(
    whole: TensorSet, seed: int, factor: float
) -> None:
    point = whole.random(np.random.default_rng(seed), SHAPES)
    boxed = any(one.high is not None for _, one in whole.blocks)
    assert whole.scaled(factor).contains({name: factor * one for name, one in point.items()}) or (boxed and factor > 1)
    assert whole.scaled(factor).indicator(tensors(seed)) >= min(factor, 1) * whole.indicator(tensors(seed)) * (1 - 1e-9)


@pytest.mark.parametrize("whole", SETS)
def test_a_limited_set_moves_that_many_numbers_for_each_budget(whole: TensorSet) -> None:
    best = whole.limited(1).argmax(tensors(0))
    assert sum(int(np.count_nonzero(one)) for one in best.values()) == len(whole.blocks)
