"""Slopes against closed forms and finite differences of the graph."""

import numpy as np
import pytest
from screen_nets import cnn

from faultsim.engine.scored import scored_output
from faultsim.engine.screen import slopes as module
from faultsim.engine.screen.slopes import slopes
from faultsim.engine.screen.weight_slopes import weight_slopes
from faultsim.errors import ModelError
from faultsim.model import load_model
from faultsim.model.run import Execution


def leads_of(logits, count):
    ordered = -np.sort(-logits, axis=1)
    return (ordered[:, :1] - ordered[:, 1 : count + 1]).T


def test_behind_a_linear_tail_the_slopes_are_its_weights(tiny):
    one = tiny()
    model = one.runner.model
    feeds = one.data.inputs(0, 20)
    found = slopes(model.program, feeds, ["e", "g"], one.output, count=3, device=model.device)
    logits = one.runner.open()(feeds)
    weight = model.numbers["last.weight"]
    order = np.argsort(-logits, axis=1)
    leads = leads_of(logits, 3)
    assert found.sure.all()
    for j in range(3):
        want = (weight[order[:, 0]] - weight[order[:, j + 1]]) / leads[j][:, None]
        assert np.allclose(found.at["g"][j], want, rtol=1e-4, atol=1e-5)
        assert np.allclose(found.at["e"][j], want[:, :, None, None] / 36, rtol=1e-4, atol=1e-6)


def test_slopes_do_not_depend_on_how_many_samples_one_backward_pass_takes(tiny, monkeypatch):
    one = tiny()
    model = one.runner.model
    given = (model.program, one.data.inputs(0, 20), ["e", "g"], one.output)
    whole = slopes(*given, count=3, device=model.device)
    monkeypatch.setattr(module, "AT_ONCE", 7)
    parts = slopes(*given, count=3, device=model.device)
    assert parts.at.keys() == whole.at.keys() == parts.finite.keys()
    assert np.array_equal(parts.sure, whole.sure)
    for name, own in whole.at.items():
        assert np.array_equal(parts.finite[name], whole.finite[name])
        assert all(np.allclose(a, b, rtol=1e-5, atol=1e-7) for a, b in zip(parts.at[name], own, strict=True))


def test_slopes_that_one_part_lacks_are_those_of_none(tiny, monkeypatch):
    one = tiny()
    model = one.runner.model
    run, calls = Execution.run, []

    def failing(self, *given):
        calls.append(given)
        if len(calls) == 2:
            raise ModelError("no")
        return run(self, *given)

    monkeypatch.setattr(Execution, "run", failing)
    monkeypatch.setattr(module, "AT_ONCE", 10)
    found = slopes(model.program, one.data.inputs(0, 20), ["e"], one.output, count=1, device=model.device)
    assert len(calls) == 2
    assert found.at == found.finite == {}
    assert found.sure.tolist() == [True] * 10 + [False] * 10


def test_an_integer_graph_has_slopes_at_its_codes(digits, scorer):
    one = scorer(digits("int8"), threads=1)
    model = one.runner.model
    names = [o for node in model.program.graph.nodes if node.op_type == "QuantizeLinear" for o in node.outputs]
    found = slopes(model.program, one.data.inputs(0, 8), names, one.output, count=2, device=model.device)
    assert set(found.at) >= set(names[1:])
    assert all(np.isfinite(one).all() and np.any(one) for name, one in found.at.items() if name in names[1:])


def test_a_sample_without_a_lead_is_not_sure():
    proto = cnn()
    weight = next(t for t in proto.graph.initializer if t.name == "last.weight")
    weight.raw_data = np.ones((4, 6), np.float32).tobytes()  # all classes alike
    model = load_model(proto)
    feeds = {"x": np.ones((3, 2, 6, 6), np.float32)}
    found = slopes(model.program, feeds, ["e"], scored_output(model), count=1, device=model.device)
    assert not found.sure.any()


def test_an_activation_that_is_not_there_has_no_slopes(tiny):
    one = tiny()
    model = one.runner.model
    feeds = one.data.inputs(0, 2)
    found = slopes(model.program, feeds, ["nowhere"], one.output, count=1, device=model.device)
    assert found.at == {}
    assert not found.sure.any()


def test_weight_slopes_are_finite_differences_of_the_leads(tiny):
    one = tiny()
    model = one.runner.model
    sites = ["first.weight", "first.bias", "second.weight", "last.weight"]
    rng = np.random.default_rng(0)
    found = list(weight_slopes(model.program, one, sites, count=2, device=model.device))
    assert len(found) == 48
    base = one.runner.open()(one.data.inputs(0, 48)).astype(np.float64)
    order = np.argsort(-base, axis=1)
    rows = np.arange(48)
    checked = 0
    for name in sites:
        for at in rng.choice(model.numbers[name].size, 4, replace=False):
            step = 1e-3
            shifted = []
            for sign in (1, -1):
                numbers = model.numbers[name].copy()
                numbers.reshape(-1)[at] += sign * step
                shifted.append(one.runner.open({name: numbers})(one.data.inputs(0, 48)).astype(np.float64))
            for j in range(2):
                leads = [s[rows, order[:, 0]] - s[rows, order[:, j + 1]] for s in shifted]
                want = (leads[0] - leads[1]) / (2 * step)
                seen = np.array([one_image.at[name][j, at] for one_image in found])
                near = np.isclose(seen, want, rtol=0.05, atol=5e-3)
                assert near.mean() > 0.9  # a ReLU that switches within the step
                checked += 1
    assert checked == 32
    assert np.allclose(np.array([f.leads for f in found]).T, leads_of(base, 2), atol=1e-4)
    assert found[0].at["first.weight"].dtype == np.float32


def test_a_graph_whose_output_no_gradient_reaches_is_refused(tiny):
    from onnx import TensorProto, helper

    from faultsim.errors import ModelError

    proto = cnn()
    proto.graph.node[-1].output[0] = "z"
    proto.graph.node.append(helper.make_node("Cast", ["z"], ["i"], "to_int", to=TensorProto.INT64))
    proto.graph.node.append(helper.make_node("Cast", ["i"], ["y"], "back", to=TensorProto.FLOAT))
    one = tiny(proto)
    model = one.runner.model
    with pytest.raises(ModelError, match="a bit map needs gradients, and none reaches the stored numbers"):
        next(weight_slopes(model.program, one, ["first.weight"], count=1, device=model.device))
