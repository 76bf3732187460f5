"""Graphs and ways to make an execution or a reference wrong, for the tests of the check. No test here."""

import dataclasses

import numpy as np
import onnx
import onnxruntime as ort
from graphs import constant, model, node, numbers
from onnx import TensorProto, helper, numpy_helper

from faultsim.model import check_nodes

VERSION = f"onnxruntime {ort.__version__}"


def sabotage(loaded, name, change):
    """Make the op of one node wrong."""
    found = next(n for n in loaded.program.nodes() if n.name == name)
    right = found.op

    def wrong(*args, **kwargs):
        result = right.function(*args, **kwargs)
        return tuple(change(r) for r in result) if isinstance(result, tuple) else change(result)

    found.op = dataclasses.replace(right, function=wrong)


def corrupted(proto, name):
    """A copy in which the largest number of the tensor *name* has the other sign, wherever it is stored."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    graphs = [copy.graph, *copy.functions]
    while graphs:
        graph = graphs.pop()
        stored = list(getattr(graph, "initializer", ()))
        for one in graph.node:
            stored += [a.t for a in one.attribute if a.HasField("t") and one.output[0] == name]
            graphs += [a.g for a in one.attribute if a.HasField("g")]
        for one in stored:
            if name in (one.name, name if one in [a.t for n in graph.node for a in n.attribute] else ""):
                array = numpy_helper.to_array(one).copy()
                place = np.unravel_index(np.argmax(array.astype(np.float64)), array.shape)
                array[place] = -array[place]
                one.CopyFrom(numpy_helper.from_array(array, one.name))
    return copy


def corrupt_the_references(monkeypatch, name):
    opened, executed = ort.InferenceSession, check_nodes.run_qonnx

    def open_(data, *args, **kwargs):
        return opened(corrupted(onnx.ModelProto.FromString(data), name).SerializeToString(), *args, **kwargs)

    def execute(proto, fed):
        return executed(corrupted(proto, name), fed)

    monkeypatch.setattr(ort, "InferenceSession", open_)
    for module in ("check", "check_nodes"):
        monkeypatch.setattr(f"faultsim.model.{module}.run_qonnx", execute)


def functions():
    """A layer with its weight inside a function, called twice."""
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
    body = [constant("w", numbers(6, 6)), node("MatMul", ["a", "w"], ["o"], name="product")]
    calls = [
        node("dense", ["x"], ["h"], name="one", domain="mine"),
        node("dense", ["h"], ["y"], name="two", domain="mine"),
    ]
    made = model(calls, [], domains=["mine"])
    made.functions.append(helper.make_function("mine", "dense", ["a"], ["o"], body, opsets))
    return made


def narrow(proto, dtype, elem):
    """Every float of a graph in another type, between casts; control flow and Constant nodes included."""
    graphs = [proto.graph]
    while graphs:
        graph = graphs.pop()
        stored = list(graph.initializer)
        for one in graph.node:
            stored += [a.t for a in one.attribute if a.HasField("t")]
            graphs += [a.g for a in one.attribute if a.HasField("g")]
        for one in stored:
            if one.data_type == TensorProto.FLOAT:
                one.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(one).astype(dtype), one.name))
        for info in [*graph.input, *graph.output]:
            if graph is not proto.graph and info.type.tensor_type.elem_type == TensorProto.FLOAT:
                info.type.tensor_type.elem_type = elem
        for one in graph.node:
            for ends in (one.input, one.output):
                ends[:] = [f"{e}_narrow" if e in ("x", "y") else e for e in ends]
    nodes = [node("Cast", ["x"], ["x_narrow"], to=elem), *proto.graph.node]
    nodes.append(node("Cast", ["y_narrow"], ["y"], to=TensorProto.FLOAT))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    return proto
