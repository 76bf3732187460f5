"""Networks as torch exports them, by the older exporter and by the newer one."""

import importlib.util

import pytest
from exports import LEAST_WEIGHTS, NETS, STEPS, build, checked, export

from faultsim.model import load_model

HAS_DYNAMO = importlib.util.find_spec("onnxscript") is not None


@pytest.mark.parametrize("name", NETS)
def test_legacy_exporter(name):
    module, example = build(name)
    loaded = checked(export(module, example), example, module(example).detach())
    assert sum(s.role == "weight" for s in loaded.sites) >= LEAST_WEIGHTS.get(name, 1)


@pytest.mark.slow
@pytest.mark.skipif(not HAS_DYNAMO, reason="the dynamo exporter needs onnxscript")
@pytest.mark.parametrize("name", NETS)
def test_dynamo_exporter(name):
    module, example = build(name)
    loaded = checked(export(module, example, dynamo=True), example, module(example).detach())
    assert sum(s.role == "weight" for s in loaded.sites) >= LEAST_WEIGHTS.get(name, 1)


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_initializers_as_graph_inputs(name):
    module, example = build(name)
    proto = export(module, example, keep_initializers_as_inputs=True)
    assert len(proto.graph.input) > 1
    loaded = checked(proto, example)
    assert [s.name for s in loaded.inputs] == ["x"]


@pytest.mark.parametrize("name", ["cnn", "lstm", "transformer"])
def test_without_constant_folding(name):
    module, example = build(name)
    checked(export(module, example, do_constant_folding=False), example)


def test_the_causal_mask_is_no_parameter():
    module, example = build("transformer")
    loaded = load_model(export(module, example))
    masks = [s for s in loaded.sites if s.shape[-2:] == (STEPS, STEPS)]
    assert {s.role for s in masks} <= {"constant"}
    kinds = {s.kind for s in loaded.select()}
    assert {"embedding", "gemm", "norm"} <= kinds
