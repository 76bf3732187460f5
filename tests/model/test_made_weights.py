"""Weights that reach their layer by branches, loops or arithmetic of their own: roles, axes, and what a fault does."""

import numpy as np
import onnxruntime
import pytest
import torch
from graphs import feeds, model, node, numbers, tensor
from made import MADE, cast_codes, rounded
from onnx import numpy_helper

from faultsim.attacks.real import real_values
from faultsim.corruption import Stored, Xor, apply_edit
from faultsim.model import load_model
from faultsim.model.sites import left_out


@pytest.mark.parametrize("name", MADE)
def test_roles_and_channels(name):
    build, expected = MADE[name]
    found = {s.name: (s.layer, s.role, s.channel_axis) for s in load_model(build()).sites if s.name != "head"}
    assert found == expected


@pytest.mark.parametrize(("name", "site"), [(n, s) for n, (_, sites) in MADE.items() for s in sites if s != "none"])
def test_a_flipped_bit_does_what_it_does_in_onnxruntime(name, site):
    loaded = load_model(MADE[name][0]())
    one = loaded.site(site)
    hits = min(8, one.elements)
    masks = np.full(hits, 1 << (6 if one.format.bits == 8 else 22), np.uint64)  # the highest of the mantissa, or code
    hit = apply_edit(Xor(indices=np.arange(hits), masks=masks), Stored(one, one.format, loaded.numbers[site]))
    x = feeds(loaded.proto)
    written = loaded.with_numbers({site: hit})
    session = onnxruntime.InferenceSession(written.SerializeToString(), providers=["CPUExecutionProvider"])
    there = session.run(None, x)[0]
    np.testing.assert_allclose(loaded.run(x, {site: hit})["y"], there, rtol=1e-4, atol=1e-5)
    if site != "if/else_branch/W2":  # the branch that is not taken
        assert not np.allclose(loaded.run(x)["y"], there, equal_nan=True)


def test_codes_that_plain_arithmetic_dequantizes_have_their_scale_and_zero():
    loaded = load_model(cast_codes())
    site, seen = loaded.site("q"), {}
    loaded.run(feeds(loaded.proto), observer=lambda node, name, value: seen.setdefault(name, value))
    assert (site.scale.shape, site.zero.shape) == ((8, 1), (8, 1))
    real = real_values(Stored(site, site.format, loaded.numbers["q"]))
    np.testing.assert_allclose(real, seen["w"].numpy(), rtol=1e-5)


def test_a_weight_that_plain_arithmetic_rounds_is_said_to_be_untold():
    assert load_model(rounded()).site("W").untold


def test_weight_norm_of_torch():
    from torch.nn.utils.parametrizations import weight_norm

    net = torch.nn.Sequential(weight_norm(torch.nn.Conv1d(3, 6, 3)), torch.nn.Flatten(), torch.nn.Linear(36, 4))
    roles = {s.name.rpartition(".")[2]: (s.role, s.kind) for s in load_model(net, torch.randn(4, 3, 8)).sites[:3]}
    assert roles == {"original1": ("weight", "conv"), "original0": ("norm", "conv"), "bias": ("bias", "conv")}


def test_a_factor_of_the_inputs_stays_a_norm_and_one_number_a_constant():
    nodes = [
        node("MatMul", ["x", "W"], ["h"], "layer"),
        node("Mul", ["h", "g"], ["m"]),
        node("Add", ["m", "b"], ["a"]),
        node("Div", ["a", "two"], ["y"]),
    ]
    weights = [tensor("W", numbers(6, 4)), tensor("g", numbers(4)), tensor("b", numbers(4, seed=1))]
    sites = load_model(model(nodes, [*weights, tensor("two", np.float32(2))])).sites
    assert {s.name: s.role for s in sites} == {"W": "weight", "g": "norm", "b": "bias", "two": "constant"}


def test_numbers_of_no_role_are_named():
    nodes = [
        node("Concat", ["x", "token"], ["h"], axis=0),
        node("Softmax", ["h"], ["s"]),
        node("Slice", ["s", "from", "to"], ["p"]),
        node("MatMul", ["p", "W"], ["y"]),
    ]
    stored = [tensor("token", numbers(3, 6)), tensor("W", numbers(6, 4))]
    stored += [tensor("from", np.array([0])), tensor("to", np.array([2]))]
    loaded = load_model(model(nodes, stored))
    assert loaded.site("token").role == "constant"
    assert left_out(loaded.program, loaded.sites) == ("token",)
    assert left_out(load_model(rounded()).program, load_model(rounded()).sites) == ()


def test_the_same_names_in_two_branches_are_two_values():
    """The branch that multiplies reads its own ``k``, the other yields one of that name."""
    build = MADE["branches"][0]()
    then, other = (a.g for a in build.graph.node[0].attribute)
    for body in (then, other):
        body.initializer[0].name = "k"
        body.node[0].input[0] = "k"
    other.initializer.append(numpy_helper.from_array(numbers(8, 8, seed=7), "u"))
    other.node.append(node("MatMul", ["k", "u"], ["e"]))
    other.output[0].name = "e"
    roles = {s.name: s.role for s in load_model(build).sites}
    assert set(roles.values()) == {"weight"}
    assert len(roles) == 4
