"""A hardened graph written back into its module: the module's own forward and both of its exports are that graph."""

import copy
from dataclasses import replace

import brevitas.nn as qnn
import numpy as np
import onnxruntime
import pytest
import torch
from brevitas.quant import Int8WeightPerChannelFloat, Int8WeightPerTensorFloat, Int32Bias, Uint8ActPerTensorFloat
from torch import nn

from faultsim.errors import ModelError, OptionError
from faultsim.harden import Training, harden, into_module
from faultsim.harden.module import _prove
from faultsim.harden.scales import SCALE
from faultsim.harden.trainable import Trainable
from faultsim.model import load_model
from tests.harden.conftest import Arrays
from tests.harden.test_harden import QUICK

WEIGHTS = {"tensor": Int8WeightPerTensorFloat, "channel": Int8WeightPerChannelFloat}


class Plain(nn.Module):
    """What plain torch networks are made of; two norms hold equal numbers, which the exporter stores once."""

    def __init__(self):
        super().__init__()
        self.body = nn.ModuleDict({"conv": nn.Conv2d(1, 4, 3, bias=False), "bn": nn.BatchNorm2d(4)})
        self.fc = nn.Linear(144, 5)
        self.norm, self.twin = nn.LayerNorm(5), nn.BatchNorm1d(5)
        self.last = nn.Linear(5, 3, bias=False)

    def forward(self, x):
        x = self.body["bn"](self.body["conv"](x)).relu().flatten(1)
        return self.last(self.twin(self.norm(self.fc(x))))


def _brevitas(bits, per):
    torch.manual_seed(0)
    kind = {"weight_quant": WEIGHTS[per], "weight_bit_width": bits}
    return nn.Sequential(
        qnn.QuantConv2d(1, 4, 3, bias=True, **kind),
        nn.BatchNorm2d(4),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits, return_quant_tensor=True),
        nn.Flatten(),
        qnn.QuantLinear(144, 8, bias=True, bias_quant=Int32Bias, **kind),
        nn.ReLU(),
        nn.Linear(8, 3),
    )


def _trained(module, seed=1):
    module.train()
    rng = torch.Generator().manual_seed(seed)
    for _ in range(3):
        module(torch.randn(16, 1, 8, 8, generator=rng))
    return module.eval()


def _moved(model, *, scales="keep", shrink=1.0):
    """The graph with numbers that a training might have left."""
    trainable = Trainable(model, scales=scales)
    leaves = trainable.leaves()
    rng = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, leaf in leaves.items():
            learned = name.startswith(SCALE)
            size = 0.05 if learned else 0.1 * float(leaf.abs().mean()) + 0.01
            leaf += size * torch.randn(leaf.shape, generator=rng, dtype=leaf.dtype)
            if not learned:
                leaf *= shrink
    return load_model(model.with_numbers(trainable.numbers(leaves)))


def _forward(module, x):
    with torch.no_grad():
        found = module(torch.from_numpy(x))
    return getattr(found, "value", found).numpy()


def _first(model, x):
    return next(iter(model.run({model.inputs[0].name: x}).values()))


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(5).normal(size=(64, 1, 8, 8)).astype(np.float32)


def test_a_plain_torch_module_gets_the_hardened_numbers(x):
    torch.manual_seed(0)
    module = _trained(Plain())
    before = copy.deepcopy(module.state_dict())
    example = torch.from_numpy(x[:2])
    original = load_model(module, example)
    hardened = _moved(original)
    done = into_module(module, example, hardened)
    assert done.scales == ()
    want = _first(hardened, x)
    assert np.abs(want - _first(original, x)).max() > 0.05
    assert _forward(done.module, x) == pytest.approx(want, rel=1e-4, abs=1e-5)
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    assert not any(part.training for part in done.module.modules())
    state = done.module.state_dict()
    changed = [name for name in before if not torch.equal(state[name], before[name])]
    assert {"body.conv.weight", "body.bn.weight", "fc.bias", "norm.weight", "twin.weight", "last.weight"} <= set(
        changed
    )
    assert not any("running" in name for name in changed)
    fresh = Plain().eval()
    fresh.load_state_dict(state)
    assert np.array_equal(_forward(fresh, x), _forward(done.module, x))


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("per", ["tensor", "channel"])
@pytest.mark.parametrize("route", ["qcdq", "qonnx"])
@pytest.mark.parametrize("scales", ["keep", "learn"])
def test_a_brevitas_module_computes_and_exports_as_the_hardened_graph(x, bits, per, route, scales):
    module = _trained(_brevitas(bits, per))
    example = torch.from_numpy(x[:2])
    original = load_model(module, example, export=route)
    hardened = _moved(original, scales=scales, shrink=0.85)  # the largest weights no longer give the scales
    done = into_module(module, example, hardened, export=route)
    want = _first(hardened, x)
    assert np.abs(want - _first(original, x)).max() > 0.05
    step = 1e-5 * np.abs(want).max()
    assert (
        np.abs(_forward(done.module, x) - want) <= step
    ).mean() > 0.99  # a code on a rounding edge may fall either way
    for again in ("qcdq", "qonnx"):
        exported = load_model(done.module, example, export=again)
        assert (np.abs(_first(exported, x) - want) <= step).mean() > 0.99
        if again == "qcdq":
            options = onnxruntime.SessionOptions()
            options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
            session = onnxruntime.InferenceSession(exported.proto.SerializeToString(), options)
            assert (np.abs(session.run(None, {session.get_inputs()[0].name: x})[0] - want) <= step).mean() > 0.99
    layer = done.module[0]
    old = module[0].quant_weight()
    if scales == "keep":
        assert torch.allclose(layer.quant_weight().scale, old.scale, rtol=1e-6)
    elif "0" in done.scales:
        assert not torch.allclose(layer.quant_weight().scale, old.scale, rtol=1e-3)
    codes = layer.quant_weight().int()
    assert int(codes.abs().max()) <= 2 ** (bits - 1) - 1
    assert not torch.equal(codes, old.int())


def test_a_scale_that_the_weights_no_longer_give_becomes_a_parameter(x):
    module = _trained(_brevitas(8, "channel"))
    example = torch.from_numpy(x[:2])
    done = into_module(module, example, _moved(load_model(module, example), shrink=0.85))
    assert done.scales == ("0", "4")
    parameters = dict(done.module.named_parameters())
    assert "0.weight_quant.tensor_quant.scaling_impl.value" in parameters
    before = _forward(done.module, x)
    again = copy.deepcopy(done.module)
    with torch.no_grad():
        again[0].weight += 1.0
    again.load_state_dict(done.module.state_dict())
    assert np.array_equal(_forward(again, x), before)


def test_what_cannot_be_guaranteed_is_one_error(x, monkeypatch):
    module = _trained(_brevitas(8, "channel"))
    example = torch.from_numpy(x[:2])
    hardened = _moved(load_model(module, example))
    with pytest.raises(OptionError, match="is not the export of this Sequential with other numbers"):
        into_module(module, example, hardened, export="qonnx")
    with pytest.raises(OptionError, match="is not the export of this Plain with other numbers"):
        into_module(Plain(), example, hardened)
    monkeypatch.setattr("faultsim.harden.module._hold_scale", lambda layer, step: False)
    with pytest.raises(ModelError, match=r"its export still differs at '.*', so that the module cannot be guaranteed"):
        into_module(module, example, _moved(load_model(module, example), shrink=0.85))


def test_another_order_of_nodes_is_no_proof(x):
    module, example = _trained(_brevitas(8, "channel")), torch.from_numpy(x[:2])
    with pytest.raises(ModelError, match="its export still differs at the order of its nodes"):
        _prove(_trained(Plain()), example, load_model(module, example), "qcdq")


def test_a_module_that_was_quantized_on_the_way_has_no_place_for_codes(tmp_path, x):
    torch.manual_seed(0)
    data = Arrays("input", np.tile(x, (4, 1, 1, 1)), np.arange(256) % 3)
    options = replace(QUICK, radii=False, quantize="int4", training=Training(steps=2, batch_size=32))
    done = harden(
        _trained(Plain()),
        "sram",
        data,
        target=tmp_path / "m.onnx",
        options=options,
        example_inputs=torch.from_numpy(x[:2]),
    )
    with pytest.raises(OptionError, match="was quantized on the way, and has no place for codes"):
        _ = done.module


def test_a_tensor_that_is_no_parameter_is_one_error(x):
    class Held(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, 3)

        def forward(self, image):
            return self.fc(image.flatten(1)) @ torch.full((3, 3), 0.5)

    module, example = Held().eval(), torch.from_numpy(x[:2])
    with pytest.raises(ModelError, match="which is no parameter of the module, so that the hardened numbers cannot be"):
        into_module(module, example, _moved(load_model(module, example)))


def test_harden_hands_back_the_module_that_it_was_given(tmp_path):
    torch.manual_seed(1)
    kind = {"weight_quant": Int8WeightPerChannelFloat, "weight_bit_width": 4}
    module = nn.Sequential(
        qnn.QuantLinear(6, 16, bias=True, **kind),
        qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=4),
        qnn.QuantLinear(16, 3, bias=True, **kind),
    ).train()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 6)).astype(np.float32)
    module(torch.from_numpy(x[:64]))
    module.eval()
    example = torch.from_numpy(x[:2])
    data = Arrays("input", x, x[:, :3].argmax(1))
    options = replace(QUICK, radii=False, training=Training(steps=120, batch_size=32, lr=2e-2))
    for route in ("qcdq", "qonnx"):
        done = harden(
            module, "sram", data, target=tmp_path / "m.onnx", options=options, example_inputs=example, export=route
        )
        assert done.trained.best.step > 0
        want = _first(done.exported.model, x)
        assert (np.abs(_forward(done.module, x) - want) <= 1e-5 * np.abs(want).max()).mean() > 0.99
        assert done.module is done.module
    from_file = harden(
        "digits", "reram", target=tmp_path / "d.onnx", options=replace(options, training=Training(steps=2))
    )
    with pytest.raises(OptionError, match="a file was hardened and no module"):
        _ = from_file.module
