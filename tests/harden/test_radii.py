"""The search for a radius: found to a part of itself however small it is, and on weights whose scale is 0."""

import math

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.harden.radii import OCTAVES, START, Ladder, side_by_side
from faultsim.model import load_model
from tests.harden.conftest import Arrays


class Steps(Ladder):
    """A model whose accuracy falls at one radius."""

    def __init__(self, falls_at: float, norm: float = 8.0) -> None:
        self.clean, self.norm, self.asked = 0.9, norm, []
        self._falls_at = falls_at

    def accuracy(self, eps: float) -> float:
        self.asked.append(eps)
        return 0.1 if eps >= self._falls_at else self.clean


@pytest.mark.parametrize("part", [3e-7, 1.7e-4, 0.0049, 0.01, 0.013, 0.4, 5.0])
def test_a_radius_is_known_to_three_per_cent_of_itself(part):
    ladder = Steps(8.0 * part)
    found = ladder.radius(0.5)
    assert 8.0 * part <= found <= 1.032 * 8.0 * part
    assert len(ladder.asked) <= 1 + OCTAVES + 5


def test_a_radius_beyond_five_norms_is_not_reached_and_a_tiny_one_is_the_least_that_is_tried():
    assert math.isnan(Steps(8.0 * 5.2).radius(0.5))
    assert Steps(1e-12).radius(0.5) == pytest.approx(8.0 * START / 2**OCTAVES)
    assert math.isnan(Steps(1e-12, norm=0.0).radius(0.5))


def test_weights_of_scale_zero_have_radii_too():
    rng = np.random.default_rng(3)
    numbers = {
        "w": rng.integers(-90, 90, (5, 3)).astype(np.int8),
        "s": np.array([0.01, 0.0, 0.03], np.float32),
        "z": np.zeros(3, np.int8),
        "b": np.zeros(3, np.float32),
    }
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["real"], "dequantize", axis=1),
        helper.make_node("Gemm", ["x", "real", "b"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "dead",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(array, name) for name, array in numbers.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    proto.ir_version = 8
    model = load_model(proto)
    x = rng.normal(size=(40, 5)).astype(np.float32)
    data = Arrays("x", x, model.run({"x": x})["y"].argmax(1))
    setting = make_setting(model, "sram", data, Options(trials=2), torch_device="cpu")
    old, new = (Ladder(setting, samples=40, gradients=2) for _ in range(2))
    found = side_by_side(old, new).radii
    assert all(one.before is not None and 0 < one.before < math.inf for one in found)
