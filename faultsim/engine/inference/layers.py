"""Which nodes multiply with a stored weight, and how a stored tensor gets to them. Read off the graph; nothing runs."""

from collections.abc import Mapping
from typing import NamedTuple

from faultsim.engine.inference.products import BUILDERS
from faultsim.inference import Uncovered
from faultsim.model import Model
from faultsim.model.inline import written_out
from faultsim.model.nodes import Graph, Node
from faultsim.model.roles import CARRIERS


class MatrixLayer(NamedTuple):
    """A node that multiplies with a stored weight: its name, which input the weight is, and the weight's site."""

    name: str
    position: int
    site: str


class Layers(NamedTuple):
    """The matrix-vector layers of a model. Nodes go by the identity of their `Node.proto`, which calls do not share.

    Attributes:
        matrix: The layers.
        reads: The key of the stored tensor that an input of a node is, by node and position.
        carriers: The nodes that a stored weight passes on its way to a layer.
        uncovered: Layers with stored weights that no law of the products acts on.
    """

    matrix: Mapping[int, MatrixLayer]
    reads: Mapping[tuple[int, int], str]
    carriers: frozenset[int]
    uncovered: tuple[Uncovered, ...]


class _Names(NamedTuple):
    """What can be seen from a graph: constants by name, and the node that makes each other name."""

    constants: dict[str, str]
    makers: dict[str, Node]


def find_layers(model: Model) -> Layers:
    """Return the matrix-vector layers of *model*, those inside branches, loops and functions included."""
    weights = {site.name for site in model.sites if site.role == "weight"}
    matrix: dict[int, MatrixLayer] = {}
    reads: dict[tuple[int, int], str] = {}
    carriers: set[int] = set()
    _search(written_out(model.program.graph), _Names({}, {}), weights, matrix, reads, carriers)
    covered = {layer.name for layer in matrix.values()} | {layer.site for layer in matrix.values()}
    ops = {node.name: node.op_type for node in model.program.nodes()}
    missed = {
        site.layer: ops.get(site.layer, site.kind)
        for site in model.sites
        if site.role == "weight" and site.kind != "embedding" and not {site.layer, site.name} & covered
    }
    return Layers(matrix, reads, frozenset(carriers), tuple(Uncovered(*item) for item in missed.items()))


def _search(
    graph: Graph,
    around: _Names,
    weights: set[str],
    matrix: dict[int, MatrixLayer],
    reads: dict[tuple[int, int], str],
    carriers: set[int],
) -> None:
    makers = {output: node for node in graph.nodes for output in node.outputs if output}
    names = _Names({**around.constants, **graph.constants}, {**around.makers, **makers})
    for node in graph.nodes:
        for position, name in enumerate(node.inputs):
            if name in names.constants:
                reads[id(node.proto), position] = names.constants[name]
        for position in BUILDERS[node.op_type][1] if node.op_type in BUILDERS and node.op is not None else ():
            found = _trace(node.inputs[position], names) if position < len(node.inputs) else None
            if found is not None and found[0] in weights:
                matrix[id(node.proto)] = MatrixLayer(node.name, position, found[0])
                carriers.update(found[1])
                break
        for inner in node.subgraphs():
            _search(inner, names, weights, matrix, reads, carriers)


def _trace(name: str, names: _Names) -> tuple[str, list[int]] | None:
    """The stored tensor behind *name* and the nodes on the way, None where something else is computed."""
    chain: list[int] = []
    while name not in names.constants:
        node = names.makers.get(name)
        if node is None or node.op_type not in CARRIERS or not node.inputs:
            return None
        chain.append(id(node.proto))
        name = node.inputs[0]
    return names.constants[name], chain
