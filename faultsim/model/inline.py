"""A graph with its calls of model-local functions written out, for those who follow tensors from node to node.

It is for reading alone: what runs is the graph as the file has it.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from onnx import NodeProto

from faultsim.model.nodes import Graph, Node, walk

Rename = Callable[[str], str]


def written_out(graph: Graph) -> Graph:
    """Return *graph* with the nodes of each called function in place of the call.

    Inputs and outputs of a call keep the caller's names; what a body makes for itself gets the call's name before it.
    A constant of a function stands once for every call, under one key.
    """
    if all(node.body is None for node in walk(graph)):
        return graph
    return _graph(graph, lambda name: name)


def _graph(graph: Graph, rename: Rename) -> Graph:
    nodes: list[Node] = []
    constants = {rename(local): key for local, key in graph.constants.items()}
    for node in graph.nodes:
        inputs, outputs = tuple(map(rename, node.inputs)), tuple(map(rename, node.outputs))
        if node.body is None:
            attributes = {name: _attribute(value, rename) for name, value in node.attributes.items()}
            nodes.append(replace(node, inputs=inputs, outputs=outputs, attributes=attributes))
            continue
        inner, links = _call(node, node.body.graph, inputs, outputs)
        nodes += inner.nodes + links
        constants.update(inner.constants)
    ends = tuple(map(rename, graph.input_names)), tuple(map(rename, graph.output_names))
    return Graph(graph.name, *ends, nodes, constants, graph.output_types)


def _call(node: Node, body: Graph, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> tuple[Graph, list[Node]]:
    """The body of one call in the caller's names, and nodes that hand out what it only passes on."""
    names = dict.fromkeys(body.input_names, "") | dict(zip(body.input_names, inputs, strict=False))
    links: list[Node] = []

    def rename(name: str) -> str:
        return names.get(name, f"{node.name}::{name}") if name else ""

    for inner, outer in zip(body.output_names, outputs, strict=False):
        if inner and outer:
            if inner in names or inner in body.constants:
                ends = (rename(inner),), (outer,)
                links.append(Node("Identity", "", f"{node.name}/{inner}", *ends, {}, node.opset, None, NodeProto()))
            else:
                names[inner] = outer
    return _graph(body, rename), links


def _attribute(value: Any, rename: Rename) -> Any:
    if isinstance(value, list):
        return [_attribute(item, rename) for item in value]
    return _graph(value, rename) if isinstance(value, Graph) else value
