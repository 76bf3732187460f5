"""Laws of certificates: closed forms, first order, monotone, the same for every split into batches."""

import itertools
import math

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from faultsim.certify import Certificate, certify
from faultsim.certify.loss import cap
from faultsim.constraints import Global, LpL0, PerTensor, TensorSet, argmax_lp_l0
from faultsim.model import load_model
from tests.certify.nets import Builder, Case, Network, case, logits, random_set, stored

ORDERS = (1.0, 1.5, 2.0, math.inf)


def certified(one: Case, whole: TensorSet, **given: float) -> Certificate:
    found = certify(one.model, one.stored, whole, one.samples, probabilities=Network(one).probability, **given)
    assert found.proven, found.why_not
    return found


def linear(features: int = 4, classes: int = 1) -> Case:
    rng = np.random.default_rng(5)
    net = Builder(rng)
    y = net.node("Gemm", "x", net.weight(features, classes), net.weight(classes))
    model = load_model(net.proto(y, ("N", features), ("N", classes)))
    x = rng.standard_normal((6, features))
    return Case(model, stored(model), x, logits(model, {}, x).argmax(1))


@pytest.mark.parametrize("p", ORDERS)
@pytest.mark.parametrize("n", [None, 2, 5])
def test_a_linear_network_is_bounded_exactly(p: float, n: int | None) -> None:
    """z changes by a·(x, 1): the margin by its dual norm, here through the closed form of the maximiser."""
    one = linear()
    found = certified(one, Global(tuple(one.stored), LpL0(p, 0.3, n)))
    (z,) = logits(one.model, {}, one.x).T[1:]
    wide = np.concatenate([one.x, np.ones((6, 1))], 1)
    reach = np.array([argmax_lp_l0(row, p=p, eps=0.3, n=n) @ row for row in wide])
    np.testing.assert_allclose(found.margins_upper, reach - np.abs(z), rtol=1e-8, atol=2e-9)
    alone = np.log1p(np.exp(reach - np.abs(z))) - np.log1p(np.exp(-np.abs(z)))
    assert found.loss_increase_upper <= alone.mean() * (1 + 1e-6)
    assert found.first_order <= found.loss_increase_upper


def test_no_corner_of_a_small_box_passes_the_certificate() -> None:
    rng = np.random.default_rng(3)
    net = Builder(rng)
    h = net.node("Relu", net.node("Gemm", "x", net.weight(2, 3), net.weight(3)))
    y = net.node("MatMul", h, net.weight(3, 1))
    model = load_model(net.proto(y, ("N", 2), ("N", 1)))
    x = rng.standard_normal((5, 2))
    one = Case(model, stored(model), x, logits(model, {}, x).argmax(1))
    network, size = Network(one), 12
    assert sum(math.prod(s) for s in one.shapes.values()) == size
    for eps in (0.01, 0.3):
        found = certified(one, Global(tuple(one.stored), LpL0(math.inf, eps)))
        losses = []
        for signs in itertools.product((-eps, eps), repeat=size):  # 4,096 corners
            flat, delta = np.array(signs), {}
            for name, shape in one.shapes.items():
                delta[name], flat = flat[: math.prod(shape)].reshape(shape), flat[math.prod(shape) :]
            losses.append(network.score(delta).loss)
        worst = max(losses) - network.score(None).loss
        assert worst <= found.loss_increase_upper <= (1 + 20 * eps) * worst


@pytest.mark.parametrize("seed", range(12))
def test_over_the_radius_the_bound_tends_to_the_dual_norm_of_the_gradient(seed: int) -> None:
    one = case(seed)
    ratios = []
    for eps in (1e-4, 1e-5, 1e-6):
        whole = random_set(np.random.default_rng([9, seed]), one, eps)
        found = certified(one, whole)
        indicator = whole.indicator(Network(one).gradient(None, "cross_entropy").grads)
        assert found.first_order >= indicator * (1 - 1e-9)
        if all(block.constraint.low is None for block in whole.blocks):
            assert found.first_order == pytest.approx(indicator, rel=1e-9)
        ratios.append(found.loss_increase_upper / found.first_order - 1)
    assert all(ratio >= 0 for ratio in ratios)
    assert ratios[2] < 2e-2 * max(ratios[0], 1e-3) + 1e-5
    assert ratios[2] < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_the_bound_grows_with_the_radius_and_with_the_count(seed: int) -> None:
    one = case(seed)
    names = tuple(one.stored)
    for p in (2.0, math.inf):
        rows = [certified(one, Global(names, LpL0(p, eps))) for eps in (0, 1e-4, 1e-2, 3e-2)]
        rows_n = [certified(one, Global(names, LpL0(p, 1e-2, n))) for n in (0, 1, 10, None)]
        for some in (rows, rows_n):
            losses = [found.loss_increase_upper for found in some]
            assert losses == sorted(losses)
            assert [f.accuracy_lower for f in some] == sorted((f.accuracy_lower for f in some), reverse=True)
            assert losses[0] <= 1e-9
            assert some[0].accuracy_lower == some[0].correct / some[0].samples


def test_batches_and_the_way_a_set_is_written_make_no_difference() -> None:
    one = case(11)
    whole = Global(tuple(one.stored), LpL0(2, 0.01))
    split = certified(one, whole)
    joined = certify(one.model, one.stored, whole, [({"x": one.x}, one.y)], probabilities=Network(one).probability)
    assert joined.loss_increase_upper == pytest.approx(split.loss_increase_upper, rel=1e-9)
    np.testing.assert_allclose(joined.margins_upper, split.margins_upper, rtol=1e-9)
    name = next(iter(one.stored))
    alone, each = Global((name,), LpL0(2, 0.01)), PerTensor({name: LpL0(2, 0.01)})
    assert certified(one, alone).loss_increase_upper == certified(one, each).loss_increase_upper


def test_a_smaller_effort_is_still_above_and_never_sharper() -> None:
    for seed in range(6):
        one = case(seed)
        whole = Global(tuple(one.stored), LpL0(2, 0.02))
        assert certified(one, whole, effort=10**4).loss_increase_upper >= certified(one, whole).loss_increase_upper * (
            1 - 1e-12
        )


def test_a_box_keeps_elements_where_they_are() -> None:
    one = linear()
    names = tuple(one.stored)
    pinned = certified(one, Global(names, LpL0(2, 0.3, low=0.0, high=0.0)))
    assert pinned.loss_increase_upper <= 1e-9
    narrow = certified(one, Global(names, LpL0(2, 0.3, low=-1e-3, high=1e-3)))
    square = certified(one, Global(names, LpL0(math.inf, 1e-3)))
    assert narrow.margins_upper == pytest.approx(square.margins_upper, rel=1e-9)
    one_way = certified(one, Global(names, LpL0(2, 1e-6, low=0.0)))
    gradient = Network(one).gradient(None, "cross_entropy").grads
    up = math.sqrt(sum(float((np.maximum(g, 0) ** 2).sum()) for g in gradient.values()))
    assert one_way.loss_increase_upper == pytest.approx(1e-6 * up, rel=1e-4)


def test_a_graph_that_ends_in_a_softmax_has_the_bounds_of_its_logits() -> None:
    rng = np.random.default_rng(2)
    found = []
    for end in (None, "Softmax", "LogSoftmax"):
        net = Builder(np.random.default_rng(2))
        y = net.node("Gemm", "x", net.weight(3, 4), net.weight(4))
        y = y if end is None else net.node(end, y, axis=1)
        model = load_model(net.proto(y, ("N", 3), ("N", 4)))
        x = np.random.default_rng(4).standard_normal((5, 3))
        one = Case(model, stored(model), x, rng.integers(0, 4, 5) * 0)
        whole = Global(tuple(one.stored), LpL0(2, 0.1))
        found.append(certify(model, one.stored, whole, one.samples, probabilities=end == "Softmax"))
    assert found[0].loss_increase_upper == found[1].loss_increase_upper == found[2].loss_increase_upper
    assert found[0].proven


def test_with_its_roundoff_the_bound_covers_a_network_that_runs_in_float32() -> None:
    rng = np.random.default_rng(1)
    net = Builder(rng)
    h = net.node("Relu", net.node("Gemm", "x", net.weight(20, 30), net.weight(30)))
    y = net.node("Gemm", h, net.weight(30, 3), net.weight(3))
    proto = net.proto(y, ("N", 20), ("N", 3))
    wide = load_model(proto)
    for tensor in proto.graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    for value in (*proto.graph.input, *proto.graph.output):
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    narrow = load_model(proto)
    x = rng.standard_normal((40, 20)).astype(np.float32)
    rows = narrow.run({"x": x})["y"].astype(np.float64)
    numbers = {name: narrow.numbers[name].astype(np.float64) for name in wide.numbers}
    exact = wide.run({"x": x.astype(np.float64)}, numbers)["y"]
    labels = exact.argmax(1)
    whole = Global(tuple(stored(narrow)), LpL0(2, 0.0))
    found = certify(narrow, stored(narrow), whole, [({"x": x}, labels)], roundoff=2.0**-24)
    at = np.arange(40)
    off = [r - r[at, labels][:, None] for r in (rows, exact)]
    top = [np.where(np.eye(3, dtype=bool)[labels], -np.inf, m).max(1) for m in off]
    assert (top[0] <= found.margins_upper).all()
    assert (found.margins_upper - top[1] > np.abs(top[0] - top[1])).all()
    loss = [np.log(np.exp(m).sum(1)).mean() for m in off]
    assert 0 < abs(loss[0] - loss[1]) <= found.loss_increase_upper < 1e-4


def test_the_linear_cap_of_the_loss_lies_above_it_everywhere() -> None:
    rng = np.random.default_rng(0)
    for width in (1e-6, 0.1, 3.0, 40.0):
        z = torch.from_numpy(rng.standard_normal((30, 4)) * 3)
        labels = torch.from_numpy(rng.integers(0, 4, 30))
        top = z.argmax(1)
        low, high = -width * torch.rand(30, 4).double(), width * torch.rand(30, 4).double()
        low[range(30), top] = high[range(30), top] = 0
        found = cap(z, labels, low, high)
        for _ in range(50):
            d = low + (high - low) * torch.from_numpy(rng.choice([0.0, 1.0, rng.random()], (30, 4)))
            rise = torch.nn.functional.cross_entropy(z + d, labels, reduction="none")
            rise = rise - torch.nn.functional.cross_entropy(z, labels, reduction="none")
            assert (rise <= found.constant + 1e-12).all()
            assert (rise <= (found.seed * d).sum(1) + found.offset + 1e-12).all()
        assert bool(torch.isinf(found.offset).any()) == (width > 30)


def test_the_same_parameter_used_twice_and_through_a_transpose_counts_twice() -> None:
    w = np.array([[1.0, -0.5], [0.25, 2.0]])
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "a"),
        helper.make_node("Transpose", ["w"], ["t"], "t", perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t"], ["b"], "b"),
        helper.make_node("Add", ["a", "b"], ["y"], "sum"),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.DOUBLE, ("N", 2)) for name in "xy"]
    graph = helper.make_graph(nodes, "twice", ends[:1], ends[1:], [numpy_helper.from_array(w, "w")])
    model = load_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9))
    x = np.array([[1.0, 2.0]])
    one = Case(model, stored(model), x, np.array([1]))
    found = certify(model, one.stored, Global(("w",), LpL0(math.inf, 0.1)), [({"x": x}, one.y)])
    # z_0 - z_1 = 2 x_0 w_00 + x_1 (w_10 + w_01) - x_0 (w_01 + w_10) - 2 x_1 w_11
    difference = np.array([[2 * x[0, 0], x[0, 1] - x[0, 0]], [x[0, 1] - x[0, 0], -2 * x[0, 1]]])
    assert found.margins_upper[0] == pytest.approx((difference * w).sum() + 0.1 * np.abs(difference).sum(), rel=1e-8)
