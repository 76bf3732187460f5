"""What a graph must have for a hardening: a gradient before anything is assessed, and batches of any fixed size."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import TensorProto, helper, numpy_helper

from faultsim.errors import OptionError
from faultsim.harden import Training, harden
from faultsim.harden import run as running
from tests.harden.conftest import Arrays
from tests.harden.test_harden import QUICK

SHORT = replace(
    QUICK, losses=("plain",), strength=None, training=Training(steps=2, batch_size=8), radii=False, blend=False
)


def _product(rng, batch, *, classes=False):
    """One MatMul; with *classes* an ArgMax behind it."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h" if classes else "y"], "product")]
    kind, shape = TensorProto.FLOAT, [batch, 3]
    if classes:
        nodes.append(helper.make_node("ArgMax", ["h"], ["y"], "class", axis=1, keepdims=0))
        kind, shape = TensorProto.INT64, [batch]
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 5])],
        [helper.make_tensor_value_info("y", kind, shape)],
        [numpy_helper.from_array(rng.normal(size=(5, 3)).astype(np.float32), "w")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        (False, "m.onnx: no gradient leads from the loss to anything that is trained; choose another --output"),
        (True, "the output has no gradient: it holds classes"),
    ],
)
def test_classes_without_scores_are_refused_before_anything_is_assessed(tmp_path, monkeypatch, labelled, message):
    def assessed(*_, **__):
        raise AssertionError("it was assessed before the refusal")

    monkeypatch.setattr(running, "assess", assessed)
    rng = np.random.default_rng(0)
    onnx.save(_product(rng, "n", classes=True), tmp_path / "m.onnx")
    x = rng.normal(size=(90, 5)).astype(np.float32)
    data = Arrays("x", x, rng.integers(0, 3, 90) if labelled else None)
    with pytest.raises(OptionError, match=message):
        harden(tmp_path / "m.onnx", "reram", data, target=tmp_path / "h.onnx", options=SHORT)


def _fixed(tmp_path, batch, count, options, *, insists=True):
    rng = np.random.default_rng(0)
    proto = _product(rng, batch)
    proto = tiny_nets.insisting(proto, batch) if insists else proto
    onnx.save(proto, tmp_path / "m.onnx")
    x = rng.normal(size=(count, 5)).astype(np.float32)
    data = Arrays("x", x, (x @ numpy_helper.to_array(proto.graph.initializer[0])).argmax(1))
    options = replace(options, validation=0.3, held_out=0.3)
    return harden(tmp_path / "m.onnx", "sram", data, target=tmp_path / "h.onnx", options=options)


def test_fixed_batches_above_the_calibration_samples_are_quantized(tmp_path):
    found = _fixed(tmp_path, 600, 2400, replace(SHORT, quantize="int8")).result
    assert any("600" in note for note in found.notes)
    assert found.training.options["batch_size"] == 600


def test_the_batch_that_was_trained_with_is_reported(tmp_path):
    assert _fixed(tmp_path, 1, 60, SHORT).result.training.options["batch_size"] == 1


@pytest.mark.parametrize("kind", [None, "int8"])
def test_a_graph_of_two_samples_is_trained_in_larger_batches_and_written_for_two(tmp_path, kind):
    found = _fixed(tmp_path, 2, 120, replace(SHORT, quantize=kind), insists=False)
    assert found.result.training.options["batch_size"] > 2
    proto = found.exported.model.proto  # as it was read back
    for value in (*proto.graph.input, *proto.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_value == 2
