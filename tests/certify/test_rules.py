"""Each rule against a closed form: exact where an op is linear in what moves, or has one number to bend."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from onnx import TensorProto, helper

from faultsim.certify import Certificate, certify
from faultsim.constraints import Global, LpL0, TensorSet
from faultsim.constraints.closed_form import dual_norm
from faultsim.corruption import Stored
from faultsim.model import Model, load_model
from tests.certify.nets import Builder
from tests.tiny_nets import model

Build = Callable[[Builder], str]


def held(loaded: Model, names: tuple[str, ...]) -> dict[str, Stored]:
    return {name: Stored(loaded.site(name), loaded.site(name).format, loaded.numbers[name]) for name in names}


def conv(*kernel: int, groups: int = 1, **attributes: object) -> Build:
    def build(net: Builder) -> str:
        w = net.weight(4, 4 // groups, *kernel)
        return net.node("Conv", "x", w, net.weight(4), group=groups, **attributes)

    return build


def after(*ops: tuple[str, dict[str, object]]) -> Build:
    def build(net: Builder) -> str:
        h = conv(3, 3)(net)
        for op, attributes in ops:
            h = net.node(op, h, **attributes)
        return h

    return build


def norm(net: Builder) -> str:
    """Mean and variance as constants: in scale and bias alone it is linear."""
    scale, bias = net.weight(4), net.weight(4)
    mean, var = net.const(np.arange(4.0)), net.const(np.arange(1.0, 5))
    return net.node("BatchNormalization", "x", scale, bias, mean, var)


def weights_of(op: str, first: bool) -> Build:
    def build(net: Builder) -> str:
        w = net.weight(4, 1, 1)
        return net.node(op, *((w, "x") if first else ("x", w)))

    return build


def rearranged(net: Builder) -> str:
    h = conv(3, 3)(net)
    parts = net.const([2, 2], np.int64)
    left = net.node("Slice", h, net.const([0], np.int64), net.const([2], np.int64), net.const([2], np.int64))
    both = net.node("Concat", left, h, axis=2)
    padded = net.node("Pad", both, net.const([0, 1, 0, 0, 0, 0, 1, 0], np.int64))
    turned = net.node("Transpose", padded, perm=[0, 2, 1, 3])
    flat = net.node("Reshape", turned, net.const([0, 2, -1], np.int64))
    assert parts
    return net.node("Mul", net.node("Neg", flat), net.const(-0.5))


LINEAR: dict[str, tuple[Build, tuple[int, ...]]] = {
    "conv": (conv(3, 3, pads=[1, 1, 1, 1]), (4, 5, 5)),
    "conv, strides": (conv(3, 2, pads=[0, 1, 2, 1], strides=[2, 1]), (4, 5, 6)),
    "conv, groups and dilations": (conv(2, 2, groups=2, dilations=[2, 1]), (4, 5, 5)),
    "conv, same": (conv(3, 3, auto_pad="SAME_LOWER", strides=[2, 2]), (4, 5, 6)),
    "conv of sequences": (conv(3, pads=[2, 0], groups=4), (4, 7)),
    "batch norm": (norm, (4, 3, 3)),
    "add": (weights_of("Add", True), (4, 3, 3)),
    "sub": (weights_of("Sub", False), (4, 3, 3)),
    "mul": (weights_of("Mul", True), (4, 3, 3)),
    "div": (after(("GlobalAveragePool", {})), (4, 5, 5)),
    "average pool": (after(("AveragePool", {"kernel_shape": [2, 2], "pads": [1, 0, 1, 0]})), (4, 5, 5)),
    "mean": (after(("ReduceMean", {"axes": [2, -1], "keepdims": 0})), (4, 5, 5)),
    "movement": (rearranged, (4, 5, 5)),
}


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize(("p", "n"), [(1.0, None), (1.5, None), (2.0, 7), (math.inf, None), (math.inf, 3)])
def test_a_network_that_is_linear_in_its_weights_is_bounded_by_the_dual_norm(
    kind: str, p: float, n: int | None
) -> None:
    """The gradient of each sample's logit comes from the model alone; the classifier is a fixed matrix."""
    build, shape = LINEAR[kind]
    rng = np.random.default_rng(6)
    net = Builder(rng)
    h = net.node("Flatten", build(net))
    names = tuple(name for name in net.weights if name.startswith("w"))
    probe = load_model(net.proto(h, ("N", *shape), ("N", "M")))
    x = rng.standard_normal((3, *shape))
    width = probe.run({"x": x})["y"].shape[1]
    last = net.const(rng.standard_normal((width, 1)))
    net.nodes[-1].output[0] = h
    loaded = load_model(net.proto(net.node("MatMul", h, last), ("N", *shape), ("N", 1)))
    (z,) = loaded.run({"x": x})["y"].T
    whole = Global(names, LpL0(p, 0.2, n))
    found = certify(loaded, held(loaded, names), whole, [({"x": x}, (z > 0).astype(np.int64))])
    assert found.proven, found.why_not
    for sample in range(3):
        one = {"x": x[sample : sample + 1]}
        _, grads = loaded.gradient(one, lambda outputs: outputs["y"].sum(), sites=list(names))
        reach = 0.2 * dual_norm(np.concatenate([grads[name].reshape(-1) for name in names]), p=p, n=n)
        assert found.margins_upper[sample] == pytest.approx(reach - abs(z[sample]), rel=1e-7, abs=1e-7)


def scalar(nodes: list[object], constraint: TensorSet, x: float = 1.0, **numbers: float) -> Certificate:
    """Certify a graph of one number a sample, from *x* to *y*, y against 0; capitals are matrices."""
    loaded = load_model(
        model(
            nodes,  # type: ignore[arg-type]
            {name: np.full((1, 1) if name.isupper() else (1,), value) for name, value in numbers.items()},
            inputs={"x": (TensorProto.DOUBLE, ("N", 1))},
            outputs={"y": (TensorProto.DOUBLE, ("N", 1))},
        )
    )
    samples = [({"x": np.full((2, 1), x)}, np.zeros(2, np.int64))]
    found = certify(loaded, held(loaded, constraint.names), constraint, samples)
    assert found.proven, found.why_not
    return found


def op(kind: str, *names: str, **attributes: object) -> object:
    *inputs, out = names
    return helper.make_node(kind, inputs, [out], kind + out, **attributes)


@pytest.mark.parametrize("eps", [0.01, 0.5, 2.0])
def test_a_product_of_weights_is_bounded_with_its_second_order(eps: float) -> None:
    """Max of (w + a)(v + b) x - 50 with |a|, |b| <= eps and all positive: w v x + eps (w + v) x + eps² x - 50."""
    nodes = [op("MatMul", "x", "W", "h"), op("MatMul", "h", "V", "q"), op("Sub", "q", "c", "y")]
    found = scalar(nodes, Global(("W", "V"), LpL0(math.inf, eps)), x=2.0, W=3.0, V=0.5, c=50.0)
    assert found.margins_upper[0] == pytest.approx(3 + 7 * eps + 2 * eps**2 - 50, rel=1e-8)


@pytest.mark.parametrize("kind", ["Relu", "LeakyRelu", "Clip", "HardSigmoid", "Abs", "PRelu"])
@pytest.mark.parametrize("w", [-0.3, -0.05, 0.05, 0.9])
@pytest.mark.parametrize("eps", [0.04, 0.1, 1.5])
def test_a_function_of_straight_pieces_is_bounded_between_its_ends(kind: str, w: float, eps: float) -> None:
    """Of one number that moves by eps; without a kink in reach the bound is exact, and for a Relu always."""
    f: Callable[[float], float] = {
        "Relu": lambda t: max(t, 0.0),
        "LeakyRelu": lambda t: t if t > 0 else 0.125 * t,
        "PRelu": lambda t: t if t > 0 else 0.25 * t,
        "Clip": lambda t: min(max(t, -0.1), 1.0),
        "HardSigmoid": lambda t: min(max(0.2 * t + 0.5, 0.0), 1.0),
        "Abs": abs,
    }[kind]
    extra = {"Clip": ["lo", "hi"], "PRelu": ["slope"]}.get(kind, [])
    nodes = [op("Add", "x", "w", "h"), op(kind, "h", *extra, "f", **({"alpha": 0.125} if kind == "LeakyRelu" else {}))]
    loaded = load_model(
        model(
            [*nodes, op("Sub", "f", "c", "y")],  # type: ignore[list-item]
            {
                "w": np.full((1,), w),
                "c": np.full((1,), 5.0),
                "slope": np.full((1,), 0.25),
                "lo": np.array(-0.1),
                "hi": np.array(1.0),
            },
            inputs={"x": (TensorProto.DOUBLE, ("N", 1))},
            outputs={"y": (TensorProto.DOUBLE, ("N", 1))},
        )
    )
    samples = [({"x": np.zeros((1, 1))}, np.zeros(1, np.int64))]
    found = certify(loaded, held(loaded, ("w",)), Global(("w",), LpL0(2, eps)), samples)
    truth = max(f(w + step) for step in np.linspace(-eps, eps, 2001))
    assert found.margins_upper[0] >= truth - 5 - 1e-12
    bends = len({round((f(w + t) - f(w + t - 1e-7)) / 1e-7, 3) for t in np.linspace(-eps, eps, 2001)}) > 1
    slack = 2.1 * eps if bends else 1e-8
    assert found.margins_upper[0] <= truth - 5 + slack
    if kind == "Relu":
        assert found.margins_upper[0] == pytest.approx(truth - 5, rel=1e-8)


@pytest.mark.parametrize("kind", ["Sigmoid", "Tanh", "Erf"])
@pytest.mark.parametrize("w", [-1.0, 0.0, 0.7])
def test_a_smooth_function_is_bounded_by_its_curvature(kind: str, w: float) -> None:
    f = {"Sigmoid": lambda t: 1 / (1 + math.exp(-t)), "Tanh": math.tanh, "Erf": math.erf}[kind]
    for eps in (1e-3, 0.1, 1.0):
        nodes = [op("Add", "x", "w", "h"), op(kind, "h", "f"), op("Sub", "f", "c", "y")]
        found = scalar(nodes, Global(("w",), LpL0(2, eps)), x=0.0, w=w, c=5.0)
        truth = max(f(w + step) for step in np.linspace(-eps, eps, 1001)) - 5
        assert truth <= found.margins_upper[0] <= truth + eps**2


def test_the_largest_of_a_window_may_change_hands() -> None:
    """Of 1 and 0.95 the second alone moves, by 0.2: the maximum rises by 0.15."""
    for kind, attributes in (("MaxPool", {"kernel_shape": [2]}), ("GlobalMaxPool", {})):
        loaded = load_model(
            model(
                [
                    op("Add", "x", "w", "h"),
                    op(kind, "h", "m", **attributes),
                    op("Flatten", "m", "f"),
                    op("Sub", "f", "c", "y"),
                ],  # type: ignore[list-item]
                {"w": np.array([[[1.0, 0.95]]]), "c": np.full((1,), 5.0)},
                inputs={"x": (TensorProto.DOUBLE, ("N", 1, 2))},
                outputs={"y": (TensorProto.DOUBLE, ("N", 1))},
            )
        )
        samples = [({"x": np.zeros((2, 1, 2))}, np.zeros(2, np.int64))]
        pinned = LpL0(2, 0.2, scale=np.array([0.0, 1.0]))
        found = certify(loaded, held(loaded, ("w",)), Global(("w",), pinned), samples)
        assert found.margins_upper[0] == pytest.approx(1.15 - 5, rel=1e-8)


@pytest.mark.parametrize("eps", [1e-3, 0.1, 0.3])
def test_batch_norm_is_bounded_in_all_four_parameters(eps: float) -> None:
    """Against the corners and the inside of the box; y = (x - m) s / sqrt(v + 1e-5) + b - 20."""
    numbers = {"s": 1.5, "b": -0.2, "m": 0.4, "v": 0.8}
    nodes = [op("BatchNormalization", "x", "s", "b", "m", "v", "n"), op("Sub", "n", "c", "y")]
    found = scalar(nodes, Global(("s", "b", "m", "v"), LpL0(math.inf, eps)), x=2.0, c=20.0, **numbers)
    grid = np.linspace(-eps, eps, 5)
    s, b, m, v = np.meshgrid(*(value + grid for value in numbers.values()))
    truth = float(((2.0 - m) * s / np.sqrt(v + 1e-5) + b).max()) - 20
    assert truth <= found.margins_upper[0] <= truth + 4 * eps**2
    linear = scalar(nodes, Global(("s", "b", "m"), LpL0(math.inf, eps)), x=2.0, c=20.0, **numbers)
    exact = (2.0 - 0.4 + eps) * (1.5 + eps) / math.sqrt(0.8 + 1e-5) - 0.2 + eps - 20
    assert linear.margins_upper[0] == pytest.approx(exact, rel=1e-8)


def test_products_of_what_moves_are_bounded() -> None:
    """y = h · h with h = x + w: from 1 by at most 2 eps + eps²; as a product of matrices too."""
    square = [op("Add", "x", "w", "h"), op("Mul", "h", "h", "q"), op("Sub", "q", "c", "y")]
    found = scalar(square, Global(("w",), LpL0(2, 0.3)), w=0.0, c=9.0)
    assert found.margins_upper[0] == pytest.approx(1 + 0.6 + 0.09 - 9, rel=1e-8)
    loaded = load_model(
        model(
            [
                op("Add", "x", "w", "h"),
                op("Transpose", "h", "t", perm=[0, 2, 1]),
                op("MatMul", "t", "h", "q"),
                op("Flatten", "q", "f"),
                op("Sub", "f", "c", "y"),
            ],  # type: ignore[list-item]
            {"w": np.zeros((3, 1)), "c": np.full((1,), 90.0)},
            inputs={"x": (TensorProto.DOUBLE, ("N", 3, 1))},
            outputs={"y": (TensorProto.DOUBLE, ("N", 1))},
        )
    )
    x = np.array([[[1.0], [2.0], [-2.0]]])
    both = certify(loaded, held(loaded, ("w",)), Global(("w",), LpL0(math.inf, 0.1)), [({"x": x}, np.zeros(1, int))])
    assert both.margins_upper[0] == pytest.approx(9 + 2 * 0.1 * 5 + 3 * 0.01 - 90, rel=1e-8)
