"""Whether every name of a compiled graph is made once, and before it is read. Nothing is executed here."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from faultsim.errors import ModelError
from faultsim.model.codes import FunctionKey, called
from faultsim.model.nodes import Graph, Node, Program, needs


class _Scope(NamedTuple):
    """Names that are made so far in one graph, and the node that makes each."""

    made: set[str]
    makers: dict[str, Node]


def check_wiring(program: Program) -> None:
    """Check that no name of the graph, its subgraphs and its model-local functions has two makers or none.

    Raises:
        ModelError: At a name made twice, one that nothing makes, a cycle, or nodes in the wrong order.
    """
    bodies: dict[FunctionKey, Program] = {}
    _check(program.graph, ())
    for node in program.nodes():
        if node.body is not None:
            bodies.setdefault(called(node.proto), node.body)
    for body in bodies.values():
        _check(body.graph, ())


def _check(graph: Graph, around: Sequence[_Scope]) -> None:
    scope = _Scope({*graph.input_names, *graph.constants}, {})
    for node, output in ((n, o) for n in graph.nodes for o in n.outputs if o):
        if output in scope.makers:
            first, name = scope.makers[output].name, node.name
            who = f"the node {name!r} makes {output!r} twice" if first == name else (
                f"the nodes {first!r} and {name!r} both make {output!r}"
            )  # fmt: skip
            raise ModelError(f"{who}; every name may be made once: rename one of the outputs and those who read it")
        if output in scope.made:
            what = "a stored tensor" if output in graph.constants else "an input"
            raise ModelError(
                f"the node {node.name!r} makes {output!r}, which is the name of {what} of its graph too; "
                "every name may be made once: rename one of them and those who read it"
            )
        scope.makers[output] = node
    scopes = (*around, scope)
    for node in graph.nodes:
        for name in node.inputs:
            if name:
                _look_up(name, node, scopes)
        for inner in node.subgraphs():
            _check(inner, scopes)
        scope.made.update(node.outputs)
    for name in graph.output_names:
        if name and not any(name in s.made for s in scopes):
            raise ModelError(
                f"the graph reads {name!r} before anything makes it; run onnx.checker on the file: "
                "it is an output, and no node, input or stored tensor has that name"
            )


def _look_up(name: str, reader: Node, scopes: Sequence[_Scope]) -> None:
    if any(name in scope.made for scope in scopes):
        return
    for scope in reversed(scopes):
        maker = scope.makers.get(name)
        if maker is None:
            continue
        # In a subgraph it is the node around it that waits.
        waiting = next((n for n in scope.makers.values() if n is reader or reader in _inside(n)), reader)
        if _depends(maker, waiting, scope):
            raise ModelError(
                f"the graph has a cycle: the node {reader.name!r} reads {name!r}, and the node {maker.name!r} that "
                f"makes it waits for what {waiting.name!r} makes; no order can run it: export it again"
            )
        raise ModelError(
            f"the node {reader.name!r} reads {name!r} before the node {maker.name!r} makes it: the nodes are not in "
            "the order that ONNX asks for; sort them topologically and save the model again"
        )
    raise ModelError(
        f"the graph reads {name!r} before anything makes it; run onnx.checker on the file: "
        f"the node {reader.name!r} reads it, and no node, input or stored tensor has that name"
    )


def _inside(node: Node) -> Iterator[Node]:
    for graph in node.subgraphs():
        for inner in graph.nodes:
            yield inner
            yield from _inside(inner)


def _depends(node: Node, on: Node, scope: _Scope) -> bool:
    """Whether *node* reads, directly or through others of its graph, what *on* makes."""
    stack, seen = [node], {id(node)}
    while stack:
        current = stack.pop()
        if current is on:
            return True
        for name in needs(current):
            maker = scope.makers.get(name)
            if maker is not None and id(maker) not in seen:
                seen.add(id(maker))
                stack.append(maker)
    return False
