"""Do the samples of a batch stay apart, and does a graph give the same twice? Else no part of it can be shared."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto

from faultsim.engine.sweep.entry import same
from faultsim.model.bodies import subgraphs

Array = NDArray[Any]
_RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def stays_apart(proto: ModelProto) -> bool:
    """Whether no node takes a range or a mean over the whole batch, or draws random numbers, by its type.

    Other nodes may mix samples, too, by their axes: `rows_apart` finds these.
    """
    return not any(_mixes(node) for node in _nodes([proto.graph.node, *(f.node for f in proto.functions)]))


def rows_apart(run: Callable[[Mapping[str, Array]], Array], feeds: Mapping[str, Array], golden: Array) -> bool:
    """Whether each sample gives the same bits whatever stands beside it in the batch.

    Args:
        run: Computes the output of some inputs.
        feeds: At least three samples, along axis 0 of every input.
        golden: Their outputs.
    """
    count = len(golden)
    half = max(count // 2, 1)
    front = np.arange(half)
    orders = [np.resize(front, count), np.resize(np.arange(half, count), count), np.full(count, count - 1)]
    for order in orders:
        found = run({name: np.ascontiguousarray(array[order]) for name, array in feeds.items()})
        if not same(found, golden[order]):
            return False
    return True


def _nodes(lists: Sequence[Sequence[NodeProto]]) -> Iterator[NodeProto]:
    for nodes in lists:
        for node in nodes:
            yield node
            yield from _nodes([graph.node for graph in subgraphs(node)])


def _mixes(node: NodeProto) -> bool:
    if node.op_type in _RANDOM or node.op_type.startswith("DynamicQuantize"):
        return True
    if node.op_type == "BatchNormalization":
        return any(a.name == "training_mode" and a.i for a in node.attribute) or len(node.output) > 1
    return node.op_type == "Dropout" and len(node.input) > 2 and bool(node.input[2])
