"""Proofs of a radius, held to what was found: no radius is proven that something found refutes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from linear import QUICK, attacked, two_classes

from faultsim.attacks import Ball, Curve, Search
from faultsim.attacks import proof as module
from faultsim.attacks.proof import refuted
from faultsim.certify import Certificate, certify
from faultsim.search.radius import CriticalRadius, Evaluation

PROVED = Search(gradients=12, trials=5, certify=True)


@pytest.mark.parametrize(
    ("eps", "accuracy", "sound"), [(0.3, 0.95, True), (0.4, 0.95, False), (0.5, 0.89, True), (0.25, 0.99, False)]
)
def test_a_proof_of_a_radius_that_was_broken_is_refuted(eps: float, accuracy: float, sound: bool) -> None:
    found = (Evaluation(0.2, 0.97), Evaluation(0.4, 0.85), Evaluation(0.5, 0.88))
    critical = CriticalRadius(eps, 0.2, 0.4, 0.9, (*found[:2],), (Evaluation(0.1, 0.97), Evaluation(eps, accuracy)))
    if accuracy == 0.89:  # below the level: it does not say that the radius holds, but more than was found there
        critical = critical._replace(evaluations=found[:1])
    assert (refuted(critical) == "") is sound


def test_a_curve_drops_a_proven_radius_at_which_the_accuracy_was_broken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    proto, data = two_classes(n=200)

    def asked() -> Any:
        return attacked(
            tmp_path,
            proto,
            data,
            ball=Ball(p=2, eps=1.0),
            curve=Curve(start=0.05, stop=2.0, points=3, keep=0.9, per_layer=True),
            search=PROVED,
            options=replace(QUICK, limit=100),
        )

    right = asked()
    for one in right.curve.radii:
        assert 0 < one.proven < one.worst
    assert not any("No radius is proven" in note for note in right.notes)

    def wrong(*given: Any, **named: Any) -> Certificate:
        return replace(certify(*given, **named), accuracy_lower=1.0, loss_increase_upper=0.0)

    monkeypatch.setattr(module, "certify", wrong)
    found = asked()
    assert [one.worst for one in found.curve.radii] == [one.worst for one in right.curve.radii]
    assert [one.proven for one in found.curve.radii] == [None] * len(right.curve.radii)
    assert any("No radius is proven: the search found more than the bounds allow" in note for note in found.notes)


def test_what_is_bounded_is_held_to_what_is_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The deployed outputs come from the runner that scores, here onnxruntime, and not from the model's own ops."""
    proto, data = two_classes()
    seen: list[Any] = []

    def watched(*given: Any, deployed: Any, **named: Any) -> Certificate:
        def off(feeds: Any) -> Any:
            seen.append(deployed(feeds))
            return seen[-1] + 0.01

        return certify(*given, deployed=off, **named)

    monkeypatch.setattr(module, "certify", watched)
    result = attacked(tmp_path, proto, data, ball=Ball(p=2, eps=1e-3), search=PROVED)
    assert sum(map(len, seen)) == len(data["x"])
    assert not result.certificate.proven
    assert "away from the deployed one's" in result.certificate.why_not


def test_weights_in_analog_cells_have_proofs_as_floats_have(tmp_path: Path) -> None:
    proto, data = two_classes(n=100)
    given: dict[str, Any] = {"ball": Ball(p=2, eps=0.05), "search": PROVED, "options": replace(QUICK, limit=100)}
    found = attacked(tmp_path, proto, data, device="reram", **given)
    assert found.certificate.proven, found.certificate.why_not
    assert found.worst.accuracy >= found.certificate.accuracy > 0.5
    assert 0 < found.worst.loss_change <= found.certificate.loss_change <= 1.5 * found.worst.loss_change
