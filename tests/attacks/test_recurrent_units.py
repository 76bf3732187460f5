"""Removed units of recurrent layers: all gates of each, and hidden states that stay at 0, in onnxruntime too."""

from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from faultsim.attacks.probing import removed
from faultsim.corruption import Stored
from faultsim.model import load_model

STEPS, INPUTS, UNITS = 5, 3, 6
GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def net(op: str, direction: str, peepholes: bool, square: bool = False) -> ModelProto:
    """Hidden states of a recurrent layer over time, summed into three classes."""
    rng = np.random.default_rng(0)
    d, g, inputs = 2 if direction == "bidirectional" else 1, GATES[op] * UNITS, UNITS if square else INPUTS
    shapes: dict[str, tuple[int, ...]] = {"W": (d, g, inputs), "R": (d, g, UNITS), "B": (d, 2 * g)}
    given = ["x", "W", "R", "B"]
    if peepholes:
        shapes["P"] = (d, 3 * UNITS)
        given += ["", "", "", "P"]
    arrays: dict[str, Any] = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    arrays["F"] = rng.standard_normal((UNITS, 3)).astype(np.float32)
    nodes = [
        helper.make_node(op, given, ["Y"], "cells", hidden_size=UNITS, direction=direction),
        helper.make_node("ReduceSum", ["Y", "axes"], ["h"], "over", keepdims=0),
        helper.make_node("MatMul", ["h", "F"], ["y"], "last"),
    ]
    arrays["axes"] = np.array([0, 1])
    graph = helper.make_graph(
        nodes,
        "recurrent",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, (STEPS, "N", inputs))],
        [
            helper.make_tensor_value_info("y", TensorProto.FLOAT, ("N", 3)),
            helper.make_tensor_value_info("Y", TensorProto.FLOAT, (STEPS, d, "N", UNITS)),
        ],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


CASES = [
    ("LSTM", "forward", False),
    ("LSTM", "forward", True),
    ("LSTM", "bidirectional", True),
    ("GRU", "forward", False),
    ("GRU", "bidirectional", False),
    ("RNN", "reverse", False),
]


@pytest.mark.parametrize("square", [False, True])
@pytest.mark.parametrize(("op", "direction", "peepholes"), CASES)
def test_a_removed_unit_is_silent_in_every_step_and_the_others_are_not(
    op: str, direction: str, peepholes: bool, square: bool
) -> None:
    proto = net(op, direction, peepholes, square)
    loaded = load_model(proto)
    stored = {s.name: Stored(s, s.format, loaded.numbers[s.name]) for s in loaded.sites if s.layer == "cells"}
    assert set(stored) == {"W", "R", "B", *("P" if peepholes else "")}
    numbers = removed(stored, 0.4, 0, 1, units=True, model=loaded)
    for tensor in proto.graph.initializer:
        if tensor.name in numbers:
            tensor.CopyFrom(numpy_helper.from_array(numbers[tensor.name], tensor.name))
    x = np.random.default_rng(1).standard_normal((STEPS, 4, UNITS if square else INPUTS)).astype(np.float32)
    states = ort.InferenceSession(proto.SerializeToString()).run(["Y"], {"x": x})[0]
    silent = (states == 0).all(axis=(0, 2))  # direction, unit
    assert silent.sum(1).tolist() == [2] * len(silent)  # round(0.4 * 6) of each direction
    if len(silent) == 2:
        assert not np.array_equal(silent[0], silent[1])  # drawn for each: these two differ
    stacks = {"W": GATES[op], "R": GATES[op], "B": 2 * GATES[op], "P": 3}
    for name, array in numbers.items():
        parts = array.reshape(len(silent), stacks[name], UNITS, -1)
        gone = (parts == 0).all(axis=(1, 3))
        np.testing.assert_array_equal(gone, silent, err_msg=name)
        kept = np.moveaxis(parts, 2, 1)[~silent]
        assert (kept != 0).all()  # columns of R are of other units' rows, and stay


def test_the_same_draw_takes_the_same_units_of_whatever_tensors_are_probed() -> None:
    loaded = load_model(net("LSTM", "forward", False))
    stored = {s.name: Stored(s, s.format, loaded.numbers[s.name]) for s in loaded.sites if s.layer == "cells"}
    whole = removed(stored, 0.5, 3, 0, units=True, model=loaded)
    for name in ("W", "R"):
        alone = removed({name: stored[name]}, 0.5, 3, 0, units=True, model=loaded)
        np.testing.assert_array_equal(alone[name], whole[name])
