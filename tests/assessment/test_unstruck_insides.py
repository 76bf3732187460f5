"""Upsets of activations do not reach into functions: a note names the calls."""

import numpy as np
import onnx
import pytest
import tiny_nets
from onnx import helper

import faultsim
from faultsim.assessment import Options


@pytest.mark.parametrize("called", [True, False])
def test_a_note_names_the_calls_whose_insides_are_not_upset(called, tmp_path):
    proto = tiny_nets.dense()
    if called:
        body = [helper.make_node("Tanh", ["a"], ["b"], "tanh")]
        opset = helper.make_opsetid("", 17)
        proto.functions.append(helper.make_function("my", "Block", ["a"], ["b"], body, [opset]))
        proto.opset_import.append(helper.make_opsetid("my", 1))
        proto.graph.node[1].CopyFrom(helper.make_node("Block", ["h"], ["t"], "block", domain="my"))
    onnx.checker.check_model(proto)
    path = tiny_nets.save(proto, tmp_path / "net.onnx", tiny_nets.samples())
    result = faultsim.assess(str(path), "gpu_sram_automotive", options=Options(trials=2, threads=1))
    note = "Activations made inside these nodes are neither upset nor rounded: block."
    assert (note in result.notes) == called
    assert np.isfinite(result.clean.loss)
