"""What an assessment says before and beside its figures: scores by their own name, tensors that no fault touches."""

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import numpy_helper

from faultsim.assessment import Options, assess, run
from faultsim.errors import OptionError
from faultsim.report.junit import junit
from faultsim.report.verdict import next_command, verdict_lines

FEW = {"trials": 3, "search_gradients": 2, "site_trials": 0, "threads": 1}


def regression(tmp_path):
    proto, rng = tiny_nets.dense(), np.random.default_rng(2)
    rows = rng.normal(size=(12, 6)).astype(np.float32)
    return tiny_nets.save(proto, tmp_path / "net.onnx", {"x": rows, "labels": rng.normal(size=(12, 4))})


def test_an_error_is_required_by_its_own_name(tmp_path):
    path = regression(tmp_path)
    result = assess(path, "reram", options=Options(**FEW, require=("mse<=100", "mse<=0.0001@max", "mse_increase<=9")))
    assert [one.passed for one in result.verdict.criteria] == [True, False, True]
    assert result.verdict.criteria[0].value == pytest.approx(np.mean([row.score for row in result.random.per_trial]))
    assert "mean squared error of" in result.verdict.criteria[0].explanation


@pytest.mark.parametrize("require", ["bleu>=10", "perplexity<=9@p95", "worst_case_bleu>=3"])
def test_the_name_of_another_score_is_refused_with_the_right_one(require, tmp_path):
    path = regression(tmp_path)
    with pytest.raises(OptionError, match=r"cannot be judged: the score of the task is its mean squared .*require mse"):
        assess(path, "reram", options=Options(**FEW, require=(require,)))


def test_a_classifier_has_no_score_by_another_name(tmp_path):
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    with pytest.raises(OptionError, match=r"the score of the task is its accuracy; require accuracy or accuracy_drop"):
        assess(path, "reram", options=Options(**FEW, require=("mse<=3",)))


def test_a_sparse_weight_is_named_as_fault_free(tmp_path):
    proto = tiny_nets.dense()
    last = next(i for i in range(len(proto.graph.initializer) - 1, -1, -1) if len(proto.graph.initializer[i].dims) == 2)
    whole = proto.graph.initializer[last]
    array, name = numpy_helper.to_array(whole), whole.name
    del proto.graph.initializer[last]
    sparse = proto.graph.sparse_initializer.add(dims=array.shape)
    sparse.values.CopyFrom(numpy_helper.from_array(array.reshape(-1), name))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.arange(array.size), "places"))
    onnx.checker.check_model(proto)
    result = assess(tiny_nets.save(proto, tmp_path / "net.onnx", tiny_nets.samples()), "reram", options=Options(**FEW))
    assert f"Stored as sparse tensors and fault-free here: {name}; export them dense to test them." in result.notes
    assert name not in {site.name for site in result.sites}


TASK = """import torch

def score(outputs, labels):
    values = torch.from_numpy(outputs.numpy().copy())
    return torch.nn.functional.cross_entropy(values, labels, reduction="none"), values.argmax(1) == labels
"""


@pytest.mark.parametrize("require", [(), ("accuracy>=0",), ("accuracy>=0", "worst_case_accuracy>=0")])
def test_a_task_that_no_gradient_goes_through_keeps_its_chips(require, tmp_path, monkeypatch):
    (tmp_path / "through_numpy.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(tmp_path))
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    result = assess(path, "reram", options=Options(**FEW, task="through_numpy:score", require=require))
    assert (result.random.trials, result.worst_case) == (3, None)
    assert any(note.startswith("No worst case: through_numpy:score raised RuntimeError") for note in result.notes)
    unjudged = len(require) > 1
    assert result.verdict.unjudged == (require if unjudged else ())
    assert result.verdict.passed == (True if len(require) == 1 else None)
    assert any("'worst_case_accuracy>=0' cannot be judged" in note for note in result.notes) == unjudged


def test_a_missed_requirement_fails_beside_one_that_cannot_be_judged(tmp_path, monkeypatch):
    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(run, "find_worst", full)
    monkeypatch.setattr(run, "fill_tables", full)
    path = tiny_nets.save(tiny_nets.dense(), tmp_path / "net.onnx", tiny_nets.samples())
    require = ("worst_case_accuracy>=0", "loss<=0")
    result = assess(path, "reram", options=Options(**FEW, require=require))
    assert (result.verdict.passed, result.verdict.unjudged) == (False, require[:1])
    assert "No worst case: MemoryError" in result.notes
    assert "The tables by site and kind are not whole: MemoryError" in result.notes
    lines = [text for text, _ in verdict_lines(result, 100)]
    said = "FAILED  1 requirement missed, and 1 requirement was not judged: a figure is missing, as the notes say"
    assert said in " ".join(" ".join(lines[:2]).split()).replace("FAILED ", "FAILED  ", 1)
    assert any(line.startswith("FAILED") for line in lines[1:])
    assert "worst_case" not in next_command(result)
    assert "a figure is missing" in junit(result)


@pytest.mark.parametrize("require", ["loss_increase<=0.1", "mse_increase<=1"])
def test_a_clean_figure_that_is_not_finite_is_told_before_a_chip_is_drawn(require, tmp_path, monkeypatch):
    proto = tiny_nets.dense()
    for one in proto.graph.initializer:
        if one.name == "second.weight":
            one.CopyFrom(numpy_helper.from_array(np.full((4, 8), 3e38, np.float32), one.name))
    labels = np.zeros((12, 4)) if "mse" in require else np.zeros(12, np.int64)
    path = tiny_nets.save(proto, tmp_path / "net.onnx", {"x": np.ones((12, 6), np.float32), "labels": labels})
    monkeypatch.setattr(run, "random_chips", lambda *_: pytest.fail("a chip was drawn"))
    with pytest.raises(OptionError, match=r"cannot be judged: the clean model's (loss|score) is not finite; require"):
        assess(path, "reram", options=Options(**FEW, require=(require,)))
