"""Small graphs whose stored tensors reach their layer by branches, loops or arithmetic of their own. No test here."""

from collections.abc import Callable

import numpy as np
import onnx
from graphs import codes, model, node, numbers, tensor, value
from onnx import TensorProto, helper

F = np.float32
HEAD = [tensor("head", numbers(8, 4))]


def _hidden(nodes: list, weights: list, op: str = "MatMul", **attributes: object) -> onnx.ModelProto:
    """``y = (x w) head`` with a *w* that *nodes* make."""
    last = [node(op, ["x", "w"], ["h"], "layer", **attributes), node("MatMul", ["h", "head"], ["y"], "top")]
    return model([*nodes, *last], [*weights, *HEAD], ("N", 8))


def _part(name: str, nodes: list, output: str, weights: tuple = ()) -> onnx.GraphProto:
    return helper.make_graph(nodes, name, [], [value(output, [8, 8])], list(weights))


def branches() -> onnx.ModelProto:
    """Each branch yields a weight."""
    bodies = {
        f"{side}_branch": _part(side, [node("Identity", [name], [side])], side, (tensor(name, numbers(8, 8, seed=i)),))
        for i, (side, name) in enumerate((("then", "W1"), ("else", "W2")))
    }
    return _hidden([node("If", ["c"], ["w"], "if", **bodies)], [tensor("c", np.array(True))])


def stack() -> onnx.ModelProto:
    """A Scan over a stack of three weights."""
    body = helper.make_graph(
        [node("MatMul", ["s", "w"], ["m"], "step"), node("Tanh", ["m"], ["t"])],
        "body",
        [value("s", ["N", 8]), value("w", [8, 8])],
        [value("t", ["N", 8])],
    )
    nodes = [node("Scan", ["x", "W"], ["h"], "scan", num_scan_inputs=1, body=body)]
    return model(
        [*nodes, node("MatMul", ["h", "head"], ["y"], "top")], [tensor("W", numbers(3, 8, 8)), *HEAD], ("N", 8)
    )


def carried() -> onnx.ModelProto:
    """A Loop that carries its weight from turn to turn."""
    flag = TensorProto.BOOL
    body = helper.make_graph(
        [
            node("Identity", ["go"], ["on"]),
            node("MatMul", ["s", "w"], ["m"], "step"),
            node("Tanh", ["m"], ["t"]),
            node("Identity", ["w"], ["same"]),
        ],
        "body",
        [
            value("i", [], TensorProto.INT64),
            value("go", [], flag),
            value("s", ["N", 8]),
            value("w", [8, 8]),
        ],
        [value("on", [], flag), value("t", ["N", 8]), value("same", [8, 8])],
    )
    nodes = [node("Loop", ["n", "c", "x", "W"], ["h", "out"], "loop", body=body)]
    stored = [tensor("W", numbers(8, 8)), tensor("n", np.array(3)), tensor("c", np.array(True)), *HEAD]
    return model([*nodes, node("MatMul", ["h", "head"], ["y"], "top")], stored, ("N", 8))


def weight_norm() -> onnx.ModelProto:
    nodes = [
        node("Mul", ["v", "v"], ["square"]),
        node("ReduceSum", ["square", "axes"], ["sum"]),
        node("Sqrt", ["sum"], ["length"]),
        node("Div", ["v", "length"], ["unit"]),
        node("Mul", ["g", "unit"], ["turned"]),
        node("Transpose", ["turned"], ["w"], perm=[1, 0]),
    ]
    return _hidden(nodes, [tensor("v", numbers(8, 8)), tensor("g", numbers(8, 1) + 2), tensor("axes", np.array([1]))])


def masked() -> onnx.ModelProto:
    mask = (np.random.default_rng(0).random((8, 8)) > 0.3).astype(F)
    return _hidden([node("Mul", ["W", "mask"], ["w"])], [tensor("W", numbers(8, 8)), tensor("mask", mask)])


def cast_codes() -> onnx.ModelProto:
    """``(Cast(codes) - Cast(zero)) * scale``, a scale and a zero for each row."""
    nodes = [
        node("Cast", ["q"], ["real"], to=TensorProto.FLOAT),
        node("Cast", ["z"], ["zero"], to=TensorProto.FLOAT),
        node("Sub", ["real", "zero"], ["moved"]),
        node("Mul", ["moved", "s"], ["w"]),
    ]
    scale, zero = np.linspace(0.01, 0.05, 8, dtype=F).reshape(8, 1), codes(8, 1, low=-9, high=9)
    return _hidden(nodes, [tensor("q", codes(8, 8)), tensor("s", scale), tensor("z", zero)])


def rounded() -> onnx.ModelProto:
    nodes = [node("Div", ["W", "s"], ["d"]), node("Round", ["d"], ["r"]), node("Mul", ["r", "s"], ["w"])]
    return _hidden(nodes, [tensor("W", numbers(8, 8)), tensor("s", F(0.05))])


def padded() -> onnx.ModelProto:
    nodes = [node("Pad", ["W", "pads"], ["w"])]
    return _hidden(nodes, [tensor("W", numbers(8, 6)), tensor("pads", np.array([0, 0, 0, 2]))])


def chosen() -> onnx.ModelProto:
    nodes = [node("Where", ["kept", "W", "none"], ["w"])]
    kept = tensor("kept", np.random.default_rng(0).random((8, 8)) > 0.3)
    return _hidden(nodes, [tensor("W", numbers(8, 8)), kept, tensor("none", F(0))])


def low_rank() -> onnx.ModelProto:
    nodes = [node("MatMul", ["A", "B"], ["d"], "inner"), node("Add", ["W", "d"], ["w"])]
    return _hidden(nodes, [tensor(n, numbers(*s)) for n, s in (("W", (8, 8)), ("A", (8, 2)), ("B", (2, 8)))])


def three_factors() -> onnx.ModelProto:
    nodes = [
        node("MatMul", ["x", "U"], ["h"], "first"),
        node("Einsum", ["x", "h", "W"], ["y"], "layer", equation="ni,nj,kij->nk"),
    ]
    return model(nodes, [tensor("U", numbers(8, 8)), tensor("W", numbers(4, 8, 8))], ("N", 8))


def looked_up() -> onnx.ModelProto:
    nodes = [node("GatherND", ["W", "x"], ["e"], "layer"), node("MatMul", ["e", "head"], ["y"], "top")]
    return model(nodes, [tensor("W", numbers(10, 8)), *HEAD], ("N", 1), elem=TensorProto.INT64)


MADE: dict[str, tuple[Callable[[], onnx.ModelProto], dict[str, tuple[str, str, int]]]] = {
    "branches": (branches, {f"if/{s}_branch/{n}": ("layer", "weight", 1) for s, n in (("then", "W1"), ("else", "W2"))}),
    "stack": (stack, {"W": ("scan/body/step", "weight", 2)}),
    "carried": (carried, {"W": ("loop/body/step", "weight", 1)}),
    "weight_norm": (weight_norm, {"v": ("layer", "weight", 0), "g": ("layer", "norm", 0)}),
    "masked": (masked, {"W": ("layer", "weight", 1), "mask": ("layer", "norm", 1)}),
    "cast_codes": (
        cast_codes,
        {"q": ("layer", "weight", 1), "s": ("layer", "scale", 0), "z": ("layer", "zero_point", 0)},
    ),
    "rounded": (rounded, {"W": ("layer", "weight", 1), "s": ("layer", "scale", 0)}),
    "padded": (padded, {"W": ("layer", "weight", 1)}),
    "chosen": (chosen, {"W": ("layer", "weight", 1), "none": ("layer", "constant", 0)}),
    "low_rank": (low_rank, {"W": ("layer", "weight", 1), "A": ("inner", "weight", 0), "B": ("inner", "weight", 1)}),
    "three_factors": (three_factors, {"U": ("first", "weight", 1), "W": ("layer", "weight", 0)}),
    "looked_up": (looked_up, {"W": ("layer", "weight", 0)}),
}
"""By name the graph, and layer, role and channel axis of what is stored there beside the last weight."""
