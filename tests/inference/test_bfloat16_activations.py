"""Activations in bfloat16, which NumPy has no type of its own for: held, upset and rounded as the others are."""

import ml_dtypes
import numpy as np
import pytest
from onnx import TensorProto, helper
from running import calibrated, effects, normals, proto

from faultsim.engine.inference import Chip
from faultsim.engine.runner import Runner
from faultsim.formats import FloatFormat
from faultsim.inference import ActivationStorage, ActivationUpset, SampleAxis
from faultsim.model import load_model

BFLOAT16 = TensorProto.BFLOAT16
X = normals(5, 6).astype(ml_dtypes.bfloat16)


@pytest.fixture
def runner() -> Runner:
    """``y = relu(x w) v`` in bfloat16 throughout."""
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "fc"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("MatMul", ["r", "v"], ["y"], "last"),
    ]
    shapes = {"w": (6, 4), "v": (4, 3)}
    weights = {name: normals(*shape, seed=1).astype(ml_dtypes.bfloat16) for name, shape in shapes.items()}
    return calibrated(load_model(proto(nodes, weights, elem=BFLOAT16, out=BFLOAT16)), {"x": X})


def test_every_activation_is_calibrated_inputs_included(runner: Runner) -> None:
    held = runner.calibration.activations
    assert {name: one.elements for name, one in held.items()} == {"x": 6, "r": 4, "y": 3}
    assert {one.axis for one in held.values()} == {SampleAxis(0)}
    assert {one.format for one in held.values()} == {FloatFormat("bfloat16")}
    assert held["x"].values.peak == np.abs(X.astype(np.float32)).max()


def test_an_upset_of_the_output_flips_exactly_its_bits(runner: Runner) -> None:
    clean = runner.open()({"x": X})
    seen = set()
    for trial in range(40):
        law = effects(ActivationUpset(count=1), trial=trial)
        (upset,) = Chip(runner.model, {}, law, runner.calibration, runner.layers).upsets
        found = runner.open(effects=law)({"x": X})
        assert found.dtype == ml_dtypes.bfloat16
        seen.add(upset.activation)
        if upset.activation == "y":
            wrong = clean.view(np.uint16) ^ found.view(np.uint16)
            expected = np.zeros_like(wrong)
            expected[:, upset.element] = upset.mask
            assert np.array_equal(wrong, expected)
    assert seen == {"x", "r", "y"}


def test_rounding_to_codes_keeps_the_type(runner: Runner) -> None:
    clean = runner.open()({"x": X}).astype(np.float32)
    found = runner.open(effects=effects(ActivationStorage(bits=8)))({"x": X})
    assert found.dtype == ml_dtypes.bfloat16
    assert not np.array_equal(found.astype(np.float32), clean)
    np.testing.assert_allclose(found.astype(np.float32), clean, atol=0.15)


def test_between_casts_a_network_of_float32_runs_as_well() -> None:
    nodes = [
        helper.make_node("Cast", ["x"], ["c"], "in", to=BFLOAT16),
        helper.make_node("MatMul", ["c", "w"], ["h"], "fc"),
        helper.make_node("Relu", ["h"], ["r"], "relu"),
        helper.make_node("Cast", ["r"], ["y"], "out", to=TensorProto.FLOAT),
    ]
    x = normals(5, 6)
    runner = calibrated(load_model(proto(nodes, {"w": normals(6, 4).astype(ml_dtypes.bfloat16)})), {"x": x})
    assert runner.calibration.activations["r"].format == FloatFormat("bfloat16")
    assert runner.open(effects=effects(ActivationUpset(count=1)))({"x": x}).dtype == np.float32
