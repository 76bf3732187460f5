"""What a curve keeps and tells: of layers without a set, of values that are refused, and of codes that round."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_nets
from linear import QUICK, attacked, numbers, two_classes
from onnx import TensorProto, helper

import faultsim
from faultsim.attacks import Ball, Curve, Search
from faultsim.attacks import curve as module
from faultsim.device import Conditions
from faultsim.engine.evaluate import Scorer
from faultsim.errors import OptionError
from faultsim.model import Model

SHORT = Search(gradients=6, trials=3, certify=False)


def test_a_layer_for_which_a_device_has_no_set_loses_no_curve(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = {"w1": rng.normal(size=(200, 4)).astype(np.float32), "w2": rng.normal(size=(4, 2)).astype(np.float32)}
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["h"], "first"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2"], ["y"], "second"),
    ]
    shapes = {"inputs": {"x": (TensorProto.FLOAT, ("N", 200))}, "outputs": {"y": (TensorProto.FLOAT, ("N", 2))}}
    x = rng.normal(size=(40, 200)).astype(np.float32)
    data = {"x": x, "labels": (np.maximum(x @ weights["w1"], 0) @ weights["w2"]).argmax(1)}
    result = attacked(
        tmp_path,
        tiny_nets.model(nodes, weights, **shapes),
        data,
        device="sram_low_voltage",
        curve=Curve(start=0.1, stop=10, points=2, per_layer=True),
        options=replace(QUICK, conditions=Conditions(v_norm=0.9)),
        search=SHORT,
    )
    assert len(result.curve.points) == 2
    assert [one.name for one in result.curve.radii] == ["all", "first"]
    (note,) = [note for note in result.notes if note.startswith("second has no critical radius: ")]
    assert "gives no set of corruptions to search" in note


def test_a_value_that_a_method_cannot_search_is_refused_before_the_first(tmp_path: Path) -> None:
    told: list[str] = []
    with pytest.raises(OptionError, match="--method exhaustive would score more than 200,000 corners"):
        attacked(
            tmp_path,
            tiny_nets.dense(),
            tiny_nets.samples(20),
            ball=Ball(p=math.inf, eps=0.1),
            curve=Curve(over="n", start=1, stop=8, points=3),
            options=replace(QUICK, sites=("second.weight",)),
            search=Search(methods=("exhaustive",), trials=2, gradients=3),
            progress=lambda phase, done, total: told.append(phase),
        )
    assert set(told) == {"load and check"}


def test_a_curve_stays_in_its_sets_and_tells_where_codes_round_to_nothing() -> None:
    """Of 0.55 of a step nothing is left; 1.55 steps are one, for rounded to two they would leave the set."""
    model = faultsim.load_model(faultsim.library.find_model("digits_int8"))
    step = min(float(np.max(one.scale)) for one in model.select(("weight",)))
    given = {"options": replace(QUICK, limit=30, sites=("fc.weight_quantized",)), "search": SHORT}
    assert float(np.max(model.site("fc.weight_quantized").scale)) == step
    curve = Curve(start=0.55 * step, stop=1.55 * step, points=2)
    result = faultsim.attack("digits_int8", ball=Ball(p=math.inf), curve=curve, **given)
    assert not [note for note in result.notes if "times as large" in note]
    (none,) = [note for note in result.notes if "rounds to no change" in note]
    assert f"The set at eps = {0.55 * step:g} is finer than the stored numbers" in none
    one = faultsim.attack("digits_int8", ball=Ball(p=math.inf, eps=1.55 * step), **given)
    assert one.deployed_size is not None
    assert 1 / 1.55 < one.deployed_size <= 1 + 1e-6  # some channels have smaller steps


def test_critical_radii_of_codes_are_of_corruptions_in_the_set() -> None:
    given = {"options": replace(QUICK, limit=30), "search": SHORT, "roles": ("weight",)}
    curve = Curve(start=0.0005, stop=0.002, points=2)
    result = faultsim.attack("digits_int8", ball=Ball(p=math.inf), curve=curve, **given)
    (radius,) = result.curve.radii
    model = faultsim.load_model(faultsim.library.find_model("digits_int8"))
    steps = np.concatenate([np.ravel(one.scale) for one in model.select(("weight",))])
    assert radius.worst >= steps.min() * (1 - 1e-5)  # below it nothing moves, and half a step is no step
    assert not [note for note in result.notes if "at the critical radius of" in note]
    assert [note for note in result.notes if note.endswith("they are upper bounds of the true ones.")]


def test_critical_radii_are_searched_on_the_search_samples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from faultsim.attacks import curve

    plain, seen = curve.find, []

    def find(prepared: Any, *given: Any, phase: str = "", **more: Any) -> Any:
        if phase == "critical radius":
            seen.append(prepared.search.data.source)
        return plain(prepared, *given, phase=phase, **more)

    monkeypatch.setattr(curve, "find", find)
    other = tmp_path / "search.npz"
    np.savez(other, **{name: array[:20] for name, array in tiny_nets.samples().items()})
    result = attacked(
        tmp_path,
        tiny_nets.dense(),
        tiny_nets.samples(40),
        ball=Ball(),
        curve=Curve(start=0.1, stop=1, points=2),
        search_data=other,
        options=QUICK,
        search=SHORT,
    )
    assert seen
    assert {str(source) for source in seen} == {str(other)}
    (note,) = [note for note in result.notes if note.startswith("Critical radii are searched on ")]
    assert "on 20 other samples (search.npz), and the accuracy is judged on those of --data" in note


def test_a_layer_alone_may_move_as_many_numbers_as_it_has_where_all_share(tmp_path: Path) -> None:
    proto = tiny_nets.dense()
    sizes = {name: values.size for name, values in numbers(proto).items()}
    assert (sizes["first.weight"], sizes["first.bias"]) == (48, 8)  # two tensors of one layer: 56 numbers
    x = tiny_nets.samples()["x"]
    made = numbers(proto)
    labels = (np.tanh(x @ made["first.weight"].T + made["first.bias"]) @ made["second.weight"].T).argmax(1)
    seen: dict[str, int | None] = {}
    from faultsim.attacks import phases

    plain = phases.asked

    def asked(stored, ball):
        seen[",".join(stored)] = ball.n
        return plain(stored, ball)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(phases, "asked", asked)
        attacked(
            tmp_path,
            proto,
            {"x": x, "labels": labels},
            ball=Ball(n=60, scope="global"),
            curve=Curve(start=0.1, stop=1, points=2, per_layer=True),
            search=Search(gradients=2, trials=1),
        )
    assert seen["first.weight,first.bias"] == 56
    assert seen["second.weight"] == 32


def test_a_curve_alone_is_of_the_radius_one() -> None:
    given = {"curve": Curve(start=0.1, stop=1, points=2), "options": replace(QUICK, limit=10)}
    search = Search(gradients=2, trials=2)
    alone = faultsim.attack("digits", search=search, **given)
    assert alone.curve == faultsim.attack("digits", ball=Ball(), search=search, **given).curve
    with pytest.raises(OptionError, match="nothing to search: give --p and --eps"):
        faultsim.attack("digits", curve=Curve(over="n", start=1, stop=4), options=QUICK)


def test_what_a_curve_took_is_what_the_network_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = {"gradient": 0, "score": 0}

    def counted(name: str, asked: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *given: Any, **more: Any) -> Any:
            found = asked(self, *given, **more)
            taken[name] += 1
            return found

        return call

    monkeypatch.setattr(Model, "gradient", counted("gradient", Model.gradient))
    monkeypatch.setattr(Scorer, "score", counted("score", Scorer.score))
    proto, data = two_classes()
    search = Search(gradients=5, trials=2)
    result = attacked(tmp_path, proto, data, ball=Ball(), curve=Curve(start=0.01, stop=1, points=2), search=search)
    assert result.curve.radii
    assert taken == {"gradient": result.gradients, "score": pytest.approx(result.forwards, abs=2)}


def test_losses_that_a_task_has_not_cost_no_gradient(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken = [0]
    asked = Model.gradient

    def gradient(self: Any, *given: Any, **more: Any) -> Any:
        found = asked(self, *given, **more)
        taken[0] += 1
        return found

    monkeypatch.setattr(Model, "gradient", gradient)
    proto, data = two_classes()
    data["labels"] = np.random.default_rng(0).normal(size=(len(data["x"]), 2)).astype(np.float32)
    result = attacked(tmp_path, proto, data, ball=Ball(eps=0.3), search=Search(gradients=6, trials=2))
    assert result.gradients == taken[0] > 0


def test_what_breaks_a_layer_breaks_all_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A search of all tensors may do worse than that of a layer, whose corruption is one of all tensors too."""
    proto, data = two_classes(n=80)
    plain = module.critical_radius

    def blunt(search: Any, keep: float, **limits: Any) -> Any:
        found = plain(search, keep, **limits)
        calls.append(found)
        return found._replace(found=4 * found.found) if len(calls) == 1 else found

    for ball, nested in ((Ball(eps=1.0), True), (Ball(eps=1.0, relative="norm", scope="global"), False)):
        calls: list[Any] = []
        monkeypatch.setattr(module, "critical_radius", blunt)
        curve = Curve(start=0.1, stop=1, points=2, per_layer=True, keep=0.9)
        result = attacked(tmp_path, proto, data, ball=ball, curve=curve, search=SHORT)
        whole, layer = result.curve.radii
        assert (whole.worst == layer.worst) is nested
        assert (whole.holds < whole.worst) or not nested
