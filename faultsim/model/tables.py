"""What the constants of a graph say of its inputs: tables that ids look up, sizes of a trace. No graph is run here."""

from collections import Counter

import torch
from torch import Tensor

from faultsim.model.nodes import Graph, Node, Program
from faultsim.model.values import Codes

_IDS_PASS = frozenset({"Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose"})
_NUMBERS_PASS = frozenset({"DequantizeLinear", "Cast", "Identity", "Quant"})
_EMBED = {"input_ids": (0, 2), "segment_ids": (1, 4)}
"""Inputs of com.microsoft EmbedLayerNormalization: position of the ids, position of their table."""
_MOST_DIMS, _MOST_SIZE, _MOST_SIZES = 8, 4096, 12


def table_rows(program: Program) -> dict[str, int]:
    """Return by input the rows of the smallest constant table that it indexes, as it is or reshaped or cast.

    ONNX Gather takes the ids -rows … rows - 1. Inputs that are used otherwise are not named.
    """
    graph = program.graph
    makers = {output: node for node in graph.nodes for output in node.outputs if output}
    inputs = set(graph.input_names) - graph.constants.keys()
    found: dict[str, int] = {}
    for node in graph.nodes:
        for ids, table, axis in _lookups(node):
            source = _source(ids, makers, _IDS_PASS)
            rows = _size(_source(table, makers, _NUMBERS_PASS), axis, program, graph)
            if source in inputs and rows:
                found[source] = min(rows, found.get(source, rows))
    return found


def _lookups(node: Node) -> list[tuple[str, str, int]]:
    """Return what a node looks up: names of the ids and of the table, and the table's axis."""
    if node.op_type == "Gather" and len(node.inputs) > 1:
        return [(node.inputs[1], node.inputs[0], int(node.attributes.get("axis", 0)))]
    if node.op_type == "GatherBlockQuantized" and len(node.inputs) > 1:
        return [(node.inputs[1], node.inputs[0], int(node.attributes.get("gather_axis", 0)))]
    if node.op_type == "EmbedLayerNormalization":
        pairs = [pair for pair in _EMBED.values() if max(pair) < len(node.inputs)]
        return [(node.inputs[ids], node.inputs[table], 0) for ids, table in pairs if node.inputs[ids]]
    return []


def _source(name: str, makers: dict[str, Node], through: frozenset[str]) -> str:
    while name in makers and makers[name].op_type in through and makers[name].inputs:
        name = makers[name].inputs[0]
    return name


def _size(name: str, axis: int, program: Program, graph: Graph) -> int | None:
    value = program.tensors.get(graph.constants.get(name, ""))
    tensor = value.values if isinstance(value, Codes) else value
    shape = tuple(getattr(tensor, "shape", ()))
    return int(shape[axis]) if -len(shape) <= axis < len(shape) else None


def spoken_sizes(program: Program) -> list[int]:
    """Return the sizes that short integer constants hold (targets of Reshape and Expand), the most frequent first."""
    counts: Counter[int] = Counter()
    for value in program.tensors.values():
        if isinstance(value, Tensor) and value.dtype == torch.int64 and 0 < value.numel() <= _MOST_DIMS:
            counts.update(int(size) for size in value.reshape(-1) if 1 < int(size) <= _MOST_SIZE)
    return [size for size, _ in counts.most_common(_MOST_SIZES)]
