"""What an assessment says before and beside its figures: scores by their own name, tensors that no fault touches."""

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import numpy_helper

from faultsim.assessment import Options, assess
from faultsim.errors import OptionError

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
