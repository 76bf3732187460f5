"""`Join`: where the faults of one stored tensor enter the graph, and which few nodes see them channel by channel.

A join ends at its *boundary*: the tensors behind which the graph mixes channels. From there on all weights are clean.
Joins are planned here; they run in `entry.py`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from faultsim.engine.sweep.channels import Ask, Rule, Shapes, attributes, follower, producer
from faultsim.engine.sweep.flow import Flow, TensorType

_FUSED_ALIAS = "Concat"


@dataclass(frozen=True)
class Join:
    """The nodes between a faulty tensor and the first node that mixes channels.

    Attributes:
        site: Name of the stored tensor.
        nodes: Live nodes of the join, in order.
        boundary: Tensors that the rest of the graph reads, each with its offset: channel c of the join is its channel
            ``c + offset`` (a Concat moves channels).
        axis: Channel axis of the boundary, from 0; 0 where the join cannot be cut into channels.
        channels: Number of channels of the join's first node.
        rules: How each node makes a slice, by position; a Concat on the way has none.
        offsets: Offset of every sliced tensor inside.
        sliced: Constants that are cut, each with the axis that counts channels.
        constants: Positions of constant nodes that the join needs.
        site_axis: Axis of the faulty tensor that counts channels.
        shifts: Channel of each constant that goes with channel 0 of the join: not 0 behind a Concat.
    """

    site: str
    nodes: tuple[int, ...]
    boundary: Mapping[str, int]
    axis: int = 0
    channels: int = 0
    rules: Mapping[int, Rule] = field(default_factory=dict)
    offsets: Mapping[str, int] = field(default_factory=dict)
    sliced: Mapping[str, int] = field(default_factory=dict)
    constants: frozenset[int] = frozenset()
    site_axis: int = 0
    shifts: Mapping[str, int] = field(default_factory=dict)

    @property
    def by_channel(self) -> bool:
        """Whether a few channels can be computed alone."""
        return self.axis > 0


def plan_join(flow: Flow, types: Mapping[str, TensorType], site: str) -> Join | None:
    """Return where faults in *site* enter, None where more than one node reads it: then the whole rest is faulty.

    Args:
        flow: The graph.
        types: Types of the activations whose axis 0 counts the samples.
        site: Name of an initializer.
    """
    readers = flow.readers(site)
    if site not in flow.initializers or len(readers) != 1:
        return None
    found = _sliced(flow, types, site, readers[0])
    if found is not None:
        return found
    outputs = [o for o in flow.nodes[readers[0]].output if o]
    if not all(o in types for o in outputs):
        return None
    read = [o for o in outputs if flow.users.get(o) or o in flow.outputs]
    return Join(site, readers, dict.fromkeys(read, 0))


def _sliced(flow: Flow, types: Mapping[str, TensorType], site: str, reader: int) -> Join | None:
    shapes = Shapes(flow)
    root = _root(flow, types, shapes, reader)
    first = _first_rule(flow, types, shapes, root)
    if first is None:
        return None
    out = flow.nodes[root].output[0]
    grown = _Growth(flow, types, shapes, first.axis)
    grown.start(root, first)
    if reader not in grown.rules:
        return None
    nodes = grown.nodes()
    boundary = grown.boundary(nodes)
    cut = _Constants(flow, shapes)
    for i in nodes:
        rule = grown.rules.get(i)
        for position, name in enumerate(flow.nodes[i].input):
            if name and name not in flow.activations:
                ask = None if rule is None else rule.asks.get(position)
                if ask is None or not cut.add(name, ask.axis if ask.what == "slice" else None, grown.shift(i)):
                    return None
    axis, channels = cut.axes.get(site), types[out].shape[first.axis - 1]
    if axis is None or not boundary or cut.shifts[site] or flow.initializers[site].dims[axis] != channels:
        return None
    return Join(
        site,
        tuple(nodes),
        boundary,
        first.axis,
        channels,
        {i: grown.rules[i] for i in nodes if i in grown.rules},
        {name: grown.offsets[name] for i in nodes for name in flow.nodes[i].output if name},
        {name: one for name, one in cut.axes.items() if one is not None},
        frozenset(cut.nodes),
        axis,
        cut.shifts,
    )


def _first_rule(flow: Flow, types: Mapping[str, TensorType], shapes: Shapes, root: int) -> Rule | None:
    node = flow.nodes[root]
    rule = producer(flow, node, types, shapes)
    if rule is not None or node.output[0] not in types:
        return rule
    shape = types[node.output[0]].shape
    for axis in (1, len(shape)):  # images count channels first, tokens last
        if 0 < axis <= len(shape) and shape[axis - 1] > 1:
            rule = follower(flow, node, types, shapes, axis, shape[axis - 1])
            if rule is not None and all(flow.nodes[root].input[i] in types for i, a in rule.asks.items() if i == 0):
                return rule
    return None


def _root(flow: Flow, types: Mapping[str, TensorType], shapes: Shapes, reader: int) -> int:
    """Return the node that a runtime would fuse the reader with: the producer right before a norm or a bias."""
    at = reader
    while producer(flow, flow.nodes[at], types, shapes) is None:
        live = [n for n in flow.nodes[at].input if n in flow.activations]
        before = [flow.makers[n] for n in live if n in flow.makers and flow.users[n] == (at,) and n not in flow.outputs]
        if len(live) != 1 or len(before) != 1:
            return reader
        at = before[0]
    return at


class _Growth:
    """Grows a slice from its first node over every node that keeps channels apart."""

    def __init__(self, flow: Flow, types: Mapping[str, TensorType], shapes: Shapes, axis: int) -> None:
        self.flow = flow
        self.types = types
        self.shapes = shapes
        self.axis = axis
        self.rules: dict[int, Rule] = {}
        self.offsets: dict[str, int] = {}
        self.dirty: set[str] = set()
        self._aliases: set[int] = set()

    def start(self, root: int, rule: Rule) -> None:
        flow = self.flow
        self.rules[root] = rule
        self.offsets[flow.nodes[root].output[0]] = 0
        for i in sorted(flow.descendants(flow.nodes[root].output)):
            if not self._take(i):
                self.dirty.update(o for o in flow.nodes[i].output if o)

    def _take(self, i: int) -> bool:
        node, flow = self.flow.nodes[i], self.flow
        if flow.reads[i] & self.dirty or not flow.reads[i] <= set(node.input):
            return False
        stacked = [n for n in node.input if n in self.offsets]
        if node.op_type == _FUSED_ALIAS:
            return self._concat(i, stacked)
        offsets = {self.offsets[n] for n in stacked}
        if len(offsets) != 1 or node.output[0] not in self.types:
            return False
        shape = self.types[node.output[0]].shape
        if len(shape) < self.axis:
            return False
        rule = follower(flow, node, self.types, self.shapes, self.axis, shape[self.axis - 1])
        if rule is None:
            return False
        for position, name in enumerate(node.input):
            ask = rule.asks.get(position)
            if name in self.offsets and ask != Ask("slice", self.axis):
                return False
            if name in flow.activations and name not in self.types:
                return False
        self.rules[i] = rule
        self.offsets[node.output[0]] = offsets.pop()
        return True

    def _concat(self, i: int, stacked: list[str]) -> bool:
        node = self.flow.nodes[i]
        out = self.types.get(node.output[0])
        if out is None or len(stacked) != 1 or not all(n in self.types for n in node.input):
            return False
        if int(attributes(node).get("axis", 1)) % (len(out.shape) + 1) != self.axis:
            return False
        before = node.input[: list(node.input).index(stacked[0])]
        shift = sum(self.types[n].shape[self.axis - 1] for n in before)
        self.offsets[node.output[0]] = self.offsets[stacked[0]] + shift
        self._aliases.add(i)
        return True

    def shift(self, i: int) -> int:
        """Return the channel of what node *i* reads that is channel 0 of the join."""
        return next((self.offsets[n] for n in self.flow.nodes[i].input if n in self.offsets), 0)

    def nodes(self) -> list[int]:
        """Return the nodes of the slice, without a DequantizeLinear at its end (see `Flow.needed`)."""
        inside = set(self.rules) | self._aliases
        while True:
            loose = {i for i in inside if self.flow.nodes[i].op_type == "DequantizeLinear" and self._leaves(i, inside)}
            if not loose or len(loose) == len(inside):
                return sorted(inside)
            inside -= loose

    def boundary(self, nodes: list[int]) -> dict[str, int]:
        inside = set(nodes)
        return {
            name: self.offsets[name]
            for i in nodes
            for name in self.flow.nodes[i].output
            if name and self._leaves(i, inside)
        }

    def _leaves(self, i: int, inside: set[int]) -> bool:
        names = [o for o in self.flow.nodes[i].output if o]
        return any(set(self.flow.users.get(o, ())) - inside or o in self.flow.outputs for o in names)


class _Constants:
    """Which initializers stand behind the constants of a slice, and along which axis each is cut."""

    def __init__(self, flow: Flow, shapes: Shapes) -> None:
        self.flow = flow
        self.shapes = shapes
        self.axes: dict[str, int | None] = {}
        self.shifts: dict[str, int] = {}
        self.nodes: set[int] = set()

    def add(self, name: str, axis: int | None, shift: int) -> bool:
        """Take a constant in; *axis* counts channels, None where it is taken whole. False where that cannot be."""
        shift = 0 if axis is None else shift
        if name in self.flow.initializers:
            return self.axes.setdefault(name, axis) == axis and self.shifts.setdefault(name, shift) == shift
        maker = self.flow.makers.get(name)
        if maker is None:
            return False
        node = self.flow.nodes[maker]
        if maker in self.nodes:
            return self._whole(maker) if axis is None else self._inputs(maker, axis, shift)
        self.nodes.add(maker)
        if axis is None:
            return self._whole(maker)
        return set(node.input) >= self.flow.reads[maker] and self._inputs(maker, axis, shift)

    def _whole(self, maker: int) -> bool:
        return all(self.add(one, None, 0) for one in sorted(self.flow.reads[maker]))

    def _inputs(self, maker: int, axis: int, shift: int) -> bool:
        node = self.flow.nodes[maker]
        given = attributes(node)
        whole = self.shapes(node.input[0])
        if whole is None:
            return False
        if node.op_type == "Transpose":
            perm = list(given.get("perm", range(len(whole))[::-1]))
            return self.add(node.input[0], int(perm[axis]), shift)
        if node.op_type in ("Identity", "Cast", "Clip"):
            return self.add(node.input[0], axis, shift) and all(self.add(n, None, 0) for n in node.input[1:] if n)
        if node.op_type in ("DequantizeLinear", "QuantizeLinear") and not given.get("block_size", 0):
            along = int(given.get("axis", 1)) % max(len(whole), 1)
            for name in node.input[1:]:
                size = self.shapes(name) if name else ()
                if size is None or not self.add_if(name, 0 if size and size[0] > 1 and along == axis else None, shift):
                    return False
            return self.add(node.input[0], axis, shift)
        if node.op_type in ("Quant", "BipolarQuant"):
            for name in node.input[1:]:
                size = self.shapes(name) if name else ()
                if size is None:
                    return False
                place = axis - (len(whole) - len(size))
                if not self.add_if(name, place if place >= 0 and size[place] > 1 else None, shift):
                    return False
            return self.add(node.input[0], axis, shift)
        return False

    def add_if(self, name: str, axis: int | None, shift: int) -> bool:
        """Take in an input that may be absent."""
        return not name or self.add(name, axis, shift)
