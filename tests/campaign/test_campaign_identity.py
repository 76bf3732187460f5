"""What makes two campaigns the same: the task in full, the code of a user's own, the batch where it counts."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from campaign_nets import Tiny, dynamic
from onnx import helper, numpy_helper

from faultsim.assessment import Options
from faultsim.campaign import CampaignOptions, plan_campaign, run_campaign
from faultsim.campaign.evaluator import COLUMNS
from faultsim.campaign.identify import campaign_identity, data_digest
from faultsim.campaign.judging import task_facts
from faultsim.errors import OptionError
from faultsim.journal import Identity, JournalError, identity, merge, open_journal
from faultsim.metrics import Bleu, Classification, GoldenAgreement
from faultsim.results.injection import InjectionResult

THEIRS = """
import torch
def near(outputs, labels): return (outputs[:, 0] - labels).abs() < {tolerance}
"""


def named(net: Tiny, task: str | None = None, *, data: Path | None = None, **given: Any) -> Identity:
    options = Options(task=task, threads=1, **given)
    found = plan_campaign(net.path, data or net.data, options=options, campaign=CampaignOptions(trials=5))
    return campaign_identity(found.prepared)


def injected(model: Path, data: Path | None, journal: Path | None, *, task: str | None = None, **given: Any) -> Any:
    options = Options(task=task, threads=1, **given.pop("options", {}))
    extra = {name: given.pop(name) for name in ("paired_with",) if name in given}
    return run_campaign(model, data, options=options, campaign=CampaignOptions(**given), journal=journal, **extra)


def figures(result: InjectionResult) -> dict[str, Any]:
    return result.model_dump(exclude={"provenance"})


@pytest.fixture
def values(net: Tiny, tmp_path: Path) -> Path:
    np.savez(tmp_path / "values.npz", x=net.inputs, y=net.inputs @ net.weight.astype(np.float32).T)
    return tmp_path / "values.npz"


@pytest.fixture
def unlabelled(net: Tiny, tmp_path: Path) -> Path:
    np.savez(tmp_path / "unlabelled.npz", x=net.inputs)
    return tmp_path / "unlabelled.npz"


@pytest.fixture
def theirs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "their_judge.py").write_text(THEIRS.format(tolerance=0.5))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "their_judge.py"
    sys.modules.pop("their_judge", None)


def biased(net: Tiny, folder: Path, *, softmax: bool = False) -> Path:
    """The same network with a bias that most faults do not reach over, so that its own answers are others."""
    proto = onnx.load(net.path)
    proto.graph.node[1].input.append("b")
    proto.graph.initializer.append(numpy_helper.from_array(np.array([1e30, 0, 0], np.float32), "b"))
    if softmax:
        proto.graph.node[1].output[0] = "z"
        proto.graph.node.append(helper.make_node("Softmax", ["z"], ["y"], "softmax", axis=1))
    onnx.save(proto, folder / "biased.onnx")
    return folder / "biased.onnx"


def test_rows_that_another_task_judged_are_not_reused(net: Tiny, tmp_path: Path) -> None:
    first = injected(net.path, net.data, tmp_path / "j", task="top1", trials=40)
    second = injected(net.path, net.data, tmp_path / "k", task="top2", trials=40)
    assert first.campaign != second.campaign
    assert first.accuracy != second.accuracy
    with pytest.raises(JournalError, match=r"belongs to another campaign: the task\.top_k was 1, now 2"):
        injected(net.path, net.data, tmp_path / "j", task="top2", trials=40)
    with pytest.raises(JournalError, match=r"the task\.top_k is 2, there 1; merge only shards of one campaign"):
        merge([tmp_path / "j", tmp_path / "k"], tmp_path / "m")
    again = injected(net.path, net.data, tmp_path / "j", task="top1", trials=40)
    assert again.provenance.computed == 0
    assert figures(again) == figures(first)


def test_every_parameter_of_a_task_tells_campaigns_apart(net: Tiny, values: Path, unlabelled: Path) -> None:
    tasks = ("regression", "regression@0.1", "regression@5")
    assert len({named(net, task, data=values).id for task in tasks}) == 3
    agreements = ("top1", "top2", "regression", "regression@0.1")
    assert len({named(net, task, data=unlabelled).id for task in agreements}) == 4
    assert named(net, "top1").id == named(net, "classification").id == named(net).id


def test_a_task_is_told_in_json_whatever_its_parameters_are() -> None:
    facts = task_facts(GoldenAgreement(Bleu(vocabulary=tuple(f"word{i}" for i in range(5000)))))
    assert len(identity({"task": facts}).id) == 64
    assert len(str(facts)) < 500
    other = task_facts(GoldenAgreement(Bleu(vocabulary=tuple(f"word{i}" for i in range(1, 5001)))))
    assert facts != other
    assert task_facts(Classification(margin_cap=float("inf")))["margin_cap"] == "inf"


def test_another_version_of_a_users_function_is_another_campaign(net: Tiny, theirs: Path, tmp_path: Path) -> None:
    task = "their_judge:near"
    first = injected(net.path, net.data, tmp_path / "j", task=task, trials=20)
    assert named(net, task).id == first.campaign
    theirs.write_text(THEIRS.format(tolerance=0.25))
    assert named(net, task).id != first.campaign
    with pytest.raises(JournalError, match=r"belongs to another campaign: the task\.source_sha256 was"):
        injected(net.path, net.data, tmp_path / "j", task=task, trials=20)


def test_a_function_that_another_file_defines_is_known_by_both(net: Tiny, theirs: Path, tmp_path: Path) -> None:
    (tmp_path / "their_names.py").write_text("from their_judge import near\n")
    try:
        first = named(net, "their_names:near").id
        theirs.write_text(THEIRS.format(tolerance=0.25))
        second = named(net, "their_names:near").id
        (tmp_path / "their_names.py").write_text("from their_judge import near  # as it was\n")
        assert len({first, second, named(net, "their_names:near").id}) == 3
    finally:
        sys.modules.pop("their_names", None)


def test_a_function_without_a_file_has_no_digest(net: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    import types

    made = types.ModuleType("made_judge")
    made.near = lambda outputs, labels: outputs[:, 0] > 0  # type: ignore[attr-defined]
    made.near.__code__ = made.near.__code__.replace(co_filename="<nowhere>")
    monkeypatch.setitem(sys.modules, "made_judge", made)
    assert named(net, "made_judge:near").parts["task"]["source_sha256"] is None  # type: ignore[call-overload,index]


def test_a_journal_of_a_version_without_parameters_is_refused_with_the_reason(net: Tiny, tmp_path: Path) -> None:
    old = identity({**named(net).parts, "task": "classification"})
    with open_journal(tmp_path / "j", old, COLUMNS):
        pass
    with pytest.raises(
        JournalError, match=r"j: this journal is of an earlier version.*give another --out or --journal"
    ):
        injected(net.path, net.data, tmp_path / "j", trials=5)
    with pytest.raises(OptionError, match=r"j: it is of an earlier version of faultsim.*run that campaign again"):
        injected(net.path, net.data, None, trials=5, paired_with=tmp_path / "j")


def test_the_batch_size_counts_where_the_graph_takes_scales_of_its_batch_alone(net: Tiny, tmp_path: Path) -> None:
    assert named(net, batch_size=7).id == named(net, batch_size=250).id
    model = dynamic(net, tmp_path)
    injected(model, net.data, tmp_path / "j", trials=10, options={"batch_size": 40})
    same = injected(model, net.data, tmp_path / "j", trials=10, options={"batch_size": 250})  # one batch of 40 as well
    assert same.provenance.computed == 0
    with pytest.raises(JournalError, match='belongs to another campaign: the batch_size was 40, now "7, cut evenly"'):
        injected(model, net.data, tmp_path / "j", trials=10, options={"batch_size": 7})
    injected(net.path, net.data, tmp_path / "plain", trials=10)
    pairs = [(model, tmp_path / "plain"), (net.path, tmp_path / "j")]
    for one, other in pairs:
        paired = injected(one, net.data, None, trials=10, paired_with=other).paired
        assert paired.trials == 10
    with pytest.raises(OptionError, match='its faults are not the same: the batch_size is 40, here "7, cut evenly"'):
        injected(model, net.data, None, trials=10, paired_with=tmp_path / "j", options={"batch_size": 7})


def test_models_are_paired_on_data_without_labels(net: Tiny, unlabelled: Path, tmp_path: Path) -> None:
    injected(net.path, unlabelled, tmp_path / "j", trials=96)
    second = injected(biased(net, tmp_path), unlabelled, None, trials=96, paired_with=tmp_path / "j")
    by = {one.quantity: one for one in second.paired.differences}
    assert second.paired.trials == 96
    assert by["critical"].high < 0
    np.savez(tmp_path / "other.npz", x=net.inputs + 1)
    with pytest.raises(OptionError, match=r"its faults are not the same: the data\.sha256 is"):
        injected(net.path, tmp_path / "other.npz", None, trials=96, paired_with=tmp_path / "j")


def test_labels_are_data_and_no_labels_are_others(net: Tiny, unlabelled: Path, tmp_path: Path) -> None:
    with np.load(net.data) as found:
        np.savez(tmp_path / "wrong.npz", x=found["x"], y=(found["y"] + 1) % 3)
    digests = {
        data_digest(plan_campaign(net.path, data, campaign=CampaignOptions(trials=5)).prepared.setting)
        for data in (net.data, tmp_path / "wrong.npz", unlabelled)
    }
    assert len(digests) == 3


def test_a_softmax_at_the_end_makes_no_other_faults_but_another_task_does(net: Tiny, tmp_path: Path) -> None:
    injected(net.path, net.data, tmp_path / "j", trials=96, task="top1")
    hard = biased(net, tmp_path, softmax=True)
    assert injected(hard, net.data, None, trials=96, paired_with=tmp_path / "j").paired.trials == 96
    with pytest.raises(OptionError, match=r"its faults are not the same: the task\.top_k is 1, here 2"):
        injected(hard, net.data, None, trials=96, task="top2", paired_with=tmp_path / "j")
