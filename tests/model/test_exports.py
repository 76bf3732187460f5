"""Networks that exporters and quantizers write: torch by both exporters, onnxruntime's quantizer in all its forms."""

import importlib.util
import io
import logging
import warnings

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from torch import nn

from faultsim.formats import IntFormat
from faultsim.model import check_agreement, load_model

HAS_DYNAMO = importlib.util.find_spec("onnxscript") is not None
WORDS, STEPS, WIDTH = 11, 7, 8


class SmallCnn(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.SiLU(), nn.Conv2d(8, 8, 3, groups=8, padding=1),
            nn.Hardswish(), nn.MaxPool2d(2), nn.Conv2d(8, 6, 1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.head = nn.Linear(6, 5)

    def forward(self, x):
        return self.head(self.body(x))


class Recurrent(nn.Module):
    def __init__(self, kind, **options):
        super().__init__()
        self.cells = getattr(nn, kind)(WIDTH, 6, batch_first=True, **options)
        self.head = nn.Linear(6 * (2 if options.get("bidirectional") else 1), 4)

    def forward(self, x):
        return self.head(self.cells(x)[0])


class Transformer(nn.Module):
    """Tokens to scores, causal, with tied shapes and a learned position."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.place = nn.Parameter(torch.randn(1, STEPS, WIDTH) * 0.1)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, 2, 16, dropout=0.0, batch_first=True, norm_first=True) for _ in range(2)
        )
        self.head = nn.Linear(WIDTH, WORDS)
        self.register_buffer("mask", torch.full((STEPS, STEPS), -1e9).triu(1))

    def forward(self, tokens):
        x = self.embed(tokens) + self.place
        for layer in self.layers:
            x = layer(x, src_mask=self.mask)
        return self.head(x)


class SelfAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.out = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH)

    def forward(self, x):
        q, k, v = (part.unsqueeze(1) for part in self.qkv(self.norm(x)).chunk(3, dim=-1))
        return x + self.out(nn.functional.scaled_dot_product_attention(q, k, v).squeeze(1))


def _images():
    return torch.randn(3, 3, 8, 8)


def _sequence():
    return torch.randn(3, STEPS, WIDTH)


def _tokens():
    return torch.randint(0, WORDS, (3, STEPS))


NETS = {
    "cnn": (SmallCnn, _images),
    "lstm": (lambda: Recurrent("LSTM"), _sequence),
    "lstm_two_ways_deep": (lambda: Recurrent("LSTM", bidirectional=True, num_layers=2), _sequence),
    "gru": (lambda: Recurrent("GRU"), _sequence),
    "rnn": (lambda: Recurrent("RNN"), _sequence),
    "transformer": (Transformer, _tokens),
    "attention": (SelfAttention, _sequence),
}
PARAMETERS_OF_LAYERS = {"cnn": 4, "lstm": 3, "gru": 3, "rnn": 3, "attention": 2, "transformer": 10}
"""Least number of weights (not biases): what must at any rate be found."""


@pytest.fixture(autouse=True)
def _plain_attention():
    """torch's fused inference path of attention has no ONNX form."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(before)


def build(name):
    torch.manual_seed(4)
    make, sample = NETS[name]
    module = make().eval()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 1.5)
    return module, sample()


def export(module, example, *, dynamo=False, **options):
    if dynamo:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            return torch.onnx.export(
                module, (example,), dynamo=True, opset_version=20, dynamic_shapes=shapes, verbose=False, **options
            ).model_proto
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            module, (example,), buffer, dynamo=False, opset_version=17, input_names=["x"], output_names=["y"],
            dynamic_axes={"x": {0: "N"}, "y": {0: "N"}}, **options,
        )  # fmt: skip
    return onnx.load_model_from_string(buffer.getvalue())


def _checks(proto, example, expected=None, *, gradients=True):
    """Load, compare with onnxruntime (and torch), at another batch size too, and demand a gradient at every weight."""
    loaded = load_model(proto)
    name = loaded.inputs[0].name
    fed = {name: example.numpy() if isinstance(example, torch.Tensor) else example}
    for batch in (fed, {name: np.concatenate([fed[name]] * 2)}):
        found = check_agreement(loaded, batch)
        assert found.runtime.startswith("onnxruntime 1.")
        assert found.max_abs_difference <= found.tolerance
    assert not loaded.fallbacks
    if expected is not None:
        (ours,) = loaded.run(fed).values()
        np.testing.assert_allclose(ours, expected.numpy(), atol=2e-5)
    if gradients:
        weights = [s.name for s in loaded.sites if s.role in ("weight", "norm")]
        assert weights
        _, found = loaded.gradient(
            fed, lambda out: sum(v.double().square().mean() for v in out.values()), sites=weights
        )
        silent = {n for n in weights if not np.any(found[n])}
        assert not silent
    return loaded


@pytest.mark.parametrize("name", NETS)
def test_legacy_exporter(name):
    module, example = build(name)
    loaded = _checks(export(module, example), example, module(example).detach())
    assert sum(s.role == "weight" for s in loaded.sites) >= PARAMETERS_OF_LAYERS.get(name, 1)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_DYNAMO, reason="the dynamo exporter needs onnxscript")
@pytest.mark.parametrize("name", NETS)
def test_dynamo_exporter(name):
    module, example = build(name)
    loaded = _checks(export(module, example, dynamo=True), example, module(example).detach())
    assert sum(s.role == "weight" for s in loaded.sites) >= PARAMETERS_OF_LAYERS.get(name, 1)


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_initializers_as_graph_inputs(name):
    module, example = build(name)
    proto = export(module, example, keep_initializers_as_inputs=True)
    assert len(proto.graph.input) > 1
    loaded = _checks(proto, example)
    assert [s.name for s in loaded.inputs] == ["x"]


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_without_constant_folding(name):
    module, example = build(name)
    _checks(export(module, example, do_constant_folding=False), example)


def test_the_causal_mask_is_no_parameter():
    module, example = build("transformer")
    loaded = load_model(export(module, example))
    masks = [s for s in loaded.sites if s.shape[-2:] == (STEPS, STEPS)]
    assert {s.role for s in masks} <= {"constant"}
    kinds = {s.kind for s in loaded.select()}
    assert {"embedding", "gemm", "norm"} <= kinds


# onnxruntime's quantizer


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
    loaded = _checks(onnx.load(tmp_path / "int8.onnx"), example, gradients=False)
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


# Narrow and wide floats, made by hand


def _in_type(proto, elem):
    """All float tensors of a graph in another float type, casts at both ends."""
    made = onnx.ModelProto()
    made.CopyFrom(proto)
    dtype = helper.tensor_dtype_to_np_dtype(elem)
    graph = made.graph
    stored = [*graph.initializer, *(a.t for n in graph.node for a in n.attribute if a.name == "value")]
    for tensor in stored:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(dtype), tensor.name))
    for node in graph.node:
        for a in node.attribute:
            if node.op_type == "Cast" and a.i == TensorProto.FLOAT:
                a.i = elem
    del graph.value_info[:]
    for node in graph.node:
        for ends in (node.input, node.output):
            for i, name in enumerate(ends):
                if name in ("x", "y"):
                    ends[i] = name + "_narrow"
    nodes = [helper.make_node("Cast", ["x"], ["x_narrow"], to=elem), *graph.node]
    nodes.append(helper.make_node("Cast", ["y_narrow"], ["y"], to=TensorProto.FLOAT))
    del graph.node[:]
    graph.node.extend(nodes)
    return made


@pytest.mark.parametrize("elem", ["FLOAT16", "DOUBLE", "BFLOAT16"])
@pytest.mark.parametrize("name", ["cnn", "gru", "attention"])
def test_other_float_types(name, elem):
    module, example = build(name)
    number = TensorProto.DataType.Value(elem)
    loaded = load_model(_in_type(export(module, example), number))
    fed = {"x": example.numpy()}
    found = check_agreement(loaded, fed)
    if found.max_abs_difference is None:  # onnxruntime's CPU build lacks many bfloat16 and float64 kernels
        assert elem != "FLOAT16"
        assert found.runtime.startswith("not checked: onnxruntime")
    with torch.no_grad():
        expected = module(example).numpy()
    tolerance = {"FLOAT16": 1e-2, "DOUBLE": 1e-5, "BFLOAT16": 8e-2}[elem] * max(1, np.abs(expected).max())
    np.testing.assert_allclose(loaded.run(fed)["y"], expected, atol=tolerance)
    weights = [s.name for s in loaded.sites if s.role == "weight"]
    _, slopes = loaded.gradient(fed, lambda out: out["y"].double().square().mean(), sites=weights)
    assert all(np.any(g) for g in slopes.values())
    assert all(g.dtype == (np.float64 if elem == "DOUBLE" else np.float32) for g in slopes.values())


# Control flow as torch scripts it


class Branching(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x):
        if x.sum() > 0:  # noqa: SIM108  (a scripted branch, not an expression)
            y = self.left(x)
        else:
            y = self.right(x)
        return y


class Looping(nn.Module):
    def __init__(self):
        super().__init__()
        self.step = nn.Linear(4, 4)

    def forward(self, x):
        for _ in range(int(x.shape[0])):
            x = torch.tanh(self.step(x))
        return x


@pytest.mark.parametrize("make", [Branching, Looping])
@pytest.mark.parametrize("sign", [1, -1])
def test_scripted_control_flow(make, sign):
    torch.manual_seed(1)
    module = make().eval()
    scripted, example = torch.jit.script(module), torch.rand(3, 4) * sign
    proto = export(scripted, example)
    assert {"If", "Loop"} & {n.op_type for n in proto.graph.node}
    loaded = load_model(proto)
    with torch.no_grad():
        np.testing.assert_allclose(loaded.run({"x": example.numpy()})["y"], module(example).numpy(), atol=1e-6)
    found = check_agreement(loaded, {"x": example.numpy()})
    assert found.max_abs_difference <= found.tolerance
    weights = [s.name for s in loaded.sites if s.role == "weight"]
    assert len(weights) == (2 if make is Branching else 1)
    _, slopes = loaded.gradient({"x": example.numpy()}, lambda out: out["y"].square().mean(), sites=weights)
    assert sum(bool(np.any(g)) for g in slopes.values()) == 1


def test_an_attention_module_loads_without_its_fused_kernels():
    module = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2).eval()
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    before = torch.backends.mha.get_fastpath_enabled()
    model = load_model(module, x)
    assert torch.backends.mha.get_fastpath_enabled() == before
    with torch.no_grad():
        expected = module(x).numpy()
    np.testing.assert_allclose(model.run({model.inputs[0].name: x.numpy()})[model.output_names[0]], expected, atol=1e-5)
