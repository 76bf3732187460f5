"""Layers are found wherever they lie in a graph, with the axis of their values that counts samples."""

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from running import calibrated, effects, normals, proto

from faultsim.engine.inference import calibrate, find_layers
from faultsim.errors import ModelError
from faultsim.inference import OutputNoise, SampleAxis, StuckOutput, WeightReadNoise
from faultsim.model import Model, load_model


def value(name: str, shape: list[Any], elem: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, elem, shape)


def looped() -> Model:
    """Three turns of one layer inside a Loop."""
    body = helper.make_graph(
        [
            helper.make_node("MatMul", ["state", "w"], ["next"], "step"),
            helper.make_node("Identity", ["go"], ["on"]),
        ],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("state", ["N", 6])],
        [value("on", [], TensorProto.BOOL), value("next", ["N", 6])],
    )
    node = helper.make_node("Loop", ["turns", "", "x"], ["y"], "loop", body=body)
    return load_model(proto([node], {"w": np.eye(6, dtype=np.float32), "turns": np.int64(3)}))


def test_every_turn_of_a_loop_reads_anew() -> None:
    model, x = looped(), normals(2000, 6)
    runner = calibrated(model, {"x": x})
    assert runner.calibration is not None
    assert list(runner.calibration.layers) == ["loop/body/step"]
    law = OutputNoise(sigma=0.1, input_range=1.0)
    noise = runner.open(effects=effects(law))({"x": x}) - x
    # Three independent draws of the same size, passed on by the identity.
    assert noise.std() == pytest.approx(0.1 * np.sqrt(3), rel=0.03)


def test_layers_inside_branches_and_functions_are_reached() -> None:
    def branch(name: str, seed: int) -> Any:
        nodes = [helper.make_node("Gemm", ["x", "w"], ["o"], "inner")]
        weight = numpy_helper.from_array(normals(6, 4, seed=seed), "w")
        return helper.make_graph(nodes, name, [], [value("o", ["N", 4])], [weight])

    nodes = [
        helper.make_node("ReduceSum", ["x"], ["s"], keepdims=0),
        helper.make_node("Greater", ["s", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], "if", then_branch=branch("a", 1), else_branch=branch("b", 2)),
    ]
    model = load_model(proto(nodes, {"zero": np.float32(0)}))
    assert len(find_layers(model).matrix) == 2
    up, down = {"x": np.abs(normals(3, 6))}, {"x": -np.abs(normals(3, 6))}
    law = StuckOutput(elements=((None, None),))
    runner = calibrated(model, up)
    assert not runner.open(effects=effects(law))(up).any()
    with pytest.raises(ModelError, match="did not run on the samples that were calibrated on"):
        runner.open(effects=effects(law))(down)

    made = proto([helper.make_node("Twice", ["x", "w"], ["y"], "call", domain="local")], {"w": normals(6, 6)})
    made.functions.append(
        helper.make_function(
            "local",
            "Twice",
            ["a", "b"],
            ["d"],
            [
                helper.make_node("MatMul", ["a", "b"], ["c"], "one"),
                helper.make_node("MatMul", ["c", "b"], ["d"], "two"),
            ],
            [helper.make_opsetid("", 21)],
        )
    )
    made.opset_import.append(helper.make_opsetid("local", 1))
    model = load_model(made)
    layers = find_layers(model)
    assert [layer.site for layer in layers.matrix.values()] == ["w", "w"]
    runner = calibrated(model, {"x": normals(3, 6)})
    assert not runner.open(effects=effects(law))({"x": normals(3, 6)}).any()
    std = {"w": np.full((6, 6), 0.1, np.float32)}
    x = np.repeat(normals(1, 6), 3000, axis=0)
    noise = runner.open(effects=effects(WeightReadNoise(std=std)))({"x": x})
    middle = x[0] @ normals(6, 6)
    # Second layer: its own reads of the noisy middle, and the first one's noise passed on.
    first = 0.01 * np.square(x[0]).sum()
    expected = 0.01 * (np.square(middle).sum() + 6 * first) + first * np.square(normals(6, 6)).sum(axis=0)
    assert np.all(np.abs(noise.var(axis=0) / expected - 1) < 0.2)


def test_layers_that_no_law_reaches_are_named() -> None:
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R"], ["h"], "lstm", hidden_size=4),
        helper.make_node("Squeeze", ["h", "one"], ["s"]),
        helper.make_node("MatMul", ["s", "w"], ["y"], "fc"),
    ]
    weights = {"W": normals(1, 16, 6), "R": normals(1, 16, 4), "w": normals(4, 3), "one": np.array([1])}
    layers = find_layers(load_model(proto(nodes, weights, (5, "N", 6), rank=3)))
    assert [layer.name for layer in layers.matrix.values()] == ["fc"]
    assert [(one.layer, one.op) for one in layers.uncovered] == [("lstm", "LSTM")]


def test_a_layer_of_folded_samples_keeps_each_samples_noise_together() -> None:
    nodes = [
        helper.make_node("Reshape", ["x", "flat"], ["r"], "fold"),
        helper.make_node("MatMul", ["r", "w"], ["h"], "fc"),
        helper.make_node("Reshape", ["h", "back"], ["y"], "unfold"),
    ]
    weights = {"flat": np.array([-1, 4]), "w": normals(4, 3), "back": np.array([-1, 5, 3])}
    model = load_model(proto(nodes, weights, ("N", 5, 4), rank=3))
    x = normals(7, 5, 4)
    runner = calibrated(model, {"x": x})
    run = runner.open(effects=effects(OutputNoise(sigma=0.1)))
    whole = run({"x": x}, 0)
    np.testing.assert_allclose(run({"x": x[3:5]}, 3), whole[3:5], rtol=1e-5, atol=1e-6)


def test_a_graph_of_one_batch_size_is_calibrated_as_it_is() -> None:
    model = load_model(proto([helper.make_node("MatMul", ["x", "w"], ["y"], "fc")], {"w": normals(6, 4)}, (4, 6)))
    found = calibrate(model, [{"x": normals(4, 6)}, {"x": normals(4, 6, seed=1)}])
    assert found.samples == 8
    assert found.layers["fc"].output_axis == SampleAxis(0)
