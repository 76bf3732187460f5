"""Where the numbers of a stored tensor go: through ops, branches and loops to the op that computes with them.

An op whose inputs all come from stored tensors, and none from an input of the model, only *makes* a parameter of them:
``v / |v| * g``, ``W + A @ B``, ``Round(W / s) * s``. A tensor is followed through it. What it is to the op at the end
is said in `parts.py`.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from typing import NamedTuple

from onnx import NodeProto

from faultsim.model.nodes import Graph, Node
from faultsim.model.reading import QUANTIZERS, Use
from faultsim.model.roles import ARITHMETIC, CARRIERS, POSITIONS

Name = tuple[int, str]
"""A value: the scope that makes it, and its name there. Branches may use a name again."""


class Step(NamedTuple):
    """An op on the way of a tensor, as which of its inputs, and whether it computes with it (else: only carries)."""

    node: Node
    position: int
    makes: bool


class Way(NamedTuple):
    """The ops on the way of a tensor, and the op that computes with it; None where none reads it."""

    steps: tuple[Step, ...]
    use: Use | None

    @property
    def chain(self) -> list[Node]:
        """The ops on the way."""
        return [step.node for step in self.steps]

    @property
    def stored(self) -> list[Node]:
        """The ops that still see the tensor's own numbers: those before the first that computes with them."""
        made = next((i for i, step in enumerate(self.steps) if step.makes), len(self.steps))
        return self.chain[:made]

    @property
    def makes(self) -> bool:
        """Whether an op on the way computes with the tensor."""
        return any(step.makes for step in self.steps)


_RANDOM = frozenset({"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
                     "Multinomial"})  # fmt: skip
_SIDE_INPUTS = {"Where": (0,), "Pad": (1, 2, 3), "Gather": (1,), "GatherND": (1,), "GatherElements": (1,)}
"""Inputs that say where or how much, by op type: no number of theirs stands in the result as a parameter does."""
_NO_MAKERS = frozenset({"OneHot", "Range", "ConstantOfShape", "Shape", "Size", "EyeLike", "NonZero", "Resize"})
_PICKED = {"Where": (1, 2), "Pad": (0,)}
"""Inputs that an op carries beside numbers of the model's input."""


class Flow:
    """The values of a graph and of all its subgraphs: who reads each, and which come from an input of the model."""

    def __init__(self, graph: Graph) -> None:
        self.users: dict[Name, list[tuple[Node, int]]] = defaultdict(list)
        self.outputs: dict[int, list[Name]] = {}
        self._links: dict[Name, list[tuple[Name, Node | None]]] = defaultdict(list)
        self._given: set[Name] = set()
        self._scope(graph, {})
        self._spread({(id(graph), n) for n in graph.input_names if n not in graph.constants})

    def _scope(self, graph: Graph, around: dict[str, Name]) -> dict[str, Name]:
        own = id(graph)
        seen = around | {name: (own, name) for name in (*graph.input_names, *graph.constants)}
        for node in graph.nodes:
            inputs = [seen.get(name, (own, name)) if name else None for name in node.inputs]
            for position, value in enumerate(inputs):
                if value is not None:
                    self.users[value].append((node, position))
            bodies = [(inner, self._scope(inner, seen)) for inner in node.subgraphs()]
            made = [(own, name) for name in node.outputs]
            for inner, names in bodies:
                ends = [names.get(name, (id(inner), name)) for name in inner.output_names]
                self._control(node, inputs, made, [(id(inner), n) for n in inner.input_names], ends)
            seen |= {name: (own, name) for name in node.outputs if name}
            self.outputs[id(node)] = [value for value in made if value[1]]
            if node.op_type in _RANDOM or (bodies and node.op_type not in ("If", "Loop", "Scan")):
                self._given.update(made)
        return seen

    def _control(
        self, node: Node, inputs: list[Name | None], made: list[Name], starts: list[Name], ends: list[Name]
    ) -> None:
        """Link what one body of a node takes and yields to what the node does."""
        if node.op_type == "If":
            self._link(ends, made)
        elif node.op_type == "Loop":
            carried = len(inputs) - 2
            self._link(inputs[2:], starts[2:])
            self._link(ends[1 : 1 + carried], starts[2:])
            self._link(ends[1 : 1 + carried], made)
            self._link(ends[1 + carried :], made[carried:], "ScanOutput")
        elif node.op_type == "Scan":
            given = inputs[1:] if node.opset < 9 else inputs
            states = len(given) - int(node.attributes.get("num_scan_inputs", 0))
            self._link(given[:states], starts)
            axes = node.attributes.get("scan_input_axes") or [0] * (len(given) - states)
            for value, start, axis in zip(given[states:], starts[states:], axes, strict=False):
                self._link([value], [start], "ScanInput" if node.opset >= 9 else "ScanOutput", axis=int(axis))
            self._link(ends[:states], starts)
            self._link(ends[:states], made)
            self._link(ends[states:], made[states:], "ScanOutput")

    def _link(self, values: list[Name] | list[Name | None], to: list[Name], op: str = "", **attributes: int) -> None:
        """Note that values are those *to* under other names; *op* stands for what happens to their axes there."""
        step = Node(op, "", op, (), (), dict(attributes), 1, None, NodeProto()) if op else None
        for value, name in zip(values, to, strict=False):
            if value is not None and name[1]:
                self._links[value].append((name, step))

    def _spread(self, start: set[Name]) -> None:
        """Find what comes from an input of the model; a shape does not carry its numbers on."""
        queue = list(start | self._given)
        self._given |= start
        while queue:
            value = queue.pop()
            reached = [name for name, _ in self._links.get(value, ())]
            for node, _ in self.users.get(value, ()):
                if node.op_type not in ("Shape", "Size") and not any(True for _ in node.subgraphs()):
                    reached += self.outputs[id(node)]
            fresh = {name for name in reached if name not in self._given}
            self._given |= fresh
            queue += fresh

    def makes(self, node: Node) -> bool:
        """Whether an op reads stored numbers alone."""
        made = self.outputs.get(id(node), [])
        return (
            bool(made) and not any(value in self._given for value in made) and not any(True for _ in node.subgraphs())
        )

    def follow(self, value: Name, size: int = 2) -> Way:
        """Follow *value* to the op that computes with it, by the shortest way.

        An op of stored numbers alone that has a place for weights (``A @ B``) is the end where no other way leads on.

        Args:
            value: The value.
            size: Numbers in it; one number alone is not followed through a choice beside the model's input.
        """
        queue: deque[tuple[Name, tuple[Step, ...]]] = deque([(value, ())])
        seen = {value}
        product: Way | None = None
        other: Way | None = None
        while queue:
            name, steps = queue.popleft()
            reached: list[tuple[Name, tuple[Step, ...]]] = []
            for node, position in self.users.get(name, ()):
                here = Way(steps, Use(node, position))
                role = POSITIONS.get(node.op_type, {}).get(position)
                makes = False
                if not _carries(node, position, size):
                    makes = role in (None, "weight", "bias") and self._through(node, position)
                    if not makes and (role or node.op_type in ARITHMETIC):
                        return here
                    if role:
                        product = product or here
                    other = other or here
                    if not makes or role == "weight":
                        continue
                reached += [(made, (*steps, Step(node, position, makes))) for made in self.outputs[id(node)]]
            for made, step in self._links.get(name, ()):
                reached.append((made, steps if step is None else (*steps, Step(step, 0, False))))
            for made, way in reached:
                if made not in seen:
                    seen.add(made)
                    queue.append((made, way))
        return product or other or Way((), None)

    def _through(self, node: Node, position: int) -> bool:
        if node.op_type in CARRIERS or node.op_type in _NO_MAKERS or position in _SIDE_INPUTS.get(node.op_type, ()):
            return False
        return self.makes(node)

    def quantized_one_way(self, value: Name) -> bool:
        """Whether all nodes that quantize *value*, past those that leave its numbers as they are, do so in one way."""
        ways = {
            (node.op_type, *node.inputs[1:], repr(sorted(node.attributes.items())))
            for node, position in self._past_carriers(value)
            if position == 0 and node.op_type in QUANTIZERS
        }
        return len(ways) == 1

    def _past_carriers(self, value: Name) -> Iterator[tuple[Node, int]]:
        names, seen = [value], {value}
        while names:
            name = names.pop()
            reached = [made for made, _ in self._links.get(name, ())]
            for node, position in self.users.get(name, ()):
                yield node, position
                if position == 0 and node.op_type in CARRIERS and node.op_type not in QUANTIZERS:
                    reached += self.outputs[id(node)]
            fresh = [made for made in reached if made not in seen]
            seen.update(fresh)
            names += fresh


def _carries(node: Node, position: int, size: int) -> bool:
    if node.op_type in CARRIERS:
        return position == 0 or node.op_type == "Concat"
    return size > 1 and position in _PICKED.get(node.op_type, ())
