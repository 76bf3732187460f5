"""bfloat16 passes: nearly the float32 gradient, refused where codes are multiplied; what is written is not rounded."""

from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

from faultsim.cli import main
from faultsim.engine.scored import scored_output
from faultsim.errors import OptionError
from faultsim.harden import Training, harden
from faultsim.harden import precision as module
from faultsim.harden.batch import BatchAt
from faultsim.harden.losses import CorruptionResistant, GradientRegularised, Plain, evaluate
from faultsim.harden.precision import resolved
from faultsim.harden.samples import Samples
from faultsim.harden.target import Target
from faultsim.harden.trainable import Trainable
from faultsim.metrics import Classification
from faultsim.model import load_model
from tests.harden.conftest import DIGITS, Arrays
from tests.harden.test_harden import QUICK


def _gradient(loss, precision, digits, model=None):
    model = model or load_model(DIGITS / "digits_float.onnx")
    trainable = Trainable(model, precision=precision)
    data = Samples(Arrays("image", *digits), np.arange(64), model.inputs)
    target = Target(model, Classification(), scored_output(model), data, towards="labels", batch_size=64)
    feeds, batch_loss = target.batch(np.arange(64))
    names = tuple(trainable.parameters)
    leaves = trainable.leaves()
    at = BatchAt(trainable, leaves, feeds, batch_loss, names=names, seed=0, step=0)
    value, grads = evaluate(loss, at)
    assert all(grad.dtype == leaves[name].dtype != torch.bfloat16 for name, grad in grads.items())
    return value, torch.cat([grad.reshape(-1).float() for grad in grads.values()])


@pytest.mark.parametrize("loss", [Plain(), CorruptionResistant(), GradientRegularised()])
def test_a_gradient_in_bfloat16_points_where_that_in_float32_does(digits, loss):
    whole, half = (_gradient(loss, precision, digits) for precision in ("float32", "bf16"))
    assert half[0] == pytest.approx(whole[0], rel=0.05)
    assert not torch.equal(half[1], whole[1])  # it is really rounded
    assert float(torch.cosine_similarity(whole[1], half[1], dim=0)) > 0.98


def test_so_does_that_of_a_graph_of_quantizers(digits, int8):
    whole, half = (_gradient(Plain(), precision, digits, int8) for precision in ("float32", "bf16"))
    assert half[0] == pytest.approx(whole[0], rel=0.1)
    assert float(torch.cosine_similarity(whole[1], half[1], dim=0)) > 0.95


class Calibration(CalibrationDataReader):
    def __init__(self, images):
        self._batches = iter([{"image": images}])

    def get_next(self):
        return next(self._batches, None)


def test_auto_is_float32_on_a_cpu_and_codes_are_never_multiplied_in_less(digits, int8, tmp_path):
    feeds = {"image": digits[0][:4]}
    floats = load_model(DIGITS / "digits_float.onnx")
    assert resolved("auto", floats, feeds) == resolved("float32", floats, feeds) == "float32"
    assert resolved("bf16", floats, feeds) == resolved("bf16", int8, feeds) == "bf16"
    place = tmp_path / "codes.onnx"
    quantize_static(
        DIGITS / "digits_float.onnx", place, Calibration(digits[0][:32]), quant_format=QuantFormat.QOperator
    )
    with pytest.raises(OptionError, match=r"--precision bf16: codes\.onnx multiplies codes \(QGemm, QLinearConv"):
        resolved("bf16", load_model(place), feeds)
    with pytest.raises(OptionError, match="precision is 'half', it must be 'auto', 'float32' or 'bf16'"):
        Training(precision="half")


def test_numbers_too_large_for_the_graph_in_bfloat16_are_told():
    proto = onnx.load(DIGITS / "digits_float.onnx")
    for tensor in proto.graph.initializer:
        if tensor.name == "fc.weight":
            huge = np.full(list(tensor.dims), 3.4e38, np.float32)  # the nearest bfloat16 is infinite
            tensor.CopyFrom(numpy_helper.from_array(huge, tensor.name))
    feeds = {"image": np.zeros((2, 1, 8, 8), np.float32)}
    with pytest.raises(OptionError, match="gives numbers in it that are not finite; train it in float32"):
        resolved("bf16", load_model(proto), feeds)


def test_a_graph_that_does_not_run_in_bfloat16_is_told(digits, monkeypatch):
    model = load_model(DIGITS / "digits_float.onnx")

    def run(feeds):
        raise RuntimeError("no kernel for BFloat16")

    monkeypatch.setattr(model, "run", run)
    with pytest.raises(OptionError, match=r"does not run in it \(no kernel for BFloat16\); train it in float32"):
        resolved("bf16", model, {"image": digits[0][:4]})


def test_what_is_trained_in_bfloat16_is_written_and_judged_in_float32(tmp_path):
    training = Training(steps=40, batch_size=32, lr=3e-3, precision="bf16")
    options = replace(QUICK, radii=False, training=training)
    done = harden("digits", "reram", DIGITS / "digits_float.npz", target=tmp_path / "h.onnx", options=options)
    assert done.result.training.options["precision"] == "bf16"
    written = done.exported.model.numbers["fc.weight"]
    assert written.dtype == np.float32
    assert not np.array_equal(written, torch.from_numpy(written).bfloat16().float().numpy())
    assert done.result.agreement.max_abs_difference <= done.result.agreement.tolerance


def test_a_processor_that_is_slow_at_bfloat16_is_told_of(monkeypatch):
    assert 0 < module.slowdown() < 1e4
    monkeypatch.setattr(module, "slowdown", lambda: 27.1)
    said = module.slow_note("bf16", "cpu")
    assert said is not None
    assert said.startswith("A convolution takes 27.1 times as long in bfloat16 as in float32 on this processor: ")
    assert module.slow_note("auto", "cpu") is None
    assert module.slow_note("bf16", "cuda") is None
    monkeypatch.setattr(module, "slowdown", lambda: 0.6)
    assert module.slow_note("bf16", "cpu") is None


def test_the_slow_training_is_told_of_before_it_and_in_the_result(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(module, "slowdown", lambda: 27.1)
    asked = "harden digits --device reram --precision bf16 --steps 2 --trials 2 --strength 1 --lr 1e-4 --no-radii -q"
    with pytest.raises(SystemExit):
        main([*asked.split(), "--out", str(tmp_path), "-o", str(tmp_path / "h.onnx")])
    assert capsys.readouterr().err.startswith("note: A convolution takes 27.1 times as long in bfloat16")
    assert "27.1 times as long" in (tmp_path / "harden.json").read_text()


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
def test_auto_is_bfloat16_on_cuda_for_a_float_graph(digits):
    feeds = {"image": digits[0][:4]}
    assert resolved("auto", load_model(DIGITS / "digits_float.onnx", torch_device="cuda"), feeds) == "bf16"
    assert resolved("auto", load_model(DIGITS / "digits_int8.onnx", torch_device="cuda"), feeds) == "float32"
