"""Random small float64 networks, random sets over their parameters, and a search that needs no engine."""

import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from faultsim.constraints import Global, LpL0, PerTensor, Tensors, TensorSet
from faultsim.corruption import Stored
from faultsim.model import Model, load_model
from faultsim.search import Gradient, Loss, Score

Array = NDArray[np.float64]
Delta = Mapping[str, Array] | None


class Case(NamedTuple):
    """A network as it is stored, with data."""

    model: Model
    stored: dict[str, Stored]
    x: Array
    y: NDArray[np.int64]

    @property
    def samples(self) -> list[tuple[dict[str, Array], NDArray[np.int64]]]:
        """Two batches."""
        half = len(self.x) // 2
        return [({"x": self.x[part]}, self.y[part]) for part in (slice(0, half), slice(half, None))]

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(np.shape(one.values)) for name, one in self.stored.items()}


class Builder:
    """Adds nodes one after the other, with random weights."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.nodes: list[NodeProto] = []
        self.weights: dict[str, Array] = {}

    def weight(self, *shape: int, fan: int = 1, positive: bool = False) -> str:
        name = f"w{len(self.weights)}"
        drawn = self.rng.standard_normal(shape) / math.sqrt(fan)
        self.weights[name] = np.abs(drawn) + 0.5 if positive else drawn
        return name

    def const(self, value: object, kind: type = np.float64) -> str:
        name = f"c{len(self.weights)}"
        self.weights[name] = np.asarray(value, kind)
        return name

    def node(self, op: str, *inputs: str, **attributes: object) -> str:
        out = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, list(inputs), [out], f"{op}{len(self.nodes)}", **attributes))
        return out

    def norm(self, x: str, channels: int) -> str:
        names = [self.weight(channels, positive=True), self.weight(channels), self.weight(channels)]
        return self.node("BatchNormalization", x, *names, self.weight(channels, positive=True))

    def bend(self, x: str) -> str:
        match int(self.rng.integers(0, 6)):
            case 0:
                return self.node("LeakyRelu", x, alpha=0.1)
            case 1:
                return self.node("Clip", x, self.const(-0.5), self.const(1.0))
            case 2:
                return self.node("Tanh", x)
            case _:
                return self.node("Relu", x)

    def gemm(self, x: str, features: int, out: int) -> str:
        if self.rng.random() < 0.3:
            y = self.node("MatMul", x, self.weight(features, out, fan=features))
            return self.node("Add", y, self.weight(out)) if self.rng.random() < 0.5 else y
        transposed = bool(self.rng.random() < 0.5)
        shape = (out, features) if transposed else (features, out)
        return self.node("Gemm", x, self.weight(*shape, fan=features), self.weight(out), transB=int(transposed))

    def proto(self, output: str, x_shape: tuple[int | str, ...], y_shape: tuple[int | str, ...]) -> ModelProto:
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            "random",
            [helper.make_tensor_value_info("x", TensorProto.DOUBLE, x_shape)],
            [helper.make_tensor_value_info("y", TensorProto.DOUBLE, y_shape)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def mlp(rng: np.random.Generator) -> tuple[ModelProto, tuple[int, ...]]:
    """One to three layers, with a residual sum where it fits."""
    net, width, classes = Builder(rng), int(rng.integers(2, 7)), int(rng.integers(1, 5))
    x, features = "x", int(rng.integers(2, 6))
    size = features
    for _ in range(int(rng.integers(0, 3))):
        h = net.gemm(x, size, width)
        h = net.norm(h, width) if rng.random() < 0.3 else h
        h = net.bend(h)
        x = net.node("Add", h, x) if size == width and rng.random() < 0.5 else h
        size = width
    y = net.gemm(x, size, classes)
    if rng.random() < 0.3 and classes > 1:
        y = net.node("Softmax", y, axis=-1)
    return net.proto(y, ("N", features), ("N", classes)), (features,)


def cnn(rng: np.random.Generator) -> tuple[ModelProto, tuple[int, ...]]:
    """One or two convolutions with batch norm, a residual sum, pooling and a classifier."""
    net, c = Builder(rng), 2 * int(rng.integers(1, 3))
    h = net.node("Conv", "x", net.weight(c, 2, 3, 3, fan=18), net.weight(c), pads=[1, 1, 1, 1])
    h = net.norm(h, c) if rng.random() < 0.6 else h
    h = net.bend(h)
    if rng.random() < 0.6:
        group = int(rng.choice([1, 2]))
        w = net.weight(c, c // group, 3, 3, fan=9 * c)
        r = net.node("Conv", h, w, pads=[1, 1, 1, 1], group=group)
        r = net.norm(r, c) if rng.random() < 0.5 else r
        h = net.bend(net.node("Add", r, h))
    side = 6
    match int(rng.integers(0, 4)):
        case 0:
            h, side = net.node("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2]), 3
        case 1:
            h, side = net.node("AveragePool", h, kernel_shape=[3, 3], strides=[3, 3]), 2
        case 2:
            h, side = net.node("MaxPool", h, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]), 3
        case _:
            h, side = net.node("GlobalAveragePool", h), 1
    if rng.random() < 0.3:
        h = net.node("Mul", h, net.weight(1, c, 1, 1))
    h = net.node("Flatten", h)
    classes = int(rng.integers(2, 5))
    return net.proto(net.gemm(h, c * side * side, classes), ("N", 2, 6, 6), ("N", classes)), (2, 6, 6)


def case(seed: int) -> Case:
    """A random network with eight samples, labelled by itself nine times in ten."""
    rng = np.random.default_rng([7, seed])
    proto, shape = (mlp if rng.random() < 0.6 else cnn)(rng)
    model = load_model(proto)
    x = rng.standard_normal((8, *shape))
    rows = logits(model, {}, x)
    y = np.where(rng.random(8) < 0.9, rows.argmax(1), rng.integers(0, rows.shape[1], 8))
    return Case(model, stored(model), x, y.astype(np.int64))


def stored(model: Model) -> dict[str, Stored]:
    """The sites that training would update."""
    return {s.name: Stored(s, s.format, model.numbers[s.name]) for s in model.select()}


def random_set(rng: np.random.Generator, one: Case, eps: float | None = None) -> TensorSet:
    """A random set over the stored tensors: per tensor or global, dense or not, now and then scaled or boxed."""
    eps = float(10 ** rng.uniform(-4, -0.7)) if eps is None else eps
    p = float(rng.choice([1.0, 1.5, 2.0, math.inf]))
    eps = eps / 5 if math.isinf(p) else eps
    names = tuple(one.stored)
    sizes = {name: math.prod(shape) for name, shape in one.shapes.items()}

    def ball(size: int) -> LpL0:
        n = None if rng.random() < 0.5 else int(rng.integers(1, max(2, size)))
        scale = rng.uniform(0, 2, size) if rng.random() < 0.2 else None
        low = -rng.uniform(0, 1, size) * eps if rng.random() < 0.2 else None
        return LpL0(p, eps, n, scale=scale, low=low)

    if rng.random() < 0.5:
        return Global(names, ball(sum(sizes.values())))
    return PerTensor({name: _shaped(ball(sizes[name]), one.shapes[name]) for name in names})


def _shaped(ball: LpL0, shape: tuple[int, ...]) -> LpL0:
    scale, low = (None if a is None else np.reshape(a, shape) for a in (ball.scale, ball.low))
    return LpL0(ball.p, ball.eps, ball.n, scale=scale, low=low)


def logits(model: Model, numbers: Mapping[str, Array], x: Array) -> Array:
    """Logits, two classes at least, of the deployed graph; the logarithm where it ends in a softmax."""
    rows = model.run({"x": x}, numbers)["y"].reshape(len(x), -1)
    rows = np.log(rows) if model.program.graph.nodes[-1].op_type == "Softmax" else rows
    return rows if rows.shape[1] > 1 else np.concatenate([0 * rows, rows], 1)


class Network:
    """An `Objective` on a case."""

    def __init__(self, one: Case) -> None:
        self.one = one
        self.probability = one.model.program.graph.nodes[-1].op_type == "Softmax"

    def numbers(self, delta: Delta) -> dict[str, Array]:
        clean = {name: np.asarray(s.values, np.float64) for name, s in self.one.stored.items()}
        return {name: value + (delta or {}).get(name, 0.0) for name, value in clean.items()}

    def rows(self, delta: Delta) -> Array:
        return logits(self.one.model, self.numbers(delta), self.one.x)

    def gradient(self, delta: Delta, loss: Loss) -> Gradient:
        labels = torch.from_numpy(self.one.y)

        def mean(outputs: dict[str, torch.Tensor]) -> torch.Tensor:
            rows = outputs["y"].reshape(len(labels), -1)
            rows = rows.log() if self.probability else rows
            rows = rows if rows.shape[1] > 1 else torch.cat([0 * rows, rows], 1)
            if loss == "cross_entropy":
                return torch.nn.functional.cross_entropy(rows, labels)
            own = rows.gather(1, labels[:, None])[:, 0]
            return (rows.scatter(1, labels[:, None], -torch.inf).amax(1) - own).clamp(max=0).mean()

        value, grads = self.one.model.gradient(
            {"x": self.one.x}, mean, sites=list(self.one.stored), numbers=self.numbers(delta)
        )
        found: Tensors = {name: g.astype(np.float64) for name, g in grads.items()}
        return Gradient(value, found)

    def score(self, delta: Delta) -> Score:
        rows, y = self.rows(delta), self.one.y
        at = np.arange(len(y))
        top = rows.max(1)
        loss = np.log(np.exp(rows - top[:, None]).sum(1)) + top - rows[at, y]
        others = rows.copy()
        others[at, y] = -np.inf
        margin = np.minimum(others.max(1) - rows[at, y], 0)
        return Score(float(loss.mean()), float(margin.mean()), float((rows.argmax(1) == y).mean()))
