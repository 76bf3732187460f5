"""Curves and critical radii: against a closed form, and the laws that every curve obeys."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_nets
from linear import QUICK, attacked, numbers, two_classes, with_numbers

import faultsim
from faultsim.attacks import Ball, Curve, Search
from faultsim.attacks import curve as module
from faultsim.errors import OptionError

SHORT = Search(gradients=12, trials=5)


@pytest.mark.parametrize("certify", [True, None])
def test_the_critical_radius_of_a_bias_is_half_a_margin(tmp_path: Path, certify: bool | None) -> None:
    """A bias moved by ±eps on two classes changes a sample's margin by at most 2 eps, one class at a time."""
    proto, data = two_classes(n=200)
    logits = data["x"] @ numbers(proto)["w"] + numbers(proto)["b"]
    half = np.abs(logits[:, 0] - logits[:, 1]) / 2
    keep = 0.9
    fall = math.floor((1 - keep) * 200 + 1e-9) + 1  # so many wrong answers break the level
    exact = min(np.sort(half[data["labels"] == c])[fall - 1] for c in (0, 1) if (data["labels"] == c).sum() >= fall)
    result = attacked(
        tmp_path,
        proto,
        data,
        ball=Ball(p=math.inf, eps=exact / 4),
        curve=Curve(start=exact / 10, stop=exact * 10, points=5, keep=keep),
        search=replace(SHORT, certify=certify),
        options=replace(QUICK, sites=("b",)),
    )
    (found,) = result.curve.radii
    assert found.name == "all"
    assert exact * (1 - 1e-5) <= found.worst <= exact * 1.03
    assert found.holds <= exact
    assert found.safety_factor == pytest.approx(found.worst / (exact / 4))
    assert found.random_over_worst == pytest.approx(found.random / found.worst)
    assert found.random >= found.worst  # a random one has the same size and no aim
    if certify:
        assert exact / 3 <= found.proven <= exact
    else:
        assert found.proven is None


def test_a_larger_set_does_at_least_as_much_damage() -> None:
    for over, start, stop, ball in (
        ("eps", 0.05, 2.0, None),
        ("n", 1, 60, Ball(p=math.inf, eps=0.3)),
    ):
        curve = Curve(over=over, start=start, stop=stop, points=2)
        result = faultsim.attack(
            "digits", ball=ball or Ball(), curve=curve, options=replace(QUICK, limit=40), search=SHORT
        )
        points = result.curve.points
        assert [point.value for point in points] == sorted(point.value for point in points)
        accuracies = [point.worst.accuracy for point in points]
        losses = [point.largest.loss for point in points]
        assert accuracies == sorted(accuracies, reverse=True)
        assert losses == sorted(losses)
        for point in points:
            assert point.worst.accuracy <= point.random.min
            assert point.largest.loss >= point.random.loss_max
        on_points = sum(point.gradients for point in points)
        assert on_points <= 12 * len(points)
        assert result.gradients > on_points if over == "eps" else result.gradients == on_points  # the radii's beside
        assert bool(result.curve.radii) == (over == "eps")
        assert result.set.eps == (None if over == "eps" else 0.3)


def test_theorem_1_stands_beside_the_curve(tmp_path: Path) -> None:
    """For one L2 ball over k numbers the worst is eps |g|, and the best of N its share of it."""
    from faultsim.constraints import expected_best_share, log10_trials_for_even_chance

    proto, data = tiny_nets.dense(), tiny_nets.samples()
    result = attacked(
        tmp_path,
        proto,
        data,
        ball=Ball(scope="global"),
        curve=Curve(start=0.01, stop=0.04, points=2),
        search=SHORT,
    )
    one, two = result.curve.points
    assert two.first_order == pytest.approx(4 * one.first_order)
    k = 8 * 6 + 8 + 4 * 8
    assert one.first_order_random == pytest.approx(one.first_order * expected_best_share(k, 5), rel=1e-6)
    assert one.forecast_log10_trials == pytest.approx(log10_trials_for_even_chance(0.5, k))
    assert one.largest.loss_change == pytest.approx(one.first_order, rel=0.05)  # a small radius is nearly linear


def test_the_critical_radius_is_no_larger_than_what_the_curve_breaks_at(tmp_path: Path, monkeypatch) -> None:
    """The search for the radius is the weaker one: here it finds nothing at all."""
    monkeypatch.setattr(module, "RADIUS_SEARCH", Search(methods=("random",), gradients=1, restarts=0))
    proto, data = two_classes()
    curve = Curve(start=0.3, stop=3, points=4, keep=0.8)
    result = attacked(tmp_path, proto, data, ball=Ball(n=2), curve=curve, search=SHORT)
    broken = min(point.value for point in result.curve.points if point.worst.accuracy < 0.8)
    (found,) = result.curve.radii
    assert found.holds < found.worst <= broken


def test_a_layer_of_zeros_is_left_out_and_the_others_stay(tmp_path: Path) -> None:
    bias = numbers(tiny_nets.dense())["first.bias"]
    proto = with_numbers(tiny_nets.dense(), "first.bias", np.zeros_like(bias))
    curve = Curve(start=0.1, stop=1, points=2, per_layer=True)
    options = replace(QUICK, sites=("first.bias", "second.weight"))
    ball = Ball(relative="rms")
    result = attacked(tmp_path, proto, tiny_nets.samples(), ball=ball, curve=curve, search=SHORT, options=options)
    assert len(result.curve.points) == 2
    assert "all" in [found.name for found in result.curve.radii]
    assert any("has no critical radius: every tensor under test is zero" in note for note in result.notes)


def test_why_no_radius_is_proven_is_told() -> None:
    options, curve = replace(QUICK, limit=20), Curve(start=0.1, stop=1, points=2)
    result = faultsim.attack("digits_int8", ball=Ball(relative="rms"), curve=curve, options=options,
                             search=replace(SHORT, certify=True))  # fmt: skip
    (found,) = result.curve.radii
    assert found.proven is None
    assert any(note.startswith("No radius is proven: ") and "rounded to a code" in note for note in result.notes)


def test_a_stopped_curve_keeps_its_points(tmp_path: Path) -> None:
    proto, data = two_classes()
    seen: list[str] = []
    result = attacked(
        tmp_path,
        proto,
        data,
        ball=Ball(),
        curve=Curve(points=5),
        search=SHORT,
        progress=lambda phase, done, total: seen.append(phase),
        stopped=lambda: seen.count("curve") > 2,
    )
    assert 1 <= len(result.curve.points) < 5
    assert result.stopped is not None
    assert result.curve.radii == ()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Curve(start=1, stop=0.5), "--from is 1 and --to 0.5"),
        (lambda: Curve(points=1), "--points is 1, it must be from 2 to 200"),
        (lambda: Curve(keep=1.5), "--keep is 1.5, it must be an accuracy"),
    ],
)
def test_options_out_of_range_are_refused(make, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        make()


def test_what_does_not_go_with_the_model_is_refused(tmp_path: Path) -> None:
    proto, data = two_classes()
    data["labels"][:10] = 1 - data["labels"][:10]
    with pytest.raises(OptionError, match=r"--keep is 0.95, and the model without faults has 0.8333; give less"):
        attacked(tmp_path, proto, data, ball=Ball(), curve=Curve(keep=0.95))
    with pytest.raises(OptionError, match="--to is 11, and at most 10 numbers can move"):
        attacked(tmp_path, proto, data, ball=Ball(eps=1), curve=Curve(over="n", start=1, stop=11))
    with pytest.raises(OptionError, match="-o writes one worst model, and --curve finds many"):
        attacked(tmp_path, proto, data, ball=Ball(), curve=Curve(), write=tmp_path / "worst.onnx")


@pytest.mark.parametrize("curve", [Curve(keep=0.5), Curve(per_layer=True)], ids=["keep", "per-layer"])
def test_a_radius_of_an_accuracy_is_refused_where_none_is_counted(tmp_path: Path, curve: Curve) -> None:
    data = {"x": tiny_nets.samples()["x"]}
    data["labels"] = np.random.default_rng(0).normal(size=(len(data["x"]), 4)).astype(np.float32)
    said = "is of critical radii, at which an accuracy breaks, and the task regression counts no correct answers"
    with pytest.raises(OptionError, match=said):
        attacked(tmp_path, tiny_nets.dense(), data, ball=Ball(), curve=curve, options=replace(QUICK, task="regression"))
