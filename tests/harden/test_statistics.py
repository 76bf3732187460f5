"""Running statistics of batch norms: taken anew over training samples, judged as they are written."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from faultsim.assessment import Options
from faultsim.harden import Hardening, Training, batchnorm, harden
from faultsim.harden.prepare import prepare
from faultsim.harden.samples import Samples
from faultsim.harden.trainable import Trainable
from faultsim.model import load_model
from tests.harden.conftest import Arrays


def _batch_norm(behind=(), tensors=None, out="y", shape=("n", 3, 3, 3)):
    """A 3×3 convolution from 2 to 3 channels and a live batch norm, to *out*; then the nodes *behind*."""
    rng = np.random.default_rng(0)
    stored = {
        "w": rng.normal(size=(3, 2, 3, 3)),
        "scale": rng.normal(size=3),
        "shift": rng.normal(size=3),
        "mean": np.zeros(3),
        "var": np.ones(3),
        **(tensors or {}),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
        helper.make_node("BatchNormalization", ["c", "scale", "shift", "mean", "var"], [out], "bn"),
        *behind,
    ]
    graph = helper.make_graph(
        nodes,
        "bn",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 5, 5])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, list(shape))],
        [numpy_helper.from_array(array.astype(np.float32), name) for name, array in stored.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.checker.check_model(model)
    return model


def _with_batch_norm():
    return load_model(_batch_norm())


def _classifier():
    behind = [
        helper.make_node("Relu", ["b"], ["r"], "relu"),
        helper.make_node("Flatten", ["r"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["y"], "gemm"),
    ]
    tensors = {"v": 0.2 * np.random.default_rng(1).normal(size=(27, 3))}
    return _batch_norm(behind, tensors, out="b", shape=("n", 3))


def test_running_statistics_are_not_trained_and_can_be_taken_anew():
    model = _with_batch_norm()
    assert batchnorm.live(model)
    trainable = Trainable(model)
    assert set(trainable.frozen) == {"mean", "var"}
    assert set(trainable.parameters) == {"w", "scale", "shift"}
    x = np.random.default_rng(1).normal(size=(16, 2, 5, 5)).astype(np.float32) * 3 + 1
    numbers = {"w": 2 * model.numbers["w"]}
    found = batchnorm.recalibrated(model, numbers, [{"x": x[:8]}, {"x": x[8:]}])
    plain = {"scale": np.ones(3, np.float32), "shift": np.zeros(3, np.float32), **numbers}
    before = model.run({"x": x}, plain)["y"].astype(np.float64) * np.sqrt(1 + 1e-5)  # mean 0, variance 1: the conv
    halves = before.reshape(2, 8, 3, 9).transpose(0, 2, 1, 3).reshape(2, 3, -1)
    assert found["mean"] == pytest.approx(halves.mean(2).mean(0), rel=1e-4, abs=1e-5)
    assert found["var"] == pytest.approx(halves.var(2, ddof=1).mean(0), rel=1e-4)
    after = model.run({"x": x}, {**plain, **found})["y"]
    assert after.mean((0, 2, 3)) == pytest.approx(0, abs=0.02)
    assert after.std((0, 2, 3)) == pytest.approx(1, abs=0.05)


def _images(count, seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, 2, 5, 5)).astype(np.float32) + shift


def test_statistics_are_taken_over_samples_drawn_from_all_of_the_training_data(monkeypatch):
    model = _with_batch_norm()
    monkeypatch.setattr(batchnorm, "RECALIBRATED", 64)
    sorted_by_class = np.concatenate([_images(200, 1, -3.0), _images(200, 2, 3.0)])
    train = Samples(Arrays("x", sorted_by_class, None), np.arange(400), model.inputs)
    numbers = {"w": 2 * model.numbers["w"]}
    of = batchnorm.anew(model, train, batch_size=16, seed=3)
    found = of(numbers)
    whole = batchnorm.recalibrated(model, numbers, [{"x": sorted_by_class}])
    assert found["w"] is numbers["w"]
    assert found["var"] == pytest.approx(whole["var"], rel=0.2)  # one class alone has a twentieth of it
    assert all(np.array_equal(found[name], array) for name, array in of(numbers).items())
    other = batchnorm.anew(model, train, batch_size=16, seed=4)(numbers)
    assert not np.array_equal(other["mean"], found["mean"])


def test_what_is_judged_has_the_statistics_that_are_written(tmp_path):
    onnx.save(_classifier(), tmp_path / "m.onnx")
    labels = np.arange(240) % 3
    x = _images(240, 5) + 2 * np.random.default_rng(6).normal(size=(3, 2, 5, 5)).astype(np.float32)[labels]
    options = Hardening(
        losses=("plain",), search=1, batch_norm="recalibrated", radii=False, validation=0.3, held_out=0.3,
        tolerance=0.2, blend=False,
        training=Training(steps=40, batch_size=16, lr=0.02, ema=0.0),
        assess=Options(trials=2, site_trials=0, search_gradients=1, site_samples=8),
    )  # fmt: skip
    done = harden(tmp_path / "m.onnx", "reram", Arrays("x", x, labels), target=tmp_path / "h.onnx",
                  out=tmp_path / "out", options=options)  # fmt: skip
    assert done.trained.best.step > 0
    assert {"mean", "var"} <= set(done.result.changed)
    ready = prepare(tmp_path / "m.onnx", "reram", Arrays("x", x, labels), options, torch_device="cpu")
    written = ready.validator.setting.scorer.data
    answers = done.exported.model.run(written.inputs(0, len(written)))["y"].argmax(1)
    assert (answers == written.labels(0, len(written))).mean() == pytest.approx(done.trained.best.accuracy)
    deployed = {name: ready.setting.model.numbers[name] for name in ("w", "scale")}
    assert ready.validator.settled(deployed) == deployed
    assert "anew" in ready.validator.key
