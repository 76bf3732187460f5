"""Attacks on graphs that take so many samples at once and no other number: whole batches, everywhere."""

from pathlib import Path

import numpy as np
import pytest
import tiny_nets
from linear import QUICK, attacked
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper

from faultsim.attacks import Ball, Cells, Search, proof
from faultsim.errors import DataError

SHORT = Search(gradients=4, forwards=100)


def eights() -> ModelProto:
    """Rows 0 to 7 of a batch: no other number of samples will do."""
    return tiny_nets.insisting(shaped(), 8)


def shaped() -> ModelProto:
    """A constant shape pins the batch to 8, and can be rewritten."""
    rng = np.random.default_rng(0)
    weights: dict[str, NDArray] = {
        "w1": rng.normal(size=(6, 8)).astype(np.float32),
        "w2": rng.normal(size=(8, 4)).astype(np.float32),
        "shape": np.array([8, 8], np.int64),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w1"], ["a"], "first"),
        helper.make_node("Reshape", ["a", "shape"], ["b"], "reshape"),
        helper.make_node("Relu", ["b"], ["r"], "relu"),
        helper.make_node("Gemm", ["r", "w2"], ["y"], "second"),
    ]
    shapes = {"inputs": {"x": (TensorProto.FLOAT, (8, 6))}, "outputs": {"y": (TensorProto.FLOAT, (8, 4))}}
    return tiny_nets.model(nodes, weights, **shapes)


def test_a_first_look_at_some_samples_is_of_whole_batches(tmp_path: Path) -> None:
    result = attacked(tmp_path, eights(), tiny_nets.samples(400), cells=Cells(count=1), search=SHORT)
    assert result.cells.needed == 1


@pytest.mark.parametrize(
    ("cells", "whose"),
    [
        (Cells(victim=1), "of class 1"),
        (Cells(target=1), "outside class 1"),
        (Cells(victim=1, stealthy=True, tolerance=1.0), "outside class 1"),
    ],
    ids=["victim", "target", "stealthy"],
)
def test_samples_that_fill_no_batch_are_left_out_and_told(tmp_path: Path, cells: Cells, whose: str) -> None:
    data = tiny_nets.samples(80)
    count = int(((data["labels"] == 1) == (whose == "of class 1")).sum())
    assert count % 8
    result = attacked(tmp_path, eights(), data, cells=cells, search=SHORT)
    said = f"The last {count % 8} of {count} samples {whose} are left out: the model runs on exactly 8 at once."
    assert result.notes.count(said) == 1
    if not cells.stealthy:  # an accuracy over whole batches
        aimed = count - count % 8
        assert result.cells.clean_aimed * aimed == pytest.approx(round(result.cells.clean_aimed * aimed))


def test_none_is_left_out_where_a_graph_can_be_run_on_any_number(tmp_path: Path) -> None:
    data = tiny_nets.samples(80)
    count = int((data["labels"] == 1).sum())
    assert count % 8
    result = attacked(tmp_path, shaped(), data, cells=Cells(victim=1), search=SHORT)
    assert not any("left out" in note for note in result.notes)
    assert result.cells.clean_aimed * count == pytest.approx(round(result.cells.clean_aimed * count))


def test_less_than_one_batch_is_refused(tmp_path: Path) -> None:
    data = tiny_nets.samples(80)
    data["labels"] = np.where(np.arange(80) < 5, 1, 0)
    said = "has 5 samples of class 1, and the model runs on exactly 8 at once; give at least 8 such samples"
    with pytest.raises(DataError, match=said):
        attacked(tmp_path, eights(), data, cells=Cells(victim=1), search=SHORT)


def test_a_certificate_takes_whole_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_HELD", 100)  # 48 numbers: two samples at a time, were the batch free
    search = Search(gradients=2, trials=2, certify=True)
    result = attacked(tmp_path, eights(), tiny_nets.samples(16), ball=Ball(eps=1e-4), search=search, options=QUICK)
    assert result.certificate.why_not == ""
    assert result.certificate.proven
