"""What a memory holds of a corruption: codes that keep it in its set, and floats that saturate."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from faultsim.constraints import Global, LpL0, PerTensor, TensorSet
from faultsim.corruption import Site, Stored
from faultsim.engine.settle import settle, settle_within
from faultsim.formats import FloatFormat, IntFormat, NumberFormat

CODES = IntFormat(8, dtype="int8")


def stored(values: np.ndarray, form: NumberFormat, name: str = "w") -> Stored:
    site = Site(name=name, shape=values.shape, format=form, kind="linear", role="weight", layer=name, depth=0.0)
    return Stored(site, form, values)


def moved(tensors: Mapping[str, Stored], held: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: held[name].astype(np.float64) - one.values.astype(np.float64) for name, one in tensors.items()}


@pytest.mark.parametrize("shared", [True, False], ids=["global", "each"])
@pytest.mark.parametrize("p", [1.0, 1.5, 2.0, 30.0, math.inf])
def test_codes_keep_a_corruption_in_its_set_and_change_nothing_that_rounds_inside(p: float, shared: bool) -> None:
    rng = np.random.default_rng(0)
    inside = outside = 0
    for _ in range(60):
        steps = rng.uniform(0.01, 2, (4, 1))
        form = IntFormat(8, scale=steps)
        tensors = {
            "a": stored((rng.integers(-128, 128, (4, 5)) * np.asarray(form.scale)).astype(np.float32), form, "a"),
            "b": stored(rng.integers(-128, 128, (4, 3)).astype(np.int8), CODES, "b"),
            "c": stored(rng.standard_normal((2, 2)).astype(np.float32), FloatFormat("float32"), "c"),
        }
        shapes = {name: one.values.shape for name, one in tensors.items()}
        eps, n = 10 ** rng.uniform(-1, 2), None if rng.random() < 0.5 else 3
        whole: TensorSet
        if shared:
            whole = Global(tuple(tensors), LpL0(p, eps, n=n, scale=rng.uniform(0.1, 2, 36), low=-3.3, high=2.7))
        else:
            whole = PerTensor(
                {name: LpL0(p, eps, n=n, scale=rng.uniform(0.1, 2, (shape[0], 1))) for name, shape in shapes.items()}
            )
        delta = whole.random(rng, shapes)
        found = moved(tensors, settle_within(tensors, whole, delta))
        assert whole.contains(found, rtol=1e-4)
        nearest = moved(tensors, {name: settle(tensors[name], change) for name, change in delta.items()})
        if whole.contains(nearest):
            inside += 1
            assert all(np.array_equal(found[name], nearest[name]) for name in found)
        outside += not whole.contains(nearest, rtol=1e-4)
    assert outside > 5
    assert inside > (0 if shared else -1)


@pytest.mark.parametrize("kind", ["float16", "bfloat16", "float8_e4m3fn", "float8_e5m2fnuz", "float4_e2m1fn"])
@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_narrow_floats_keep_a_corruption_in_its_set(kind: str, p: float) -> None:
    rng = np.random.default_rng(0)
    form = FloatFormat(kind)
    left = 0
    for _ in range(40):
        clean = form.decode(form.encode(rng.normal(size=(6, 5)) * rng.choice([0.01, 1, 30])))
        tensors = {"w": stored(clean, form)}
        whole = Global(("w",), LpL0(p, 10 ** rng.uniform(-4, 1)))
        delta = whole.random(rng, {"w": (6, 5)})
        found = settle_within(tensors, whole, delta)
        assert np.array_equal(form.decode(form.encode(found["w"])), found["w"])  # numbers of the format
        assert whole.contains(moved(tensors, found), rtol=1e-5)
        nearest = settle(tensors["w"], delta["w"])
        if whole.contains(moved(tensors, {"w": nearest}), rtol=1e-7):
            assert np.array_equal(nearest, found["w"])
        else:
            left += 1
            assert (np.abs(found["w"] - clean) <= np.abs(nearest - clean)).all()
    assert left > 3


def test_a_step_that_no_number_may_take_is_not_taken() -> None:
    tensors = {"w": stored(np.zeros(4, np.int8), CODES)}
    found = settle_within(tensors, Global(("w",), LpL0(math.inf, 1.51)), {"w": np.array([1.51, -1.51, 0.6, 0.4])})
    assert found["w"].tolist() == [1, -1, 1, 0]


def test_those_that_were_rounded_up_by_most_go_back_first() -> None:
    tensors = {"w": stored(np.array([0, 10, -10, 0], np.int8), CODES)}
    delta = np.array([0.9, -0.6, 0.7, 0.8])  # of norm 1.52: two whole steps fit
    found = settle_within(tensors, Global(("w",), LpL0(2, 1.52)), {"w": delta})
    assert found["w"].tolist() == [1, 10, -10, 1]


def test_float16_saturates_where_a_cast_would_be_infinite() -> None:
    one = stored(np.zeros(3, np.float16), FloatFormat("float16"))
    assert settle(one, np.array([1e6, -1e6, 1.0])).tolist() == [65504.0, -65504.0, 1.0]


def test_float32_saturates_too() -> None:
    one = stored(np.zeros(3, np.float32), FloatFormat("float32"))
    largest = np.finfo(np.float32).max
    assert settle(one, np.array([1e39, -1e300, 1.0])).tolist() == [largest, -largest, 1.0]
