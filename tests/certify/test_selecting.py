"""Rules held to onnxruntime: the clean margins as the radius falls to 0, and corruptions drawn from the set."""

from collections.abc import Callable

import numpy as np
import onnxruntime as ort
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from faultsim.certify import Certificate, certify
from faultsim.constraints import Global, LpL0
from faultsim.corruption import Stored
from faultsim.model import load_model
from tests.certify.nets import Builder
from tests.tiny_nets import model

Build = Callable[[Builder, str], str]
SIDE = 5


def pool(kernel: list[int], **attributes: object) -> Build:
    return lambda net, h: net.node("MaxPool", h, kernel_shape=kernel, **attributes)


def viewed(net: Builder, h: str) -> str:
    """``x.view(x.size(0), -1)`` as older versions of PyTorch export it."""
    first = net.node("Gather", net.node("Shape", h), net.const(0, np.int64))
    rows = net.node("Unsqueeze", first, net.const([0], np.int64))
    return net.node("Reshape", h, net.node("Concat", rows, net.const([-1], np.int64), axis=0))


def of_three(op: str) -> Build:
    return lambda net, h: net.node(op, h, net.node("Neg", h), net.const(np.full((1, 1, 1), 0.2), np.float32))


BUILDS: dict[str, Build] = {
    "window as large as the data": pool([SIDE, SIDE]),
    "the same with room behind": pool([SIDE, SIDE], pads=[0, 0, 1, 1], strides=[2, 2]),
    "spread beyond the data": pool([SIDE, SIDE], dilations=[2, 2], pads=[0, 0, 4, 4]),
    "spread along one axis": pool([SIDE, SIDE], dilations=[1, 2], pads=[0, 0, 0, 4]),
    "spread inside": pool([2, 3], dilations=[2, 2], pads=[1, 0, 0, 2]),
    "incomplete last window": pool([2, 2], strides=[3, 2], ceil_mode=1),
    "same, lower": pool([3, 2], strides=[2, 2], auto_pad="SAME_LOWER"),
    "hard swish": lambda net, h: net.node("HardSwish", h),
    "hard sigmoid": lambda net, h: net.node("HardSigmoid", h, alpha=0.3),
    "mean of values": of_three("Mean"),
    "largest of values": of_three("Max"),
    "smallest of values": of_three("Min"),
    "view": viewed,
}


def net_of(build: Build) -> tuple[ModelProto, tuple[str, ...]]:
    """A convolution, what is under test and a classifier, in float32; the names of its weights too."""
    rng = np.random.default_rng(3)
    net = Builder(rng)
    middle = build(net, net.node("Conv", "x", net.weight(3, 2, 1, 1, fan=2), net.weight(3)))
    flat = net.node("Flatten", middle)
    probe = ort.InferenceSession(narrow(net.proto(flat, ("N", 2, SIDE, SIDE), ("N", "M"))).SerializeToString())
    width = probe.run(None, {"x": np.zeros((1, 2, SIDE, SIDE), np.float32)})[0].shape[1]
    net.nodes[-1].output[0] = flat  # naming the output for the probe renamed it
    logits = net.node("Gemm", flat, net.weight(width, 3, fan=width), net.weight(3))
    names = tuple(name for name in net.weights if name.startswith("w"))
    return narrow(net.proto(logits, ("N", 2, SIDE, SIDE), ("N", 3))), names


def narrow(proto: ModelProto) -> ModelProto:
    """Return the graph in float32."""
    for value in [*proto.graph.input, *proto.graph.output]:
        value.type.tensor_type.elem_type = TensorProto.FLOAT
    for one in proto.graph.initializer:
        array = numpy_helper.to_array(one)
        if array.dtype == np.float64:
            one.CopyFrom(numpy_helper.from_array(array.astype(np.float32), one.name))
    return proto


def run(proto: ModelProto, x: np.ndarray, changed: dict[str, np.ndarray]) -> np.ndarray:
    copy = ModelProto()
    copy.CopyFrom(proto)
    for one in copy.graph.initializer:
        if one.name in changed:
            one.CopyFrom(numpy_helper.from_array(changed[one.name].astype(np.float32), one.name))
    return np.asarray(ort.InferenceSession(copy.SerializeToString()).run(["y"], {"x": x})[0], np.float64)


def margin(rows: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """How far any other class lies above the *predicted* one."""
    others = rows.copy()
    at = np.arange(len(rows))
    others[at, predicted] = -np.inf
    return others.max(1) - rows[at, predicted]


@pytest.mark.parametrize("kind", BUILDS)
def test_margins_are_those_of_onnxruntime_and_hold_over_the_set(kind: str) -> None:
    proto, names = net_of(BUILDS[kind])
    loaded = load_model(proto)
    held = {name: Stored(loaded.site(name), loaded.site(name).format, loaded.numbers[name]) for name in names}
    rng = np.random.default_rng(4)
    x = rng.standard_normal((6, 2, SIDE, SIDE)).astype(np.float32)
    clean = run(proto, x, {})
    predicted = clean.argmax(1)

    def certified(eps: float) -> Certificate:
        ball = Global(names, LpL0(2, eps))
        found = certify(loaded, held, ball, [({"x": x}, predicted)], roundoff=2.0**-24)
        assert found.proven, found.why_not
        return found

    small = certified(1e-6)
    np.testing.assert_allclose(small.margins_upper, margin(clean, predicted), atol=2e-3)
    assert small.correct == 6
    wide = certified(0.3)
    numbers = {name: np.asarray(held[name].values, np.float64) for name in names}
    shares = [0.0]
    for _ in range(20):
        drawn = {name: rng.standard_normal(array.shape) for name, array in numbers.items()}
        length = np.sqrt(sum(float((part**2).sum()) for part in drawn.values()))
        moved = run(proto, x, {name: numbers[name] + 0.3 * part / length for name, part in drawn.items()})
        assert (margin(moved, predicted) <= wide.margins_upper).all()
        shares.append(float((margin(moved, predicted) - margin(clean, predicted)).max()))
    assert max(shares) > 0.01  # the draws do something


def test_only_what_the_scored_output_depends_on_must_be_bounded() -> None:
    """Labels and a second branch beside the logits, neither of which has a rule."""
    proto, names = net_of(pool([2, 2]))
    beside = [
        helper.make_node("ArgMax", ["y"], ["label"], "label", axis=1, keepdims=0),
        helper.make_node("Sin", ["v0"], ["wave"], "wave"),
    ]
    kinds = (("label", TensorProto.INT64), ("wave", TensorProto.FLOAT))
    x = np.random.default_rng(5).standard_normal((4, 2, SIDE, SIDE)).astype(np.float32)
    plain = load_model(proto)
    proto.graph.node.extend(beside)
    proto.graph.output.extend(helper.make_tensor_value_info(name, kind, None) for name, kind in kinds)
    found = []
    for loaded in (plain, load_model(proto)):
        held = {name: Stored(loaded.site(name), loaded.site(name).format, loaded.numbers[name]) for name in names}
        samples = [({"x": x}, np.zeros(4, np.int64))]
        found.append(certify(loaded, held, Global(names, LpL0(2, 0.01)), samples, output="y", roundoff=2.0**-24))
        assert found[-1].proven, found[-1].why_not
    np.testing.assert_array_equal(found[0].margins_upper, found[1].margins_upper)
    wave = certify(loaded, held, Global(names, LpL0(2, 0.01)), samples, output="wave")
    assert "'wave' (Sin): no bound is known for this op" in wave.why_not


def test_the_rounding_of_a_sigmoid_far_out_is_covered() -> None:
    """Onnxruntime's has no relative accuracy there."""
    first = [helper.make_node("Add", ["x", "w"], ["h"], "sum"), helper.make_node("Sigmoid", ["h"], ["f"], "bend")]
    proto = model(
        [*first, helper.make_node("Mul", ["f", "many"], ["y"], "times")],
        {"w": np.zeros(1, np.float32), "many": np.full(1, 2.0**20, np.float32)},
        inputs={"x": (TensorProto.FLOAT, ("N", 1))},
        outputs={"y": (TensorProto.FLOAT, ("N", 1))},
    )
    loaded = load_model(proto)
    held = {"w": Stored(loaded.site("w"), loaded.site("w").format, loaded.numbers["w"])}
    x = np.linspace(-18, -8, 400, dtype=np.float32)[:, None]
    samples = [({"x": x}, np.ones(len(x), np.int64))]
    found = certify(loaded, held, Global(("w",), LpL0(2, 1e-12)), samples, roundoff=2.0**-24)
    assert found.proven, found.why_not
    deployed = np.asarray(ort.InferenceSession(proto.SerializeToString()).run(["y"], {"x": x})[0], np.float64)[:, 0]
    truth = 2.0**20 / (1 + np.exp(-x.astype(np.float64)[:, 0]))
    assert np.abs(deployed - truth).max() > 0.005
    assert (-deployed <= found.margins_upper).all()
