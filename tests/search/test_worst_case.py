"""Laws of the frame: feasible, deterministic, counted, honest about what is not finite."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pytest
from numpy.typing import NDArray

from faultsim.constraints import Global, LpL0, PerTensor, TensorSet
from faultsim.errors import ConstraintError, OptionError
from faultsim.search import (
    FixedPoint,
    Gradient,
    Greedy,
    Loss,
    Method,
    OneStep,
    Probe,
    ProjectedGradient,
    RandomPoints,
    Score,
    Swap,
    Vertices,
    methods_for,
    worst_case,
)

Delta = Mapping[str, NDArray[np.float64]] | None
SHAPES = {"w": (4, 3), "b": (5,)}
METHODS: list[Method] = [
    OneStep(),
    OneStep(loss="margin"),
    RandomPoints(5),
    FixedPoint(),
    FixedPoint(loss="margin"),
    ProjectedGradient(steps=8),
    Greedy(candidates=4),
    Swap(),
    Vertices(candidates=6),
]
SETS: list[TensorSet] = [
    Global(("w", "b"), LpL0(2, 0.5)),
    Global(("b", "w"), LpL0(math.inf, 0.5, 4)),
    Global(("w", "b"), LpL0(1, 0.5)),
    Global(("w",), LpL0(3, 0.5, 2)),
    PerTensor({"w": LpL0(2, 0.5, 3, scale=np.full((4, 3), 2.0)), "b": LpL0(math.inf, 0.1, 2, low=-0.05)}),
    PerTensor({"w": LpL0(1, 0.5), "b": LpL0(1, 0.1, scale=np.arange(5.0))}),
]


@dataclass
class Bowl:
    """loss = g·a + ½ a·H a, accuracy falling with it; infinite where an element moves beyond *cliff*."""

    seed: int = 0
    curvature: float = 1.0
    cliff: float = math.inf
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        root = rng.standard_normal((17, 17))
        self.slope, self.hessian = rng.standard_normal(17), self.curvature * root @ root.T / 17

    def flat(self, delta: Delta) -> NDArray[np.float64]:
        zero = {name: np.zeros(shape) for name, shape in SHAPES.items()}
        whole = zero | dict(delta or {})
        return np.concatenate([whole[name].reshape(-1) for name in SHAPES])

    def gradient(self, delta: Delta, loss: Loss) -> Gradient:
        self.calls.append("gradient")
        a = self.flat(delta)
        slope = self.slope + self.hessian @ a
        value = float(self.slope @ a + a @ self.hessian @ a / 2) if np.abs(a).max() < self.cliff else math.inf
        return Gradient(value, {"w": slope[:12].reshape(4, 3), "b": slope[12:]})

    def score(self, delta: Delta) -> Score:
        self.calls.append("score")
        a = self.flat(delta)
        if np.abs(a).max() >= self.cliff:
            return Score(math.inf, math.nan, 0.0, 3)
        loss = float(self.slope @ a + a @ self.hessian @ a / 2)
        return Score(loss, loss, float(np.round(1 / (1 + math.exp(loss)), 2)))


@pytest.mark.parametrize("whole", SETS, ids=str)
@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.name)
def test_every_method_on_every_set_is_feasible_deterministic_and_counted(method: Method, whole: TensorSet) -> None:
    first, again = Bowl(), Bowl()
    methods: list[Method] = [method]
    found = worst_case(first, whole, methods=methods, budget_gradients=20, seed=3)
    same = worst_case(again, whole, methods=methods, budget_gradients=20, seed=3)
    assert whole.contains(found.delta)
    assert whole.contains(found.least_accurate.delta)
    assert found.trace == same.trace
    assert all(np.array_equal(found.delta[name], same.delta[name]) for name in whole.names)
    assert found.gradients == first.calls.count("gradient") <= 20
    assert found.forwards == first.calls.count("score") == len(found.trace) + 1
    assert found.score == Bowl().score(found.delta)
    assert found.score.loss == max(0.0, *(row.loss for row in found.trace))
    assert found.least_accurate.score.accuracy == min(0.5, *(row.accuracy for row in found.trace))


@pytest.mark.parametrize("whole", SETS, ids=str)
def test_on_a_linear_loss_one_step_is_the_worst_and_equals_the_indicator(whole: TensorSet) -> None:
    found = worst_case(Bowl(curvature=0.0), whole)
    assert found.score.loss == pytest.approx(found.indicator, rel=1e-9)
    assert max(row.loss for row in found.trace if row.method == "one_step") == pytest.approx(found.score.loss)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("eps", [0.5, 3.0])
def test_on_a_curved_ball_fixed_point_reaches_the_trust_region_optimum(seed: int, eps: float) -> None:
    bowl = Bowl(seed=seed)
    found = worst_case(bowl, Global(("w", "b"), LpL0(2, eps)), methods=[FixedPoint(steps=200)], budget_gradients=900)
    values, vectors = np.linalg.eigh(bowl.hessian)
    low, high = values[-1], values[-1] + np.linalg.norm(bowl.slope) / eps + 1
    for _ in range(200):  # maximise g·a + ½ aHa on the sphere: (λI - H) a = g with λ above the largest eigenvalue
        middle = (low + high) / 2
        size = np.linalg.norm((vectors.T @ bowl.slope) / (middle - values))
        low, high = (middle, high) if size > eps else (low, middle)
    best = vectors @ ((vectors.T @ bowl.slope) / (high - values))
    assert found.score.loss == pytest.approx(bowl.slope @ best + best @ bowl.hessian @ best / 2, rel=1e-4)


def test_greedy_and_swap_find_the_best_support_of_a_curved_loss() -> None:
    for seed in range(5):
        bowl = Bowl(seed=seed, curvature=5.0)
        whole = Global(("w", "b"), LpL0(math.inf, 1.0, 2))
        best = -math.inf
        for i in range(17):
            for j in range(i):
                for one in (1, -1):
                    for two in (1, -1):
                        a = np.zeros(17)
                        a[i], a[j] = one, two
                        best = max(best, float(bowl.slope @ a + a @ bowl.hessian @ a / 2))
        assert worst_case(bowl, whole).score.loss >= 0.85 * best


class Tilted(Bowl):
    """A linear loss that one tensor raises far more than the other."""

    def __post_init__(self) -> None:
        self.slope, self.hessian = np.concatenate((np.linspace(10, 11, 12), np.ones(5))), np.zeros((17, 17))


@pytest.mark.parametrize("gradients", [1, 2, 60])
@pytest.mark.parametrize("p", [math.inf, 2.0])
def test_greedy_fills_every_budget_and_equals_one_step_on_a_linear_loss(p: float, gradients: int) -> None:
    whole = PerTensor({"w": LpL0(p, 1.0, 3), "b": LpL0(p, 1.0, 3)})
    best, found = (
        worst_case(Tilted(), whole, methods=[method], budget_gradients=gradients).score.loss
        for method in (OneStep(), Greedy(candidates=4))
    )
    assert found >= best * (1 - 1e-12)


def test_swap_alone_starts_from_the_one_step_attack() -> None:
    bowl = Bowl(curvature=5.0)
    found = worst_case(bowl, SETS[1], methods=[Swap()])
    assert found.method == "swap"
    assert found.score.loss >= worst_case(bowl, SETS[1], methods=[OneStep()]).score.loss


def test_restarts_of_projected_gradient_take_the_gradients_that_are_left() -> None:
    def ran(gradients: int, restarts: int) -> tuple[int, tuple[str, ...]]:
        methods = [ProjectedGradient(steps=30)]
        found = worst_case(Bowl(), SETS[0], methods=methods, budget_gradients=gradients, restarts=restarts)
        return found.gradients, found.missed

    assert ran(30, 0) == (30, ())
    assert ran(39, 1) == (30, ("projected_gradient",))
    assert ran(45, 1) == (45, ())
    assert ran(90, 2) == (90, ())


def test_a_candidate_that_is_not_finite_is_counted_and_never_the_largest_loss() -> None:
    found = worst_case(Bowl(cliff=0.3), Global(("w", "b"), LpL0(math.inf, 0.5)), restarts=1)
    assert found.nonfinite == sum(row.nonfinite > 0 for row in found.trace) > 0
    assert math.isfinite(found.score.loss)
    assert found.least_accurate.score == Score(math.inf, found.least_accurate.score.margin, 0.0, 3)
    assert found.least_accurate.score.nonfinite == 3


class Dead(Bowl):
    """A network whose clean gradient is zero."""

    def gradient(self, delta: Delta, loss: Loss) -> Gradient:
        got = super().gradient(delta, loss)
        return got if delta else Gradient(got.loss, {name: 0 * grad for name, grad in got.grads.items()})


class Broken(Bowl):
    """A network whose every gradient and score is NaN."""

    def gradient(self, delta: Delta, loss: Loss) -> Gradient:
        return Gradient(math.nan, {name: grad * math.nan for name, grad in super().gradient(delta, loss).grads.items()})

    def score(self, delta: Delta) -> Score:
        return Score(math.nan, math.nan, 0.0, 10)


@pytest.mark.parametrize("whole", SETS, ids=str)
def test_a_zero_gradient_leaves_the_random_starts(whole: TensorSet) -> None:
    found = worst_case(Dead(), whole)
    assert found.indicator == 0.0
    assert found.score.loss > 0


@pytest.mark.parametrize("whole", SETS, ids=str)
def test_a_network_that_is_not_finite_at_all_gives_no_worst_case(whole: TensorSet) -> None:
    found = worst_case(Broken(), whole)
    assert math.isnan(found.indicator)
    assert found.method == "none"
    assert found.nonfinite == len(found.trace)
    assert not any(array.any() for array in found.delta.values())


def test_a_budget_of_no_radius_changes_nothing() -> None:
    found = worst_case(Bowl(), Global(("w", "b"), LpL0(math.inf, 0.0, 2)))
    assert found.score.loss == 0.0
    assert found.method == "none"


@pytest.mark.parametrize("p", [1.0, 2.0, math.inf])
def test_where_nothing_can_move_there_is_no_worst_case(p: float) -> None:
    pinned = LpL0(p, 1.0, 2, scale=0.0)
    for whole in (
        Global(("w", "b"), pinned),
        PerTensor({"w": pinned}),
        Global(("w",), LpL0(p, 1.0, low=0, high=0)),
    ):
        found = worst_case(Bowl(), whole)
        assert found.method == "none"
        assert found.indicator == 0.0


def test_a_pinned_tensor_leaves_the_others_their_worst_case() -> None:
    found = worst_case(Bowl(), PerTensor({"w": LpL0(2, 1.0, scale=0.0), "b": LpL0(2, 1.0)}))
    assert found.score.loss > 0
    assert not found.delta["w"].any()


@pytest.mark.parametrize("forwards", [1, 2, 7])
def test_the_budget_of_forward_passes_holds(forwards: int) -> None:
    assert worst_case(Bowl(), SETS[0], budget_forwards=forwards).forwards == forwards


@pytest.mark.parametrize("gradients", [1, 2, 5, 11])
@pytest.mark.parametrize("whole", SETS, ids=str)
def test_the_budget_of_gradients_holds(gradients: int, whole: TensorSet) -> None:
    assert worst_case(Bowl(), whole, budget_gradients=gradients).gradients <= gradients


def test_the_methods_suit_the_set() -> None:
    def names(whole: TensorSet, elements: int) -> set[str]:
        return {method.name for method in methods_for(whole, elements)}

    assert "vertices" in names(Global(("w",), LpL0(1, 1.0)), 100)
    assert {"greedy", "swap"} <= names(Global(("w",), LpL0(2, 1.0, 10)), 100)
    assert "projected_gradient_errors" in names(Global(("w",), LpL0(2, 1.0, 90)), 100)
    assert "projected_gradient_errors" in names(PerTensor({"w": LpL0(2, 1.0, 1), "b": LpL0(2, 1.0)}), 100)


def test_options_out_of_range_and_unknown_tensors_are_refused() -> None:
    with pytest.raises(OptionError, match="budget_gradients is 0, it must be at least 1"):
        worst_case(Bowl(), SETS[0], budget_gradients=0)
    with pytest.raises(OptionError, match="budget_forwards is 0, it must be at least 1"):
        worst_case(Bowl(), SETS[0], budget_forwards=0)
    with pytest.raises(OptionError, match="restarts is -1, it must be at least 0"):
        worst_case(Bowl(), SETS[0], restarts=-1)
    with pytest.raises(ConstraintError, match="tensor 'z' is missing, given are b, w"):
        worst_case(Bowl(), Global(("z",), LpL0(2, 1.0)))


def test_a_proposal_outside_the_set_is_projected_before_it_is_scored() -> None:
    probe = Probe(Bowl(), SETS[0])
    assert SETS[0].contains(probe.score({"w": np.full((4, 3), 9.0), "b": np.ones(5)}).delta)
