"""Outputs that cannot be scored are refused in one sentence, and tasks are reported by the figure they are known by."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from faultsim.assessment import Options, assess
from faultsim.errors import DataError, ModelError, OptionError
from faultsim.model import load_model
from faultsim.report import lines

F = np.float32
QUICK = Options(trials=2, search_gradients=2, site_trials=0, threads=1)


def _model(nodes, output, shape=("N", 5), opset=17):
    weight = np.random.default_rng(0).standard_normal((4, 5)).astype(F)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", output, list(shape))],
        [onnx.numpy_helper.from_array(weight, "w")],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8))


def test_a_scalar_output_is_refused():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("ReduceSum", ["p"], ["y"], keepdims=0),
    ]
    with pytest.raises(DataError, match=r"output 'y' has shape \(\) for a batch of \d+: faultsim scores outputs that"):
        assess(_model(nodes, TensorProto.FLOAT, ()), "reram", options=QUICK)


def test_a_class_without_its_scores_is_counted_and_has_no_worst_case(tmp_path):
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("ArgMax", ["p"], ["y"], axis=1, keepdims=0),
    ]
    model = _model(nodes, TensorProto.INT64, ("N",))
    x = np.random.default_rng(7).standard_normal((40, 4)).astype(F)
    labels = (x @ model.numbers["w"]).argmax(1)
    labels[:10] = (labels[:10] + 1) % 5
    np.savez(tmp_path / "d.npz", x=x, labels=labels)
    options = Options(trials=2, search_gradients=2, site_trials=1, threads=1)
    result = assess(model, "reram", tmp_path / "d.npz", options=options)
    assert result.clean.accuracy == 0.75
    assert result.worst_case is None
    assert any(note.startswith("No worst case: the output has no gradient: it holds classes") for note in result.notes)
    assert all(site.random is not None and site.worst_case is None for site in result.sites)
    agreement = assess(model, "reram", options=QUICK)
    assert (agreement.clean.accuracy, agreement.data.labels) == (1, "golden")
    named = Options(trials=2, search_gradients=2, site_trials=0, threads=1, task="classification")
    with pytest.raises(OptionError, match="no scores, which --task classification needs; give --task class-ids"):
        assess(model, "reram", tmp_path / "d.npz", options=named)


def test_inputs_that_the_opset_does_not_know_are_told_so():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("Clip", ["p", "w", "w"], ["y"]),
    ]
    model = _model(nodes, TensorProto.FLOAT, opset=7)
    with pytest.raises(ModelError, match="Clip of opset 7 does not take these inputs"):
        model.run({"x": np.zeros((1, 4), F)})


def test_an_input_shape_that_is_none_is_refused():
    model = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], TensorProto.FLOAT)
    with pytest.raises(OptionError, match="--input-shape 'z=1,2': give NAME=SIZE,SIZE"):
        assess(model, "reram", options=Options(trials=1, input_shape=("z=1,2",), threads=1))


def test_a_language_model_is_reported_by_its_log_perplexity(tmp_path):
    rng = np.random.default_rng(1)
    table = rng.standard_normal((7, 4)).astype(F)
    head = rng.standard_normal((4, 7)).astype(F)
    graph = helper.make_graph(
        [helper.make_node("Gather", ["table", "ids"], ["e"]), helper.make_node("MatMul", ["e", "head"], ["y"])],
        "lm",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 6, 7])],
        [onnx.numpy_helper.from_array(a, n) for n, a in {"table": table, "head": head}.items()],
    )
    model = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    ids, following = rng.integers(0, 7, (9, 6)), rng.integers(0, 7, (9, 6))
    np.savez(tmp_path / "lm.npz", ids=ids, labels=following)
    options = Options(trials=2, search_gradients=2, site_trials=0, threads=1, task="language-model")
    result = assess(model, "reram", tmp_path / "lm.npz", options=options)
    logits = table[ids].astype(np.float64) @ head
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    expected = -np.take_along_axis(log_p, following[..., None], -1).mean()
    assert result.clean.loss == pytest.approx(expected, rel=1e-5)
    assert result.data.headline == "loss"
    assert result.data.score == "token accuracy"
    text = [line for line, _ in lines(result)]
    assert any(line.strip().startswith("log perplexity (nats)") for line in text)
