"""The graphs inside a node of an ONNX file (If, Loop, Scan), and what they take from around. Nothing is changed."""

from onnx import AttributeProto, GraphProto, NodeProto


def subgraphs(node: NodeProto) -> list[GraphProto]:
    """Return the subgraphs among a node's attributes."""
    single = [a.g for a in node.attribute if a.type == AttributeProto.GRAPH]
    return single + [g for a in node.attribute if a.type == AttributeProto.GRAPHS for g in a.graphs]


def reads(node: NodeProto) -> set[str]:
    """Return the names that a node reads, those that its subgraphs take from around it included."""
    return {name for name in node.input if name}.union(*(outer_names(graph) for graph in subgraphs(node)))


def outer_names(graph: GraphProto) -> set[str]:
    """Return what a subgraph reads from the graphs around it."""
    own = {i.name for i in graph.input} | {t.name for t in graph.initializer}
    own |= {t.values.name for t in graph.sparse_initializer}
    found: set[str] = set()
    for node in graph.node:
        found |= reads(node) - own
        own.update(node.output)
    return found | ({o.name for o in graph.output} - own)
