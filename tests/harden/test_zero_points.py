"""Codes with zero points: every loss can step on them, and norms count from the zero point."""

import numpy as np
import pytest
import torch

from faultsim.assessment import Options
from faultsim.assessment.setting import make_setting
from faultsim.device import load_device
from faultsim.harden.losses import evaluate
from faultsim.harden.quantize import quantize
from faultsim.harden.radii import Ladder
from faultsim.harden.recipes import LOSSES, named_loss
from faultsim.harden.trainable import Trainable
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, Arrays, batch_of, zero_point_layer


def _images(model):
    with np.load(DIGITS / "digits_int8.npz") as archive:
        return model, archive["image"][:8], archive["labels"][:8]


def _float():
    return _images(load_model(DIGITS / "digits_float.onnx"))


def _int8():
    return _images(load_model(DIGITS / "digits_int8.onnx"))


def _int4():
    floats = load_model(DIGITS / "digits_float.onnx")
    return _images(load_model(quantize(floats, "int4", iter(()), samples=0).proto))


def _uint8():
    rng = np.random.default_rng(0)
    return zero_point_layer(), rng.normal(size=(8, 5)).astype(np.float32), rng.integers(0, 3, 8)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("make", [_float, _int8, _int4, _uint8])
def test_every_loss_can_take_a_step_on_every_kind_of_number(name, make):
    model, x, y = make()
    at = batch_of(model, x, y)
    value, grads = evaluate(named_loss((name,), load_device("sram")).loss, at)
    assert np.isfinite(value)
    for leaf_name, leaf in at.leaves.items():
        leaf.grad = grads[leaf_name]  # torch refuses a gradient of another type
        assert torch.isfinite(leaf.grad).all()
    torch.optim.Adam(list(at.leaves.values()), lr=1e-3).step()


def test_weights_are_what_the_graph_computes_with():
    model = zero_point_layer()
    trainable = Trainable(model)
    leaves = trainable.leaves()
    found = trainable.weights(leaves)["w"]
    real = (model.numbers["w"].astype(float) - [127, 128, 130]) * [0.01, 0.02, 0.03]
    assert found.dtype == leaves["w"].dtype
    assert found.numpy() == pytest.approx(real, rel=1e-6)


def test_the_norm_of_a_model_counts_from_the_zero_point():
    model = zero_point_layer()
    rng = np.random.default_rng(0)
    data = Arrays("x", rng.normal(size=(20, 5)).astype(np.float32), rng.integers(0, 3, 20))
    setting = make_setting(model, "sram", data, Options(trials=2), torch_device="cpu")
    whole = Trainable(model).weights(Trainable(model).leaves())
    norm = np.sqrt(sum(float(whole[name].double().square().sum()) for name in setting.stored))
    assert Ladder(setting, samples=20, gradients=1).norm == pytest.approx(norm, rel=1e-6)
