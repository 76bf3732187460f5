"""Networks that onnxruntime's own quantizer writes, in all its forms."""

import logging

import numpy as np
import onnx
import pytest
from exports import build, checked, export
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)

from faultsim.formats import IntFormat
from faultsim.model import check_agreement, load_model


class _Batches(CalibrationDataReader):
    def __init__(self, example):
        self.left = iter([{"x": example.numpy()}] * 2)

    def get_next(self):
        return next(self.left, None)


@pytest.mark.parametrize("name", ["cnn", "attention", "transformer"])
@pytest.mark.parametrize("form", [QuantFormat.QDQ, QuantFormat.QOperator], ids=["qdq", "qoperator"])
@pytest.mark.parametrize("per_channel", [False, True], ids=["tensor", "channel"])
def test_static_quantization(name, form, per_channel, tmp_path):
    module, example = build(name)
    onnx.save(export(module, example), tmp_path / "float.onnx")
    logging.disable(logging.WARNING)  # the quantizer warns at every node of a transformer
    quantize_static(
        tmp_path / "float.onnx", tmp_path / "int8.onnx", _Batches(example), quant_format=form, per_channel=per_channel,
        weight_type=QuantType.QInt8, activation_type=QuantType.QUInt8,
    )  # fmt: skip
    logging.disable(logging.NOTSET)
    loaded = checked(onnx.load(tmp_path / "int8.onnx"), example, gradients=False)
    stored = [s for s in loaded.sites if s.role == "weight" and isinstance(s.format, IntFormat)]
    assert len(stored) >= 2
    assert all(s.scale is not None for s in stored)
    _, found = loaded.gradient(
        {"x": example.numpy()}, lambda out: out["y"].double().square().mean(), sites=[s.name for s in stored]
    )
    assert all(np.any(g) for g in found.values())


@pytest.mark.parametrize("name", ["cnn", "lstm", "attention", "transformer"])
def test_dynamic_quantization(name, tmp_path):
    module, example = build(name)
    onnx.save(export(module, example), tmp_path / "float.onnx")
    # onnxruntime's CPU build has no ConvInteger for signed weights.
    weight = QuantType.QUInt8 if name == "cnn" else QuantType.QInt8
    quantize_dynamic(tmp_path / "float.onnx", tmp_path / "int8.onnx", weight_type=weight)
    loaded = load_model(tmp_path / "int8.onnx")
    found = check_agreement(loaded, {"x": example.numpy()})
    assert found.runtime.startswith("onnxruntime 1.")
    assert found.max_abs_difference <= found.tolerance
    stored = [s.name for s in loaded.sites if s.role == "weight" and isinstance(s.format, IntFormat)]
    assert stored
    _, slopes = loaded.gradient(
        {"x": example.numpy()}, lambda out: out["y"].double().square().mean(), sites=stored
    )  # fmt: skip
    assert all(np.any(g) for g in slopes.values())
