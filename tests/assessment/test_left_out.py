"""What no fault reaches is said by name, and a device that stores no tensor of a model is refused with what helps."""

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from faultsim.assessment import Options, assess
from faultsim.assessment.stores import stored_on
from faultsim.campaign.storage import deployed_storage
from faultsim.device import load_device
from faultsim.errors import DeviceError
from faultsim.model import load_model

F = np.float32
QUICK = Options(trials=2, search_gradients=2, site_trials=0, threads=1)


def _model(nodes, **tensors):
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 12])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", None])],
        [numpy_helper.from_array(np.asarray(array), name) for name, array in tensors.items()],
    )
    return load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))


def test_stored_numbers_of_no_role_are_named_in_the_result():
    low, weight = np.full(12, -1, F), np.random.default_rng(0).standard_normal((12, 4)).astype(F)
    nodes = [helper.make_node("Max", ["x", "low"], ["m"]), helper.make_node("MatMul", ["m", "w"], ["y"])]
    said = assess(_model(nodes, low=low, w=weight), "reram", options=QUICK).notes
    assert any(note.endswith("that faultsim tells, and fault-free here: low.") for note in said)
    plain = _model([helper.make_node("MatMul", ["x", "w"], ["y"])], w=weight)
    assert not any("fault-free here" in note for note in assess(plain, "reram", options=QUICK).notes)


def test_a_model_without_stored_weights_is_refused_with_what_helps():
    model = _model([helper.make_node("Add", ["x", "w"], ["y"])], w=np.ones(12, F))
    with pytest.raises(DeviceError, match=r"deployed format stores \(weight\); choose --roles .* has: constant$"):
        stored_on(model, deployed_storage(("weight",)), QUICK)
    with pytest.raises(DeviceError, match=r"add roles to storage\.stores of its profile$"):
        stored_on(model, load_device("reram"), QUICK)
    none = _model([helper.make_node("Relu", ["x"], ["y"])])
    with pytest.raises(DeviceError, match=r"it stores no parameters at all$"):
        stored_on(none, deployed_storage(("weight",)), QUICK)
