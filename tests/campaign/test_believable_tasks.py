"""A census of every kind of task, with outputs that overflow: no row that a campaign writes is refused."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from campaign_nets import Tiny
from onnx import helper, numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign, run_campaign
from faultsim.campaign.believable import check_rows
from faultsim.journal import JournalError, Table, read_journal

POSITIONS = 4
IGNORED = -100


def closeness(outputs: torch.Tensor, labels: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A task of one's own, whose losses may be negative."""
    return outputs.sum(1) - labels, outputs.sum(1) > labels


def positions(folder: Path, ends: str) -> Path:
    """A model of N×4×2 inputs and N×4×3 scores; classes first, or the largest alone, where *ends* says so."""
    weight = np.random.default_rng(5).normal(size=(2, 3)).astype(np.float16)
    nodes = [
        helper.make_node("Cast", ["w"], ["wide"], "cast", to=onnx.TensorProto.FLOAT),
        helper.make_node("MatMul", ["x", "wide"], ["scores"], "matmul"),
    ]
    shape, kind = ["N", POSITIONS, 3], onnx.TensorProto.FLOAT
    if ends == "segmentation":
        nodes.append(helper.make_node("Transpose", ["scores"], ["y"], "last", perm=[0, 2, 1]))
        shape = ["N", 3, POSITIONS]
    elif ends == "class-ids":
        nodes.append(helper.make_node("ArgMax", ["scores"], ["y"], "last", axis=2, keepdims=0))
        shape, kind = ["N", POSITIONS], onnx.TensorProto.INT64
    else:
        nodes.append(helper.make_node("Identity", ["scores"], ["y"], "last"))
    graph = helper.make_graph(
        nodes,
        "positions",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", POSITIONS, 2])],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(weight, "w")],
    )
    path = folder / "positions.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


def census(path: Path, data: dict[str, np.ndarray], task: str, folder: Path) -> Table:
    """The rows of all faults, that a campaign took once more."""
    np.savez(folder / "data.npz", **data)
    options, campaign = Options(threads=1, task=task), CampaignOptions(trials=96)
    run_campaign(path, folder / "data.npz", options=options, campaign=campaign, journal=folder / "j")
    again = run_campaign(path, folder / "data.npz", options=options, campaign=campaign, journal=folder / "j")
    assert again.provenance.computed == 0
    rows = read_journal(folder / "j").rows
    assert (rows["mismatch"] > 0).any()
    return rows


@pytest.mark.parametrize("labels", ["own", "none", "wrong"])
@pytest.mark.parametrize("task", ["classification", "top2", "regression", "regression@0.5", "closeness"])
def test_rows_of_one_unit_a_sample_are_believed(net: Tiny, tmp_path: Path, task: str, labels: str) -> None:
    data = {"x": net.inputs}
    if labels != "none":
        values = net.inputs @ net.weight.astype(np.float32).T + (labels == "wrong")
        classes = (values.argmax(axis=1) + (labels == "wrong")) % 3
        data["y"] = values if task.startswith("regression") else classes
    elif task == "closeness":
        data["y"] = np.zeros(len(net.inputs), np.int64)
    name = f"{__name__}:closeness" if task == "closeness" else task
    rows = census(net.path, data, name, tmp_path)
    assert (rows["broken"] > 0).any()
    assert task != "closeness" or (rows["loss"] < 0).any()


@pytest.mark.parametrize("labels", ["some", "none"])
@pytest.mark.parametrize("task", ["tagging", "segmentation", "language-model", "class-ids", "bleu"])
def test_rows_of_several_units_a_sample_are_believed(tmp_path: Path, task: str, labels: str) -> None:
    if task == "bleu":
        pytest.importorskip("sacrebleu")
    rng = np.random.default_rng(3)
    data = {"x": rng.normal(size=(20, POSITIONS, 2)).astype(np.float32)}
    if labels == "some":
        given = rng.integers(0, 3, (20, POSITIONS))
        given[rng.random(given.shape) < 0.6] = IGNORED if task != "bleu" else 0
        given[0] = given[1] = IGNORED if task != "bleu" else 0
        data["y"] = given
    rows = census(positions(tmp_path, task), data, task, tmp_path)
    assert (rows["mismatch"] > rows["critical"]).any()


def test_a_changed_position_of_no_changed_sample_is_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    data = {"x": rng.normal(size=(20, POSITIONS, 2)).astype(np.float32), "y": rng.integers(0, 3, (20, POSITIONS))}
    path = positions(tmp_path, "tagging")
    rows = census(path, data, "tagging", tmp_path)
    found = plan_campaign(
        path, tmp_path / "data.npz", options=Options(threads=1), campaign=CampaignOptions(trials=96)
    ).prepared
    harmless = rows[(rows["mismatch"] == 0) & (rows["broken"] == 0)][:1]
    check_rows(harmless, found, tmp_path / "j")
    for name, value, said in (
        ("mismatch", 3, "0 where no sample is critical or broken"),
        ("nonfinite", 3, "0 where no sample is broken"),
        ("correct", 80, "as the model without faults has"),
    ):
        wrong = harmless.copy()
        wrong[name] = value
        with pytest.raises(JournalError, match=f"has {name} = {value}, allowed is .*{said}"):
            check_rows(wrong, found, tmp_path / "j")
