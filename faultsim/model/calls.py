"""Calls of model-local functions: what they give to a body's attributes, and where the file holds each tensor.

Nothing is compiled here; `graph.py` does that.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto

from faultsim.model.attributes import FIELDS, shared
from faultsim.model.bodies import subgraphs
from faultsim.model.codes import FunctionKey, called, key_of
from faultsim.model.nodes import Path, Program


class Held(NamedTuple):
    """An attribute, where it lies in the file (None: in none), and the key of its tensor (None: as its node says).

    `alone` says whether Constant nodes alone read it, where a function's body has it by reference.
    """

    attribute: AttributeProto
    path: Path | None = None
    key: str | None = None
    alone: bool = True


@dataclass(frozen=True, slots=True)
class Store:
    """Where the constants of model-local functions go: every call reads the one tensor that the file holds.

    `positions` are the functions' places in the file, `stems` what stands before the names of their constants,
    `places` where the tensor of each key lies.
    """

    root: Program
    positions: Mapping[FunctionKey, int]
    stems: Mapping[FunctionKey, str]
    places: dict[str, Path | None] = field(default_factory=dict)

    def path(self, function: FunctionKey) -> Path:
        """Return where a function lies in the file."""
        return ("functions", self.positions[function])


def store_of(model: ModelProto, root: Program) -> Store:
    """Return the store of a model that is compiled into *root*."""
    keys = [key_of(f) for f in model.functions]
    return Store(root, {key: i for i, key in enumerate(keys)}, _stems(model))


def step(path: Path | None, *steps: str | int) -> Path | None:
    """Return the way on from *path*; None for what no file holds."""
    return None if path is None else (*path, *steps)


def bound(node: NodeProto, path: Path | None, given: Mapping[str, Held]) -> tuple[NodeProto, list[Held]]:
    """Return *node* with references to the function's attributes filled in, and its attributes with their places.

    A reference to an attribute that neither the call nor the function gives is left out, as ONNX has it.
    """
    if not any(a.ref_attr_name for a in node.attribute):
        return node, [Held(a, step(path, "attribute", i)) for i, a in enumerate(node.attribute)]
    filled = NodeProto()
    filled.CopyFrom(node)
    del filled.attribute[:]
    places: list[tuple[Path | None, str | None, bool]] = []
    for position, attribute in enumerate(node.attribute):
        source = Held(attribute, step(path, "attribute", position))
        if attribute.ref_attr_name:
            if attribute.ref_attr_name not in given:
                continue
            source = given[attribute.ref_attr_name]
        copy = filled.attribute.add()
        copy.CopyFrom(source.attribute)
        copy.name = attribute.name
        places.append((source.path, source.key, source.alone))
    return filled, [Held(a, *place) for a, place in zip(filled.attribute, places, strict=True)]


def given_by(call: str, held: Sequence[Held], function: FunctionProto, store: Store) -> dict[str, Held]:
    """Return what a call gives to the attributes of *function*, whose own defaults stand in for the others.

    Args:
        call: The call's name among the keys of constants.
        held: The attributes of the call.
        function: The function.
        store: The store.
    """
    key = key_of(function)
    given = {
        a.name: Held(a, (*store.path(key), "attribute_proto", i), f"{store.stems[key]}/{a.name}")
        for i, a in enumerate(function.attribute_proto)
    }
    given |= {h.attribute.name: h._replace(key=h.key or f"{call}/{h.attribute.name}") for h in held}
    return {name: h._replace(alone=h.alone and not shared(function, name)) for name, h in given.items()}


def _holds_tensors(node: NodeProto, functions: Collection[FunctionKey]) -> bool:
    if called(node) in functions and any(a.type in FIELDS for a in node.attribute):
        return True
    return bool(subgraphs(node)) or (node.op_type != "Constant" and any(a.HasField("t") for a in node.attribute))


def _stems(model: ModelProto) -> dict[FunctionKey, str]:
    """What the keys of each function's constants begin with: its name, unless the main graph has such keys already."""
    taken = {t.name for t in model.graph.initializer} | {o for n in model.graph.node for o in n.output}
    functions = {key_of(f) for f in model.functions}
    holders = {n.name or f"{n.op_type}_{i}" for i, n in enumerate(model.graph.node) if _holds_tensors(n, functions)}
    heads = holders | {name[:i] for name in taken | holders for i, letter in enumerate(name) if letter == "/"}
    stems: dict[FunctionKey, str] = {}
    for function in model.functions:
        stem = function.name
        if stem in heads:
            stem = f"{function.domain}::{stem}"
        while stem in heads:
            stem += "#"
        heads.add(stem)
        stems[key_of(function)] = stem
    return stems
