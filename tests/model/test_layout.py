"""Axes of stored tensors behind Unsqueeze, Squeeze and Reshape, and of the inputs of onnxruntime's fused layers."""

import numpy as np
import pytest
from graphs import codes, model, node, numbers, tensor

from faultsim.attacks.probing import removed
from faultsim.attacks.real import real_values
from faultsim.corruption import Stored
from faultsim.model import load_model

F = np.float32


def _after(op, shape, **stored):
    """A weight behind one op with a second input, then a MatMul of as many axes as come out."""
    nodes = [node(op, ["W", *stored], ["w"]), node("MatMul", ["x", "w"], ["y"], "layer")]
    proto = model(nodes, [tensor("W", numbers(*shape)), *(tensor(n, np.array(v)) for n, v in stored.items())], ("N", 4))
    return load_model(proto).site("W")


@pytest.mark.parametrize(
    ("op", "shape", "given", "axis"),
    [
        ("Unsqueeze", (4, 6), [0], 1),
        ("Unsqueeze", (4, 6), [-4, 1], 1),
        ("Squeeze", (4, 1, 6), [1], 2),
        ("Squeeze", (1, 4, 1, 6), [0, -2], 3),
        ("Reshape", (4, 6, 1), [4, 6], 1),
        ("Reshape", (2, 2, 6), [4, -1], 2),
        ("Reshape", (2, 2, 6), [-1, 6], 2),
        ("Reshape", (4, 2, 3), [4, 6], None),  # two axes made the channels
        ("Reshape", (4, 6), [0, 3, 2], None),  # the channels are cut in two
    ],
)
def test_channels_lie_where_they_came_from(op, shape, given, axis):
    site = _after(op, shape, to=given)
    assert (site.channels_told, site.channel_axis) == (axis is not None, axis or 0)


@pytest.mark.parametrize(("axis", "before"), [(1, 0), (-1, 1), (2, 1)])
def test_scales_behind_unsqueeze_are_those_that_the_graph_takes(axis, before):
    nodes = [
        node("Unsqueeze", ["q", "at"], ["u"]),
        node("DequantizeLinear", ["u", "s"], ["d"], axis=axis),
        node("Squeeze", ["d", "at"], ["w"]),
        node("MatMul", ["x", "w"], ["y"], "layer"),
    ]
    scale = np.linspace(0.01, 0.06, 6, dtype=F)
    stored = [tensor("q", codes(6, 6)), tensor("s", scale), tensor("at", np.array([0]))]
    loaded = load_model(model(nodes, stored))
    site = loaded.site("q")
    assert site.scale.shape == tuple(6 if i == before else 1 for i in range(2))
    real = real_values(Stored(site, site.format, loaded.numbers["q"]))
    np.testing.assert_allclose(real, loaded.run({"x": np.eye(6, dtype=F)})["y"], rtol=1e-5)


def recurrent():
    """A GRU of torch whose weights are unsqueezed in the graph: 3 gates of 4 units, 5 inputs."""
    nodes = [node("Unsqueeze", [n, "at"], [n + "u"]) for n in ("W", "R")]
    nodes += [node("GRU", ["x", "Wu", "Ru"], ["", "h"], "layer", hidden_size=4), node("Identity", ["h"], ["y"])]
    stored = [tensor("W", numbers(12, 5)), tensor("R", numbers(12, 4)), tensor("at", np.array([0]))]
    return load_model(model(nodes, stored, (7, "N", 5), rank=3))


def test_units_of_an_unsqueezed_recurrent_layer_are_removed():
    loaded = recurrent()
    assert {s.name: s.channel_axis for s in loaded.sites} == {"W": 0, "R": 0}
    stored = {s.name: Stored(s, s.format, loaded.numbers[s.name]) for s in loaded.sites}
    gone = removed(stored, 0.5, 0, 0, units=True, model=loaded)
    rows = (gone["W"] == 0).all(1)
    assert rows.sum() == 6
    assert np.array_equal(rows, (gone["R"] == 0).all(1))


def test_tensors_of_a_layer_may_have_unlike_numbers_of_units():
    nodes = [node("LSTM", ["x", "W", "R", "", "", "", "", "P"], ["", "h", ""], "layer", hidden_size=6)]
    stored = [tensor("W", numbers(1, 24, 5)), tensor("R", numbers(1, 24, 6)), tensor("P", numbers(2, 18)[:1])]
    loaded = load_model(model([*nodes, node("Identity", ["h"], ["y"])], stored, (7, "N", 5), rank=3))
    kept = {s.name: Stored(s, s.format, loaded.numbers[s.name]) for s in loaded.sites}
    gone = removed(kept, 0.9, 0, 0, units=True, model=loaded)
    assert [(gone[n] == 0).mean().round(1) for n in "WRP"] == [0.8, 0.8, 0.8]  # five units of six


def test_fused_attention_counts_channels_along_its_last_axis():
    fused = {"domain": "com.microsoft", "num_heads": 2}
    nodes = [
        node("Attention", ["x", "W", "B"], ["a"], "first", **fused),
        node("MultiHeadAttention", ["a", "a", "a", "M"], ["y"], "second", **fused),
    ]
    stored = [tensor("W", numbers(8, 24)), tensor("B", numbers(24)), tensor("M", numbers(24, seed=1))]
    loaded = load_model(model(nodes, stored, ("N", 6, 8), rank=3, domains=["com.microsoft"]))
    found = {s.name: (s.layer, s.role, s.channel_axis) for s in loaded.sites}
    assert found == {"W": ("first", "weight", 1), "B": ("first", "bias", 0), "M": ("second", "bias", 0)}


def test_quantized_lstm_of_onnxruntime_has_channels_scales_and_zero_points():
    names = ["x", "W", "R", "", "", "", "", "", "Ws", "Wz", "Rs", "Rz"]
    fused = {"domain": "com.microsoft", "hidden_size": 6, "direction": "bidirectional"}
    nodes = [node("DynamicQuantizeLSTM", names, ["", "h", ""], "layer", **fused), node("Identity", ["h"], ["y"])]
    scales = {n: np.linspace(0.005, 0.01, 48, dtype=F).reshape(2, 24) for n in ("Ws", "Rs")}
    zeros = {n: np.arange(-24, 24, dtype=np.int8).reshape(2, 24) for n in ("Wz", "Rz")}
    stored = {"W": codes(2, 5, 24), "R": codes(2, 6, 24), **scales, **zeros}
    tensors = [tensor(n, a) for n, a in stored.items()]
    loaded = load_model(model(nodes, tensors, (7, "N", 5), rank=4, domains=["com.microsoft"]))
    roles = {s.name: s.role for s in loaded.sites}
    assert roles == {n: {"s": "scale", "z": "zero_point"}.get(n[1:], "weight") for n in stored}
    for name, given, zero in (("W", "Ws", "Wz"), ("R", "Rs", "Rz")):
        site = loaded.site(name)
        assert site.channel_axis == 2
        np.testing.assert_allclose(site.scale, scales[given].reshape(2, 1, 24))
        np.testing.assert_allclose(site.zero, zeros[zero].reshape(2, 1, 24))
    # codes of zero in both directions: the state stays 0
    still = {n: np.broadcast_to(loaded.site(n).zero, loaded.site(n).shape).astype(np.int8) for n in ("W", "R")}
    x = np.random.default_rng(0).normal(size=(7, 3, 5)).astype(F)
    assert np.abs(loaded.run({"x": x}, still)["y"]).max() == 0
    assert np.abs(loaded.run({"x": x})["y"]).max() > 0.01
