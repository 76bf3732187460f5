"""What stands behind the logits: certificates are of the probability that is scored, its rounding included."""

import math

import numpy as np
import pytest
from onnx import NodeProto, TensorProto, helper

from faultsim.certify import Certificate, certify
from faultsim.constraints import Global, LpL0
from faultsim.corruption import Stored
from faultsim.engine.scored import scored_output
from faultsim.metrics.binary import two_classes
from faultsim.metrics.losses import numpy_cross_entropy, numpy_logits
from faultsim.model import Model, load_model
from tests.tiny_nets import model

X = np.random.default_rng(0).standard_normal((6, 6)).astype(np.float32)
FLOAT32 = 2.0**-24
FLOAT = TensorProto.FLOAT


def net(weights: np.ndarray, *ops: tuple[str, dict[str, object]], **constants: np.ndarray) -> Model:
    """``h = x @ weights``, then *ops* in a row; constants follow the first input where their name says so."""
    nodes: list[NodeProto] = [helper.make_node("MatMul", ["x", "w"], ["v0"], "product")]
    for place, (op, attributes) in enumerate(ops):
        more = [name for name in constants if name.startswith(op)]
        nodes.append(helper.make_node(op, [f"v{place}", *more], [f"v{place + 1}"], f"{op}{place}", **attributes))
    nodes[-1].output[0] = "y"
    inputs = {"x": (FLOAT, ("N", weights.shape[0]))}
    outputs = {"y": (FLOAT, None)}
    return load_model(model(nodes, {"w": weights, **constants}, inputs=inputs, outputs=outputs))  # type: ignore[arg-type]


def certified(one: Model, labels: np.ndarray, x: np.ndarray = X, *, eps: float, **given: float) -> Certificate:
    """Certify under what the scored output is taken as."""
    site = one.site("w")
    held = {"w": Stored(site, site.format, one.numbers["w"])}
    taken = scored_output(one).is_probability
    return certify(one, held, Global(("w",), LpL0(2, eps)), [({"x": x}, labels)], probabilities=taken, **given)


WEIGHTS = {classes: np.random.default_rng(1).standard_normal((6, classes)).astype(np.float32) for classes in (1, 3)}
MOVED = [
    [("Identity", {})],
    [("Cast", {"to": FLOAT})],
    [("Identity", {}), ("Cast", {"to": TensorProto.DOUBLE}), ("Identity", {})],
    [("Flatten", {}), ("Identity", {})],
]


@pytest.mark.parametrize("moves", MOVED, ids=["identity", "cast", "both", "flatten"])
@pytest.mark.parametrize(("op", "classes"), [("Sigmoid", 1), ("Softmax", 3), ("LogSoftmax", 3)])
def test_a_probability_that_is_handed_on_has_the_certificate_of_its_logits(op, classes, moves):
    labels = np.arange(6) % max(classes, 2)
    plain = certified(net(WEIGHTS[classes], (op, {})), labels, eps=0.05)
    moved = certified(net(WEIGHTS[classes], (op, {}), *moves), labels, eps=0.05)
    assert plain.proven
    assert moved.proven, moved.why_not
    assert (moved.loss_increase_upper, moved.accuracy_lower) == (plain.loss_increase_upper, plain.accuracy_lower)


@pytest.mark.parametrize(
    ("ops", "constants"),
    [
        ([("Softmax", {}), ("Cast", {"to": TensorProto.FLOAT16}), ("Cast", {"to": FLOAT})], {}),
        (
            [("Sigmoid", {}), ("QuantizeLinear", {}), ("DequantizeLinear", {})],
            {
                "QuantizeLinear_s": np.float32(0.25).reshape(()),
                "DequantizeLinear_s": np.float32(0.25).reshape(()),
            },
        ),
    ],
    ids=["float16", "codes"],
)
def test_a_probability_whose_logits_cannot_be_told_is_not_proven(ops, constants):
    one = net(WEIGHTS[1], *ops, **constants)
    assert scored_output(one).is_probability
    found = certified(one, np.zeros(6, np.int64), eps=0.05)
    assert not found.proven
    assert "output 'y' is scored as a probability, and no softmax or sigmoid makes it" in found.why_not
    assert found.loss_increase_upper == math.inf


def test_a_softmax_that_is_scored_as_logits_is_not_proven():
    one = net(WEIGHTS[3], ("Softmax", {}))
    site = one.site("w")
    held = {"w": Stored(site, site.format, one.numbers["w"])}
    found = certify(one, held, Global(("w",), LpL0(2, 0.05)), [({"x": X}, np.zeros(6, np.int64))])
    assert "output 'y' is scored as logits, and node 'Softmax0' (Softmax) makes it" in found.why_not


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_a_softmax_over_one_class_is_refused(op):
    found = certified(net(WEIGHTS[1], (op, {})), np.zeros(6, np.int64), eps=0.05)
    assert "over one class it gives the same number whatever the logit is" in found.why_not


def deployed(one: Model, weights: np.ndarray, x: np.ndarray, labels: np.ndarray) -> float:
    """The mean loss that is reported of the float32 graph."""
    probability = scored_output(one).is_probability
    rows = one.run({"x": x}, {"w": weights})["y"]
    rows = two_classes(rows, output_is_probability=probability) if rows.shape[1] == 1 else rows
    return float(numpy_cross_entropy(numpy_logits(rows, probability=probability), labels).mean())


@pytest.mark.parametrize("logit", [2.0, 9.0, 15.9, 17.5, 30.0])
def test_the_bound_covers_the_rounding_of_the_other_class_of_a_sigmoid(logit):
    weights = np.array([[np.float32(logit)]])
    x = np.ones((1, 1), np.float32)
    one = net(weights, ("Sigmoid", {}))
    for sign, label in ((1, 0), (1, 1), (-1, 0), (-1, 1)):
        labels = np.array([label])
        for eps in (1e-6, 1e-2, 0.4):
            found = certified(one, labels, sign * x, eps=eps, roundoff=FLOAT32)
            assert found.proven
            clean = deployed(one, weights, sign * x, labels)
            for step in np.linspace(-eps, eps, 41):
                moved = (weights.astype(np.float64) + step).astype(np.float32)
                rise = deployed(one, moved, sign * x, labels) - clean
                assert rise <= found.loss_increase_upper, (sign, label, eps, step)


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
def test_the_bound_covers_the_rounding_of_a_softmax(op):
    rng = np.random.default_rng(3)
    weights = (30 * rng.standard_normal((2, 3))).astype(np.float32)
    one = net(weights, (op, {}))
    for _ in range(20):
        x = rng.standard_normal((1, 2)).astype(np.float32)
        labels = np.array([int(rng.integers(0, 3))])
        found = certified(one, labels, x, eps=1e-7, roundoff=FLOAT32)
        if not found.proven:
            assert "clamped" in found.why_not
            continue
        clean = deployed(one, weights, x, labels)
        for _ in range(20):
            step = rng.standard_normal(weights.shape)
            moved = (weights + 1e-7 * step / np.linalg.norm(step)).astype(np.float32)
            assert deployed(one, moved, x, labels) - clean <= found.loss_increase_upper


def test_in_exact_arithmetic_the_head_adds_nothing():
    labels = np.zeros(6, np.int64)
    exact, rounded = (
        certified(net(WEIGHTS[1], ("Sigmoid", {})), labels, eps=1e-9, **given) for given in ({}, {"roundoff": FLOAT32})
    )
    assert exact.loss_increase_upper < 1e-7
    assert 1e-6 < rounded.loss_increase_upper < 1e-3
