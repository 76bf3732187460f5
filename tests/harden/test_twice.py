"""Losses of the gradient on recurrent graphs leave out cuDNN on CUDA: its backward pass cannot be differentiated."""

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.harden import batch as module
from faultsim.harden.losses import CorruptionResistant, GradientL1, GradientRegularised, Plain, evaluate
from faultsim.model import load_model
from tests.harden.conftest import batch_of, smooth_mlp

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def _recurrent(op):
    """Sequences of 3 steps of 2 numbers, through 4 units, to 3 classes."""
    rng, rows = np.random.default_rng(0), 4 * GATES[op]
    numbers = {"w": rng.normal(size=(1, rows, 2)), "r": rng.normal(size=(1, rows, 4)), "v": rng.normal(size=(4, 3))}
    nodes = [
        helper.make_node("Reshape", ["x", "shape"], ["s"], "steps"),
        helper.make_node("Transpose", ["s"], ["t"], "time_first", perm=[1, 0, 2]),
        helper.make_node(op, ["t", "w", "r"], ["", "h"], "cell", hidden_size=4),
        helper.make_node("Squeeze", ["h", "axis"], ["last"], "squeeze"),
        helper.make_node("MatMul", ["last", "v"], ["y"], "out"),
    ]
    tensors = [numpy_helper.from_array(array.astype(np.float32), name) for name, array in numbers.items()]
    tensors += [numpy_helper.from_array(np.array([-1, 3, 2]), "shape"), numpy_helper.from_array(np.array([0]), "axis")]
    ends = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 6])]
    answers = [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])]
    proto = helper.make_model(helper.make_graph(nodes, "net", ends, answers, tensors),
                              opset_imports=[helper.make_opsetid("", 17)])  # fmt: skip
    proto.ir_version = 8
    return load_model(proto)


@pytest.fixture
def left_out(monkeypatch):
    """A machine with CUDA, as far as the choice goes; what is asked of cuDNN, and passes while it is left out."""
    seen = []

    @contextmanager
    def flags(enabled):
        seen.append(enabled)
        yield
        seen.append("back")

    grad = torch.autograd.grad

    def told(*given, **named):
        seen.append("grad")
        return grad(*given, **named)

    monkeypatch.setattr(module.torch.backends.cudnn, "flags", flags)
    monkeypatch.setattr(module.torch.autograd, "grad", told)
    monkeypatch.setattr(module, "_on_cuda", lambda model: True)
    return seen


def _value(loss, model):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(8, model.inputs[0].shape[1])).astype(np.float32)
    return evaluate(loss, batch_of(model, x, rng.integers(0, 3, 8)))


@pytest.mark.parametrize("op", sorted(GATES))
@pytest.mark.parametrize("loss", [GradientRegularised(), GradientL1()])
def test_losses_of_the_gradient_leave_cudnn_out_of_recurrent_graphs(left_out, op, loss):
    value, grads = _value(loss, _recurrent(op))
    assert left_out == [False, "grad", "back", False, "grad", "back"]
    assert np.isfinite(value)
    assert all(torch.isfinite(grad).all() for grad in grads.values())


@pytest.mark.parametrize("loss", [Plain(), CorruptionResistant()])
def test_other_losses_keep_it(left_out, loss):
    _value(loss, _recurrent("LSTM"))
    assert set(left_out) == {"grad"}


def test_other_graphs_keep_it(left_out):
    rng = np.random.default_rng(1)
    evaluate(GradientRegularised(), batch_of(load_model(smooth_mlp()), rng.normal(size=(6, 5)), rng.integers(0, 3, 6)))
    assert set(left_out) == {"grad"}


def test_so_it_is_kept_where_there_is_none(left_out, monkeypatch):
    monkeypatch.undo()
    assert np.isfinite(_value(GradientRegularised(), _recurrent("GRU"))[0])
    assert left_out == []
