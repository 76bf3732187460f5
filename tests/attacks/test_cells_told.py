"""What an attack keeps and says: after Ctrl-C, of figures of each size, of outputs and files that hold no number."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_nets
from linear import QUICK, attacked, numbers, two_classes, with_numbers
from onnx import TensorProto, helper

import faultsim
from faultsim.attacks import Ball, Cells, Curve, ProbeOptions, Search
from faultsim.attacks import cells as module
from faultsim.attacks import write as writing
from faultsim.attacks.phases import _rounded
from faultsim.errors import DataError, ModelError, OptionError
from faultsim.report.attack_rows import cell_lines
from faultsim.results.attack import AttackResult
from faultsim.search.bits import worst_cells
from faultsim.search.bits.ledger import CellRow

SHORT = Search(gradients=10, forwards=400)


def stopped_at_certificate(folder: Path, **given: Any) -> AttackResult:
    """The result of a user who stops as soon as a certificate is tried."""
    proto, data = two_classes()
    told: list[str] = []
    return attacked(
        folder,
        proto,
        data,
        progress=lambda phase, done, total: told.append(phase),
        stopped=lambda: "certificate" in told,
        **given,
    )


def test_a_certificate_hears_that_the_user_stops(tmp_path: Path) -> None:
    result = stopped_at_certificate(tmp_path, ball=Ball(eps=1e-3), search=Search(gradients=2, trials=1, certify=True))
    assert result.worst is not None
    assert (result.certificate.proven, result.certificate.why_not) == (False, "the run was stopped before")
    assert result.stopped is not None


def test_critical_radii_that_are_stopped_say_no_wrong_proof(tmp_path: Path) -> None:
    curve, search = Curve(start=0.01, stop=1, points=2), Search(gradients=4, trials=2, certify=True)
    result = stopped_at_certificate(tmp_path, ball=Ball(), curve=curve, search=search)
    assert len(result.curve.points) == 2
    assert result.curve.radii == ()
    assert not any("No radius is proven" in note for note in result.notes)


def test_a_stopped_search_for_cells_scores_the_size_that_did_most(monkeypatch: pytest.MonkeyPatch) -> None:
    found = []

    def spied(*given, **more):
        found.append(worst_cells(*given, **more))
        return found[-1]

    monkeypatch.setattr(module, "worst_cells", spied)
    result = faultsim.attack(
        "digits_int8",
        cells=Cells(count=4),
        options=replace(QUICK, limit=100),
        search=SHORT,
        stopped=lambda: bool(found),
    )
    sizes = [one for one in found[0].sizes if one.cells]
    assert len(sizes) > 1
    (point,) = result.cells.points
    assert point.searched_accuracy == min(one.judged.accuracy for one in sizes)
    assert result.stopped is not None


def test_what_a_size_took_is_what_was_spent_until_it_was_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """A later corruption of as many cells with a larger value and more right answers is not the one that is shown."""

    def added(*given, **more):
        found = worst_cells(*given, **more)
        one = found.sizes[-1]
        other = CellRow("none", one.cells, one.judged.value + 1, 9.0, one.judged.accuracy + 0.1, None, 0, 777, 7777)
        again = other._replace(value=one.judged.value, accuracy=one.judged.accuracy)
        return replace(found, trace=(*found.trace, again, other))

    given = {"cells": Cells(count=2), "options": replace(QUICK, limit=100), "search": SHORT}
    plain = faultsim.attack("digits_int8", **given)
    monkeypatch.setattr(module, "worst_cells", added)
    assert faultsim.attack("digits_int8", **given).cells == plain.cells


def test_no_file_with_a_nan_is_left_behind(tmp_path: Path) -> None:
    proto = tiny_nets.dense()
    proto = with_numbers(proto, "second.weight", np.full_like(numbers(proto)["second.weight"], 1.5))  # bit 30: NaN
    cells, target = Cells(count=1, finite_only=False), tmp_path / "worst.onnx"
    options = replace(QUICK, sites=("second.weight",))
    result = attacked(tmp_path, proto, tiny_nets.samples(40), cells=cells, options=options, search=SHORT, write=target)
    (cell,) = result.cells.changed
    assert (cell.low_bit, cell.after) == (30, None)
    assert not target.exists()
    assert result.written is None
    assert any("was not written: -o" in note and "second.weight would hold 1 NaN" in note for note in result.notes)


def test_outputs_beside_the_victim_that_are_not_finite_are_told(tmp_path: Path) -> None:
    """A weight that becomes 1.7e38 keeps the victim's outputs finite, and overflows where the input is 1e30."""
    w = np.array([[0.5, 0.1], [0.0, 1.0]], np.float32)
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"], "product")]
    shapes = {"inputs": {"x": (TensorProto.FLOAT, ("N", 2))}, "outputs": {"y": (TensorProto.FLOAT, ("N", 2))}}
    data = {"x": np.array([[1e30, 0], [1, 1]] * 10, np.float32), "labels": np.array([0, 1] * 10)}
    listed = tmp_path / "cells.csv"
    listed.write_text("w,0,30\n")
    proto = tiny_nets.model(nodes, {"w": w}, **shapes)
    result = attacked(tmp_path, proto, data, cells=Cells(victim=1, flippable=listed), search=SHORT)
    (point,) = result.cells.points
    assert (point.aimed_accuracy, point.nonfinite) == (0, 10)
    said = "forbidden on the samples that the search aims at; of the others up to 10 have one and count as wrong"
    assert any(said in note for note in result.notes)
    whole = attacked(tmp_path, proto, data, cells=Cells(flippable=listed), search=SHORT)
    assert whole.cells.points == ()
    assert not any("forbidden on" in note for note in whole.notes)


def tokens(tmp_path: Path) -> Path:
    """Three tokens a sample; only those of sample 5 have labels."""
    rng = np.random.default_rng(0)
    weights = {"w": rng.normal(size=(4, 5)).astype(np.float32)}
    shapes = {"inputs": {"x": (TensorProto.FLOAT, ("N", 3, 4))}, "outputs": {"y": (TensorProto.FLOAT, ("N", 3, 5))}}
    proto = tiny_nets.model([helper.make_node("MatMul", ["x", "w"], ["y"], "product")], weights, **shapes)
    labels = np.where(np.arange(10)[:, None] == 5, 1, -100) * np.ones((1, 3), np.int64)
    return tiny_nets.save(proto, tmp_path / "t.onnx", {"x": rng.normal(size=(10, 3, 4)).astype(np.float32),
                                                       "labels": labels})  # fmt: skip


def test_a_search_that_sees_no_label_is_refused(tmp_path: Path) -> None:
    said = "none of the 2 samples that the search sees has a label that counts; raise "
    path = tokens(tmp_path)
    with pytest.raises(DataError, match=said + "--search-samples"):
        faultsim.attack(path, ball=Ball(eps=0.1), options=QUICK, search=Search(gradients=3, trials=2, samples=2))
    with pytest.raises(DataError, match=said + "--samples"):
        faultsim.probe(path, options=QUICK, how=ProbeOptions(draws=2, samples=2))
    seen = faultsim.attack(path, ball=Ball(eps=0.1), options=QUICK, search=Search(gradients=3, trials=2))
    assert seen.worst is not None


def test_a_budget_that_ends_before_any_flip_says_nothing_of_flips(tmp_path: Path) -> None:
    proto, data = two_classes()
    none = Search(gradients=1, forwards=1)
    result = attacked(tmp_path, proto, data, cells=Cells(count=1), search=none)
    assert result.cells is not None
    assert result.cells.needed is None
    assert any("budget ended before any change was seen to do damage" in note for note in result.notes)
    assert not any("No change of the allowed cells" in note for note in result.notes)
    with pytest.raises(OptionError, match="--forwards is 1, and one look with --stealthy takes 2"):
        attacked(tmp_path, proto, data, cells=Cells(count=1, victim=1, stealthy=True), search=none)


def test_no_file_is_left_where_it_cannot_be_scored_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proto, data = two_classes()

    def broken(*_: Any, **__: Any) -> None:
        raise ModelError("cannot be run")

    monkeypatch.setattr(writing, "Runner", broken)
    result = attacked(tmp_path, proto, data, cells=Cells(count=1), search=SHORT, write=tmp_path / "worst.onnx")
    assert any("cannot be run" in note for note in result.notes)
    assert not (tmp_path / "worst.onnx").exists()


@pytest.mark.parametrize(
    ("asked", "needed", "spent", "told"),
    [(3, 2, True, False), (3, 3, True, False), (9, 2, True, True), (9, 2, False, False)],
)
def test_a_budget_that_ended_before_is_told_of_numbers_that_were_not_tried_alone(
    asked: int, needed: int, spent: bool, told: bool
) -> None:
    result = faultsim.attack("digits_int8", cells=Cells(count=3), options=replace(QUICK, limit=40), search=SHORT)
    assert [one.cells for one in result.cells.points][-1] == 3
    cells = result.cells.model_copy(update={"asked": asked, "needed": needed, "spent": spent})
    lines = [text for text, _ in cell_lines(result.model_copy(update={"cells": cells}), 200)]
    assert any(f"the budget ended before {asked}" in line for line in lines) is told


def test_a_signalling_nan_is_refused_in_a_file_without_a_warning(tmp_path: Path) -> None:
    held = np.array([0x7FA00000], np.uint32).view(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(OptionError, match="w would hold 1 NaN"):
            writing.write_model(None, {"w": held}, tmp_path / "worst.onnx")


@pytest.mark.parametrize(
    ("size", "told"), [(1.003, "0.3 % larger than eps"), (1.27, "27.0 % larger"), (3.5, "3.5 times as large as eps")]
)
def test_a_corruption_that_rounding_enlarges_is_never_told_as_one_times(size: float, told: str) -> None:
    (note,) = _rounded(size)
    assert told in note
    assert "1 times" not in note
    assert not _rounded(1.0005)
